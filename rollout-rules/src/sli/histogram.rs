//! Latencies, counted in fixed buckets whose width grows with the latency.

use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error as _, SeqAccess};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Buckets for each doubling of the latency; so a bucket is at most 1/16 (6.25 %) as wide as its lower edge.
const FOR_EACH_DOUBLING: u64 = 16;
const BITS: u32 = FOR_EACH_DOUBLING.trailing_zeros();
/// The longest latency that is told apart, an hour, in microseconds. Longer ones count as this.
pub const MAX_LATENCY_US: u64 = 3_600_000_000;
/// How many buckets there are.
pub const BUCKETS: usize = Bucket::of(MAX_LATENCY_US).0 as usize + 1;

/// A range of latencies that are counted together. Below 16 microseconds each has its own; above, a range is a
/// sixteenth of a doubling, so that any value told for it is wrong by 6.25 % at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of a latency in microseconds.
    #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 500 buckets")]
    pub const fn of(us: u64) -> Bucket {
        let us = if us > MAX_LATENCY_US { MAX_LATENCY_US } else { us };
        if us < FOR_EACH_DOUBLING {
            return Bucket(us as u16);
        }
        let doublings = us.ilog2() - BITS;
        Bucket((FOR_EACH_DOUBLING * doublings as u64 + (us >> doublings)) as u16)
    }

    /// The fastest bucket that holds no latency below one in microseconds.
    pub const fn not_below(us: u64) -> Bucket {
        let bucket = Bucket::of(us);
        if bucket.from_us() < us { Bucket(bucket.0 + 1) } else { bucket }
    }

    /// Its shortest latency, in microseconds.
    pub const fn from_us(self) -> u64 {
        let index = self.0 as u64;
        if index < FOR_EACH_DOUBLING {
            return index;
        }
        let doublings = index / FOR_EACH_DOUBLING - 1;
        (FOR_EACH_DOUBLING + index % FOR_EACH_DOUBLING) << doublings
    }

    /// The shortest latency above it, in microseconds.
    pub const fn until_us(self) -> u64 {
        Bucket(self.0 + 1).from_us()
    }
}

/// A bucket with how many it counted, in one number: most histograms are many and small, and so hold half as much. They are
/// in the order of their buckets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counted(u64);

/// Bits of a count. The rest tells the bucket.
const COUNT_BITS: u32 = 55;
/// The largest count of one bucket, 36 million times a billion; it stays at this.
const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;
const _: () = assert!(BUCKETS < 1 << (u64::BITS - COUNT_BITS));

impl Counted {
    fn new(bucket: Bucket, count: u64) -> Counted {
        Counted(u64::from(bucket.0) << COUNT_BITS | count.min(MAX_COUNT))
    }

    #[allow(clippy::cast_possible_truncation, reason = "nine bits are left")]
    fn bucket(self) -> Bucket {
        Bucket((self.0 >> COUNT_BITS) as u16)
    }

    fn count(self) -> u64 {
        self.0 & MAX_COUNT
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} us", self.count(), self.bucket().from_us())
    }
}

/// How many requests took how long. Holds only buckets that counted something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket, each once, none of them zero.
    counts: Vec<Counted>,
    /// Their sum.
    total: u64,
}

impl Histogram {
    /// Counts `count` requests of a latency in microseconds.
    pub fn add(&mut self, us: u64, count: u64) {
        let bucket = Bucket::of(us);
        if count > 0 {
            let at = self.counts.partition_point(|known| known.bucket() < bucket);
            self.add_at(at, Counted::new(bucket, count));
        }
    }

    /// Adds to the bucket that is or should be at a place.
    fn add_at(&mut self, at: usize, more: Counted) {
        self.total = self.total.saturating_add(more.count());
        match self.counts.get_mut(at) {
            Some(known) if known.bucket() == more.bucket() => *known = both(*known, more),
            _ => self.counts.insert(at, more),
        }
    }

    /// The place of a bucket that is no faster than the one at a place. What is asked for one after the other takes one way
    /// through memory.
    fn place_from(&self, from: usize, bucket: Bucket) -> usize {
        let first = Counted::new(bucket, 0);
        from + self.counts[from..].iter().take_while(|known| **known < first).count()
    }

    /// What it counted, by bucket.
    pub(super) fn counted(&self) -> &[Counted] {
        &self.counts
    }

    /// Adds what another counted. The order of merging does not matter.
    pub fn merge(&mut self, other: &Histogram) {
        self.merge_counted(other.counts.iter().copied());
    }

