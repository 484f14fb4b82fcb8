//! Why a flag answered so, what became of it, what differs, and back to what it was, over REST.

use crate::served;

use rollout_rules::governance::{ByTier, Rules};
use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::{Reply, Served};
use tidegate::http::Settings;

const STATE: &str = "/v1/apps/shop/flags/checkout/environments/live";
const FLAG: &str = "/v1/apps/shop/flags/checkout";
const HOUR: DurationMs = DurationMs(3_600_000);

fn explain(served: &Served, question: &Value) -> Reply {
    served.post(&format!("{STATE}/explain"), question)
}

fn revision(reply: &Reply) -> u64 {
    reply.header("etag").trim_matches('"').parse().expect("a revision")
}

/// Sets something in `live`, whatever the flag's revision is; gives the new one.
#[track_caller]
fn set(served: &Served, patch: &Value) -> u64 {
    let seen = served.get(FLAG);
    let changed = served.patch(STATE, seen.header("etag"), patch);
    changed.expect(200);
    revision(&changed)
}

fn words(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["what"].as_str().expect("words"))
        .collect()
}

#[test]
fn an_explanation_gives_the_answer_of_a_check_and_its_steps() {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let rule = json!({"id": "staff", "when": {"attribute": "mail", "op": "ends_with", "values": ["@x.example"]},
        "serve": {"variant": "off"}});
    set(&served, &json!({"rules": [rule], "exposure": 30}));
    let token = served.token("sdk-server");
    for context in [
        json!({"targetingKey": "ann", "mail": "ann@x.example"}),
        json!({"targetingKey": "bob"}),
        json!({"targetingKey": "joe", "mail": 7}),
    ] {
        let told = explain(&served, &json!({ "context": context })).expect(200);
        let checked = served.check(&token, "checkout", &context).expect(200);
        let explanation = &told["explanation"];
        assert_eq!(
            (&explanation["variant"], &explanation["value"]),
            (&checked["variant"], &checked["value"])
        );
        let steps = explanation["steps"].as_array().expect("steps");
        assert_eq!(steps[0]["step"], "kill");
        assert_eq!(steps.last().expect("one decides")["decides"], true);
    }
    let told = explain(&served, &json!({})).expect(200);
    assert_eq!((&told["explanation"]["reason"], &told["killed"]), (&json!("no_unit"), &Value::Null));
    served.post(&format!("{FLAG}/kill"), &json!({"kill_id": "k-1"})).expect(200);
    let told = explain(&served, &json!({"context": {"targetingKey": "ann"}})).expect(200);
    assert_eq!(
        (&told["explanation"]["reason"], &told["killed"]["id"]),
        (&json!("killed_flag"), &json!("k-1"))
    );
}

#[test]
fn a_kill_is_named_wherever_it_stopped_something() {
    let served = Served::start();
    served.shop();
    served.flag_on("base");
    served.flag_on("checkout");
    let wanted = json!([{"flag": "base", "variants": ["on"]}]);
    let before = set(&served, &json!({ "prerequisites": wanted }));
    served.post("/v1/apps/shop/flags/base/kill", &json!({"kill_id": "of-base"})).expect(200);
    let told = explain(&served, &json!({"context": {"targetingKey": "ann"}})).expect(200);
    assert_eq!(
        (&told["explanation"]["reason"], &told["killed"]),
        (&json!("prerequisite_failed"), &Value::Null)
    );
    let steps = told["explanation"]["steps"].as_array().expect("steps");
    let base = &steps.last().expect("one decides")["steps"];
    assert_eq!((&base[2]["height"], &base[2]["kill"]["id"]), (&json!("flag"), &json!("of-base")), "{base}");
    // A kill of the flag itself is its own, not that of what it depends on.
    served.post(&format!("{FLAG}/kill"), &json!({"kill_id": "of-checkout"})).expect(200);
    let told = explain(&served, &json!({"context": {"targetingKey": "ann"}})).expect(200);
    assert_eq!(told["explanation"]["steps"][2]["kill"]["id"], "of-checkout", "{told}");
    let then = explain(&served, &json!({"revision": before})).expect(200);
    assert!(!then.to_string().contains("of-"), "{then}");
}

