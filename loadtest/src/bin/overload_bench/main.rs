//! Ten times what a server is allowed to answer: what it sheds, what the checks that it takes have to wait, and
//! its memory meanwhile.
//!
//! `cargo run --release -p tidegate-loadtest --bin overload-bench`. The server's capacity is set small, so that
//! one core can offer ten times as much with ease: 250 requests a second of the token that checks. Requests leave
//! when they are due, whatever became of earlier ones, and their time counts from then. Quiet and overloaded
//! spells take turns, as machines have moods; whoever shares the machine only adds to what takes long, so the
//! quietest quarter of the spells of either kind is compared. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod load;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use load::{Offer, Tally, offer};
use serde_json::{Value, json};
use tidegate_loadtest::client::{Client, request};
use tidegate_loadtest::cores::OwnCore;
use tidegate_loadtest::figures::{Trend, quantile};
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
/// Overload before anything is measured: memory is taken once, and kept.
const WARM_UP: Duration = Duration::from_secs(10);
/// Kills before that, and operators who make them at the same time: they fill what the server keeps up to a bound
/// (10,000 ids, 8 MiB of the log).
const WARM_UP_KILLS: usize = 32_000;
const OPERATORS: usize = 16;
/// After a storm, until what the token may use has come together again.
const CALM: Duration = Duration::from_millis(500);
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(100);
/// Between two kills, in quiet and under overload. The log's engine fills buffers of half a MiB and begins anew, so
/// that memory goes up and down by as much: there have to be many rounds of that.
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
            "overload-bench needs two cores: one for the load alone, so that nothing keeps it from its time"
        );
        return ExitCode::from(2);
    };
    let rate = format!("limits.requests_per_second={CAPACITY}");
    let burst = format!("limits.burst={BURST}");
    let server = Server::start(&[
        "workers=1",
        &rate,
        &burst,
        "limits.in_flight=64",
        "limits.connections=256",
        "limits.streams=128",
    ]);
    let check = set_up(&server);
    let quiet = Offer { rate: CAPACITY / 2, connections: CONNECTIONS, length: QUIET };
    let storm = Offer { rate: CAPACITY * TIMES, connections: CONNECTIONS, length: OVERLOADED };
    let before = server.resident_kib();
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
    let watched = Watched::default();
    let watched = &watched;
    let (turns, memory, operated) = std::thread::scope(|scope| {
        let process = server.process();
        let memory = scope.spawn(move || watched.memory(process));
        let operator = scope.spawn(|| watched.operate(&server));
        let end = Ends(&watched.ended);
        core.take();
        offer(server.address(), &check, &Offer { length: WARM_UP, ..storm });
        let turns: Vec<(Tally, Tally)> = (0..TURNS)
            .map(|_| {
                std::thread::sleep(CALM);
                let quiet = offer(server.address(), &check, &quiet);
                watched.overloaded.store(true, Ordering::Relaxed);
                let storm = offer(server.address(), &check, &storm);
                watched.overloaded.store(false, Ordering::Relaxed);
                (quiet, storm)
            })
            .collect();
        drop(end);
        let memory = memory.join().expect("memory is watched to the end");
        let operator = operator.join().expect("the operator is answered to the end");
        (turns, memory, operator)
    });
    report(before, turns, &memory, operated)
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

/// What happens beside the load.
#[derive(Default)]
struct Watched {
    overloaded: AtomicBool,
    ended: AtomicBool,
}

impl Watched {
    /// Memory by seconds of overload.
    fn memory(&self, process: u32) -> Vec<(f64, f64)> {
        let mut overloaded = 0.0;
        let mut seen = Vec::new();
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            if self.overloaded.load(Ordering::Relaxed) {
                #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
                seen.push((overloaded, resident_kib(process) as f64));
                overloaded += LOOK.as_secs_f64();
            }
        }
        seen
    }

    /// Kills and asks for health: how long each took under overload, in microseconds.
    fn operate(&self, server: &Server) -> (Vec<u32>, Vec<u32>) {
        let mut admin = server.admin();
        let (mut kills, mut health) = (Vec::new(), Vec::new());
        let mut number = 0;
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(OPERATE);
            number += 1;
            let kill_us = timed(|| kill_flag(&mut admin, &format!("k-{number}")));
            let health_us = timed(|| admin.call("GET", "/healthz", &Value::Null));
            if self.overloaded.load(Ordering::Relaxed) {
                kills.push(kill_us);
                health.push(health_us);
            }
        }
        (kills, health)
    }
}

