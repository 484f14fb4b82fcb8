//! What is judged of signatures: who signed the artifact, and how it was built. A good signature is never enough: it has to be by whom the app
//! may use, about this artifact.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::signer::ran;
use super::words::{CLOSE_SOURCE, SET_SOURCE};
use super::{Bench, Outcome};
use crate::gate::facts::{Attestation, Claim, Provenance, SignerId, Untrusted};
use crate::gate::pipeline::{PRODUCTION_EVENTS, runs_for_production};
use crate::gate::policy::Level;
use crate::gate::trust::Source;

impl<'a> Bench<'a> {
    pub(super) fn signature(&mut self) -> Outcome {
        let level = self.policy.signature;
        let found = self.good(|claim| *claim == Claim::Artifact).map(|(_, signer)| signer.clone());
        match found {
            Ok(signer) => {
                let outcome = self.signed_by(level, format!("signed by {}", signer.name), &signer);
                self.signers.push(signer);
                outcome
            }
            Err(_) if level == Level::Off => Outcome::not_asked(),
            Err(why) => Outcome::no_proof(level, format!("not signed by whom the app may use: {why}")),
        }
    }

    pub(super) fn provenance(&mut self) -> Outcome {
        let level = self.policy.provenance;
        if let Some(text) = self.signed_denial() {
            return Outcome::failed(level.max(Level::Warn), text);
        }
        let stated = match self.all_good(|claim| matches!(claim, Claim::Provenance(_))) {
            Ok(stated) => stated,
            Err(_) if level == Level::Off => return Outcome::not_asked(),
            Err(why) => {
                return Outcome::no_proof(level, format!("nobody trusted attests how it was built: {why}"));
            }
        };
        let Some(source) = self.subject.source else {
            return Outcome::failed(level, "nobody said what the app may be built from").fix(SET_SOURCE);
        };
        // Each of several may be what the app asks for; the one with the least that is wrong is told.
        let told = stated.into_iter().filter_map(|(attestation, signer)| match &attestation.claim {
            Claim::Provenance(provenance) => {
                Some((self.foreign(provenance, signer, source), provenance, signer))
            }
            _ => None,
        });
        let best =
            told.min_by_key(|(wrong, it, signer)| (wrong.len(), wrong.clone(), it.builder.clone(), *signer));
        let Some((wrong, provenance, signer)) = best else {
            return Outcome::no_proof(level, "nobody trusted attests how it was built");
        };
        if wrong.is_empty() {
            let text = format!("built by {} (signed by {})", provenance.builder, signer.name);
            self.signers.push(signer.clone());
            return self.signed_by(level, text, signer);
        }
        Outcome::failed(level, format!("not built as the app may be: {}", wrong.join(", ")))
    }

    /// What is signed by whom the app may use; told is what the app's source leaves open.
    fn signed_by(&self, level: Level, text: String, signer: &SignerId) -> Outcome {
        match self.left_open(signer).filter(|_| level > Level::Off) {
            Some(open) => {
                Outcome::failed(level.min(Level::Warn), format!("{text}; {open}")).fix(CLOSE_SOURCE)
            }
            None => Outcome::passed(text),
        }
    }

    /// What of a provenance is not the app's.
    fn foreign(&self, provenance: &Provenance, signer: &SignerId, source: &Source) -> Vec<String> {
        let mut wrong = Vec::new();
        if !source.builders.contains(&provenance.builder) {
            wrong.push(format!("the builder is {}", provenance.builder));
        }
        if !source.build_types.contains(&provenance.build_type) {
            wrong.push(format!("the build type is {}", provenance.build_type));
        }
        let (may, is) = (source.repository.as_deref(), provenance.repository.as_deref());
        if may.is_none() || may.map(repository) != is.map(repository) {
            wrong.push(format!("the repository is {}", is.unwrap_or("not said")));
        }
        let asked = self.facts.identity.as_ref().and_then(|identity| identity.commit.as_deref());
        match (&provenance.commit, asked) {
            (None, _) => wrong.push("the commit is not said".to_string()),
            (Some(commit), Some(asked)) if commit != asked => {
                wrong.push(format!("it was built from commit {commit}, and the pipeline runs {asked}"));
            }
            _ => {}
        }
        if let Some(claims) = &signer.certificate {
            if !self.may_claim(signer, claims, &provenance.builder) {
                wrong.push(format!(
                    "it was signed by `{}`, which may not speak for its builder",
                    claims.identity
                ));
            }
            if provenance.commit.is_some() && provenance.commit != claims.commit {
                let commit = claims.commit.as_deref().unwrap_or("not said");
                wrong.push(format!("the commit of the certificate that signed it is {commit}"));
            }
        }
        if self.is_production() {
            wrong.extend(self.not_for_production(provenance, signer, source));
        }
        wrong
    }

