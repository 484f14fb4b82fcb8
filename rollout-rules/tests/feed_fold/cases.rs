//! What single frames do: overlays, kills, environments that come and go, and frames that do not fit.

use rollout_rules::change::{Change, Reach};
use rollout_rules::context::Context;
use rollout_rules::feed::state::MAX_OVERLAYS;
use rollout_rules::feed::{Audience, ClientState, Frame, FrameBody, FrameError, Op, Overlay};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId, LogId, Revision};
use rollout_rules::project::overlay_frame;
use rollout_rules::time::UnixMs;
use serde_json::json;

use super::history::{History, audience, environment, fold, log, read, two_apps};
use super::random::flag;

/// A shop with a flag that is on, and its client.
fn shop_with_client() -> (History, Audience, ClientState) {
    let mut changes = two_apps();
    changes.push(read(json!({"kind": "flag_created", "app": "shop", "flag": flag("checkout", 1, false),
        "states": {"production": {"targeting": {"on": true, "exposure": 100, "serve": {"variant": "on"}},
            "expires_at": 2_000_000}}})));
    let history = History::new(changes);
    let audience = audience("shop", "production");
    let client = fold(None, &history.snapshot(3, &audience).unwrap());
    (history, audience, client)
}

fn checkout(client: &ClientState) -> String {
    let answer =
        rollout_rules::evaluate::evaluate(&client.flag_set(), "checkout", &Context::new("ann"), UnixMs(1));
    answer.map_or("none".into(), |answer| format!("{} {:?}", answer.variant(), answer.reason))
}

fn overlay(id: &str, reach: Reach) -> Overlay {
    Overlay { kill_id: KillId::new(id).unwrap(), reach, at: UnixMs(9) }
}

fn the_flag() -> Reach {
    Reach::Flag { app: AppKey::new("shop").unwrap(), flag: FlagKey::new("checkout").unwrap() }
}

fn every_reach() -> [Reach; 3] {
    [Reach::Everything, Reach::App { app: AppKey::new("shop").unwrap() }, the_flag()]
}

#[test]
fn an_overlay_kills_at_once_and_the_entry_with_its_id_takes_over() {
    for reach in every_reach() {
        let (mut history, audience, client) = shop_with_client();
        let head = history.snapshots[3].revision();
        let frame = overlay_frame(&overlay("k1", reach.clone()), None, &log(), head, &audience).unwrap();
        assert_eq!(frame.resume_token(), None);
        let (killed, applied) = ClientState::fold(Some(&client), &frame).unwrap();
        assert!(checkout(&killed).starts_with("off Killed"), "{reach:?}: {}", checkout(&killed));
        assert_eq!(applied.kill_ids, [KillId::new("k1").unwrap()]);
        assert_eq!(killed.resume_token(), client.resume_token());

        history.push(Change::Killed {
            kill_id: KillId::new("k1").unwrap(),
            reach: reach.clone(),
            environment: None,
        });
        let taken = fold(Some(&killed), &history.frame(3, &audience).unwrap());
        assert_eq!(taken.overlays(), []);
        assert!(checkout(&taken).starts_with("off Killed"), "{}", checkout(&taken));

        history.push(Change::Revived { reach, environment: None });
        let revived = fold(Some(&taken), &history.frame(4, &audience).unwrap());
        assert_eq!(checkout(&revived), "off Off", "a revived flag is off, not what it was");
    }
}

#[test]
fn an_overlay_outlives_other_changes_and_a_node_that_has_not_heard_of_it() {
    let (mut history, audience, client) = shop_with_client();
    let head = history.snapshots[3].revision();
    let frame = overlay_frame(&overlay("k1", the_flag()), None, &log(), head, &audience).unwrap();
    let killed = fold(Some(&client), &frame);
    let from_other_node = fold(Some(&killed), &history.snapshot(3, &audience).unwrap());
    assert!(checkout(&from_other_node).starts_with("off Killed"));

    history.push(read(json!({"kind": "flag_updated", "app": "shop", "flag": flag("checkout", 2, false)})));
    let changed = fold(Some(&from_other_node), &history.frame(3, &audience).unwrap());
    assert!(checkout(&changed).starts_with("off Killed"));

    let from_disk = fold(None, &changed.to_frame());
    assert!(checkout(&from_disk).starts_with("off Killed"));

    // Whoever knows of later entries and of no overlay knows that it is over.
    let later = fold(Some(&changed), &{
        history
            .push(read(json!({"kind": "flag_updated", "app": "shop", "flag": flag("checkout", 3, false)})));
        history.snapshot(5, &audience).unwrap()
    });
    assert!(checkout(&later).starts_with("on"));
}

