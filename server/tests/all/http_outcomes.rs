//! What apps tell of their requests over HTTP: taken once, summed by variant, and refused one by one where it cannot be.

use crate::served;

use rollout_rules::sli::{GRACE, MAX_REQUESTS, SLOT, Slot};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{Reply, START, Served};

const CHECKOUT: &str = "/v1/apps/shop/flags/checkout/environments/live/outcomes";

/// A shop whose flag `checkout` is on in `live`.
fn shop() -> (Served, String) {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let sdk = served.token("sdk-server");
    (served, sdk)
}

fn summary(variant: &str, slot: UnixMs, requests: u64, bad: u64) -> Value {
    json!({
        "flag": "checkout", "flag_revision": 9, "split": ".exposure", "variant": variant, "slot": slot,
        "outcomes": {
            "units": requests.min(1), "requests": requests, "bad_requests": bad, "cost_micros": 5 * requests,
            "latency": [[20_000, requests]],
        },
    })
}

fn tell(served: &Served, token: &str, batch: &str, summaries: &Value) -> Reply {
    let body = json!({ "instance": "web-1", "batch": batch, "slot": START, "summaries": summaries });
    served.call(token, "POST", "/v1/outcomes", &[], &body)
}

/// Moves on until the slot of the beginning is closed.
pub(crate) fn shown_when_closed(served: &Served, requests: u64) -> Value {
    served.clock.set(Slot::at(START).ends_at().plus(GRACE));
    let began = std::time::Instant::now();
    loop {
        let shown = served.get(CHECKOUT).expect(200);
        let variants = shown["variants"].as_array().expect("variants").iter();
        let sum: u64 = variants.map(|one| one["requests"].as_u64().expect("a number")).sum();
        if sum == requests {
            return shown;
        }
        assert!(began.elapsed().as_secs() < 20, "{shown}");
        std::thread::yield_now();
    }
}

#[test]
fn summaries_are_summed_by_variant_once_and_shown_when_their_slot_is_closed() {
    let (served, sdk) = shop();
    let summaries = json!([summary("on", START, 100, 3), summary("off", START, 300, 0)]);
    let taken = tell(&served, &sdk, "1", &summaries).expect(202);
    assert_eq!(taken, json!({ "added": 2, "repeated": 0, "refused": [], "now": START }));
    let again = tell(&served, &sdk, "1", &summaries).expect(202);
    assert_eq!((&again["added"], &again["repeated"]), (&json!(0), &json!(2)));
    assert_eq!(tell(&served, &sdk, "2", &json!([summary("on", START, 100, 1)])).expect(202)["added"], 1);
    assert_eq!(served.get(CHECKOUT).expect(200)["variants"], json!([]), "the slot is open");
    let shown = shown_when_closed(&served, 500);
    let end = Slot::at(START).ends_at();
    assert_eq!((&shown["until"], &shown["flag"]), (&end.to_string().into(), &"checkout".into()));
    let [off, on] = &shown["variants"].as_array().expect("variants")[..] else { panic!("{shown}") };
    assert_eq!(
        (&off["variant"], &off["requests"], &off["error_rate_millionths"]),
        (&json!("off"), &json!(300), &json!(0))
    );
    assert_eq!(
        (&on["bad_requests"], &on["error_rate_millionths"], &on["cost_micros"], &on["split"]),
        (&json!(4), &json!(20_000), &json!(1_000), &json!(".exposure"))
    );
    let p95 = on["p95_us"].as_u64().expect("a number");
    assert!((18_750..=21_250).contains(&p95), "{p95}");
    // Since the slot after it: nothing.
    let since = served.get(&format!("{CHECKOUT}?since={end}")).expect(200);
    assert_eq!(since["variants"], json!([]));
}

