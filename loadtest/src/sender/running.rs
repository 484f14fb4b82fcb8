//! A spell as it runs: what is due, what is under way, and what became of the rest.

use std::collections::VecDeque;
use std::time::Instant;

use super::STANDSTILL_NS;
use super::answer::Answered;
use super::schedule::{Pace, Schedule};
use super::tally::{PATIENCE_US, Tally};

/// What changes while a spell runs.
pub(super) struct Running {
    start: Instant,
    /// The last look at the clock.
    pub(super) now_ns: u64,
    /// The end of the last standstill.
    stood_until_ns: u64,
    pub(super) idle_ns: u64,
    pub(super) lanes: Vec<RunningLane>,
}

pub(super) struct RunningLane {
    schedule: Schedule,
    /// Requests that are due and wait for a connection, with the times at which they were.
    pub(super) waiting: VecDeque<u64>,
    /// Connections that wait for a request, longest first: none is left idle until the server closes it.
    pub(super) free: VecDeque<usize>,
    pub(super) under_way: u64,
    is_saturated: bool,
    /// What falls due while the sender stands still is offered to nobody.
    passes_over: bool,
    pub(super) tally: Tally,
}

impl Running {
    /// A spell of lanes with so many connections each, at their paces; of some, what falls due during a standstill is
    /// passed over.
    pub(super) fn new(lanes: impl Iterator<Item = (usize, bool, Pace)>, length_ns: u64) -> Running {
        let lane = |(connections, passes_over, pace)| RunningLane {
            schedule: Schedule::new(pace, length_ns),
            waiting: VecDeque::new(),
            free: (0..connections).collect(),
            under_way: 0,
            is_saturated: pace == Pace::Saturate,
            passes_over,
            tally: Tally::new(),
        };
        let lanes = lanes.map(lane).collect();
        Running { start: Instant::now(), now_ns: 0, stood_until_ns: 0, idle_ns: 0, lanes }
    }

    /// Looks at the clock, and takes in what is due.
    pub(super) fn look(&mut self) {
        let stood = self.pass() > STANDSTILL_NS;
        if stood {
            self.stood_until_ns = self.now_ns;
        }
        self.fall_due(stood);
    }

    /// The same after something that was waited for: that was no standstill of the sender's.
    pub(super) fn look_again(&mut self) {
        self.pass();
        self.fall_due(false);
    }

    /// How long the last look is ago.
    fn pass(&mut self) -> u64 {
        let now_ns = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        now_ns - std::mem::replace(&mut self.now_ns, now_ns)
    }

    fn fall_due(&mut self, stood: bool) {
        for lane in &mut self.lanes {
            lane.fall_due(self.now_ns, stood);
        }
    }

    /// What became of a request of a lane.
    pub(super) fn note(&mut self, at: usize, due_ns: u64, answered: Option<Answered>, expected: u16) {
        let (now_ns, stood_until_ns) = (self.now_ns, self.stood_until_ns);
        let lane = &mut self.lanes[at];
        match answered {
            Some(answered) if answered.status == expected => {
                let is_in_time = now_ns < lane.schedule.end_ns;
                if let Some(times_ns) = &mut lane.tally.times_ns {
                    times_ns.push((due_ns, now_ns));
                }
                lane.tally.answered((now_ns - due_ns) / 1_000, is_in_time, due_ns >= stood_until_ns);
            }
            Some(answered) => {
                *lane.tally.wrong.entry(answered.status).or_default() += 1;
                lane.tally.told_when += u64::from(answered.says_when);
                lane.tally.failed(now_ns);
            }
            None => {
                lane.tally.broken += 1;
                lane.tally.failed(now_ns);
            }
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.tally.answered).sum()
    }

    pub(super) fn has_ended(&self, length_ns: u64) -> bool {
        let is_done = |lane: &RunningLane| {
            lane.schedule.has_ended(self.now_ns) && lane.under_way == 0 && lane.waiting.is_empty()
        };
        self.lanes.iter().all(is_done) || self.now_ns > length_ns + PATIENCE_US * 1_000
    }
}

impl RunningLane {
    /// What is due by now waits for a connection; what fell due while the sender stood still is passed over.
    fn fall_due(&mut self, now_ns: u64, stood: bool) {
        if self.is_saturated {
            return;
        }
        while let Some(due_ns) = self.schedule.due(now_ns) {
            if stood && self.passes_over {
                self.tally.skipped += 1;
            } else {
                self.waiting.push_back(due_ns);
            }
        }
    }

    /// A connection that is free and a request that is due, taken as under way.
    pub(super) fn next_for_free(&mut self, now_ns: u64) -> Option<(usize, u64)> {
        let due_ns = match self.free.is_empty() {
            true => None,
            false if self.is_saturated => self.schedule.due(now_ns),
            false => self.waiting.pop_front(),
        }?;
        self.under_way += 1;
        self.tally.offered += 1;
        Some((self.free.pop_front()?, due_ns))
    }
}
