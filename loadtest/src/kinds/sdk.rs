//! Checks in process: our engine beside rules written by hand, on one thread and on two, and as WebAssembly in Node.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cores::Cores;
use crate::figures::median;
use crate::in_process::floor::Extended;
use crate::in_process::measure::{self, Work};
use crate::in_process::ours::{Counting, Tidegate};
use crate::in_process::world::{Engine, IN_LIST, OFF, ROLLOUT, RULES};
use crate::in_process::{Shown, are_right};
use crate::kinds::Kind;
use crate::problem::Problem;
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Findings, per_second};
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};

/// Most pairs of samples, and most rounds of threads.
const MAX_PAIRS: u64 = 1_000;
/// What a pair of samples takes.
const PAIR: Duration = Duration::from_millis(8);
/// What both take to be warm.
const WARM_UP: Duration = Duration::from_millis(120);
/// Spells of a round of threads: one on either core and two at once, ours and by hand.
const SPELLS: u32 = 6;
/// What Node takes, start and warm-up included.
const IN_NODE: Duration = Duration::from_secs(4);
/// Longest that Node may take; then it is killed.
const MOST_IN_NODE: Duration = Duration::from_secs(120);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Rounds in Node for the short form.
const SHORT_ROUNDS: &str = "3";
/// How long those take, start and warm-up included.
const SHORT_IN_NODE: Duration = Duration::from_millis(1_500);
/// How often two threads may wait in a second, of each other or of the system; a lock that both need is some thousand.
const MOST_WAITS: f64 = 100.0;
/// Most that Node may say.
const MOST_BYTES: u64 = 1024 * 1024;

/// What is checked: the hundred flags of the loop count as one check.
const CHECKS: [(Who, &str, Option<&str>); 5] = [
    (Who::CheckOff, "a flag that is off", Some(OFF)),
    (Who::CheckRollout, "a flag at 30 %", Some(ROLLOUT)),
    (Who::CheckRules, "a flag with three rules", Some(RULES)),
    (Who::CheckLoop, "a hundred flags", None),
    (Who::CheckList, "a list of 10,000", Some(IN_LIST)),
];

/// The section.
#[derive(Debug)]
struct Sdk {
    full: Length,
    short: Length,
}

#[derive(Clone, Copy, Debug, Default)]
struct Length {
    /// Of samples, for each check.
    pairs: u64,
    /// Of one thread and two.
    rounds: u64,
    spell: Duration,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let length = |table: &mut Reading<'_>| Length {
        pairs: table.number("pairs", 1..=MAX_PAIRS),
        rounds: table.number("rounds", 1..=MAX_PAIRS),
        spell: table.millis("spell_ms", SPELL_MS),
    };
    Box::new(Sdk {
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    })
}

impl Kind for Sdk {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_check = CHECKS.iter().any(|(check, ..)| *check == who);
        match measure {
            Measure::NsPerCheck if is_check => of.is_none_or(|of| of == Who::ExtendedFloor),
            Measure::NsPerCheck => {
                matches!(who, Who::Wasm | Who::WasmAgain) && of.is_none_or(|of| of == Who::ByHand)
            }
            Measure::CheckRate => who == Who::TwoThreads && of.is_none_or(|of| of == Who::OneThread),
            _ => false,
        }
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        let length = self.length(is_short);
        let times = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let samples = (PAIR.saturating_mul(times(length.pairs)) + WARM_UP) * 5;
        samples
            + length.spell.saturating_mul(times(u64::from(SPELLS) * length.rounds))
            + in_node_takes(is_short)
    }

    fn words(&self, is_short: bool) -> String {
        let Length { pairs, rounds, spell } = self.length(is_short);
        let seconds = spell.as_secs_f64();
        format!("{pairs} pairs of samples, {rounds} rounds of {seconds:.1} s on one thread and two")
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        // Every answer is counted, as the SDK's clients do, on whichever thread.
        let (ours, floor) = (Counting::of(&Arc::new(Tidegate::with_all())), Extended::with_all());
        for engine in [&ours as &dyn Shown, &floor] {
            let shares = engine.shares();
            if !are_right(shares) {
                let name = engine.name();
                return Err(Problem::Wrong(format!("{name} does other work than it should: {shares:?}")));
            }
        }
        let mut findings = Findings::default();
        let length = self.length(runner.is_short);
        for (who, label, flag) in CHECKS {
            runner.progress.begin(
                label,
                "samples",
                PAIR * u32::try_from(length.pairs).unwrap_or(1) + WARM_UP,
            );
            findings.figures.push(check(who, label, ours.work(flag), floor.work(flag), length.pairs));
        }
        threads(&ours, &floor, length, runner, &mut findings);
        if ours.counted() == 0 {
            findings.errors.push("no answer was counted".to_owned());
        }
        runner.progress.begin("Node", "WebAssembly", in_node_takes(runner.is_short));
        in_node(runner.is_short, &mut findings);
        Ok(findings)
    }
}

