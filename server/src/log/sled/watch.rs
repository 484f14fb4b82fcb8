//! Notices that the writer hangs. After a write that failed, sled's `flush` may wait for a condition that
//! nobody signals any more, without a limit of its own; and a disk may stop answering.
//!
//! A thread that hangs in sled cannot be abandoned and the database opened anew beside it: it keeps sled's
//! lock on the file, and sled's other threads may still write there. So whoever waits is told the truth, and
//! if it lasts, the log is given up: the process has to end, and a new one opens the database. Nothing is
//! lost by that, since nothing was acknowledged that is not on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::watch;

use crate::log::durable::Durable;

/// How long the writer may take over one step: a write with its flush, a sync, a reopening.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often it is looked at.
    pub every: Duration,
    /// Looks without a step done after which it hangs: whoever waits is told that nobody knows, and new
    /// appends are refused, until it goes on.
    pub hangs_after: u32,
    /// Looks without a step done after which the log is given up.
    pub given_up_after: u32,
}

impl Default for Patience {
    /// Disks do stop for seconds, under a snapshot of the machine or when a controller resets, and go on;
    /// none that is to be of use again stops for half a minute.
    fn default() -> Patience {
        Patience { every: Duration::from_secs(1), hangs_after: 5, given_up_after: 30 }
    }
}

/// How the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It goes on, or has nothing to do.
    Beats,
    /// It is at one step for too long, and may yet go on.
    Hangs,
    /// It was at one step for so long that nobody waits for it any more. That is final.
    GivenUp,
}

/// Counts the writer's steps. Odd while it is at one.
#[derive(Default)]
pub(super) struct Steps(AtomicU64);

impl Steps {
    /// A step begins where none was, or ends.
    pub(super) fn turn(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One step ends and the next begins.
    pub(super) fn next(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Judges how the writer is, look by look.
struct Judge {
    patience: Patience,
    step: u64,
    looks: u32,
    pulse: Pulse,
}

impl Judge {
    fn new(patience: Patience) -> Judge {
        Judge { patience, step: 0, looks: 0, pulse: Pulse::Beats }
    }

    fn look(&mut self, step: u64) -> Pulse {
        let at_the_same_step = step % 2 == 1 && step == self.step;
        self.looks = if at_the_same_step { self.looks.saturating_add(1) } else { 0 };
        self.step = step;
        self.pulse = match self.pulse {
            Pulse::GivenUp => Pulse::GivenUp,
            _ if self.looks >= self.patience.given_up_after => Pulse::GivenUp,
            _ if self.looks >= self.patience.hangs_after => Pulse::Hangs,
            _ => Pulse::Beats,
        };
        self.pulse
    }
}

/// Looks at the writer until it has ended or is given up. The writer holds the other end of `ended`.
pub(super) fn watch(
    patience: Patience,
    steps: &Steps,
    ended: &Receiver<()>,
    pulse: &watch::Sender<Pulse>,
    durable: &Arc<Durable>,
) {
    let mut judge = Judge::new(patience);
    while ended.recv_timeout(patience.every) == Err(RecvTimeoutError::Timeout) {
        let now = judge.look(steps.now());
        let before = pulse.send_replace(now);
        match now {
            _ if now == before => {}
            Pulse::Beats => tracing::warn!("the log goes on"),
            Pulse::Hangs => tracing::error!("writing the log hangs; changes are refused until it goes on"),
            Pulse::GivenUp => {
                tracing::error!("writing the log hangs for good; it is given up");
                durable.give_up();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is thought after each look at these steps.
    fn judged(steps: &[u64]) -> Vec<Pulse> {
        let every = Duration::from_secs(1);
        let mut judge = Judge::new(Patience { every, hangs_after: 2, given_up_after: 4 });
        steps.iter().map(|step| judge.look(*step)).collect()
    }

    #[test]
    fn a_writer_that_waits_for_work_or_goes_on_is_well() {
        assert_eq!(judged(&[0; 9]), [Pulse::Beats; 9]);
        assert_eq!(judged(&[2, 2, 2, 4, 4, 4, 4, 4, 4]), [Pulse::Beats; 9]);
        assert_eq!(judged(&[1, 3, 5, 5, 7, 7, 9, 9, 10]), [Pulse::Beats; 9]);
    }

    #[test]
    fn a_writer_that_stays_at_one_step_hangs_until_it_goes_on() {
        use Pulse::{Beats, Hangs};
        assert_eq!(judged(&[1, 1, 1, 1, 2]), [Beats, Beats, Hangs, Hangs, Beats]);
        assert_eq!(judged(&[7, 7, 7, 9, 9, 9]), [Beats, Beats, Hangs, Beats, Beats, Hangs]);
    }

    #[test]
    fn a_writer_that_was_given_up_is_never_trusted_again() {
        use Pulse::{Beats, GivenUp, Hangs};
        assert_eq!(judged(&[1, 1, 1, 1, 1, 2, 2]), [Beats, Beats, Hangs, Hangs, GivenUp, GivenUp, GivenUp]);
    }
}
