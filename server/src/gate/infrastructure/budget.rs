//! What a judgement may take of the machine. The interpreter asks for the time between the steps of a policy; that is also
//! where memory is looked at, and a judgement that takes too much of it is told that its time is over.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, set_time_source};
use rustix::time::{ClockId, clock_gettime};

/// How long the judgement of a plan may be at work, and longer by [`TIME_PER_RESOURCE`] for each of its resources. The
/// server's own modules take 2 ms, and 0.1 ms for a resource.
pub const TIME_LIMIT: Duration = Duration::from_millis(250);
/// See [`TIME_LIMIT`]. Time at work doubles where cores are shared with other programs.
pub const TIME_PER_RESOURCE: Duration = Duration::from_millis(1);
/// By how much the memory of the whole process may grow during a judgement, in bytes. Where the system does not tell it, as
/// Linux does, the time alone bounds it.
pub const MAX_GROWTH_BYTES: u64 = 256 * 1024 * 1024;
/// How many steps of a policy go between two looks at the time.
const STEPS_BETWEEN_LOOKS: NonZeroU32 = NonZeroU32::new(32).expect("it is not 0");
/// How many looks at the time go between two at the memory, which cost more.
const LOOKS_BETWEEN: u32 = 64;
/// The smallest page of memory there is, in bytes. Where they are larger, so is the bound.
const PAGE_BYTES: u64 = 4_096;

thread_local! {
    static SEEN: Cell<Seen> = const { Cell::new(Seen { looks: 0, first_bytes: None, too_much: false }) };
}

/// What was seen during the judgement of this thread. Each has a thread of its own.
#[derive(Clone, Copy)]
struct Seen {
    looks: u32,
    first_bytes: Option<u64>,
    too_much: bool,
}

/// Has the interpreter ask us for the time, in the whole process.
pub(super) fn take_over_time() {
    // A second time says that it is set.
    let _ = set_time_source(&AtWork);
}

/// What a judgement may take over a plan of so many resources.
pub(super) fn time_for(resources: usize) -> ExecutionTimerConfig {
    let resources = u32::try_from(resources).unwrap_or(u32::MAX);
    let limit = TIME_LIMIT.saturating_add(TIME_PER_RESOURCE.saturating_mul(resources));
    ExecutionTimerConfig { limit, check_interval: STEPS_BETWEEN_LOOKS }
}

/// Whether the judgement of this thread was ended because of the memory that it took.
pub(super) fn took_too_much() -> bool {
    SEEN.get().too_much
}

/// The time that the thread of a judgement was at work: a machine that is busy with other things takes nothing of it.
struct AtWork;

impl TimeSource for AtWork {
    fn now(&self) -> Option<Duration> {
        let mut seen = SEEN.get();
        if seen.looks.is_multiple_of(LOOKS_BETWEEN) {
            let bytes = resident_bytes();
            let first = *seen.first_bytes.get_or_insert(bytes);
            seen.too_much |= bytes.saturating_sub(first) > MAX_GROWTH_BYTES;
        }
        seen.looks = seen.looks.wrapping_add(1);
        SEEN.set(seen);
        if seen.too_much {
            return Some(Duration::MAX);
        }
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).ok()
    }
}

/// The memory of the process; 0 where it is not known.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: u64| pages * PAGE_BYTES)
}
