//! Made-up users of a flag that is being rolled out, slot by slot.

use rollout_rules::ids::{Revision, VariantKey};
use rollout_rules::sli::{
    Bucket, Histogram, Outcomes, Part, Plan, Sample, Slot, SlotEntry, SlowUnits, UnitHash, UnitList,
};

use crate::dice::{Counts, Dice, mixed};

/// Where every run begins.
pub(crate) const START: Slot = Slot(180_000_000);
/// From which latency on the made-up SDKs list units, in microseconds: what a quarter of requests takes.
const LISTED_FROM_US: u64 = 140_000;

/// Who asks for the flag and what becomes of it.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) requests_a_second: f64,
    pub(crate) users: usize,
    /// The variant's share from a second on, in percent.
    pub(crate) share_percent: Vec<(u32, u32)>,
    /// The part of requests that fails whatever the variant.
    pub(crate) errors: f64,
    /// The part of users who fail on nine in ten requests, whatever the variant.
    pub(crate) unlucky: f64,
    /// Errors come ten to a user.
    pub(crate) bursts: bool,
    /// In these seconds errors come so many times as often, and everything takes so many times as long.
    pub(crate) outage: Option<(u32, u32, f64, f64)>,
    /// From this second on so many of the variant's requests fail.
    pub(crate) broken: Option<(f64, f64)>,
    /// Whether latencies are measured, and how many times as long the variant takes from which second on.
    pub(crate) slow: Option<(f64, f64)>,
    /// Where latencies are measured: whether requests fail as well, and units that were served are listed.
    pub(crate) listed: bool,
}

impl Traffic {
    pub(crate) fn calm(requests_a_second: f64, share: u32) -> Traffic {
        Traffic {
            requests_a_second,
            users: 20_000,
            share_percent: vec![(0, share)],
            errors: 0.01,
            unlucky: 0.0,
            bursts: false,
            outage: None,
            broken: None,
            slow: None,
            listed: false,
        }
    }

    pub(crate) fn share_at(&self, second: u32) -> u32 {
        self.share_percent.iter().rev().find(|(from, _)| *from <= second).map_or(0, |(_, share)| *share)
    }

    /// What each revision serves: one for each share.
    pub(crate) fn plans(&self) -> Vec<Plan> {
        let plan = |(at, (_, share)): (usize, &(u32, u32))| Plan {
            revision: Revision(at as u64 + 1),
            control: Some(control()),
            weights: vec![(variant(), *share), (control(), 100 - share)],
        };
        self.share_percent.iter().enumerate().map(plan).collect()
    }

    fn revision_at(&self, second: u32) -> Revision {
        let passed = self.share_percent.iter().filter(|(from, _)| *from <= second).count();
        Revision(passed as u64)
    }
}

pub(crate) fn variant() -> VariantKey {
    VariantKey::new("new").expect("a key")
}

pub(crate) fn control() -> VariantKey {
    VariantKey::new("old").expect("a key")
}

/// The users of one run.
pub(crate) struct World {
    pub(crate) traffic: Traffic,
    dice: Dice,
    counts: Counts,
    seed: u64,
    /// Where each user stands: the variant serves those below its share.
    places: Vec<f32>,
    unlucky: Vec<usize>,
    /// How many times as long everything takes for a user.
    pace: Vec<f32>,
    /// Errors that are still to come: the slot and the user.
    coming: Vec<(u32, usize)>,
}

#[derive(Default)]
struct Side {
    requests: u64,
    bad_requests: u64,
    bad: Vec<(UnitHash, ())>,
    slow: Vec<(UnitHash, Bucket)>,
    served: Vec<(UnitHash, ())>,
    latency: Histogram,
}

impl World {
    pub(crate) fn new(traffic: Traffic, seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let users = traffic.users;
        let places = (0..users).map(|_| dice.part() as f32).collect();
        let unlucky = (0..users).filter(|_| dice.chance(traffic.unlucky)).collect();
        let pace = if traffic.slow.is_some() {
            (0..users).map(|_| (0.2 * dice.normals()[0]).exp() as f32).collect()
        } else {
            Vec::new()
        };
        World { traffic, dice, counts: Counts::default(), seed, places, unlucky, pace, coming: Vec::new() }
    }

    fn unit(&self, user: usize) -> UnitHash {
        UnitHash(mixed(self.seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ user as u64))
    }

