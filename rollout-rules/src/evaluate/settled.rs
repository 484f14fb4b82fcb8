//! What an answer hangs on: the moments at which it changes by itself, and the attributes that it looks at.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::FlagSet;
use crate::condition::{AttributePath, Condition, SegmentRef};
use crate::context::TARGETING_KEY;
use crate::flag::{Serve, Split};
use crate::percent::Exposure;
use crate::table::sort_by;
use crate::time::UnixMs;

impl FlagSet<'_> {
    /// The first moment after `now` at which any answer may change by itself; [`UnixMs::NEVER`] if none does.
    pub fn settled_until(&self, now: UnixMs) -> UnixMs {
        let mut first = UnixMs::NEVER;
        let mut note = |at: UnixMs| {
            if at > now && at < first {
                first = at;
            }
        };
        self.environment.ends_at.into_iter().for_each(&mut note);
        for flag in self.environment.flags.iter() {
            note(flag.expires_at);
            let Some(program) = &flag.program else { continue };
            program.lowerings.iter().for_each(|lowering| note(lowering.at));
            flag.told().and_then(|told| told.next_after(now)).into_iter().for_each(&mut note);
        }
        first
    }

    /// The attributes that a flag's answer may hang on, over its prerequisites and segments too, by name and in order:
    /// names as they stand in a context, so `a.b` and `a` for the path `a.b`; the targeting key is `targetingKey`. None
    /// if there is no such flag, or its answer is told.
    pub fn needs(&self, key: &str) -> Vec<Box<str>> {
        let mut needs = Names::default();
        let mut seen: Vec<&str> = Vec::new();
        let mut waiting = Vec::from([key]);
        while let Some(key) = waiting.pop() {
            let Some(flag) = self.environment.flags.get(key).filter(|flag| flag.told().is_none()) else {
                continue;
            };
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let targeting = &flag.state.targeting;
            if !targeting.targets.is_empty() || targeting.exposure < Exposure::ALL {
                needs.insert(TARGETING_KEY);
            }
            // A scheduled step may lower the exposure, and then the unit counts.
            if targeting.schedule.iter().any(|step| step.exposure.is_some()) {
                needs.insert(TARGETING_KEY);
            }
            needs_of_serve(&targeting.serve, &mut needs);
            for rule in &targeting.rules {
                self.needs_of(&rule.when, &mut needs);
                needs_of_serve(&rule.serve, &mut needs);
            }
            waiting.extend(targeting.prerequisites.iter().map(|other| other.flag.as_str()));
        }
        sort_by(&mut needs.0, |a, b| a.cmp(b));
        needs.0
    }

    fn needs_of(&self, condition: &Condition, needs: &mut Names) {
        match condition {
            Condition::All { all: parts } | Condition::Any { any: parts } => {
                parts.iter().for_each(|part| self.needs_of(part, needs));
            }
            Condition::Not { not } => self.needs_of(not, needs),
            Condition::Test(test) => needs_of_path(&test.attribute, needs),
            Condition::Segment { segment } => {
                let (table, key) = match segment {
                    SegmentRef::App(key) => (&self.app.segments, key),
                    SegmentRef::Shared(key) => (&self.shared.segments, key),
                };
                // Its members may come later.
                needs.insert(TARGETING_KEY);
                let when = table.get(key).and_then(|segment| segment.definition().when.as_deref());
                when.into_iter().for_each(|when| self.needs_of(when, needs));
            }
        }
    }
}

/// Each once. They are a handful.
#[derive(Default)]
struct Names(Vec<Box<str>>);

impl Names {
    fn insert(&mut self, name: &str) {
        if !self.0.iter().any(|known| **known == *name) {
            self.0.push(name.into());
        }
    }
}

fn needs_of_serve(serve: &Serve, needs: &mut Names) {
    match serve {
        Serve::Variant(_) => {}
        Serve::Split(split) => match &**split {
            Split { unit: Some(name), .. } => needs_of_path(&AttributePath::Dotted(name.clone()), needs),
            Split { unit: None, .. } => {
                needs.insert(TARGETING_KEY);
            }
        },
    }
}

fn needs_of_path(path: &AttributePath, needs: &mut Names) {
    match path {
        AttributePath::Dotted(text) => {
            needs.insert(text);
            if let Some((first, _)) = text.split_once('.') {
                needs.insert(first);
            }
        }
        AttributePath::Names(names) => names.first().into_iter().for_each(|first| needs.insert(first)),
    }
}
