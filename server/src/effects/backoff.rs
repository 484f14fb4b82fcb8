//! How long to wait after a delivery that failed, and when to give it up.

use rollout_rules::time::DurationMs;

/// The wait after the first attempt that failed. It doubles with each.
const FIRST_WAIT: DurationMs = DurationMs(1_000);
/// The longest wait: a receiver that is back is found within it.
const LONGEST_WAIT: DurationMs = DurationMs(15 * 60 * 1_000);
/// Attempts until an entry is given up and the next has its turn: about two hours and a half, so that a
/// receiver's bad afternoon costs nothing and one entry that it cannot take does not stop it for ever.
pub(super) const MAX_ATTEMPTS: u32 = 20;

/// The wait after so many attempts: between half of the doubled wait and all of it, drawn anew each time, so that
/// receivers that fail together are not called together.
pub(super) fn wait_after(attempts: u32) -> DurationMs {
    let doubled =
        FIRST_WAIT.0.saturating_mul(1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX));
    let whole = doubled.min(LONGEST_WAIT.0);
    DurationMs(whole - rand::random_range(0..=whole / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_never_all_alike() {
        for (attempts, whole) in [(1, 1_000), (2, 2_000), (10, 512_000), (11, 900_000), (200, 900_000)] {
            let drawn: Vec<u64> = (0..64).map(|_| wait_after(attempts).0).collect();
            assert!(drawn.iter().all(|wait| (whole / 2..=whole).contains(wait)), "{attempts}: {drawn:?}");
            assert!(drawn.iter().any(|wait| *wait != drawn[0]), "{attempts}: {drawn:?}");
        }
    }
}
