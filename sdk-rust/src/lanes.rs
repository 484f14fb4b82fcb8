//! Which lane a thread counts in: each has one of its own for as long as it lives.

use std::sync::{Mutex, PoisonError};

use rollout_rules::tally::{LANES, Lane};

static FREE: Mutex<Free> = Mutex::new(Free { given_back: Vec::new(), next: 0 });

struct Free {
    given_back: Vec<u8>,
    next: u8,
}

/// A lane that goes back when its thread ends.
struct Held(Lane);

impl Held {
    fn take() -> Held {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = free.given_back.pop().or_else(|| {
            let next = free.next;
            (usize::from(next) < LANES).then(|| {
                free.next += 1;
                next
            })
        });
        Held(number.map_or(Lane::Shared, Lane::Own))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Lane::Own(number) = self.0 {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).given_back.push(number);
        }
    }
}

thread_local! {
    static HELD: Held = Held::take();
}

/// The lane of this thread. One that ends, and checks flags while its own memory is taken down, shares.
#[inline]
pub(crate) fn own() -> Lane {
    HELD.try_with(|held| held.0).unwrap_or(Lane::Shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_threads_have_a_lane_at_a_time_and_the_next_takes_what_one_gave_back() {
        let mine = own();
        assert_eq!(own(), mine);
        let (theirs, again) = std::thread::spawn(|| (own(), own())).join().expect("no panic");
        assert_eq!(theirs, again);
        assert_ne!(theirs, mine);
        assert_ne!(std::thread::spawn(own).join().expect("no panic"), mine);
    }
}
