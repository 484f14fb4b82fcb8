//! The real server is killed while a guardrail is about to act, and while what it asked for is under way: what was known
//! goes on counting, it acts once, and the job is called under one key until it is done.

use crate::receiver::{Does, Receiver};
use rollout_rules::sli::{Slot, UnitHash};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tidegate_tests::{Api, Server, eventually};

const FLAG: &str = "/v1/apps/shop/flags/checkout";
const LIVE: &str = "/v1/apps/shop/flags/checkout/environments/live";
const REQUESTS: u64 = 200;

/// A server with a shop whose flag `checkout` is on for half of its users, and the token of a process that reports.
struct Shop {
    server: Server,
    sdk: String,
    revision: u64,
}

impl Shop {
    fn guarded_by(rule: &str, receiver: &Receiver) -> Shop {
        let server = Server::start_with(&[("TIDEGATE_WEBHOOKS_ALLOW_PRIVATE", "true")]);
        let admin = server.admin();
        admin.create_app("shop", &[("live", "production")]);
        admin.create_flag("shop", &json!({"key": "checkout"}));
        admin.post("/v1/apps/shop/jobs", &json!({"name": "rollback", "url": receiver.url})).expect(201);
        let path = format!("{FLAG}/guardrails");
        let seen = admin.get(&path).header("etag").to_owned();
        admin.send("PUT", &path, &[("If-Match", &seen)], &json!({ "guardrails": [rule] })).expect(200);
        admin.set_flag("shop", "checkout", "live", &json!({"on": true, "exposure": 50}));
        let sdk = admin.create_token("sdk-server", "shop", "live");
        let mut shop = Shop { server, sdk, revision: 0 };
        shop.look();
        shop
    }

    /// Learns what is served.
    fn look(&mut self) {
        let context = json!({"context": {"targetingKey": "ann"}});
        let checked = self.server.with_token(&self.sdk).post("/ofrep/v1/evaluate/flags/checkout", &context);
        let revision = &checked.expect(200)["metadata"]["tidegate.revision"];
        self.revision = revision.as_u64().expect("a revision");
    }

    fn admin(&self) -> Api {
        self.server.admin()
    }

    fn crash(self) -> Shop {
        Shop { server: self.server.crash_and_restart(), ..self }
    }

    /// Tells what became of 200 requests of each variant, of as many users who were there in no slot before.
    fn report(&self, slot: Slot, bad_of_on: u64) {
        let summary = |variant: &str, bad: u64| {
            let unit = |nth: u64| UnitHash::of(&format!("{variant}-{}-{nth}", slot.0)).to_string();
            let mut units: Vec<String> = (0..bad).map(unit).collect();
            units.sort_unstable();
            json!({
                "flag": "checkout", "flag_revision": self.revision, "split": ".exposure", "variant": variant,
                "slot": slot.starts_at(),
                "outcomes": { "units": REQUESTS, "requests": REQUESTS, "bad_requests": bad, "bad": { "units": units } },
            })
        };
        let body = json!({
            "instance": "web-1", "batch": slot.0.to_string(), "slot": slot.starts_at(),
            "summaries": [summary("on", bad_of_on), summary("off", 0)],
        });
        let told = self.server.with_token(&self.sdk).post("/v1/outcomes", &body).expect(202);
        assert_eq!(told["added"], 2, "{told}");
    }

    /// What is known of the variant, once a slot was judged.
    fn judged(&self, slot: Slot) -> Value {
        let admin = self.admin();
        eventually("the slot is judged", || {
            let known = admin.get(&format!("{LIVE}/verdicts")).expect(200);
            let is_it = known["slot"] == json!(slot.ends_at());
            is_it.then(|| known["splits"][0]["verdicts"][0].clone())
        })
    }

    fn hold(&self) -> Option<Value> {
        let hold = self.admin().get(FLAG).expect(200)["environments"]["live"]["hold"].clone();
        Some(hold).filter(|hold| !hold.is_null())
    }

    /// Entries of a kind, oldest first.
    fn entries(&self, kind: &str) -> Vec<Value> {
        let log = self.admin().get("/v1/log?limit=100").expect(200);
        let items = log["items"].as_array().expect("items").iter();
        items.map(|item| item["change"].clone()).filter(|change| change["kind"] == kind).collect()
    }

    fn effects(&self) -> Vec<Value> {
        self.admin().get("/v1/apps/shop/effects").expect(200)["items"].as_array().expect("items").clone()
    }

    /// The effect of the only act, once it ended.
    fn ended(&self) -> Value {
        let ended = eventually("the job has ended", || {
            let effects = self.effects();
            assert_eq!(effects.len(), 1, "{effects:?}");
            effects.into_iter().find(|effect| effect["state"] != "waiting")
        });
        assert_eq!(self.entries("effect_done").len(), 1, "it is written down once");
        ended
    }
}

