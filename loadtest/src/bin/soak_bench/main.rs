//! Half an hour of traffic in a minute: whether the server's memory grows, and whether what it counts is as it was
//! once everybody has gone.
//!
//! `cargo run --release -p tidegate-loadtest --bin soak-bench [-- --seconds N]`, by default 120. What passes
//! in half an hour is compressed: everybody asks again as soon as they are answered. What the server keeps up to a
//! bound (kill ids, idempotency keys) would take hours to fill, so it is filled first, and as long as is measured
//! later the allocator takes what its threads need. A line is drawn through what is measured;
//! it has to be level, or rise in half an hour's traffic by no more than the bar, its uncertainty included: the log
//! keeps every change, and its engine some bytes of each in memory. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod receiver;
mod traffic;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_loadtest::figures::Trend;
use tidegate_loadtest::server::{Server, serve_if_asked};

use receiver::Receiver;
use traffic::{Counts, Shop};

/// How long is measured, after as long a warm-up, unless the caller says otherwise.
const SECONDS: u64 = 120;
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(100);
/// How long the server may take to notice that everybody has gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// Changes a second of a busy installation: says how much time is compressed.
const BUSY_CHANGES_A_SECOND: f64 = 5.0;
/// So many minutes have to pass in compressed time; growth is that of so many.
const LEAST_MINUTES: f64 = 30.0;
/// Most that memory may grow in half an hour, its uncertainty included, beside the tokens: pages come and go.
const MOST_KIB: f64 = 512.0;
/// A token that was revoked is kept for thirty days: what each may take of that growth, which is what 64,000 of them
/// took, made and revoked one after another. In half an hour's traffic here there are as many as a busy installation
/// renews in days.
const KIB_OF_A_TOKEN: f64 = 0.5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve_if_asked(&arguments) {
        return code;
    }
    let seconds = match &arguments[..] {
        [] => Some(SECONDS),
        [flag, number] if flag == "--seconds" => number.parse().ok().filter(|seconds| *seconds >= 10),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("usage: soak-bench [--seconds N], at least 10");
        return ExitCode::from(2);
    };
    soak(Duration::from_secs(seconds))
}

