//! What is judged of infrastructure: what the policy in Rego said of plans, and what scanners found.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::code::{NAMED, joined};
use super::described::Described;
use super::same::once;
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::decision::{CheckName, Judged};
use crate::gate::facts::{Concern, Facts, PolicyEffect, PolicyFinding, ScanKind, Severity};
use crate::gate::policy::{InfrastructurePolicy, Level};

impl Bench<'_> {
    pub(super) fn infrastructure(&mut self) -> Outcome {
        let asked = &self.policy.infrastructure;
        let facts = self.facts;
        let plans = facts.plans.iter().any(|plan| plan.resources > 0);
        let tools = self.proven(ScanKind::Infrastructure);
        // A folder without a file is not the app's: it shows nothing.
        let is_seen = facts.inventory.iter().any(|inventory| inventory.files > 0);
        let described = Described::of(facts);
        let said = facts.plans.iter().flat_map(|plan| &plan.verdicts);
        let said = said
            .map(|said| (level_of(asked, said), &said.finding, is_hard_stop(said)))
            .filter(|(level, _, _)| *level != Level::Off);
        let found = self.scans(ScanKind::Infrastructure).flat_map(|scan| &scan.findings).map(|it| {
            // Scanners without a service behind them give no severity: that is not mild.
            let counts = it.severity >= Severity::High || it.severity == Severity::Unknown;
            (if counts { asked.findings } else { asked.findings.min(Level::Note) }, it, false)
        });
        let all: Vec<_> = said.chain(found).collect();
        let missing = asked.missing;
        let (worst, findings) = self.weigh(CheckName::Infrastructure, all);
        let not_looked_at = described.not_looked_at(!tools.is_empty());
        let (unseen, not_looked_at) = self.weigh_missing(CheckName::Infrastructure, missing, not_looked_at);
        let only_unseen = findings.is_empty();
        let (worst, findings) =
            (worst.max(unseen), once(findings.into_iter().chain(not_looked_at).collect()));
        let unlisted = self.unlisted(ScanKind::Infrastructure);
        let total = unlisted.saturating_add(u64::try_from(findings.len()).unwrap_or(u64::MAX));
        // What is described and not planned was not judged, whatever a scanner says.
        let unplanned = !plans && (described.for_plans > 0 || !is_seen);
        let lacking = self.lacking(ScanKind::Infrastructure);
        let shows_nothing = !plans && tools.is_empty() && !lacking.is_empty();
        if total > 0 {
            let level = if unplanned || shows_nothing { worst.max(missing) } else { worst };
            // What is not listed may be as bad as anything, and cannot have been waived.
            let level = if unlisted > 0 { level.max(asked.findings) } else { level };
            if only_unseen && unlisted == 0 {
                let planless =
                    (unplanned && described.for_plans > 0).then(|| no_plan(facts, described.for_plans));
                let text = not_seen(&findings, planless);
                let fix = findings.first().and_then(|it| it.finding.fix.clone()).filter(|_| !unplanned);
                return Outcome {
                    findings,
                    total,
                    ..Outcome::no_proof(level, text).fix(fix.unwrap_or_else(|| PLAN_IT.into()))
                };
            }
            let text = format!("{} in the infrastructure", counted(total, "finding", "findings"));
            return Outcome { findings, total, ..Outcome::failed(level, text) };
        }
        if !unplanned && shows_nothing {
            return Outcome::no_proof(missing, format!("a scan shows nothing: {}", lacking.join("; ")));
        }
        match (plans, described.for_plans, !is_seen) {
            (true, _, _) => {
                let also = if tools.is_empty() { "".into() } else { format!(", nor by {}", joined(tools)) };
                Outcome::passed(format!("nothing found in the plan{also}"))
            }
            (false, 0, false) if described.others() > 0 => {
                let files = counted(described.others(), "file that describes", "files that describe");
                Outcome::passed(format!("nothing found by {} in {files} infrastructure", joined(tools)))
            }
            (false, 0, false) => Outcome::passed("the app describes no infrastructure"),
            (false, 0, true) => {
                Outcome::no_proof(missing, "it is not known whether the app describes infrastructure").fix(
                    "Run `tidegate gate check` in the app's folder, which sees its files; or hand in a plan.",
                )
            }
            (false, described, _) => Outcome::no_proof(missing, no_plan(facts, described)).fix(PLAN_IT),
        }
    }
}

/// Rights to everything are never waived; rights that are only wide are.
fn is_hard_stop(said: &PolicyFinding) -> bool {
    said.concern == Concern::WildcardPrivileges && said.effect == PolicyEffect::Deny
}

/// What to do where Terraform describes something, and there is no plan.
const PLAN_IT: &str = "Make a plan in the pipeline and hand it in: `terraform plan -out plan.bin && terraform show -json plan.bin > tfplan.json`.";

/// How many files have no plan; one that makes nothing is none.
fn no_plan(facts: &Facts, files: u64) -> String {
    let lacking =
        if facts.plans.is_empty() { "no plan was handed in" } else { "what was handed in plans nothing" };
    format!("{} infrastructure, and {lacking}", counted(files, "file describes", "files describe"))
}

/// What nobody looked at, after what is said of files that have no plan.
fn not_seen(findings: &[Judged], planless: Option<String>) -> String {
    let also = planless.map_or_else(String::new, |said| format!("{said}; "));
    let names: Vec<&str> = findings.iter().filter_map(|it| it.finding.file.as_deref()).take(NAMED).collect();
    let files = u64::try_from(findings.len()).unwrap_or(u64::MAX);
    let described = counted(files, "file that describes", "files that describe");
    format!("{also}nobody looked at {described} infrastructure, such as {}", names.join(", "))
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
        PolicyEffect::Warn => level.min(Level::Warn),
        PolicyEffect::Deny => level,
    }
}
