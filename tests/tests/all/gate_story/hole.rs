//! A hole is found in what runs: it is taken back, and comes back only where somebody takes that upon themselves.

use serde_json::{Value, json};
use tidegate_tests::discount::fixtures;
use tidegate_tests::{Discount, eventually};

use super::live::{FLAG, People, apply, proposed, standing};
use crate::receiver::Receiver;

const HOLE: &str = "CVE-2020-14343";

/// What holds the flag, if something does.
fn hold(app: &Discount) -> Option<Value> {
    let flag = app.admin.get(&format!("/v1/apps/discount/flags/{FLAG}")).expect(200);
    Some(flag["environments"]["production"]["hold"].clone()).filter(|hold| !hold.is_null())
}

/// The entries of a kind, the oldest first.
fn entries(app: &Discount, kind: &str) -> Vec<Value> {
    let log = app.admin.get("/v1/log?limit=100").expect(200);
    assert!(log["next_after"].is_null(), "the story is longer than a page");
    let items = log["items"].as_array().expect("a list").iter();
    items.filter(|item| item["change"]["kind"] == kind).cloned().collect()
}

/// The decision on what runs, once it is one of a kind.
fn decided(app: &Discount, occasion: &str, verdict: &str) -> Value {
    eventually(&format!("it is judged again: {occasion}, {verdict}"), || {
        let decision = standing(app)["decision"]["decision"].clone();
        (decision["occasion"] == occasion && decision["verdict"] == verdict).then_some(decision)
    })
}

/// A report of holes comes in by itself, days after the build: the flag goes off, and the owner is told.
pub(crate) fn is_found(app: &Discount, people: &People, owner: &Receiver) {
    let report = fixtures().join("faulty/evidence/grype.json");
    let report = report.to_str().expect("a path");
    let ended = app.pipeline.run(&app.check(&["--add", "--no-discover", "--evidence", report])).expect(1);
    ended.says(HOLE);
    people.are_no_more_served_it();
    let hold = hold(app).expect("a hold");
    assert_eq!(hold["cause"], "gate", "{hold}");
    let acts = entries(app, "guardrail_acted");
    let [act] = acts.as_slice() else { panic!("it acts once: {acts:?}") };
    assert_eq!(act["change"]["act"]["cause"], "gate_denied", "{act}");
    assert_eq!(act["change"]["act"]["effects"], json!([{"notify": "owner"}]), "{act}");
    // Through the channel that the app names as its owner.
    owner.called();
    let done = eventually("it is in the log that the owner was told", || entries(app, "effect_done").pop());
    assert_eq!((&done["change"]["request"], &done["change"]["succeeded"]), (&act["revision"], &json!(true)));
    app.ada.run(&["gate", "explain", "latest"]).expect(0).says("upgrade pyyaml to 5.4");

    let id = proposed(app, "40%");
    let refused = apply(app, &id).expect(6);
    refused.says("vulnerabilities: failed");
    refused.says("tidegate gate explain");
    app.ada.run(&["flag", "show", FLAG]).expect(0).says("the gate denies");
}

/// There is a version without the hole, so that no waiver helps.
pub(crate) fn cannot_be_waived(app: &Discount) {
    let reason = "--reason=we only ever load files of our own";
    let asked = |finding: &str, risk: &str| -> Vec<String> {
        let words = ["waiver", "request", "--check", "vulnerabilities", "--expires", "7d", reason];
        let named = ["--finding", finding, "--risk", risk];
        words.iter().chain(&named).map(|word| (*word).to_owned()).collect()
    };
    let run = |words: &[String]| app.ada.run(&words.iter().map(String::as_str).collect::<Vec<&str>>());
    run(&asked(HOLE, "all of it")).expect(2).says(HOLE);
    run(&asked(HOLE, HOLE)).expect(2).says("it can be mended");
    // Nor by its fingerprint.
    let answer = app.ada.json(&["gate", "explain", "latest"]);
    let checks = answer["judgement"]["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == "vulnerabilities").expect("the check");
    let fingerprint = found["findings"][0]["finding"]["fingerprint"].as_str().expect("a fingerprint");
    run(&asked(fingerprint, HOLE)).expect(1).says("upgrade pyyaml to 5.4");
    app.ada.run(&["gate", "show", "--env", "production"]).expect(6).says("vulnerabilities: failed");
}

/// Ben answers for it: for an hour the flag may be on, and with his word it goes.
pub(crate) fn is_taken_upon_oneself_for_an_hour(app: &Discount, people: &People) {
    let glass = ["waiver", "break-glass", "--check", "vulnerabilities", "--env", "production"];
    let glass: Vec<&str> =
        glass.into_iter().chain(["--reason=the shop cannot sell without it today"]).collect();
    app.ada.run(&glass).expect(7);
    let waiver = app.ben.json(&glass)["waiver"].clone();
    decided(app, "waiver_changed", "warn");
    let until = standing(app)["passing_until"].clone();
    assert_eq!(until, waiver["expires_at"], "no longer than the hour");
    assert!(hold(app).is_some(), "nothing comes back by itself");
    people.are_no_more_served_it();
    apply(app, &proposed(app, "50%")).expect(0);
    people.are_served_it();

    app.ben.run(&["waiver", "revoke", waiver["id"].as_str().expect("an id")]).expect(0);
    people.are_no_more_served_it();
    assert_eq!(entries(app, "guardrail_acted").len(), 2, "it is taken back again");
}
