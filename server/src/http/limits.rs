//! How much a client may ask for: a bucket for each token, and a count of failed logins for each
//! address. Both tables are bounded: when one is full, entries that say nothing any more make room.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use rollout_rules::ids::TokenId;
use rollout_rules::time::UnixMs;

use super::problem::{self, Problem};
use super::settings::Settings;

/// Most tokens and most addresses that are kept in mind.
pub const MAX_TRACKED: usize = 65_536;

/// One request, in the unit that buckets count in: a rate of n an hour fills n units a millisecond.
const REQUEST: u64 = 60 * 60 * 1_000;

/// The part of a burst below which little is left. What a standstill of the machine brings back into a bucket that is empty does not
/// reach it; and who asks as often as it may on average is seldom below it.
const PLENTY: u64 = 2;

struct Bucket {
    left: u64,
    at: UnixMs,
    /// Whether it made room for others: the next request of its key finds another.
    is_out: bool,
}

/// The bucket of one key, for whoever counts many requests of it: it need not be looked for at each.
#[derive(Default)]
pub struct Kept(Option<Arc<Mutex<Bucket>>>);

/// Buckets that fill at a steady rate up to a burst.
pub struct Buckets<K> {
    /// Units a millisecond.
    rate: u64,
    burst: u64,
    buckets: DashMap<K, Arc<Mutex<Bucket>>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets that fill with `per_second` requests each second and hold `burst` at most.
    pub fn new(per_second: u32, burst: u32) -> Buckets<K> {
        Buckets::hourly(u64::from(per_second.max(1)) * 3_600, burst)
    }

    /// Buckets that fill with so many requests each minute, and hold as many.
    pub fn per_minute(requests: u32) -> Buckets<K> {
        Buckets::hourly(u64::from(requests.max(1)) * 60, requests)
    }

    fn hourly(rate: u64, burst: u32) -> Buckets<K> {
        Buckets { rate, burst: u64::from(burst.max(1)) * REQUEST, buckets: DashMap::new() }
    }

    /// Takes one request out of a bucket, or says in how many seconds there will be one.
    pub fn take(&self, key: &K, now: UnixMs) -> Result<(), u64> {
        self.take_kept(&mut Kept::default(), key, now)
    }

    /// The same out of a bucket that is kept, the key's own; it is looked for if it is not there yet.
    pub fn take_kept(&self, kept: &mut Kept, key: &K, now: UnixMs) -> Result<(), u64> {
        self.at(kept, key, |bucket| self.taken(bucket), now)
    }

    /// The same, but not while little is left: that is for those whose turn it is. Whether one was taken.
    pub fn take_of_plenty(&self, kept: &mut Kept, key: &K, now: UnixMs) -> Result<bool, u64> {
        let take = |bucket: &mut Bucket| {
            if (REQUEST..self.burst / PLENTY).contains(&bucket.left) {
                return Ok(false);
            }
            self.taken(bucket).map(|()| true)
        };
        self.at(kept, key, take, now)
    }

    fn taken(&self, bucket: &mut Bucket) -> Result<(), u64> {
        if bucket.left >= REQUEST {
            bucket.left -= REQUEST;
            return Ok(());
        }
        Err((REQUEST - bucket.left).div_ceil(self.rate).div_ceil(1_000).max(1))
    }

    /// Puts one request back that was taken.
    pub fn give_back(&self, key: &K) {
        if let Some(bucket) = self.buckets.get(key) {
            let mut bucket = locked(&bucket);
            bucket.left = bucket.left.saturating_add(REQUEST).min(self.burst);
        }
    }

    /// Takes out of the bucket of a key, with what came into it by now.
    fn at<T>(&self, Kept(kept): &mut Kept, key: &K, take: impl FnOnce(&mut Bucket) -> T, now: UnixMs) -> T {
        loop {
            let mut bucket = locked(kept.get_or_insert_with(|| self.of(key, now)));
            if !bucket.is_out {
                bucket.left = self.left(&bucket, now);
                bucket.at = now;
                return take(&mut bucket);
            }
            drop(bucket);
            *kept = None;
        }
    }

    /// The bucket of a key; a full one if it has none yet.
    fn of(&self, key: &K, now: UnixMs) -> Arc<Mutex<Bucket>> {
        // Counting the table locks all of it, so only a key that is new asks whether there is room.
        if let Some(bucket) = self.buckets.get(key) {
            return Arc::clone(&bucket);
        }
        if self.buckets.len() >= MAX_TRACKED {
            self.make_room(now);
        }
        let full = || Arc::new(Mutex::new(Bucket { left: self.burst, at: now, is_out: false }));
        Arc::clone(&self.buckets.entry(key.clone()).or_insert_with(full))
    }

