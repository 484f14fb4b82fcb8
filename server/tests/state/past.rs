//! What was known at past moments, folded from the log and its checkpoints.

use std::sync::Arc;

use rollout_rules::change::{Anchor, Entry};
use rollout_rules::ids::{Digest, Revision};
use rollout_rules::time::{DurationMs, UnixMs};
use tidegate::log::{ChangeLog as _, Expect, StoredCheckpoint};
use tidegate::state::{Moment, Past, PastError, PastState, Published};

use crate::node::{Bench, START, app_created, entry};

const MINUTE: u64 = 60_000;
const LAST: u64 = 12;

fn minute(n: u64) -> UnixMs {
    START.plus(DurationMs(n * MINUTE))
}

/// A log of so many entries, one a minute: entry `n` makes app `a{n}`.
async fn bench() -> (Bench, Arc<Published>) {
    let bench = Bench::new().await;
    for n in 1..=LAST {
        let entry = Entry { at: minute(n), ..entry(app_created(&format!("a{n}"))) };
        bench.state.log.append(Expect::Any, entry.encode().into()).await.expect("appended");
    }
    let published = bench.published(|published| published.revision() == Revision(LAST)).await;
    (bench, published)
}

fn past(bench: &Bench, limit: u64) -> Past {
    Past::within(Arc::new(bench.log.clone()), limit)
}

async fn at(past: &Past, published: &Published, moment: Moment) -> PastState {
    past.at(published, moment, minute(100)).await.expect("known")
}

/// Stores a checkpoint of a revision, or what is none under its name.
async fn store(bench: &Bench, published: &Published, revision: u64, broken: bool) {
    let state = at(&past(bench, LAST), published, Moment::Revision(Revision(revision))).await;
    let bytes = if broken { b"{}".to_vec() } else { state.snapshot.to_checkpoint().encode() };
    let anchor = Anchor { revision: state.snapshot.revision(), hash: state.snapshot.hash() };
    bench.log.store_checkpoint(&StoredCheckpoint { anchor, bytes }).expect("stored");
}

#[tokio::test]
async fn a_revision_is_known_as_it_was_and_when_it_was_written() {
    let (bench, published) = bench().await;
    let past = past(&bench, LAST);
    let mut hashes: Vec<Digest> = Vec::new();
    for n in 0..=LAST {
        let state = at(&past, &published, Moment::Revision(Revision(n))).await;
        assert_eq!(state.snapshot.app_count() as u64, n);
        assert_eq!(state.at, if n == 0 { UnixMs(0) } else { minute(n) });
        hashes.push(state.snapshot.hash());
    }
    assert_eq!(hashes.last(), Some(&published.folded.hash()));
    hashes.dedup();
    assert_eq!(hashes.len() as u64, LAST + 1);
    let ahead = past.at(&published, Moment::Revision(Revision(LAST + 1)), minute(100)).await;
    assert!(matches!(ahead, Err(PastError::Ahead { head: Revision(LAST) })));
}

#[tokio::test]
async fn a_time_means_the_last_entry_written_up_to_it() {
    let (bench, published) = bench().await;
    let past = past(&bench, LAST);
    for (moment, revision) in [
        (UnixMs(5), 0),
        (minute(0), 0),
        (minute(1), 1),
        (UnixMs(minute(7).0 - 1), 6),
        (minute(7), 7),
        (minute(LAST), LAST),
        (minute(99), LAST),
        (minute(500), LAST),
    ] {
        let state = at(&past, &published, Moment::Time(moment)).await;
        assert_eq!((state.snapshot.revision(), state.at), (Revision(revision), moment));
    }
}

#[tokio::test]
async fn several_moments_are_answered_in_the_order_in_which_they_are_asked() {
    let (bench, published) = bench().await;
    let moments = [9, 2, LAST, 2].map(|n| Moment::Revision(Revision(n))).to_vec();
    let states = past(&bench, LAST).each(&published, moments, minute(100)).await.expect("known");
    let revisions: Vec<u64> = states.iter().map(|state| state.snapshot.revision().0).collect();
    assert_eq!(revisions, [9, 2, LAST, 2]);
}

#[tokio::test]
async fn what_lies_too_far_from_a_checkpoint_is_refused_with_what_is_in_reach() {
    let (bench, published) = bench().await;
    let past = past(&bench, 3);
    let ask = |revision: u64| past.at(&published, Moment::Revision(Revision(revision)), minute(100));
    assert_eq!(ask(3).await.expect("in reach").snapshot.app_count(), 3);
    let refused = ask(4).await.err().expect("out of reach");
    assert!(refused.to_string().contains("more than 3 entries"), "{refused}");
    assert!(matches!(refused, PastError::TooFar { asked: Revision(4), reachable: Revision(3), .. }));
    store(&bench, &published, 4, false).await;
    for n in [4, 7] {
        assert_eq!(ask(n).await.expect("in reach").snapshot.app_count() as u64, n);
    }
    assert!(matches!(ask(8).await, Err(PastError::TooFar { reachable: Revision(7), .. })));
    // One that cannot be read is passed over for an older one.
    store(&bench, &published, 6, true).await;
    assert_eq!(ask(7).await.expect("in reach").snapshot.app_count(), 7);
    // What is published needs no folding.
    assert_eq!(ask(LAST).await.expect("at hand").snapshot.app_count() as u64, LAST);
}
