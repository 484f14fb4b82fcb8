//! The fold: total on whatever is in the log, and the same from a checkpoint as from the beginning.

use crate::world;

use std::fmt::Write as _;

use proptest::prelude::*;
use rollout_rules::change::{Anchor, Change, Entry};
use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, Digest, EnvKey, FlagKey, ProposalId, Revision, SegmentKey};
use rollout_rules::snapshot::{CHECKPOINT_FORMAT, Checkpoint, CheckpointError, Snapshot};
use rollout_rules::time::UnixMs;
use world::random::changes::changes;
use world::random::{APPS, ENVIRONMENTS, FLAGS, USERS};
use world::{START, app, env, flag};

fn entry((change, at, proposal): (Change, u64, bool)) -> Entry {
    Entry {
        version: 1,
        at: UnixMs(START.0 + at),
        actor: Actor::Tidegate,
        token: None,
        reason: String::new(),
        anchor: Anchor::default(),
        idempotency_key: None,
        request: None,
        proposal: proposal.then(|| ProposalId::new("p1").expect("an id")),
        plan: None,
        change,
    }
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (changes(), 0_u64..3_000_000_000, proptest::bool::weighted(0.1)).prop_map(entry);
    proptest::collection::vec(one, 0..60)
}

fn fold(from: Snapshot, entries: &[Entry]) -> Snapshot {
    entries.iter().fold(from, |snapshot, entry| {
        snapshot.apply(snapshot.revision().next(), snapshot.hash().chain(&entry.encode()), entry)
    })
}

/// Everything that can be asked of a snapshot, besides what its checkpoint holds.
fn picture(snapshot: &Snapshot) -> String {
    let mut picture = String::new();
    let moments = [0, 10, 20, 40].map(|days| UnixMs(START.0 + days * 86_400_000));
    for (app, environment) in APPS.iter().flat_map(|a| ENVIRONMENTS.iter().map(|e| (app(a), env(e)))) {
        let _ = writeln!(picture, "{app} {environment} {}", snapshot.feed_revision(&app, &environment));
        for now in moments {
            let boundary = snapshot.boundary(&app, &environment, now);
            let next = snapshot.next_boundary_in(&app, &environment, now);
            let _ = writeln!(picture, "{boundary} {next:?}");
            answers(snapshot, &app, &environment, &mut picture, now);
        }
    }
    for now in moments {
        let _ = writeln!(
            picture,
            "{:?} {:?}",
            snapshot.next_boundary(now),
            snapshot.due(now).collect::<Vec<_>>()
        );
    }
    for name in APPS.map(app) {
        let _ = writeln!(picture, "open {}", snapshot.open_proposals(Some(&name)));
        for key in FLAGS.map(flag) {
            let dependents: Vec<&FlagKey> =
                snapshot.app(&name).into_iter().flat_map(|app| app.dependents(&key)).collect();
            let _ = writeln!(picture, "{dependents:?}");
        }
        for key in ["s", "t"].map(|key| SegmentKey::new(key).expect("a key")) {
            let users: Vec<&FlagKey> =
                snapshot.app(&name).into_iter().flat_map(|app| app.users_of_segment(&key)).collect();
            let shared: Vec<_> = snapshot.users_of_shared_segment(&key).collect();
            let _ = writeln!(picture, "{users:?} {shared:?}");
        }
    }
    picture
}

fn answers(snapshot: &Snapshot, app: &AppKey, environment: &EnvKey, picture: &mut String, now: UnixMs) {
    let Some(set) = snapshot.flag_set(app, environment) else { return };
    for (key, user) in FLAGS.iter().flat_map(|key| USERS.iter().map(move |user| (key, user))) {
        let answer = evaluate(&set, key, &Context::new(user), now);
        let answer = answer.map(|it| (it.variant().clone(), it.reason, it.revision()));
        let _ = writeln!(picture, "{answer:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_in_the_log_applies(entries in entries()) {
        let snapshot = fold(Snapshot::default(), &entries);
        prop_assert_eq!(snapshot.revision(), Revision(entries.len() as u64));
        picture(&snapshot);
    }

    #[test]
    fn entries_are_read_as_they_were_written(entries in entries()) {
        for entry in entries {
            let bytes = entry.encode();
            let read = Entry::decode(&bytes).expect("what was written is read");
            prop_assert_eq!(&read.encode(), &bytes);
            prop_assert_eq!(read, entry);
        }
    }

    #[test]
    fn folding_from_a_checkpoint_is_folding_from_the_beginning(entries in entries(), cut in 0_usize..60) {
        let (before, after) = entries.split_at(cut.min(entries.len()));
        let whole = fold(Snapshot::default(), &entries);
        let stored = fold(Snapshot::default(), before).to_checkpoint().encode();
        let loaded = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("a checkpoint"));
        prop_assert_eq!(&loaded.to_checkpoint().encode(), &stored, "a checkpoint loads as it was stored");
        let continued = fold(loaded, after);
        prop_assert_eq!(continued.hash(), whole.hash());
        let text = |snapshot: &Snapshot| String::from_utf8(snapshot.to_checkpoint().encode()).expect("text");
        prop_assert_eq!(text(&continued), text(&whole));
        prop_assert_eq!(picture(&continued), picture(&whole));
    }

    #[test]
    fn folding_leaves_the_snapshot_before_it_as_it_was(entries in entries(), more in entries()) {
        let before = fold(Snapshot::default(), &entries);
        let (stored, seen) = (before.to_checkpoint().encode(), picture(&before));
        fold(before.clone(), &more);
        prop_assert_eq!(before.to_checkpoint().encode(), stored);
        prop_assert_eq!(picture(&before), seen);
    }
}

#[test]
fn a_checkpoint_of_another_format_is_refused_and_so_is_a_torn_one() {
    let stored = Snapshot::default().to_checkpoint().encode();
    let text = String::from_utf8(stored.clone()).expect("text");
    let other = |format: u16| {
        let said = format!(r#""format":{CHECKPOINT_FORMAT},"#);
        assert!(text.contains(&said), "{text}");
        text.replacen(&said, &format!(r#""format":{format},"#), 1)
    };
    for format in [0, CHECKPOINT_FORMAT + 1] {
        let refused = Checkpoint::decode(other(format).as_bytes()).err();
        assert_eq!(refused, Some(CheckpointError::Format { found: format }));
    }
    let torn = Checkpoint::decode(&stored[..stored.len() - 1]);
    assert!(matches!(torn, Err(CheckpointError::Malformed { .. })));
    assert_eq!(Checkpoint::decode(&stored).map(|it| it.hash()).ok(), Some(Digest::default()));
}
