//! Who runs where: servers on some cores, and what loads them on another; a load that shares its core with what it
//! loads measures the scheduler. Other programs and the system itself still come and go there.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this program may use, put to use.
#[derive(Debug)]
pub struct Cores {
    /// The number of the first.
    first: usize,
    /// All but the last.
    others: CpuSet,
    /// The number of the last, which is the load's.
    last: usize,
}

impl Cores {
    /// Looks for them; `None` if there is only one.
    pub fn find() -> Option<Cores> {
        let mut others = sched_getaffinity(None).expect("a thread knows its cores");
        let mut usable = (0..CpuSet::MAX_CPU).filter(|core| others.is_set(*core));
        let (first, last) = (usable.next()?, usable.next_back()?);
        others.unset(last);
        Some(Cores { first, others, last })
    }

    /// The number of the core on which servers run that [`Cores::start`] starts.
    pub fn of_servers(&self) -> usize {
        self.first
    }

    /// Starts a server on the first core, and takes this thread to the last: a process keeps to where the thread was
    /// that started it.
    pub fn start<S>(&self, server: impl FnOnce() -> S) -> S {
        keep_to(&only(self.first));
        let server = server();
        self.take_load();
        server
    }

    /// Leaves the last core free: this thread, those that it starts and the processes of them keep to the others.
    pub fn keep_free(&self) {
        keep_to(&self.others);
    }

    /// Moves this thread to the core of servers.
    pub(crate) fn take_server(&self) {
        keep_to(&only(self.first));
    }

    /// Moves this thread to the core of the load.
    pub fn take_load(&self) {
        keep_to(&only(self.last));
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

fn keep_to(cores: &CpuSet) {
    sched_setaffinity(None, cores).expect("the core could be used before");
}
