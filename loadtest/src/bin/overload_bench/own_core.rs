//! Who runs where: a load that shares its core with what it loads measures the scheduler. Other programs and the system
//! itself still come and go there.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The last core of those that this program may use.
pub(crate) struct OwnCore(CpuSet);

impl OwnCore {
    /// Leaves the core free: this thread, those that it starts and the processes of them keep to the others. `None`
    /// if there are no others.
    pub(crate) fn keep_free() -> Option<OwnCore> {
        let mut others = sched_getaffinity(None).expect("a thread knows its cores");
        let last = (0..CpuSet::MAX_CPU).rev().find(|core| others.is_set(*core))?;
        others.unset(last);
        if others.count() == 0 {
            return None;
        }
        sched_setaffinity(None, &others).expect("a thread may use fewer cores");
        let mut own = CpuSet::new();
        own.set(last);
        Some(OwnCore(own))
    }

    /// Moves this thread there.
    pub(crate) fn take(&self) {
        sched_setaffinity(None, &self.0).expect("the core could be used before");
    }
}