#[test]
fn each_hostile_summary_is_refused_with_its_reason_and_the_rest_is_taken() {
    let (served, sdk) = shop();
    let good = summary("on", START, 100, 3);
    let with = |path: &str, value: Value| {
        let mut one = good.clone();
        *one.pointer_mut(path).expect("a member") = value;
        one
    };
    let soon = START.plus(SLOT).plus(SLOT);
    let long_ago = UnixMs(START.0 - 86_400_000);
    let mut invented = good.clone();
    invented["outcomes"]["colour"] = "red".into();
    let summaries = json!([
        with("/outcomes/requests", json!(-1)),
        with("/outcomes/requests", json!(1.5)),
        with("/outcomes/requests", json!("NaN")),
        with("/outcomes/latency", json!([[-5, 1]])),
        with("/outcomes/requests", json!(MAX_REQUESTS + 1)),
        with("/outcomes/cost_micros", json!(u64::MAX)),
        with("/outcomes/bad_requests", json!(101)),
        with("/outcomes/units", json!(101)),
        with("/outcomes/latency", json!([[20_000, 101]])),
        with("/slot", json!(soon)),
        with("/slot", json!(long_ago)),
        with("/flag", json!("nope")),
        with("/variant", json!("nope")),
        with("/split", json!("not a name")),
        invented,
        json!(7),
        good,
    ]);
    let told = tell(&served, &sdk, "1", &summaries).expect(202);
    let refused = told["refused"].as_array().expect("refused");
    let codes: Vec<&str> = refused.iter().map(|one| one["code"].as_str().expect("a code")).collect();
    assert_eq!(
        codes,
        [
            "malformed",
            "malformed",
            "malformed",
            "malformed",
            "too_many",
            "too_many",
            "more_than_whole",
            "more_than_whole",
            "more_than_whole",
            "from_the_future",
            "too_late",
            "unknown_flag",
            "unknown_variant",
            "malformed",
            "malformed",
            "malformed",
        ]
    );
    assert!(refused.iter().enumerate().all(|(index, one)| one["index"] == index && one["detail"] != ""));
    assert_eq!(told["added"], 1);
    assert_eq!(shown_when_closed(&served, 100)["variants"][0]["bad_requests"], 3);
    // What is no JSON at all, as NaN is none, is no batch.
    let nan = r#"{"instance": "a", "batch": "1", "summaries": [{"outcomes": {"requests": NaN}}]}"#;
    let bearer = format!("Bearer {sdk}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    served.send("POST", "/v1/outcomes", &headers, nan).refused(400, "invalid_json");
}

#[test]
fn what_became_of_all_requests_is_refused_by_itself_with_its_reason() {
    let (served, sdk) = shop();
    let batches = std::cell::Cell::new(0);
    let why = |slot: Option<UnixMs>, all: Value| {
        let summaries = json!([summary("on", START, 1, 0)]);
        let batch = batches.replace(batches.get() + 1).to_string();
        let body = json!({
            "instance": "web-1", "batch": batch, "slot": slot, "summaries": summaries, "all": all,
        });
        let told = served.call(&sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
        assert_eq!((&told["added"], &told["refused"]), (&json!(1), &json!([])), "the rest is taken: {told}");
        told["all_refused"]["code"].clone()
    };
    let whole = json!({ "units": 1, "requests": 2 });
    assert_eq!(why(Some(START), whole.clone()), Value::Null);
    assert_eq!(why(Some(START), json!({ "units": 3, "requests": 2 })), "more_than_whole");
    assert_eq!(why(Some(START), json!({ "units": 1, "requests": -2 })), "malformed");
    assert_eq!(why(Some(START), json!({ "units": 1, "requests": MAX_REQUESTS + 1 })), "too_many");
    assert_eq!(
        why(Some(START.plus(SLOT).plus(SLOT)), json!({ "units": 1, "requests": 4 })),
        "from_the_future"
    );
    assert_eq!(why(Some(UnixMs(START.0 - 86_400_000)), json!({ "units": 1, "requests": 5 })), "too_late");
    assert_eq!(
        why(None, json!({ "units": 1, "requests": 6 })),
        "malformed",
        "of which slot it is, is not said"
    );
}

#[test]
fn more_variants_revisions_or_splits_than_a_flag_has_are_refused_however_many_come() {
    let (served, sdk) = shop();
    let numbered = |member: &'static str, numbers: std::ops::Range<u64>| -> Value {
        let one = |number: u64| {
            let mut one = summary("on", START, 1, 0);
            one[member] = if member == "split" { format!("s-{number}").into() } else { number.into() };
            one
        };
        numbers.map(one).collect()
    };
    let code = |told: &Value| told["refused"][0]["code"].as_str().map(str::to_owned);
    let told = tell(&served, &sdk, "1", &numbered("flag_revision", 0..1_000)).expect(202);
    assert_eq!((&told["added"], code(&told).as_deref()), (&json!(64), Some("too_many_parts")));
    let told = tell(&served, &sdk, "2", &numbered("split", 0..1_000)).expect(202);
    assert_eq!((&told["added"], code(&told).as_deref()), (&json!(63), Some("too_many_splits")));
    tell(&served, &sdk, "3", &numbered("split", 0..1_001)).refused(422, "too_many");
}

#[test]
fn only_who_serves_or_changes_says_what_became_of_requests_and_only_of_its_environment() {
    let (served, sdk) = shop();
    let body = json!([summary("on", START, 1, 0)]);
    for scope in ["viewer", "sdk-browser"] {
        tell(&served, &served.token(scope), "1", &body).refused(403, "not_allowed");
    }
    served.call("", "POST", "/v1/outcomes", &[], &json!({})).refused(401, "unauthenticated");
    let told = json!({ "instance": "web-1", "batch": "1", "summaries": body });
    let elsewhere = served.call(&sdk, "POST", "/v1/outcomes?environment=trial", &[], &told);
    elsewhere.refused(403, "not_allowed");
    let admin = served.admin.clone();
    served.call(&admin, "POST", "/v1/outcomes", &[], &told).refused(400, "audience_missing");
    let named = served.call(&admin, "POST", "/v1/outcomes?app=shop&environment=live", &[], &told).expect(202);
    assert_eq!(named["added"], 1);
    let gone = served.call(&admin, "POST", "/v1/outcomes?app=shop&environment=nope", &[], &told);
    gone.refused(404, "not_found");
    served.get("/v1/apps/shop/flags/nope/environments/live/outcomes").refused(404, "not_found");
    served.get("/v1/apps/shop/flags/checkout/environments/nope/outcomes").refused(404, "not_found");
    served.get(&format!("{CHECKOUT}?since=yesterday")).refused(400, "invalid_parameter");
    // The clock of whoever counts eight days back may be another.
    let old = UnixMs(START.0 - DurationMs::days(8).0 - 60_000);
    served.get(&format!("{CHECKOUT}?since={old}")).expect(200);
    let too_old = UnixMs(START.0 - DurationMs::days(9).0);
    served.get(&format!("{CHECKOUT}?since={too_old}")).refused(400, "invalid_parameter");
}
