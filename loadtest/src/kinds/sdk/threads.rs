//! Checks on one thread, and on two at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Length, beside};
use crate::cores::Cores;
use crate::in_process::floor::Extended;
use crate::in_process::measure::{self, Calls};
use crate::in_process::sdk::Sdk as Client;
use crate::in_process::world::{Engine, ROLLOUT};
use crate::report::{Findings, per_second};
use crate::run::Runner;
use crate::scenario::{Measure, Who};

/// Spells of a round of threads: one on either core and two at once, ours and by hand.
pub(super) const SPELLS: u32 = 6;
/// How often two threads may wait in a second, of each other or of the system; a lock that both need is some thousand.
const MOST_WAITS: f64 = 100.0;

/// One thread, and two at once on a core each, in turns: what each check takes of the thread's own time. How often ours checked.
pub(super) fn threads(
    ours: &Client,
    floor: &Extended,
    length: Length,
    runner: &mut Runner,
    findings: &mut Findings,
) -> usize {
    let [mut of_ours, mut of_floor] = [Vec::new(), Vec::new()];
    let (cores, mut waits, mut checks) = (&runner.cores, 0, 0);
    for round in 0..length.rounds {
        let what = format!("round {}/{}", round + 1, length.rounds);
        runner.progress.begin("threads", &what, length.spell * SPELLS);
        let turned = round % 2 == 1;
        let our_check = |person| Engine::check(ours, ROLLOUT, person);
        let ours = one_and_two(&our_check, length.spell, turned, cores);
        of_ours.push(ours.two_and_one);
        waits += ours.waits;
        checks += ours.checks;
        let by_hand = |person| floor.check(ROLLOUT, person);
        of_floor.push(one_and_two(&by_hand, length.spell, turned, cores).two_and_one);
    }
    let labels = [(Who::TwoThreads, "two threads"), (Who::OneThread, "one thread")];
    let mut of_ours = beside(Measure::CheckRate, labels, &of_ours);
    let spells = length.spell.saturating_mul(u32::try_from(length.rounds).unwrap_or(u32::MAX));
    of_ours.doubt = waited_too_often(waits, spells);
    findings.figures.push(of_ours);
    let labels =
        [(Who::FloorTwoThreads, "by hand, two threads"), (Who::FloorOneThread, "by hand, one thread")];
    findings.figures.push(beside(Measure::CheckRate, labels, &of_floor));
    checks
}

/// Why what two threads take of their own time says nothing of what they can do, if so: they waited, which takes none.
fn waited_too_often(waits: u64, spells: Duration) -> Option<String> {
    let a_second = per_second(waits, spells);
    (a_second > MOST_WAITS).then(|| {
        format!("two threads waited {a_second:.0} times a second, and what they waited is in no CPU time")
    })
}

/// What one thread does, and what two do.
struct Round {
    /// Checks for a second of CPU time of each thread: of two at once, and of one, as it is on either core.
    two_and_one: (f64, f64),
    /// How often the two waited.
    waits: u64,
    /// How many checks there were.
    checks: usize,
}

fn one_and_two(
    work: &(dyn Fn(usize) -> usize + Sync),
    spell: Duration,
    turned: bool,
    cores: &Cores,
) -> Round {
    let a_second = |calls: Calls| 1e9 / calls.ns;
    let one = || {
        let own = spell_of(work, spell);
        let on_other = || {
            cores.take_server();
            spell_of(work, spell)
        };
        let other = std::thread::scope(|threads| threads.spawn(on_other).join().expect("it only checks"));
        [own, other]
    };
    let two = || at_once(work, spell, cores);
    let (one, (two, waits)) = if turned {
        let one = one();
        (one, two())
    } else {
        let two = two();
        (one(), two)
    };
    Round {
        two_and_one: (two.map(a_second).iter().sum(), f64::midpoint(a_second(one[0]), a_second(one[1]))),
        waits,
        checks: one.iter().chain(&two).map(|calls| calls.so_far).sum(),
    }
}

fn spell_of(work: &dyn Fn(usize) -> usize, spell: Duration) -> Calls {
    let end = Instant::now() + spell;
    measure::until(work, &|| Instant::now() >= end)
}

/// How often this thread gave up its core by itself, since it began.
fn waits_so_far() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

/// What a check takes of each of two threads while both check, and how often they waited meanwhile.
fn at_once(work: &(dyn Fn(usize) -> usize + Sync), spell: Duration, cores: &Cores) -> ([Calls; 2], u64) {
    let (begins, is_over) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let other = threads.spawn(|| {
            cores.take_server();
            begins.wait();
            let before = waits_so_far();
            // It goes on for as long as the first is measured.
            let each = measure::until(work, &|| is_over.load(Ordering::Relaxed));
            (each, waits_so_far() - before)
        });
        begins.wait();
        let before = waits_so_far();
        let own = spell_of(work, spell);
        let waits = waits_so_far() - before;
        is_over.store(true, Ordering::Relaxed);
        let (other, other_waits) = other.join().expect("it only checks");
        ([own, other], waits + other_waits)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    const SPELL: Duration = Duration::from_millis(100);

    #[test]
    fn two_threads_that_wait_for_each_other_are_not_judged_by_their_own_time() {
        let Some(cores) = Cores::find() else { return };
        let (lock, never) = (Mutex::new(()), Condvar::new());
        // As behind a lock that somebody else has, for a moment.
        let waiting = |person: usize| {
            let held = lock.lock().expect("nobody panics with it");
            drop(never.wait_timeout(held, Duration::from_micros(20)).expect("nobody panics with it"));
            person
        };
        let waits = |work: &(dyn Fn(usize) -> usize + Sync)| {
            let alone = || {
                cores.take_load();
                at_once(work, SPELL, &cores).1
            };
            std::thread::scope(|threads| threads.spawn(alone).join().expect("it only checks"))
        };
        assert!(waited_too_often(waits(&waiting), SPELL).is_some(), "each waits a thousand times");
        let free = waits(&|person| std::hint::black_box(person));
        assert_eq!(waited_too_often(free, SPELL), None, "nobody waits for nothing");
    }
}