    /// The same for what comes by bucket, each once.
    pub(super) fn merge_counted(&mut self, other: impl DoubleEndedIterator<Item = Counted> + Clone) {
        let length = other.clone().count();
        // A few are put in place one by one.
        if length * 4 < self.counts.len() {
            let mut at = 0;
            for more in other {
                at = self.place_from(at, more.bucket());
                self.add_at(at, more);
            }
            return;
        }
        let known = self.counts.len();
        self.total = other.clone().fold(self.total, |sum, more| sum.saturating_add(more.count()));
        // From the slow end into the room behind, so that nothing is overwritten that is still to be read.
        self.counts.resize(known + length, Counted(0));
        let (mut to, mut ours) = (known + length, known);
        for more in other.rev() {
            while ours > 0 && self.counts[ours - 1].bucket() > more.bucket() {
                (to, ours) = (to - 1, ours - 1);
                self.counts[to] = self.counts[ours];
            }
            to -= 1;
            self.counts[to] = more;
            if ours > 0 && self.counts[ours - 1].bucket() == more.bucket() {
                ours -= 1;
                self.counts[to] = both(self.counts[ours], more);
            }
        }
        self.counts.drain(ours..to);
    }

    /// Takes away what was merged before, as a window does with what leaves it.
    pub fn remove(&mut self, other: &Histogram) {
        self.remove_counted(other.counts.iter().copied());
    }

    /// The same for what comes by bucket.
    pub(super) fn remove_counted(&mut self, other: impl Iterator<Item = Counted>) {
        let mut at = 0;
        for less in other {
            at = self.place_from(at, less.bucket());
            let Some(known) = self.counts.get_mut(at).filter(|known| known.bucket() == less.bucket()) else {
                continue;
            };
            let gone = known.count().min(less.count());
            self.total = self.total.saturating_sub(gone);
            if known.count() == gone {
                self.counts.remove(at);
            } else {
                *known = Counted::new(less.bucket(), known.count() - gone);
            }
        }
    }

    /// How many requests were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// How many requests were in this bucket or a slower one.
    pub fn count_from(&self, bucket: Bucket) -> u64 {
        let slow = self.counts.iter().rev().take_while(|known| known.bucket() >= bucket);
        slow.fold(0, |sum, known| sum.saturating_add(known.count()))
    }

    /// The bucket of the fastest request that at least `per_mille` thousandths of all are not slower than:
    /// 950 for the P95. `None` if nothing was counted.
    pub fn quantile(&self, per_mille: u16) -> Option<Bucket> {
        self.place(per_mille).map(|(bucket, _, _)| bucket)
    }

    /// The same in microseconds, as if latencies lay evenly within their bucket: wrong by 6.25 % at most.
    pub fn quantile_us(&self, per_mille: u16) -> Option<u64> {
        let (bucket, rank, count) = self.place(per_mille)?;
        let width = u128::from(bucket.until_us() - bucket.from_us());
        let within = width * u128::from(rank) / u128::from(count);
        Some(bucket.from_us() + u64::try_from(within).unwrap_or(0))
    }

    /// The bucket of a quantile, the rank within it from 1 on, and how many are in it.
    fn place(&self, per_mille: u16) -> Option<(Bucket, u64, u64)> {
        let all = u128::from(self.total);
        let rank = (all * u128::from(per_mille.min(1_000))).div_ceil(1_000).max(1);
        // From the slow end, which is where people look.
        let mut below = all;
        for known in self.counts.iter().rev() {
            let count = known.count();
            below = below.saturating_sub(u128::from(count));
            if below < rank {
                return Some((known.bucket(), u64::try_from(rank - below).unwrap_or(count), count));
            }
        }
        None
    }
}

/// What two counts of a bucket are together.
fn both(one: Counted, other: Counted) -> Counted {
    Counted::new(one.bucket(), one.count() + other.count())
}

/// Pairs of a latency in microseconds and how many took it; so the form does not tell of buckets. Each bucket
/// is written as its shortest latency.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.counts.len()))?;
        for known in &self.counts {
            pairs.serialize_element(&(known.bucket().from_us(), known.count()))?;
        }
        pairs.end()
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Histogram;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pairs of a latency in microseconds and how many requests took it")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Histogram, A::Error> {
                let mut read = Histogram::default();
                let mut length = 0;
                while let Some((us, count)) = pairs.next_element()? {
                    length += 1;
                    if length > BUCKETS {
                        return Err(A::Error::custom(format_args!("at most {BUCKETS} pairs")));
                    }
                    read.add(us, count);
                }
                Ok(read)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}
