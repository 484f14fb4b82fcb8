//! The steps of a check, one after the other, as [`evaluate`](crate::evaluate::evaluate) takes them.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::trace::Tracer;
use super::{LookedAt, Picked, Served, Step};
use crate::bucketing::exposure_bucket;
use crate::compile::{CompiledFlag, CompiledRule, CompiledServe, Standing, Unit};
use crate::context::{Attribute, Context, TARGETING_KEY};
use crate::evaluate::{FlagSet, MAX_PREREQUISITE_CHECKS, Reason, is_off_since};
use crate::flag::{Height, HoldCause, MAX_PREREQUISITES, Prerequisite, Rule, ScheduledChange, Serve};
use crate::ids::{RuleId, VariantKey};
use crate::percent::Exposure;
use crate::segment::Segments;
use crate::time::UnixMs;

/// One check that is told.
pub(super) struct Walk<'s, 'a, 'c> {
    flags: &'s FlagSet<'a>,
    tracer: Tracer<'c, 'a>,
    /// How many prerequisites may still be looked at.
    prerequisites_left: u16,
    depth: usize,
    now: UnixMs,
}

type Steps = Vec<Step>;

fn push(steps: &mut Steps, decides: bool, looked_at: LookedAt) {
    steps.push(Step { looked_at, decides });
}

