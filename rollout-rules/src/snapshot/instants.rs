//! The moments at which answers change by themselves, sorted: expiries, scheduled steps, ends of previews.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rpds::RedBlackTreeMapSync;

use crate::time::UnixMs;

/// Most moments in one chunk. A change copies one chunk; a moment costs eight bytes and not a tree node.
const CHUNK: usize = 512;

/// A sorted collection of moments; the same moment may be there several times. Cloning is cheap.
#[derive(Clone, Default)]
pub(super) struct Instants {
    /// By the first moment of each chunk; no chunk is empty.
    chunks: RedBlackTreeMapSync<UnixMs, Arc<Vec<UnixMs>>>,
}

impl Instants {
    pub(super) fn insert(&mut self, at: UnixMs) {
        let first = match self.chunk_of(at).or_else(|| self.chunks.first().map(|(first, _)| *first)) {
            Some(first) => first,
            None => return self.chunks.insert_mut(at, Arc::new(vec![at])),
        };
        let Some(chunk) = self.chunks.get_mut(&first) else { return };
        let moments = Arc::make_mut(chunk);
        let place = moments.partition_point(|moment| *moment <= at);
        moments.insert(place, at);
        let upper = split_point(moments).map(|middle| moments.split_off(middle));
        if at < first {
            let chunk = Arc::clone(chunk);
            self.chunks.remove_mut(&first);
            self.chunks.insert_mut(at, chunk);
        }
        if let Some(upper) = upper {
            self.chunks.insert_mut(upper[0], Arc::new(upper));
        }
    }

    pub(super) fn remove(&mut self, at: UnixMs) {
        let Some(first) = self.chunk_of(at) else { return };
        let Some(chunk) = self.chunks.get_mut(&first) else { return };
        let moments = Arc::make_mut(chunk);
        let Ok(place) = moments.binary_search(&at) else { return };
        moments.remove(place);
        match moments.first().copied() {
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
        moments[..moments.partition_point(|moment| *moment <= now)].last().copied()
    }

    /// The first moment that has not come.
    pub(super) fn first_after(&self, now: UnixMs) -> Option<UnixMs> {
        let here =
            self.chunks.range(..=now).next_back().and_then(|(_, moments)| {
                moments.get(moments.partition_point(|moment| *moment <= now)).copied()
            });
        here.or_else(|| {
            let later = (core::ops::Bound::Excluded(now), core::ops::Bound::Unbounded);
            self.chunks.range(later).next().map(|(first, _)| *first)
        })
    }

    fn chunk_of(&self, at: UnixMs) -> Option<UnixMs> {
        self.chunks.range(..=at).next_back().map(|(first, _)| *first)
    }
}

/// Where to cut a chunk that grew too large: between two different moments, so that every moment lives
/// in one chunk only. None while it is small, or if all its moments are the same.
fn split_point(moments: &[UnixMs]) -> Option<usize> {
    if moments.len() <= CHUNK {
        return None;
    }
    let middle = moments.len() / 2;
    let upper = moments.partition_point(|moment| *moment < moments[middle]);
    let after = moments.partition_point(|moment| *moment <= moments[middle]);
    [upper, after].into_iter().find(|cut| *cut > 0 && *cut < moments.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
