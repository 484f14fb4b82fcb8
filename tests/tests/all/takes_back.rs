//! A variant that fails in the real SDK is taken back by the real server, though it is killed while it watches; what it
//! was found from comes to the same verdict wherever it is folded again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::receiver::{Does, Receiver};
use rollout_rules::sli::{News, Recording};
use serde_json::{Value, json};
use tidegate_sdk::{Client, Context, Outcome};
use tidegate_tests::{Api, PATIENCE, Server, eventually};

const BETWEEN_REQUESTS: Duration = Duration::from_millis(5);
const FLAG: &str = "/v1/apps/shop/flags/checkout";
const VERDICTS: &str = "/v1/apps/shop/flags/checkout/environments/live/verdicts";

/// Requests of one person after another, until it is dropped; those that are served the new variant fail once it is broken.
struct Traffic {
    stop: Option<Sender<()>>,
    broken: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn begin(client: Client) -> Traffic {
        let (stop, stops) = channel::<()>();
        let broken = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&broken);
        let thread = std::thread::spawn(move || {
            for person in 0_u64.. {
                if stops.recv_timeout(BETWEEN_REQUESTS) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let scope = client.scope(&Context::new(&format!("person-{}", person % 4_000)));
                let served = scope.bool("checkout", false);
                let bad = person % 100 == 0 || (served && fails.load(Ordering::Relaxed) && person % 2 == 0);
                scope.finish(Outcome::failed(bad));
            }
        });
        Traffic { stop: Some(stop), broken, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn hold(admin: &Api) -> Option<Value> {
    let state = admin.get(FLAG).expect(200)["environments"]["live"]["hold"].clone();
    Some(state).filter(|hold| !hold.is_null())
}

#[test]
fn what_fails_is_taken_back_once_though_the_server_is_killed_and_its_evidence_says_so_again() {
    let server = Server::start_with(&[("TIDEGATE_WEBHOOKS_ALLOW_PRIVATE", "true")]);
    let admin = server.admin();
    admin.create_app("shop", &[("live", "production")]);
    admin.create_flag("shop", &json!({"key": "checkout"}));
    let pipeline = Receiver::that(&[Does::Answers(503), Does::Answers(503), Does::Answers(200)]);
    admin.post("/v1/apps/shop/jobs", &json!({"name": "rollback", "url": pipeline.url})).expect(201);
    let path = format!("{FLAG}/guardrails");
    let seen = admin.get(&path).header("etag").to_owned();
    let rules = json!({ "guardrails": ["error_rate worse than control -> flag off, run rollback"] });
    admin.send("PUT", &path, &[("If-Match", &seen)], &rules).expect(200);
    let half = json!({"on": true, "exposure": 50, "serve": {"variant": "on"}});
    admin.set_flag("shop", "checkout", "live", &half);
    let key = admin.create_token("sdk-server", "shop", "live");
    let client = Client::builder(server.url(), &key).start().unwrap();
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    let traffic = Traffic::begin(client.clone());
    let judged = eventually("a slot is judged", || {
        let known = admin.get(VERDICTS).expect(200);
        known["splits"][0]["verdicts"][0]["state"].as_str().map(str::to_owned)
    });
    assert!(matches!(judged.as_str(), "ok" | "warming"), "{judged}");

    // It breaks, and so does the server before it has judged a slot of that.
    traffic.broken.store(true, Ordering::Relaxed);
    let server = server.crash_and_restart();
    let admin = server.admin();
    // It serves before it has read what it knew, which takes no slot that closes.
    eventually("what was known is known", || {
        let known = admin.get(VERDICTS).expect(200);
        known["splits"][0]["verdicts"][0].is_object().then_some(())
    });
    let held = eventually("the flag is held", || hold(&admin));
    assert_eq!(held["cause"], "guardrail");
    eventually("nobody is served it", || {
        let served =
            (0..200).any(|nth| client.bool("checkout", &Context::new(&format!("person-{nth}")), false));
        (!served).then_some(())
    });

    let log = admin.get("/v1/log?limit=100").expect(200);
    let acts = log["items"].as_array().unwrap().iter();
    let acts: Vec<&Value> = acts.filter(|item| item["change"]["kind"] == "guardrail_acted").collect();
    assert_eq!(acts.len(), 1, "{log}");
    let id = acts[0]["change"]["act"]["evidence"].as_str().expect("evidence");
    let stored = admin.get(&format!("/v1/apps/shop/evidence/{id}/recording")).expect(200);
    let recording: Recording = serde_json::from_value(stored["recording"].clone()).unwrap();
    let (_, news) = recording.replay();
    let kept: Vec<News> = serde_json::from_value(stored["news"].clone()).unwrap();
    assert!(kept.iter().any(|one| matches!(one, News::Act(_))), "{kept:?}");
    assert_eq!(news, kept, "folded again it says something else");
    drop(traffic);

    // The pipeline that rolls back fails twice, and is called under one key until it does not.
    let key = format!("{}.0", acts[0]["revision"]);
    let calls: Vec<String> = (0..3).map(|_| pipeline.called()).collect();
    assert!(calls.iter().all(|call| call.ends_with(&key) && *call == calls[0]), "{calls:?}");
    pipeline.is_left_alone();
}
