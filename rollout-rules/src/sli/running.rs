//! The tests that run for one variant.

use serde::{Deserialize, Serialize};

use super::absolute::Absolute;
use super::comparison::{Comparison, Evidence, Pair, Rate};
use super::guardrail::{Bound, Operator, Sli, Test};
use super::histogram::{Bucket, Histogram};
use super::lately::{Lately, RECENT_SLOTS, Sums};
use super::nats::Nats;
use super::outcomes::Outcomes;
use super::slot::Slot;
use super::stakes::Share;
use super::threshold::{Clock, Measured, last_minute, measure};
use super::units::{Listed, Sample, UnitHash, UnitList, lower};
use super::unusual::{is_unusual, looks_unusual};
use super::verdict::{Reason, State};
use super::watch::{ACT_ODDS, HOLD_ODDS};
use crate::time::DurationMs;

/// The variant may be so much slower than the control before its units count for acting, in thousandths, rounded up to the
/// edge of a bucket. For holding they count at once.
const TOLERATED_THOUSANDTHS: u64 = 1_250;
/// Fewer requests of the control in ten minutes do not tell what is slow: of these the P95 is not the slowest any more.
const LEAST_TO_KNOW_SLOW: u64 = 20;
/// Fewer requests of the variant in ten minutes do not tell its latency; then the last hour has to.
const LEAST_TO_MEASURE: u64 = 20;
/// An error rate so much higher than the control's is worth acting on, whatever the control's is: 3 %.
pub const LARGE_DIFFERENCE_MILLIONTHS: u64 = 30_000;

/// One test of one variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) test: Test,
    kind: Kind,
    /// Until when the control did worse than it usually does: what began to count before may say as much of the outage as of
    /// the variant.
    troubled_until: Slot,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Errors(Comparison),
    /// Slow by the same measure as the control, and by a more generous one.
    Latency {
        hold: Comparison,
        act: Comparison,
    },
    Sustained(Clock, Option<Measured>),
    Absolute(Absolute),
    /// Judged elsewhere: it is not a variant's.
    Elsewhere,
}

/// One slot of a variant and the control, as one revision of the flag served it.
pub(super) struct Served<'a> {
    pub(super) share: Share,
    pub(super) variant: &'a Outcomes,
    pub(super) control: Option<&'a Outcomes>,
}

impl Served<'_> {
    /// Requests of both.
    pub(super) fn requests(&self) -> u64 {
        self.variant.requests.saturating_add(self.control.map_or(0, |control| control.requests))
    }
}

/// From which evidence on a comparison acts and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    act_at: Nats,
    hold_at: Nats,
}

impl Marks {
    /// Where alpha is shared among so many.
    pub(super) fn shared(sharing: u32) -> Marks {
        Marks {
            act_at: Nats::of(f64::from(ACT_ODDS * sharing)),
            hold_at: Nats::of(f64::from(HOLD_ODDS * sharing)),
        }
    }
}

/// What both did lately.
pub(super) struct Side<'a> {
    pub(super) variant: &'a Lately,
    pub(super) control: Option<&'a Lately>,
    /// The slot after the last that they include.
    pub(super) now: Slot,
}

impl Running {
    pub(super) fn new(test: Test, began: Slot) -> Running {
        let kind = match test {
            Test::WorseThanControl { sli: Sli::ErrorRate | Sli::Availability, .. } => {
                Kind::Errors(Comparison::new(began))
            }
            Test::WorseThanControl { sli: Sli::LatencyP95 | Sli::LatencyP99, .. } => {
                Kind::Latency { hold: Comparison::new(began), act: Comparison::new(began) }
            }
            Test::Threshold { sli: Sli::Cpu | Sli::Memory | Sli::MonthlySpend, .. } => Kind::Elsewhere,
            Test::Threshold { sustained_ms: Some(_), .. } => Kind::Sustained(Clock::default(), None),
            Test::Threshold { sli, operator, bound, sustained_ms: None } => allowed(sli, operator, bound)
                .map_or(Kind::Elsewhere, |part| Kind::Absolute(Absolute::new(part, began))),
            Test::WorseThanControl { .. } => Kind::Elsewhere,
        };
        Running { test, kind, troubled_until: Slot(0) }
    }

