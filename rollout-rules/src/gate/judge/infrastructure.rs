//! What is judged of infrastructure: what the policy in Rego said of plans, and what scanners found.

use alloc::format;
use alloc::vec::Vec;

use super::code::joined;
use super::{Bench, Outcome};
use crate::gate::decision::CheckName;
use crate::gate::facts::{Concern, PolicyEffect, PolicyFinding, ScanKind, Severity};
use crate::gate::policy::Level;

impl Bench<'_> {
    pub(super) fn infrastructure(&mut self) -> Outcome {
        let asked = &self.policy.infrastructure;
        let facts = self.facts;
        let plans = facts.plans.iter().any(|plan| plan.resources > 0);
        let tools = self.proven(ScanKind::Infrastructure);
        let described: u64 = facts
            .inventory
            .iter()
            .map(|inventory| u64::try_from(inventory.infrastructure.len()).unwrap_or(u64::MAX))
            .sum();
        let policy_level = |said: &PolicyFinding| match said.concern {
            Concern::PublicData => asked.public_data,
            Concern::WildcardPrivileges => Level::Deny,
            Concern::Tags => asked.tags,
            Concern::Size => asked.size,
            Concern::Encryption => asked.encryption,
            Concern::Custom => match said.effect {
                PolicyEffect::Note => Level::Note,
                PolicyEffect::Warn => Level::Warn,
                PolicyEffect::Deny => Level::Deny,
            },
        };
        // A note of the policy stays one, whatever the tier makes of the concern.
        let level_of = |said: &PolicyFinding| match said.effect {
            PolicyEffect::Note => policy_level(said).min(Level::Note),
            PolicyEffect::Warn if said.concern != Concern::WildcardPrivileges => {
                policy_level(said).min(Level::Warn)
            }
            _ => policy_level(said),
        };
        let said = facts.plans.iter().flat_map(|plan| &plan.verdicts);
        let said = said
            .map(|said| (level_of(said), &said.finding, said.concern == Concern::WildcardPrivileges))
            .filter(|(level, _, _)| *level != Level::Off);
        let found = self.scans(ScanKind::Infrastructure).flat_map(|scan| &scan.findings).map(|it| {
            // Scanners without a service behind them give no severity: that is not mild.
            let counts = it.severity >= Severity::High || it.severity == Severity::Unknown;
            (if counts { asked.findings } else { asked.findings.min(Level::Note) }, it, false)
        });
        let all: Vec<_> = said.chain(found).collect();
        let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
        let missing = asked.missing;
        let (worst, findings) = self.weigh(CheckName::Infrastructure, all);
        // What is described and not planned was not judged, whatever a scanner says.
        let unplanned = !plans && (described > 0 || facts.inventory.is_empty());
        if total > 0 {
            let level = if unplanned { worst.max(missing) } else { worst };
            let text = format!("{total} findings in the infrastructure");
            return Outcome { findings, total, ..Outcome::failed(level, text) };
        }
        let lacking = self.lacking(ScanKind::Infrastructure);
        if !unplanned && tools.is_empty() && !lacking.is_empty() && !plans {
            return Outcome::no_proof(missing, format!("a scan shows nothing: {}", lacking.join("; ")));
        }
        match (plans, described, facts.inventory.is_empty()) {
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
                let text = format!("{described} files describe infrastructure, and no plan was handed in");
                Outcome::no_proof(missing, text).fix(
                    "Make a plan in the pipeline and hand it in: `terraform plan -out plan.bin && terraform show -json plan.bin > \
                     tfplan.json`.",
                )
            }
        }
    }
}
