//! What the evaluator knows and what it acted on, over HTTP and through the tool: verdicts, how an app stands, and
//! evidence that is folded again elsewhere.

use crate::running;
use crate::served;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;

use rollout_rules::sli::{GRACE, Slot, UnitHash};
use rollout_rules::time::UnixMs;
use running::{Said, run, tidegate};
use serde_json::{Value, json};
use served::{START, Served};
use tempfile::TempDir;

const VERDICTS: &str = "/v1/apps/shop/flags/checkout/environments/live/verdicts";
const SLO: &str = "/v1/apps/shop/environments/live/slo";
const EVIDENCE: &str = "/v1/apps/shop/evidence";
/// Users make so many each; whose first fails, all of them do.
const REQUESTS_OF_A_USER: u64 = 3;
const RULE: &str = "error_rate > 3% -> flag off";

/// A shop whose flag `checkout` is on for half of `live`, and that keeps evidence.
struct Shop {
    served: Served,
    sdk: String,
    /// The revision that serves half.
    revision: u64,
    folder: TempDir,
}

impl Shop {
    fn guarded_by(rules: &[&str]) -> Shop {
        let folder = tempfile::tempdir().expect("a folder");
        let served = Served::watching(folder.path());
        served.shop();
        let on = served.flag_on("checkout");
        let state = "/v1/apps/shop/flags/checkout/environments/live";
        let half = served.patch(state, &on, &json!({ "exposure": 50 }));
        half.expect(200);
        let seen = half.header("etag").to_owned();
        let body = json!({ "guardrails": rules });
        let path = "/v1/apps/shop/flags/checkout/guardrails";
        served.call(&served.admin, "PUT", path, &[("If-Match", &seen)], &body).expect(200);
        let sdk = served.token("sdk-server");
        let revision = seen.trim_matches('"').parse().expect("a number");
        Shop { served, sdk, revision, folder }
    }

    /// Tells what became of 300 requests of each variant in a slot, of 100 users each, and closes it.
    fn report(&self, slot: Slot, bad_of_on: u64, bad_of_off: u64) {
        let summary = |variant: &str, bad: u64| {
            let unit = |nth: u64| UnitHash::of(&format!("{variant}-{}-{nth}", slot.0)).to_string();
            let mut units: Vec<String> = (0..bad / REQUESTS_OF_A_USER).map(unit).collect();
            units.sort_unstable();
            json!({
                "flag": "checkout", "flag_revision": self.revision, "split": ".exposure", "variant": variant,
                "slot": slot.starts_at(),
                "outcomes": {
                    "units": 300 / REQUESTS_OF_A_USER, "requests": 300, "bad_requests": bad, "cost_micros": 1_500,
                    "bad": { "units": units },
                },
            })
        };
        let body = json!({
            "instance": "web-1", "batch": slot.0.to_string(), "slot": slot.starts_at(),
            "summaries": [summary("on", bad_of_on), summary("off", bad_of_off)],
        });
        let taken = self.served.call(&self.sdk, "POST", "/v1/outcomes", &[], &body).expect(202);
        assert_eq!(taken["added"], 2, "{taken}");
        self.served.clock.set(slot.ends_at().plus(GRACE));
        self.until(VERDICTS, |known| known["slot"] == json!(slot.ends_at()));
    }

    /// Asks until it holds: what the evaluator finds is announced to nobody.
    #[track_caller]
    fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = std::time::Instant::now();
        loop {
            let answer = self.served.get(path).expect(200);
            if holds(&answer) {
                return answer;
            }
            assert!(began.elapsed().as_secs() < 20, "{answer}");
            std::thread::yield_now();
        }
    }

    /// The evidence of the rule, once it has acted.
    fn acted_on(&self) -> Value {
        self.report(Slot::at(START), 150, 3);
        let list = self.until(EVIDENCE, |list| list["items"] != json!([]));
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        list["items"][0].clone()
    }

    fn tool(&self, line: &[&str]) -> Said {
        let url = format!("http://{}", self.served.address);
        tool(&url, &self.served.admin, line)
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn bound_to(&self, environment: &str) -> String {
        let wanted = json!({ "scope": "viewer", "app": "shop", "environment": environment });
        let made = self.served.post("/v1/tokens", &wanted).expect(201);
        made["secret"].as_str().expect("a secret").to_owned()
    }
}

fn tool(url: &str, token: &str, line: &[&str]) -> Said {
    let mut command: Command = tidegate();
    run(command.env("TIDEGATE_URL", url).env("TIDEGATE_TOKEN", token).args(line))
}

