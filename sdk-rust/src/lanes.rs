//! Which lane a thread counts in: each has one of its own for as long as it lives.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use rollout_rules::tally::{LANES, Lane};

static FREE: Mutex<Free> = Mutex::new(Free { given_back: Vec::new(), next: 0 });

struct Free {
    given_back: Vec<u8>,
    next: u8,
}

/// A lane that goes back when its thread ends.
struct Held(Option<u8>);

impl Held {
    fn take() -> Held {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        Held(free.given_back.pop().or_else(|| {
            let next = free.next;
            (usize::from(next) < LANES).then(|| {
                free.next += 1;
                next
            })
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Another thread may have it next: what this one still counts goes elsewhere.
        OWN.set(Some(Lane::SHARED));
        if let Some(number) = self.0 {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).given_back.push(number);
        }
    }
}

thread_local! {
    /// Without a destructor, so that it can be read as long as the thread runs, and at no price.
    static OWN: Cell<Option<Lane>> = const { Cell::new(None) };
    static HELD: Held = Held::take();
}

/// The lane of this thread.
#[inline]
pub(crate) fn own() -> Lane {
    match OWN.get() {
        Some(lane) => lane,
        None => take(),
    }
}

#[cold]
fn take() -> Lane {
    let number = HELD.try_with(|held| held.0).ok().flatten();
    let lane = number.map_or(Lane::SHARED, Lane::own);
    OWN.set(Some(lane));
    lane
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_threads_have_a_lane_at_a_time() {
        let mine = own();
        assert_eq!(own(), mine);
        let (theirs, again) = std::thread::spawn(|| (own(), own())).join().expect("no panic");
        assert_eq!(theirs, again);
        assert!(theirs != mine && mine != Lane::SHARED);
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
        // More threads than there are lanes, one after another.
        for _ in 0..2 * LANES {
            let (sender, late) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                LATE.set(Some(Late(sender)));
                own()
            });
            assert_ne!(thread.join().expect("no panic"), Lane::SHARED);
            assert_eq!(late.recv(), Ok(Lane::SHARED));
        }
    }
}