fn kill_flag(admin: &mut Client, id: &str) -> Value {
    admin.call("POST", "/v1/apps/shop/flags/killed/kill", &json!({ "kill_id": id }))
}

fn timed(call: impl FnOnce() -> Value) -> u32 {
    let start = Instant::now();
    call();
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}

type Operated = (Vec<u32>, Vec<u32>);

fn report(before: u64, turns: Vec<(Tally, Tally)>, memory: &[(f64, f64)], operated: Operated) -> ExitCode {
    let (mut in_quiet, mut in_storm) = (Vec::new(), Vec::new());
    let mut all = Tally::default();
    for (mut quiet, mut storm) in turns {
        let (calm, rough) = (quantile(&mut quiet.accepted_us, 0.99), quantile(&mut storm.accepted_us, 0.99));
        println!(
            "  p99 of checks {calm:>6} us in quiet, {rough:>6} us of those taken under {TIMES} x overload"
        );
        in_quiet.push(calm);
        in_storm.push(rough);
        let all_answered = quiet.shed.is_empty() && quiet.lost == 0 && quiet.untyped == 0;
        assert!(all_answered, "half of what is allowed is all answered");
        all.add(storm);
    }
    let accepted = all.accepted;
    let allowed = TURNS * (CAPACITY as usize * OVERLOADED.as_secs() as usize + BURST as usize);
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let share = |count: usize| count as f64 / all.offered as f64;
    println!(
        "{} offered, {accepted} taken ({:.1} %); {} not offered, as the load stood still",
        all.offered,
        100.0 * share(accepted),
        all.skipped
    );
    for (status, count) in &all.shed {
        println!("  shed with {status}: {count} ({:.1} %)", 100.0 * share(*count));
    }
    let (mut kills, mut health) = operated;
    let worst = |values: &mut Vec<u32>| f64::from(quantile(values, 1.0)) / 1e3;
    let (kill_ms, health_ms) = (worst(&mut kills), worst(&mut health));
    let trend = Trend::of(memory).expect("memory was watched for long enough");
    let (first, last) = (memory.first().map_or(0.0, |at| at.1), memory.last().map_or(0.0, |at| at.1));
    let (slope, margin) = (trend.slope * 60.0, trend.margin * 60.0);
    println!(
        "memory {before} KiB before, {first:.0} after the warm-up, {last:.0} at the end: {slope:+.0} KiB a minute of it, +-{margin:.0}"
    );
    let [calm, rough] = [&mut in_quiet, &mut in_storm].map(|spells| f64::from(quantile(spells, 0.25)));
    println!("p99 in the quietest quarter of spells: {calm} us in quiet, {rough} us under overload");
    let ratio = rough / calm;
    let shed = share(all.shed.get(&429).copied().unwrap_or(0));
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let taken = accepted as f64 / allowed as f64;
    let typed = all.untyped == 0 && all.lost == 0;
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let skipped = all.skipped as f64 / (all.offered + all.skipped) as f64;
    let verdicts = [
        bar("share not offered, as the load stood still", skipped, MOST_SKIPPED, skipped <= MOST_SKIPPED),
        bar("p99 of what is taken, times quiet", ratio, MOST_TIMES_QUIET, ratio <= MOST_TIMES_QUIET),
        bar(
            "share of the capacity that is used",
            taken,
            LEAST_SHARE_OF_CAPACITY,
            (LEAST_SHARE_OF_CAPACITY..=MOST_SHARE_OF_CAPACITY).contains(&taken),
        ),
        bar("share of the offered that is told to come again", shed, LEAST_SHED, shed >= LEAST_SHED),
        bar("worst of the kills, ms", kill_ms, MOST_KILL_MS, !kills.is_empty() && kill_ms <= MOST_KILL_MS),
        bar("worst of /healthz, ms", health_ms, MOST_HEALTH_MS, health_ms <= MOST_HEALTH_MS),
        bar("answers that are lost or no 429 or 503", (all.untyped + all.lost) as f64, 0.0, typed),
        bar("KiB a minute, at most", slope + margin, MOST_KIB_A_MINUTE, slope + margin <= MOST_KIB_A_MINUTE),
    ];
    if verdicts.iter().all(|holds| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bar(what: &str, value: f64, bar: f64, holds: bool) -> bool {
    println!("{what:<48} {value:>8.2}   bar {bar:.2}: {}", if holds { "ok" } else { "MISSED" });
    holds
}
