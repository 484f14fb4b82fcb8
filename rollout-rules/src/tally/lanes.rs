//! Which lanes no thread has.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{LANES, Lane};

/// Gives each who asks a lane of its own, for as long as there are some. Threads are not known here: whoever counts
/// keeps one of these for the process, and in each thread the lane that it took.
pub struct FreeLanes {
    /// A bit for each lane, set while somebody has it.
    taken: AtomicU64,
}

const _: () = assert!(LANES == u64::BITS as usize, "a bit for each lane");

impl FreeLanes {
    /// Nobody has a lane yet.
    pub const fn all() -> FreeLanes {
        FreeLanes { taken: AtomicU64::new(0) }
    }

    /// A lane that nobody else has until it is given back; the [shared](Lane::SHARED) one if none is left.
    pub fn take(&self) -> Lane {
        let mut taken = self.taken.load(Relaxed);
        loop {
            let number = taken.trailing_ones();
            let Some(bit) = 1_u64.checked_shl(number) else { return Lane::SHARED };
            // Whoever had it before has counted all that it did.
            match self.taken.compare_exchange_weak(taken, taken | bit, Acquire, Relaxed) {
                Ok(_) => return u8::try_from(number).map_or(Lane::SHARED, Lane::own),
                Err(now) => taken = now,
            }
        }
    }

    /// Another may have it now: whoever gives it back counts elsewhere from then on. The shared one is nobody's.
    pub fn give_back(&self, lane: Lane) {
        let bit = u32::try_from(lane.number()).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0);
        self.taken.fetch_and(!bit, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn each_lane_is_taken_once_until_it_is_given_back_and_then_all_share_one() {
        let free = FreeLanes::all();
        let taken: Vec<Lane> = (0..LANES).map(|_| free.take()).collect();
        let numbered = (0..LANES).map(|number| Lane::own(u8::try_from(number).expect("few")));
        assert!(taken.iter().copied().eq(numbered));
        assert_eq!(free.take(), Lane::SHARED);
        free.give_back(Lane::SHARED);
        assert_eq!(free.take(), Lane::SHARED);
        free.give_back(taken[63]);
        free.give_back(taken[7]);
        assert_eq!([free.take(), free.take(), free.take()], [taken[7], taken[63], Lane::SHARED]);
    }
}
