//! What the gate binds: raising in production, and what serves a build that is denied.

use rollout_rules::gate::facts::MAX_ADDED;
use rollout_rules::time::DAY;
use serde_json::{Value, json};

use super::{
    LIVE, Part, deployed, entry, fixture, gated, log, of_the_folder, passing, person, send, set, wanted,
};
use crate::served::{Reply, Served};

const STATE: &str = "/v1/apps/shop/flags/f/environments/live";

fn raise(served: &Served, revision: &str) -> Reply {
    served.patch(STATE, revision, &json!({ "on": true, "exposure": 100, "serve": { "variant": "on" } }))
}

#[test]
fn a_flag_goes_on_in_production_once_what_runs_has_passed() {
    let served = gated();
    let made = served.post("/v1/apps/shop/flags", &json!({ "key": "f" }));
    let revision = made.header("etag").to_owned();
    let refused = raise(&served, &revision).refused(403, "gate_missing");
    let missing = refused["missing"][0].as_str().expect("words");
    assert!(missing.contains("`tidegate gate check --app shop --env live"), "{missing}");
    assert!(missing.contains("`tidegate release deployed"), "{missing}");
    // Elsewhere nobody asks.
    let trial = STATE.replace("live", "trial");
    let revision = served.patch(&trial, &revision, &json!({ "on": true })).header("etag").to_owned();
    passing(&served, 1);
    raise(&served, &revision).refused(403, "gate_missing");
    deployed(&served, 1);
    raise(&served, &revision).expect(200);
    // Another build runs, that nobody judged: what is on stays, and may be lowered.
    deployed(&served, 2);
    let seen = served.get(STATE).header("etag").to_owned();
    assert_eq!(served.get(STATE).expect(200)["on"], true);
    let lowered = served.patch(STATE, &seen, &json!({ "exposure": 10 }));
    lowered.expect(200);
    let refused = raise(&served, lowered.header("etag")).refused(403, "gate_missing");
    assert!(refused["missing"][0].as_str().expect("words").contains("never judged"), "{refused}");
}

/// Applies a proposal to turn the flag on, approved by somebody in a role.
fn raised_with_approval(served: &Served) {
    let bo = person(served, "bo", "operator");
    served.post("/v1/gate/roles", &json!({ "role": "platform", "person": "bo", "app": "shop" })).expect(200);
    let seen = served.get(STATE).header("etag").to_owned();
    raise(served, &seen).refused(403, "approvals_needed");
    let command = json!({
        "do": "set_targeting", "app": "shop", "flag": "f", "environment": "live", "on": true, "exposure": 100,
        "serve": { "variant": "on" },
    });
    let body = json!({ "command": command });
    let proposal = served
        .call(&served.admin, "POST", "/v1/proposals", &[("If-Match", seen.as_str())], &body)
        .expect(201);
    let (id, hash) = (proposal["id"].as_str().expect("an id"), &proposal["hash"]);
    let approve = |body: &Value| served.call(&bo, "POST", &format!("/v1/proposals/{id}/approve"), &[], body);
    let apply = || served.post(&format!("/v1/proposals/{id}/apply"), &json!({ "hash": hash }));
    let asked = |by: Value| json!([{ "role": "platform", "by": by }]);
    assert_eq!((&proposal["roles"], &proposal["counted"]), (&asked(Value::Null), &json!(0)));
    assert_eq!(proposal["gate_missing"], json!([]), "the build has passed");
    let approved = approve(&json!({ "hash": hash })).expect(200);
    assert_eq!((&approved["counted"], &approved["needed"]), (&json!(1), &json!(1)));
    assert_eq!(approved["roles"], asked(Value::Null), "enough people, and nobody in the role");
    assert_eq!(apply().refused(403, "roles_missing")["roles"], json!(["platform"]));
    assert_eq!(
        approve(&json!({ "hash": hash, "role": "security" })).refused(403, "role_needed")["role"],
        "security"
    );
    let approved = approve(&json!({ "hash": hash, "role": "platform" })).expect(200);
    let roles: Vec<&Value> =
        approved["approvals"].as_array().expect("approvals").iter().map(|one| &one["role"]).collect();
    assert!(roles.contains(&&json!("platform")), "{approved}");
    let bo = json!({ "type": "human", "name": "bo" });
    assert_eq!((&approved["counted"], &approved["roles"]), (&json!(1), &asked(bo)), "one person counts once");
    let applied = apply().expect(200);
    assert_eq!(applied.get("roles"), None, "nothing is waited for any more");
}

