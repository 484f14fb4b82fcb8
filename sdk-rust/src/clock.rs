//! The time that checks go by: cheap to read, and never earlier than before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rollout_rules::time::UnixMs;

/// A wall clock that goes only forward. If the system's clock is set back, it stands still until the
/// system has caught up: a flag that expired stays expired.
pub(crate) struct Clock {
    source: Source,
    latest: AtomicU64,
}

enum Source {
    System,
    Given(Box<dyn Fn() -> UnixMs + Send + Sync>),
}

impl Clock {
    pub(crate) fn system() -> Clock {
        Clock { source: Source::System, latest: AtomicU64::new(0) }
    }

    pub(crate) fn given(read: Box<dyn Fn() -> UnixMs + Send + Sync>) -> Clock {
        Clock { source: Source::Given(read), latest: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn now(&self) -> UnixMs {
        let now = match &self.source {
            Source::System => coarse_ms(),
            Source::Given(read) => read().0,
        };
        // Written only when time has moved, some 250 times a second at most: cores that check flags all
        // day do not take this line from each other.
        let latest = self.latest.load(Ordering::Relaxed);
        if now > latest {
            self.latest.fetch_max(now, Ordering::Relaxed);
            return UnixMs(now);
        }
        UnixMs(latest)
    }

    /// What the clock shows, be it earlier than before. For dates that outlive the process: a clock that
    /// was wrong once must not stay wrong for ever.
    pub(crate) fn reading(&self) -> UnixMs {
        match &self.source {
            Source::System => system_ms(),
            Source::Given(read) => read(),
        }
    }

    /// It is at least this late.
    pub(crate) fn at_least(&self, at: UnixMs) {
        self.latest.fetch_max(at.0, Ordering::Relaxed);
    }
}

/// Good to about 4 ms, at a quarter of the price of a full read.
#[cfg(target_os = "linux")]
fn coarse_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let ms = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    seconds * 1000 + ms
}

#[cfg(not(target_os = "linux"))]
fn coarse_ms() -> u64 {
    system_ms().0
}

/// The system's clock as it stands, for dates in files and reports.
pub(crate) fn system_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_stands_still() {
        let hands = Arc::new(AtomicU64::new(1_000));
        let read = Arc::clone(&hands);
        let clock = Clock::given(Box::new(move || UnixMs(read.load(Ordering::Relaxed))));
        assert_eq!(clock.now(), UnixMs(1_000));
        hands.store(400, Ordering::Relaxed);
        assert_eq!(clock.now(), UnixMs(1_000));
        hands.store(1_001, Ordering::Relaxed);
        assert_eq!(clock.now(), UnixMs(1_001));
    }

    #[test]
    fn the_coarse_clock_agrees_with_the_full_one() {
        let difference = system_ms().0.abs_diff(Clock::system().now().0);
        assert!(difference < 1_000, "{difference} ms apart");
    }
}
