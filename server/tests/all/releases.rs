//! Releases over HTTP: telling of a deployment, looking at what runs, and what the job of a revert is told.

use crate::receiver;
use crate::served;

use receiver::{Message, Receiver};
use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::{Reply, Served};

const LIVE: &str = "/v1/apps/shop/environments/live/releases";
const TRIAL: &str = "/v1/apps/shop/environments/trial/releases";

fn artifact(nth: u8) -> String {
    format!("sha256:{nth:064x}")
}

fn tell(served: &Served, token: &str, path: &str, nth: u8) -> Reply {
    served.call(token, "POST", path, &[], &json!({ "artifact": artifact(nth) }))
}

fn shop() -> Served {
    let served = Served::start();
    served.shop();
    served
}

#[test]
fn a_pipeline_tells_what_it_deploys_and_everybody_who_reads_sees_what_runs_and_what_to_go_back_to() {
    let served = shop();
    let ci = served.token("ci");
    let empty =
        json!({ "app": "shop", "environment": "live", "items": [], "current": null, "previous_good": null });
    assert_eq!(served.get(LIVE).expect(200), empty);
    let body = json!({ "artifact": artifact(1), "version": "1.4.1", "reason": "merged" });
    let told = served.call(&ci, "POST", LIVE, &[], &body);
    let first = told.expect(200);
    assert_eq!(
        (&first["current"], &first["already"], &first["version"]),
        (&json!(true), &json!(false), &json!("1.4.1"))
    );
    assert_eq!(told.header("etag"), format!("\"{}\"", first["revision"]));
    // Once more, as a pipeline does that is run again.
    let again = served.call(&ci, "POST", LIVE, &[], &body).expect(200);
    assert_eq!((&again["already"], &again["revision"]), (&json!(true), &first["revision"]));
    tell(&served, &served.admin, LIVE, 2).expect(200);
    let list = served.call(&served.token("viewer"), "GET", LIVE, &[], &Value::Null).expect(200);
    assert_eq!((&list["current"], &list["previous_good"]), (&json!(artifact(2)), &json!(artifact(1))));
    let standing: Vec<(&Value, &Value)> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|it| (&it["current"], &it["previous_good"]))
        .collect();
    assert_eq!(standing, [(&json!(true), &json!(false)), (&json!(false), &json!(true))]);
    let log = served.get("/v1/log?app=shop").expect(200);
    let entries = log["items"].as_array().expect("items").iter();
    let told = entries.filter(|entry| entry["change"]["kind"] == "release_deployed");
    assert_eq!(told.map(|entry| entry["reason"].as_str().unwrap_or("")).collect::<Vec<_>>(), ["merged", ""]);
    assert_eq!(served.get(TRIAL).expect(200)["current"], Value::Null, "each environment by itself");
}

#[test]
fn what_cannot_be_told_or_read_is_refused_in_words() {
    let served = shop();
    for wrong in
        [json!("1.4.2"), json!(artifact(1).to_uppercase()), json!("sha256:abc"), json!(7), Value::Null]
    {
        let refused = served.post(LIVE, &json!({ "artifact": wrong })).refused(400, "invalid_body");
        assert_eq!(refused["field"], "artifact", "{refused}");
    }
    let digest = served.post(LIVE, &json!({ "artifact": "sha256:abc" })).refused(400, "invalid_body");
    assert!(
        digest["detail"].as_str().expect("words").contains("64 hexadecimal digits in lower case"),
        "{digest}"
    );
    let long = "v".repeat(101);
    for version in ["", "1.4\n2", &long] {
        let body = json!({ "artifact": artifact(1), "version": version });
        assert_eq!(served.post(LIVE, &body).refused(400, "invalid")["field"], "version");
    }
    served.post(LIVE, &json!({ "artifact": artifact(1), "tag": "x" })).refused(400, "invalid_body");
    for nowhere in
        ["/v1/apps/shop/environments/nowhere/releases", "/v1/apps/other/environments/live/releases"]
    {
        tell(&served, &served.admin, nowhere, 1).refused(404, "not_found");
        served.get(nowhere).refused(404, "not_found");
    }
    served.get(&format!("{LIVE}?limit=1")).refused(400, "invalid_parameter");
    for scope in ["viewer", "sdk-server", "sdk-browser"] {
        tell(&served, &served.token(scope), LIVE, 1).refused(403, "not_allowed");
    }
    served.call(&served.token("sdk-server"), "GET", LIVE, &[], &Value::Null).refused(403, "not_allowed");
    // A token of another environment, and an agent in production, whosever token it has.
    tell(&served, &served.token("ci"), TRIAL, 1).refused(403, "not_allowed");
    let agent = [("Tidegate-Agent", "model=m; tool=t; on-behalf-of=ada")];
    let body = json!({ "artifact": artifact(1) });
    let refused = served.call(&served.admin, "POST", LIVE, &agent, &body).refused(403, "not_allowed");
    assert!(refused["detail"].as_str().expect("words").contains("previews and sandboxes"), "{refused}");
    served.call(&served.admin, "POST", TRIAL, &agent, &body).expect(200);
    // Somebody else was quicker.
    let seen = tell(&served, &served.admin, LIVE, 1).header("etag").to_owned();
    tell(&served, &served.admin, LIVE, 2).expect(200);
    let late = json!({ "artifact": artifact(3) });
    served.call(&served.admin, "POST", LIVE, &[("If-Match", seen.as_str())], &late).refused(412, "stale");
    let made = json!({ "key": "pr-7", "kind": "preview" });
    served.post("/v1/apps/shop/environments", &made).expect(201);
    // It has ended, and is still there for a day.
    served.clock.advance(DurationMs::days(2));
    let ended = "/v1/apps/shop/environments/pr-7/releases";
    tell(&served, &served.admin, ended, 1).refused(409, "environment_ended");
}