    /// Whether it shares alpha with others: it compares.
    pub(super) fn compares(&self) -> bool {
        matches!(self.kind, Kind::Errors(_) | Kind::Latency { .. })
    }

    /// Of a slot that is not counted yet: how many units of the variant and the control were served that had never been bad, and
    /// how many of them turned bad. Only units that all lists know of.
    pub(super) fn turned_bad(&self, served: &Served<'_>) -> Option<(Pair<u64>, Pair<u64>)> {
        let (Kind::Errors(errors), Some(control)) = (&self.kind, served.control) else { return None };
        let variant = served.variant;
        let lists = [&variant.served, &variant.bad, &control.served, &control.bad];
        let bound = lists.iter().fold(None, |bound, list| lower(bound, list.complete_below()));
        let new = |list: &UnitList| {
            let new = list.below(bound).iter().filter(|(unit, ())| !errors.knows(*unit)).count();
            u64::try_from(new).unwrap_or(u64::MAX)
        };
        let bad = (new(&variant.bad), new(&control.bad));
        // Without a unit that turned bad nothing is learnt.
        let any = served.share.compares() && bad != (0, 0);
        any.then(|| ((new(&variant.served), new(&control.served)), bad))
    }

    /// Of a slot in which there were bad or slow units of what is compared: whether it was told which. Where not all were
    /// listed those that were compare fairly; where none were nothing does.
    pub(super) fn is_told(&self, served: &Served<'_>) -> Option<bool> {
        let sides = [Some(served.variant), served.control];
        let sides = sides.into_iter().flatten().filter(|_| served.control.is_some());
        let lists = sides.filter_map(|side| match self.kind {
            Kind::Errors(_) => (side.bad_requests > 0).then(|| side.bad.complete_below()),
            Kind::Latency { .. } => (side.latency.count() > 0).then(|| side.slow.complete_below()),
            Kind::Sustained(..) | Kind::Absolute(_) | Kind::Elsewhere => None,
        });
        lists.map(|complete_below| complete_below != Some(UnitHash(0))).reduce(|a, b| a && b)
    }

    /// What was passed for some time is not passed while nobody looks.
    pub(super) fn stop_clock(&mut self) {
        if let Kind::Sustained(..) = self.kind {
            self.kind = Kind::Sustained(Clock::default(), None);
        }
    }

    /// Begins a slot.
    pub(super) fn begin(&mut self, slot: Slot) {
        match &mut self.kind {
            Kind::Errors(errors) => errors.begin(slot),
            Kind::Latency { hold, act } => {
                hold.begin(slot);
                act.begin(slot);
            }
            Kind::Sustained(..) | Kind::Absolute(_) | Kind::Elsewhere => {}
        }
    }