fn soak(length: Duration) -> ExitCode {
    let receiver = Receiver::start();
    let server = Server::start(&["webhooks.allow_private=true"]);
    let shop = Shop::open(&server, &receiver);
    let began = server.resident_kib();
    let filling = Instant::now();
    let kills = shop.fill();
    println!(
        "{began} KiB at first, {} after {kills} kills in {:.0} s",
        server.resident_kib(),
        filling.elapsed().as_secs_f64()
    );
    let start = told_all(&server);
    let (ended, closed, counts) = (AtomicBool::new(false), AtomicBool::new(false), Counts::default());
    let (memory, [sent, tokens]) = std::thread::scope(|scope| {
        scope.spawn(|| shop.operate(&closed, &counts));
        let following = scope.spawn(|| shop.follow(&ended, &counts));
        scope.spawn(|| shop.check(&ended, &counts));
        std::thread::sleep(length);
        let done = || [&counts.changes, &counts.tokens].map(|what| what.load(Ordering::Relaxed));
        let before = done();
        let memory = watch(&server, length);
        let after = done();
        let sent = [after[0] - before[0], after[1] - before[1]];
        ended.store(true, Ordering::Relaxed);
        let followed = following.join();
        closed.store(true, Ordering::Relaxed);
        followed.expect("every SDK is told what happens");
        (memory, sent)
    });
    counts.print();
    println!("{} messages to the webhook", receiver.told());
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let minutes = sent as f64 / BUSY_CHANGES_A_SECOND / 60.0;
    println!(
        "{sent} changes in {} s: {minutes:.0} minutes at {BUSY_CHANGES_A_SECOND} changes a second   bar {LEAST_MINUTES}: {}",
        length.as_secs(),
        if minutes >= LEAST_MINUTES { "ok" } else { "MISSED, run it longer" }
    );
    let level = level(&memory, length, tokens as f64, LEAST_MINUTES / minutes);
    let same = settled(&server, &start);
    if level && same && minutes >= LEAST_MINUTES { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn watch(server: &Server, length: Duration) -> Vec<(f64, f64)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < length {
        std::thread::sleep(LOOK);
        #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
        seen.push((start.elapsed().as_secs_f64(), server.resident_kib() as f64));
    }
    seen
}

/// Whether what was seen is level. Half an hour is such a share of what was seen, in which so many
/// tokens were revoked.
fn level(memory: &[(f64, f64)], length: Duration, tokens: f64, half_an_hour: f64) -> bool {
    for tenth in memory.chunks(memory.len().div_ceil(10)) {
        println!("  after {:>5.0} s {:>8.0} KiB", tenth[0].0, tenth[0].1);
    }
    let trend = Trend::of(memory).expect("enough was seen");
    let seconds = length.as_secs_f64() * half_an_hour;
    let (growth, margin) = (trend.slope * seconds, trend.margin * seconds);
    let bar = MOST_KIB + tokens * half_an_hour * KIB_OF_A_TOKEN;
    let holds = growth + margin <= bar;
    let verdict = if trend.is_noise() { "within noise" } else { "no noise" };
    let judged = if holds { "ok" } else { "MISSED" };
    println!(
        "memory grows by {growth:+.0} KiB, +-{margin:.0}, in {LEAST_MINUTES} minutes: {verdict}   bar {bar:.0} ({MOST_KIB}, and {KIB_OF_A_TOKEN} for each of the {:.0} tokens revoked meanwhile): {judged}",
        tokens * half_an_hour
    );
    holds
}

/// What the server counts of those who use it.
fn counted(server: &Server) -> Vec<(String, u64)> {
    let mut admin = server.admin();
    let mut get = |path: &str| admin.send("GET", path, &[], &Value::Null);
    let metrics = get("/metrics").body;
    let gauges = [
        "streams",
        "requests_in_flight",
        "overlays",
        "feed_clients",
        "feed_clients_behind",
        "webhook_lag_entries",
    ];
    let gauge = |name: &str| {
        let of_name = |line: &str| {
            let (label, value) = line.strip_prefix("tidegate_")?.strip_prefix(name)?.split_once(' ')?;
            (label.is_empty() || label.starts_with('{')).then(|| value.parse::<f64>().ok()).flatten()
        };
        (name.to_owned(), metrics.lines().find_map(of_name).expect("the metric is there") as u64)
    };
    let mut counted: Vec<(String, u64)> = gauges.into_iter().map(gauge).collect();
    for (what, path) in [
        ("open proposals", "/v1/proposals?state=open&limit=1000"),
        ("environments", "/v1/apps/shop/environments?limit=1000"),
        ("flags", "/v1/apps/shop/flags?limit=1000"),
        ("members of the segment", "/v1/apps/shop/segments/staff/members?limit=1000"),
    ] {
        let items = get(path).granted()["items"].as_array().expect("a list").len();
        counted.push((what.to_owned(), u64::try_from(items).unwrap_or(u64::MAX)));
    }
    counted.push(("open files".to_owned(), u64::try_from(server.open_files()).unwrap_or(u64::MAX)));
    counted
}

/// What is counted once the webhook has been told of everything.
fn told_all(server: &Server) -> Vec<(String, u64)> {
    let waited = Instant::now();
    loop {
        let start = counted(server);
        let lag = start.iter().any(|(what, lag)| what == "webhook_lag_entries" && *lag > 0);
        if !lag || waited.elapsed() > PATIENCE {
            return start;
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until everything is counted as at the start, and says what is not.
fn settled(server: &Server, start: &[(String, u64)]) -> bool {
    let waited = Instant::now();
    let mut now = counted(server);
    while now != start && waited.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
        now = counted(server);
    }
    for ((what, before), (_, after)) in start.iter().zip(&now) {
        let verdict = if before == after { "ok" } else { "MISSED" };
        println!("{what:<28} {before:>6} at the start, {after:>6} at the end: {verdict}");
    }
    now == start
}
