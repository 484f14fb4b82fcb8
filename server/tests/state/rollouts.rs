//! Rollouts that go on because their time has come, on nodes that all try.

use rollout_rules::change::{Change, Command, Entry};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{EnvKey, FlagKey, Revision};
use rollout_rules::time::{DurationMs, UnixMs};
use tidegate::state::{Event, Published};

use crate::node::{Bench, START, app, create_app, published, request};

fn flag() -> FlagKey {
    FlagKey::new("f").expect("a key")
}

fn production() -> EnvKey {
    EnvKey::new("production").expect("a key")
}

/// A node with a rollout that has just been started.
async fn rolling(plan: &str) -> Bench {
    let bench = Bench::new().await;
    bench.submit(create_app("a")).await.expect("created");
    let command = serde_json::json!({"do": "create_flag", "app": "a", "key": "f"});
    let made = bench.submit(serde_json::from_value(command).expect("a command")).await.expect("created");
    let seen = made.published.folded.flag(&app("a"), &flag()).map(|view| view.revision());
    let plan = plan.parse().expect("a plan");
    let command = Command::StartRollout { app: app("a"), flag: flag(), environment: production(), plan };
    let start = tidegate::state::Request { seen, ..request(command) };
    bench.state.commands.submit(start).await.expect("started");
    bench
}

fn stands(published: &Published, stage: u8, status: &str) -> bool {
    let view = published.folded.flag(&app("a"), &flag()).expect("there");
    let rollout = view.record().rollout(&production()).expect("started");
    rollout.stage == stage && rollout.status.as_str() == status
}

fn minutes(minutes: u64) -> UnixMs {
    START.plus(DurationMs(minutes * 60_000))
}

/// What the log holds of rollouts.
async fn entries(bench: &Bench) -> Vec<Entry> {
    let head = bench.state.log.head().revision;
    let mut tail = bench.state.log.tail(Revision::ZERO).expect("a tail");
    let (mut entries, mut seen) = (Vec::new(), Revision::ZERO);
    while seen < head {
        for stored in tail.next().await.expect("entries") {
            seen = stored.revision;
            entries.push(Entry::decode(&stored.bytes).expect("an entry"));
        }
    }
    entries.retain(|entry| entry.change.kind().as_str().starts_with("rollout"));
    entries
}

#[tokio::test]
async fn several_nodes_and_a_restart_take_each_step_once() {
    let bench = rolling("10%/30m,50%/30m,100%/30m").await;
    let other = bench.another_node().await;
    for (stage, at) in [(1, 30), (2, 60)] {
        bench.clock.set(minutes(at));
        bench.published(|published| stands(published, stage, "running")).await;
        published(&other, |published| stands(published, stage, "running")).await;
    }
    let bench = bench.restart().await;
    bench.clock.set(minutes(90));
    bench.published(|published| stands(published, 2, "completed")).await;
    published(&other, |published| stands(published, 2, "completed")).await;
    bench.submit(create_app("b")).await.expect("created");
    let entries = entries(&bench).await;
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.change.kind().as_str()).collect();
    assert_eq!(kinds, ["rollout_started", "rollout_advanced", "rollout_advanced", "rollout_ended"]);
    assert!(entries[1..].iter().all(|entry| entry.actor == Actor::Timer));
    other.stop().await;
}

#[tokio::test]
async fn a_node_that_was_away_takes_one_stage_and_holds_it() {
    let bench = rolling("10%/30m,50%/30m,100%").await;
    let Bench { clock, .. } = &bench;
    clock.set(minutes(0));
    let bench = bench.restart().await;
    bench.clock.set(minutes(24 * 60));
    let published = bench.published(|published| stands(published, 1, "running")).await;
    assert_eq!(published.folded.next_rollout_due(UnixMs(0)), Some(minutes(24 * 60 + 30)));
    bench.clock.set(minutes(24 * 60 + 30));
    bench.published(|published| stands(published, 2, "completed")).await;
    let entries = entries(&bench).await;
    assert!(matches!(entries.last().expect("one").change, Change::RolloutEnded { .. }), "{entries:?}");
}

#[tokio::test]
async fn a_stage_that_is_due_waits_until_what_was_reported_before_the_start_is_judged() {
    let bench = rolling("10%/30m,50%/30m,100%").await;
    for (key, expires) in [("g", 40), ("h", 50)] {
        let command =
            serde_json::json!({"do": "create_flag", "app": "a", "key": key, "expires_at": minutes(expires)});
        bench.submit(serde_json::from_value(command).expect("a command")).await.expect("created");
    }
    let bench = bench.restart_as(true).await;
    bench.state.live.settled().await;
    let (_, mut events) = bench.state.live.subscribe();
    // When the second is told of the timer has looked at what was due at the first.
    for expiry in [40, 50] {
        bench.clock.set(minutes(expiry));
        while !matches!(events.recv().await.expect("told"), Event::Boundary { at } if at == minutes(expiry)) {
        }
    }
    assert!(stands(&bench.state.live.load(), 0, "running"));
    bench.state.live.rollouts_may_go_on();
    bench.published(|published| stands(published, 1, "running")).await;
}

#[tokio::test]
async fn a_stage_that_asks_for_approval_waits_without_a_timer() {
    let bench = rolling("10%/30m,approve,100%").await;
    bench.clock.set(minutes(30));
    let published = bench.published(|published| stands(published, 0, "waiting")).await;
    assert_eq!(published.folded.next_rollout_due(UnixMs(0)), None);
}
