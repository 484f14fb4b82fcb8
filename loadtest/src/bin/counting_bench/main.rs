//! What counting the answers of checks in process costs, also while another thread counts and as the server counts what
//! is asked over HTTP, and how often a check allocates. Ends with an error if a bar is not met. Runs the scenarios whose
//! names begin with an argument, or all if there is none. What a check costs in all, beside its floor, `loadtest sdk`
//! measures.
//!
//! That is a few nanoseconds, and as much is decided by where a program's data happen to lie in memory, which is another
//! place each time that it is started. So it is measured in several processes, of which the middle one counts: this
//! program again, with [`DIFFERENCE`] and the name of a scenario. How its code is inlined is worth a few nanoseconds
//! too, to either side; so the same code is run with counting and passing over it, which costs both a branch that is
//! always foreseen. The SDK's client always counts, so it is the engine under it that is run so.

#![allow(missing_docs, reason = "a program, not a library")]

use std::cell::Cell;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use tidegate_loadtest::figures;
use tidegate_loadtest::in_process::measure;
use tidegate_loadtest::in_process::world::{Asked, Engine as _, IN_LIST, LOOP, OFF, PEOPLE, ROLLOUT, RULES};
use tidegate_loadtest::in_process::{Shown as _, are_right, ours, sdk::Sdk};

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

/// Most that counting an answer may take, in nanoseconds.
const COUNTING_NS: f64 = 5.0;
/// How far below nothing a difference may be, in nanoseconds: what is measured is off by as much now and then.
const NOISE_NS: f64 = 1.0;
/// Most allocations of a thread for room to count as many flags as are asked for.
const ROOM: f64 = 2.0;
/// How many processes measure it.
const PROCESSES: usize = 9;
/// The argument of those.
const DIFFERENCE: &str = "--measure-difference";
const TWO_THREADS: &str = "6_two_threads";
const OVER_HTTP: &str = "7_over_http";

struct Scenario {
    name: &'static str,
    /// The flag that is asked for; none: a hundred flags in a loop.
    flag: Option<Asked<'static>>,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "1_off", flag: Some(OFF) },
    Scenario { name: "2_rollout30", flag: Some(ROLLOUT) },
    Scenario { name: "3_rules3", flag: Some(RULES) },
    Scenario { name: "4_bulk100_loop", flag: None },
    Scenario { name: "5_list10k", flag: Some(IN_LIST) },
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, scenario] = &wanted[..]
        && mode == DIFFERENCE
    {
        println!("{}", difference(scenario));
        return ExitCode::SUCCESS;
    }
    let sdk = match Sdk::start() {
        Ok(sdk) => sdk,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let mut met = bar("the SDK's client does the work that it should", are_right(sdk.shares()));
    let one = measure::allocations(
        &mut (Box::new(|person| *std::hint::black_box(Box::new(person))) as measure::Work<'_>),
    );
    met &= bar(&format!("{one} allocations of a call that allocates once"), one == 1.0);
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|start| name.starts_with(start));
    for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        println!("\n### {}", scenario.name);
        let mut work = sdk.work(scenario.flag);
        // The first that a thread counts, and the first behind a few dozen answers of flags, set aside room to count in.
        let room = measure::allocations(&mut work) * measure::CALLS as f64;
        met &=
            bar(&format!("{room} allocations for a thread's room to count in, at most {ROOM}"), room <= ROOM);
        let allocations = measure::allocations(&mut work);
        met &= bar(
            &format!("then {allocations} allocations of the SDK's client, none allowed"),
            allocations == 0.0,
        );
        met &= counts_cheaply(scenario.name);
    }
    if is_wanted(TWO_THREADS) {
        println!("\n### {TWO_THREADS}: another thread checks the same flag all the time");
        met &= counts_cheaply(TWO_THREADS);
    }
    if is_wanted(OVER_HTTP) {
        println!("\n### {OVER_HTTP}: as the server counts what is asked over HTTP");
        met &= counts_cheaply(OVER_HTTP);
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether counting costs as little as it has to.
fn counts_cheaply(scenario: &str) -> bool {
    let mut differences: Vec<f64> = (0..PROCESSES).map(|_| of_a_process(scenario)).collect();
    differences.sort_by(f64::total_cmp);
    let (least, more, most) = (differences[0], figures::median(&differences), differences[PROCESSES - 1]);
    let text = format!(
        "counting costs {more:.1} ns a check ({least:.1} to {most:.1}), from -{NOISE_NS} to {COUNTING_NS}"
    );
    // Nothing is counted in less than no time: then it is something else that differs.
    bar(&text, (-NOISE_NS..=COUNTING_NS).contains(&more))
}

/// What counting an answer costs in another process.
fn of_a_process(scenario: &str) -> f64 {
    let this = std::env::current_exe().expect("a program");
    let ran = Command::new(this).args([DIFFERENCE, scenario]).output().expect("it starts again");
    let said = String::from_utf8_lossy(&ran.stdout);
    said.trim().parse().unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&ran.stderr)))
}

