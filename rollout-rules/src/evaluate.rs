//! The check of a flag: infallible, without allocation, lock or clock.

mod answer;
mod settled;
#[cfg(feature = "regex-build")]
mod tell;
mod told;

use core::hint::select_unpredictable;

pub use self::answer::{Answer, Assigned, EXPOSURE_SPLIT, Reason, StandardReason};
#[cfg(feature = "regex-build")]
pub(crate) use self::tell::tell;
pub use self::told::{Told, ToldReason, ToldStep};
use crate::bucketing::exposed;
use crate::compile::{CompiledFlag, CompiledServe, CompiledTold, Program, Standing, Unit, is_revived};
use crate::context::Context;
use crate::flag::{HoldCause, Kills, MAX_PREREQUISITES};
use crate::ids::EnvKey;
use crate::percent::Exposure;
use crate::segment::{SegmentTable, Segments};
use crate::table::{FlagTable, hash_of, same};
use crate::time::UnixMs;

/// Most prerequisites that one check looks at, chains included; past it the flag is off. It bounds what
/// a check costs when many flags depend on many.
pub const MAX_PREREQUISITE_CHECKS: u16 = 256;

/// What all apps share.
#[derive(Clone, Debug, Default)]
pub struct SharedRules {
    /// The kills and revivals of everything.
    pub kills: Kills,
    /// The shared segments.
    pub segments: SegmentTable,
}

/// What all environments of an app share.
#[derive(Clone, Debug, Default)]
pub struct AppFlags {
    /// The kills and revivals of the app.
    pub kills: Kills,
    /// The segments of the app.
    pub segments: SegmentTable,
}

/// The flags of one environment.
#[derive(Clone, Debug)]
pub struct EnvironmentFlags {
    /// Its name.
    pub key: EnvKey,
    /// When it dies with all flags in it.
    pub ends_at: Option<UnixMs>,
    /// Its flags.
    pub flags: FlagTable,
}

/// Everything that a check in one environment looks at.
#[derive(Clone, Copy, Debug)]
pub struct FlagSet<'a> {
    /// What all apps share.
    pub shared: &'a SharedRules,
    /// What all environments of the app share.
    pub app: &'a AppFlags,
    /// The environment.
    pub environment: &'a EnvironmentFlags,
}

pub use crate::flag::Height;

/// Checks a flag. `None` if there is none of this key, or it is archived.
#[inline]
pub fn evaluate<'a>(flags: &FlagSet<'a>, key: &str, context: &Context, now: UnixMs) -> Option<Answer<'a>> {
    let flag = flags.environment.flags.get_hashed(hash_of(key), key)?;
    evaluate_flag(flags, flag, context, now)
}

/// Checks a flag of the set that is at hand. `None` if it is archived.
#[inline]
pub fn evaluate_flag<'a>(
    flags: &FlagSet<'a>,
    flag: &'a CompiledFlag,
    context: &Context,
    now: UnixMs,
) -> Option<Answer<'a>> {
    if !flag.answers {
        return None;
    }
    let check = Check { flags, context, now };
    let (variant, reason) = match check.stop(flag) {
        Some(reason) => (flag.off_variant, reason),
        None => check.decide(flag, &mut Prerequisites::new()),
    };
    Some(Answer { flag, variant, reason })
}

/// Checks all flags that are not archived, by key.
pub fn evaluate_all<'a>(
    flags: &FlagSet<'a>,
    context: &Context,
    now: UnixMs,
) -> impl Iterator<Item = Answer<'a>> {
    let set = *flags;
    set.environment.flags.sorted().iter().filter_map(move |flag| evaluate_flag(&set, flag, context, now))
}

/// One check. Law 8 gives the order: kill of everything, of the app, of the flag, guardrail or budget,
/// expiry, gate ([`stop`](Check::stop)), prerequisites, targets, rules, exposure and split, off
/// ([`decide`](Check::decide)).
#[derive(Clone, Copy)]
struct Check<'s, 'a, 'c> {
    flags: &'s FlagSet<'a>,
    context: &'c Context,
    now: UnixMs,
}