#[test]
fn a_past_moment_is_judged_by_what_was_set_then_and_by_the_clock_of_then() {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let on = set(&served, &json!({"exposure": 50}));
    let then = served.clock.clock().now();
    served.clock.advance(HOUR);
    set(&served, &json!({"on": false}));
    served.post(&format!("{FLAG}/kill"), &json!({"kill_id": "k-1"})).expect(200);
    served.clock.advance(DurationMs::days(30));
    let ann = json!({"targetingKey": "ann"});
    let reason = |question: Value| {
        let told = explain(&served, &question).expect(200);
        let (log, at) = (told["log_revision"].as_u64().expect("a revision"), told["at"].clone());
        (told["explanation"]["reason"].as_str().expect("a reason").to_owned(), log, at)
    };
    let (now, _, _) = reason(json!({"context": ann}));
    assert_eq!(now, "killed_flag");
    // Today it would be expired: then it was not.
    let (by_revision, log, at) = reason(json!({"context": ann, "revision": on}));
    assert!(["exposed", "not_exposed"].contains(&by_revision.as_str()), "{by_revision}");
    assert_eq!((log, at), (on, json!(then)));
    let half_an_hour_later = then.plus(DurationMs(1_800_000));
    let (by_time, log, at) = reason(json!({"context": ann, "at": half_an_hour_later.to_string()}));
    assert_eq!((by_time, log, at), (by_revision.clone(), on, json!(half_an_hour_later)));
    let (in_ms, _, _) = reason(json!({"context": ann, "at": half_an_hour_later.0}));
    assert_eq!(in_ms, by_revision);
    assert_eq!(reason(json!({"context": ann, "at": then.plus(HOUR).to_string()})).0, "killed_flag");
    // Before it was made it was not there, and what is not there yet cannot be asked about.
    explain(&served, &json!({"context": ann, "revision": 1})).refused(404, "not_found");
    explain(&served, &json!({"context": ann, "at": 5})).refused(404, "not_found");
    let ahead = explain(&served, &json!({"context": ann, "revision": 1_000})).refused(400, "invalid");
    assert!(ahead["head"].is_u64(), "{ahead}");
    explain(&served, &json!({"context": ann, "revision": 1, "at": 5})).refused(400, "invalid");
    explain(&served, &json!({"context": {"targetingKey": 5}})).refused(400, "invalid_context");
    explain(&served, &json!({"contexts": {}})).refused(400, "invalid_body");
}

#[test]
fn who_may_not_read_an_environment_is_told_nothing_of_it() {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let (viewer, sdk) = (served.token("viewer"), served.token("sdk-server"));
    let trial = "/v1/apps/shop/flags/checkout/environments/trial";
    let ask = |token: &str, path: &str, body: &Value| served.call(token, "POST", path, &[], body);
    let get = |token: &str, path: &str| served.call(token, "GET", path, &[], &Value::Null);
    ask(&viewer, &format!("{STATE}/explain"), &json!({})).expect(200);
    ask(&viewer, &format!("{trial}/explain"), &json!({})).refused(403, "not_allowed");
    ask(&sdk, &format!("{STATE}/explain"), &json!({})).refused(403, "not_allowed");
    ask(&sdk, &format!("{STATE}/revert"), &json!({"to": 1})).refused(403, "not_allowed");
    ask(&viewer, &format!("{trial}/revert"), &json!({"to": 1})).refused(403, "not_allowed");
    // Nor is the log folded for who may change nothing: that it does not go so far is not found out.
    ask(&viewer, &format!("{STATE}/revert"), &json!({"to": 100_000})).refused(403, "not_allowed");
    get(&sdk, &format!("{FLAG}/history")).refused(403, "not_allowed");
    get(&sdk, &format!("{FLAG}/diff?from=1")).refused(403, "not_allowed");
    let seen = served.get(FLAG);
    served.patch(trial, seen.header("etag"), &json!({"on": true})).expect(200);
    let all = served.get(&format!("{FLAG}/history")).expect(200);
    assert_eq!(words(&all)[0], "trial: turned on");
    let bound = get(&viewer, &format!("{FLAG}/history")).expect(200);
    assert!(!bound.to_string().contains("trial"), "{bound}");
    let bound = get(&viewer, &format!("{FLAG}/diff?from=3")).expect(200);
    assert!(!bound.to_string().contains("trial"), "{bound}");
}