    /// Counts what a slot served. `before` is what both did until then, without this slot.
    pub(super) fn count(&mut self, slot: Slot, served: &Served<'_>, before: &Side<'_>) {
        let Served { share, variant, control } = served;
        match (&mut self.kind, control) {
            (Kind::Errors(errors), Some(control)) => {
                let (ours, theirs) = fair(&variant.bad, &control.bad);
                errors.count_units(slot, *share, ours, theirs);
                errors.count(rate(variant), rate(control));
            }
            (Kind::Latency { hold, act }, Some(control)) => {
                let per_mille = per_mille(self.test);
                let known = before
                    .control
                    .map(Lately::recent)
                    .filter(|sums| sums.latency.count() >= LEAST_TO_KNOW_SLOW);
                let Some(usual) = known.and_then(|sums| sums.latency.quantile(per_mille)) else { return };
                let slow_us = usual.until_us();
                let slow = Bucket::of(slow_us);
                let tolerated = Bucket::not_below((slow_us * TOLERATED_THOUSANDTHS).div_ceil(1_000));
                if variant.slow_from_us.max(control.slow_from_us) > slow_us {
                    return;
                }
                let (ours, theirs) = fair(&variant.slow, &control.slow);
                hold.count_in_order(slot, *share, slower(ours, slow), slower(theirs, slow));
                act.count_in_order(slot, *share, slower(ours, tolerated), slower(theirs, slow));
                for (comparison, from) in [(hold, slow), (act, tolerated)] {
                    comparison.count(slow_rate(variant, from), slow_rate(control, slow));
                }
            }
            (Kind::Absolute(absolute), _) => {
                let Test::Threshold { sli, bound, .. } = self.test else { return };
                let (all, bad) = match (sli, bound) {
                    (Sli::LatencyP95 | Sli::LatencyP99, Bound::Microseconds(us)) => {
                        let from = Bucket::of(Bucket::of(us).until_us());
                        (variant.latency.count(), variant.latency.count_from(from))
                    }
                    _ => units_and_bad(variant),
                };
                absolute.count(slot, all, bad);
            }
            _ => {}
        }
    }

    /// Ends a slot, which `lately` now includes.
    pub(super) fn end(&mut self, lately: &Side<'_>, usual: Option<&Sums>, Marks { hold_at, .. }: Marks) {
        // What the control's latency is takes long to find out; so that is asked only where it matters.
        let asked = match &self.kind {
            Kind::Errors(_) => true,
            Kind::Latency { hold, act } => hold.reaches(hold_at) || act.reaches(hold_at),
            _ => false,
        };
        if asked && lately.control.is_some_and(|control| is_unusual(self.test.sli(), control)) {
            self.troubled_until = lately.now;
        }
        if let (Kind::Sustained(clock, last), Test::Threshold { sli, operator, bound, .. }) =
            (&mut self.kind, self.test)
        {
            let control = lately.control.map(|control| last_minute(sli, control));
            let baseline = control.as_ref().or(usual).and_then(|sums| measure(sli, sums));
            if let Some(measured) = clock.step(sli, operator, bound, lately.variant, baseline) {
                *last = Some(measured);
            }
        }
    }

    /// Whether what makes it act can be laid to the variant's charge: the control does not do badly, and the evidence is not of
    /// a time when it did.
    pub(super) fn blames_the_variant(&self, lately: &Side<'_>, Marks { act_at, .. }: Marks) -> bool {
        let (Kind::Errors(comparison) | Kind::Latency { act: comparison, .. }) = &self.kind else {
            return true;
        };
        let unusual =
            |control: &Lately| self.troubled_until == lately.now || looks_unusual(self.test.sli(), control);
        !lately.control.is_some_and(unusual) && comparison.reaches_from(self.troubled_until, act_at)
    }

    /// How bad it looks. `None`: the test has nothing to say.
    pub(super) fn state(&self, lately: &Side<'_>, Marks { act_at, hold_at }: Marks) -> Option<State> {
        match (&self.kind, self.test) {
            (Kind::Errors(errors), Test::WorseThanControl { by_thousandths, .. }) => {
                let holds = errors.reaches(hold_at);
                let acts = holds && errors.reaches(act_at) && {
                    let evidence = errors.evidence();
                    is_large(evidence.variant, evidence.control, by_thousandths)
                };
                Some(graded(acts, holds))
            }
            (Kind::Latency { hold, act }, Test::WorseThanControl { by_thousandths, .. }) => {
                let acts = act.reaches(act_at) && {
                    let (variant, control) = latencies(lately, act.evidence().since);
                    is_longer(&variant, &control, self.test, by_thousandths)
                };
                Some(graded(acts, hold.reaches(hold_at)))
            }
            (Kind::Sustained(_, last), Test::Threshold { sli, sustained_ms, .. }) => {
                let measured = (*last)?;
                Some(graded(measured.is_reason(sli, sustained_ms.unwrap_or(DurationMs(0))), false))
            }
            (Kind::Absolute(absolute), _) => {
                let log = absolute.evidence();
                let reaches = |odds: u32| log >= Nats::of(f64::from(odds));
                Some(graded(reaches(ACT_ODDS), reaches(HOLD_ODDS)))
            }
            _ => None,
        }
    }