#[test]
fn before_anything_is_reported_it_is_said_what_reports() {
    let shop = Shop::guarded_by(&[RULE]);
    let known = shop.served.get(VERDICTS).expect(200);
    assert_eq!((&known["slot"], &known["splits"]), (&Value::Null, &json!([])));
    assert!(known["note"].as_str().expect("a note").contains("POST /v1/outcomes"), "{known}");
    let slo = shop.served.get(SLO).expect(200);
    assert_eq!(
        (&slo["slot"], &slo["good_millionths"], &slo["state"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(slo["burn"][0], json!({ "minutes": 5, "thousandths": null }));
    assert_eq!(shop.served.get(EVIDENCE).expect(200)["items"], json!([]));
    shop.tool(&["slo", "-a", "shop"])
        .ends(0)
        .says("shop in live")
        .says("shop in trial")
        .says("nothing was reported");
    shop.tool(&["evidence", "list", "-a", "shop"]).ends(0).says("no guardrail has acted");
    shop.tool(&["rollout", "show", "checkout", "-a", "shop", "-e", "live"])
        .ends(0)
        .says("nothing was reported yet");
}

#[test]
fn a_verdict_tells_the_rule_the_numbers_and_whether_a_rollout_may_go_on() {
    let shop = Shop::guarded_by(&[RULE]);
    shop.acted_on();
    let known = shop.served.get(VERDICTS).expect(200);
    let split = &known["splits"][0];
    assert_eq!((&split["split"], &split["standing"]["is"]), (&json!(".exposure"), &json!("held")), "{known}");
    assert_eq!(split["standing"]["why"], "on is regressed");
    assert!(split["needed"]["users"].as_u64().is_some_and(|users| users > 0), "{known}");
    let verdict = &split["verdicts"][0];
    assert_eq!((&verdict["variant"], &verdict["state"]), (&json!("on"), &json!("regressed")));
    assert_eq!((&verdict["test"], &verdict["shown_good"]), (&json!(RULE), &json!(false)));
    assert!(verdict["why"].as_str().expect("words").starts_with("error_rate: evidence"), "{verdict}");
    assert_eq!(verdict["reason"]["absolute"]["bad"], 50);
    let show = ["rollout", "show", "checkout", "-a", "shop", "-e", "live"];
    shop.tool(&show)
        .ends(0)
        .says("on: regressed: error_rate: evidence")
        .says("it does not go on: on is regressed");
    // It was found by the rule that was there then.
    let path = "/v1/apps/shop/flags/checkout/guardrails";
    let seen = shop.served.get(path).header("etag").to_owned();
    let body = json!({ "guardrails": ["error_rate > 50% -> flag off"] });
    shop.served.call(&shop.served.admin, "PUT", path, &[("If-Match", &seen)], &body).expect(200);
    let known = shop.served.get(VERDICTS).expect(200);
    assert_eq!(known["splits"][0]["verdicts"][0]["test"], RULE, "{known}");
}

#[test]
fn an_app_is_held_against_its_target_and_its_budget() {
    let shop = Shop::guarded_by(&[]);
    let app = shop.served.get("/v1/apps/shop");
    let budget = json!({ "monthly_budget_micros": 20_000, "currency": "EUR" });
    shop.served.patch("/v1/apps/shop", app.header("etag"), &budget).expect(200);
    (0..7).for_each(|nth| shop.report(Slot::at(START).plus(nth), 45, 45));
    let slo = shop.served.get(SLO).expect(200);
    assert_eq!((&slo["good_millionths"], &slo["silent_slots"]), (&json!(990_000), &json!(0)), "{slo}");
    // 15 % of a minute's requests were bad, where 1 % may be.
    assert_eq!(slo["burn"][0], json!({ "minutes": 5, "thousandths": 15_000 }));
    assert_eq!(slo["broken"], json!({ "long_minutes": 60, "short_minutes": 5, "burn_thousandths": 14_400 }));
    assert_eq!((&slo["spent_micros"], &slo["state"]), (&json!(21_000), &json!("over")));
    assert_eq!((&slo["budget_micros"], &slo["currency"]), (&json!(20_000), &json!("EUR")));
    let shown = shop.tool(&["slo", "-a", "shop", "-e", "live"]).ends(0);
    shown
        .says("target    99% of requests")
        .says("##########    5m  15 times")
        .says("0.02 EUR this month")
        .says("ALARM");
}

#[test]
fn evidence_names_its_rule_and_what_it_was_found_from_and_only_its_environment_sees_it() {
    let shop = Shop::guarded_by(&[RULE]);
    let evidence = shop.acted_on();
    assert_eq!((&evidence["rule"], &evidence["flag"]), (&json!(RULE), &json!("checkout")));
    assert_eq!(evidence["at"], json!(Slot::at(START).ends_at()));
    let one = format!("{EVIDENCE}/{}", evidence["id"].as_str().expect("an id"));
    assert_eq!(shop.served.get(&one).expect(200), evidence);
    let recording = shop.served.get(&format!("{one}/recording")).expect(200);
    assert!(
        recording["news"].as_array().expect("news").iter().any(|news| news["act"].is_object()),
        "{recording}"
    );
    shop.served.get(&format!("{EVIDENCE}?flag=other")).expect(200);
    let of = |query: &str| shop.served.get(&format!("{EVIDENCE}?{query}")).expect(200)["items"].clone();
    assert_eq!((of("flag=other"), of("environment=trial")), (json!([]), json!([])));
    assert_eq!(of("environment=live&flag=checkout&limit=1"), json!([evidence]));
    let last = format!("cursor={}", evidence["id"].as_str().expect("an id"));
    assert_eq!(of(&last), json!([]), "there is no second page");

    let (live, trial) = (shop.bound_to("live"), shop.bound_to("trial"));
    let ask = |token: &str, path: &str| shop.served.call(token, "GET", path, &[], &Value::Null);
    ask(&live, &one).expect(200);
    assert_eq!(ask(&trial, EVIDENCE).expect(200)["items"], json!([]));
    ask(&trial, &one).refused(404, "not_found");
    ask(&trial, &format!("{one}/recording")).refused(404, "not_found");
    ask(&trial, VERDICTS).refused(403, "not_allowed");
    ask(&trial, SLO).refused(403, "not_allowed");
    ask(&shop.sdk, EVIDENCE).refused(403, "not_allowed");
    shop.served.get(&format!("{EVIDENCE}/none")).refused(404, "not_found");
    shop.served.get("/v1/apps/nope/evidence").refused(404, "not_found");
    shop.served.get("/v1/apps/shop/environments/nope/slo").refused(404, "not_found");
    shop.served.get(&VERDICTS.replace("/live/", "/nope/")).refused(404, "not_found");
    shop.served.get(&format!("{SLO}?colour=red")).refused(400, "invalid_parameter");
}

#[test]
fn evidence_is_folded_again_by_the_tool_and_a_doctored_file_is_told_from_what_was_stored() {
    let shop = Shop::guarded_by(&[RULE]);
    let evidence = shop.acted_on();
    let id = evidence["id"].as_str().expect("an id");
    shop.tool(&["evidence", "list", "-a", "shop"]).ends(0).says(id).says("checkout: on").says(RULE);
    let shown = shop.tool(&["evidence", "show", id, "-a", "shop"]).ends(0).says(RULE);
    assert!(shown.out.contains("SLOT FROM") && shown.out.contains("300  150"), "{shown:?}");

    let file = shop.file("saved.json");
    let replayed = shop.tool(&["evidence", "replay", id, "-a", "shop", "--save", &file]).ends(0);
    replayed
        .says("identical: checkout (.exposure) on: regressed")
        .says("on is acted on by error_rate > 3% -> flag off");
    // Without a server.
    let alone = |file: &str| tool("http://127.0.0.1:1", "", &["evidence", "replay", "--file", file]);
    alone(&file).ends(0).says("identical: ");

    let saved = std::fs::read_to_string(&file).expect("it was saved");
    let doctored = shop.file("doctored.json");
    std::fs::write(&doctored, saved.replace("\"units\":100,", "\"units\":100000,")).expect("written");
    let told = alone(&doctored).ends(1).says("only stored: checkout (.exposure) on: regressed");
    told.complains("what is stored is not what comes out of the recording");
    let json = tool("", "", &["evidence", "replay", "--file", &doctored, "--json"]).ends(1).json();
    assert_eq!(json["identical"], false);

    // One that agrees with itself is not what bears the name.
    let mut other: Value = serde_json::from_str(&saved).expect("JSON");
    other["news"] = json!([]);
    other["recording"]["inputs"] = json!([]);
    std::fs::write(&doctored, other.to_string()).expect("written");
    alone(&doctored).ends(0).says("identical: nothing was new");
    let named = tool("", "", &["evidence", "replay", id, "--file", &doctored]);
    named.ends(1).complains(&format!("it is not what was stored as {id}"));
    std::fs::write(&doctored, "{}").expect("written");
    alone(&doctored).ends(1).complains("is no recording of evidence");
    shop.tool(&["evidence", "replay", "-a", "shop"]).ends(2);
    shop.tool(&["evidence", "show", "none", "-a", "shop"]).ends(3);
}

/// A server that is older and knows of rollouts alone: what it answers, each connection one request.
fn older_server(rollout: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let rollout = rollout.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("connects");
            let mut lines = BufReader::new(stream.try_clone().expect("the same")).lines();
            let asked = lines.next().expect("a request").expect("text");
            lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
            let (status, body) = if asked.contains("/rollout ") {
                ("200 OK", rollout.as_str())
            } else {
                ("404 Not Found", r#"{"code":"not_found","status":404,"detail":"nothing here"}"#)
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
        }
    });
    url
}

#[test]
fn a_server_that_knows_no_verdicts_breaks_neither_rollout_show_nor_rollout_watch() {
    let at = UnixMs(START.0);
    let url = older_server(&json!({
        "app": "shop", "flag": "checkout", "environment": "live", "revision": 9, "default_plan": "100%",
        "rollout": {
            "plan": "5%/1h,100%", "stages": [{ "exposure": 5, "hold_ms": 3_600_000 }, { "exposure": 100 }], "stage": 1,
            "exposure": 100, "status": "completed", "status_since": at, "why": "it was completed", "active": false,
            "due_at": null, "completes_at": null, "started_at": at,
            "started_by": { "type": "human", "name": "ada" },
        },
    }));
    let there = ["checkout", "-a", "shop", "-e", "live"];
    tool(&url, "t", &[&["rollout", "show"], &there[..]].concat())
        .ends(0)
        .says("completed since")
        .says("stage 2 of 2");
    tool(&url, "t", &[&["rollout", "watch"], &there[..]].concat()).ends(0).says("completed");
}
