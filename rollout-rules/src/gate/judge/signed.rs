//! What is judged of signatures: who signed the artifact, and how it was built. A good signature is never enough: it has to be by whom the app
//! may use, about this artifact.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::words::SET_SOURCE;
use super::{Bench, Outcome};
use crate::gate::facts::{Attestation, Claim, Provenance, SignerId, Untrusted};
use crate::gate::policy::Level;
use crate::gate::trust::Source;

impl<'a> Bench<'a> {
    pub(super) fn signature(&mut self) -> Outcome {
        let level = self.policy.signature;
        let found = self.good(|claim| *claim == Claim::Artifact).map(|(_, signer)| signer.clone());
        match found {
            Ok(signer) => {
                let text = format!("signed by {}", signer.name);
                self.signers.push(signer);
                Outcome::passed(text)
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
            Claim::Provenance(provenance) => Some((self.foreign(provenance, source), provenance, signer)),
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
            return Outcome::passed(text);
        }
        Outcome::failed(level, format!("not built as the app may be: {}", wrong.join(", ")))
    }

    /// What of a provenance is not the app's.
    fn foreign(&self, provenance: &Provenance, source: &Source) -> Vec<String> {
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
        wrong
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
        let mut reasons: Vec<&'static str> = Vec::new();
        let mut found: Vec<(&Attestation, &SignerId)> = Vec::new();
        for attestation in facts.attestations.iter().filter(|it| is(&it.claim)) {
            match &attestation.signer {
                Err(Untrusted::Unsigned) => reasons.push("it is not signed"),
                Err(Untrusted::Mismatch) => reasons.push("it was changed after it was signed"),
                Err(Untrusted::Stranger) => {
                    reasons.push("it is signed by somebody whom the policy does not name")
                }
                Err(Untrusted::OutOfTime) => reasons.push("the key or certificate was not valid any more"),
                Ok(_) if !attestation.subjects.contains(&self.subject.artifact) => {
                    reasons.push("it is about another artifact");
                }
                Ok(signer) if !self.may_sign(signer) => reasons.push("its signer is not one of the app's"),
                // Which of several counts does not depend on their order.
                Ok(signer) => found.push((attestation, signer)),
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        let nothing =
            || if reasons.is_empty() { "none was handed in".to_string() } else { reasons.join(", ") };
        if found.is_empty() { Err(nothing()) } else { Ok(found) }
    }

    /// Whether the app may use a signer. A certificate says which repository it was given to: that has to be the app's.
    pub(super) fn may_sign(&self, signer: &SignerId) -> bool {
        let source = self.subject.source;
        let named = source.is_none_or(|it| it.signers.is_empty() || it.signers.contains(&signer.name));
        let Some(claims) = &signer.certificate else { return named };
        let same = |may: Option<&String>, is: Option<&String>| may.is_none_or(|may| Some(may) == is);
        named
            && source.is_some_and(|source| {
                let (may, is) = (source.repository.as_deref(), claims.repository.as_deref());
                may.is_some()
                    && may.map(repository) == is.map(repository)
                    && same(source.repository_id.as_ref(), claims.repository_id.as_ref())
                    && same(source.owner_id.as_ref(), claims.owner_id.as_ref())
            })
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

    fn signed(&self, is: impl Fn(&Claim) -> bool) -> Option<&'a str> {
        self.good(is).ok().map(|(_, signer)| signer.name.as_str())
    }
}

/// A repository's address without what does not matter: `git+` before it, `.git`, `/` or `@ref` behind it, and case of the host.
fn repository(uri: &str) -> String {
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
