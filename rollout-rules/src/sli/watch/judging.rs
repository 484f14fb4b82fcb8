//! What a variant is held to be, from what was folded in.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{LEAST_REQUESTS, MISSED_REQUESTS, Peers, QUIET_SLOTS, STALE_SLOTS, Watch};
use crate::ids::VariantKey;
use crate::sli::lately::Lately;
use crate::sli::running::Running;
use crate::sli::slot::Slot;
use crate::sli::verdict::{Reason, State, Verdict};
use crate::sli::watched::Watched;

impl Watch {
    /// Judges what was folded in and says what is new.
    pub(in crate::sli) fn tell(&mut self, peers: Peers) -> Vec<Verdict> {
        let mut news = Vec::new();
        for at in 0..self.variants.len() {
            let (state, test) = self.judge(&self.variants[at], peers);
            let test = test.and_then(|test| u8::try_from(test).ok());
            if self.variants[at].told != Some((state, test)) {
                self.variants[at].told = Some((state, test));
                let verdict = self.verdict(&self.variants[at]);
                if state == State::Regressed {
                    self.variants[at].regressed = Some(Box::new(verdict.clone()));
                    test.into_iter().for_each(|test| self.variants[at].acts_by(test));
                }
                news.push(verdict);
            }
            for verdict in self.others_that_hold(&self.variants[at], peers) {
                verdict.test.into_iter().for_each(|test| self.variants[at].acts_by(test));
                news.push(verdict);
            }
        }
        news
    }

    /// The rules that hold beside that which a variant is held to be regressed by: they may ask for more than it did.
    fn others_that_hold(&self, watched: &Watched, peers: Peers) -> Vec<Verdict> {
        if watched.regressed.is_none() || self.cannot_tell(watched).is_some() {
            return Vec::new();
        }
        let side = self.side(&watched.lately);
        let tests = (0..).zip(&watched.tests).filter(|(test, running)| {
            !watched.acted_by(*test) && self.state_of(running, watched, peers) == Some(State::Regressed)
        });
        let verdict = |(test, running): (u8, &Running)| Verdict {
            slot: Slot(self.next.0.saturating_sub(1)),
            variant: watched.variant.clone(),
            state: State::Regressed,
            test: Some(test),
            reason: running.reason(&side, watched.sharing),
            shown_good: false,
        };
        tests.map(verdict).collect()
    }

    /// What a variant is held to be, and which test says so.
    fn judge(&self, watched: &Watched, peers: Peers) -> (State, Option<usize>) {
        if let Some(verdict) = &watched.regressed {
            return (State::Regressed, verdict.test.map(usize::from));
        }
        if let Some(state) = self.cannot_tell(watched) {
            return (state, None);
        }
        let mut worst = (State::Ok, None);
        for (at, running) in watched.tests.iter().enumerate() {
            let Some(state) = self.state_of(running, watched, peers) else { continue };
            if severity(state) > severity(worst.0) {
                worst = (state, Some(at));
            }
        }
        if worst.0 == State::Ok && watched.blind {
            return (State::NoData, None);
        }
        let has_control = self.plans.last().is_some_and(|plan| plan.control.is_some());
        let compared = has_control && watched.tests.iter().any(Running::compares);
        let few =
            watched.requests < LEAST_REQUESTS || (compared && watched.control_requests < LEAST_REQUESTS);
        if worst.0 == State::Ok && few { (State::Warming, None) } else { worst }
    }

    /// Why nothing can be said of a variant, if so.
    fn cannot_tell(&self, watched: &Watched) -> Option<State> {
        if self.skew.is_skewed() {
            Some(State::Invalid)
        } else if self.silent >= STALE_SLOTS {
            Some(State::Stale)
        } else {
            self.is_quiet(watched).then_some(State::NoData)
        }
    }

    /// What a test says of a variant, given how the others are.
    fn state_of(&self, running: &Running, watched: &Watched, peers: Peers) -> Option<State> {
        let side = self.side(&watched.lately);
        Some(match running.state(&side, watched.marks)? {
            State::Regressed if running.compares() => {
                let is_common = peers.share_a_cause() || !running.blames_the_variant(&side, watched.marks);
                if is_common { State::CommonMode } else { State::Regressed }
            }
            State::Regressed if !self.is_guarded() => State::Suspect,
            state => state,
        })
    }

    /// What is known of a variant, with the numbers.
    pub(super) fn verdict(&self, watched: &Watched) -> Verdict {
        let slot = Slot(self.next.0.saturating_sub(1));
        if let Some(verdict) = &watched.regressed {
            return Verdict { slot, ..Verdict::clone(verdict) };
        }
        let (state, test) = watched.told.unwrap_or((State::Warming, None));
        let reason = match state {
            State::Invalid => self.skewed(&watched.variant),
            State::Stale => Reason::Silence { slots: self.silent },
            State::NoData if self.is_quiet(watched) => Reason::Silence { slots: self.quiet },
            State::NoData => Reason::Unlisted,
            _ => {
                let side = self.side(&watched.lately);
                let running = watched.tests.get(usize::from(test.unwrap_or(0)));
                let reason = running.map(|running| running.reason(&side, watched.sharing));
                reason.unwrap_or(Reason::Nothing).resumed_at(self.resumed)
            }
        };
        let variant = watched.variant.clone();
        Verdict { slot, variant, state, test, reason, shown_good: watched.mirror.is_shown() }
    }

    /// Whether requests stay away that were expected.
    fn is_quiet(&self, watched: &Watched) -> bool {
        let seen = self.next.since(self.began).min(60);
        let busy = u64::from(seen.saturating_sub(self.quiet).max(1));
        let recent = |lately: &Lately| lately.recent().rate.requests;
        let requests = recent(&self.control).saturating_add(recent(&watched.lately));
        let expected = requests.saturating_mul(u64::from(self.quiet)) / busy;
        let ever = watched.requests.saturating_add(watched.control_requests) > 0;
        self.quiet >= QUIET_SLOTS || (self.quiet >= STALE_SLOTS && (!ever || expected >= MISSED_REQUESTS))
    }

    fn skewed(&self, variant: &VariantKey) -> Reason {
        let plan = self.plans.last();
        let place = plan.and_then(|plan| plan.weights.iter().position(|(known, _)| known == variant));
        let all = self.skew.counts().fold(0, |sum, (_, count)| sum + count);
        let ours = place.and_then(|place| self.skew.counts().nth(place)).map_or(0, |(_, count)| count);
        Reason::Skewed { log: self.skew.evidence(), variant: ours, all }
    }
}

/// Which of two states is told of.
fn severity(state: State) -> u8 {
    match state {
        State::Regressed => 3,
        State::CommonMode => 2,
        State::Suspect => 1,
        _ => 0,
    }
}
