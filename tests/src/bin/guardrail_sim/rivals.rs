//! Rules that others use, as baselines: they see errors only.

use std::collections::VecDeque;

use rollout_rules::sli::SlotEntry;

use crate::traffic::variant;

/// The bound that threshold rules are given.
const BOUND: f64 = 0.03;

/// Requests and bad ones of a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    share: f64,
    requests: f64,
    bad: f64,
    control_requests: f64,
    control_bad: f64,
}

impl Seen {
    pub(crate) fn of(entry: &SlotEntry, share: f64) -> Seen {
        let mut seen = Seen { share, ..Seen::default() };
        for part in &entry.parts {
            let (requests, bad) = (part.outcomes.requests as f64, part.outcomes.bad_requests as f64);
            if part.variant == variant() {
                (seen.requests, seen.bad) = (seen.requests + requests, seen.bad + bad);
            } else {
                (seen.control_requests, seen.control_bad) =
                    (seen.control_requests + requests, seen.control_bad + bad);
            }
        }
        seen
    }

    fn plus(self, other: Seen) -> Seen {
        Seen {
            share: other.share,
            requests: self.requests + other.requests,
            bad: self.bad + other.bad,
            control_requests: self.control_requests + other.control_requests,
            control_bad: self.control_bad + other.control_bad,
        }
    }

    fn is_over(self) -> bool {
        self.requests > 0.0 && self.bad / self.requests > BOUND
    }

    /// How far the variant's error rate is above the control's, in deviations.
    fn z(self) -> f64 {
        let (a, b) = (self.requests, self.control_requests);
        let pooled = (self.bad + self.control_bad) / (a + b);
        let spread = (pooled * (1.0 - pooled) * (1.0 / a + 1.0 / b)).sqrt();
        if spread > 0.0 { (self.bad / a - self.control_bad / b) / spread } else { 0.0 }
    }
}

/// All of them at once, on the same traffic.
#[derive(Default)]
pub(crate) struct Rivals {
    slots: u32,
    recent: VecDeque<Seen>,
    minutes: Vec<Seen>,
    all: Seen,
    over_for: u32,
    failed: u32,
    /// Sum and sum of squares of weighed requests, for the confidence sequence.
    sums: (f64, f64, f64),
    acted: [Option<f64>; 7],
}

impl Rivals {
    pub(crate) const NAMES: [&'static str; 7] = [
        "plain window: over 3 % of the last 5 min",
        "PromQL: rate[1m] over 3 %, for 5m",
        "interval of 1 min over 3 %, failure limit 3",
        "five failed checks in all, 1 min each",
        "Mann-Whitney at 15, 30, 45, 60 min, p < 0.01",
        "z-test at every slot, p < 0.01",
        "asymptotic confidence sequence, 0.01",
    ];

    pub(crate) fn acted(&self) -> [Option<f64>; 7] {
        self.acted
    }

    /// Sees a slot. `true` once all have acted.
    pub(crate) fn step(&mut self, seen: &Seen, after: f64) -> bool {
        self.slots += 1;
        self.all = self.all.plus(*seen);
        if self.recent.len() == 30 {
            self.recent.pop_front();
        }
        self.recent.push_back(*seen);
        let last = |slots: usize| {
            let from = self.recent.len().saturating_sub(slots);
            self.recent.range(from..).fold(Seen::default(), |sum, slot| sum.plus(*slot))
        };
        let minute = last(6);
        let window = self.recent.len() == 30 && last(30).is_over();
        self.over_for = if minute.is_over() { self.over_for + 1 } else { 0 };
        let mut mann_whitney = false;
        if self.slots.is_multiple_of(6) {
            self.failed += u32::from(minute.is_over());
            self.minutes.push(minute);
            mann_whitney = [15, 30, 45, 60].contains(&self.minutes.len()) && differs(&self.minutes);
        }
        let z = self.all.requests >= 30.0 && self.all.control_requests >= 30.0 && self.all.z() > 2.326;
        let acts = [
            window,
            self.over_for > 30,
            self.failed > 3,
            self.failed >= 5,
            mann_whitney,
            z,
            self.sequence(seen),
        ];
        for (acted, acts) in self.acted.iter_mut().zip(acts) {
            if acts && acted.is_none() {
                *acted = Some(after);
            }
        }
        self.acted.iter().all(Option::is_some)
    }

    /// The difference of the error rates, each request weighed by its chance to be in its arm, with the running
    /// mean's asymptotic confidence sequence, one-sided.
    fn sequence(&mut self, seen: &Seen) -> bool {
        let (ours, theirs) = (1.0 / seen.share, 1.0 / (1.0 - seen.share));
        self.sums.0 += seen.requests + seen.control_requests;
        self.sums.1 += seen.bad * ours - seen.control_bad * theirs;
        self.sums.2 += seen.bad * ours * ours + seen.control_bad * theirs * theirs;
        let (count, sum, squares) = self.sums;
        if count < 100.0 {
            return false;
        }
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(1e-12);
        let tuned = 0.003;
        let scaled = count * tuned + 1.0;
        let width = (variance * 2.0 * scaled / (count * count * tuned) * (scaled.sqrt() / 0.02).ln()).sqrt();
        mean > width
    }
}

/// Whether the variant's error rate by the minute is higher than the control's, by the rank sum (normal approximation,
/// one-sided).
fn differs(minutes: &[Seen]) -> bool {
    let rate = |bad: f64, requests: f64| (requests > 0.0).then(|| bad / requests);
    let ours: Vec<f64> = minutes.iter().filter_map(|seen| rate(seen.bad, seen.requests)).collect();
    let theirs: Vec<f64> =
        minutes.iter().filter_map(|seen| rate(seen.control_bad, seen.control_requests)).collect();
    let (a, b) = (ours.len() as f64, theirs.len() as f64);
    if a < 5.0 || b < 5.0 {
        return false;
    }
    let wins = |ours: f64, theirs: f64| match ours.total_cmp(&theirs) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let u: f64 = ours.iter().flat_map(|ours| theirs.iter().map(move |theirs| wins(*ours, *theirs))).sum();
    let mut all: Vec<f64> = ours.iter().chain(&theirs).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 =
        all.chunk_by(|x, y| x == y).map(|tie| (tie.len() as f64).powi(3) - tie.len() as f64).sum();
    let count = a + b;
    let variance = a * b / 12.0 * (count + 1.0 - ties / (count * (count - 1.0)));
    variance > 0.0 && (u - a * b / 2.0 - 0.5) / variance.sqrt() > 2.326
}
