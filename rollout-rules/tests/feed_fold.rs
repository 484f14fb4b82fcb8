//! A client that folds its feed knows what the server knows, wherever it came in.
#![cfg(feature = "regex-build")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use rollout_rules::change::{Anchor, Change, ENTRY_VERSION, Entry, Reach};
use rollout_rules::context::Context;
use rollout_rules::evaluate::{FlagSet, evaluate_all};
use rollout_rules::feed::state::MAX_OVERLAYS;
use rollout_rules::feed::{Audience, ClientState, Frame, FrameBody, FrameError, Op, Overlay};
use rollout_rules::flag::{Hold, HoldCause, Segment, SegmentScope};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, Digest, EnvKey, FlagKey, KillId, LogId, Revision, SegmentKey};
use rollout_rules::project::{overlay_frame, project, snapshot_frame};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use serde::de::DeserializeOwned;
use serde_json::json;

fn read<T: DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn log() -> LogId {
    LogId::new("log-1").unwrap()
}

fn audience(app: &str, environment: &str) -> Audience {
    Audience::Server { app: AppKey::new(app).unwrap(), environment: EnvKey::new(environment).unwrap() }
}

fn entry(change: Change) -> Entry {
    Entry {
        version: ENTRY_VERSION,
        at: UnixMs(1_000_000),
        actor: Actor::Human { name: "ann".into() },
        token: None,
        reason: "a secret reason".into(),
        anchor: Anchor::default(),
        idempotency_key: None,
        request: None,
        proposal: None,
        plan: None,
        change,
    }
}

/// A log under construction, with every snapshot on the way.
struct History {
    snapshots: Vec<Snapshot>,
    entries: Vec<Entry>,
}

impl History {
    fn new(changes: impl IntoIterator<Item = Change>) -> History {
        let mut history = History { snapshots: vec![Snapshot::default()], entries: vec![] };
        changes.into_iter().for_each(|change| history.push(change));
        history
    }

    fn push(&mut self, change: Change) {
        let before = self.snapshots.last().unwrap();
        let entry = entry(change);
        self.snapshots.push(before.apply(before.revision().next(), Digest::default(), &entry));
        self.entries.push(entry);
    }

    /// What the last entry means to an audience, through its JSON.
    fn frame(&self, at: usize, audience: &Audience) -> Option<Frame> {
        let (before, after) = (&self.snapshots[at], &self.snapshots[at + 1]);
        let frame = project(before, after, &log(), &self.entries[at], audience)?;
        assert_eq!(frame.revision, after.revision());
        Some(Frame::decode(&frame.encode().unwrap()).unwrap())
    }

    fn snapshot(&self, at: usize, audience: &Audience) -> Option<Frame> {
        let frame = snapshot_frame(&self.snapshots[at], &log(), audience)?;
        Some(Frame::decode(&frame.encode().unwrap()).unwrap())
    }
}

fn fold(base: Option<&ClientState>, frame: &Frame) -> ClientState {
    ClientState::fold(base, frame).unwrap().0
}

const APPS: [&str; 2] = ["shop", "desk"];
const ENVIRONMENTS: [&str; 2] = ["production", "sandbox"];
const FLAGS: [&str; 3] = ["checkout", "a/b", "search"];

fn environment(name: &str, ends_at: Option<u64>) -> serde_json::Value {
    json!({"key": name, "kind": if ends_at.is_some() { "preview" } else { "production" }, "created_at": 0, "ends_at": ends_at})
}

fn condition(pick: u8) -> serde_json::Value {
    match pick % 6 {
        0 => json!({"segment": "beta"}),
        1 => json!({"segment": "shared:staff"}),
        2 => json!({"all": [{"segment": "beta"}, {"not": {"segment": "shared:staff"}}]}),
        3 => json!({"attribute": "plan", "op": "regex", "values": ["^pro\\d+$"]}),
        4 => json!({"attribute": "plan", "op": "in", "values": ["free", "pro"]}),
        _ => json!({"segment": "nobody-made-it"}),
    }
}