    /// What of a provenance is not for production: what it was built on, and from which branch or tag. A builder that does not say one is
    /// taken at the word of the certificate or the pipeline.
    fn not_for_production(
        &self,
        provenance: &Provenance,
        signer: &SignerId,
        source: &Source,
    ) -> Option<String> {
        let said_elsewhere = signer.certificate.is_some()
            || self.facts.identity.as_ref().is_some_and(|identity| identity.git_ref.is_some());
        if provenance.git_refs.is_empty() && !source.refs.is_empty() && !said_elsewhere {
            return Some("nobody says from which branch it was built".to_string());
        }
        let event = provenance.event.as_deref().unwrap_or(PRODUCTION_EVENTS[0]);
        let of_event = runs_for_production(&[], event, "");
        let of_ref = |git_ref: &String| runs_for_production(&source.refs, PRODUCTION_EVENTS[0], git_ref);
        let bars = core::iter::once(of_event).chain(provenance.git_refs.iter().map(of_ref));
        bars.filter_map(Result::err).next().map(|bar| format!("the build {}", ran(&bar)))
    }

    /// A statement about this artifact by somebody whom the app may use; else why there is none.
    pub(super) fn good(
        &self,
        is: impl Fn(&Claim) -> bool,
    ) -> Result<(&'a Attestation, &'a SignerId), String> {
        // Which of several counts does not depend on their order.
        let least = |found: Vec<(&'a Attestation, &'a SignerId)>| {
            found.into_iter().min_by_key(|(attestation, signer)| (attestation.piece, *signer))
        };
        self.all_good(is).and_then(|found| least(found).ok_or_else(String::new))
    }

    /// All such statements, at least one; else why there is none.
    fn all_good(&self, is: impl Fn(&Claim) -> bool) -> Result<Vec<(&'a Attestation, &'a SignerId)>, String> {
        let facts = self.facts;
        let mut reasons: Vec<String> = Vec::new();
        let mut found: Vec<(&Attestation, &SignerId)> = Vec::new();
        for attestation in facts.attestations.iter().filter(|it| is(&it.claim)) {
            let signer = match &attestation.signer {
                Err(why) => {
                    reasons.push(untrusted(*why).to_string());
                    continue;
                }
                Ok(signer) => signer,
            };
            if !attestation.subjects.contains(&self.subject.artifact) {
                reasons.push("it is about another artifact".to_string());
            } else if let Some(why) = self.barred(signer, &attestation.claim) {
                reasons.push(why);
            } else {
                found.push((attestation, signer));
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        let nothing =
            || if reasons.is_empty() { "none was handed in".to_string() } else { reasons.join(", ") };
        if found.is_empty() { Err(nothing()) } else { Ok(found) }
    }

    /// That somebody trusted signed that tests of this artifact failed.
    pub(super) fn signed_failure(&self) -> Option<&'a str> {
        self.signed(|claim| *claim == Claim::TestResult { passed: false })
    }

    /// That somebody trusted signed that this artifact did not pass another gate.
    fn signed_denial(&self) -> Option<String> {
        let signer = self.signed(|claim| matches!(claim, Claim::Verification { passed: false, .. }))?;
        Some(format!("{signer} signed that it failed verification"))
    }

    /// Who signed something against the artifact. That takes less than to sign for it. Of several it is always the same one.
    fn signed(&self, is: impl Fn(&Claim) -> bool) -> Option<&'a str> {
        let facts = self.facts;
        let about_it = facts.attestations.iter().filter(|it| is(&it.claim));
        let about_it = about_it.filter(|it| it.subjects.contains(&self.subject.artifact));
        let signers = about_it.filter_map(|it| Some((it.piece, it.signer.as_ref().ok()?)));
        signers.filter(|(_, signer)| self.may_warn(signer)).min().map(|(_, signer)| signer.name.as_str())
    }
}

/// Why nobody trusted signed something.
fn untrusted(why: Untrusted) -> &'static str {
    match why {
        Untrusted::Unsigned => "it is not signed",
        Untrusted::Mismatch => "it was changed after it was signed",
        Untrusted::Stranger => "it is signed by somebody whom the policy does not name",
        Untrusted::OutOfTime => "the key or certificate was not valid any more",
    }
}

/// A repository's address without what does not matter: `git+` before it, `.git`, `/` or `@ref` behind it, and case of the host.
pub(super) fn repository(uri: &str) -> String {
    let uri = uri.strip_prefix("git+").unwrap_or(uri);
    let end = uri.rfind('@').filter(|at| uri[*at..].contains("refs/")).unwrap_or(uri.len());
    let uri = uri[..end].trim_end_matches('/');
    let uri = uri.strip_suffix(".git").unwrap_or(uri);
    match uri.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('/')?))) {
        Some((scheme, (host, path))) => {
            format!("{}://{}/{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
        }
        None => uri.to_string(),
    }
}
