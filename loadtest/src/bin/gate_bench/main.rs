//! What the gate costs: a decision on the evidence of a clean build, beside a server that takes the same bytes and keeps one small
//! file; checks of a flag while decisions are made, beside checks alone in the same run; and evidence as large as it may be.
//!
//! `cargo run --release -p tidegate-loadtest --bin gate-bench`; needs two cores, one of them for the load. No two requests have the
//! same evidence, so that the server keeps all of it anew. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod bare;
mod checks;
mod large;
mod shop;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bare::Bare;
use serde_json::Value;
use shop::{Shop, decide};
use tidegate_loadtest::client::Client;
use tidegate_loadtest::cores::Cores;
use tidegate_loadtest::evidence::{self, Piece};
use tidegate_loadtest::figures::{median, quantile};
use tidegate_loadtest::server::serve_if_asked;

/// Decisions before any is measured.
const WARM_UP: usize = 20;
/// Decisions, and as many forms for the floor, in turns of ten.
const DECISIONS: usize = 300;
const TURN_OF_DECISIONS: usize = 10;
/// Spells of checks alone, and as many of checks beside decisions.
const TURNS: usize = 12;
const TURN: Duration = Duration::from_secs(2);
/// Between two decisions beside checks: five a second.
const PACE: Duration = Duration::from_millis(200);

/// The bars.
const MOST_P99_MS: f64 = 50.0;
const LEAST_A_SECOND: f64 = 20.0;
const LEAST_CHECKS: f64 = 0.90;
const MOST_LARGE_MIB: f64 = 100.0;
/// What takes ten megabytes may take its time, but not all of it.
const MOST_LARGE_MS: f64 = 2_000.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve_if_asked(&arguments) {
        return code;
    }
    match &arguments[..] {
        [] => {}
        [mode, folder] if mode == bare::MODE => return bare::serve(folder),
        _ => {
            eprintln!("usage: gate-bench");
            return ExitCode::from(2);
        }
    }
    let Some(cores) = Cores::find() else {
        eprintln!("gate-bench needs two cores: one for the load, which would else take the server's time");
        return ExitCode::from(2);
    };
    let mut shop = Shop::start(&cores);
    let bare = cores.start(Bare::start);
    let sets = [("of one build", evidence::build()), ("in every format", evidence::everything())];
    let decided =
        sets.iter().map(|(what, set)| decisions(&mut shop, &bare, what, set)).fold(true, |a, b| a & b);
    let (_, build) = &sets[0];
    let kept = checks_beside(&mut shop, build);
    drop(shop);
    let bounded = [
        ("SARIF", "findings", large::sarif()),
        ("SBOM", "components", large::sbom()),
        ("gzip bomb", "bytes inside", large::bomb()),
    ]
    .map(|(what, unit, (piece, count))| one_large(&cores, build, what, &format!("{count} {unit}"), piece));
    if decided && kept && bounded.iter().all(|holds| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Decisions one after another, in turns with the floor.
fn decisions(shop: &mut Shop, bare: &Bare, what: &str, set: &[Piece]) -> bool {
    let (mut pipeline, mut floor) = (shop.pipeline(), Client::new(&bare.address, ""));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut verdict, mut passed) = (String::new(), true);
    for turn in 0..(WARM_UP + DECISIONS) / TURN_OF_DECISIONS {
        for _ in 0..TURN_OF_DECISIONS {
            let request = shop.request(set);
            let (answer, us) = timed(|| decide(&mut pipeline, &request));
            verdict = said(&answer);
            passed &= !verdict.starts_with("deny");
            ours.push(us);
            if turn == 0 && ours.len() == 1 {
                let bytes: usize = set.iter().map(|piece| piece.bytes.len()).sum();
                println!("evidence {what}: {} files, {bytes} bytes", set.len());
            }
        }
        for _ in 0..TURN_OF_DECISIONS {
            let request = evidence::request("/", &bare.address, "", set, 0);
            let (answer, us) = timed(|| floor.send_bytes(&request));
            assert_eq!(answer.status, 200, "the floor takes it: {answer:?}");
            theirs.push(us);
        }
    }
    let row = |who: &str, us: &mut Vec<u32>| {
        us.drain(..WARM_UP);
        let total_s: f64 = us.iter().map(|us| f64::from(*us) / 1e6).sum();
        #[allow(clippy::cast_precision_loss, reason = "some hundred")]
        let a_second = us.len() as f64 / total_s;
        let [p50, p99] = [0.5, 0.99].map(|share| f64::from(quantile(us, share)) / 1e3);
        println!("  {who:<10} p50 {p50:>7.2} ms   p99 {p99:>7.2} ms   {a_second:>7.1} a second");
        [p50, p99, a_second]
    };
    let [floor50, floor99, _] = row("the floor", &mut theirs);
    let [p50, p99, a_second] = row("the gate", &mut ours);
    println!(
        "  the gate says {verdict}; times the floor: p50 {:.2}, p99 {:.2}",
        p50 / floor50,
        p99 / floor99
    );
    let quick = at_most("p99 of a decision, ms", p99, MOST_P99_MS);
    if !passed {
        println!("  the build is denied: this measures something else than it says");
    }
    at_least("decisions a second, one core", a_second, LEAST_A_SECOND) && quick && passed
}