fn targeting(a: u8, b: u8, flag: &str) -> serde_json::Value {
    let rules: Vec<_> = (0..a % 3)
        .map(|i| json!({"id": format!("r{i}"), "description": "a secret note", "when": condition(b.wrapping_add(i)),
            "serve": {"variant": "on"}}))
        .collect();
    let prerequisites = match (b % 5, flag) {
        (0, "search") => json!([{"flag": "checkout", "variants": ["on"]}]),
        _ => json!([]),
    };
    json!({"on": !a.is_multiple_of(4), "exposure": b % 101, "serve": {"variant": "on"}, "rules": rules,
        "prerequisites": prerequisites, "targets": [{"variant": "on", "units": ["ann"]}]})
}

fn state(a: u8, b: u8, flag: &str) -> serde_json::Value {
    json!({"targeting": targeting(a, b, flag), "expires_at": 2_000_000 + u64::from(b)})
}

fn flag(key: &str, a: u8, archived: bool) -> serde_json::Value {
    json!({"key": key, "type": "boolean", "off_variant": "off", "description": "a secret text", "owner": "ann",
        "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}, {"key": format!("v{a}"), "value": true}],
        "created_at": 0, "archived_at": archived.then_some(5)})
}

/// Any change, often of things that are there, sometimes nonsense.
fn change((kind, a, b, c): (u8, u8, u8, u8)) -> Change {
    let app = APPS[usize::from(a) % 2];
    let env = ENVIRONMENTS[usize::from(b) % 2];
    let key = FLAGS[usize::from(c) % 3];
    let reach = match a % 5 {
        0 => Reach::Everything,
        1 => Reach::App { app: AppKey::new(app).unwrap() },
        _ => Reach::Flag { app: AppKey::new(app).unwrap(), flag: FlagKey::new(key).unwrap() },
    };
    let only = (b % 3 == 0).then(|| EnvKey::new(env).unwrap());
    let shared = a % 2 == 0;
    let scope = if shared { SegmentScope::Shared } else { SegmentScope::App(AppKey::new(app).unwrap()) };
    let segment = SegmentKey::new(if shared { "staff" } else { "beta" }).unwrap();
    let units = |from: u8| (from % 8..8).map(|i| Arc::from(format!("unit-{i}"))).collect::<Vec<Arc<str>>>();
    match kind % 16 {
        0 => read(
            json!({"kind": "app_updated", "app": {"key": app, "name": format!("n{c}"), "created_at": 0}}),
        ),
        1 => read(json!({"kind": "environment_created", "app": app, "environment": environment(env, None),
            "expires_at": 3_000_000, "replaces": if c % 2 == 0 { vec![ENVIRONMENTS[usize::from(c / 2) % 2]] } else { vec![] }})),
        2 => read(json!({"kind": "environment_updated", "app": app,
            "environment": environment(env, (c % 2 == 0).then_some(1_500_000 + u64::from(c)))})),
        3 if c % 3 == 0 => read(json!({"kind": "environment_removed", "app": app, "environment": env})),
        3 | 4 => read(json!({"kind": "flag_created", "app": app, "flag": flag(key, c, false),
            "states": {"production": state(a, b, key), "sandbox": state(b, c, key)}})),
        5 => read(json!({"kind": "flag_updated", "app": app, "flag": flag(key, c, false)})),
        6 | 7 => read(json!({"kind": "targeting_changed", "app": app, "flag": key, "environment": env,
            "targeting": targeting(b, c, key), "release_hold": c % 2 == 0})),
        8 => read(
            json!({"kind": "flag_extended", "app": app, "flag": key, "expires_at": {env: 4_000_000 + u64::from(c)}}),
        ),
        9 if c % 2 == 0 => read(json!({"kind": "flag_archived", "app": app, "flag": key})),
        9 | 10 => {
            Change::Killed { kill_id: KillId::new(&format!("k{}", c % 6)).unwrap(), reach, environment: only }
        }
        11 => Change::Revived { reach, environment: only },
        12 => Change::HoldChanged {
            app: AppKey::new(app).unwrap(),
            flag: FlagKey::new(key).unwrap(),
            environment: EnvKey::new(env).unwrap(),
            hold: (c % 2 == 0).then(|| Hold {
                cause: HoldCause::Budget,
                at: UnixMs(7),
                reason: "a secret cause".into(),
            }),
        },
        13 => {
            let when = (c % 2 == 0).then(|| {
                Box::new(read(json!({"attribute": "plan", "op": "regex", "values": [format!("x{c}+")]})))
            });
            Change::SegmentPut {
                scope,
                segment: Segment { key: segment, description: "secret".into(), when },
            }
        }
        14 => Change::SegmentMembersChanged { scope, segment, add: units(b), remove: units(c) },
        _ => Change::SegmentRemoved { scope, segment },
    }
}

