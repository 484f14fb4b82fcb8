//! How often flags gave which answer, counted over OFREP and told by SDKs.

use crate::served;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, LogId};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{START, Served};
use tidegate::exposures::batch::MAX_COUNTS;
use tidegate::exposures::{Exposures, place};
use tidegate::http::Settings;
use tidegate::log::memory::MemoryLog;

const HOUR: DurationMs = DurationMs(3_600_000);
const CHECKOUT: &str = "/v1/apps/shop/flags/checkout/environments/live/exposures";

/// A shop whose flag `checkout` is on in `live`.
fn shop() -> Served {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    served
}

fn exposures(served: &Served) -> Value {
    served.get(CHECKOUT).expect(200)
}

/// The counts of one hour, or of one day: `on 3`.
fn counts(of: &Value) -> Vec<String> {
    let counts = of["counts"].as_array().expect("counts").iter();
    counts.map(|one| format!("{} {}", one["variant"].as_str().unwrap_or("-"), one["count"])).collect()
}

fn batch(name: &str, counts: &Value) -> Value {
    json!({ "instance": "web-1", "batch": name, "counts": counts })
}

fn tell(served: &Served, token: &str, body: &Value) -> Value {
    served.call(token, "POST", "/v1/exposures", &[], body).expect(200)
}

#[test]
fn checks_over_ofrep_are_shown_by_variant_and_hour() {
    let served = shop();
    let sdk = served.token("sdk-server");
    let before = exposures(&served);
    assert_eq!((&before["last_asked_at"], &before["hours"]), (&Value::Null, &json!([])));
    assert_eq!(before["counting_since"], START.to_string());
    let ann = json!({"targetingKey": "ann"});
    for _ in 0..3 {
        served.check(&sdk, "checkout", &ann).expect(200);
    }
    served.call(&sdk, "POST", "/ofrep/v1/evaluate/flags", &[], &json!({"context": ann})).expect(200);
    assert_eq!(counts(&exposures(&served)["hours"][0]), ["on 4"]);
    served.clock.advance(HOUR);
    served.post("/v1/apps/shop/flags/checkout/kill", &json!({})).expect(200);
    served.check(&sdk, "checkout", &ann).expect(200);
    let shown = exposures(&served);
    assert_eq!(shown["hours"].as_array().map(Vec::len), Some(2), "{shown}");
    assert_eq!(
        (counts(&shown["hours"][0]), counts(&shown["hours"][1])),
        (vec!["on 4".into()], vec!["off 1".into()])
    );
    let hour = UnixMs(START.plus(HOUR).0 / HOUR.0 * HOUR.0);
    assert_eq!(shown["hours"][1]["hour"], hour.to_string());
    assert_eq!(counts(&shown["days"][0]), ["on 4", "off 1"]);
    assert_eq!(shown["last_asked_at"], START.plus(HOUR).to_string());
    // Hours are kept for two days, days for five weeks.
    served.clock.advance(DurationMs::days(3));
    let shown = exposures(&served);
    assert_eq!(
        (&shown["hours"], counts(&shown["days"][0])),
        (&json!([]), vec!["on 4".into(), "off 1".into()])
    );
    served.clock.advance(DurationMs::days(40));
    let shown = exposures(&served);
    assert_eq!((&shown["days"], &shown["last_asked_at"]), (&json!([]), &START.plus(HOUR).to_string().into()));
}

#[test]
fn a_check_that_gave_no_variant_counts_as_such_and_another_environment_for_itself() {
    let rules = crate::served::ungated();
    let served =
        Served::with(Settings { workers: 1, require_targeting_key: false, ..Settings::default() }, rules);
    served.shop();
    let etag = served.flag_on("checkout");
    let state = "/v1/apps/shop/flags/checkout/environments/live";
    served.patch(state, &etag, &json!({"exposure": 50})).expect(200);
    let sdk = served.token("sdk-server");
    served.check(&sdk, "checkout", &json!({})).expect(400);
    assert_eq!(counts(&exposures(&served)["hours"][0]), ["- 1"]);
    let trial = served.get("/v1/apps/shop/flags/checkout/environments/trial/exposures").expect(200);
    assert_eq!(trial["variants"], json!([]));
    served.get("/v1/apps/shop/flags/nope/environments/live/exposures").refused(404, "not_found");
    served.get("/v1/apps/shop/flags/checkout/environments/nope/exposures").refused(404, "not_found");
}

