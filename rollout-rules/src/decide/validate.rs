//! Whether what people wrote can be kept: every check names the place and what would be right.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::{Case, Refusal, What, check_size};
use crate::change::TargetingPatch;
use crate::condition::{SegmentRef, check_regex_count};
use crate::flag::{
    Flag, MAX_PREREQUISITES, MAX_RULES, MAX_SCHEDULED, MAX_TARGETS, MAX_TEXT_BYTES, MAX_UNIT_BYTES,
    MAX_VALUE_BYTES, MAX_VARIANTS, Prerequisite, SegmentScope, Serve, Split, Targeting, Variant,
};
use crate::ids::{EnvKey, FlagKey, VariantKey};
use crate::snapshot::{App, FlagView};

pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Refusal {
    Refusal::Invalid { field: field.into(), problem: problem.into() }
}

pub(super) fn too_many(what: &'static str, count: usize, limit: usize) -> Result<(), Refusal> {
    if count > limit { Err(Refusal::TooMany { what, limit }) } else { Ok(()) }
}

pub(super) fn check_text(field: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(invalid(field, format!("longer than {MAX_TEXT_BYTES} bytes")));
    }
    Ok(())
}

/// A flag's definition by itself.
pub(super) fn check_flag(flag: &Flag) -> Result<(), Refusal> {
    check_text("description", &flag.description)?;
    check_text("owner", &flag.owner)?;
    too_many("variants of one flag", flag.variants.len(), MAX_VARIANTS)?;
    if flag.variants.is_empty() {
        return Err(invalid(
            "variants",
            "name at least one answer; only a boolean flag gets `on` and `off` by itself",
        ));
    }
    let mut keys = BTreeSet::new();
    for (nth, variant) in flag.variants.iter().enumerate() {
        if !keys.insert(&variant.key) {
            return Err(invalid(format!("variants[{nth}].key"), format!("`{}` is there twice", variant.key)));
        }
        check_value(flag, nth, variant)?;
    }
    if !keys.contains(&flag.off_variant) {
        return Err(invalid("off_variant", format!("`{}` is none of the variants", flag.off_variant)));
    }
    Ok(())
}

fn check_value(flag: &Flag, nth: usize, variant: &Variant) -> Result<(), Refusal> {
    let field = format!("variants[{nth}].value");
    if !flag.kind.admits(&variant.value) {
        let kind = serde_json::to_string(&flag.kind).unwrap_or_default();
        return Err(invalid(field, format!("not of the flag's type, which is {kind}")));
    }
    let bytes = serde_json::to_vec(&variant.value).map_or(0, |bytes| bytes.len());
    if bytes > MAX_VALUE_BYTES {
        return Err(invalid(field, format!("{bytes} bytes as JSON, and {MAX_VALUE_BYTES} are allowed")));
    }
    Ok(())
}

/// What would be set for a flag in an environment. Only what the patch brings is compared with the
/// clock: a schedule may hold what was checked when it was written.
pub(super) fn check_targeting(
    case: &Case<'_>,
    view: FlagView<'_>,
    environment: &EnvKey,
    targeting: &Targeting,
    patch: &TargetingPatch,
) -> Result<(), Refusal> {
    let flag = view.record().flag();
    check_variants(flag, targeting)?;
    check_bounds(targeting)?;
    if patch.rules.is_some() {
        // The patch may be small and what it adds to large.
        check_size(targeting)?;
        // Before anything is compiled: nobody may hold up the others by sheer number.
        let conditions = targeting.rules.iter().map(|rule| &rule.when);
        check_regex_count(conditions).map_err(|error| invalid("rules", error.to_string()))?;
        let mut dfa_bytes = 0;
        for (nth, rule) in targeting.rules.iter().enumerate() {
            let field = format!("rules[{nth}].when");
            rule.when
                .validate_after(&mut dfa_bytes)
                .map_err(|error| invalid(field.as_str(), error.to_string()))?;
            check_segments(case, view.app(), &field, &rule.when)?;
        }
    }
    if patch.schedule.is_some() {
        check_schedule(case, targeting)?;
    }
    if patch.prerequisites.is_some() {
        check_prerequisites(view, environment, &targeting.prerequisites)?;
    }
    Ok(())
}

