//! The only place that reads the system's clock. Everything else is given a [`Clock`], so that a test
//! can say what time it is.

use std::sync::Arc;
use std::time::Duration;

use rollout_rules::time::{DurationMs, UnixMs};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// Longest single sleep until a moment. A clock that was set while we slept is noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Tells the time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Test(Arc<watch::Sender<UnixMs>>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// The time, as precise as the system has it. For whatever is written down.
    pub fn now(&self) -> UnixMs {
        match &self.0 {
            Source::System => read(ClockId::Realtime),
            Source::Test(now) => *now.borrow(),
        }
    }

    /// The time as of the last tick of the kernel: up to 10 ms old, for a fifth of the cost. For checks.
    pub fn coarse(&self) -> UnixMs {
        match &self.0 {
            Source::System => read(ClockId::RealtimeCoarse),
            Source::Test(now) => *now.borrow(),
        }
    }

    /// Waits until a moment has come. [`UnixMs::NEVER`] never comes.
    pub async fn reach(&self, moment: UnixMs) {
        match &self.0 {
            Source::System => loop {
                let left = moment.since(self.now());
                if left == DurationMs(0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left.0).min(LONGEST_SLEEP)).await;
            },
            Source::Test(now) => {
                let mut seen = now.subscribe();
                // The sender lives in `self`, so the wait cannot fail.
                let _ = seen.wait_for(|now| *now >= moment).await;
            }
        }
    }

    /// Waits for a length of time. On the system's clock this is monotonic time.
    pub async fn pass(&self, length: DurationMs) {
        match &self.0 {
            Source::System => tokio::time::sleep(Duration::from_millis(length.0)).await,
            Source::Test(_) => self.reach(self.now().plus(length)).await,
        }
    }
}

fn read(id: ClockId) -> UnixMs {
    let now = clock_gettime(id);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    UnixMs(seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// A clock that stands still until it is told to move.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<watch::Sender<UnixMs>>);

impl TestClock {
    /// A clock that stands at a moment.
    pub fn at(moment: UnixMs) -> TestClock {
        TestClock(Arc::new(watch::Sender::new(moment)))
    }

    /// The handle that code under test is given.
    pub fn clock(&self) -> Clock {
        Clock(Source::Test(Arc::clone(&self.0)))
    }

    /// Jumps to a moment, earlier ones included.
    pub fn set(&self, moment: UnixMs) {
        self.0.send_replace(moment);
    }

    /// Moves on.
    pub fn advance(&self, length: DurationMs) {
        self.0.send_modify(|now| *now = now.plus(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_time_is_at_most_a_few_ticks_behind_the_precise_one() {
        let clock = Clock::system();
        let coarse = clock.coarse();
        let precise = clock.now();
        assert!(precise >= coarse && precise.since(coarse) < DurationMs(1000), "{coarse} {precise}");
        assert!(precise > UnixMs(1_700_000_000_000));
    }

    #[tokio::test]
    async fn a_test_clock_wakes_whoever_waits_for_the_moment_it_is_set_to() {
        let test = TestClock::at(UnixMs(1000));
        let clock = test.clock();
        let waiting = tokio::spawn(async move {
            clock.pass(DurationMs(50)).await;
            clock.now()
        });
        tokio::task::yield_now().await;
        test.advance(DurationMs(49));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        test.advance(DurationMs(1));
        assert_eq!(waiting.await.expect("no panic"), UnixMs(1050));
    }
}
