//! What `flag on` and `flag set` change of a flag in one environment, from what was typed and what is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rollout_rules::change::TargetingPatch;
use rollout_rules::flag::{Prerequisite, Rule, ScheduledChange, Serve, Target};
use rollout_rules::ids::{FlagKey, RuleId, ScheduleId, SplitId, VariantKey};
use rollout_rules::percent::Exposure;
use rollout_rules::time::UnixMs;

use super::failure::Failure;
use super::reading::typed_file;
use super::rule_text::{RuleText, ServeText};
use super::view::StateView;
use super::when::{self, When};

/// What may be set besides on and off.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What it serves")]
pub struct TargetingOptions {
    /// How many units get it: 30%
    #[arg(long, value_name = "PERCENT")]
    exposure: Option<Exposure>,
    /// What the exposed units get: a variant, or shares such as a=50,b=50
    #[arg(long, alias = "variant-serve", value_name = "SERVE")]
    serve: Option<ServeText>,
    /// The variant of the split that the others are compared with
    #[arg(long, value_name = "VARIANT")]
    control: Option<VariantKey>,
    /// The split's name in reports
    #[arg(long, value_name = "ID")]
    split_id: Option<SplitId>,
    /// The attribute that the split is keyed by; without it, the targeting key
    #[arg(long, value_name = "ATTRIBUTE")]
    split_unit: Option<String>,
    /// What is hashed before the unit; without it, the flag's key. Splits with one seed agree
    #[arg(long, value_name = "TEXT")]
    split_seed: Option<String>,
    /// Always serve these units this variant: alice,bob=on; may be repeated
    #[arg(long = "target", value_name = "UNITS=VARIANT")]
    targets: Vec<TargetText>,
    /// Take units off all target lists; may be repeated
    #[arg(long = "untarget", value_name = "UNITS", value_delimiter = ',')]
    untargets: Vec<String>,
    /// Add a rule, or replace the one of the same id: '[id:] plan in pro,team -> on'; may be repeated
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<RuleText>,
    /// Remove a rule; may be repeated
    #[arg(long = "remove-rule", value_name = "ID")]
    remove_rules: Vec<RuleId>,
    /// Replace all rules by those of a JSON file: a list of rules; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rules", "remove_rules"])]
    rules_file: Option<PathBuf>,
    /// Another flag that must answer one of these variants: FLAG=VARIANT[,VARIANT]; may be repeated
    #[arg(long = "require", value_name = "FLAG=VARIANTS")]
    requires: Vec<RequireText>,
    /// No longer require a flag; may be repeated
    #[arg(long = "no-require", value_name = "FLAG")]
    no_requires: Vec<FlagKey>,
    /// Let something happen later: 2026-12-01T00:00Z=off, 48h=on, 7d=50%; may be repeated
    #[arg(long = "schedule", value_name = "WHEN=WHAT")]
    schedule: Vec<ScheduleText>,
    /// Drop a scheduled change; may be repeated
    #[arg(long = "unschedule", value_name = "ID")]
    unschedule: Vec<ScheduleId>,
}

/// `alice,bob=on` as typed.
#[derive(Clone, Debug, PartialEq)]
struct TargetText {
    units: Vec<String>,
    variant: VariantKey,
}

/// `FLAG=VARIANT[,VARIANT]` as typed.
#[derive(Clone, Debug, PartialEq)]
struct RequireText(Prerequisite);

/// `WHEN=WHAT` as typed.
#[derive(Clone, Debug, PartialEq)]
struct ScheduleText {
    at: When,
    on: Option<bool>,
    exposure: Option<Exposure>,
}

/// A text that has not the form `LEFT=RIGHT` that an option asks for.
#[derive(Clone, Copy, Debug)]
struct NotAPair(&'static str);

impl std::fmt::Display for NotAPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "write {}", self.0)
    }
}

impl std::error::Error for NotAPair {}

impl std::str::FromStr for TargetText {
    type Err = NotAPair;

    fn from_str(text: &str) -> Result<TargetText, NotAPair> {
        let wrong = NotAPair("UNITS=VARIANT, such as alice,bob=on");
        let (units, variant) = text.rsplit_once('=').ok_or(wrong)?;
        let variant = VariantKey::new(variant).map_err(|_| wrong)?;
        let units: Vec<String> = units.split(',').map(str::to_owned).collect();
        if units.iter().any(String::is_empty) {
            return Err(wrong);
        }
        Ok(TargetText { units, variant })
    }
}

