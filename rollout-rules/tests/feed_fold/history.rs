//! A log under construction, and the frames that come of it.

use rollout_rules::change::{Anchor, Change, ENTRY_VERSION, Entry};
use rollout_rules::feed::{Audience, ClientState, Frame};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, Digest, EnvKey, LogId};
use rollout_rules::project::{project, snapshot_frame};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use serde::de::DeserializeOwned;
use serde_json::json;

pub(crate) fn read<T: DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn log() -> LogId {
    LogId::new("log-1").unwrap()
}

pub(crate) fn audience(app: &str, environment: &str) -> Audience {
    Audience::Server { app: AppKey::new(app).unwrap(), environment: EnvKey::new(environment).unwrap() }
}

pub(crate) fn entry(change: Change) -> Entry {
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
pub(crate) struct History {
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) entries: Vec<Entry>,
}

impl History {
    pub(crate) fn new(changes: impl IntoIterator<Item = Change>) -> History {
        let mut history = History { snapshots: vec![Snapshot::default()], entries: vec![] };
        changes.into_iter().for_each(|change| history.push(change));
        history
    }

    pub(crate) fn push(&mut self, change: Change) {
        let before = self.snapshots.last().unwrap();
        let entry = entry(change);
        self.snapshots.push(before.apply(before.revision().next(), Digest::default(), &entry));
        self.entries.push(entry);
    }

    /// What the last entry means to an audience, through its JSON.
    pub(crate) fn frame(&self, at: usize, audience: &Audience) -> Option<Frame> {
        let (before, after) = (&self.snapshots[at], &self.snapshots[at + 1]);
        let frame = project(before, after, &log(), &self.entries[at], audience)?;
        assert_eq!(frame.revision, after.revision());
        Some(Frame::decode(&frame.encode().unwrap()).unwrap())
    }

    pub(crate) fn snapshot(&self, at: usize, audience: &Audience) -> Option<Frame> {
        let frame = snapshot_frame(&self.snapshots[at], &log(), audience)?;
        Some(Frame::decode(&frame.encode().unwrap()).unwrap())
    }
}

pub(crate) fn fold(base: Option<&ClientState>, frame: &Frame) -> ClientState {
    ClientState::fold(base, frame).unwrap().0
}

pub(crate) fn environment(name: &str, ends_at: Option<u64>) -> serde_json::Value {
    json!({"key": name, "kind": if ends_at.is_some() { "preview" } else { "production" }, "created_at": 0, "ends_at": ends_at})
}

pub(crate) fn two_apps() -> Vec<Change> {
    let app = |key: &str| -> Change {
        read(json!({"kind": "app_created", "app": {"key": key, "owner": "ann", "created_at": 0},
            "environments": [environment("production", None), environment("sandbox", None)]}))
    };
    vec![app("shop"), app("desk")]
}
