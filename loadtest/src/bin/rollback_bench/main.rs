//! How long it takes from the moment at which a slot's grace is over until the SDKs of an app serve a variant no more that
//! failed in that slot: closing, judging, the log on disk, the feed. Many apps, each with a flag at half of its users and an SDK of its
//! own, break at the same moment; beside it, in the same run, how long a kill of each takes to the same SDKs.
//!
//! `cargo run --release -p tidegate-loadtest --bin rollback-bench [-- APPS]`. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollout_rules::sli::{GRACE, SLOT};
use serde_json::json;
use tidegate_loadtest::client::Client as Admin;
use tidegate_loadtest::figures::quantile;
use tidegate_loadtest::server::{Server, serve_if_asked};
use tidegate_sdk::{Client, Context, Outcome};

/// How many apps there are, unless the caller says otherwise.
const APPS: usize = 100;
/// An app has so many people, one request each in a round.
const PEOPLE: usize = 100;
/// A round of requests of all apps.
const ROUND: Duration = Duration::from_millis(1_000);
/// Slots in which all is well, before the new variants break.
const WELL_SLOTS: u64 = 2;
/// After so long what was not taken back will not be.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bar.
const MOST_MS: u32 = 2_000;

/// An app with its SDK.
struct App {
    key: String,
    client: Client,
    /// Somebody who is served the new variant.
    person: Context,
    /// When that ended, by the wall clock in milliseconds; 0: not yet.
    off_at: Arc<AtomicU64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve_if_asked(&arguments) {
        return code;
    }
    let apps = match &arguments[..] {
        [] => Some(APPS),
        [apps] => apps.parse().ok().filter(|apps| *apps > 0),
        _ => None,
    };
    let Some(apps) = apps else {
        eprintln!("usage: rollback-bench [APPS]");
        return ExitCode::from(2);
    };
    let server = Server::start(&["limits.requests_per_second=0"]);
    let mut admin = server.admin();
    let apps: Vec<App> = (0..apps).map(|nth| App::make(nth, &server, &mut admin)).collect();
    println!(
        "{} apps, an SDK each, {PEOPLE} people a second in each; half of them get the new variant",
        apps.len()
    );
    let mut taken_back = taken_back(&apps);
    let mut killed = killed(&apps, &mut admin);
    let row = |what: &str, times: &mut [u32]| {
        let [middle, most] = [0.5, 0.99].map(|share| quantile(times, share));
        println!("  {what:<50} p50 {middle:>6} ms   p99 {most:>6} ms");
        most
    };
    let back = row("a slot's grace over -> off in the SDK", &mut taken_back);
    let kill = row("a kill sent -> off in the SDK", &mut killed);
    let met = back <= MOST_MS && taken_back.len() == apps.len();
    println!(
        "  {} of {} taken back; p99 {:.1} x that of a kill; bar {MOST_MS} ms: {}",
        taken_back.len(),
        apps.len(),
        f64::from(back) / f64::from(kill.max(1)),
        if met { "met" } else { "MISSED" }
    );
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl App {
    fn make(nth: usize, server: &Server, admin: &mut Admin) -> App {
        let key = format!("app-{nth}");
        let environments = json!([{"key": "live", "kind": "production"}]);
        admin.call("POST", "/v1/apps", &json!({"key": key, "environments": environments}));
        let path = format!("/v1/apps/{key}/flags");
        let made = admin.send("POST", &path, &[], &json!({"key": "checkout"}));
        let seen = made.header("etag").to_owned();
        made.granted();
        let patch = json!({"on": true, "exposure": 50, "serve": {"variant": "on"}});
        let path = format!("{path}/checkout/environments/live");
        admin.send("PATCH", &path, &[("if-match", &seen)], &patch).granted();
        let wanted = json!({"scope": "sdk-server", "app": key, "environment": "live"});
        let token = admin.call("POST", "/v1/tokens", &wanted);
        let token = token["secret"].as_str().expect("a new token shows its secret");
        let url = format!("http://{}", server.address());
        let client = Client::builder(&url, token).start().expect("an SDK");
        client.wait_ready(PATIENCE).expect("it is served");
        let mut people = (0..PEOPLE).map(person);
        let person = people.find(|person| client.bool("checkout", person, false)).expect("half of them are");
        let off_at = Arc::new(AtomicU64::new(0));
        App { key, client, person, off_at }
    }

    /// Notes when the new variant is served no more.
    fn look(&self) {
        if self.off_at.load(Ordering::Relaxed) == 0 && !self.client.bool("checkout", &self.person, false) {
            self.off_at.store(now_ms(), Ordering::Relaxed);
        }
    }
}

fn person(nth: usize) -> Context {
    Context::new(&format!("person-{nth}"))
}

/// Serves people until everything that broke was taken back. Gives how long after the end of a slot's grace that was.
fn taken_back(apps: &[App]) -> Vec<u32> {
    let begins = now_ms().next_multiple_of(SLOT.0);
    let breaks_at = begins + WELL_SLOTS * SLOT.0;
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| serve(apps, breaks_at, &done));
        let is_off = |app: &App| app.off_at.load(Ordering::Relaxed) > 0;
        let gives_up = UNIX_EPOCH + Duration::from_millis(breaks_at) + PATIENCE;
        while !apps.iter().all(is_off) && SystemTime::now() < gives_up {
            apps.iter().for_each(App::look);
            std::thread::sleep(Duration::from_millis(1));
        }
        done.store(true, Ordering::Relaxed);
    });
    // Each is taken back with a slot that has closed: the last whose grace was over.
    let since = |off_at: u64| u32::try_from((off_at - GRACE.0) % SLOT.0).unwrap_or(u32::MAX);
    let off = apps.iter().map(|app| app.off_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
    off.map(|at| {
        assert!(at > breaks_at, "what was well is left alone");
        since(at)
    })
    .collect()
}

/// People of all apps, second by second; from a moment on all that are served the new variant fail.
fn serve(apps: &[App], breaks_at: u64, done: &AtomicBool) {
    static PEOPLE_OF_ALL: LazyLock<Vec<Context>> = LazyLock::new(|| (0..PEOPLE).map(person).collect());
    let mut due = Instant::now();
    while !done.load(Ordering::Relaxed) {
        let broken = now_ms() >= breaks_at;
        for app in apps {
            for person in PEOPLE_OF_ALL.iter() {
                let scope = app.client.scope(person);
                let served = scope.bool("checkout", false);
                scope.finish(Outcome::failed(served && broken).took(Duration::from_millis(5)));
            }
        }
        due += ROUND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// How long a kill takes to each of the same SDKs, one after another. What was taken back goes on again first.
fn killed(apps: &[App], admin: &mut Admin) -> Vec<u32> {
    let path = |app: &App| format!("/v1/apps/{}/flags/checkout", app.key);
    let mut times = Vec::new();
    for app in apps {
        let seen = admin.send("GET", &path(app), &[], &serde_json::Value::Null).header("etag").to_owned();
        let on = json!({"on": true});
        let live = format!("{}/environments/live", path(app));
        admin.send("PATCH", &live, &[("if-match", &seen)], &on).granted();
        let began = Instant::now();
        while !app.client.bool("checkout", &app.person, false) && began.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        let sent = Instant::now();
        admin.call("POST", &format!("{}/kill", path(app)), &json!({"kill_id": app.key}));
        while app.client.bool("checkout", &app.person, false) && sent.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        times.push(u32::try_from(sent.elapsed().as_millis()).unwrap_or(u32::MAX));
    }
    times
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
