//! Rules are tried on what a server recorded: what would have been done is what was done, in the same slot and for the same
//! reason; and on files.

use crate::running;
use crate::served;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rollout_rules::sli::{GRACE, Slot, UnitHash};
use rollout_rules::time::{DurationMs, UnixMs};
use running::{Said, folder, run, tidegate};
use serde_json::{Value, json};
use served::{START, Served};
use tempfile::TempDir;

const FLAG: &str = "/v1/apps/shop/flags/checkout";
const LIVE: &str = "/v1/apps/shop/flags/checkout/environments/live";
const PATIENCE: Duration = Duration::from_secs(20);
const WORSE: &str = "error_rate worse than control -> flag off";

/// A summary of a slot: of so many users so many fail, all of them new.
fn summary(slot: Slot, revision: &Value, variant: &str, users: u64, bad: u64) -> Value {
    let listed = |count: u64| {
        let user = |nth: u64| UnitHash::of(&format!("{variant}-{}-{nth}", slot.0)).to_string();
        let mut users: Vec<String> = (0..count).map(user).collect();
        users.sort();
        users
    };
    json!({
        "flag": "checkout", "flag_revision": revision, "split": ".exposure", "variant": variant,
        "slot": slot.starts_at(),
        "outcomes": {
            "units": users, "requests": users, "bad_requests": bad, "cost_micros": 0,
            "latency": [[20_000, users]], "served": { "units": listed(users) }, "bad": { "units": listed(bad) },
            "slow": { "units": [] },
        },
    })
}

fn batch(slot: Slot, revision: &Value, bad: (u64, u64)) -> Value {
    let summaries = [("on", bad.0), ("off", bad.1)].map(|(of, bad)| summary(slot, revision, of, 200, bad));
    json!({ "instance": "web-1", "batch": slot.0.to_string(), "slot": slot.starts_at(), "summaries": summaries })
}

/// A shop whose flag `checkout` reaches half of its users.
struct Shop {
    served: Served,
    sdk: String,
    slot: Slot,
    /// Where evidence is kept.
    _folder: TempDir,
}

impl Shop {
    fn open() -> Shop {
        let folder = folder();
        let served = Served::watching(folder.path());
        served.shop();
        served.flag_on("checkout");
        let sdk = served.token("sdk-server");
        let seen = served.get(FLAG).header("etag").to_owned();
        served.patch(LIVE, &seen, &json!({ "exposure": 50 })).expect(200);
        let path = format!("{FLAG}/guardrails");
        let seen = served.get(&path).header("etag").to_owned();
        let body = json!({ "guardrails": [WORSE] });
        served.call(&served.admin, "PUT", &path, &[("If-Match", seen.as_str())], &body).expect(200);
        Shop { served, sdk, slot: Slot::at(START), _folder: folder }
    }

    /// Tells of a slot's requests, lets it close, and waits until it was judged.
    fn pass(&mut self, bad: (u64, u64)) {
        let checked = self.served.check(&self.sdk, "checkout", &json!({"targetingKey": "ann"})).expect(200);
        let told = batch(self.slot, &checked["metadata"]["tidegate.revision"], bad);
        let told = self.served.call(&self.sdk, "POST", "/v1/outcomes", &[], &told).expect(202);
        assert_eq!(told["added"], 2, "{told}");
        self.served.clock.set(self.slot.ends_at().plus(GRACE));
        let ends = json!(self.slot.ends_at());
        until("the slot is judged", || {
            (self.served.get(&format!("{LIVE}/verdicts")).expect(200)["slot"] == ends).then_some(())
        });
        self.slot = self.slot.plus(1);
    }

    fn backtest(&self, words: &[&str]) -> Said {
        let url = format!("http://{}", self.served.address);
        let mut command = tidegate();
        command.env("TIDEGATE_URL", url).env("TIDEGATE_TOKEN", &self.served.admin);
        command.args([
            "guardrail",
            "backtest",
            "--app",
            "shop",
            "--env",
            "live",
            "--last",
            "2027-01-15T00:00Z",
        ]);
        run(command.args(words))
    }
}