/// The verdict, and which checks made it.
fn said(answer: &Value) -> String {
    let checks = answer["decision"]["checks"].as_array().into_iter().flatten();
    let verdict = &answer["decision"]["verdict"];
    let by = checks.filter(|check| check["level"] == *verdict).filter_map(|check| check["name"].as_str());
    format!("{} {}", verdict.as_str().unwrap_or_default(), by.collect::<Vec<_>>().join(", "))
        .trim_end()
        .to_owned()
}

/// How many checks are answered while decisions are made, for each that is answered otherwise.
fn checks_beside(shop: &mut Shop, set: &[Piece]) -> bool {
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for turn in 0..2 * TURNS {
        // Neither is always the one that goes first.
        let with_decisions = (turn % 2 == 0) != (turn % 4 < 2);
        let spells = if with_decisions { &mut busy } else { &mut quiet };
        spells.push(spell(shop, set, with_decisions));
    }
    let row = |what: &str, spells: &[[f64; 3]]| {
        let of = |place: usize| median(&spells.iter().map(|spell| spell[place]).collect::<Vec<f64>>());
        println!(
            "  {what:<16} {:>8.0} checks a second   p50 {:>6.0} us   p99 {:>6.0} us",
            of(0),
            of(1),
            of(2)
        );
        of(0)
    };
    println!("checks beside {:.0} decisions a second", 1.0 / PACE.as_secs_f64());
    let quiet = row("alone", &quiet);
    let ratio = row("beside decisions", &busy) / quiet;
    at_least("checks beside decisions, times alone", ratio, LEAST_CHECKS)
}

/// Checks a second, and what the middle one and 99 in 100 took, in microseconds.
fn spell(shop: &mut Shop, set: &[Piece], with_decisions: bool) -> [f64; 3] {
    let due = if with_decisions { TURN.as_millis() / PACE.as_millis() } else { 0 };
    let requests: Vec<Vec<u8>> = (0..due).map(|_| shop.request(set)).collect();
    let (address, mut pipeline, ended) = (shop.address(), shop.pipeline(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut next = Instant::now();
            for request in &requests {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                next += PACE;
                decide(&mut pipeline, request);
            }
            assert!(requests.is_empty() || !ended.load(Ordering::Relaxed), "decisions keep their pace");
        });
        let mut checked = checks::ask(address, &shop.check, TURN);
        ended.store(true, Ordering::Relaxed);
        let [p50, p99] = [0.5, 0.99].map(|share| f64::from(quantile(&mut checked.us, share)));
        [checked.per_second, p50, p99]
    })
}

/// One request with a large piece to a server that is new and has decided once.
fn one_large(cores: &Cores, build: &[Piece], what: &str, size: &str, piece: Piece) -> bool {
    let mut shop = Shop::start(cores);
    let mut pipeline = shop.pipeline();
    let small = shop.request(build);
    decide(&mut pipeline, &small);
    let bytes = piece.bytes.len();
    let request = shop.request(&[piece]);
    let before = [shop.resident_kib(), shop.peak_kib()];
    let (answer, us) = timed(|| decide(&mut pipeline, &request));
    let peak = shop.peak_kib();
    let pieces = answer["decision"]["evidence"].as_array().map_or(0, Vec::len);
    assert_eq!(pieces, 1, "the piece is among what was looked at");
    println!(
        "{what} of {bytes} bytes, {size}: memory held {} MiB, the most before {} MiB, the most after {} MiB",
        before[0] / 1024,
        before[1] / 1024,
        peak / 1024
    );
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let grown = peak.saturating_sub(before[0]) as f64 / 1024.0;
    let small = at_most("MiB more than it held", grown, MOST_LARGE_MIB);
    at_most("ms", f64::from(us) / 1e3, MOST_LARGE_MS) && small
}

fn timed<T>(call: impl FnOnce() -> T) -> (T, u32) {
    let start = Instant::now();
    let answer = call();
    (answer, u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX))
}

fn at_most(what: &str, value: f64, bar: f64) -> bool {
    // Anything that is no number has missed it, too.
    say(what, value, bar, value <= bar)
}

fn at_least(what: &str, value: f64, bar: f64) -> bool {
    say(what, value, bar, value >= bar)
}

fn say(what: &str, value: f64, bar: f64, holds: bool) -> bool {
    println!("  {what:<44} {value:>9.2}   bar {bar:.2}: {}", if holds { "ok" } else { "MISSED" });
    holds
}
