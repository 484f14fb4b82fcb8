//! Ten times what a server is allowed to answer: what it sheds, what the checks that it takes have to wait; then its
//! memory, and what an operator has to wait who kills and asks for its health meanwhile.
//!
//! `cargo run --release -p tidegate-loadtest --bin overload-bench`; needs two cores, one of them for the load. The
//! server's capacity is set small, so that one core can offer ten times as much with ease: 250 requests a second of the
//! token that checks. Requests leave when they are due, whatever became of earlier ones, and their time counts from
//! then. Quiet and overloaded spells take turns, as machines have moods; what is judged is the middle one of how many
//! times its quiet neighbour's p99 each overloaded spell has: of all that is taken, and of that in which the load itself did
//! not stand still. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod load;
mod own_core;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use load::{Offer, Tally, offer};
use own_core::OwnCore;
use serde_json::{Value, json};
use tidegate_loadtest::client::{Client, request};
use tidegate_loadtest::figures::{Trend, median, quantile};
use tidegate_loadtest::server::{Server, resident_kib, serve_if_asked};

/// Checks a second that the server takes.
const CAPACITY: u32 = 250;
/// Times as many are offered.
const TIMES: u32 = 10;
/// Connections over which they come.
const CONNECTIONS: usize = 64;
/// Checks that it takes at once after a pause.
const BURST: u32 = CAPACITY / 10;
/// Quiet and overloaded spells, in turns.
const TURNS: usize = 12;
const QUIET: Duration = Duration::from_secs(6);
const OVERLOADED: Duration = Duration::from_secs(4);
const CALM_LOAD: Offer = Offer { rate: CAPACITY / 2, connections: CONNECTIONS, length: QUIET };
const STORM: Offer = Offer { rate: CAPACITY * TIMES, connections: CONNECTIONS, length: OVERLOADED };
/// Overload before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);
/// Kills before that, and operators who make them at the same time: they fill what the server keeps up to a bound
/// (10,000 ids, 8 MiB of the log).
const WARM_UP_KILLS: usize = 32_000;
const OPERATORS: usize = 16;
/// After a storm, until what the token may use has come together again.
const CALM: Duration = Duration::from_millis(500);
/// Overload in which memory is watched and an operator is at work.
const OPERATED: Duration = Duration::from_secs(60);
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(100);
/// Between two kills. They come often, as the log's engine fills buffers of half a MiB and begins anew: the most that
/// this takes is taken soon, and what comes after it is growth.
const OPERATE: Duration = Duration::from_millis(10);

/// The bars.
const MOST_SKIPPED: f64 = 0.05;
const MOST_TIMES_QUIET: f64 = 2.0;
/// Taken is what the server may take: the rate, and the burst once in each spell.
const LEAST_SHARE_OF_CAPACITY: f64 = 0.95;
const MOST_SHARE_OF_CAPACITY: f64 = 1.05;
/// The rest is told when to come again.
const LEAST_SHED: f64 = 0.85;
/// A kill, and a look at the server's health, in milliseconds at the worst.
const MOST_KILL_MS: f64 = 250.0;
const MOST_HEALTH_MS: f64 = 250.0;
/// Memory that is flat may still move by so much in a minute of overload: pages come and go.
const MOST_KIB_A_MINUTE: f64 = 512.0;
/// Most that the first storm and all others may take together: 64 KiB a connection.
const MOST_KIB_OF_STORMS: f64 = 4_096.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve_if_asked(&arguments) {
        return code;
    }
    if !arguments.is_empty() {
        eprintln!("usage: overload-bench");
        return ExitCode::from(2);
    }
    let Some(core) = OwnCore::keep_free() else {
        eprintln!(
            "overload-bench needs two cores: one for the load, which would else take the server's time"
        );
        return ExitCode::from(2);
    };
    let rate = format!("limits.requests_per_second={CAPACITY}");
    let burst = format!("limits.burst={BURST}");
    let server = Server::start(&["workers=1", &rate, &burst]);
    let check = set_up(&server);
    fill(&server);
    let before = server.resident_kib();
    let turns = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            core.take();
            take_turns(&server, &check)
        });
        load.join().expect("the server is there to the end")
    });
    let (memory, operated) = operate(&server, &check, &core);
    let fair = report_turns(turns);
    let calm = report_operated(before, &memory, operated);
    if fair && calm { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is kept up to a bound is full before anything is measured.
fn fill(server: &Server) {
    std::thread::scope(|scope| {
        for operator in 0..OPERATORS {
            let mut admin = server.admin();
            scope.spawn(move || {
                for kill in 0..WARM_UP_KILLS / OPERATORS {
                    kill_flag(&mut admin, &format!("warm-up-{operator}-{kill}"));
                }
            });
        }
    });
}

/// Quiet and overload, each with nothing else to do for the server.
fn take_turns(server: &Server, check: &[u8]) -> Vec<(Tally, Tally)> {
    offer(server.address(), check, &Offer { length: WARM_UP, ..STORM });
    (0..TURNS)
        .map(|_| {
            std::thread::sleep(CALM);
            (offer(server.address(), check, &CALM_LOAD), offer(server.address(), check, &STORM))
        })
        .collect()
}

type Operated = (Vec<u32>, Vec<u32>);

/// One long storm: memory by seconds, and how long each kill and each look at health took, in microseconds.
fn operate(server: &Server, check: &[u8], core: &OwnCore) -> (Vec<(f64, f64)>, Operated) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let memory = scope.spawn(|| watch_memory(server.process(), &ended));
        let operator = scope.spawn(|| kill_and_look(server, &ended));
        let load = scope.spawn(|| {
            let _end = Ends(&ended);
            core.take();
            offer(server.address(), check, &Offer { length: OPERATED, ..STORM });
        });
        load.join().expect("the server is there to the end");
        let memory = memory.join().expect("memory is watched to the end");
        (memory, operator.join().expect("the operator is answered to the end"))
    })
}