/// Lets no time of the test pass.
#[track_caller]
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

fn on_file(file: &Path, words: &[&str]) -> Said {
    let mut command: Command = tidegate();
    run(command.args(["guardrail", "backtest"]).arg(file).args(words))
}

#[test]
fn the_rule_that_acted_would_have_acted_in_the_same_slot_for_the_same_reason_and_a_file_says_the_same() {
    let mut shop = Shop::open();
    for _ in 0..6 {
        shop.pass((2, 2));
    }
    let broken = shop.slot;
    shop.pass((100, 2));
    until("the flag is held", || {
        let hold = shop.served.get(FLAG).expect(200)["environments"]["live"]["hold"].clone();
        (!hold.is_null()).then_some(())
    });
    let log = shop.served.get("/v1/log?limit=100").expect(200);
    let acts = log["items"].as_array().expect("items").iter();
    let acts: Vec<&Value> = acts.filter(|item| item["change"]["kind"] == "guardrail_acted").collect();
    let [act] = acts[..] else { panic!("{log}") };

    let here = folder();
    let file = here.path().join("shop.recording");
    let name = file.to_str().expect("a path");
    let said = shop.backtest(&["--json", "--save", name]).ends(0).json();
    let rules = said["rules"].as_array().expect("rules");
    let rule = rules.iter().find(|rule| rule["rule"] == WORSE).expect("the rule in force");
    assert_eq!(
        (&rule["outcome"], &rule["fired"].as_array().map(Vec::len)),
        (&json!("fired"), &Some(1)),
        "{said}"
    );
    let fired = &rule["fired"][0];
    assert_eq!(fired["slot"], json!(broken.starts_at()));
    assert_eq!((&fired["flag"], &fired["variant"]), (&json!("checkout"), &json!("on")));
    assert_eq!(fired["why"], act["reason"]);
    assert_eq!(fired["flag_revision"], act["change"]["act"]["measured"]);
    assert_eq!(fired["really"]["revision"], act["revision"]);
    assert_eq!((&fired["requests"], &fired["requests_of_all"]), (&json!(1_400), &json!(2_800)));
    assert_eq!(said["spans"].as_array().map(Vec::len), Some(1));
    assert_eq!(said["spans"][0]["resolution"], "slots");

    let again = on_file(&file, &["--json"]).ends(0).json();
    for same in ["rules", "spans", "acted", "until", "since"] {
        assert_eq!(again[same], said[same], "{same}");
    }
    let id = act["change"]["act"]["evidence"].as_str().expect("evidence");
    let evidence = shop.served.get(&format!("/v1/apps/shop/evidence/{id}/recording"));
    let saved = here.path().join("evidence.json");
    fs::write(&saved, &evidence.text).expect("written");
    let said = on_file(&saved, &["--json"]).ends(0).json();
    let found = said["rules"].as_array().expect("rules").iter().find(|rule| rule["rule"] == WORSE);
    assert_eq!(
        found.expect("the rule that was in force")["fired"][0]["slot"],
        json!(broken.starts_at()),
        "{said}"
    );
    on_file(&saved, &["--shares", "on=50,off=50"]).ends(2).complains("--shares");

    let others =
        ["--rule", "error_rate > 1% for 30s -> flag off", "--rule", "error_rate > 60% for 10s -> flag off"];
    let said = on_file(&file, &[&["--json"][..], &others].concat()).ends(0).json();
    let outcomes: Vec<&Value> =
        said["rules"].as_array().expect("rules").iter().map(|rule| &rule["outcome"]).collect();
    assert_eq!(outcomes, ["not_fired", "not_fired"], "{said}");
    let strict = ["--rule", "error_rate > 1% for 10s -> flag off"];
    let said = on_file(&file, &strict).ends(0);
    let said = said.says("would have acted once").says("really: ").says("slots of ten seconds");
    said.says("error_rate 9.1666% past 1% for 10 s, in 200 requests (100 bad)");
}

