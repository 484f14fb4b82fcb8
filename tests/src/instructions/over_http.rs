//! What is asked of a server: checks, what it refuses, a kill to its clients, and outcomes that it is told.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::shop::{APP, FLAG, FLAG_WITH_RULES, FLAGS, Shop, key};
use super::wire::{Wire, request};
use super::{Measured, UNCHANGED_100, UNCHANGED_5000};

const CHECKS: &str = "/ofrep/v1/evaluate/flags";
/// Who asks; a few attributes, as an app has them at hand.
const CONTEXT: &str =
    r#"{"context":{"targetingKey":"user-17","plan":"pro","country":"DE","email":"ada@example.org"}}"#;
/// The same with six, for the flag with rules.
const LONG_CONTEXT: &str = r#"{"context":{"targetingKey":"user-17","plan":"pro","country":"DE","app_version":"2.5.1","age":36,"email":"ada@example.org"}}"#;

/// Requests of one count.
const REQUESTS: u64 = 600;
/// Requests of one count that are greater: all flags.
const LARGE_REQUESTS: u64 = 200;
/// Clients that hear of a kill.
const CLIENTS: u64 = 200;
/// Kills, of which the cheapest is told.
const KILLS: usize = 12;
/// Batches of one count, summaries in each, and units that a summary lists.
const BATCHES: u64 = 5;
const SUMMARIES: u64 = 100;
const UNITS: u64 = 20;

fn one(flag: &str, token: &str, context: &str) -> Vec<u8> {
    request("POST", &format!("{CHECKS}/{flag}"), token, "", context)
}

fn all(token: &str, tag: &str) -> Vec<u8> {
    let line = if tag.is_empty() { String::new() } else { format!("if-none-match: {tag}\r\n") };
    request("POST", CHECKS, token, &line, CONTEXT)
}

/// Counts a request that is always answered so.
fn count(shop: &mut Shop, name: &'static str, pieces: u64, request: &[u8], status: u16) -> Measured {
    let mut wire = Wire::connect(shop.address());
    shop.count(name, pieces, || {
        let answer = wire.ask(request);
        assert_eq!(answer.status, status, "{name}: {}", String::from_utf8_lossy(&answer.body));
    })
}

/// One flag, one with rules, and all flags of an app.
///
/// # Panics
/// When one is not answered.
#[must_use]
pub fn checks() -> Vec<Measured> {
    let mut shop = Shop::open(false, &[]);
    let token = shop.token.clone();
    let with_rules = one(FLAG_WITH_RULES, &token, LONG_CONTEXT);
    let answer = Wire::connect(shop.address()).ask(&with_rules);
    let answer: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
    assert_eq!((&answer["reason"], &answer["value"]), (&json!("TARGETING_MATCH"), &json!(true)), "{answer}");
    vec![
        count(&mut shop, "single", REQUESTS, &one(FLAG, &token, CONTEXT), 200),
        count(&mut shop, "single_rules", REQUESTS, &with_rules, 200),
        count(&mut shop, "bulk_100", LARGE_REQUESTS, &all(&token, ""), 200),
    ]
}

/// All flags of an app, and of one with fifty times as many, by somebody who has them.
///
/// # Panics
/// When one is not answered, or with all flags.
#[must_use]
pub fn unchanged() -> Vec<Measured> {
    let mut shop = Shop::open(true, &[]);
    let of_many = shop.token_of_many.clone().expect("there is an app with many flags");
    let of_few = shop.token.clone();
    let mut of = |name, token: &str| {
        let answer = Wire::connect(shop.address()).ask(&all(token, ""));
        let request = all(token, answer.header("etag"));
        count(&mut shop, name, REQUESTS, &request, 304)
    };
    vec![of(UNCHANGED_100, &of_few), of(UNCHANGED_5000, &of_many)]
}

