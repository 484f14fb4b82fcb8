//! What a decision keeps in the log: no more than fits an entry, however much was handed in. The rest is in its files.

use alloc::string::String;

use super::decision::{CheckName, Decision};
use super::facts::{AgentWork, CertificateClaims, MAX_ADDED, MAX_PIECES, PipelineIdentity, SignerId};
use super::waiver::MAX_WAIVERS;
use crate::release::MAX_VERSION_BYTES;

/// Longest name of a piece of evidence that a decision keeps, in bytes.
pub const MAX_NAME_BYTES: usize = 60;
/// Longest text about signers and pipelines that a decision keeps, in bytes.
pub const MAX_CLAIM_BYTES: usize = 200;
/// Most signers that a decision names.
pub const MAX_SIGNERS: usize = 4;
/// Most language models that a decision names.
pub const MAX_AGENTS: usize = 4;
/// Most files of one language model that a decision names; of more it says how many.
pub const MAX_AGENT_FILES: usize = 10;

impl Decision {
    /// Cut to what fits an entry of the log: lists to their first members, texts to their beginnings, and signs that JSON would
    /// write as several replaced. A decision is refused that is not so.
    pub fn fitted(mut self) -> Decision {
        cut(self.version.as_mut(), MAX_VERSION_BYTES);
        self.checks.truncate(CheckName::ALL.len());
        self.waivers.truncate(MAX_WAIVERS);
        self.evidence.truncate(MAX_PIECES + MAX_ADDED);
        cut(self.evidence.iter_mut().map(|piece| &mut piece.name), MAX_NAME_BYTES);
        self.signers.truncate(MAX_SIGNERS);
        self.signers.iter_mut().for_each(fit_signer);
        self.identity.iter_mut().for_each(fit_identity);
        self.agents.truncate(MAX_AGENTS);
        self.agents.iter_mut().for_each(fit_agent);
        self
    }
}

fn fit_signer(signer: &mut SignerId) {
    cut([&mut signer.name], MAX_CLAIM_BYTES);
    let Some(claims) = &mut signer.certificate else { return };
    let CertificateClaims {
        identity,
        issuer,
        repository,
        repository_id,
        owner_id,
        commit,
        git_ref,
        signer_workflow,
        trigger,
    } = claims;
    cut([identity, issuer], MAX_CLAIM_BYTES);
    let said = [repository, repository_id, owner_id, commit, git_ref, signer_workflow, trigger];
    cut(said.into_iter().flatten(), MAX_CLAIM_BYTES);
}

fn fit_identity(it: &mut PipelineIdentity) {
    cut([&mut it.issuer, &mut it.subject], MAX_CLAIM_BYTES);
    let said = [
        &mut it.repository,
        &mut it.repository_id,
        &mut it.owner_id,
        &mut it.commit,
        &mut it.git_ref,
        &mut it.workflow,
        &mut it.run_id,
        &mut it.event,
    ];
    cut(said.into_iter().flatten(), MAX_CLAIM_BYTES);
}

fn fit_agent(it: &mut AgentWork) {
    let names =
        [&mut it.agent, &mut it.model].into_iter().chain(&mut it.on_behalf_of).chain(&mut it.reviewer);
    cut(names, MAX_NAME_BYTES);
    let unnamed = it.files.len().saturating_sub(MAX_AGENT_FILES);
    it.more_files = it.more_files.saturating_add(u32::try_from(unnamed).unwrap_or(u32::MAX));
    it.files.truncate(MAX_AGENT_FILES);
    cut(&mut it.files, MAX_NAME_BYTES);
}

/// Cuts texts to so many bytes, none of which JSON writes as several.
fn cut<'t>(texts: impl IntoIterator<Item = &'t mut String>, most_bytes: usize) {
    for text in texts {
        if text.len() > most_bytes {
            let end = text.floor_char_boundary(most_bytes);
            text.truncate(end);
        }
        if text.contains(takes_more) {
            *text = text.replace(takes_more, "_");
        }
    }
}

fn takes_more(sign: char) -> bool {
    sign.is_ascii_control() || matches!(sign, '"' | '\\')
}
