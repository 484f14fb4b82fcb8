//! Which of the files that describe infrastructure were looked at. A plan stands for one folder of Terraform and the modules in it; what
//! Terraform does not make is for scanners.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::gate::facts::{Facts, Finding, Plan, Severity};
use crate::ids::Digest;

/// What to do about a folder that no plan stands for.
const PLAN_EACH: &str = "Each plan stands for one folder. Make one in every folder that is applied, and hand in all of them: `terraform plan -out \
                         plan.bin && terraform show -json plan.bin > tfplan.json`. What is never applied can be waived.";
/// What to do about what no plan can be made of.
const SCAN_IT: &str = "Have a scanner look at it and hand in its report: `checkov -d . -o json > checkov.json`. If none can read it, have a person \
                       look, and ask for a waiver.";

/// The files that describe infrastructure.
pub(super) struct Described<'f> {
    /// How many of them Terraform makes plans of: those that declare something, or all where nothing is known of that.
    pub(super) for_plans: u64,
    /// Those among them that no plan stands for; empty if there is no plan at all.
    unplanned: Vec<&'f str>,
    /// Those that Terraform does not read.
    others: Vec<&'f str>,
}

impl<'f> Described<'f> {
    pub(super) fn of(facts: &'f Facts) -> Described<'f> {
        let mut files: BTreeSet<&str> = BTreeSet::new();
        let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut declaring: BTreeSet<&str> = BTreeSet::new();
        // A folder without a file is not the app's: it shows nothing.
        for inventory in facts.inventory.iter().filter(|inventory| inventory.files > 0) {
            files.extend(inventory.infrastructure.iter().map(String::as_str));
            for file in inventory.declared.iter().filter(|file| !file.names.is_empty()) {
                declaring.insert(&file.path);
                folders
                    .entry(folder_of(&file.path))
                    .or_default()
                    .extend(file.names.iter().map(String::as_str));
            }
        }
        let (for_plans, others): (Vec<&str>, Vec<&str>) =
            files.into_iter().partition(|file| is_for_plans(file));
        let planned = planned(facts, &folders);
        let needing = for_plans.iter().filter(|file| declaring.contains(**file)).count();
        // Older reports do not say what files declare.
        let needing = if needing > 0 { needing } else { for_plans.len() };
        let unplanned = declaring.into_iter().filter(|file| !planned.contains(folder_of(file))).collect();
        let for_plans = u64::try_from(needing).unwrap_or(u64::MAX);
        Described { for_plans, unplanned: if has_plan(facts) { unplanned } else { Vec::new() }, others }
    }

    /// How many of them Terraform does not read.
    pub(super) fn others(&self) -> u64 {
        u64::try_from(self.others.len()).unwrap_or(u64::MAX)
    }

    /// What nobody looked at.
    pub(super) fn not_looked_at(&self, is_scanned: bool) -> Vec<Finding> {
        let unplanned = self.unplanned.iter().map(|path| finding("unplanned", path, PLAN_EACH));
        let others = self.others.iter().filter(|_| !is_scanned);
        unplanned.chain(others.map(|path| finding("unscanned", path, SCAN_IT))).collect()
    }
}

/// Whether there is a plan of anything.
fn has_plan(facts: &Facts) -> bool {
    facts.plans.iter().any(|plan| plan.resources > 0)
}

fn finding(rule: &str, path: &str, fix: &str) -> Finding {
    let title = match rule {
        "unplanned" => "no plan that was handed in stands for its folder",
        _ => "it describes infrastructure, and no scanner looked at it",
    };
    Finding {
        rule: rule.to_string(),
        fingerprint: Digest::of(format!("{rule}\n{path}").as_bytes()),
        title: title.to_string(),
        severity: Severity::High,
        file: Some(path.to_string()),
        fix: Some(fix.to_string()),
        ..Finding::default()
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether Terraform, OpenTofu or Terragrunt reads it.
fn is_for_plans(path: &str) -> bool {
    [".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", "terragrunt.hcl"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// The folders that plans stand for, of those that declare something.
fn planned<'f>(facts: &Facts, folders: &BTreeMap<&'f str, BTreeSet<&'f str>>) -> BTreeSet<&'f str> {
    // In order, so that nothing hangs on how they came.
    let mut plans: Vec<&Plan> = facts.plans.iter().filter(|plan| plan.resources > 0).collect();
    plans.sort_by_key(|one| one.piece);
    let mut planned = BTreeSet::new();
    for plan in plans {
        let names = PlannedNames::of(plan);
        let known = |names: &BTreeSet<String>, declared: &BTreeSet<&str>| {
            declared.iter().filter(|name| names.contains(**name)).count()
        };
        let modules = folders.iter().filter(|(_, declared)| known(&names.inside, declared) > 0);
        planned.extend(modules.map(|(folder, _)| *folder));
        // Folders for several environments declare the same: one plan is not a plan of all of them.
        let best = folders
            .iter()
            .map(|(folder, declared)| (known(&names.outside, declared), *folder))
            .filter(|(names, _)| *names > 0)
            .max_by_key(|(names, folder)| (*names, !planned.contains(folder), core::cmp::Reverse(*folder)));
        planned.extend(best.map(|(_, folder)| folder));
    }
    planned
}

/// What a plan's resources and modules are called in the files that declare them: `aws_s3_bucket.data`, `module.network`.
#[derive(Default)]
struct PlannedNames {
    /// In the folder that the plan was made in.
    outside: BTreeSet<String>,
    /// In the modules that it uses.
    inside: BTreeSet<String>,
}

impl PlannedNames {
    fn of(plan: &Plan) -> PlannedNames {
        let mut names = PlannedNames::default();
        let resources = plan.input.get("resources").and_then(|all| all.as_array());
        for resource in resources.into_iter().flatten() {
            let Some(address) = resource.get("address").and_then(|address| address.as_str()) else {
                continue;
            };
            let address = without_instances(address);
            let mut rest = address.as_str();
            let mut into = &mut names.outside;
            while let Some((module, inside)) = rest.strip_prefix("module.").and_then(|it| it.split_once('.'))
            {
                into.insert(format!("module.{module}"));
                (rest, into) = (inside, &mut names.inside);
            }
            into.insert(rest.to_string());
        }
        names
    }
}

/// An address without what tells instances apart: `module.a["x.y"].aws_instance.b[0]` is `module.a.aws_instance.b`.
fn without_instances(address: &str) -> String {
    let mut depth = 0_u32;
    address
        .chars()
        .filter(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}
