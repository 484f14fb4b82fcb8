//! Rollouts over REST, with a clock that is moved by hand.

use crate::served;

use rollout_rules::governance::{ByTier, Rules};
use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::{Reply, Served};
use tidegate::http::Settings;

const FLAG: &str = "/v1/apps/shop/flags/checkout";
const ROLLOUT: &str = "/v1/apps/shop/flags/checkout/environments/live/rollout";
const MINUTE: u64 = 60_000;

/// A shop whose flag `checkout` is off.
fn shop() -> Served {
    shop_with(crate::served::ungated())
}

fn shop_with(rules: Rules) -> Served {
    let served = Served::with(Settings { workers: 1, ..Settings::default() }, rules);
    served.shop();
    served.post("/v1/apps/shop/flags", &json!({"key": "checkout"})).expect(201);
    served
}

/// Posts, based on the flag as it is now.
fn act(served: &Served, path: &str, body: &Value) -> Reply {
    let seen = served.get(FLAG).header("etag").to_owned();
    served.call(&served.admin, "POST", path, &[("If-Match", &seen)], body)
}

/// Waits until the rollout is as it should be: timers work in their own time.
#[track_caller]
fn when(served: &Served, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let found = served.get(ROLLOUT).expect(200)["rollout"].clone();
        if is(&found) {
            return found;
        }
        assert!(begun.elapsed().as_secs() < 20, "{what}: {found}");
        std::thread::yield_now();
    }
}

fn after(served: &Served, minutes: u64) {
    served.clock.advance(DurationMs(minutes * MINUTE));
}

#[test]
fn a_rollout_is_started_goes_on_by_the_clock_and_is_completed() {
    let served = shop();
    let none = served.get(ROLLOUT).expect(200);
    assert_eq!((&none["rollout"], &none["default_plan"]), (&Value::Null, &json!("10%/30m,50%/2h,100%")));
    let started = act(&served, ROLLOUT, &json!({"reason": "ready"}));
    let body = started.expect(200);
    assert_eq!(started.header("etag"), format!("\"{}\"", body["revision"]));
    let rollout = &body["rollout"];
    assert_eq!(
        (&rollout["plan"], &rollout["stage"], &rollout["status"], &rollout["waits_for"]),
        (&json!("10%/30m,50%/2h,100%"), &json!(0), &json!("running"), &json!("time"))
    );
    assert_eq!(served.get(FLAG).expect(200)["environments"]["live"]["serving"], "on for 10%");
    after(&served, 30);
    let rollout = when(&served, "the second stage", |found| found["stage"] == 1);
    assert_eq!(rollout["exposure"], 50);
    after(&served, 120);
    let rollout = when(&served, "the end", |found| found["active"] == false);
    assert_eq!((&rollout["status"], &rollout["due_at"]), (&json!("completed"), &Value::Null));
    let state = served.get(FLAG).expect(200)["environments"]["live"].clone();
    assert_eq!((&state["exposure"], &state["rollout"]["status"]), (&json!(100), &json!("completed")));
}

#[test]
fn after_a_long_absence_one_stage_comes_and_is_held() {
    let served = shop();
    act(&served, ROLLOUT, &json!({"plan": "1%/30m,5%/1h,25%/1h,100%"})).expect(200);
    after(&served, 60 * 24);
    when(&served, "one stage", |found| found["stage"] == 1);
    after(&served, 59);
    assert_eq!(served.get(ROLLOUT).expect(200)["rollout"]["stage"], 1);
    after(&served, 1);
    when(&served, "the next stage", |found| found["stage"] == 2);
}

