//! What the gate costs: a decision on the evidence of a clean build, beside a server that takes the same bytes and keeps one small
//! file; and evidence as large as it may be. What checks lose while decisions are made `loadtest reports` measures.
//!
//! `cargo run --release -p tidegate-loadtest --bin gate-bench`; needs two cores, one of them for the load. No two requests have the
//! same evidence, so that the server keeps all of it anew. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod bare;
mod large;
mod shop;

use std::process::ExitCode;
use std::time::Instant;

use bare::Bare;
use serde_json::Value;
use shop::{Shop, decide};
use tidegate_loadtest::client::Client;
use tidegate_loadtest::cores::Cores;
use tidegate_loadtest::evidence::{self, Piece};
use tidegate_loadtest::figures::quantile;
use tidegate_loadtest::server::serve_if_asked;

/// Decisions before any is measured.
const WARM_UP: usize = 20;
/// Decisions, and as many forms for the floor, in turns of ten.
const DECISIONS: usize = 300;
const TURN_OF_DECISIONS: usize = 10;

/// The bars.
const MOST_P99_MS: f64 = 50.0;
const LEAST_A_SECOND: f64 = 20.0;
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
    drop(shop);
    let bounded = [
        ("SARIF", "findings", large::sarif()),
        ("SBOM", "components", large::sbom()),
        ("gzip bomb", "bytes inside", large::bomb()),
    ]
    .map(|(what, unit, (piece, count))| one_large(&cores, build, what, &format!("{count} {unit}"), piece));
    if decided && bounded.iter().all(|holds| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    let checks = answer["judgement"]["checks"].as_array().into_iter().flatten();
    let verdict = &answer["decision"]["verdict"];
    let by = checks.filter(|check| check["level"] == *verdict).filter_map(|check| check["name"].as_str());
    format!("{} {}", verdict.as_str().unwrap_or_default(), by.collect::<Vec<_>>().join(", "))
        .trim_end()
        .to_owned()
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
