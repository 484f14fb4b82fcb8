//! Outcomes of 10,000 live flags on their way in: how many summaries a second the server takes, what memory their
//! open slots hold, and what a check of a flag takes meanwhile, against checks with nothing else under way in the
//! same run.
//!
//! `cargo run --release -p tidegate-loadtest --bin outcome-bench [-- FLAGS]`. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod shop;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shop::{BATCH, Shop};
use tidegate_loadtest::figures::{median, quantile};
use tidegate_loadtest::server::serve_if_asked;

/// How many flags have requests, unless the caller says otherwise.
const FLAGS: usize = 10_000;
/// For so long summaries are sent as fast as they are taken.
const INGEST: Duration = Duration::from_secs(20);
/// Turns of checks alone, and as many of checks while summaries come in.
const TURNS: usize = 10;
/// The length of a turn.
const TURN: Duration = Duration::from_secs(2);

/// The bars.
const MOST_TIMES_QUIET: f64 = 1.10;
/// Four times what so many flags tell, each of two variants in ten seconds.
const LEAST_SUMMARIES_A_SECOND: f64 = 8_000.0;
const MOST_KIB_PER_FLAG: f64 = 16.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve_if_asked(&arguments) {
        return code;
    }
    let flags = match &arguments[..] {
        [] => Some(FLAGS),
        [flags] => flags.parse().ok(),
        _ => None,
    };
    let Some(flags) = flags else {
        eprintln!("usage: outcome-bench [FLAGS]");
        return ExitCode::from(2);
    };
    let shop = Shop::start(flags);
    println!("{flags} flags, two variants each, 20 units a variant and slot");
    let (rate, kib) = ingest(&shop);
    let taken = at_least("summaries a second, one connection", rate, LEAST_SUMMARIES_A_SECOND);
    let memory = at_most("KiB of memory a flag, open slots", kib, MOST_KIB_PER_FLAG);
    let checks = at_most("a check while summaries come in, times quiet", checks(&shop), MOST_TIMES_QUIET);
    if taken && memory && checks { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends as fast as it is taken. Gives summaries a second, and the memory that they took in all, by flag.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ingest(shop: &Shop) -> (f64, f64) {
    let before = shop.resident_kib();
    let mut sender = shop.sender();
    let (start, mut sent, mut most) = (Instant::now(), 0, before);
    while start.elapsed() < INGEST {
        sent += sender.send_batch();
        most = most.max(shop.resident_kib());
    }
    let taken = most.saturating_sub(before) as f64 / shop.flags() as f64;
    (sent as f64 / start.elapsed().as_secs_f64(), taken)
}

/// How much longer a check takes, the middle one, while summaries come in at the pace of so many flags.
fn checks(shop: &Shop) -> f64 {
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for turn in 0..2 * TURNS {
        // Neither is always the one that goes first.
        let with_ingest = (turn % 2 == 0) != (turn % 4 < 2);
        let times = if with_ingest { &mut busy } else { &mut quiet };
        times.push(turn_of_checks(shop, with_ingest));
    }
    let row = |what: &str, turns: &[[f64; 2]]| {
        let of = |place: usize| median(&turns.iter().map(|turn| turn[place]).collect::<Vec<f64>>());
        println!("  {what:<12} check p50 {:>7.1} us   p99 {:>7.1} us", of(0), of(1));
        of(0)
    };
    let quiet = row("quiet", &quiet);
    row("with ingest", &busy) / quiet
}

/// The middle time of checks, and that of 99 in 100, in microseconds.
fn turn_of_checks(shop: &Shop, with_ingest: bool) -> [f64; 2] {
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| {
        if with_ingest {
            threads.spawn(|| pace(shop, &ended));
        }
        let mut client = shop.checker();
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < TURN {
            let asked = Instant::now();
            shop.check(&mut client);
            times.push(u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        ended.store(true, Ordering::Relaxed);
        [0.5, 0.99].map(|share| f64::from(quantile(&mut times, share)) / 1e3)
    })
}

/// Sends what the flags tell in ten seconds, evenly, until the turn has ended.
fn pace(shop: &Shop, ended: &AtomicBool) {
    let batches = (2 * shop.flags()).div_ceil(BATCH).max(1);
    let between = Duration::from_secs(10) / u32::try_from(batches).unwrap_or(u32::MAX);
    let mut sender = shop.sender();
    let mut due = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        sender.send_batch();
        due += between;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
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