#[test]
fn who_raises_without_gate_and_approvals_is_told_of_both_and_so_is_who_reads_the_proposal() {
    let served = gated();
    let app = served.get("/v1/apps/shop");
    served.patch("/v1/apps/shop", app.header("etag"), &json!({ "tier": 2 })).expect(200);
    let made = served.post("/v1/apps/shop/flags", &json!({ "key": "f" }));
    let refused = raise(&served, made.header("etag")).refused(403, "gate_missing");
    assert_eq!((&refused["needed"], &refused["have"]), (&json!(2), &json!(0)), "{refused}");
    assert_eq!(refused["roles"], json!(["security", "business_owner"]));
    let missing: Vec<&str> =
        refused["missing"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert!(missing[0].contains("tidegate gate check"), "the gate comes first: {missing:?}");
    assert!(
        missing.last().is_some_and(|last| last.contains("as security and as business_owner")),
        "{missing:?}"
    );
    let command =
        json!({ "do": "set_targeting", "app": "shop", "flag": "f", "environment": "live", "on": true });
    let seen = [("If-Match", made.header("etag"))];
    let body = json!({ "command": command });
    let proposal = served.call(&served.admin, "POST", "/v1/proposals", &seen, &body).expect(201);
    assert!(
        proposal["gate_missing"][0].as_str().is_some_and(|line| line.contains("gate check")),
        "{proposal}"
    );
    assert_eq!(proposal["roles"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_vulnerability_that_is_found_later_takes_the_flag_down_and_tells_the_owner() {
    let served = gated();
    let app = served.get("/v1/apps/shop");
    served.patch("/v1/apps/shop", app.header("etag"), &json!({ "tier": 1 })).expect(200);
    served.post("/v1/apps/shop/flags", &json!({ "key": "f" })).expect(201);
    let before = passing(&served, 1);
    assert_eq!(before["decision"]["tier"], 1);
    deployed(&served, 1);
    raised_with_approval(&served);
    let sdk = served.token("sdk-server");
    let answers = || served.check(&sdk, "f", &json!({ "targetingKey": "ann" })).expect(200)["value"].clone();
    assert_eq!(answers(), true);
    let mut log = log(&served);
    let found = Part::evidence("grype.json", fixture("faulty/evidence/grype.json"));
    let request = Part::request(&wanted(1, &json!({ "add": true, "reason": "the nightly scan" })));
    let answer = send(&served, &served.token("ci"), LIVE, &[request, found]).expect(200);
    assert_eq!(
        (&answer["decision"]["verdict"], &answer["decision"]["occasion"]),
        (&json!("deny"), &json!("new_evidence"))
    );
    assert_eq!(super::denied_checks(&answer), ["vulnerabilities"]);
    let pieces = |answer: &Value| answer["decision"]["evidence"].as_array().expect("evidence").len();
    assert_eq!(pieces(&answer), pieces(&before) + 1);
    let act = entry(&mut log, "guardrail_acted")["act"].clone();
    assert_eq!(
        (&act["environment"], &act["effects"]),
        (&json!("live"), &json!([{ "notify": "owner" }])),
        "{act}"
    );
    assert_eq!(answers(), false, "the off variant");
    let state = served.get(STATE).expect(200);
    assert_eq!(state["hold"]["cause"], "gate");
    let id = answer["decision"]["id"].as_str().expect("an id");
    assert!(state["hold"]["reason"].as_str().expect("words").contains(id), "{state}");
    let effects = served.get("/v1/apps/shop/effects").expect(200);
    assert_eq!(effects["items"][0]["action"], "notify owner", "{effects}");
}

/// A list of vulnerabilities that says when it was made, without or with what is found in one build.
fn nightly(kind: &str, night: usize) -> Part<'static> {
    let mut report: Value =
        serde_json::from_slice(&fixture(&format!("{kind}/evidence/grype.json"))).expect("JSON");
    report["descriptor"]["timestamp"] =
        json!(format!("2026-{:02}-{:02}T02:00:00Z", 2 + night / 28, 1 + night % 28));
    Part::evidence("grype.json", report.to_string())
}

#[test]
fn a_build_is_scanned_every_night_for_as_long_as_it_runs_and_what_was_found_once_stays() {
    let served = gated();
    let app = served.get("/v1/apps/shop");
    served.patch("/v1/apps/shop", app.header("etag"), &json!({ "tier": 1 })).expect(200);
    let first = passing(&served, 1);
    let nights = MAX_ADDED + 5;
    let adds = || Part::request(&wanted(1, &json!({ "add": true })));
    let pieces = |answer: &Value| answer["decision"]["evidence"].as_array().expect("evidence").len();
    let mut answer = Value::Null;
    for night in 0..nights {
        served.clock.advance(DAY);
        answer = send(&served, &served.admin, LIVE, &[adds(), nightly("clean", night)]).expect(200);
        assert_ne!(answer["decision"]["verdict"], "deny", "{night}: {}", super::denied(&answer));
    }
    assert_eq!(pieces(&answer), pieces(&first) + MAX_ADDED, "older ones said no more than newer ones");
    let until = |answer: &Value| answer["decision"]["valid_until"].as_str().expect("a time").to_owned();
    let mut anew = set("clean", &wanted(1, &Value::Null));
    anew.retain(|part| part.file != Some("grype.json"));
    anew.push(nightly("clean", nights));
    anew.extend(of_the_folder());
    let anew = send(&served, &served.admin, LIVE, &anew).expect(200);
    assert!(until(&anew) > until(&answer), "old scans do not keep a build from being judged anew: {anew}");
    let found = send(&served, &served.admin, LIVE, &[adds(), nightly("faulty", 1)]).expect(200);
    assert_eq!(found["decision"]["verdict"], "deny");
    for night in nights + 1..nights + MAX_ADDED + 2 {
        served.clock.advance(DAY);
        answer = send(&served, &served.admin, LIVE, &[adds(), nightly("clean", night)]).expect(200);
    }
    assert_eq!(super::denied_checks(&answer), super::denied_checks(&found));
}

#[test]
fn other_files_never_fill_the_room_of_what_a_build_is_denied_for_later() {
    let served = gated();
    let app = served.get("/v1/apps/shop");
    served.patch("/v1/apps/shop", app.header("etag"), &json!({ "tier": 1 })).expect(200);
    passing(&served, 1);
    let adds = || Part::request(&wanted(1, &json!({ "add": true })));
    let run = |nth: usize| {
        let text = format!("<testsuite><testcase name=\"test_{nth}\"/></testsuite>");
        Part::evidence("junit.xml", text)
    };
    for nth in 0..MAX_ADDED / 2 {
        send(&served, &served.admin, LIVE, &[adds(), run(nth)]).expect(200);
    }
    let refused = send(&served, &served.admin, LIVE, &[adds(), run(99)]).refused(422, "too_many");
    assert!(refused["detail"].as_str().is_some_and(|said| said.contains("10 are no scans")), "{refused}");
    let found = send(&served, &served.admin, LIVE, &[adds(), nightly("faulty", 1)]).expect(200);
    assert_eq!(super::denied_checks(&found), ["vulnerabilities"]);
}
