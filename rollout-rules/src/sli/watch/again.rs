//! A watch that is begun again: anew, or from where it was.

use super::{MAX_WATCHED, Watch};
use crate::ids::VariantKey;
use crate::sli::lately::{RECENT_SLOTS, Sums};
use crate::sli::skew::Skew;
use crate::sli::watched::Watched;

impl Watch {
    /// The same watch that has seen nothing: what is served is something else from now on.
    pub(in crate::sli) fn anew(&self, usual: Option<Sums>) -> Watch {
        let mut anew = Watch::new(self.tests.clone(), usual, self.next);
        self.plans.iter().cloned().for_each(|plan| anew.plan(plan));
        anew.rollout_runs = self.rollout_runs;
        anew.raised = self.raised;
        anew
    }

    /// Whether anything was seen that is worth being known later. Of units that were not divided as planned nothing is.
    pub(in crate::sli) fn has_seen(&self) -> bool {
        let seen = self.resumed.is_some() || self.variants.iter().any(|watched| watched.requests > 0);
        seen && !self.skew.is_skewed()
    }

    /// Forgets which units were served what.
    pub(in crate::sli) fn forget_units(&mut self) {
        self.skew = Skew::default();
    }

    /// Whether the watch that begins asks the same: by the same tests, against the same control or none.
    pub(in crate::sli) fn asks_the_same(&self, begins: &Watch) -> bool {
        let control = begins.compared_with();
        self.tests == begins.tests && (control.is_none() || control == self.compared_with())
    }

    /// The control of the last plan that had one.
    fn compared_with(&self) -> Option<&VariantKey> {
        self.plans.iter().rev().find_map(|plan| plan.control.as_ref())
    }

    /// Goes on in place of a watch that begins, with what was known. Clocks, what was told and how many requests came begin anew, so
    /// that every rule acts again; and so does the look at how units are divided.
    pub(in crate::sli) fn go_on(&mut self, begins: Watch) {
        let missing = usize::try_from(begins.next.since(self.next)).unwrap_or(RECENT_SLOTS);
        for _ in 0..missing.min(RECENT_SLOTS) {
            self.control.push([]);
            self.variants.iter_mut().for_each(|watched| watched.lately.push([]));
        }
        let is_new = |new: &&Watched| self.variants.iter().all(|known| known.variant != new.variant);
        if self.variants.len() + begins.variants.iter().filter(is_new).count() > MAX_WATCHED {
            // There is room for those that are served.
            self.variants.retain(|watched| begins.serves(&watched.variant));
        }
        self.next = begins.next;
        self.resumed = Some(begins.next);
        self.usual = begins.usual;
        self.skew = Skew::default();
        (self.silent, self.quiet) = (0, 0);
        self.rollout_runs = begins.rollout_runs;
        self.variants.iter_mut().for_each(Watched::go_on);
        begins.plans.into_iter().for_each(|plan| self.plan(plan));
        self.raised = begins.raised;
    }
}