    /// The evidence that it acts on, or the strongest if there is none.
    fn strongest(&self, comparison: &Comparison, sharing: u32) -> Evidence {
        let clear = comparison.reaches_from(self.troubled_until, Nats::of(f64::from(ACT_ODDS * sharing)));
        comparison.evidence_from(if clear { self.troubled_until } else { Slot(0) })
    }

    /// The numbers that it says so from.
    pub(super) fn reason(&self, lately: &Side<'_>, sharing: u32) -> Reason {
        match (&self.kind, self.test) {
            (Kind::Errors(errors), Test::WorseThanControl { sli, .. }) => {
                let evidence = shared(self.strongest(errors, sharing), sharing);
                let (variant, control) = (part(sli, evidence.variant), part(sli, evidence.control));
                Reason::Compared { sli, evidence, variant, control, resumed: None }
            }
            (Kind::Latency { hold, act }, Test::WorseThanControl { sli, .. }) => {
                let acts = act.reaches(Nats::of(f64::from(ACT_ODDS * sharing)));
                let evidence = if acts { self.strongest(act, sharing) } else { hold.evidence() };
                let evidence = shared(evidence, sharing);
                let (variant, control) = latencies(lately, evidence.since);
                let (variant, control) =
                    (variant.quantile_us(per_mille(self.test)), control.quantile_us(per_mille(self.test)));
                Reason::Compared {
                    sli,
                    evidence,
                    variant: variant.unwrap_or(0),
                    control: control.unwrap_or(0),
                    resumed: None,
                }
            }
            (Kind::Sustained(_, Some(measured)), Test::Threshold { sli, .. }) => {
                Reason::Threshold { sli, measured: *measured }
            }
            (Kind::Absolute(absolute), Test::Threshold { sli, .. }) => {
                let (counted, bad) = absolute.counted();
                Reason::Absolute { sli, log: absolute.evidence(), counted, bad }
            }
            _ => Reason::Nothing,
        }
    }
}

fn graded(acts: bool, holds: bool) -> State {
    match (acts, holds) {
        (true, _) => State::Regressed,
        (false, true) => State::Suspect,
        (false, false) => State::Ok,
    }
}

/// Evidence as it counts when alpha is shared: it still acts at 100.
fn shared(evidence: Evidence, sharing: u32) -> Evidence {
    Evidence { log: evidence.log.minus(Nats::of(f64::from(sharing))), ..evidence }
}

/// The part that may be bad, in millionths, if a test can be put so.
fn allowed(sli: Sli, operator: Operator, bound: Bound) -> Option<u64> {
    let above = matches!(operator, Operator::Above | Operator::AtLeast);
    match (sli, bound, above) {
        (Sli::ErrorRate, Bound::Millionths(part), true) => Some(part),
        (Sli::Availability, Bound::Millionths(part), false) => Some(1_000_000_u64.saturating_sub(part)),
        (Sli::LatencyP95, Bound::Microseconds(_), true) => Some(50_000),
        (Sli::LatencyP99, Bound::Microseconds(_), true) => Some(10_000),
        _ => None,
    }
}

fn per_mille(test: Test) -> u16 {
    match test {
        Test::WorseThanControl { sli: Sli::LatencyP99, .. } => 990,
        _ => 950,
    }
}

