//! Waiting for what another process will do.

use std::time::{Duration, Instant};

/// How long anything that must happen may take before a test gives up. Far more than it needs: it
/// only says how long a broken build takes to be called broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer, and fails the test if there is none in time. For states of another
/// process that nothing announces; what is announced should be read instead.
///
/// # Panics
/// When [`PATIENCE`] is over.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    const BETWEEN: Duration = Duration::from_millis(5);
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(BETWEEN);
    }
}