impl Sdk {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }
}

fn in_node_takes(is_short: bool) -> Duration {
    if is_short { SHORT_IN_NODE } else { IN_NODE }
}

fn check(who: Who, label: &str, mut ours: Work<'_>, mut floor: Work<'_>, pairs: u64) -> Figure {
    let pairs = measure::pairs(&mut ours, &mut floor, usize::try_from(pairs).expect("a thousand"));
    beside(Measure::NsPerCheck, [(who, label), (Who::ExtendedFloor, "by hand in Rust")], &pairs)
}

/// A figure and what it is beside, of pairs of values.
fn beside(measure: Measure, [(who, label), (of, other)]: [(Who, &str); 2], pairs: &[(f64, f64)]) -> Figure {
    let ratios: Vec<f64> = pairs.iter().map(|(one, other)| one / other).collect();
    let middle = |of: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(of).collect::<Vec<f64>>());
    Figure::new(measure, who, label, middle(|pair| pair.0)).beside(Beside {
        of,
        label: other.to_owned(),
        value: middle(|pair| pair.1),
        ratio: Ratio::of(&ratios),
        doubt: None,
    })
}

/// One thread, and two at once on a core each, in turns: what each check takes of the thread's own time.
fn threads(ours: &Counting, floor: &Extended, length: Length, runner: &mut Runner, findings: &mut Findings) {
    let [mut of_ours, mut of_floor] = [Vec::new(), Vec::new()];
    let (cores, mut waits) = (&runner.cores, 0);
    for round in 0..length.rounds {
        let what = format!("round {}/{}", round + 1, length.rounds);
        runner.progress.begin("threads", &what, length.spell * SPELLS);
        let turned = round % 2 == 1;
        let our_check = |person| Engine::check(ours, ROLLOUT, person);
        let (of_both, waited) = one_and_two(&our_check, length.spell, turned, cores);
        of_ours.push(of_both);
        waits += waited;
        let by_hand = |person| floor.check(ROLLOUT, person);
        of_floor.push(one_and_two(&by_hand, length.spell, turned, cores).0);
    }
    let labels = [(Who::TwoThreads, "two threads"), (Who::OneThread, "one thread")];
    let mut of_ours = beside(Measure::CheckRate, labels, &of_ours);
    let spells = length.spell.saturating_mul(u32::try_from(length.rounds).unwrap_or(u32::MAX));
    of_ours.doubt = waited_too_often(waits, spells);
    findings.figures.push(of_ours);
    let labels =
        [(Who::FloorTwoThreads, "by hand, two threads"), (Who::FloorOneThread, "by hand, one thread")];
    findings.figures.push(beside(Measure::CheckRate, labels, &of_floor));
}

/// Why what two threads take of their own time says nothing of what they can do, if so: they waited, which takes none.
fn waited_too_often(waits: u64, spells: Duration) -> Option<String> {
    let a_second = per_second(waits, spells);
    (a_second > MOST_WAITS).then(|| {
        format!("two threads waited {a_second:.0} times a second, and what they waited is in no CPU time")
    })
}