#[test]
fn a_snapshot_tells_which_kills_are_new() {
    let (mut history, audience, client) = shop_with_client();
    let kill =
        |id: &str, reach| Change::Killed { kill_id: KillId::new(id).unwrap(), reach, environment: None };
    history.push(kill("k1", the_flag()));
    let (killed, applied) =
        ClientState::fold(Some(&client), &history.snapshot(4, &audience).unwrap()).unwrap();
    assert_eq!(applied.kill_ids, [KillId::new("k1").unwrap()]);
    history.push(kill("k2", Reach::Everything));
    let (_, applied) = ClientState::fold(Some(&killed), &history.snapshot(5, &audience).unwrap()).unwrap();
    assert_eq!(applied.kill_ids, [KillId::new("k2").unwrap()], "the other one was known");
}

#[test]
fn overlays_are_bounded_however_they_come() {
    let (history, audience, client) = shop_with_client();
    let with = |prefix: &str, count: usize| {
        let mut frame = history.snapshot(3, &audience).unwrap();
        let FrameBody::Snapshot(served) = &mut frame.body else { panic!("a snapshot") };
        served.overlays = (0..count).map(|i| overlay(&format!("{prefix}{i}"), the_flag())).collect();
        frame
    };
    let full = fold(Some(&client), &with("a", MAX_OVERLAYS + 1));
    assert_eq!(full.overlays().len(), MAX_OVERLAYS);
    let fuller = fold(Some(&full), &with("b", 10));
    assert_eq!(fuller.overlays().len(), MAX_OVERLAYS);
    let head = history.snapshots[3].revision();
    let one_more = overlay_frame(&overlay("c", the_flag()), None, &log(), head, &audience).unwrap();
    assert!(matches!(ClientState::fold(Some(&fuller), &one_more), Err(FrameError::Inconsistent { .. })));
}

#[test]
fn an_overlay_for_others_does_not_travel() {
    let (history, audience, _) = shop_with_client();
    let head = history.snapshots[3].revision();
    let travels = |overlay: &Overlay, environment: Option<&EnvKey>| {
        overlay_frame(overlay, environment, &log(), head, &audience).is_some()
    };
    let sandbox = EnvKey::new("sandbox").unwrap();
    let production = EnvKey::new("production").unwrap();
    assert!(travels(&overlay("k", the_flag()), Some(&production)));
    assert!(!travels(&overlay("k", the_flag()), Some(&sandbox)));
    assert!(!travels(&overlay("k", Reach::App { app: AppKey::new("desk").unwrap() }), None));
}

#[test]
fn a_kill_that_was_there_before_still_replaces_its_overlay() {
    let (mut history, audience, _) = shop_with_client();
    let killed =
        |id: &str| Change::Killed { kill_id: KillId::new(id).unwrap(), reach: the_flag(), environment: None };
    history.push(killed("k1"));
    let client = fold(None, &history.snapshot(4, &audience).unwrap());
    let head = history.snapshots[4].revision();
    let client = fold(
        Some(&client),
        &overlay_frame(&overlay("k2", the_flag()), None, &log(), head, &audience).unwrap(),
    );
    history.push(killed("k2"));
    let client = fold(Some(&client), &history.frame(4, &audience).unwrap());
    assert_eq!(client.overlays(), []);
    history.push(Change::Revived { reach: the_flag(), environment: None });
    assert_eq!(checkout(&fold(Some(&client), &history.frame(5, &audience).unwrap())), "off Off");
}

#[test]
fn a_kill_is_a_small_frame() {
    let (mut history, audience, _) = shop_with_client();
    history.push(Change::Killed {
        kill_id: KillId::new("k1").unwrap(),
        reach: the_flag(),
        environment: None,
    });
    let frame = history.frame(3, &audience).unwrap();
    let FrameBody::Change(change) = &frame.body else { panic!("a change: {frame:?}") };
    assert!(matches!(change.ops[..], [Op::FlagKills { .. }]), "{change:?}");
    assert!(frame.encode().unwrap().len() < 300);
}

#[test]
fn a_change_of_another_app_is_no_frame_and_needs_no_refetch() {
    let (mut history, audience, client) = shop_with_client();
    history
        .push(read(json!({"kind": "app_updated", "app": {"key": "desk", "name": "Desk", "created_at": 0}})));
    assert_eq!(history.frame(3, &audience), None);
    history.push(Change::Killed {
        kill_id: KillId::new("k1").unwrap(),
        reach: the_flag(),
        environment: None,
    });
    let killed = fold(Some(&client), &history.frame(4, &audience).unwrap());
    assert_eq!(killed.revision(), Revision(5));
}

