//! What is judged of secrets in the code. No waiver stands for one. A word that only looks like a secret is none once security signed
//! that; what a report says of itself, such as a mark in a baseline, is a claim of whoever wrote the code.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::code::{joined, len_of};
use super::same::once;
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::decision::{Excuse, Judged};
use crate::gate::facts::{Claim, ScanKind, SignerId};
use crate::gate::policy::Level;
use crate::ids::Digest;

/// What to do where everything that was found is audited.
const NOTHING_TO_DO: &str = "Nothing, as long as what security signed still holds.";

impl<'a> Bench<'a> {
    pub(super) fn secrets(&mut self) -> Outcome {
        let asked = self.policy.secrets;
        if asked.level == Level::Off {
            return Outcome::not_asked();
        }
        let audited = self.audited();
        let mut findings = Vec::new();
        for finding in self.scans(ScanKind::Secrets).flat_map(|scan| &scan.findings) {
            let signer = audited.get(&finding.fingerprint);
            let (level, excuse) = match signer {
                Some(signer) => {
                    self.signers.push((*signer).clone());
                    (Level::Note, Some(Excuse::Signed(signer.name.clone())))
                }
                None => (asked.level, None),
            };
            findings.push(Judged::new(finding.clone(), level, excuse));
        }
        let findings = once(findings);
        let count = |is: fn(&Judged) -> bool| len_of(findings.iter().filter(|it| is(it)).count());
        let harmless = count(|it| it.excused.is_some());
        let disputed = count(|it| it.excused.is_none() && it.finding.disputed);
        let total = self.unlisted(ScanKind::Secrets).saturating_add(count(|_| true));
        // What is not listed nobody can have signed.
        let open = total.saturating_sub(harmless);
        let signed = match harmless {
            0 => String::new(),
            count => {
                format!(
                    "; {}, as security signed",
                    counted(count, "word that looks like one is none", "words that look like one are none")
                )
            }
        };
        if open > 0 {
            let claimed = match disputed {
                0 => String::new(),
                count => format!(
                    "; {} marked as harmless in the report itself, which counts once security signed it",
                    counted(count, "is", "are")
                ),
            };
            let text = format!("{} in the code{claimed}{signed}", counted(open, "secret", "secrets"));
            return Outcome { findings, total, ..Outcome::failed(asked.level, text) };
        }
        let outcome = self.shown_to_be_free(&signed);
        if findings.is_empty() {
            return outcome;
        }
        let level = outcome.level.max(Level::Note);
        let fix = outcome.fix.clone().unwrap_or_else(|| NOTHING_TO_DO.into());
        Outcome { findings, total, level, ..outcome }.fix(fix)
    }

    /// That scanners looked and found nothing that counts.
    fn shown_to_be_free(&self, signed: &str) -> Outcome {
        let asked = self.policy.secrets;
        let tools = self.proven(ScanKind::Secrets);
        if tools.len() >= usize::from(asked.scanners) {
            return Outcome::passed(format!("none found by {}{signed}", joined(tools)));
        }
        let text = match (tools.len(), self.lacking(ScanKind::Secrets)) {
            (0, why) if why.is_empty() => "no scan for secrets was handed in".into(),
            (_, why) if !why.is_empty() => format!("a scan shows nothing: {}", why.join("; ")),
            (have, _) => {
                let looked = counted(len_of(have), "scanner", "scanners");
                format!("{looked} looked, and it takes {}", asked.scanners)
            }
        };
        Outcome::no_proof(asked.level, text).fix(
            "Scan in the pipeline, in a fresh checkout, before libraries are installed and reports are written (what is found in those counts \
             too), with all plugins and without exclusions: `detect-secrets scan --all-files \
             --disable-filter detect_secrets.filters.allowlist.is_line_allowlisted . > secrets.json`; a second scanner is gitleaks.",
        )
    }

    /// What somebody whom the app may use signed to be no secret in the code of this app, and who. Of several signers always the same one.
    fn audited(&self) -> BTreeMap<&'a Digest, &'a SignerId> {
        let (facts, mut audited) = (self.facts, BTreeMap::new());
        for attestation in &facts.attestations {
            let (Claim::SecretAudit { app, harmless }, Ok(signer)) =
                (&attestation.claim, &attestation.signer)
            else {
                continue;
            };
            if app != self.subject.app.as_str() || !self.may_sign(signer) {
                continue;
            }
            for fingerprint in harmless {
                let known = audited.entry(fingerprint).or_insert(signer);
                *known = (*known).min(signer);
            }
        }
        audited
    }
}