#[test]
fn a_rollout_is_paused_resumed_advanced_and_aborted() {
    let served = shop();
    act(&served, ROLLOUT, &json!({"plan": "1%/30m,approve,25%/1h,100%"})).expect(200);
    served.post(&format!("{ROLLOUT}/resume"), &json!({})).expect(200);
    let paused = served.post(&format!("{ROLLOUT}/pause"), &Value::Null).expect(200);
    assert_eq!(
        (&paused["rollout"]["status"], &paused["rollout"]["due_at"]),
        (&json!("paused"), &Value::Null)
    );
    served.post(&format!("{ROLLOUT}/resume"), &json!({})).refused(428, "revision_required");
    assert_eq!(
        act(&served, &format!("{ROLLOUT}/resume"), &json!({})).expect(200)["rollout"]["status"],
        "running"
    );
    after(&served, 30);
    let waiting = when(&served, "it asks", |found| found["status"] == "waiting");
    assert_eq!(waiting["waits_for"], "approval");
    let refused = act(&served, &format!("{ROLLOUT}/resume"), &json!({})).refused(409, "rollout_not_paused");
    assert_eq!(refused["rollout_status"], "waiting");
    let reason = json!({"reason": "looks well"});
    act(&served, &format!("{ROLLOUT}/advance"), &reason).refused(403, "approvals_needed");
    let command = json!({"do": "advance_rollout", "app": "shop", "flag": "checkout", "environment": "live"});
    let proposed = act(&served, "/v1/proposals", &json!({"command": command})).expect(201);
    assert_eq!(proposed["needed"], 1, "the tier asks for none, the plan does");
    let bob = json!({"scope": "operator", "actor": {"type": "human", "name": "bob"}});
    let bob = served.post("/v1/tokens", &bob).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let seen = served.get(FLAG).header("etag").to_owned();
    let path = format!("{ROLLOUT}/advance");
    let advanced = served.call(&bob, "POST", &path, &[("If-Match", &seen)], &reason).expect(200);
    assert_eq!((&advanced["rollout"]["stage"], &advanced["rollout"]["exposure"]), (&json!(1), &json!(25)));
    act(&served, ROLLOUT, &json!({})).refused(409, "rollout_runs");
    let aborted = served.post(&format!("{ROLLOUT}/abort"), &json!({"reason": "complaints"})).expect(200);
    assert_eq!(aborted["rollout"]["status"], "aborted");
    assert_eq!(served.get(FLAG).expect(200)["environments"]["live"]["serving"], "off");
    let over = act(&served, &format!("{ROLLOUT}/advance"), &json!({})).refused(409, "no_rollout");
    assert_eq!(over["ended"], "aborted");
}

#[test]
fn a_mistake_in_a_plan_is_told_where_it_stands() {
    let served = shop();
    let wrong = act(&served, ROLLOUT, &json!({"plan": "1%/30m,5x%/1h,100%"})).refused(400, "invalid");
    assert_eq!((&wrong["field"], &wrong["at"]), (&json!("plan"), &json!(7)));
    let stages =
        json!([{"exposure": 5, "hold_ms": 60_000}, {"exposure": 1, "hold_ms": 60_000}, {"exposure": 100}]);
    let wrong = act(&served, ROLLOUT, &json!({"stages": stages})).refused(400, "invalid");
    assert_eq!(wrong["field"], "plan.stages[1].exposure");
    act(&served, ROLLOUT, &json!({"plan": "100%", "stages": stages})).refused(400, "invalid");
    act(&served, ROLLOUT, &json!({"plan": "100%", "wish": 1})).refused(400, "invalid_body");
    served.get("/v1/apps/shop/flags/nope/environments/live/rollout").refused(404, "not_found");
    served.get("/v1/apps/shop/flags/checkout/environments/nope/rollout").refused(404, "not_found");
    act(&served, "/v1/apps/shop/flags/checkout/environments/nope/rollout", &json!({}))
        .refused(404, "not_found");
}

#[test]
fn what_the_tier_asks_for_is_proposed_and_approved() {
    let approvals = ByTier { tier0: 1, tier1: 1, tier2: 1 };
    let served = shop_with(Rules { approvals, ..crate::served::ungated() });
    act(&served, ROLLOUT, &json!({})).refused(403, "approvals_needed");
    let command = json!({"do": "start_rollout", "app": "shop", "flag": "checkout", "environment": "live",
        "plan": {"stages": [{"exposure": 20, "hold_ms": 60_000}, {"exposure": 100}]}});
    let proposed = act(&served, "/v1/proposals", &json!({"command": command})).expect(201);
    assert_eq!(proposed["needed"], 1);
    let wanted = json!({"scope": "operator", "actor": {"type": "human", "name": "bob"}});
    let bob = served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let path = format!("/v1/proposals/{}", proposed["id"].as_str().expect("an id"));
    let hash = json!({"hash": proposed["hash"]});
    served.call(&bob, "POST", &format!("{path}/approve"), &[], &hash).expect(200);
    served.post(&format!("{path}/apply"), &hash).expect(200);
    // What was approved is the plan: it goes on by the clock without further approvals.
    after(&served, 1);
    when(&served, "the end", |found| found["status"] == "completed");
}