    fn left(&self, bucket: &Bucket, now: UnixMs) -> u64 {
        let fresh = now.since(bucket.at).0.saturating_mul(self.rate);
        bucket.left.saturating_add(fresh).min(self.burst)
    }

    fn make_room(&self, now: UnixMs) {
        // A bucket that is full again is as good as none.
        self.take_out(|bucket| self.left(bucket, now) == self.burst);
        // Little room would be gone at once, and each further key would look through the whole table again.
        if self.buckets.len() > MAX_TRACKED / 4 * 3 {
            self.take_out(|_| true);
        }
    }

    fn take_out(&self, is_to_go: impl Fn(&Bucket) -> bool) {
        self.buckets.retain(|_, bucket| {
            let mut bucket = locked(bucket);
            bucket.is_out = is_to_go(&bucket);
            !bucket.is_out
        });
    }
}

/// That a token may ask again in so many seconds.
fn too_many(seconds: u64) -> Problem {
    Problem::new(problem::RATE_LIMITED, "this token made too many requests; slow down").retry_after(seconds)
}

/// Nobody panics who has it.
fn locked(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By what failed logins are counted. One machine has 2^64 addresses of IPv6, and could guess from each.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        whole @ IpAddr::V4(_) => whole,
    }
}

/// The limits of one server.
pub struct Limits {
    tokens: Option<Buckets<TokenId>>,
    failed_logins: Buckets<IpAddr>,
    pages: Buckets<IpAddr>,
}

impl Limits {
    /// From the settings of the same names.
    pub fn new(settings: &Settings) -> Limits {
        Limits {
            tokens: settings.requests_per_second.map(|rate| Buckets::new(rate, settings.burst)),
            failed_logins: Buckets::per_minute(settings.failed_logins_per_minute),
            pages: Buckets::per_minute(settings.pages_per_minute),
        }
    }

    /// Counts a page that an address opens; those of one /64 of IPv6 count together.
    pub fn count_page(&self, peer: Option<IpAddr>, now: UnixMs) -> Result<(), Problem> {
        let Some(peer) = peer else { return Ok(()) };
        self.pages.take(&network(peer), now).map_err(|seconds| {
            let detail = "this address opened as many pages as the settings allow; come back later";
            Problem::new(problem::RATE_LIMITED, detail).retry_after(seconds)
        })
    }

    /// Counts a request of a token.
    pub fn count_request(&self, token: &TokenId, now: UnixMs) -> Result<(), Problem> {
        self.count_request_kept(&mut Kept::default(), token, now)
    }