impl std::str::FromStr for RequireText {
    type Err = NotAPair;

    fn from_str(text: &str) -> Result<RequireText, NotAPair> {
        let wrong = NotAPair("FLAG=VARIANT or FLAG=VARIANT,VARIANT");
        let (flag, variants) = text.split_once('=').ok_or(wrong)?;
        let variants: Result<Vec<VariantKey>, _> = variants.split(',').map(VariantKey::new).collect();
        Ok(RequireText(Prerequisite {
            flag: FlagKey::new(flag).map_err(|_| wrong)?,
            variants: variants.map_err(|_| wrong)?,
        }))
    }
}

impl std::str::FromStr for ScheduleText {
    type Err = NotAPair;

    fn from_str(text: &str) -> Result<ScheduleText, NotAPair> {
        let wrong =
            NotAPair("WHEN=on, WHEN=off, WHEN=30% or WHEN=on@30%, where WHEN is 48h or 2026-12-01T18:00Z");
        let (at, what) = text.rsplit_once('=').ok_or(wrong)?;
        let at = at.parse().map_err(|_| wrong)?;
        let (switch, exposure) = match what.split_once('@') {
            Some((switch, exposure)) => (Some(switch), Some(exposure)),
            None if what.ends_with('%') => (None, Some(what)),
            None => (Some(what), None),
        };
        let on = match switch {
            None => None,
            Some("on") => Some(true),
            Some("off") => Some(false),
            Some(_) => return Err(wrong),
        };
        let exposure = exposure.map(str::parse).transpose().map_err(|_| wrong)?;
        Ok(ScheduleText { at, on, exposure })
    }
}

impl TargetingOptions {
    /// What changes of a state, given what it is; nothing where nothing was typed.
    pub fn patch(&self, seen: &StateView, now: UnixMs) -> Result<TargetingPatch, Failure> {
        Ok(TargetingPatch {
            on: None,
            exposure: self.exposure,
            serve: self.serve(&seen.serve)?,
            targets: self.targets(&seen.targets),
            rules: self.rules(&seen.rules)?,
            prerequisites: self.prerequisites(&seen.prerequisites),
            schedule: self.schedule(&seen.schedule, now)?,
        })
    }

    fn serve(&self, seen: &Serve) -> Result<Option<Serve>, Failure> {
        let about_split = self.control.is_some()
            || self.split_id.is_some()
            || self.split_unit.is_some()
            || self.split_seed.is_some();
        let serve = match &self.serve {
            None if !about_split => return Ok(None),
            None => seen.clone(),
            Some(typed) => {
                let id = match (&self.split_id, seen) {
                    (Some(id), _) => id.clone(),
                    (None, Serve::Split(split)) => split.id.clone(),
                    (None, Serve::Variant(_)) => SplitId::new("main").expect("a valid split id"),
                };
                typed.clone().named(&id)
            }
        };
        match serve {
            Serve::Split(mut split) => {
                // What was said of the split that is there stays, unless it is said anew.
                if let Serve::Split(old) = seen {
                    split.control = split.control.or_else(|| old.control.clone());
                    split.unit = split.unit.or_else(|| old.unit.clone());
                    split.seed = split.seed.or_else(|| old.seed.clone());
                }
                if let Some(id) = &self.split_id {
                    split.id = id.clone();
                }
                split.control = self.control.clone().or(split.control);
                split.unit = self.split_unit.clone().or(split.unit);
                split.seed = self.split_seed.clone().or(split.seed);
                let is_share = |key: &VariantKey| split.weights.iter().any(|share| share.variant == *key);
                if self.control.is_none() && !split.control.as_ref().is_none_or(is_share) {
                    split.control = None;
                }
                Ok(Some(Serve::Split(split)))
            }
            Serve::Variant(_) if about_split => {
                Err(Failure::usage("--control and the --split options belong to shares: --serve a=50,b=50"))
            }
            one => Ok(Some(one)),
        }
    }

