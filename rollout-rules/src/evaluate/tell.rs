//! Finding what a page is told of a flag: the answer for one context, now and at each later moment.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Answer, Assigned, Check, FlagSet, Prerequisites, Reason, Told, ToldReason, ToldStep};
use crate::compile::{CompiledFlag, Program};
use crate::context::Context;
use crate::time::UnixMs;

/// What a page with this context is told of a flag. `None` if it is archived.
pub(crate) fn tell(flags: &FlagSet<'_>, flag: &CompiledFlag, context: &Context, now: UnixMs) -> Option<Told> {
    if !flag.answers {
        return None;
    }
    let teller = Teller { flags, flag, context };
    if (Check { flags, context, now }).stop(flag).is_some() {
        // Only a change takes it away, and then the page is told anew. Until then nobody learns what it would serve.
        return Some(Told::default());
    }
    let mut moments = Vec::from([now]);
    moments.extend(teller.moments_after(now));
    let mut steps = Vec::from([teller.step(now)]);
    teller.steps_between(&moments, &mut steps);
    steps[0].at = UnixMs(0);
    let serving = steps.iter().find(|step| step.reason.reason().serves());
    let variant = serving.map(|_| teller.answer(now).variant().clone());
    let is_default = steps.iter().any(|step| step.reason == ToldReason::Default);
    let targeting = &flag.state.targeting;
    let targeted = is_default && !(targeting.rules.is_empty() && targeting.targets.is_empty());
    Some(Told { variant, steps, targeted })
}

/// Asks one flag for one context.
struct Teller<'s, 'a, 'c> {
    flags: &'s FlagSet<'a>,
    flag: &'s CompiledFlag,
    context: &'c Context,
}

impl<'s> Teller<'s, '_, '_> {
    /// What would be answered at a moment if nothing stopped the flag.
    fn answer(&self, now: UnixMs) -> Answer<'s> {
        let check = Check { flags: self.flags, context: self.context, now };
        let (variant, reason) = check.decide(self.flag, &mut Prerequisites::new());
        Answer { flag: self.flag, variant, reason }
    }

    fn step(&self, at: UnixMs) -> ToldStep {
        let answer = self.answer(at);
        let reason = ToldReason::of(answer.reason).unwrap_or(ToldReason::Off);
        let split = answer.assigned(self.context).map(|Assigned { split, .. }| split);
        ToldStep { at, reason, split }
    }

    /// Adds what changes after the first of these moments up to the last. Time only ever lowers: a reason that went does
    /// not come back, so what is the same at both ends is the same in between.
    fn steps_between(&self, moments: &[UnixMs], steps: &mut Vec<ToldStep>) {
        let [_, .., last] = moments else { return };
        let step = self.step(*last);
        let is_as_before = |steps: &[ToldStep]| {
            steps.last().is_some_and(|known| known.reason == step.reason && known.split == step.split)
        };
        if is_as_before(steps) {
            return;
        }
        let middle = moments.len() / 2;
        if moments.len() > 2 {
            self.steps_between(&moments[..=middle], steps);
            self.steps_between(&moments[middle..], steps);
        } else if !is_as_before(steps) {
            steps.push(step);
        }
    }

    /// The moments at which something below what stops the flag may change, before it ends anyway.
    fn moments_after(&self, now: UnixMs) -> Vec<UnixMs> {
        let ends_at = self.flags.environment.ends_at.unwrap_or(UnixMs::NEVER).min(self.flag.expires_at);
        let mut moments = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&Program> = self.flag.program.as_deref().into_iter().collect();
        while let Some(program) = waiting.pop() {
            moments.extend(program.lowerings.iter().map(|lowering| lowering.at));
            for prerequisite in &program.prerequisites {
                let table = &self.flags.environment.flags;
                let Some(other) = table.get_hashed(prerequisite.hash, prerequisite.key.as_str()) else {
                    continue;
                };
                if seen.insert(&prerequisite.key) {
                    moments.insert(other.expires_at);
                    waiting.extend(other.program.as_deref());
                }
            }
        }
        moments.into_iter().filter(|at| *at > now && *at < ends_at).collect()
    }
}

/// A reason that is told is below all that stops a flag.
const _: () = assert!(ToldReason::of(Reason::Expired).is_none());