impl<'s, 'a, 'c> Walk<'s, 'a, 'c> {
    pub(super) fn new(flags: &'s FlagSet<'a>, context: &'c Context, now: UnixMs) -> Walk<'s, 'a, 'c> {
        let segments = Segments { shared: Some(&flags.shared.segments), app: Some(&flags.app.segments) };
        let tracer = Tracer { context, segments, left: super::MAX_SHOWN_TESTS };
        Walk { flags, tracer, prerequisites_left: MAX_PREREQUISITE_CHECKS, depth: 0, now }
    }

    /// What the flag answers, the variant by its place.
    pub(super) fn answer(&mut self, flag: &CompiledFlag, steps: &mut Steps) -> (u16, Reason) {
        if let Some(reason) = self.killed(flag, steps).or_else(|| self.stopped(flag, steps)) {
            return (flag.off_variant, reason);
        }
        let mut exposure = flag.state.targeting.exposure;
        for change in self.lowerings(flag) {
            let off = change.on == Some(false);
            let lowered = change.exposure.filter(|to| *to < flag.state.targeting.exposure);
            let looked_at =
                LookedAt::Schedule { id: change.id.clone(), at: change.at, off, exposure: lowered };
            push(steps, off, looked_at);
            if off {
                return (flag.off_variant, Reason::Off);
            }
            exposure = exposure.min(lowered.unwrap_or(exposure));
        }
        let targeting = &flag.state.targeting;
        if !targeting.prerequisites.iter().all(|prerequisite| self.satisfied(prerequisite, steps)) {
            return (flag.off_variant, Reason::PrerequisiteFailed);
        }
        if let Some(variant) = self.target(flag, steps) {
            return (variant, Reason::Target);
        }
        for (index, rule) in targeting.rules.iter().enumerate() {
            if let Some(answer) = self.rule(flag, index, rule, steps) {
                return answer;
            }
        }
        self.by_default(flag, exposure, steps)
    }

    fn killed(&self, flag: &CompiledFlag, steps: &mut Steps) -> Option<Reason> {
        let environment = &self.flags.environment.key;
        let above = [(Height::Everything, &self.flags.shared.kills), (Height::App, &self.flags.app.kills)];
        for (height, kills) in above {
            let kill = kills.in_environment(environment);
            let looked_at = LookedAt::Kill { height, killed: kill.is_some(), kill: kill.cloned() };
            push(steps, kill.is_some(), looked_at);
            if kill.is_some() {
                return Some(Reason::Killed(height));
            }
        }
        let killed = flag.standing == Standing::Killed;
        push(steps, killed, LookedAt::Kill { height: Height::Flag, killed, kill: None });
        killed.then_some(Reason::Killed(Height::Flag))
    }

    /// Holds, ends and the switch.
    fn stopped(&self, flag: &CompiledFlag, steps: &mut Steps) -> Option<Reason> {
        let hold = flag.state.hold.as_deref();
        let of_gate = |gate: bool| hold.filter(|hold| (hold.cause == HoldCause::Gate) == gate).cloned();
        let held = of_gate(false);
        let reason = held.as_ref().map(|hold| Reason::Held(hold.cause));
        push(steps, reason.is_some(), LookedAt::Hold { held });
        if reason.is_some() {
            return reason;
        }
        let expired = self.now >= flag.expires_at;
        push(steps, expired, LookedAt::Expiry { expires_at: flag.expires_at, expired });
        if expired {
            return Some(Reason::Expired);
        }
        let ends_at = self.flags.environment.ends_at;
        let ended = ends_at.is_some_and(|end| self.now >= end);
        push(steps, ended, LookedAt::EnvironmentEnd { ends_at, ended });
        if ended {
            return Some(Reason::EnvironmentEnded);
        }
        let held = of_gate(true);
        let reason = held.as_ref().map(|hold| Reason::Held(hold.cause));
        push(steps, reason.is_some(), LookedAt::GateHold { held });
        if reason.is_some() {
            return reason;
        }
        let on = flag.state.targeting.on;
        let revived = self.revived(flag);
        push(steps, !on || revived.is_some(), LookedAt::Switch { on, revived });
        (!on || revived.is_some()).then_some(Reason::Off)
    }

    /// Where a kill was taken back since the flag was turned on.
    fn revived(&self, flag: &CompiledFlag) -> Option<Height> {
        let environment = &self.flags.environment.key;
        if is_off_since(&self.flags.shared.kills, environment, flag) {
            return Some(Height::Everything);
        }
        if is_off_since(&self.flags.app.kills, environment, flag) {
            return Some(Height::App);
        }
        (flag.state.targeting.on && !flag.on).then_some(Height::Flag)
    }

    /// The scheduled changes that have come and lower the flag, by time.
    fn lowerings<'f>(&self, flag: &'f CompiledFlag) -> Vec<&'f ScheduledChange> {
        let targeting = &flag.state.targeting;
        let lowers = |change: &&ScheduledChange| {
            let less = change.exposure.is_some_and(|exposure| exposure < targeting.exposure);
            change.at <= self.now && (change.on == Some(false) || less)
        };
        let mut lowerings: Vec<&ScheduledChange> = targeting.schedule.iter().filter(lowers).collect();
        lowerings.sort_by_key(|change| change.at);
        lowerings
    }

    fn satisfied(&mut self, prerequisite: &Prerequisite, steps: &mut Steps) -> bool {
        let mut below = Vec::new();
        let (variant, reason, satisfied) = match self.prerequisite(prerequisite, &mut below) {
            Ok((variant, reason)) => {
                let satisfied = reason.serves() && prerequisite.variants.contains(&variant);
                (Some(variant), reason.code(), satisfied)
            }
            Err(why) => (None, why, false),
        };
        let looked_at = LookedAt::Prerequisite {
            flag: prerequisite.flag.clone(),
            wanted: prerequisite.variants.clone(),
            variant,
            reason: reason.into(),
            satisfied,
            steps: below,
        };
        push(steps, !satisfied, looked_at);
        satisfied
    }

    fn prerequisite(
        &mut self,
        prerequisite: &Prerequisite,
        steps: &mut Steps,
    ) -> Result<(VariantKey, Reason), &'static str> {
        if self.depth >= MAX_PREREQUISITES {
            return Err("chain_too_long");
        }
        self.prerequisites_left = self.prerequisites_left.checked_sub(1).ok_or("too_many")?;
        let flags = self.flags;
        let other = flags.environment.flags.get(prerequisite.flag.as_str());
        let other = other.filter(|other| other.answers).ok_or("missing")?;
        self.depth += 1;
        let (variant, reason) = self.answer(other, steps);
        self.depth -= 1;
        Ok((variant_of(other, variant), reason))
    }

    fn target(&self, flag: &CompiledFlag, steps: &mut Steps) -> Option<u16> {
        let targets = &flag.program.as_ref().filter(|program| !program.targets.is_empty())?.targets;
        let unit = self.tracer.context.hashed_unit();
        let found = unit.and_then(|(hash, unit)| targets.find(hash, |(other, _)| **other == *unit));
        let variant = found.map(|(_, variant)| *variant);
        let looked_at = LookedAt::Targets {
            units: targets.len(),
            unit: unit.map(|(_, unit)| shortened(unit)),
            variant: variant.map(|variant| variant_of(flag, variant)),
        };
        push(steps, variant.is_some(), looked_at);
        variant
    }

    fn rule(
        &mut self,
        flag: &CompiledFlag,
        index: usize,
        rule: &Rule,
        steps: &mut Steps,
    ) -> Option<(u16, Reason)> {
        let compiled: Option<&CompiledRule> = flag
            .program
            .as_ref()
            .and_then(|program| program.rules.iter().find(|rule| usize::from(rule.index) == index));
        let when = compiled.map(|compiled| self.tracer.follow(&rule.when, &compiled.when));
        let holds = when.as_ref().is_some_and(|when| when.holds());
        let served =
            compiled.filter(|_| holds).map(|compiled| self.serve(flag, &rule.serve, &compiled.serve));
        let (variant, serves) = served.map_or((None, None), |(variant, served)| (variant, Some(served)));
        let told = self.tracer.left > 0;
        let looked_at = LookedAt::Rule {
            index,
            id: rule.id.clone(),
            description: if told { rule.description.clone() } else { String::new() },
            holds,
            when,
            problems: problems(flag, Some(&rule.id)),
            serves,
        };
        push(steps, variant.is_some(), looked_at);
        let split = matches!(rule.serve, Serve::Split(_));
        let index = compiled?.index;
        let reason = if split { Reason::RuleSplit { index } } else { Reason::Rule { index } };
        Some((variant?, reason))
    }

    /// What is served to the unit; no variant if a split finds no unit.
    fn serve(&self, flag: &CompiledFlag, source: &Serve, compiled: &CompiledServe) -> (Option<u16>, Served) {
        match (source, compiled) {
            (Serve::Split(split), CompiledServe::Split(picker)) => {
                let unit = picker.unit(self.tracer.context);
                let hashed = unit.and_then(Unit::of);
                let bucket = hashed.map(|unit| picker.bucket(flag.seen, unit));
                let variant = hashed.map(|unit| picker.pick(flag.seen, unit));
                let picked = Picked {
                    id: split.id.clone(),
                    attribute: split.unit.clone().unwrap_or_else(|| TARGETING_KEY.into()),
                    unit: unit.filter(|_| hashed.is_some()).and_then(unit_text),
                    seed: split.seed.clone(),
                    bucket,
                    total: picker.total(),
                    weights: split.weights.clone(),
                };
                let served = Served {
                    variant: variant.map(|variant| variant_of(flag, variant)),
                    split: Some(Box::new(picked)),
                };
                (variant, served)
            }
            (_, CompiledServe::Variant(variant)) => {
                (Some(*variant), Served { variant: Some(variant_of(flag, *variant)), split: None })
            }
            (Serve::Variant(_), CompiledServe::Split(_)) => (None, Served { variant: None, split: None }),
        }
    }

    /// Exposure and the flag's own serve.
    fn by_default(&mut self, flag: &CompiledFlag, exposure: Exposure, steps: &mut Steps) -> (u16, Reason) {
        let off = flag.off_variant;
        let Some(serve) = &flag.serve else {
            push(steps, true, LookedAt::Broken { problems: problems(flag, None) });
            return (off, Reason::Broken);
        };
        let context = self.tracer.context;
        let source = &flag.state.targeting.serve;
        let (attribute, unit, split) = match (serve, source) {
            (CompiledServe::Split(picker), Serve::Split(split)) => {
                (split.unit.clone(), picker.unit(context), true)
            }
            _ => (None, context.unit(), false),
        };
        let everyone = exposure == Exposure::ALL;
        let hashed = unit.and_then(Unit::of);
        // Nobody needs a bucket where everybody or nobody is reached.
        let asked = hashed.filter(|_| !everyone && exposure != Exposure::NONE);
        let bucket = asked.map(|unit| exposure_bucket(unit.hash_into(flag.seen)));
        let no_unit = hashed.is_none() && exposure != Exposure::NONE && (split || !everyone);
        let reached =
            !no_unit && (everyone || bucket.is_some_and(|bucket| bucket < exposure.milli_percent()));
        let looked_at = LookedAt::Exposure {
            exposure,
            attribute: attribute.unwrap_or_else(|| TARGETING_KEY.into()),
            unit: unit.filter(|_| hashed.is_some()).and_then(unit_text),
            bucket,
            reached,
        };
        push(steps, !reached, looked_at);
        if !reached {
            return (off, if no_unit { Reason::NoUnit } else { Reason::NotExposed });
        }
        let (variant, serves) = self.serve(flag, source, serve);
        push(steps, true, LookedAt::Serve { serves });
        let reason = match (split, everyone) {
            (true, _) => Reason::Split,
            (false, true) => Reason::Default,
            (false, false) => Reason::Exposed,
        };
        (variant.unwrap_or(off), reason)
    }
}

fn variant_of(flag: &CompiledFlag, variant: u16) -> VariantKey {
    flag.flag.variants[usize::from(variant)].key.clone()
}

/// What of a rule, or of what is no rule's, cannot be used.
fn problems(flag: &CompiledFlag, rule: Option<&RuleId>) -> Vec<String> {
    let of_it = flag.warnings().iter().filter(|warning| warning.rule.as_ref() == rule);
    of_it.map(|warning| warning.cause.to_string()).collect()
}

fn unit_text(unit: &Attribute) -> Option<String> {
    match Unit::of(unit)? {
        Unit::Text(text) => Some(shortened(text)),
        Unit::Integer(number) => Some(number.to_string()),
    }
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(super::MAX_SHOWN_BYTES.min(text.len()));
    if end < text.len() { [&text[..end], "\u{2026}"].concat() } else { text.into() }
}
