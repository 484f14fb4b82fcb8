//! What is judged of infrastructure: what the policy in Rego said of plans, and what scanners found.

use alloc::format;
use alloc::vec::Vec;

use super::code::joined;
use super::same::once;
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::decision::CheckName;
use crate::gate::facts::{Concern, PolicyEffect, PolicyFinding, ScanKind, Severity};
use crate::gate::policy::{InfrastructurePolicy, Level};

impl Bench<'_> {
    pub(super) fn infrastructure(&mut self) -> Outcome {
        let asked = &self.policy.infrastructure;
        let facts = self.facts;
        let plans = facts.plans.iter().any(|plan| plan.resources > 0);
        let tools = self.proven(ScanKind::Infrastructure);
        // A folder without a file is not the app's: it shows nothing.
        let seen = || facts.inventory.iter().filter(|inventory| inventory.files > 0);
        let is_seen = seen().next().is_some();
        let described: u64 =
            seen().map(|inventory| u64::try_from(inventory.infrastructure.len()).unwrap_or(u64::MAX)).sum();
        let said = facts.plans.iter().flat_map(|plan| &plan.verdicts);
        let said = said
            .map(|said| (level_of(asked, said), &said.finding, said.concern == Concern::WildcardPrivileges))
            .filter(|(level, _, _)| *level != Level::Off);
        let found = self.scans(ScanKind::Infrastructure).flat_map(|scan| &scan.findings).map(|it| {
            // Scanners without a service behind them give no severity: that is not mild.
            let counts = it.severity >= Severity::High || it.severity == Severity::Unknown;
            (if counts { asked.findings } else { asked.findings.min(Level::Note) }, it, false)
        });
        let all: Vec<_> = said.chain(found).collect();
        let missing = asked.missing;
        let (worst, findings) = self.weigh(CheckName::Infrastructure, all);
        let findings = once(findings);
        let unlisted = self.unlisted(ScanKind::Infrastructure);
        let total = unlisted.saturating_add(u64::try_from(findings.len()).unwrap_or(u64::MAX));
        // What is described and not planned was not judged, whatever a scanner says.
        let unplanned = !plans && (described > 0 || !is_seen);
        let lacking = self.lacking(ScanKind::Infrastructure);
        let shows_nothing = !plans && tools.is_empty() && !lacking.is_empty();
        if total > 0 {
            let level = if unplanned || shows_nothing { worst.max(missing) } else { worst };
            // What is not listed may be as bad as anything, and cannot have been waived.
            let level = if unlisted > 0 { level.max(asked.findings) } else { level };
            let text = format!("{} in the infrastructure", counted(total, "finding", "findings"));
            return Outcome { findings, total, ..Outcome::failed(level, text) };
        }
        if !unplanned && shows_nothing {
            return Outcome::no_proof(missing, format!("a scan shows nothing: {}", lacking.join("; ")));
        }
        match (plans, described, !is_seen) {
            (true, _, _) => {
                let also = if tools.is_empty() { "".into() } else { format!(", nor by {}", joined(tools)) };
                Outcome::passed(format!("nothing found in the plan{also}"))
            }
            (false, 0, false) => Outcome::passed("the app describes no infrastructure"),
            (false, 0, true) => {
                Outcome::no_proof(missing, "it is not known whether the app describes infrastructure").fix(
                    "Run `tidegate gate check` in the app's folder, which sees its files; or hand in a plan.",
                )
            }
            (false, described, _) => {
                let text = format!(
                    "{} infrastructure, and no plan was handed in",
                    counted(described, "file describes", "files describe")
                );
                Outcome::no_proof(missing, text).fix(
                    "Make a plan in the pipeline and hand it in: `terraform plan -out plan.bin && terraform show -json plan.bin > \
                     tfplan.json`.",
                )
            }
        }
    }
}

/// What a tier makes of what the policy says.
fn level_of(asked: &InfrastructurePolicy, said: &PolicyFinding) -> Level {
    let level = match said.concern {
        Concern::PublicData => asked.public_data,
        Concern::WildcardPrivileges => Level::Deny,
        Concern::Tags => asked.tags,
        Concern::Size => asked.size,
        Concern::Encryption => asked.encryption,
        Concern::Custom => Level::Deny,
    };
    match said.effect {
        // A note of the policy stays one, whatever the tier makes of the concern.
        PolicyEffect::Note => level.min(Level::Note),
        PolicyEffect::Warn if said.concern != Concern::WildcardPrivileges => level.min(Level::Warn),
        PolicyEffect::Warn | PolicyEffect::Deny => level,
    }
}
