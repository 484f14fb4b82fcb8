//! What is kept of decisions, and shown.

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};

use super::{
    LIVE, Part, TRIAL, artifact, denied, deployed, digest_of, fixture, gated, of_the_folder, open_shop,
    passing, send, set, wanted,
};
use crate::served::Served;

const DECISIONS: &str = "/v1/apps/shop/decisions";

fn artifacts(served: &Served, query: &str) -> Vec<Value> {
    let page = served.get(&format!("{DECISIONS}{query}")).expect(200);
    let items = page["items"].as_array().expect("items").iter();
    items.map(|item| item["decision"]["artifact"].clone()).collect()
}

#[test]
fn decisions_are_listed_newest_first_a_page_at_a_time_by_environment_and_by_build() {
    let served = open_shop();
    for (nth, path) in [(1, LIVE), (2, TRIAL), (3, LIVE), (1, LIVE)] {
        send(&served, &served.admin, path, &[Part::request(&wanted(nth, &Value::Null))]).expect(200);
    }
    let all = [1, 3, 2, 1].map(|nth| json!(artifact(nth)));
    assert_eq!(artifacts(&served, ""), all, "earlier ones on a build too");
    let live = [1, 3, 1].map(|nth| json!(artifact(nth)));
    assert_eq!(artifacts(&served, "?environment=live"), live);
    assert_eq!(artifacts(&served, &format!("?artifact={}", artifact(2))), all[2..3]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = served.get(&format!("{DECISIONS}?limit=1{cursor}")).expect(200);
        seen.push(page["items"][0]["decision"]["artifact"].clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, all);
    // The build that a page ended with is judged anew before the next is asked for.
    let first = served.get(&format!("{DECISIONS}?limit=1")).expect(200);
    send(&served, &served.admin, LIVE, &[Part::request(&wanted(1, &Value::Null))]).expect(200);
    let rest = format!("?cursor={}", first["next_cursor"].as_str().expect("more"));
    assert_eq!(artifacts(&served, &rest), all[1..]);
    served.get(&format!("{DECISIONS}?state=deny")).refused(400, "invalid_parameter");
    served.get(&format!("{DECISIONS}/no-such")).refused(404, "not_found");
    // A token of one environment sees what was decided for it.
    let only = served.call(&served.token("viewer"), "GET", DECISIONS, &[], &Value::Null).expect(200);
    assert_eq!(only["items"].as_array().expect("items").len(), 4);
    served.call(&served.token("sdk-server"), "GET", DECISIONS, &[], &Value::Null).refused(403, "not_allowed");
}

#[test]
fn evidence_is_kept_without_the_secrets_that_it_names() {
    let served = open_shop();
    let (name, secret) = ("faulty/evidence/gitleaks.json", "not-a-real-p4ssw0rd");
    let (sent, plan) = (fixture(name), fixture("faulty/evidence/tfplan.json"));
    assert!(String::from_utf8_lossy(&sent).contains(secret), "the fixture has one");
    // As code that a scanner quotes.
    let sarif = String::from_utf8(fixture("faulty/evidence/semgrep.sarif")).expect("text");
    let sarif =
        sarif.replacen("\"snippet\":{\"text\":\"", "\"snippet\":{\"text\":\"AKIAIOSFODNN7EXAMPLE ", 1);
    assert!(sarif.contains("AKIA"), "a snippet is there");
    let parts = [
        Part::request(&wanted(1, &Value::Null)),
        Part::evidence("gitleaks.json", sent.clone()),
        Part::evidence("semgrep.sarif", sarif),
        Part::evidence("tfplan.json", plan),
        Part::evidence("notes.txt", "AKIAIOSFODNN7EXAMPLE in some file"),
    ];
    let answer = send(&served, &served.admin, LIVE, &parts);
    let text = answer.text.clone();
    let answer = answer.expect(200);
    let id = answer["decision"]["id"].as_str().expect("an id");
    let mut kept = vec![text, served.get(&format!("{DECISIONS}/{id}")).text];
    let pieces = answer["decision"]["evidence"].as_array().expect("evidence");
    assert_eq!(pieces.len(), 4);
    for piece in pieces {
        let path = format!("{DECISIONS}/{id}/evidence/{}", piece["kept"].as_str().expect("a digest"));
        let reply = served.get(&path);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, "application/octet-stream"),
            "{piece}"
        );
        assert_eq!(digest_of(reply.text.as_bytes()), piece["kept"], "{piece}");
        if piece["format"] == "gitleaks" {
            assert_eq!(piece["digest"], digest_of(&sent));
            assert!(reply.text.contains("src/config.py"), "what was found is there: {}", reply.text);
        }
        kept.push(reply.text);
    }
    for text in kept {
        assert!(!text.contains(secret) && !text.contains("AKIA"), "{text}");
    }
    let other = digest_of(b"another file");
    served.get(&format!("{DECISIONS}/{id}/evidence/{other}")).refused(404, "not_found");
    let log = served.get("/v1/log").text;
    assert!(!log.contains(secret) && !log.contains("AKIA"), "nor has the log any");
}

#[test]
fn how_what_runs_stands_is_told_before_and_after() {
    let served = gated();
    let stands = |path: &str| served.get(path).expect(200);
    let before = stands(LIVE);
    assert_eq!((&before["required"], &before["passing_until"]), (&json!(true), &Value::Null));
    assert!(before["missing"][0].as_str().expect("words").contains("tidegate release deployed"), "{before}");
    deployed(&served, 1);
    let unjudged = stands(LIVE);
    assert_eq!((&unjudged["artifact"], &unjudged["decision"]), (&json!(artifact(1)), &Value::Null));
    let words = unjudged["missing"][0].as_str().expect("words");
    assert!(
        words.contains(&format!("tidegate gate check --app shop --env live --artifact {}", artifact(1))),
        "{words}"
    );
    let answer = passing(&served, 1);
    let after = stands(LIVE);
    assert_eq!(after["missing"], json!([]));
    assert_eq!(after["passing_until"], answer["decision"]["valid_until"]);
    assert_eq!(after["decision"]["decision"], answer["decision"]);
    let trial = stands(TRIAL);
    assert_eq!((&trial["required"], &trial["missing"]), (&json!(false), &json!([])));
    served.get(&LIVE.replace("live", "nowhere")).refused(404, "not_found");
    assert_eq!(open_shop().get(LIVE).expect(200)["required"], false, "where the gate only reports");
}

#[test]
fn a_decision_that_lapsed_stands_again_once_asked_anew_though_no_old_list_of_vulnerabilities_renews_it() {
    let served = gated();
    deployed(&served, 1);
    passing(&served, 1);
    served.clock.advance(DurationMs::days(15));
    let stands = || served.get(LIVE).expect(200)["passing_until"].clone();
    assert_eq!(stands(), Value::Null, "it lapsed");
    passing(&served, 1);
    assert_eq!(stands(), Value::Null, "the scan is of the day that it was made");
    let mut parts = set("clean", &wanted(1, &Value::Null));
    parts.retain(|part| part.file != Some("grype.json") && part.file != Some("trivy.json"));
    parts.extend(of_the_folder());
    let answer = send(&served, &served.admin, LIVE, &parts).expect(200);
    assert_ne!(answer["decision"]["verdict"], "deny", "{}", denied(&answer));
    assert_eq!(stands(), answer["decision"]["valid_until"], "the rest is the same for the same code");
}