#[test]
fn a_viewer_reads_a_recording_line_by_line_and_it_says_where_it_ends() {
    let mut shop = Shop::open();
    shop.pass((2, 2));
    let viewer = shop.served.token("viewer");
    let path = "/v1/apps/shop/environments/live/recording";
    let since = format!("{path}?since=2027-01-15T00:00:00Z");
    let text = shop.served.call(&viewer, "GET", &since, &[], &Value::Null);
    assert_eq!((text.status, text.header("content-type")), (200, "text/plain"));
    // Between them are the lengths of chunks.
    let lines = text.text.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let kinds: Vec<&str> = lines
        .iter()
        .flat_map(|line| line.as_object().expect("an object").keys())
        .map(String::as_str)
        .collect();
    assert_eq!(kinds, ["recording", "app", "serves", "slot", "end"], "{text:?}");
    assert_eq!(lines[0]["recording"]["rules"]["flags"]["checkout"][0]["then"], json!(["flag_off"]));
    assert_eq!(lines[2]["serves"]["plan"]["control"], "off");
    let refused =
        |query: &str| shop.served.call(&viewer, "GET", &format!("{path}{query}"), &[], &Value::Null);
    // The clock of whoever counts thirty-one days back may be another.
    let since = UnixMs(START.0 - DurationMs::days(31).0 - 200_000);
    let taken = refused(&format!("?since={since}"));
    assert_eq!(taken.status, 200, "{taken:?}");
    refused("?since=2026-11-01T00:00:00Z").refused(400, "invalid_parameter");
    refused("?flag=nothing").refused(404, "not_found");
    shop.served.get("/v1/apps/shop/environments/mars/recording").refused(404, "not_found");
    shop.served.call(&shop.sdk, "GET", path, &[], &Value::Null).refused(403, "not_allowed");
}

/// Batches as an app without a server writes them: it breaks after six slots.
fn load_test() -> Vec<String> {
    let slots = (0..12).map(|number| Slot(178_000_000 + number));
    slots
        .map(|slot| batch(slot, &json!(1), (if slot.0 < 178_000_006 { 2 } else { 100 }, 2)).to_string())
        .collect()
}

#[test]
fn a_file_of_batches_is_judged_by_the_control_and_the_shares_that_are_typed() {
    let here = folder();
    let file = here.path().join("load.jsonl");
    let mut lines = load_test();
    lines.swap(3, 4);
    lines.insert(5, lines[2].clone());
    fs::write(&file, lines.join("\n")).expect("written");
    let rule = ["--rule", WORSE, "--json"];
    let said = on_file(&file, &rule).ends(0).json();
    assert_eq!(said["rules"][0]["outcome"], "not_judged", "{said}");
    assert_eq!(said["rules"][0]["not_judged"][0]["why"], "no_control");
    let shares = ["--control", "off", "--shares", "on=50,off=50"];
    let said = on_file(&file, &[&rule[..], &shares].concat()).ends(0).json();
    assert_eq!(said["rules"][0]["fired"][0]["slot"], json!(Slot(178_000_006).starts_at()), "{said}");
    assert_eq!(said["rules"][0]["judged"]["requests"], 12 * 400, "what comes twice counts once");
    for shares in ["on=50,off=0", "on=50", "off=50,on=0"] {
        let wrong = ["--control", "off", "--shares", shares];
        on_file(&file, &[&rule[..], &wrong].concat()).ends(2).complains("weight above 0");
    }
    let words = ["guardrail", "backtest", "--app", "shop", "--rule", WORSE];
    run(tidegate().args(words).args(shares)).ends(2).complains("FILE");
    let many = ["--rule", WORSE].repeat(17);
    on_file(&file, &many).ends(2).complains("at most 16");
    on_file(&file, &[]).ends(2).complains("--rule");
    on_file(&file, &["--rule", "error_rate > 3 -> flag off"]).ends(2).complains("^");
}