    /// The next slot, `number` slots after the start.
    pub(crate) fn slot(&mut self, number: u32) -> SlotEntry {
        let second = number * 10;
        let share = self.traffic.share_at(second);
        let mut sides = [Side::default(), Side::default()];
        let is_variant = |place: f32| place < share as f32 / 100.0;
        if self.traffic.slow.is_some() {
            self.measured(second, &is_variant, &mut sides);
        } else {
            self.failed(number, &is_variant, &mut sides, f64::from(share) / 100.0);
        }
        let [new, old] = sides;
        let revision = self.traffic.revision_at(second);
        let parts = [(variant(), new, f64::from(share)), (control(), old, 100.0 - f64::from(share))];
        let parts = parts.into_iter().map(|(variant, side, share)| {
            let of_users = self.traffic.users as f64 * share / 100.0;
            let met = of_users * (1.0 - (-(side.requests as f64) / of_users.max(1.0)).exp());
            let (bad, slow) = (UnitList::from_iter(side.bad), SlowUnits::from_iter(side.slow));
            let served =
                if self.traffic.listed { UnitList::from_iter(side.served) } else { Sample::unknown() };
            let least = bad.units().len().max(slow.units().len()).max(served.units().len()) as u64;
            let outcomes = Outcomes {
                units: (met.round() as u64).max(least).min(side.requests),
                requests: side.requests,
                bad_requests: side.bad_requests,
                bad,
                slow,
                slow_from_us: LISTED_FROM_US,
                served,
                latency: side.latency,
                cost_micros: 0,
            };
            Part { revision, variant, outcomes }
        });
        let parts = parts.filter(|part| part.outcomes.requests > 0).collect();
        SlotEntry { slot: START.plus(number), sources: 1, parts }
    }

    /// Only failed requests are drawn one by one: the others matter by their number.
    fn failed(&mut self, number: u32, is_variant: &dyn Fn(f32) -> bool, sides: &mut [Side; 2], share: f64) {
        let second = number * 10;
        let ten_seconds = self.traffic.requests_a_second * 10.0;
        let outage = self.traffic.outage.filter(|(from, until, ..)| (*from..*until).contains(&second));
        let usual = (self.traffic.errors * outage.map_or(1.0, |(.., errors, _)| errors)).min(1.0);
        let worst = self.traffic.broken.map_or(usual, |(_, broken)| broken.max(usual));
        let (part, each) = if self.traffic.bursts { (worst / 10.0, 10) } else { (worst, 1) };
        let mut failed: Vec<usize> = Vec::new();
        for _ in 0..self.counts.draw(ten_seconds * part, &mut self.dice) {
            let user = self.dice.below(self.places.len());
            let at = f64::from(second) + 10.0 * self.dice.part();
            let broken = self.traffic.broken.filter(|(from, _)| is_variant(self.places[user]) && at >= *from);
            let rate = broken.map_or(usual, |(_, rate)| rate);
            if self.dice.chance(rate / worst) {
                failed.push(user);
                self.coming.extend((1..each).map(|more| (number + more / 4, user)));
            }
        }
        let due = |(at, user): &(u32, usize)| (*at <= number).then_some(*user);
        failed.extend(self.coming.iter().filter_map(due));
        self.coming.retain(|(at, _)| *at > number);
        if !self.unlucky.is_empty() {
            let theirs = ten_seconds * self.unlucky.len() as f64 / self.places.len() as f64;
            for _ in 0..self.counts.draw(theirs * 0.9, &mut self.dice) {
                failed.push(self.unlucky[self.dice.below(self.unlucky.len())]);
            }
        }
        for user in failed {
            let side = &mut sides[usize::from(!is_variant(self.places[user]))];
            side.bad_requests += 1;
            side.bad.push((self.unit(user), ()));
        }
        let broken = self.traffic.broken.filter(|(from, _)| *from <= f64::from(second));
        for (side, part, errors) in
            [(0, share, broken.map_or(usual, |(_, broken)| broken)), (1, 1.0 - share, usual)]
        {
            let good = self.counts.draw(ten_seconds * part * (1.0 - errors), &mut self.dice);
            sides[side].requests = sides[side].bad_requests + good;
        }
    }

    /// Every request is drawn, with its latency.
    fn measured(&mut self, second: u32, is_variant: &dyn Fn(f32) -> bool, sides: &mut [Side; 2]) {
        let outage = self.traffic.outage.filter(|(from, until, ..)| (*from..*until).contains(&second));
        let longer = outage.map_or(1.0, |(.., latency)| latency);
        let (from, times) = self.traffic.slow.unwrap_or((0.0, 1.0));
        let mut normals = [0.0; 2];
        for request in 0..self.counts.draw(self.traffic.requests_a_second * 10.0, &mut self.dice) {
            let user = self.dice.below(self.places.len());
            let is_variant = is_variant(self.places[user]);
            if request % 2 == 0 {
                normals = self.dice.normals();
            }
            let normal = normals[(request % 2) as usize];
            let mut us = 100_000.0 * (0.5 * normal).exp() * f64::from(self.pace[user]) * longer;
            if is_variant && f64::from(second) + 10.0 * self.dice.part() >= from {
                us *= times;
            }
            if !self.unlucky.is_empty() && self.unlucky.binary_search(&user).is_ok() && self.dice.chance(0.9)
            {
                us *= 8.0;
            }
            let us = us as u64;
            let unit = self.unit(user);
            let side = &mut sides[usize::from(!is_variant)];
            side.requests += 1;
            if self.traffic.listed {
                side.served.push((unit, ()));
                if self.dice.chance(self.traffic.errors) {
                    side.bad_requests += 1;
                    side.bad.push((unit, ()));
                }
            }
            side.latency.add(us, 1);
            if us >= LISTED_FROM_US {
                side.slow.push((unit, Bucket::of(us)));
            }
        }
    }
}