/// An app with a flag; gives the request that checks it.
fn set_up(server: &Server) -> Vec<u8> {
    let mut admin = server.admin();
    let environments = json!([{"key": "live", "kind": "production"}]);
    admin.call("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}));
    for flag in ["checkout", "killed"] {
        let made = admin.send("POST", "/v1/apps/shop/flags", &[], &json!({ "key": flag }));
        made.granted();
        let path = format!("/v1/apps/shop/flags/{flag}/environments/live");
        let patch = json!({"on": true, "exposure": 30, "serve": {"variant": "on"}});
        admin.send("PATCH", &path, &[("if-match", made.header("etag"))], &patch).granted();
    }
    let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "live"});
    let token = admin.call("POST", "/v1/tokens", &wanted);
    let token = token["secret"].as_str().expect("a new token shows its secret");
    let context = json!({"context": {"targetingKey": "user-17", "plan": "pro"}});
    request("POST", "/ofrep/v1/evaluate/flags/checkout", server.address(), token, &[], &context)
}

/// Ends what goes on beside, also if the load panics.
struct Ends<'w>(&'w AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Memory by seconds.
fn watch_memory(process: u32, ended: &AtomicBool) -> Vec<(f64, f64)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
        seen.push((start.elapsed().as_secs_f64(), resident_kib(process) as f64));
    }
    seen
}

fn kill_and_look(server: &Server, ended: &AtomicBool) -> Operated {
    let mut admin = server.admin();
    let (mut kills, mut health) = (Vec::new(), Vec::new());
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(OPERATE);
        let id = format!("k-{}", kills.len());
        kills.push(timed(|| kill_flag(&mut admin, &id)));
        health.push(timed(|| admin.call("GET", "/healthz", &Value::Null)));
    }
    (kills, health)
}

fn kill_flag(admin: &mut Client, id: &str) -> Value {
    admin.call("POST", "/v1/apps/shop/flags/killed/kill", &json!({ "kill_id": id }))
}