fn check_segments(
    case: &Case<'_>,
    app: &App,
    field: &str,
    condition: &crate::condition::Condition,
) -> Result<(), Refusal> {
    let mut named = BTreeSet::new();
    crate::snapshot::collect_segments(condition, &mut named);
    for segment in named {
        let (scope, key) = match &segment {
            SegmentRef::App(key) => (SegmentScope::App(app.info().key.clone()), key),
            SegmentRef::Shared(key) => (SegmentScope::Shared, key),
        };
        if case.snapshot.segment(&scope, key).is_none() {
            return Err(invalid(field, format!("there is no segment `{segment}`")));
        }
    }
    Ok(())
}

fn check_bounds(targeting: &Targeting) -> Result<(), Refusal> {
    let units = targeting.targets.iter().map(|target| target.units.len()).sum();
    too_many("units on target lists of one flag and environment", units, MAX_TARGETS)?;
    too_many("target lists of one flag and environment", targeting.targets.len(), MAX_VARIANTS)?;
    too_many("rules of one flag and environment", targeting.rules.len(), MAX_RULES)?;
    too_many("prerequisites of one flag and environment", targeting.prerequisites.len(), MAX_PREREQUISITES)?;
    too_many("scheduled changes of one flag and environment", targeting.schedule.len(), MAX_SCHEDULED)?;
    for (nth, target) in targeting.targets.iter().enumerate() {
        for unit in &target.units {
            check_unit(&format!("targets[{nth}].units"), unit)?;
        }
    }
    let mut ids = BTreeSet::new();
    for (nth, rule) in targeting.rules.iter().enumerate() {
        check_text(&format!("rules[{nth}].description"), &rule.description)?;
        if !ids.insert(&rule.id) {
            return Err(invalid(format!("rules[{nth}].id"), format!("`{}` is there twice", rule.id)));
        }
    }
    Ok(())
}

pub(super) fn check_unit(field: &str, unit: &str) -> Result<(), Refusal> {
    if unit.is_empty() || unit.len() > MAX_UNIT_BYTES {
        return Err(invalid(field, format!("a unit is a text of 1 to {MAX_UNIT_BYTES} bytes")));
    }
    Ok(())
}

/// Whether every variant that a targeting names is one of the flag.
pub(super) fn check_variants(flag: &Flag, targeting: &Targeting) -> Result<(), Refusal> {
    let known = |field: String, key: &VariantKey| {
        if flag.variants.iter().any(|variant| variant.key == *key) {
            return Ok(());
        }
        Err(invalid(field, format!("`{key}` is none of the flag's variants")))
    };
    for (nth, target) in targeting.targets.iter().enumerate() {
        known(format!("targets[{nth}].variant"), &target.variant)?;
    }
    let rules =
        targeting.rules.iter().enumerate().map(|(nth, rule)| (format!("rules[{nth}].serve"), &rule.serve));
    for (field, serve) in rules.chain([("serve".into(), &targeting.serve)]) {
        match serve {
            Serve::Variant(variant) => known(format!("{field}.variant"), variant)?,
            Serve::Split(split) => {
                for (nth, weight) in split.weights.iter().enumerate() {
                    known(format!("{field}.split.weights[{nth}].variant"), &weight.variant)?;
                }
                check_split(&field, split)?;
            }
        }
    }
    Ok(())
}

fn check_split(field: &str, split: &Split) -> Result<(), Refusal> {
    if split.id.as_str().starts_with('.') {
        let problem = "begins with a dot, as the splits do that Tidegate names: choose another name";
        return Err(invalid(format!("{field}.split.id"), problem));
    }
    too_many("weights of one split", split.weights.len(), MAX_VARIANTS)?;
    let total: u64 = split.weights.iter().map(|weight| u64::from(weight.weight)).sum();
    if !(1..=i32::MAX as u64).contains(&total) {
        let problem = format!("the weights sum to {total}: use 1 to {}", i32::MAX);
        return Err(invalid(format!("{field}.split.weights"), problem));
    }
    if let Some(control) = &split.control
        && !split.weights.iter().any(|weight| weight.variant == *control)
    {
        let problem = format!("`{control}` has no weight in the split");
        return Err(invalid(format!("{field}.split.control"), problem));
    }
    for (name, text) in [("unit", &split.unit), ("seed", &split.seed)] {
        if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > MAX_UNIT_BYTES) {
            let problem = format!("use 1 to {MAX_UNIT_BYTES} bytes, or leave it out");
            return Err(invalid(format!("{field}.split.{name}"), problem));
        }
    }
    Ok(())
}