fn rate(outcomes: &Outcomes) -> Rate {
    Rate { requests: outcomes.requests, bad: outcomes.bad_requests }
}

fn slow_rate(outcomes: &Outcomes, from: Bucket) -> Rate {
    Rate { requests: outcomes.latency.count(), bad: outcomes.latency.count_from(from) }
}

fn part(sli: Sli, rate: Rate) -> u64 {
    let bad = if sli == Sli::Availability { rate.requests.saturating_sub(rate.bad) } else { rate.bad };
    let millionths = (u128::from(bad) * 1_000_000).checked_div(u128::from(rate.requests));
    millionths.map_or(0, |millionths| u64::try_from(millionths).unwrap_or(u64::MAX))
}

/// How many units there were, and how many of them bad: of those that both lists know where they were cut; requests, where
/// units are not told apart.
fn units_and_bad(outcomes: &Outcomes) -> (u64, u64) {
    let count = |list: &UnitList, bound| u64::try_from(list.below(bound).len()).unwrap_or(u64::MAX);
    match outcomes.bad.complete_below() {
        None => (outcomes.units, count(&outcomes.bad, None)),
        Some(cut) => match lower(Some(cut), outcomes.served.complete_below()) {
            Some(UnitHash(0)) => (outcomes.requests, outcomes.bad_requests),
            bound => (count(&outcomes.served, bound), count(&outcomes.bad, bound)),
        },
    }
}

/// Whether the variant's error rate is so many times the control's, or 3 % of all requests above it.
fn is_large(variant: Rate, control: Rate, by_thousandths: u64) -> bool {
    let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let (ours, theirs) = (cross(variant.bad, control.requests), cross(control.bad, variant.requests));
    let times = ours.saturating_mul(1_000) >= theirs.saturating_mul(u128::from(by_thousandths));
    let larger = part(Sli::ErrorRate, variant).saturating_sub(part(Sli::ErrorRate, control));
    variant.bad > 0 && (times || larger >= LARGE_DIFFERENCE_MILLIONTHS)
}

/// What can be compared of two lists.
fn fair<'a, T: Listed>(ours: &'a Sample<T>, theirs: &'a Sample<T>) -> Pair<&'a [(UnitHash, T)]> {
    let bound = lower(ours.complete_below(), theirs.complete_below());
    (ours.below(bound), theirs.below(bound))
}

fn slower(units: &[(UnitHash, Bucket)], from: Bucket) -> impl Iterator<Item = UnitHash> {
    units.iter().filter(move |(_, slowest)| *slowest >= from).map(|(unit, _)| *unit)
}

/// Whether the variant's latency may be so many times the control's, as far as buckets tell: between the fastest that the
/// control's can be and the slowest that the variant's can. (Of what takes exactly so many times as long, the middle of the
/// buckets says so only every other time, however much is known.)
fn is_longer(variant: &Histogram, control: &Histogram, test: Test, by_thousandths: u64) -> bool {
    let bucket = |histogram: &Histogram| histogram.quantile(per_mille(test));
    let (Some(variant), Some(control)) = (bucket(variant), bucket(control)) else { return false };
    u128::from(variant.until_us()) * 1_000 >= u128::from(control.from_us()) * u128::from(by_thousandths)
}

/// The latencies of the variant and the control since the evidence counts, as long as that is ten minutes at most, or for the
/// last ten minutes; where the variant had few requests in them, for the last hour.
fn latencies(lately: &Side<'_>, since: Slot) -> Pair<Histogram> {
    let slots = usize::try_from(lately.now.since(since)).unwrap_or(RECENT_SLOTS);
    let mut variant = lately.variant.last(slots).latency;
    let few = variant.count() < LEAST_TO_MEASURE;
    let of = |lately: &Lately| if few { lately.hour().latency } else { lately.last(slots).latency };
    if few {
        variant = of(lately.variant);
    }
    (variant, lately.control.map(of).unwrap_or_default())
}