/// What the job of a revert is told, in a form, after so many deployments.
fn told(payload: &Value, deployments: u8) -> Message {
    let served = shop();
    served.flag_on("f");
    let receiver = Receiver::start();
    let job = json!({ "name": "revert-release", "url": receiver.url, "payload": payload });
    served.post("/v1/apps/shop/jobs", &job).expect(201);
    let path = "/v1/apps/shop/flags/f/guardrails";
    let seen = served.get(path).header("etag").to_owned();
    let rules = json!({ "guardrails": ["error_rate > 3% for 5m -> flag off, revert release"] });
    served.call(&served.admin, "PUT", path, &[("If-Match", seen.as_str())], &rules).expect(200);
    for nth in 1..=deployments {
        let version = (nth == 1).then_some("1.4.1");
        let body = json!({ "artifact": artifact(nth), "version": version });
        served.post(LIVE, &body).expect(200);
    }
    served.post("/v1/apps/shop/flags/f/environments/live/drill", &json!({ "rule": 1 })).expect(200);
    // What is deployed after the act does not change what is told of it.
    served.post(LIVE, &json!({ "artifact": artifact(99) })).expect(200);
    receiver.next_while(|| served.clock.advance(DurationMs(1_000)))
}

#[test]
fn the_job_of_a_revert_is_told_what_runs_and_what_to_go_back_to_in_each_form_or_that_none_is_known() {
    let both = json!({
        "current": { "artifact": artifact(2), "version": null },
        "back_to": { "artifact": artifact(1), "version": "1.4.1" },
    });
    let first = json!({ "current": { "artifact": artifact(1), "version": "1.4.1" }, "back_to": null });
    let none = json!({ "current": null, "back_to": null });
    for (deployments, release) in [(2, &both), (1, &first), (0, &none)] {
        let plain = told(&json!("plain"), deployments).json();
        assert_eq!(
            (&plain["type"], &plain["data"]["release"]),
            (&json!("revert_release"), release),
            "{plain}"
        );
        let dispatch = json!({ "repository_dispatch": { "event_type": "rollback" } });
        let payload = told(&dispatch, deployments).json()["client_payload"].clone();
        assert_eq!(&payload["release"], release, "{payload}");
        assert!(payload.as_object().is_some_and(|members| members.len() <= 10), "{payload}");
        let trigger = json!({ "pipeline_trigger": { "ref": "main" } });
        let variables = told(&trigger, deployments).json()["variables"].clone();
        for (name, place) in [
            ("TIDEGATE_ARTIFACT", "/current/artifact"),
            ("TIDEGATE_VERSION", "/current/version"),
            ("TIDEGATE_BACK_TO", "/back_to/artifact"),
            ("TIDEGATE_BACK_TO_VERSION", "/back_to/version"),
        ] {
            let expected = release.pointer(place).and_then(Value::as_str).unwrap_or_default();
            assert_eq!(variables[name], expected, "{name} of {variables}");
        }
    }
}