/// A slot that has just begun, so that what is told of it arrives before it closes.
fn current_slot() -> Slot {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Slot::at(UnixMs(u64::try_from(since.as_millis()).expect("a moment of our time")))
}

#[test]
fn a_sustained_threshold_goes_on_where_it_was_when_the_server_was_killed_and_acts_once() {
    let receiver = Receiver::that(&[Does::Hangs]);
    let shop = Shop::guarded_by("error_rate > 3% for 20s -> flag off, run rollback", &receiver);
    let first = current_slot();
    shop.report(first, 40);
    let before = shop.judged(first);
    assert_eq!(before["reason"]["threshold"]["measured"]["passed"], 10_000, "half of it: {before}");

    // Killed in the middle of the twenty seconds.
    let shop = shop.crash();
    assert_eq!(shop.judged(first), before, "what was known is known");
    assert_eq!(shop.hold(), None, "the second half is not over");
    shop.report(first.plus(1), 40);
    let key = receiver.called();
    assert_eq!(shop.hold().expect("it acted")["cause"], "guardrail");

    // And again while the job that it asked for is called. What waits to be done is found done.
    let shop = shop.crash();
    assert_eq!(receiver.called(), key);
    assert_eq!(shop.ended()["state"], "done");
    shop.report(first.plus(2), 40);
    shop.judged(first.plus(2));
    let acts = shop.entries("guardrail_acted");
    assert_eq!(acts.len(), 1, "{acts:?}");
    let id = acts[0]["act"]["evidence"].as_str().expect("evidence");
    let evidence = shop.admin().get(&format!("/v1/apps/shop/evidence/{id}")).expect(200);
    assert_eq!(evidence["at"], json!(first.plus(1).ends_at()), "neither later nor sooner: {evidence}");
    receiver.is_left_alone();
}

#[test]
fn a_rollout_whose_server_was_killed_within_a_stage_is_judged_by_what_was_seen_before_and_after() {
    let receiver = Receiver::that(&[]);
    let mut shop = Shop::guarded_by("error_rate worse than control -> flag off", &receiver);
    let rollout = format!("{LIVE}/rollout");
    let seen = shop.admin().get(FLAG).header("etag").to_owned();
    let plan = json!({"plan": "50%/30m,100%"});
    shop.admin().send("POST", &rollout, &[("If-Match", &seen)], &plan).expect(200);
    shop.look();
    // Eight bad users and none of the control are a reason to hold; it takes as many again to act.
    let first = current_slot();
    shop.report(first, 8);
    let before = shop.judged(first);
    assert_eq!(before["state"], "suspect", "{before}");
    let status = |shop: &Shop| shop.admin().get(&rollout).expect(200)["rollout"].clone();
    let held = eventually("it is held", || Some(status(&shop)).filter(|now| now["status"] == "held"));

    let shop = shop.crash();
    assert_eq!(shop.judged(first), before, "what was known is known");
    assert_eq!(status(&shop), held, "the stage and its clock are what they were");
    shop.report(first.plus(1), 8);
    eventually("it is taken back", || shop.hold());
    assert_eq!((&status(&shop)["status"], &status(&shop)["stage"]), (&json!("taken_back"), &json!(0)));
    assert_eq!(shop.entries("rollout_advanced"), Vec::<Value>::new());
    assert_eq!(
        shop.entries("guardrail_acted").iter().filter(|act| act["act"]["lowered"] != Value::Null).count(),
        1
    );
}

#[test]
fn a_job_whose_server_was_killed_while_it_was_called_is_called_again_under_its_key() {
    let receiver = Receiver::that(&[Does::Hangs]);
    let shop = Shop::guarded_by("error_rate > 3% for 5m -> flag off, run rollback", &receiver);
    shop.admin().post(&format!("{LIVE}/drill"), &json!({})).expect(200);
    let key = receiver.called();
    let shop = shop.crash();
    assert_eq!(receiver.called(), key);
    assert_eq!(shop.ended()["state"], "done");
    // Once it is written down, nobody is called any more.
    let shop = shop.crash();
    assert_eq!(shop.ended()["state"], "done");
    receiver.is_left_alone();
}

#[test]
fn a_job_that_waits_after_two_failures_when_its_server_is_killed_is_called_again_under_its_key() {
    let receiver = Receiver::that(&[Does::Answers(503), Does::Answers(503)]);
    let shop = Shop::guarded_by("error_rate > 3% for 5m -> flag off, run rollback", &receiver);
    shop.admin().post(&format!("{LIVE}/drill"), &json!({})).expect(200);
    let keys = [receiver.called(), receiver.called()];
    let waiting =
        eventually("it waits", || shop.effects().into_iter().find(|effect| effect["attempts"] == 2));
    assert_eq!(waiting["state"], "waiting", "{waiting}");
    let shop = shop.crash();
    assert_eq!([receiver.called(), keys[0].clone()], [keys[1].clone(), keys[1].clone()]);
    assert_eq!(shop.ended()["state"], "done");
    receiver.is_left_alone();
}