#[test]
fn the_rollouts_of_an_app_are_listed_a_page_at_a_time() {
    let served = shop();
    served.post("/v1/apps/shop/flags", &json!({"key": "a/b:c"})).expect(201);
    let other = "/v1/apps/shop/flags/a%2Fb:c";
    for environment in ["live", "trial"] {
        let seen = served.get(other).header("etag").to_owned();
        let path = format!("{other}/environments/{environment}/rollout");
        served.call(&served.admin, "POST", &path, &[("If-Match", &seen)], &json!({})).expect(200);
    }
    act(&served, ROLLOUT, &json!({})).expect(200);
    served.post(&format!("{ROLLOUT}/abort"), &json!({})).expect(200);
    let names = |query: &str| {
        let page = served.get(&format!("/v1/apps/shop/rollouts{query}")).expect(200);
        let items = page["items"].as_array().expect("items").iter();
        let name = |item: &Value| {
            format!(
                "{} {}",
                item["flag"].as_str().expect("a name"),
                item["environment"].as_str().expect("a name")
            )
        };
        (items.map(name).collect::<Vec<_>>(), page["next_cursor"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(names("").0, ["a/b:c live", "a/b:c trial", "checkout live"]);
    assert_eq!(names("?active=true").0, ["a/b:c live", "a/b:c trial"]);
    assert_eq!(names("?environment=trial").0, ["a/b:c trial"]);
    let (first, cursor) = names("?limit=1");
    assert_eq!(first, ["a/b:c live"]);
    assert_eq!(names(&format!("?limit=1&cursor={cursor}")).0, ["a/b:c trial"]);
    served.get("/v1/apps/shop/rollouts?cursor=x").refused(400, "invalid_parameter");
    served.get("/v1/apps/nope/rollouts").refused(404, "not_found");
    let bound = served.token("viewer");
    let page = served.call(&bound, "GET", "/v1/apps/shop/rollouts", &[], &Value::Null).expect(200);
    assert_eq!(page["items"].as_array().expect("items").len(), 2, "of live alone");
}

#[test]
fn history_and_explanations_tell_of_a_rollout() {
    let served = shop();
    act(&served, ROLLOUT, &json!({"plan": "10%/30m,100%"})).expect(200);
    after(&served, 1);
    served.post(&format!("{ROLLOUT}/pause"), &json!({"reason": "lunch"})).expect(200);
    let seen = served.get(FLAG).header("etag").to_owned();
    served.patch(&format!("{FLAG}/environments/live"), &seen, &json!({"exposure": 30})).expect(200);
    let history = served.get(&format!("{FLAG}/history")).expect(200);
    let words: Vec<&str> = history["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["what"].as_str().expect("words"))
        .collect();
    assert_eq!(
        words,
        [
            "live: exposure 10% -> 30%; the rollout ended",
            "live: rollout paused at stage 1 of 2 (10%)",
            "live: rollout started: 10%/30m,100%; stage 1 of 2 (10%)",
            "created",
        ]
    );
    let told = served.post(&format!("{FLAG}/environments/live/explain"), &json!({})).expect(200);
    assert_eq!(told["rollout"]["status"], "taken_over");
    let started = history["items"][2]["revision"].as_u64().expect("a revision");
    let then = json!({"revision": started});
    let told = served.post(&format!("{FLAG}/environments/live/explain"), &then).expect(200);
    assert_eq!((&told["rollout"]["status"], &told["rollout"]["stage"]), (&json!("running"), &json!(0)));
    let diff = served.get(&format!("{FLAG}/diff?from={started}")).expect(200);
    let paths: Vec<&str> = diff["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|one| one["path"].as_str().expect("a path"))
        .collect();
    assert_eq!(paths, ["environments.live.exposure", "environments.live.rollout.status"], "{diff}");
}

#[test]
fn a_kill_that_is_in_effect_shows_in_the_rollout_at_once() {
    let served = shop();
    act(&served, ROLLOUT, &json!({})).expect(200);
    served.post("/v1/kill", &json!({"kill_id": "k"})).expect(200);
    let shown = served.get(ROLLOUT).expect(200)["rollout"].clone();
    assert_eq!((&shown["status"], &shown["active"]), (&json!("killed"), &json!(false)));
    after(&served, 30);
    when(&served, "it is written down", |_| {
        let log = served.get("/v1/log?limit=100").expect(200);
        log["items"].as_array().expect("items").iter().any(|item| item["change"]["kind"] == "rollout_ended")
    });
    assert_eq!(served.get(FLAG).expect(200)["environments"]["live"]["exposure"], 10, "nothing is raised");
}