#[test]
fn batches_tell_what_became_of_all_requests_once_and_a_rule_of_the_app_goes_by_it() {
    let served = Served::start();
    let contract = served.send("GET", "/openapi.json", &[], "").expect(200);
    let body = &contract["paths"]["/v1/outcomes"]["post"]["requestBody"]["content"]["application/json"];
    let example = body["example"].to_string().replace("2027-", "2020-");
    let example: Value = serde_json::from_str(&example).expect("JSON");
    assert_eq!(example["all"]["requests"], 90, "{body}");
    let here = folder();
    let file = here.path().join("load.jsonl");
    fs::write(&file, format!("{example}\n{example}\n")).expect("written");
    let words = ["--rule", "error_rate > 1% for 5m -> revert release", "--json"];
    let said = on_file(&file, &words).ends(0).json();
    assert_eq!(said["rules"][0]["of"], "app", "{said}");
    assert_eq!(said["rules"][0]["judged"]["requests"], 90, "{said}");
    let mut nowhere = example.clone();
    nowhere.as_object_mut().expect("an object").remove("slot");
    fs::write(&file, nowhere.to_string()).expect("written");
    on_file(&file, &words[..2]).ends(1).complains("`all` is of the batch's `slot`");
}

#[test]
fn a_bad_line_is_named_with_its_place_and_loses_nothing_but_itself() {
    let here = folder();
    let file = here.path().join("load.jsonl");
    let mut lines = load_test();
    lines.insert(4, "{\"instance\":\"web-1\",".to_owned());
    let broken = lines[8].replacen("\"requests\":200", "\"requests\":-1", 1);
    let column = broken.find(":-1").expect("it is there") + 3;
    lines[8] = broken;
    fs::write(&file, lines.join("\n")).expect("written");
    let words = ["--rule", WORSE, "--control", "off", "--shares", "on=50,off=50"];
    let said = on_file(&file, &words).ends(1).says("would have acted once");
    let said = said.complains("load.jsonl:5:").complains("expected a batch of outcomes");
    let said = said.complains(&format!("load.jsonl:9:{column}: ")).complains("expected a summary");
    said.complains("2 lines could not be read");
    on_file(&file, &[&words[..], &["--skip-bad-lines"]].concat()).ends(0).complains("load.jsonl:5:");
    let said = on_file(&file, &[&words[..], &["--json"]].concat()).ends(1);
    assert!(!said.err.contains("load.jsonl:5"), "what a program reads is in the object: {said:?}");
    let told = said.json();
    assert_eq!((&told["bad_lines"][0]["line"], &told["bad_lines_in_all"]), (&json!(5), &json!(2)), "{told}");
    assert_eq!(told["bad_lines"][1]["column"], column);
    lines[4] = "\u{0}".to_owned();
    let mut bytes = lines.join("\n").into_bytes();
    let place = bytes.iter().position(|byte| *byte == 0).expect("it is there");
    bytes[place] = 0xff;
    fs::write(&file, &bytes).expect("written");
    let said = on_file(&file, &words).ends(1).says("would have acted once");
    said.complains("load.jsonl:5:1: this is no text in UTF-8").complains("load.jsonl:9:");
    fs::write(&file, "{\"level\":\"info\"}\n").expect("written");
    on_file(&file, &words).ends(1).complains("load.jsonl:1:1: an object without any member that is known");
    on_file(Path::new("checkout"), &words).ends(2).complains("--flag checkout");
    fs::write(&file, "neither\nthis nor that\n").expect("written");
    on_file(&file, &words).ends(1).complains("load.jsonl:1:2: ").complains("is a line of a recording");
}
