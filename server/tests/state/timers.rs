//! What happens because its time has come.

use rollout_rules::change::{Command, TargetingPatch};
use rollout_rules::flag::{FlagKind, ScheduledChange};
use rollout_rules::ids::{EnvKey, FlagKey, ScheduleId};
use rollout_rules::time::{DurationMs, UnixMs};
use tidegate::state::{Event, Published};

use crate::node::{Bench, START, app, create_app, request};

fn flag() -> FlagKey {
    FlagKey::new("f").expect("a key")
}

fn sandbox() -> EnvKey {
    EnvKey::new("sandbox").expect("a key")
}

async fn with_flag(expires_at: Option<UnixMs>) -> Bench {
    let bench = Bench::new().await;
    bench.submit(create_app("a")).await.expect("created");
    let command = Command::CreateFlag {
        app: app("a"),
        key: flag(),
        kind: FlagKind::Boolean,
        variants: Vec::new(),
        off_variant: None,
        description: String::new(),
        owner: String::new(),
        critical: false,
        expires_at,
    };
    bench.submit(command).await.expect("created");
    bench
}

fn is_on(published: &Published, now: UnixMs) -> bool {
    let view = published.folded.flag(&app("a"), &flag()).expect("there");
    view.targeting(&sandbox(), now).expect("there").on
}

#[tokio::test]
async fn a_scheduled_step_is_made_when_its_time_comes() {
    let bench = with_flag(None).await;
    let at = START.plus(DurationMs(60_000));
    let id = ScheduleId::new("go").expect("an id");
    let step = ScheduledChange { id, at, on: Some(true), exposure: None };
    let patch = TargetingPatch { schedule: Some(vec![step]), ..TargetingPatch::default() };
    let command =
        Command::SetTargeting { app: app("a"), flag: flag(), environment: sandbox(), patch: Box::new(patch) };
    let seen = bench.state.live.load().folded.flag(&app("a"), &flag()).map(|view| view.revision());
    let mut request = request(command);
    request.seen = seen;
    let planned = bench.state.commands.submit(request).await.expect("planned");
    assert!(!is_on(&planned.published, bench.clock.clock().now()));
    bench.clock.set(at);
    let made = bench.published(|published| is_on(published, at)).await;
    assert!(made.folded.next_due().is_none(), "it is done once");
}

#[tokio::test]
async fn whoever_pushes_answers_is_told_when_some_change_by_themselves() {
    let expires_at = START.plus(DurationMs(60_000));
    let bench = with_flag(Some(expires_at)).await;
    let (_, mut events) = bench.state.live.subscribe();
    bench.clock.set(expires_at);
    let event = events.recv().await.expect("told");
    assert!(matches!(event, Event::Boundary { at } if at == expires_at));
}
