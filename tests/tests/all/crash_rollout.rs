//! The real server is killed in the middle of a rollout's stage, and the rollout goes on where it stood: no stage is
//! skipped, and each is held for its own time.

use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tidegate_tests::{Api, Server, eventually};

const FLAG: &str = "/v1/apps/shop/flags/checkout";
const ROLLOUT: &str = "/v1/apps/shop/flags/checkout/environments/production/rollout";

fn rollout(api: &Api) -> Value {
    api.get(ROLLOUT).expect(200)["rollout"].clone()
}

fn moment(rollout: &Value, name: &str) -> UnixMs {
    UnixMs::parse_rfc3339(rollout[name].as_str().unwrap_or_default())
        .unwrap_or_else(|| panic!("{name}: {rollout}"))
}

#[test]
fn a_rollout_survives_kills_in_the_middle_of_its_stages_and_skips_none() {
    let mut server = Server::start();
    let api = server.admin();
    api.create_app("shop", &[("production", "production")]);
    api.create_flag("shop", &json!({"key": "checkout"}));
    let seen = api.get(FLAG).header("etag").to_owned();
    // Ten seconds are the shortest that a stage is held.
    let plan = json!({"plan": "10%/10s,40%/10s,100%"});
    api.send("POST", ROLLOUT, &[("If-Match", &seen)], &plan).expect(200);
    let before = rollout(&api);
    server = server.crash_and_restart();
    assert_eq!(rollout(&server.admin()), before, "the stage and its clock are what they were");

    // It is away while the first stage ends, and longer than the second is held.
    server.kill();
    let second_would_end = moment(&before, "completes_at");
    eventually("both stages would be over", || (now() > second_would_end).then_some(()));
    server = server.restart();
    let second =
        eventually("the second stage", || Some(rollout(&server.admin())).filter(|it| it["stage"] == 1));
    assert_eq!((&second["exposure"], &second["status"]), (&json!(40), &json!("running")));
    assert!(moment(&second, "due_at") >= now(), "it is held for its own time: {second}");
    server = server.crash_and_restart();
    let done =
        eventually("the end", || Some(rollout(&server.admin())).filter(|it| it["status"] == "completed"));
    assert_eq!(done["exposure"], 100);

    let log = server.admin().get("/v1/log?limit=100").expect(200);
    let of_rollout: Vec<(&str, UnixMs)> = log["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|item| item["change"]["kind"].as_str().is_some_and(|kind| kind.starts_with("rollout")))
        .map(|item| (item["change"]["kind"].as_str().expect("a kind"), moment(item, "at")))
        .collect();
    let kinds: Vec<&str> = of_rollout.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["rollout_started", "rollout_advanced", "rollout_ended"]);
    for pair in of_rollout.windows(2) {
        assert!(pair[1].1.since(pair[0].1).0 >= 10_000, "a stage was cut short: {of_rollout:?}");
    }
}

fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    UnixMs(u64::try_from(since.as_millis()).expect("a moment of our time"))
}
