//! Outcomes of 10,000 live flags on their way in: how many summaries a second the server takes, and what memory their
//! open slots hold. What checks lose meanwhile `loadtest reports` measures.
//!
//! `cargo run --release -p tidegate-loadtest --bin outcome-bench [-- FLAGS]`. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod shop;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use shop::Shop;
use tidegate_loadtest::server::serve_if_asked;

/// How many flags have requests, unless the caller says otherwise.
const FLAGS: usize = 10_000;
/// For so long summaries are sent as fast as they are taken.
const INGEST: Duration = Duration::from_secs(20);

/// The bars.
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
    if taken && memory { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
