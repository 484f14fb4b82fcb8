//! What a language model's act came from, over HTTP: said in a header, kept in the log, and seen by whoever approves.

use crate::served::Served;

use serde_json::{Value, json};

const AGENT: (&str, &str) = ("Tidegate-Agent", "model=m-1; tool=editor; on-behalf-of=eve");

/// The digest of a prompt.
fn prompt() -> String {
    "8b".repeat(32)
}

fn said() -> String {
    format!("prompt={}; file=src/cart.py; file=src/%C3%BC.py; more-files=3; reviewer=Grace", prompt())
}

fn kept() -> Value {
    json!({"prompt": prompt(), "files": ["src/cart.py", "src/ü.py"], "more_files": 3, "reviewer": "Grace"})
}

fn raise() -> Value {
    json!({"command": {"do": "set_targeting", "app": "shop", "flag": "f", "environment": "live", "exposure": 50}})
}

#[test]
fn an_approver_sees_what_an_agents_proposal_came_from_and_the_log_keeps_it() {
    let served = Served::start();
    served.shop();
    let seen = served.flag_on("f");
    let said = said();
    let headers = [AGENT, ("Tidegate-Agent-Work", said.as_str()), ("If-Match", seen.as_str())];
    let proposed = served.call(&served.admin, "POST", "/v1/proposals", &headers, &raise()).expect(201);
    assert_eq!(proposed["proposed_by"]["work"], kept());
    let id = proposed["id"].as_str().expect("an id").to_owned();
    let approver = served.token("viewer");
    let path = format!("/v1/proposals/{id}");
    let shown = served.call(&approver, "GET", &path, &[], &Value::Null).expect(200);
    let agent = json!({
        "type": "agent", "model": "m-1", "tool": "editor", "on_behalf_of": "eve", "work": kept(),
    });
    assert_eq!(shown["proposed_by"], agent);
    let log = served.get("/v1/log").expect(200);
    let mut entries = log["items"].as_array().expect("entries").iter();
    let kept = entries.find(|entry| entry["change"]["kind"] == "proposed").expect("it is there");
    assert_eq!(kept["actor"], agent);
    let history = served.get("/v1/apps/shop/flags/f/history").expect(200);
    assert_eq!(history["items"][0]["actor"], agent);
}

#[test]
fn an_agents_own_token_says_who_acts_and_each_request_what_it_came_from() {
    let served = Served::start();
    served.shop();
    let actor = json!({"type": "agent", "model": "m-2", "tool": "cli", "on_behalf_of": "ada"});
    let made = served.post("/v1/tokens", &json!({"scope": "operator", "actor": actor})).expect(201);
    let token = made["secret"].as_str().expect("a secret");
    let said = said();
    let who = |headers: &[(&str, &str)]| {
        served.call(token, "GET", "/v1/whoami", headers, &Value::Null).expect(200)["actor"].clone()
    };
    assert_eq!(who(&[("Tidegate-Agent-Work", said.as_str())])["work"], kept());
    assert_eq!(who(&[]), actor, "the next request says nothing");
    let mut with_work = actor.clone();
    with_work["work"] = kept();
    let wanted = json!({"scope": "operator", "actor": with_work});
    let refused = served.post("/v1/tokens", &wanted).refused(400, "invalid");
    assert_eq!(refused["field"], "actor.work");
}

#[test]
fn a_wrong_digest_is_refused_in_words_that_do_not_repeat_the_prompt() {
    let served = Served::start();
    served.shop();
    let make = |said: &str| {
        let headers = [AGENT, ("Tidegate-Agent-Work", said)];
        served.call(&served.admin, "POST", "/v1/apps/shop/flags", &headers, &json!({"key": "g"}))
    };
    for (said, why) in [
        ("prompt=8b8b", "has to be the SHA-256 of the prompt: 64 hexadecimal digits"),
        ("prompt=make the shop sell more", "has to be the SHA-256 of the prompt: 64 hexadecimal digits"),
        ("make the shop sell more", "write the header"),
        ("file=a%0Ab", "the name of file 1"),
    ] {
        let refused = make(said).refused(400, "invalid_parameter");
        let detail = refused["detail"].as_str().expect("words");
        assert!(detail.contains(why) && !refused.to_string().contains("sell"), "{refused}");
    }
    served.get("/v1/apps/shop/flags/g").refused(404, "not_found");
    make(&said()).expect(201);
}

#[test]
fn people_and_pipelines_that_say_it_are_refused() {
    let served = Served::start();
    served.shop();
    let said = said();
    for token in [served.admin.clone(), served.token("ci")] {
        let headers = [("Tidegate-Agent-Work", said.as_str())];
        let refused = served
            .call(&token, "POST", "/v1/apps/shop/flags", &headers, &json!({"key": "g"}))
            .refused(400, "invalid_parameter");
        let detail = refused["detail"].as_str().expect("words");
        assert!(detail.contains("name the one that acts with `Tidegate-Agent`"), "{detail}");
    }
}

#[test]
fn an_agent_that_says_all_it_may_still_kills() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let file = format!("file={}; ", "f".repeat(200));
    let said = format!("{}prompt={}; reviewer={}", file.repeat(20), prompt(), "r".repeat(200));
    let headers = [AGENT, ("Tidegate-Agent-Work", said.as_str())];
    let kill = json!({"reason": "\"".repeat(1_000)});
    served.call(&served.admin, "POST", "/v1/apps/shop/flags/f/kill", &headers, &kill).expect(200);
    let log = served.get("/v1/log").expect(200);
    let last = log["items"].as_array().and_then(|items| items.last()).expect("an entry").clone();
    assert_eq!(last["actor"]["work"]["files"].as_array().map(Vec::len), Some(20));
}