#[test]
fn a_history_tells_newest_first_what_each_entry_changed() {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    served.flag_on("other");
    set(&served, &json!({"exposure": 10, "reason": "slowly"}));
    let rule = json!({"id": "staff", "when": {"all": []}, "serve": {"variant": "on"}});
    set(&served, &json!({"rules": [rule], "exposure": 30}));
    let seen = served.get(FLAG);
    served.patch(FLAG, seen.header("etag"), &json!({"owner": "ada"})).expect(200);
    served.post("/v1/apps/shop/kill", &json!({"kill_id": "k-1"})).expect(200);
    let page = served.get(&format!("{FLAG}/history")).expect(200);
    assert_eq!(
        words(&page),
        [
            "KILLED the app",
            "owner none -> ada",
            "live: exposure 10% -> 30%; rule staff added",
            "live: exposure 100% -> 10%",
            "live: turned on",
            "created",
        ]
    );
    let slowly = &page["items"][3];
    assert_eq!((&slowly["reason"], &slowly["actor"]["name"]), (&json!("slowly"), &json!("ada")));
    assert_eq!((&slowly["kind"], &slowly["environment"]), (&json!("targeting_changed"), &json!("live")));
    assert_eq!(slowly["changes"], json!([{"path": "exposure", "before": 100, "after": 10}]));
    let mut all = Vec::new();
    let mut path = format!("{FLAG}/history?limit=2");
    loop {
        let page = served.get(&path).expect(200);
        all.extend(page["items"].as_array().expect("items").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{FLAG}/history?limit=2&cursor={cursor}");
    }
    assert_eq!(json!(all), page["items"]);
    served.get("/v1/apps/shop/flags/none/history").refused(404, "not_found");
}

#[test]
fn a_diff_tells_what_differs_in_the_definition_and_in_each_environment() {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let first = revision(&served.get(FLAG));
    let second = set(&served, &json!({"exposure": 10, "targets": [{"variant": "on", "units": ["ann"]}]}));
    let seen = served.get(FLAG);
    served.patch(FLAG, seen.header("etag"), &json!({"description": "the new one"})).expect(200);
    let diff = |query: &str| served.get(&format!("{FLAG}/diff?{query}")).expect(200);
    let one = diff(&format!("from={first}&to={second}"));
    let targets = json!({"variant": "on", "units": ["ann"]});
    assert_eq!(
        one["changes"],
        json!([
            {"path": "environments.live.exposure", "before": 100, "after": 10},
            {"path": "environments.live.targets[on]", "before": null, "after": targets},
        ])
    );
    assert_eq!((&one["from"]["revision"], &one["to"]["revision"]), (&json!(first), &json!(second)));
    let to_now = diff(&format!("from={second}"));
    assert_eq!(to_now["changes"], json!([{"path": "description", "before": null, "after": "the new one"}]));
    let back = diff(&format!("from={second}&to={first}"));
    assert_eq!(back["changes"][0], json!({"path": "environments.live.exposure", "before": 10, "after": 100}));
    assert_eq!(diff(&format!("from={first}&to={first}"))["changes"], json!([]));
    // Before it was made, all of it is new.
    assert_eq!(diff(&format!("from=1&to={first}"))["changes"][0]["before"], Value::Null);
    served.get(&format!("{FLAG}/diff")).refused(400, "invalid_parameter");
    served.get(&format!("{FLAG}/diff?from=99999")).refused(400, "invalid");
    served.get("/v1/apps/shop/flags/none/diff?from=1").refused(404, "not_found");
}

#[test]
fn going_back_is_a_new_change_with_all_that_is_asked_of_one() {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let rule = json!({"id": "staff", "when": {"all": []}, "serve": {"variant": "on"}});
    let good = set(&served, &json!({"exposure": 10, "rules": [rule]}));
    let bad = set(&served, &json!({"exposure": 90, "rules": [], "serve": {"variant": "off"}}));
    let revert = |if_match: &str, body: &Value| {
        let headers = [("If-Match", if_match)];
        let headers = if if_match.is_empty() { &headers[..0] } else { &headers[..] };
        served.call(&served.admin, "POST", &format!("{STATE}/revert"), headers, body)
    };
    let back = json!({ "to": good });
    revert("", &back).refused(428, "revision_required");
    revert(&format!("\"{good}\""), &back).refused(412, "stale");
    let reverted = revert(&format!("\"{bad}\""), &back);
    let live = reverted.expect(200)["environments"]["live"].clone();
    assert_eq!(
        (&live["exposure"], &live["rules"], &live["serve"]),
        (&json!(10), &json!([rule]), &json!({"variant": "on"}))
    );
    assert!(revision(&reverted) > bad);
    let newest = served.get(&format!("{FLAG}/history?limit=1")).expect(200)["items"][0].clone();
    assert_eq!(
        (&newest["kind"], &newest["reason"]),
        (&json!("targeting_changed"), &json!(format!("back to revision {good}")))
    );
    // It is so already: nothing is written.
    let again = revert(reverted.header("etag"), &back);
    assert_eq!(revision(&again), revision(&reverted));
    // What lies above stays where it is.
    served.post(&format!("{FLAG}/kill"), &json!({"kill_id": "k-1"})).expect(200);
    let seen = served.get(FLAG).header("etag").to_owned();
    revert(&seen, &json!({ "to": bad })).refused(409, "killed");
    revert(&seen, &json!({"to": 1})).refused(404, "not_found");
    revert(&seen, &json!({"to": 100_000})).refused(400, "invalid");
}

#[test]
fn an_agent_only_proposes_to_go_back_and_a_tier_asks_its_approvals() {
    let rules = Rules { approvals: ByTier { tier0: 0, tier1: 1, tier2: 2 }, ..crate::served::ungated() };
    let served = Served::with(Settings { workers: 1, ..Settings::default() }, rules);
    served.shop();
    served.flag_on("checkout");
    let good = revision(&served.get(FLAG));
    set(&served, &json!({"exposure": 10}));
    served.call(&served.admin, "PATCH", "/v1/apps/shop", &[], &json!({"tier": 1})).expect(200);
    let seen = served.get(FLAG).header("etag").to_owned();
    let path = format!("{STATE}/revert");
    let revert = |extra: &[(&str, &str)], body: &Value| {
        let mut headers = vec![("If-Match", seen.as_str())];
        headers.extend_from_slice(extra);
        served.call(&served.admin, "POST", &path, &headers, body)
    };
    revert(&[], &json!({ "to": good })).refused(403, "approvals_needed");
    let agent = [("Tidegate-Agent", "model=m; tool=t; on-behalf-of=ada"), ("Idempotency-Key", "once-1")];
    revert(&agent, &json!({ "to": good })).refused(403, "agents_only_propose");
    let propose = json!({"to": good, "propose": true, "reason": "it was better"});
    let proposed = revert(&agent, &propose).expect(201);
    assert_eq!(
        (&proposed["command"]["do"], &proposed["command"]["exposure"]),
        (&json!("set_targeting"), &json!(100))
    );
    assert_eq!((&proposed["needed"], &proposed["reason"]), (&json!(1), &json!("it was better")));
    assert_eq!(revert(&agent, &propose).expect(201)["id"], proposed["id"]);
    assert_eq!(served.get("/v1/proposals").expect(200)["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(served.get(STATE).expect(200)["exposure"], 10);
    let history = served.get(&format!("{FLAG}/history?limit=1")).expect(200);
    let id = proposed["id"].as_str().expect("an id");
    assert_eq!(words(&history), [format!("proposed {id}: set targeting in live")]);
}
