//! Which lane a thread counts in: each has one of its own for as long as it lives. The core, which knows of no
//! threads, gives lanes out; that a thread has one stands here, and once more in the SDK.

use std::cell::Cell;

use rollout_rules::tally::{FreeLanes, Lane};

static FREE: FreeLanes = FreeLanes::all();

/// A lane that goes back when its thread ends.
struct Held(Lane);

impl Drop for Held {
    fn drop(&mut self) {
        // Another thread may have it next: what this one still counts goes elsewhere.
        OWN.set(Some(Lane::SHARED));
        FREE.give_back(self.0);
    }
}

thread_local! {
    /// Without a destructor, so that it can be read as long as the thread runs, and at no price.
    static OWN: Cell<Option<Lane>> = const { Cell::new(None) };
    static HELD: Held = Held(FREE.take());
}

/// The lane of this thread.
#[inline]
pub fn own() -> Lane {
    match OWN.get() {
        Some(lane) => lane,
        None => take(),
    }
}

#[cold]
fn take() -> Lane {
    let lane = HELD.try_with(|held| held.0).unwrap_or(Lane::SHARED);
    OWN.set(Some(lane));
    lane
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    use rollout_rules::tally::LANES;

    use super::*;

    #[test]
    fn nobody_is_given_a_lane_that_another_thread_has() {
        let free = FreeLanes::all();
        let lanes: Vec<Lane> =
            (0..LANES).map(|number| Lane::own(u8::try_from(number).expect("few"))).collect();
        let held: Vec<AtomicBool> = lanes.iter().map(|_| AtomicBool::new(false)).collect();
        let take_turns = || {
            for _ in 0..50_000 {
                let lane = free.take();
                let number = lanes.iter().position(|one| *one == lane).expect("there are more than threads");
                assert!(!held[number].swap(true, Relaxed), "two have {lane:?}");
                held[number].store(false, Relaxed);
                free.give_back(lane);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(take_turns))));
    }

    #[test]
    fn a_thread_that_ends_gives_its_lane_back_and_counts_elsewhere_from_then_on() {
        /// Looks at the lane while the thread's memory is taken down.
        struct Late(std::sync::mpsc::Sender<Lane>);
        impl Drop for Late {
            fn drop(&mut self) {
                let _ = self.0.send(own());
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let mine = own();
        assert!(own() == mine && mine != Lane::SHARED);
        // More threads than there are lanes, one after another.
        for _ in 0..2 * LANES {
            let (sender, late) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                LATE.set(Some(Late(sender)));
                [own(), own()]
            });
            let [first, second] = thread.join().expect("no panic");
            assert!(first == second && first != mine && first != Lane::SHARED);
            assert_eq!(late.recv(), Ok(Lane::SHARED));
        }
    }
}