/// Checks of a token that asks too often, and of one that nobody made.
///
/// # Panics
/// When one is not refused.
#[must_use]
pub fn refusals() -> Vec<Measured> {
    let seldom = [
        ("TIDEGATE_LIMITS_REQUESTS_PER_SECOND", "1"),
        ("TIDEGATE_LIMITS_BURST", "1"),
        ("TIDEGATE_LIMITS_FAILED_LOGINS_PER_MINUTE", "1000000"),
    ];
    let mut shop = Shop::open(false, &seldom);
    let token = shop.token.clone();
    let mut wire = Wire::connect(shop.address());
    let request = one(FLAG, &token, CONTEXT);
    let by_rate = shop.count("refused_by_rate", REQUESTS, || {
        // One a second is let through.
        let status = wire.ask(&request).status;
        assert!(status == 429 || status == 200, "{status}");
    });
    // As long as a real one.
    let nobody = one(FLAG, &format!("{}xxxxxxxx", &token[..token.len() - 8]), CONTEXT);
    vec![by_rate, count(&mut shop, "unauthorised", REQUESTS, &nobody, 401)]
}

/// A kill, for each client that hears of it.
///
/// # Panics
/// When it does not come to all.
#[must_use]
pub fn kill() -> Vec<Measured> {
    let mut shop = Shop::open(false, &[]);
    let connect = |client: u64| {
        let mut wire = Wire::connect(shop.address());
        let path = format!("/v1/feed?instance=counted-{client}&sdk=instructions/1");
        wire.send(&request("GET", &path, &shop.token, "accept: text/event-stream\r\n", ""));
        assert_eq!(wire.head().status, 200, "every client gets a stream");
        wire
    };
    let mut clients: Vec<Wire> = (0..CLIENTS).map(connect).collect();
    let (admin, killed) = (shop.admin(), Cell::new(1));
    let mut measured = shop.lowest("kill_per_client", KILLS, || {
        let (flag, id) = (key(killed.get()), format!("kill-{}-", killed.get()));
        killed.set(killed.get() + 1);
        let path = format!("/v1/apps/{APP}/flags/{flag}/kill");
        let status = admin.post(&path, &json!({ "kill_id": id })).status;
        assert!(status == 200 || status == 202, "{status}");
        clients.iter_mut().for_each(|client| client.read_until(&id));
        // Else the log was too slow, and the kill went another way.
        status == 200
    });
    measured.count = measured.count.each_of(CLIENTS);
    vec![measured]
}

/// A batch of outcomes, of all flags in turn.
///
/// # Panics
/// When it is not taken.
#[must_use]
pub fn reports() -> Vec<Measured> {
    let mut shop = Shop::open(false, &[]);
    let (token, sent) = (shop.token.clone(), Cell::new(0));
    let wire = RefCell::new(Wire::connect(shop.address()));
    let measured = shop.count("outcomes_batch", BATCHES, || {
        // What is told of an older slot comes too late.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let summaries: Value =
            (0..SUMMARIES).map(|place| summary(sent.get() * SUMMARIES + place, now_ms)).collect();
        let body = json!({"instance": "counted", "batch": sent.get().to_string(), "summaries": summaries})
            .to_string();
        sent.set(sent.get() + 1);
        let answer = wire.borrow_mut().ask(&request("POST", "/v1/outcomes", &token, "", &body));
        let told: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        assert_eq!(told["added"], json!(SUMMARIES), "{told}");
    });
    vec![measured]
}

/// What was served of a variant of a flag in a slot, to units of its own.
fn summary(number: u64, now_ms: u64) -> Value {
    let flags = u64::try_from(FLAGS).unwrap_or(u64::MAX);
    let flag = key(usize::try_from(number / 2 % flags).unwrap_or_default());
    let variant = if number.is_multiple_of(2) { "on" } else { "off" };
    // In the form of their hashes.
    let unit = |unit: u64| format!("{:016x}", (number * UNITS + unit).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let served: Vec<String> = (0..UNITS).map(unit).collect();
    let slow: Vec<Value> = served.iter().map(|unit| json!([unit, 20_000])).collect();
    json!({
        "flag": flag, "flag_revision": 5, "split": ".exposure", "variant": variant, "slot": now_ms,
        "outcomes": {
            "units": UNITS, "requests": 60, "bad_requests": 1, "cost_micros": 600,
            "latency": [[8_000, 30], [16_000, 20], [20_000, 9], [90_000, 1]],
            "served": { "units": served }, "bad": { "units": [served[0]] }, "slow": { "units": slow },
        },
    })
}