/// What counting an answer costs here, in nanoseconds.
fn difference(name: &str) -> f64 {
    let engine = Arc::new(ours::Tidegate::with_all());
    if name == OVER_HTTP {
        return over_http(&engine);
    }
    let (silent, counting) = (ours::Counting::silent(&engine), ours::Counting::of(&engine));
    if name == TWO_THREADS {
        return beside_another(&silent, &counting);
    }
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario");
    let checks = if scenario.flag.is_some() { 1 } else { LOOP };
    let calls = [Calls::default(), Calls::default()];
    let [mut without, mut with] = [(&silent, &calls[0]), (&counting, &calls[1])]
        .map(|(engine, calls)| noting(calls, engine.work(scenario.flag)));
    let difference = measure::difference(&mut without, &mut with);
    assert!(calls[0].0.get() > 0 && silent.counted() == 0, "one does not count");
    assert_eq!(counting.counted(), calls[1].0.get() * checks as u64, "the other counts every answer");
    difference / checks as f64
}

/// The same as the server counts it.
fn over_http(engine: &Arc<ours::Tidegate>) -> f64 {
    let [silent, counting] = [false, true].map(|counts| ours::OverHttp::of(engine, counts));
    let calls = [Calls::default(), Calls::default()];
    let [mut without, mut with] = [(&silent, &calls[0]), (&counting, &calls[1])]
        .map(|(engine, calls)| noting(calls, engine.work(Some(ROLLOUT))));
    let difference = measure::difference(&mut without, &mut with);
    assert!(calls[0].0.get() > 0 && silent.counted(ROLLOUT) == 0, "one does not count");
    assert_eq!(counting.counted(ROLLOUT), calls[1].0.get(), "the other counts every answer");
    difference
}

/// The same while another thread counts answers of the same flag.
fn beside_another(silent: &ours::Counting, counting: &ours::Counting) -> f64 {
    let (stop, begins) = (AtomicBool::new(false), Barrier::new(2));
    let (passed_over, ours) = (Calls::default(), Calls::default());
    let mut without = noting(&passed_over, silent.work(Some(ROLLOUT)));
    let mut with = noting(&ours, counting.work(Some(ROLLOUT)));
    let (difference, theirs) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            begins.wait();
            let mut checks = 0;
            while !stop.load(Ordering::Relaxed) {
                for person in 0..PEOPLE {
                    std::hint::black_box(counting.check(ROLLOUT, person));
                }
                checks += PEOPLE as u64;
            }
            checks
        });
        begins.wait();
        let difference = measure::difference(&mut without, &mut with);
        stop.store(true, Ordering::Relaxed);
        (difference, other.join().expect("it only checks"))
    });
    assert!(theirs > 0);
    assert_eq!(counting.counted(), ours.0.get() + theirs, "every answer of both is counted");
    difference
}

/// How many calls there were, in cache lines of its own: another thread that reads what lies beside it would cost each
/// call more than what is measured.
#[repr(align(128))]
#[derive(Default)]
struct Calls(Cell<u64>);

/// The same, and how often.
fn noting<'w>(Calls(calls): &'w Calls, mut work: measure::Work<'w>) -> measure::Work<'w> {
    Box::new(move |person| {
        calls.set(calls.get() + 1);
        work(person)
    })
}

fn bar(text: &str, met: bool) -> bool {
    println!("{}: {text}", if met { "pass" } else { "FAIL" });
    met
}
