//! For how long what decisions were made from is kept.

use std::sync::Arc;

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use tidegate::gate::Gate;
use tidegate::gate::named::Retention;
use tidegate::state::Live;

use super::{LIVE, Part, TRIAL, artifact, fixture, send, wanted};
use crate::served::Served;

const DECISIONS: &str = "/v1/apps/shop/decisions";
const KEPT: DurationMs = DurationMs::days(10);

/// Asks with a report that is another one for each build.
fn judged(served: &Served, nth: u8, path: &str) -> Value {
    let report = String::from_utf8(fixture("clean/evidence/gitleaks.json")).expect("text");
    let padded = format!("{report}{}", " ".repeat(usize::from(nth)));
    let parts = [Part::request(&wanted(nth, &Value::Null)), Part::evidence("gitleaks.json", padded)];
    send(served, &served.admin, path, &parts).expect(200)["decision"].clone()
}

fn deployed(served: &Served, nth: u8, environment: &str) {
    let path = format!("/v1/apps/shop/environments/{environment}/releases");
    served.post(&path, &json!({ "artifact": artifact(nth) })).expect(200);
}

fn of(decision: &Value, below: &str) -> String {
    format!("{DECISIONS}/{}{below}", decision["id"].as_str().expect("an id"))
}

/// Whether the disk has any of the files that a decision alone names; others may have found the same.
fn is_on_disk(gate: &Gate, decision: &Value) -> bool {
    ["facts", "receipt"]
        .iter()
        .any(|name| gate.files().has(&decision[*name].as_str().expect("a name").parse().expect("a digest")))
}

/// Sweeps as often as it takes for what nothing names to go.
fn swept(gate: &Gate, live: &Arc<Live>, served: &Served) {
    for _ in 0..2 {
        gate.sweep(&live.load().folded, served.clock.clock().now()).expect("it is swept");
    }
}

#[test]
fn evidence_goes_after_the_time_that_is_set_but_not_of_what_runs_anywhere_nor_of_what_to_go_back_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::open(folder.path(), Retention(KEPT)).expect("a gate");
    let (served, live) = Served::judging(gate.clone());
    served.shop();
    let good = judged(&served, 1, LIVE);
    deployed(&served, 1, "live");
    let current = judged(&served, 2, LIVE);
    deployed(&served, 2, "live");
    let other = judged(&served, 3, LIVE);
    let elsewhere = judged(&served, 4, LIVE);
    deployed(&served, 4, "trial");
    served.clock.advance(DurationMs(KEPT.0 - 1));
    swept(&gate, &live, &served);
    for decision in [&good, &current, &other, &elsewhere] {
        served.get(&of(decision, "")).expect(200);
        served.get(&of(decision, "/receipt")).expect(200);
    }
    served.clock.advance(DurationMs(1));
    let piece = other["evidence"][0]["kept"].as_str().expect("a digest");
    for below in ["", "/receipt", &format!("/evidence/{piece}")] {
        let gone = served.get(&of(&other, below)).refused(404, "not_found");
        let detail = gone["detail"].as_str().expect("words");
        assert!(detail.contains("was removed by retention at 2027-01-25T08:00:00"), "{detail}");
        assert!(detail.contains("`gate.keep_evidence` keeps it for 10d"), "{detail}");
        assert!(detail.contains(&format!("--artifact {}", artifact(3))), "{detail}");
    }
    swept(&gate, &live, &served);
    assert!(!is_on_disk(&gate, &other), "it is not on disk either");
    let packs = || std::fs::read_dir(folder.path().join("files")).expect("a folder").count();
    assert_eq!(packs(), 3);
    served.clock.advance(DurationMs(KEPT.0 * 100));
    swept(&gate, &live, &served);
    for decision in [&good, &current, &elsewhere] {
        served.get(&of(decision, "")).expect(200);
        served.get(&of(decision, "/receipt")).expect(200);
        assert!(is_on_disk(&gate, decision));
    }
    let listed = served.get(DECISIONS).expect(200);
    let gone = |nth: usize| listed["items"][nth]["evidence_gone"].clone();
    assert_eq!((gone(0), gone(2), gone(3)), (Value::Null, Value::Null, Value::Null));
    assert!(
        gone(1).as_str().expect("words").contains("was removed by retention at 2027-01-25"),
        "{}",
        gone(1)
    );
    assert_eq!(listed["items"][1]["decision"], other, "the decision is still told");
    // What was kept because it ran is kept no longer than that.
    deployed(&served, 3, "live");
    served.get(&of(&good, "")).refused(404, "not_found");
    served.get(&of(&current, "")).expect(200);
}

#[test]
fn a_build_whose_evidence_is_gone_is_judged_anew_by_all_evidence_and_not_by_some_that_is_added() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::open(folder.path(), Retention(KEPT)).expect("a gate");
    let (served, live) = Served::judging(gate.clone());
    served.shop();
    let old = judged(&served, 1, LIVE);
    served.clock.advance(KEPT);
    swept(&gate, &live, &served);
    let report = || Part::evidence("grype.json", fixture("clean/evidence/grype.json"));
    let add = wanted(1, &json!({ "add": true }));
    let refused =
        send(&served, &served.admin, LIVE, &[Part::request(&add), report()]).refused(400, "invalid");
    let detail = refused["detail"].as_str().expect("words");
    assert!(
        detail.contains("was removed by retention") && detail.contains("ask with all evidence"),
        "{detail}"
    );
    // Deployed all the same: what went does not come back, and how it stands says so.
    deployed(&served, 1, "live");
    let standing = served.get(LIVE).expect(200);
    let said = |standing: &Value| standing["decision"]["evidence_gone"].as_str().map(str::to_owned);
    assert!(said(&standing).expect("words").contains("was removed by retention"), "{standing}");
    let missing = standing["missing"].as_array().expect("sentences");
    assert!(missing.iter().any(|it| it.as_str().is_some_and(|it| it.contains("not judged again by itself"))));
    let new = judged(&served, 1, LIVE);
    assert_ne!(new["id"], old["id"]);
    assert_eq!(said(&served.get(LIVE).expect(200)), None);
    send(&served, &served.admin, LIVE, &[Part::request(&add), report()]).expect(200);
    judged(&served, 2, TRIAL);
}