fn check_schedule(case: &Case<'_>, targeting: &Targeting) -> Result<(), Refusal> {
    let mut ids = BTreeSet::new();
    for (nth, step) in targeting.schedule.iter().enumerate() {
        if !ids.insert(&step.id) {
            return Err(invalid(format!("schedule[{nth}].id"), format!("`{}` is there twice", step.id)));
        }
        if step.at <= case.now {
            return Err(invalid(format!("schedule[{nth}].at"), format!("{} is not in the future", step.at)));
        }
        if step.on.is_none() && step.exposure.is_none() {
            return Err(invalid(format!("schedule[{nth}]"), "a step sets `on`, `exposure` or both"));
        }
    }
    Ok(())
}

fn check_prerequisites(
    view: FlagView<'_>,
    environment: &EnvKey,
    prerequisites: &[Prerequisite],
) -> Result<(), Refusal> {
    let app = view.app();
    for (nth, prerequisite) in prerequisites.iter().enumerate() {
        let other = app.flag(&prerequisite.flag).filter(|other| !other.is_archived());
        let Some(other) = other else {
            let what = What::Flag(app.info().key.clone(), prerequisite.flag.clone());
            return Err(invalid(format!("prerequisites[{nth}].flag"), format!("there is no {what}")));
        };
        if prerequisite.variants.is_empty() || prerequisite.variants.len() > MAX_VARIANTS {
            let problem = format!("name 1 to {MAX_VARIANTS} answers that satisfy it");
            return Err(invalid(format!("prerequisites[{nth}].variants"), problem));
        }
        for variant in &prerequisite.variants {
            if !other.flag().variants.iter().any(|known| known.key == *variant) {
                let problem = format!("`{variant}` is no variant of flag `{}`", prerequisite.flag);
                return Err(invalid(format!("prerequisites[{nth}].variants"), problem));
            }
        }
    }
    check_chains(app, environment, &view.record().flag().key, prerequisites)
}

/// Follows the prerequisites of prerequisites: none leads back, and no chain is too long, counted from the
/// flags that depend on this one.
fn check_chains(
    app: &App,
    environment: &EnvKey,
    flag: &FlagKey,
    prerequisites: &[Prerequisite],
) -> Result<(), Refusal> {
    // How a flag was reached, and by how many steps at most.
    let mut reached: BTreeMap<FlagKey, (FlagKey, usize)> = BTreeMap::new();
    let mut waiting: Vec<(FlagKey, FlagKey, usize)> =
        prerequisites.iter().map(|other| (other.flag.clone(), flag.clone(), 1)).collect();
    while let Some((here, from, steps)) = waiting.pop() {
        if here == *flag {
            return Err(Refusal::PrerequisiteCycle { path: path_back(flag, from, &reached) });
        }
        too_many("prerequisites in a chain", steps, MAX_PREREQUISITES)?;
        if reached.get(&here).is_some_and(|(_, known)| *known >= steps) {
            continue;
        }
        reached.insert(here.clone(), (from, steps));
        let next = app.flag(&here).and_then(|record| record.state(environment));
        for other in next.iter().flat_map(|state| &state.state().targeting.prerequisites) {
            waiting.push((other.flag.clone(), here.clone(), steps + 1));
        }
    }
    let below = reached.values().map(|(_, steps)| *steps).max().unwrap_or(0);
    if below == 0 {
        return Ok(());
    }
    too_many("prerequisites in a chain", below + steps_above(app, environment, flag), MAX_PREREQUISITES)
}

/// How many steps the longest chain takes that ends at this flag; past the bound it is not followed.
fn steps_above(app: &App, environment: &EnvKey, flag: &FlagKey) -> usize {
    let needs = |user: &FlagKey, other: &FlagKey| {
        let record = app.flag(user).filter(|record| !record.is_archived());
        let state = record.and_then(|record| record.state(environment));
        state.is_some_and(|it| it.state().targeting.prerequisites.iter().any(|one| one.flag == *other))
    };
    let mut level = BTreeSet::from([flag]);
    for steps in 0..MAX_PREREQUISITES {
        let users = |other| app.dependents(other).filter(move |user| needs(user, other));
        level = level.into_iter().flat_map(users).collect();
        if level.is_empty() {
            return steps;
        }
    }
    MAX_PREREQUISITES
}

fn path_back(flag: &FlagKey, last: FlagKey, reached: &BTreeMap<FlagKey, (FlagKey, usize)>) -> Vec<FlagKey> {
    let mut path = vec![flag.clone()];
    let mut here = last;
    while here != *flag && path.len() <= MAX_PREREQUISITES + 1 {
        path.push(here.clone());
        match reached.get(&here) {
            Some((from, _)) => here = from.clone(),
            None => break,
        }
    }
    path.push(flag.clone());
    path.reverse();
    path
}
