//! Latencies, counted in fixed buckets whose width grows with the latency.

use alloc::vec::Vec;
use core::cmp::Ordering;
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

/// How many requests took how long. Holds only buckets that counted something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket, each once, none of them zero.
    counts: Vec<(Bucket, u64)>,
    /// Their sum.
    total: u64,
}

impl Histogram {
    /// Counts `count` requests of a latency in microseconds.
    pub fn add(&mut self, us: u64, count: u64) {
        self.add_to(Bucket::of(us), count);
    }

    fn add_to(&mut self, bucket: Bucket, count: u64) {
        if count == 0 {
            return;
        }
        self.total = self.total.saturating_add(count);
        match self.counts.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(count),
            Err(at) => self.counts.insert(at, (bucket, count)),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.total = 0;
    }

    /// Adds what another counted. The order of merging does not matter.
    pub fn merge(&mut self, other: &Histogram) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            self.total = other.total;
            return;
        }
        // A few are put in place, without a new list.
        if other.counts.len() * 4 < self.counts.len() {
            other.counts.iter().for_each(|(bucket, count)| self.add_to(*bucket, *count));
            return;
        }
        self.total = self.total.saturating_add(other.total);
        let ours = core::mem::take(&mut self.counts);
        self.counts.reserve(ours.len() + other.counts.len());
        let (mut ours, mut theirs) = (ours.into_iter().peekable(), other.counts.iter().copied().peekable());
        while let (Some((our, count)), Some((their, more))) = (ours.peek().copied(), theirs.peek().copied()) {
            match our.cmp(&their) {
                Ordering::Less => self.counts.extend(ours.next()),
                Ordering::Greater => self.counts.extend(theirs.next()),
                Ordering::Equal => {
                    self.counts.push((our, count.saturating_add(more)));
                    ours.next();
                    theirs.next();
                }
            }
        }
        self.counts.extend(ours);
        self.counts.extend(theirs);
    }

    /// Takes away what was merged before, as a window does with what leaves it.
    pub fn remove(&mut self, other: &Histogram) {
        let mut emptied = false;
        for (bucket, count) in &other.counts {
            if let Ok(at) = self.counts.binary_search_by_key(bucket, |(known, _)| *known) {
                let gone = self.counts[at].1.min(*count);
                self.counts[at].1 -= gone;
                self.total = self.total.saturating_sub(gone);
                emptied |= self.counts[at].1 == 0;
            }
        }
        if emptied {
            self.counts.retain(|(_, count)| *count > 0);
        }
    }

    /// How many requests were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// How many requests were in this bucket or a slower one.
    pub fn count_from(&self, bucket: Bucket) -> u64 {
        let at = self.counts.partition_point(|(known, _)| *known < bucket);
        self.counts[at..].iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
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
        for (bucket, count) in self.counts.iter().rev() {
            below = below.saturating_sub(u128::from(*count));
            if below < rank {
                return Some((*bucket, u64::try_from(rank - below).unwrap_or(*count), *count));
            }
        }
        None
    }
}

/// Pairs of a latency in microseconds and how many took it; so the form does not tell of buckets. Each bucket
/// is written as its shortest latency.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.counts.len()))?;
        for (bucket, count) in &self.counts {
            pairs.serialize_element(&(bucket.from_us(), count))?;
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