#[test]
fn counts_go_on_when_a_flag_changes_and_begin_anew_with_its_environment() {
    let served = shop();
    let sdk = served.token("sdk-server");
    let ann = json!({"targetingKey": "ann"});
    served.check(&sdk, "checkout", &ann).expect(200);
    let path = "/v1/apps/shop/flags/checkout";
    let etag = served.get(path).header("etag").to_owned();
    let variants =
        json!([{"key": "new", "value": true}, {"key": "on", "value": true}, {"key": "off", "value": false}]);
    served.patch(path, &etag, &json!({"variants": variants})).expect(200);
    served.check(&sdk, "checkout", &ann).expect(200);
    assert_eq!(counts(&exposures(&served)["hours"][0]), ["on 2"]);

    // A preview that is removed and made again under the same name.
    let preview = || {
        served.post("/v1/apps/shop/environments", &json!({"key": "pr-7", "kind": "preview"})).expect(201);
        let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "pr-7"});
        served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
    };
    let shown = || served.get("/v1/apps/shop/flags/checkout/environments/pr-7/exposures").expect(200);
    let first = preview();
    served.check(&first, "checkout", &ann).expect(200);
    served.call(&served.admin, "DELETE", "/v1/apps/shop/environments/pr-7", &[], &json!({})).expect(204);
    served.post("/v1/apps/shop/flags", &json!({"key": "another"})).expect(201);
    let second = preview();
    served.check(&second, "another", &ann).expect(200);
    served.check(&second, "checkout", &ann).expect(200);
    assert_eq!(counts(&shown()["hours"][0]), ["off 2"]);
    assert_eq!(counts(&shown()["hours"][0]), ["off 2"], "told once");
}

#[test]
fn a_batch_of_an_sdk_is_summed_once_however_often_it_is_sent() {
    let served = shop();
    let sdk = served.token("sdk-server");
    let counts_ = json!([
        {"flag": "checkout", "variant": "on", "count": 10},
        {"flag": "checkout", "variant": "off", "count": 5, "age_s": 3600},
        {"flag": "checkout", "count": 2},
    ]);
    let first = tell(&served, &sdk, &batch("b-1", &counts_));
    let all = json!({"counted": 17, "unknown": 0, "too_old": 0, "dropped": 0, "repeated": false});
    assert_eq!(first, all);
    let again = tell(&served, &sdk, &batch("b-1", &counts_));
    assert_eq!((&again["repeated"], &again["counted"]), (&json!(true), &json!(0)));
    let shown = exposures(&served);
    assert_eq!(
        (counts(&shown["hours"][0]), counts(&shown["hours"][1])),
        (vec!["off 5".into()], vec!["on 10".into(), "- 2".into()])
    );
    // The next one is, and so is the same from somebody else.
    tell(&served, &sdk, &batch("b-2", &json!([{"flag": "checkout", "variant": "on", "count": 1}])));
    let mut other = batch("b-2", &json!([{"flag": "checkout", "variant": "on", "count": 1}]));
    other["instance"] = "web-2".into();
    tell(&served, &sdk, &other);
    assert_eq!(counts(&exposures(&served)["hours"][1]), ["on 12", "- 2"]);
}

#[test]
fn what_a_batch_says_of_flags_that_are_not_there_or_of_long_ago_is_not_counted() {
    let served = shop();
    let sdk = served.token("sdk-server");
    served.flag_on("gone");
    served.call(&served.admin, "DELETE", "/v1/apps/shop/flags/gone", &[], &Value::Null).expect(200);
    let said = tell(
        &served,
        &sdk,
        &batch(
            "b-1",
            &json!([
                {"flag": "nope", "variant": "on", "count": 1},
                {"flag": "gone", "variant": "on", "count": 2},
                {"flag": "checkout", "variant": "purple", "count": 4},
                {"flag": "checkout", "variant": "on", "count": 8, "age_s": 48 * 3600 + 1},
                {"flag": "checkout", "variant": "on", "count": 16, "age_s": u64::MAX},
                {"flag": "checkout", "variant": "on", "count": 32, "age_s": 48 * 3600},
            ]),
        ),
    );
    assert_eq!(said, json!({"counted": 32, "unknown": 7, "too_old": 24, "dropped": 0, "repeated": false}));
    let shown = exposures(&served);
    assert_eq!((&shown["hours"], counts(&shown["days"][0])), (&json!([]), vec!["on 32".into()]));
}