    /// The same where its bucket is kept.
    pub fn count_request_kept(&self, kept: &mut Kept, token: &TokenId, now: UnixMs) -> Result<(), Problem> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        tokens.take_kept(kept, token, now).map_err(too_many)
    }

    /// The same, but not while little is left of what the token may ask for: that is for those whose turn it is. Whether it was
    /// counted.
    pub fn count_of_plenty(&self, kept: &mut Kept, token: &TokenId, now: UnixMs) -> Result<bool, Problem> {
        let Some(tokens) = &self.tokens else { return Ok(true) };
        tokens.take_of_plenty(kept, token, now).map_err(too_many)
    }

    /// Counts a failed login of an address; those of one /64 of IPv6 count together. A valid token of Tidegate is never refused for
    /// it: many clients may share one address. Those of pipelines are counted before they are looked at.
    pub fn count_failed_login(&self, peer: Option<IpAddr>, now: UnixMs) -> Result<(), Problem> {
        let Some(peer) = peer else { return Ok(()) };
        self.failed_logins.take(&network(peer), now).map_err(|seconds| {
            Problem::new(
                problem::TOO_MANY_FAILED_LOGINS,
                "this address sent too many invalid tokens; check the token that it uses",
            )
            .retry_after(seconds)
        })
    }

    /// Takes back a failed login that was counted before it was looked at, where looking is work: it did not fail.
    pub fn let_in(&self, peer: Option<IpAddr>) {
        if let Some(peer) = peer {
            self.failed_logins.give_back(&network(peer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_names_the_wait() {
        let buckets = Buckets::new(2, 3);
        let now = UnixMs(1_000_000);
        for _ in 0..3 {
            assert_eq!(buckets.take(&"a", now), Ok(()));
        }
        assert_eq!(buckets.take(&"a", now), Err(1));
        assert_eq!(buckets.take(&"b", now), Ok(()), "others have buckets of their own");
        assert_eq!(buckets.take(&"a", UnixMs(now.0 + 499)), Err(1));
        for _ in 0..2 {
            assert_eq!(buckets.take(&"a", UnixMs(now.0 + 1000)), Ok(()));
        }
        assert_eq!(buckets.take(&"a", UnixMs(now.0 + 1001)), Err(1));
    }

    #[test]
    fn a_clock_that_jumps_back_neither_refills_nor_empties() {
        let buckets = Buckets::new(1, 1);
        assert_eq!(buckets.take(&1, UnixMs(10_000)), Ok(()));
        assert_eq!(buckets.take(&1, UnixMs(5_000)), Err(1));
        assert_eq!(buckets.take(&1, UnixMs(6_000)), Ok(()));
    }

    #[test]
    fn the_table_stays_bounded_however_many_addresses_come() {
        let buckets = Buckets::new(1, 2);
        for address in 0..(MAX_TRACKED as u64 * 2) {
            let _ = buckets.take(&address, UnixMs(1_000_000));
        }
        assert!(buckets.buckets.len() <= MAX_TRACKED);
    }

    #[test]
    fn a_bucket_that_is_kept_is_the_one_of_its_key_also_after_it_made_room() {
        let buckets = Buckets::new(1, 3);
        let (mut kept, now) = (Kept::default(), UnixMs(1_000_000));
        assert_eq!(buckets.take_kept(&mut kept, &0, now), Ok(()));
        assert_eq!((buckets.take(&0, now), buckets.take_kept(&mut kept, &0, now)), (Ok(()), Ok(())));
        assert_eq!((buckets.take(&0, now), buckets.take_kept(&mut kept, &0, now)), (Err(1), Err(1)));
        // All others are as empty, so all make room.
        for address in 1..=MAX_TRACKED as u64 {
            let _ = buckets.take(&address, now);
        }
        assert!(buckets.buckets.len() < MAX_TRACKED / 4);
        let takes = [buckets.take(&0, now), buckets.take_kept(&mut kept, &0, now), buckets.take(&0, now)];
        assert_eq!(takes, [Ok(()); 3]);
        assert_eq!((buckets.take(&0, now), buckets.take_kept(&mut kept, &0, now)), (Err(1), Err(1)));
    }

    #[test]
    fn what_is_left_below_half_is_for_those_whose_turn_it_is() {
        let buckets = Buckets::new(1, 4);
        let (mut kept, now) = (Kept::default(), UnixMs(1_000_000));
        let mut take = |seconds: u64| buckets.take_of_plenty(&mut kept, &0, UnixMs(now.0 + seconds * 1_000));
        assert_eq!([take(0), take(0), take(0)], [Ok(true); 3]);
        assert_eq!([take(0), take(0), take(1), take(1)], [Ok(false), Ok(false), Ok(true), Ok(false)]);
        assert_eq!(buckets.take(&0, UnixMs(now.0 + 1_000)), Ok(()), "it is there for those in turn");
        assert_eq!(
            [take(1), take(2)],
            [Err(1), Ok(false)],
            "where nothing is left, there is nothing to wait for"
        );
        let (few, mut kept) = (Buckets::new(1, 1), Kept::default());
        assert_eq!(few.take_of_plenty(&mut kept, &0, now), Ok(true));
        assert_eq!(few.take_of_plenty(&mut kept, &0, UnixMs(now.0 + 999)), Err(1));
    }

    #[test]
    fn a_table_that_is_looked_through_has_room_for_many_afterwards() {
        let buckets = Buckets::new(1, 2);
        let now = UnixMs(1_000_000);
        let _ = buckets.take(&0, UnixMs(0));
        for address in 1..MAX_TRACKED as u64 {
            let _ = buckets.take(&address, now);
        }
        // Of all of them only the first says nothing any more.
        let _ = buckets.take(&u64::MAX, now);
        assert!(buckets.buckets.len() <= MAX_TRACKED / 4 * 3 + 1);
    }

    #[test]
    fn guesses_from_many_addresses_of_one_machine_count_together() {
        let limits = Limits::new(&Settings { failed_logins_per_minute: 2, ..Settings::default() });
        let guess = |address: &str| {
            limits.count_failed_login(Some(address.parse().expect("an address")), UnixMs(1_000)).is_ok()
        };
        assert!(guess("2001:db8:0:1::1") && guess("2001:db8:0:1:ffff::2") && !guess("2001:db8:0:1::3"));
        assert!(guess("2001:db8:0:2::1"), "another network");
        assert!(
            guess("10.0.0.1") && guess("::ffff:10.0.0.1") && !guess("10.0.0.1"),
            "one address in two forms"
        );
        assert!(guess("10.0.0.2"));
    }
}