fn timed(call: impl FnOnce() -> Value) -> u32 {
    let start = Instant::now();
    call();
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Prints what became of the checks, and says whether the bars are met.
fn report_turns(turns: Vec<(Tally, Tally)>) -> bool {
    let (mut calm, mut rough) = (Tally::default(), Tally::default());
    let (mut ratios, mut steady) = (Vec::new(), Vec::new());
    for (mut quiet, mut storm) in turns {
        let [in_quiet, in_storm] =
            [&mut quiet, &mut storm].map(|spell| quantile(&mut spell.accepted_us, 0.99));
        ratios.push(f64::from(in_storm) / f64::from(in_quiet));
        let [steady_quiet, steady_storm] =
            [&mut quiet, &mut storm].map(|spell| quantile(&mut spell.steady_us, 0.99));
        steady.push(f64::from(steady_storm) / f64::from(steady_quiet));
        println!(
            "  p99 of checks {in_quiet:>6} us in quiet, {in_storm:>6} us of those taken; while the load did not stand still {steady_quiet:>6} and {steady_storm:>6} us"
        );
        calm.add(quiet);
        rough.add(storm);
    }
    let all_answered = calm.shed.is_empty() && calm.lost == 0 && calm.untyped == 0;
    assert!(all_answered, "half of what is allowed is all answered");
    for (name, tally) in [("quiet", &mut calm), ("overload", &mut rough)] {
        let [p50, p99] = [0.5, 0.99].map(|at| quantile(&mut tally.accepted_us, at));
        println!(
            "{name:<9}{} offered, {} taken, {} of them while the load did not stand still: p50 {p50} us, p99 {p99} us; {} not offered, as it did",
            tally.offered,
            tally.accepted,
            tally.steady_us.len(),
            tally.skipped
        );
    }
    for (status, count) in &rough.shed {
        println!("  shed with {status}: {count} ({:.1} %)", 100.0 * share(*count, rough.offered));
    }
    let skipped = [&calm, &rough].map(|tally| share(tally.skipped, tally.offered + tally.skipped));
    let skipped = skipped[0].max(skipped[1]);
    let (ratio, steady) = (median(&ratios), median(&steady));
    let allowed = TURNS * (CAPACITY as usize * OVERLOADED.as_secs() as usize + BURST as usize);
    let taken = share(rough.accepted, allowed);
    let shed = share(rough.shed.values().sum(), rough.offered);
    let silent = rough.untyped + rough.lost;
    [
        bar("share not offered, as the load stood still", skipped, MOST_SKIPPED, skipped <= MOST_SKIPPED),
        bar("p99 of what is taken, times quiet, middle", ratio, MOST_TIMES_QUIET, ratio <= MOST_TIMES_QUIET),
        bar(
            "the same while the load did not stand still",
            steady,
            MOST_TIMES_QUIET,
            steady <= MOST_TIMES_QUIET,
        ),
        bar(
            "share of the capacity that is used",
            taken,
            LEAST_SHARE_OF_CAPACITY,
            (LEAST_SHARE_OF_CAPACITY..=MOST_SHARE_OF_CAPACITY).contains(&taken),
        ),
        bar("share of the offered that is told to come again", shed, LEAST_SHED, shed >= LEAST_SHED),
        bar("answers that are lost or no 429 or 503", share(silent, 1), 0.0, silent == 0),
    ]
    .iter()
    .all(|holds| *holds)
}

/// Prints what the long storm did to memory and to the operator, and says whether the bars are met.
fn report_operated(before: u64, memory: &[(f64, f64)], (mut kills, mut health): Operated) -> bool {
    let worst = |values: &mut Vec<u32>| f64::from(quantile(values, 1.0)) / 1e3;
    let (kill_ms, health_ms) = (worst(&mut kills), worst(&mut health));
    let trend = Trend::of(memory).expect("memory was watched for long enough");
    let (first, last) = (memory.first().map_or(0.0, |at| at.1), memory.last().map_or(0.0, |at| at.1));
    let (slope, margin) = (trend.slope * 60.0, trend.margin * 60.0);
    #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
    let rise = last - before as f64;
    println!(
        "memory {before} KiB before the first storm, {first:.0} before the last one, {last:.0} after it: {slope:+.0} KiB a minute of it, +-{margin:.0}; {} kills meanwhile",
        kills.len()
    );
    [
        bar("worst of the kills, ms", kill_ms, MOST_KILL_MS, !kills.is_empty() && kill_ms <= MOST_KILL_MS),
        bar("worst of /healthz, ms", health_ms, MOST_HEALTH_MS, health_ms <= MOST_HEALTH_MS),
        bar("KiB a minute, at most", slope + margin, MOST_KIB_A_MINUTE, slope + margin <= MOST_KIB_A_MINUTE),
        bar("KiB that all storms took", rise, MOST_KIB_OF_STORMS, rise <= MOST_KIB_OF_STORMS),
    ]
    .iter()
    .all(|holds| *holds)
}

fn bar(what: &str, value: f64, bar: f64, holds: bool) -> bool {
    println!("{what:<48} {value:>8.2}   bar {bar:.2}: {}", if holds { "ok" } else { "MISSED" });
    holds
}
