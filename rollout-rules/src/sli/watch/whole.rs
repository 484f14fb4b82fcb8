//! A watch to which five minutes are told at once: who serves what is the same, its tests are not run.

use alloc::vec::Vec;

use super::{Plan, Watch};
use crate::ids::VariantKey;
use crate::sli::intake::Part;
use crate::sli::lately::Sums;
use crate::sli::recorded::SUM_SLOTS;
use crate::sli::slot::Slot;

/// What one variant did in five minutes, and the control meanwhile.
pub(in crate::sli) struct WholeSums<'a> {
    pub(in crate::sli) variant: &'a VariantKey,
    pub(in crate::sli) sums: Sums,
    /// None: nothing is compared.
    pub(in crate::sli) control: Option<Sums>,
}

impl Watch {
    /// One that only keeps count of who serves what.
    pub(in crate::sli) fn untested(began: Slot) -> Watch {
        Watch::new(Vec::new(), None, began)
    }

    /// Takes in the sum of slots from the first on. What revisions served that are not known does not count.
    pub(in crate::sli) fn take_whole(&mut self, first: Slot, parts: &[Part]) -> Vec<WholeSums<'_>> {
        if !self.take(first.plus(SUM_SLOTS - 1), 1, parts) {
            return Vec::new();
        }
        let has_control = self.plans.last().is_some_and(|plan| plan.control.is_some());
        let all = self.variants.iter().map(|watched| WholeSums {
            variant: &watched.variant,
            sums: watched.lately.last(1),
            control: has_control.then(|| self.control.last(1)),
        });
        all.collect()
    }

    /// What it was told of who serves what, in order, and whether a rollout runs.
    pub(in crate::sli) fn told(&self) -> (&[Plan], bool) {
        (&self.plans, self.rollout_runs)
    }
}