fn two_apps() -> Vec<Change> {
    let app = |key: &str| -> Change {
        read(json!({"kind": "app_created", "app": {"key": key, "owner": "ann", "created_at": 0},
            "environments": [environment("production", None), environment("sandbox", None)]}))
    };
    vec![app("shop"), app("desk")]
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..40)
}

/// The answers at some moments to some people.
fn answers(flags: FlagSet<'_>) -> Vec<String> {
    let contexts = [
        Context::anonymous(),
        Context::new("ann"),
        Context::new("unit-5").with("plan", "pro7"),
        Context::new("unit-1").with("plan", "x2"),
    ];
    let moments = [UnixMs(1_000_000), UnixMs(1_500_100), UnixMs(2_000_100)];
    let mut answers = Vec::new();
    for context in &contexts {
        for now in moments {
            for answer in evaluate_all(&flags, context, now) {
                answers.push(format!(
                    "{} {} {:?} {}",
                    answer.key(),
                    answer.variant(),
                    answer.reason,
                    answer.revision()
                ));
            }
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_client_knows_what_the_server_knows_wherever_it_came_in(steps in steps()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        for audience in [audience("shop", "production"), audience("desk", "sandbox")] {
            let mut clients: Vec<ClientState> = Vec::new();
            for at in 0..history.entries.len() {
                let frame = history.frame(at, &audience);
                if let Some(frame) = &frame {
                    clients = clients.iter().map(|client| fold(Some(client), frame)).collect();
                }
                match history.snapshot(at + 1, &audience) {
                    None => prop_assert!(clients.iter().all(ClientState::is_gone)),
                    Some(snapshot) => {
                        let fresh = fold(None, &snapshot);
                        let Audience::Server { app, environment } = &audience else { continue };
                        let server = answers(history.snapshots[at + 1].flag_set(app, environment).unwrap());
                        prop_assert_eq!(&answers(fresh.flag_set()), &server, "after entry {}", at + 1);
                        for client in &clients {
                            prop_assert_eq!(&client.to_frame().body, &snapshot.body, "after entry {}", at + 1);
                            prop_assert_eq!(&answers(client.flag_set()), &server);
                        }
                        clients.push(fresh);
                    }
                }
                // A client that came back resumes with the frames it has missed; those it has seen and
                // gets again do no harm.
                if let (Some(frame), Some(client)) = (&frame, clients.first()) {
                    let (again, applied) = ClientState::fold(Some(client), frame).unwrap();
                    prop_assert!(again.to_frame() == client.to_frame());
                    prop_assert!(!applied.moved || matches!(frame.body, FrameBody::Snapshot(_)));
                }
            }
        }
    }

    #[test]
    fn what_is_kept_on_disk_is_what_was_served(steps in steps()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        let audience = audience("shop", "production");
        if let Some(snapshot) = history.snapshot(history.entries.len(), &audience) {
            let client = fold(None, &snapshot);
            let kept = Frame::decode(&client.to_frame().encode().unwrap()).unwrap();
            let again = fold(None, &kept);
            prop_assert_eq!(again.to_frame(), client.to_frame());
            prop_assert_eq!(again.resume_token(), client.resume_token());
            prop_assert_eq!(answers(again.flag_set()), answers(client.flag_set()));
        }
    }

    #[test]
    fn nothing_about_people_and_their_words_travels(steps in steps()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        for at in 0..history.entries.len() {
            for frame in [history.frame(at, &audience("shop", "production")), history.snapshot(at, &audience("shop", "production"))] {
                let text = frame.map(|frame| String::from_utf8(frame.encode().unwrap()).unwrap()).unwrap_or_default();
                prop_assert!(!text.contains("secret"), "{}", text);
                prop_assert!(!text.contains("owner") && !text.contains("actor") && !text.contains("reason"), "{}", text);
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_is_no_frame(steps in steps(), cut in any::<prop::sample::Index>()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        let at = history.entries.len();
        if let Some(frame) = history.snapshot(at, &audience("shop", "production")) {
            let json = frame.encode().unwrap();
            prop_assert!(Frame::decode(&json[..cut.index(json.len())]).is_err());
        }
    }
}

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
