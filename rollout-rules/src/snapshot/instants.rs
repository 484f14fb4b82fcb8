//! The moments at which answers change by themselves, sorted: expiries, scheduled steps, ends of previews.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rpds::RedBlackTreeMapSync;

use crate::time::UnixMs;

/// Most different moments in one chunk. A change copies one chunk; a moment costs sixteen bytes and not a
/// tree node, however many flags share it.
const CHUNK: usize = 512;

/// A moment, and how many times it is there.
#[derive(Clone, Copy)]
struct Counted {
    at: UnixMs,
    times: usize,
}

/// A sorted collection of moments; the same moment may be there several times. Cloning is cheap.
#[derive(Clone, Default)]
pub(super) struct Instants {
    /// By the first moment of each chunk; no chunk is empty.
    chunks: RedBlackTreeMapSync<UnixMs, Arc<Vec<Counted>>>,
}

impl Instants {
    pub(super) fn insert(&mut self, at: UnixMs) {
        let new = Counted { at, times: 1 };
        let first = match self.chunk_of(at).or_else(|| self.chunks.first().map(|(first, _)| *first)) {
            Some(first) => first,
            None => return self.chunks.insert_mut(at, Arc::new(vec![new])),
        };
        let Some(chunk) = self.chunks.get_mut(&first) else { return };
        let moments = Arc::make_mut(chunk);
        match moments.binary_search_by_key(&at, |moment| moment.at) {
            Ok(place) => moments[place].times += 1,
            Err(place) => moments.insert(place, new),
        }
        let upper = (moments.len() > CHUNK).then(|| {
            let upper = moments.split_off(moments.len() / 2);
            moments.shrink_to_fit();
            upper
        });
        if at < first {
            let chunk = Arc::clone(chunk);
            self.chunks.remove_mut(&first);
            self.chunks.insert_mut(at, chunk);
        }
        if let Some(upper) = upper {
            self.chunks.insert_mut(upper[0].at, Arc::new(upper));
        }
    }

    pub(super) fn remove(&mut self, at: UnixMs) {
        let Some(first) = self.chunk_of(at) else { return };
        let Some(chunk) = self.chunks.get_mut(&first) else { return };
        let moments = Arc::make_mut(chunk);
        let Ok(place) = moments.binary_search_by_key(&at, |moment| moment.at) else { return };
        if moments[place].times > 1 {
            moments[place].times -= 1;
            return;
        }
        moments.remove(place);
        match moments.first().map(|moment| moment.at) {
            Some(now_first) if now_first == first => {}
            Some(now_first) => {
                let chunk = Arc::clone(chunk);
                self.chunks.remove_mut(&first);
                self.chunks.insert_mut(now_first, chunk);
            }
            None => {
                self.chunks.remove_mut(&first);
            }
        }
    }

    /// The last moment that has come.
    pub(super) fn last_until(&self, now: UnixMs) -> Option<UnixMs> {
        let (_, moments) = self.chunks.range(..=now).next_back()?;
        moments[..come(moments, now)].last().map(|moment| moment.at)
    }

    /// The first moment that has not come.
    pub(super) fn first_after(&self, now: UnixMs) -> Option<UnixMs> {
        let here = self
            .chunks
            .range(..=now)
            .next_back()
            .and_then(|(_, moments)| moments.get(come(moments, now)).map(|moment| moment.at));
        here.or_else(|| {
            let later = (core::ops::Bound::Excluded(now), core::ops::Bound::Unbounded);
            self.chunks.range(later).next().map(|(first, _)| *first)
        })
    }

    fn chunk_of(&self, at: UnixMs) -> Option<UnixMs> {
        self.chunks.range(..=at).next_back().map(|(first, _)| *first)
    }
}

/// How many of the moments have come.
fn come(moments: &[Counted], now: UnixMs) -> usize {
    moments.partition_point(|moment| moment.at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_flags_that_share_a_moment_cost_one_entry() {
        let mut instants = Instants::default();
        let shared = UnixMs(7);
        (0..10_000).for_each(|_| instants.insert(shared));
        let kept = |instants: &Instants| instants.chunks.values().map(|chunk| chunk.len()).sum::<usize>();
        assert_eq!(kept(&instants), 1);
        (1..10_000).for_each(|_| instants.remove(shared));
        assert_eq!(instants.last_until(shared), Some(shared), "one is left");
        instants.remove(shared);
        assert_eq!((kept(&instants), instants.last_until(shared)), (0, None));
    }

    proptest! {
        #[test]
        fn moments_are_found_as_in_a_sorted_list(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..3_000), 0..2_500),
            asked in proptest::collection::vec(0_u64..3_100, 20),
        ) {
            let mut plain: Vec<UnixMs> = Vec::new();
            let mut instants = Instants::default();
            for (add, at) in steps {
                let at = UnixMs(at);
                if add || plain.is_empty() {
                    plain.push(at);
                    instants.insert(at);
                } else if let Some(place) = plain.iter().position(|known| *known >= at) {
                    let at = plain.swap_remove(place);
                    instants.remove(at);
                }
            }
            for now in asked.into_iter().map(UnixMs) {
                prop_assert_eq!(instants.last_until(now), plain.iter().copied().filter(|at| *at <= now).max());
                prop_assert_eq!(instants.first_after(now), plain.iter().copied().filter(|at| *at > now).min());
            }
        }
    }
}
