//! Who runs where: servers on one core, and what loads them on another. Other programs and the system itself still come and go
//! there.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A core for servers, and one for the load.
pub(crate) struct Cores {
    servers: CpuSet,
    load: CpuSet,
}

impl Cores {
    /// The first and the last of those that this program may use; `None` if there is only one.
    pub(crate) fn find() -> Option<Cores> {
        let known = sched_getaffinity(None).expect("a thread knows its cores");
        let mut usable = (0..CpuSet::MAX_CPU).filter(|core| known.is_set(*core));
        let (first, last) = (usable.next()?, usable.next_back()?);
        let only = |core| {
            let mut set = CpuSet::new();
            set.set(core);
            set
        };
        Some(Cores { servers: only(first), load: only(last) })
    }

    /// Starts a server on its core: a process keeps to where the thread was that started it.
    pub(crate) fn start<S>(&self, server: impl FnOnce() -> S) -> S {
        keep_to(&self.servers);
        let server = server();
        keep_to(&self.load);
        server
    }
}

fn keep_to(cores: &CpuSet) {
    sched_setaffinity(None, cores).expect("the core could be used before");
}
