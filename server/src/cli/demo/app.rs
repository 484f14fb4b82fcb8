//! The made-up micro app of the demo: people come and go, and what they do goes well or does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::Rng as _;
use tidegate_sdk::{Client, Context, Outcome};

/// How many people use it.
const PEOPLE: u32 = 5_000;
/// Requests a second.
pub(super) const REQUESTS_A_SECOND: u32 = 100;
/// One request in so many fails, whatever is served.
const FAILS_ONE_IN: u32 = 200;
/// One request in so many of the new variant fails, once it is broken.
pub(super) const BROKEN_FAILS_ONE_IN: u32 = 3;

/// What became of requests.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) old: AtomicU64,
    pub(super) new: AtomicU64,
    pub(super) failed_old: AtomicU64,
    pub(super) failed_new: AtomicU64,
}

struct Shared {
    stop: AtomicBool,
    broken: AtomicBool,
    counts: Counts,
}

/// The app, with its traffic.
pub(super) struct MicroApp {
    client: Client,
    shared: Arc<Shared>,
    traffic: Option<JoinHandle<()>>,
}

impl MicroApp {
    /// People begin to come.
    pub(super) fn start(client: Client, flag: &'static str) -> MicroApp {
        let (stop, broken, counts) = Default::default();
        let shared = Arc::new(Shared { stop, broken, counts });
        let (its, checks) = (Arc::clone(&shared), client.clone());
        let traffic = std::thread::spawn(move || serve(&checks, &its, flag));
        MicroApp { client, shared, traffic: Some(traffic) }
    }

    /// Somebody ships a bug.
    pub(super) fn break_new(&self) {
        self.shared.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Whether anybody is served the new variant.
    pub(super) fn serves_new(&self, flag: &str) -> bool {
        (0..PEOPLE).any(|person| self.client.bool(flag, &Context::new(&name(person)), false))
    }
}

impl Drop for MicroApp {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(traffic) = self.traffic.take() {
            // What it panicked of was printed.
            let _ = traffic.join();
        }
    }
}

fn name(person: u32) -> String {
    format!("person-{person}")
}

fn serve(client: &Client, shared: &Shared, flag: &str) {
    let mut random = rand::rng();
    let began = Instant::now();
    let mut come = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_secs_f64() * f64::from(REQUESTS_A_SECOND);
        while f64::from(come) < due {
            come += 1;
            let scope = client.scope(&Context::new(&name(random.random_range(0..PEOPLE))));
            let is_new = scope.bool(flag, false);
            let one_in = match (is_new, shared.broken.load(Ordering::Relaxed)) {
                (true, true) => BROKEN_FAILS_ONE_IN,
                _ => FAILS_ONE_IN,
            };
            let fails = random.random_ratio(1, one_in);
            let counts = &shared.counts;
            let (all, failed) =
                if is_new { (&counts.new, &counts.failed_new) } else { (&counts.old, &counts.failed_old) };
            all.fetch_add(1, Ordering::Relaxed);
            failed.fetch_add(u64::from(fails), Ordering::Relaxed);
            let took = Duration::from_millis(random.random_range(5..40));
            scope.finish(Outcome::failed(fails).took(took));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
