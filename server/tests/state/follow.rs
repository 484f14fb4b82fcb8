//! What is in the log is published, whoever wrote it.

use rollout_rules::change::Command;
use rollout_rules::ids::Revision;
use tidegate::log::Expect;
use tidegate::state::{Event, Readiness, SubmitError};

use crate::node::{Bench, app, app_created};

#[tokio::test]
async fn what_others_append_is_published_in_order_with_the_fold_before_and_after() {
    let bench = Bench::new().await;
    let (_, mut events) = bench.state.live.subscribe();
    for name in ["a", "b", "c"] {
        bench.append(app_created(name)).await;
    }
    for (revision, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let Ok(Event::Entry { revision: found, before, published, .. }) = events.recv().await else {
            panic!("an entry")
        };
        assert_eq!(found, Revision(revision));
        assert!(before.app(&app(name)).is_none() && published.folded.app(&app(name)).is_some());
    }
}

#[tokio::test]
async fn an_unknown_entry_stops_the_fold_and_is_never_skipped() {
    let bench = Bench::new().await;
    bench.append(app_created("a")).await;
    let unknown = br#"{"v":9999,"at":0,"change":{"kind":"miracle"}}"#;
    bench.state.log.append(Expect::Any, unknown[..].into()).await.expect("appended");
    bench.append(app_created("b")).await;
    let mut readiness = bench.state.live.watch_readiness();
    let stopped = readiness.wait_for(|now| *now != Readiness::Ready).await.expect("told").clone();
    assert!(matches!(stopped, Readiness::UnknownEntry { revision: Revision(2), .. }), "{stopped:?}");
    let published = bench.state.live.load_full();
    assert_eq!(published.revision(), Revision(1));
    assert!(published.snapshot.app(&app("b")).is_none());
    let command = Command::ArchiveFlag { app: app("a"), flag: "f".parse().expect("a key") };
    assert!(matches!(bench.submit(command).await, Err(SubmitError::Unavailable)));
}

#[tokio::test]
async fn a_restart_goes_on_from_the_checkpoint_and_folds_to_the_same() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.append(app_created(name)).await;
    }
    let before = bench.published(|published| published.revision() == Revision(3)).await;
    let bench = bench.restart().await;
    let stored = bench.state.log.load_checkpoint(Revision(9)).expect("loads").expect("stored at the end");
    assert_eq!(stored.anchor.revision, Revision(3));
    let after = bench.state.live.load_full();
    assert_eq!((after.revision(), after.folded.hash()), (Revision(3), before.folded.hash()));
    assert_eq!(after.folded.to_checkpoint().encode(), before.folded.to_checkpoint().encode());
}