#[test]
fn batches_out_of_bounds_or_from_the_wrong_role_are_refused() {
    let served = shop();
    let sdk = served.token("sdk-server");
    let send = |token: &str, body: &Value| served.call(token, "POST", "/v1/exposures", &[], body);
    let one = json!({"flag": "checkout", "variant": "on", "count": 1});
    let full: Vec<&Value> = std::iter::repeat_n(&one, MAX_COUNTS).collect();
    assert_eq!(tell(&served, &sdk, &batch("full", &json!(full)))["counted"], MAX_COUNTS);
    let over: Vec<&Value> = std::iter::repeat_n(&one, MAX_COUNTS + 1).collect();
    send(&sdk, &batch("over", &json!(over))).refused(422, "too_many");
    for count in [json!(0), json!(1_000_000_000_001_u64), json!(-1), json!("1")] {
        let body = batch("odd", &json!([one, {"flag": "checkout", "count": count}]));
        assert_eq!(send(&sdk, &body).refused(400, "invalid_body")["field"], "counts[1].count");
    }
    let mut many = batch("many", &json!([]));
    many["uncounted"] = 1_000_000_000_001_u64.into();
    assert_eq!(send(&sdk, &many).refused(400, "invalid_body")["field"], "uncounted");
    many["uncounted"] = 1_000_000_000_000_u64.into();
    send(&sdk, &many).expect(200);
    send(&sdk, &json!({"instance": "web-1", "counts": []})).refused(400, "invalid_body");
    send(&sdk, &batch("no name", &json!([]))).refused(400, "invalid_body");
    let mut elsewhere = batch("b", &json!([one]));
    elsewhere["environment"] = "trial".into();
    assert_eq!(tell(&served, &sdk, &elsewhere)["counted"], 1, "the token says where");
    send(&served.admin, &batch("b", &json!([one]))).refused(400, "audience_missing");
    elsewhere["app"] = "shop".into();
    assert_eq!(tell(&served, &served.admin, &elsewhere)["counted"], 1);
    elsewhere["environment"] = "nope".into();
    send(&served.admin, &elsewhere).refused(404, "not_found");
    send(&served.token("sdk-browser"), &batch("b", &json!([one]))).refused(403, "not_allowed");
    elsewhere["environment"] = "live".into();
    send(&served.token("viewer"), &elsewhere).refused(403, "not_allowed");
    served.call(&sdk, "GET", CHECKOUT, &[], &Value::Null).refused(403, "not_allowed");
    served.call(&sdk, "GET", "/v1/stale-flags", &[], &Value::Null).refused(403, "not_allowed");
}

#[test]
fn whoever_waits_for_the_counts_keeps_no_kill_waiting() {
    let counts = Exposures::in_memory(START);
    let log = MemoryLog::new(LogId::new("counts").expect("a name"));
    let served = Served::counting(log, counts.clone());
    served.shop();
    served.flag_on("checkout");
    let told =
        json!({"app": "shop", "environment": "live", "instance": "web-1", "batch": "b-1", "counts": []});
    let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
    let place = place(&app, &live, &FlagKey::new("checkout").expect("a key"));
    // Nobody gets at the counts while they are read here.
    let waiting = counts.read(&place, |_, _| {
        let requests = [("POST", "/v1/exposures", told.to_string()), ("GET", CHECKOUT, String::new())];
        let listing =
            ["/v1/stale-flags", "/v1/stale-flags?app=shop"].map(|path| ("GET", path, String::new()));
        let waiting: Vec<TcpStream> = requests
            .into_iter()
            .chain(listing)
            .map(|(method, path, body)| {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    served.admin,
                    body.len()
                );
                let mut stream = TcpStream::connect(served.address).expect("connected");
                stream.write_all(head.as_bytes()).expect("sent");
                stream
            })
            .collect();
        // By the last of these the only worker has taken up all that was sent before.
        for _ in 0..20 {
            served.post("/v1/apps/shop/flags/checkout/kill", &json!({})).expect(200);
        }
        waiting
    });
    for mut stream in waiting {
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        assert_eq!(status, *b"HTTP/1.1 200");
    }
}

#[test]
fn metrics_tell_how_many_flags_are_stale_and_how_many_answers_were_summed() {
    let log = MemoryLog::new(LogId::new("metrics").expect("a name"));
    let served = Served::on(log, Settings { workers: 1, ..Settings::default() }, crate::served::ungated());
    served.shop();
    served.flag_on("checkout");
    served.flag_on("unused");
    let sdk = served.token("sdk-server");
    let metric = |series: &str| -> f64 {
        let all = served.send("GET", "/metrics", &[], "").text;
        let value = all.lines().find_map(|line| line.strip_prefix(series));
        value.map_or(0.0, |value| value.trim().parse().expect("a number"))
    };
    let (summed, never_asked) =
        ("tidegate_exposures_total{source=\"sdk\"} ", "tidegate_stale_flags{reason=\"never_asked\"} ");
    let (before, stale) = (metric(summed), metric(never_asked));
    tell(&served, &sdk, &batch("b-1", &json!([{"flag": "checkout", "variant": "on", "count": 7}])));
    // Where tests share a process, others sum as well.
    assert!(metric(summed) - before >= 7.0);
    served.clock.advance(DurationMs::days(14));
    assert!(metric(never_asked) - stale > 0.5, "the unused one");
}
