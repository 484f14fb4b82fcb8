//! Which units there were, never more than a bound of them: those with the smallest hashes.

use std::collections::BTreeMap;

use rollout_rules::sli::{Listed, MAX_LISTED, Sample, UnitHash};

/// One more than is told: it says below which hash a list is complete.
const KEPT: usize = MAX_LISTED + 1;

/// The units with the smallest hashes, each with the largest that is known of it.
#[derive(Debug)]
pub(super) struct Lowest<T> {
    units: BTreeMap<UnitHash, T>,
    /// Whether there were others.
    overflowed: bool,
}

impl<T> Default for Lowest<T> {
    fn default() -> Self {
        Lowest { units: BTreeMap::new(), overflowed: false }
    }
}

impl<T: Listed> Lowest<T> {
    pub(super) fn add(&mut self, unit: UnitHash, told: T) {
        if let Some(known) = self.units.get_mut(&unit) {
            *known = told.max(*known);
            return;
        }
        if self.units.len() < KEPT {
            self.units.insert(unit, told);
            return;
        }
        self.overflowed = true;
        if let Some(last) = self.units.last_entry().filter(|last| unit < *last.key()) {
            last.remove();
            self.units.insert(unit, told);
        }
    }

    /// How many units there were: counted, or if they are more than are kept, estimated from how close together the
    /// kept ones lie, to within 6 % two times in three.
    pub(super) fn distinct(&self) -> u64 {
        let kept = u64::try_from(self.units.len()).unwrap_or(u64::MAX);
        let Some((largest, _)) = self.units.last_key_value().filter(|_| self.overflowed) else { return kept };
        let estimate = (u128::from(kept - 1) << 64) / u128::from(largest.0).max(1);
        u64::try_from(estimate).unwrap_or(u64::MAX).max(kept)
    }

    pub(super) fn sample(self) -> Sample<T> {
        self.units.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(units: impl Iterator<Item = u32>) -> Lowest<()> {
        let mut lowest = Lowest::default();
        units.for_each(|unit| lowest.add(UnitHash::of(&format!("user-{unit}")), ()));
        lowest
    }

    #[test]
    fn few_units_are_counted_and_listed_each_once() {
        let lowest = of((0..200).chain(0..200));
        assert_eq!(lowest.distinct(), 200);
        let sample = lowest.sample();
        assert_eq!((sample.units().len(), sample.complete_below()), (200, None));
    }

    #[test]
    fn of_many_those_with_the_smallest_hashes_are_listed_in_whatever_order_they_come_and_their_number_is_near()
     {
        let many = 40_000;
        let (there, back) = (of(0..many), of((0..many).rev().chain(0..many)));
        for lowest in [&there, &back] {
            let distinct = lowest.distinct();
            assert!(distinct.abs_diff(u64::from(many)) < u64::from(many) / 5, "{distinct}");
        }
        let mut hashes: Vec<UnitHash> = (0..many).map(|unit| UnitHash::of(&format!("user-{unit}"))).collect();
        hashes.sort();
        let (there, back) = (there.sample(), back.sample());
        assert_eq!(there, back);
        assert_eq!(there.complete_below(), Some(hashes[MAX_LISTED]));
        assert!(there.units().iter().map(|(unit, ())| unit).eq(&hashes[..MAX_LISTED]));
    }

    #[test]
    fn of_a_unit_that_comes_again_the_slowest_request_is_kept() {
        use rollout_rules::sli::Bucket;
        let mut lowest = Lowest::default();
        [20, 900, 40].into_iter().for_each(|us| lowest.add(UnitHash(7), Bucket::of(us)));
        assert_eq!(lowest.sample().units(), [(UnitHash(7), Bucket::of(900))]);
    }
}