#[test]
fn a_missed_frame_another_log_or_nonsense_is_an_error_and_changes_nothing() {
    let (mut history, audience, client) = shop_with_client();
    history.push(read(json!({"kind": "flag_updated", "app": "shop", "flag": flag("checkout", 2, false)})));
    history.push(Change::Killed {
        kill_id: KillId::new("k1").unwrap(),
        reach: the_flag(),
        environment: None,
    });
    let (missed, frame) = (history.frame(3, &audience).unwrap(), history.frame(4, &audience).unwrap());
    let before = client.to_frame();
    let error = |frame: &Frame| ClientState::fold(Some(&client), frame).unwrap_err();
    assert_eq!(error(&frame), FrameError::Gap { have: Revision(3), follows: Revision(4) });
    let foreign = Frame { log: LogId::new("log-2").unwrap(), ..missed.clone() };
    assert_eq!(error(&foreign), FrameError::OtherLog { found: LogId::new("log-2").unwrap() });
    let with_ops = |ops: Vec<Op>| {
        let FrameBody::Change(change) = &missed.body else { panic!("a change") };
        let mut change = change.clone();
        // A good step first: it must not stay behind when a later one fails.
        change.ops.extend(ops);
        Frame { body: FrameBody::Change(change), ..missed.clone() }
    };
    let nobody = FlagKey::new("nobody").unwrap();
    let nonsense = [
        Op::RemoveFlag { flag: nobody.clone() },
        Op::FlagKills { flag: nobody, kills: Default::default(), revision: Revision(4) },
        read(json!({"segment_members": {"segment": "nobody", "add": ["x"]}})),
        read(json!({"remove_segment": {"segment": "shared:nobody"}})),
        read(json!({"segment_condition": {"segment": "nobody"}})),
        read(json!({"put_flag": {"key": "x", "type": "boolean", "variants": [], "off_variant": "off",
            "targeting": {"on": true, "exposure": 1, "serve": {"variant": "on"}}, "expires_at": 1, "revision": 4}})),
    ];
    for op in nonsense {
        assert!(matches!(error(&with_ops(vec![op.clone()])), FrameError::Inconsistent { .. }), "{op:?}");
    }
    assert_eq!(client.to_frame(), before);
    assert_eq!(ClientState::fold(None, &missed).unwrap_err(), FrameError::NoState);
}

#[test]
fn an_environment_that_makes_room_for_another_of_its_key_takes_its_flags_along() {
    let (mut history, audience, client) = shop_with_client();
    assert_eq!(checkout(&client), "on Default");
    history.push(read(
        json!({"kind": "environment_created", "app": "shop", "replaces": ["production", "other"],
        "environment": environment("production", None), "expires_at": 3_000_000}),
    ));
    let another = fold(Some(&client), &history.frame(3, &audience).unwrap());
    assert_eq!(checkout(&another), "off Off");
    assert_eq!(another.to_frame(), fold(None, &history.snapshot(4, &audience).unwrap()).to_frame());
    // One that goes for the sake of another.
    history.push(read(json!({"kind": "environment_created", "app": "shop", "replaces": ["production"],
        "environment": environment("another", None), "expires_at": 3_000_000})));
    let gone = fold(Some(&another), &history.frame(4, &audience).unwrap());
    assert!(gone.is_gone());
}

#[test]
fn an_environment_that_is_removed_takes_its_flags_along_and_may_come_back() {
    let (mut history, audience, client) = shop_with_client();
    history.push(read(json!({"kind": "environment_removed", "app": "shop", "environment": "production"})));
    let gone = fold(Some(&client), &history.frame(3, &audience).unwrap());
    assert!(gone.is_gone());
    assert_eq!(checkout(&gone), "none");
    history.push(read(json!({"kind": "environment_created", "app": "shop",
        "environment": environment("production", None), "expires_at": 3_000_000})));
    let back = fold(Some(&gone), &history.frame(4, &audience).unwrap());
    assert_eq!(checkout(&back), "off Off");
}

#[test]
fn listeners_hear_of_flags_that_depend_on_what_changed() {
    let mut changes = two_apps();
    let states = |prerequisites: serde_json::Value, rules: serde_json::Value| {
        json!({"production": {"targeting": {"on": true, "exposure": 100, "serve": {"variant": "on"},
            "prerequisites": prerequisites, "rules": rules}, "expires_at": 2_000_000}})
    };
    let create = |key: &str, states: serde_json::Value| -> Change {
        read(json!({"kind": "flag_created", "app": "shop", "flag": flag(key, 1, false), "states": states}))
    };
    let rule = json!([{"id": "r", "when": {"segment": "beta"}, "serve": {"variant": "on"}}]);
    changes.push(read(json!({"kind": "segment_put", "scope": {"app": "shop"}, "segment": {"key": "beta"}})));
    changes.push(create("base", states(json!([]), rule)));
    changes.push(create("middle", states(json!([{"flag": "base", "variants": ["on"]}]), json!([]))));
    changes.push(create("top", states(json!([{"flag": "middle", "variants": ["on"]}]), json!([]))));
    changes.push(create("aside", states(json!([]), json!([]))));
    let mut history = History::new(changes);
    let audience = audience("shop", "production");
    let client = fold(None, &history.snapshot(7, &audience).unwrap());
    history.push(read(
        json!({"kind": "segment_members_changed", "scope": {"app": "shop"}, "segment": "beta", "add": ["x"]}),
    ));
    let (_, applied) = ClientState::fold(Some(&client), &history.frame(7, &audience).unwrap()).unwrap();
    let heard: Vec<&str> = applied.flags.iter().map(FlagKey::as_str).collect();
    assert_eq!(heard, ["base", "middle", "top"]);
}