/// How many prerequisites a check may still look at.
struct Prerequisites {
    left: u16,
    depth: usize,
}

impl Prerequisites {
    fn new() -> Prerequisites {
        Prerequisites { left: MAX_PREREQUISITE_CHECKS, depth: 0 }
    }
}

impl<'a> Check<'_, 'a, '_> {
    /// What keeps the flag at its off variant, whoever asks.
    #[cfg_attr(any(not(target_arch = "wasm32"), feature = "quick"), inline)]
    #[cfg_attr(not(any(not(target_arch = "wasm32"), feature = "quick")), inline(never))]
    fn stop(self, flag: &CompiledFlag) -> Option<Reason> {
        let FlagSet { shared, app, environment } = *self.flags;
        if is_killed(&shared.kills, &environment.key) {
            return Some(Reason::Killed(Height::Everything));
        }
        if is_killed(&app.kills, &environment.key) {
            return Some(Reason::Killed(Height::App));
        }
        match flag.standing {
            Standing::Killed => return Some(Reason::Killed(Height::Flag)),
            Standing::Held(cause @ (HoldCause::Guardrail | HoldCause::Budget)) => {
                return Some(Reason::Held(cause));
            }
            Standing::Free | Standing::Held(HoldCause::Gate) => {}
        }
        if self.now >= flag.expires_at {
            return Some(Reason::Expired);
        }
        if environment.ends_at.is_some_and(|end| self.now >= end) {
            return Some(Reason::EnvironmentEnded);
        }
        if let Standing::Held(cause) = flag.standing {
            return Some(Reason::Held(cause));
        }
        if !flag.on
            || is_off_since(&shared.kills, &environment.key, flag)
            || is_off_since(&app.kills, &environment.key, flag)
        {
            return Some(Reason::Off);
        }
        None
    }

    /// The answer of a flag that is alive.
    #[cfg_attr(any(not(target_arch = "wasm32"), feature = "quick"), inline)]
    #[cfg_attr(not(any(not(target_arch = "wasm32"), feature = "quick")), inline(never))]
    fn decide(self, flag: &'a CompiledFlag, prerequisites: &mut Prerequisites) -> (u16, Reason) {
        let mut exposure = flag.exposure;
        if let Some(program) = &flag.program {
            if self.now >= flag.lowers_at {
                if let Some(told) = &program.told {
                    return self.as_told(flag, told);
                }
                for lowering in program.lowerings.iter().take_while(|lowering| self.now >= lowering.at) {
                    if lowering.off {
                        return (flag.off_variant, Reason::Off);
                    }
                    exposure = exposure.min(lowering.exposure.unwrap_or(exposure));
                }
            }
            if let Some(answer) = self.decide_by_program(flag, program, prerequisites) {
                return answer;
            }
        }
        self.decide_by_default(flag, exposure)
    }

    /// What was found elsewhere for whoever asks here.
    #[cold]
    fn as_told(self, flag: &CompiledFlag, compiled: &CompiledTold) -> (u16, Reason) {
        let step = compiled.told.step_at(self.now);
        let reason = step.map_or(Reason::Off, |step| step.reason.reason());
        (if reason.serves() { compiled.variant } else { flag.off_variant }, reason)
    }

