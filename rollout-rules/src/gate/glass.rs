//! How long the glass was broken, and when it may be broken again. It follows from the waivers that are kept: nothing counts along.

use alloc::vec::Vec;

use super::policy::MAX_BREAK_GLASS;
use super::waiver::Waiver;
use crate::ids::EnvKey;
use crate::time::{DAY, DurationMs, UnixMs};

/// For how long the glass of one environment may be broken within [`GLASS_WINDOW`], whatever the checks: what is broken for several at
/// once counts once. Passing it is refused, with the moment from which on it is possible again.
pub const MAX_GLASS_IN_WINDOW: DurationMs = MAX_BREAK_GLASS;
/// Any so long a time.
pub const GLASS_WINDOW: DurationMs = DAY;
/// Most broken glasses of one app that began within a window and are kept. For one more, somebody has to wait.
pub const MAX_GLASSES: usize = 50;

/// Times during which the glass of one environment is broken: in order, and none touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Broken(Vec<(UnixMs, UnixMs)>);

impl Broken {
    /// Of the waivers of an app, those for an environment; none: those for all of them.
    pub(crate) fn of<'w>(waivers: impl Iterator<Item = &'w Waiver>, environment: Option<&EnvKey>) -> Broken {
        let there =
            |waiver: &&Waiver| waiver.environment.is_none() || waiver.environment.as_ref() == environment;
        let mut times: Vec<_> = waivers.filter(there).filter_map(Waiver::glass).collect();
        times.sort_unstable();
        let mut merged: Vec<(UnixMs, UnixMs)> = Vec::new();
        for (from, until) in times {
            match merged.last_mut() {
                Some((_, last)) if from <= *last => *last = until.max(*last),
                _ => merged.push((from, until)),
            }
        }
        Broken(merged)
    }

    /// Whether it may be broken from now until then; else from when on it may be for as long.
    pub(crate) fn may_break(&self, until: UnixMs, now: UnixMs) -> Result<(), UnixMs> {
        // It is broken for so long already.
        if self.0.last().is_some_and(|(_, last)| *last >= until) {
            return Ok(());
        }
        let length = until.since(now);
        // Of all windows the one that ends with it holds most of it, for every earlier one holds nothing that comes later.
        let begins = UnixMs((now.0 + length.0).saturating_sub(GLASS_WINDOW.0));
        let before: u64 = self.0.iter().map(|(from, to)| (*to).min(now).since((*from).max(begins)).0).sum();
        if before.saturating_add(length.0) <= MAX_GLASS_IN_WINDOW.0 {
            return Ok(());
        }
        Err(self.again(length, now))
    }

    /// From when on it may be broken for so long: as soon as a window holds little enough of what is known.
    fn again(&self, length: DurationMs, now: UnixMs) -> UnixMs {
        let mut room = MAX_GLASS_IN_WINDOW.0.saturating_sub(length.0);
        for (from, until) in self.0.iter().rev() {
            let took = until.since(*from).0;
            if took > room {
                let begins = UnixMs(until.0 - room);
                let at = begins.plus(DurationMs(GLASS_WINDOW.0.saturating_sub(length.0)));
                return at.max(*until).max(now);
            }
            room -= took;
        }
        now
    }
}

impl Waiver {
    /// From when until when it breaks the glass, if it does. Who ended it early has that time left.
    pub(crate) fn glass(&self) -> Option<(UnixMs, UnixMs)> {
        let ended = self.revoked.as_ref().map_or(self.expires_at, |revoked| revoked.at.min(self.expires_at));
        (self.break_glass && ended > self.requested_at).then_some((self.requested_at, ended))
    }

    /// Whether it broke the glass, and still counts for how long that may be done: such a waiver is kept.
    pub(crate) fn is_recent_glass(&self, now: UnixMs) -> bool {
        self.glass().is_some_and(|(_, until)| until.plus(GLASS_WINDOW) > now)
    }
}