/// Checks for a second of CPU time of each thread: of two at once, and of one, as it is on either core; and how often
/// the two waited.
fn one_and_two(
    work: &(dyn Fn(usize) -> usize + Sync),
    spell: Duration,
    turned: bool,
    cores: &Cores,
) -> ((f64, f64), u64) {
    let a_second = |ns: f64| 1e9 / ns;
    let one = || {
        let own = spell_of(work, spell);
        let on_other = || {
            cores.take_server();
            spell_of(work, spell)
        };
        let other = std::thread::scope(|threads| threads.spawn(on_other).join().expect("it only checks"));
        f64::midpoint(a_second(own), a_second(other))
    };
    let two = || {
        let (each, waits) = at_once(work, spell, cores);
        (each.map(a_second).iter().sum::<f64>(), waits)
    };
    if turned {
        let one = one();
        let (two, waits) = two();
        ((two, one), waits)
    } else {
        let (two, waits) = two();
        ((two, one()), waits)
    }
}

fn spell_of(work: &dyn Fn(usize) -> usize, spell: Duration) -> f64 {
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
fn at_once(work: &(dyn Fn(usize) -> usize + Sync), spell: Duration, cores: &Cores) -> ([f64; 2], u64) {
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

/// The same engine as WebAssembly, beside a rule written by hand in JavaScript with the clock that an expiry needs.
fn in_node(is_short: bool, findings: &mut Findings) {
    let measured = match ask_node(is_short) {
        Ok(measured) => measured,
        Err(why) => {
            findings.missing.extend([Who::Wasm, Who::WasmAgain].map(|who| (who, why.clone())));
            return;
        }
    };
    if measured["agrees"] != true {
        findings.errors.push("in Node, ours and the rule by hand differ".to_owned());
    }
    let both =
        [(Who::Wasm, "WebAssembly", "fresh"), (Who::WasmAgain, "WebAssembly, the same again", "again")];
    for (who, label, kind) in both {
        let of = |name: &str| -> Vec<f64> {
            measured["rounds"][name][kind]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect()
        };
        let pairs: Vec<(f64, f64)> = of("ours").into_iter().zip(of("hand")).collect();
        if pairs.is_empty() {
            findings.missing.push((who, "Node says nothing of it".to_owned()));
            continue;
        }
        let by_hand = (Who::ByHand, "by hand in JavaScript");
        findings.figures.push(beside(Measure::NsPerCheck, [(who, label), by_hand], &pairs));
    }
}

/// What the bench in Node measured, or why there is nothing.
fn ask_node(is_short: bool) -> Result<Value, String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !top.join("../sdk-wasm/dist/tidegate-node.js").exists() {
        return Err("the SDK for Node is not built: make wasm".to_owned());
    }
    let mut node = Command::new("node");
    node.arg(top.join("js/check-bench.mjs")).args(["--json", "--without-chromium", "--only", "ours,hand"]);
    if is_short {
        node.args(["--rounds", SHORT_ROUNDS]);
    }
    let failed = |error: io::Error| format!("Node could not be asked: {error}");
    let [told, complaints] = [tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?];
    node.stdin(Stdio::null()).stdout(told.try_clone().map_err(failed)?);
    node.stderr(complaints.try_clone().map_err(failed)?);
    let child = node.spawn().map_err(|error| format!("there is no Node: {error}"))?;
    let Some(status) = ended_within(child, MOST_IN_NODE).map_err(failed)? else {
        return Err(format!("the bench in Node took longer than {} s", MOST_IN_NODE.as_secs()));
    };
    let [told, complaints] = [start_of(told).map_err(failed)?, start_of(complaints).map_err(failed)?];
    let said = String::from_utf8_lossy(&complaints);
    let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    match serde_json::from_slice(&told) {
        Ok(measured) if status.success() => Ok(measured),
        _ => Err(format!("the bench in Node ended with {status}: {last}")),
    }
}

/// How a process ended; none if it took longer, and was killed.
fn ended_within(mut process: Child, most: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + most;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            process.kill()?;
            process.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// What was written to a file, up to what it may say at most.
fn start_of(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
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

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        // It reads for as long as the other end of its pipe is open.
        let endless =
            || Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a cat");
        let mut child = endless();
        let open = child.stdin.take();
        assert!(ended_within(child, SPELL).expect("it can be waited for").is_none());
        drop(open);
        let mut child = endless();
        drop(child.stdin.take());
        let ended = ended_within(child, Duration::from_secs(60)).expect("it can be waited for");
        assert!(ended.is_some_and(|status| status.success()));
    }
}