    /// Prerequisites, targets and rules.
    #[inline]
    fn decide_by_program(
        self,
        flag: &'a CompiledFlag,
        program: &'a Program,
        prerequisites: &mut Prerequisites,
    ) -> Option<(u16, Reason)> {
        if !program.prerequisites.is_empty() && !self.are_satisfied(program, prerequisites) {
            return Some((flag.off_variant, Reason::PrerequisiteFailed));
        }
        if !program.targets.is_empty()
            && let Some((hash, unit)) = self.context.hashed_unit()
            && let Some((_, variant)) = program.targets.find(hash, |(other, _)| same(other, unit))
        {
            return Some((*variant, Reason::Target));
        }
        let segments =
            Segments { shared: Some(&self.flags.shared.segments), app: Some(&self.flags.app.segments) };
        for rule in &program.rules {
            if !rule.when.holds(self.context, segments) {
                continue;
            }
            match &rule.serve {
                CompiledServe::Variant(variant) => {
                    return Some((*variant, Reason::Rule { index: rule.index }));
                }
                // Without its unit a split does not match, and the next rule has its turn.
                CompiledServe::Split(split) => {
                    if let Some(unit) = split.unit(self.context).and_then(Unit::of) {
                        return Some((split.pick(flag.seen, unit), Reason::RuleSplit { index: rule.index }));
                    }
                }
            }
        }
        None
    }

    /// Whether all prerequisites are satisfied. Flags that are missing or too deep in a chain fail them, and
    /// so do flags that only fall back to their off variant: else lowering one flag would raise another.
    #[inline(never)]
    fn are_satisfied(self, program: &'a Program, prerequisites: &mut Prerequisites) -> bool {
        if prerequisites.depth >= MAX_PREREQUISITES {
            return false;
        }
        prerequisites.depth += 1;
        let satisfied = program.prerequisites.iter().all(|prerequisite| {
            let Some(left) = prerequisites.left.checked_sub(1) else { return false };
            prerequisites.left = left;
            let table = &self.flags.environment.flags;
            let other = table.get_hashed(prerequisite.hash, prerequisite.key.as_str());
            let Some(other) = other.filter(|other| other.answers) else { return false };
            if self.stop(other).is_some() {
                return false;
            }
            let (variant, reason) = self.decide(other, prerequisites);
            reason.serves() && prerequisite.variants.contains(&other.flag.variants[usize::from(variant)].key)
        });
        prerequisites.depth -= 1;
        satisfied
    }

    /// Exposure and the flag's own serve.
    #[inline]
    fn decide_by_default(self, flag: &CompiledFlag, exposure: u32) -> (u16, Reason) {
        let off = flag.off_variant;
        let Some(serve) = &flag.serve else { return (off, Reason::Broken) };
        if exposure == 0 {
            return (off, Reason::NotExposed);
        }
        match serve {
            CompiledServe::Variant(variant) if exposure == Exposure::SCALE => (*variant, Reason::Default),
            CompiledServe::Variant(variant) => {
                let Some(unit) = self.context.unit().and_then(Unit::of) else {
                    return (off, Reason::NoUnit);
                };
                let reached = exposed(unit.hash_into(flag.seen), exposure);
                // Nobody can guess who is reached, so a branch on it would often be guessed wrong.
                let reason = select_unpredictable(reached, Reason::Exposed, Reason::NotExposed);
                (select_unpredictable(reached, *variant, off), reason)
            }
            CompiledServe::Split(split) => {
                let Some(unit) = split.unit(self.context).and_then(Unit::of) else {
                    return (off, Reason::NoUnit);
                };
                if exposure < Exposure::SCALE && !exposed(unit.hash_into(flag.seen), exposure) {
                    return (off, Reason::NotExposed);
                }
                (split.pick(flag.seen, unit), Reason::Split)
            }
        }
    }
}

#[inline(always)]
fn is_killed(kills: &Kills, environment: &EnvKey) -> bool {
    kills.all.is_some() || (!kills.environments.is_empty() && kills.environments.contains_key(environment))
}

/// Whether a revival at this height turned the flag off since its targeting was set.
#[inline(always)]
pub(crate) fn is_off_since(kills: &Kills, environment: &EnvKey, flag: &CompiledFlag) -> bool {
    is_revived(flag.targeting_revision, kills.off_before)
        || (!kills.off_before_in.is_empty()
            && is_revived(flag.targeting_revision, kills.off_before_in(environment)))
}
