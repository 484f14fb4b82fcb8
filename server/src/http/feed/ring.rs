//! What one audience has to hear: its recent frames, each encoded once and shared by all connections.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use rollout_rules::ids::Revision;
use rollout_rules::time::UnixMs;

/// Most frames kept for streams that lag or come back.
pub const MAX_FRAMES: usize = 1_024;
/// Most bytes of frames kept; at least one frame is, whatever its size.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Recent frames. Positions count frames from the first that ever was; a stream that wants a position
/// which is gone has fallen behind.
pub struct Ring {
    frames: RwLock<Frames>,
    /// The position after the newest frame; read without the lock.
    end: AtomicU64,
}

struct Frames {
    kept: VecDeque<Kept>,
    bytes: usize,
    /// The position of the oldest kept frame.
    start: u64,
    /// Whoever has seen the log up to here missed nothing that is not kept.
    complete_after: Revision,
}

struct Kept {
    /// None for an overlay: it moves no revision.
    revision: Option<Revision>,
    event: Bytes,
    /// When it came.
    at: UnixMs,
}

/// How far a client is behind that serves an old revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// How many frames with a newer revision there were, as far as they are kept.
    pub frames: usize,
    /// Whether there were more of them that are not kept.
    pub more: bool,
    /// When the oldest of the frames came.
    pub since: UnixMs,
}

/// What a stream finds at a position.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This event.
    Event(Bytes),
    /// Nothing yet.
    Nothing,
    /// The event is gone: the reader was too slow.
    Behind,
}

impl Ring {
    /// An empty ring for an audience that nothing concerned since a revision.
    pub fn new(complete_after: Revision) -> Ring {
        let frames = Frames { kept: VecDeque::new(), bytes: 0, start: 0, complete_after };
        Ring { frames: RwLock::new(frames), end: AtomicU64::new(0) }
    }

    /// Adds the newest frame.
    pub fn push(&self, revision: Option<Revision>, event: Bytes, now: UnixMs) {
        let mut frames = self.frames.write().unwrap_or_else(PoisonError::into_inner);
        frames.bytes += event.len();
        frames.kept.push_back(Kept { revision, event, at: now });
        while frames.kept.len() > MAX_FRAMES || (frames.bytes > MAX_BYTES && frames.kept.len() > 1) {
            let Some(oldest) = frames.kept.pop_front() else { break };
            frames.bytes -= oldest.event.len();
            frames.start += 1;
            if let Some(revision) = oldest.revision {
                frames.complete_after = revision;
            }
        }
        self.end.store(frames.start + frames.kept.len() as u64, Ordering::Release);
    }

    /// The position after the newest frame.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// What is at a position.
    pub fn at(&self, position: u64) -> Next {
        if position >= self.end() {
            return Next::Nothing;
        }
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        match position.checked_sub(frames.start) {
            None => Next::Behind,
            Some(offset) => match usize::try_from(offset).ok().and_then(|offset| frames.kept.get(offset)) {
                Some(kept) => Next::Event(kept.event.clone()),
                None => Next::Nothing,
            },
        }
    }

    /// How many bytes a stream at a position still has to be sent; `None` if it is behind.
    pub fn bytes_after(&self, position: u64) -> Option<usize> {
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        let offset = usize::try_from(position.checked_sub(frames.start)?).ok()?;
        Some(frames.kept.iter().skip(offset).map(|kept| kept.event.len()).sum())
    }

    /// How far a client is behind that serves a revision; `None` if nothing newer is kept.
    pub fn lag(&self, served: Revision) -> Option<Lag> {
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        let newer = frames.kept.iter().rev().filter_map(|kept| Some((kept.revision?, kept.at)));
        let newer = newer.take_while(|(revision, _)| *revision > served);
        let (count, since) = newer.fold((0, None), |(count, _), (_, at)| (count + 1, Some(at)));
        Some(Lag { frames: count, more: served < frames.complete_after, since: since? })
    }

    /// The position from which a client goes on that has seen the log up to a revision; `None` if it
    /// needs a snapshot.
    pub fn resume(&self, seen: Revision) -> Option<u64> {
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        if seen < frames.complete_after {
            return None;
        }
        let known =
            frames.kept.iter().rposition(|kept| kept.revision.is_some_and(|revision| revision <= seen));
        Some(frames.start + known.map_or(0, |index| index as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1);

    fn event(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_stream_reads_every_frame_in_order_and_then_nothing() {
        let ring = Ring::new(Revision(5));
        ring.push(Some(Revision(7)), event("a"), NOW);
        ring.push(None, event("b"), NOW);
        assert_eq!(ring.at(0), Next::Event(event("a")));
        assert_eq!(ring.at(1), Next::Event(event("b")));
        assert_eq!(ring.at(2), Next::Nothing);
    }

    #[test]
    fn a_client_resumes_after_what_it_saw_or_needs_a_snapshot() {
        let ring = Ring::new(Revision(5));
        assert_eq!(ring.resume(Revision(4)), None);
        assert_eq!(ring.resume(Revision(5)), Some(0));
        ring.push(Some(Revision(7)), event("a"), NOW);
        ring.push(Some(Revision(9)), event("b"), NOW);
        assert_eq!(ring.resume(Revision(5)), Some(0));
        assert_eq!(ring.resume(Revision(6)), Some(0));
        assert_eq!(ring.resume(Revision(7)), Some(1));
        assert_eq!(ring.resume(Revision(8)), Some(1));
        assert_eq!(ring.resume(Revision(9)), Some(2));
        assert_eq!(ring.resume(Revision(12)), Some(2));
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_says_so() {
        let ring = Ring::new(Revision(0));
        for revision in 1..=(MAX_FRAMES as u64 + 10) {
            ring.push(Some(Revision(revision)), event("x"), NOW);
        }
        assert_eq!(ring.at(9), Next::Behind);
        assert_eq!(ring.at(10), Next::Event(event("x")));
        assert_eq!(ring.resume(Revision(9)), None);
        assert_eq!(ring.resume(Revision(10)), Some(10));
        assert_eq!(ring.bytes_after(10), Some(MAX_FRAMES));
    }

    #[test]
    fn large_frames_push_out_small_ones_but_the_newest_always_stays() {
        let ring = Ring::new(Revision(0));
        ring.push(Some(Revision(1)), event("small"), NOW);
        ring.push(Some(Revision(2)), Bytes::from(vec![b'x'; MAX_BYTES + 1]), NOW);
        assert_eq!(ring.at(0), Next::Behind);
        assert!(matches!(ring.at(1), Next::Event(_)));
    }

    #[test]
    fn a_client_is_behind_by_the_frames_with_a_newer_revision_since_the_first_of_them() {
        let ring = Ring::new(Revision(5));
        assert_eq!(ring.lag(Revision(5)), None);
        for (revision, at) in [(Some(7), 10), (None, 20), (Some(9), 30)] {
            ring.push(revision.map(Revision), event("x"), UnixMs(at));
        }
        let lag = |frames, more, since| Some(Lag { frames, more, since: UnixMs(since) });
        assert_eq!(ring.lag(Revision(9)), None);
        assert_eq!(ring.lag(Revision(7)), lag(1, false, 30));
        assert_eq!(ring.lag(Revision(5)), lag(2, false, 10));
        assert_eq!(ring.lag(Revision(4)), lag(2, true, 10), "it lacks what came before the first frame");
    }
}