    fn targets(&self, seen: &[Target]) -> Option<Vec<Target>> {
        if self.targets.is_empty() && self.untargets.is_empty() {
            return None;
        }
        let moved = |unit: &str| {
            self.untargets.iter().any(|gone| gone == unit)
                || self.targets.iter().any(|typed| typed.units.iter().any(|moved| moved == unit))
        };
        let mut lists: Vec<Target> = seen.to_vec();
        for list in &mut lists {
            list.units.retain(|unit| !moved(unit));
        }
        for typed in &self.targets {
            let units = typed.units.iter().map(|unit| Arc::from(unit.as_str()));
            match lists.iter_mut().find(|list| list.variant == typed.variant) {
                Some(list) => list.units.extend(units),
                None => lists.push(Target { variant: typed.variant.clone(), units: units.collect() }),
            }
        }
        lists.retain(|list| !list.units.is_empty());
        Some(lists)
    }

    fn rules(&self, seen: &[Rule]) -> Result<Option<Vec<Rule>>, Failure> {
        if let Some(path) = &self.rules_file {
            return read_rules(path).map(Some);
        }
        if self.rules.is_empty() && self.remove_rules.is_empty() {
            return Ok(None);
        }
        let mut rules = seen.to_vec();
        for gone in &self.remove_rules {
            let before = rules.len();
            rules.retain(|rule| rule.id != *gone);
            if rules.len() == before {
                let known: Vec<&str> = seen.iter().map(|rule| rule.id.as_str()).collect();
                return Err(Failure::usage(format!(
                    "there is no rule {gone}; there are: {}",
                    known.join(", ")
                )));
            }
        }
        for typed in &self.rules {
            let id = match typed.id() {
                Some(id) => id.clone(),
                None => free_rule_id(&rules),
            };
            let rule = typed.clone().named(id);
            match rules.iter_mut().find(|old| old.id == rule.id) {
                Some(old) => *old = rule,
                None => rules.push(rule),
            }
        }
        Ok(Some(rules))
    }

    fn prerequisites(&self, seen: &[Prerequisite]) -> Option<Vec<Prerequisite>> {
        if self.requires.is_empty() && self.no_requires.is_empty() {
            return None;
        }
        let mut all = seen.to_vec();
        all.retain(|old| {
            !self.no_requires.contains(&old.flag) && !self.requires.iter().any(|new| new.0.flag == old.flag)
        });
        all.extend(self.requires.iter().map(|typed| typed.0.clone()));
        Some(all)
    }

    fn schedule(
        &self,
        seen: &[ScheduledChange],
        now: UnixMs,
    ) -> Result<Option<Vec<ScheduledChange>>, Failure> {
        if self.schedule.is_empty() && self.unschedule.is_empty() {
            return Ok(None);
        }
        let mut all = seen.to_vec();
        all.retain(|old| !self.unschedule.contains(&old.id));
        for typed in &self.schedule {
            let at = typed.at.from(now);
            let id = free_schedule_id(&all, at);
            all.push(ScheduledChange { id, at, on: typed.on, exposure: typed.exposure });
        }
        all.sort_by_key(|change| change.at);
        Ok(Some(all))
    }
}

fn read_rules(path: &Path) -> Result<Vec<Rule>, Failure> {
    let wrong = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
    let text = typed_file(path)?;
    let rules: Vec<Rule> = serde_json::from_str(&text).map_err(|error| {
        wrong(format!("no list of rules such as [{{\"id\":…,\"when\":…,\"serve\":…}}]: {error}"))
    })?;
    Ok(rules)
}

/// The first of r1, r2, … that no rule has.
fn free_rule_id(rules: &[Rule]) -> RuleId {
    let taken = |id: &RuleId| rules.iter().any(|rule| rule.id == *id);
    (1..)
        .map(|n| RuleId::new(&format!("r{n}")).expect("a valid rule id"))
        .find(|id| !taken(id))
        .expect("numbers do not end")
}

/// A name that tells the moment: `at-20261201T1800Z`, with a number behind it if it is taken.
fn free_schedule_id(all: &[ScheduledChange], at: UnixMs) -> ScheduleId {
    let minute = when::minute(at).replace([' ', ':', '-'], "").replace("UTC", "");
    let (day, time) = minute.split_at(minute.len().saturating_sub(4));
    let base = format!("at-{day}T{time}Z");
    let taken = |id: &ScheduleId| all.iter().any(|change| change.id == *id);
    (1..)
        .map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") })
        .map(|name| ScheduleId::new(&name).expect("a valid schedule id"))
        .find(|id| !taken(id))
        .expect("numbers do not end")
}
