//! What happens because its time has come.

use rollout_rules::change::{Change, Command, Entry, NewEnvironment, TargetingPatch};
use rollout_rules::decide::{PREVIEW_ENDED, PREVIEW_GRACE};
use rollout_rules::flag::{EnvironmentKind, FlagKind, ScheduledChange};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{EnvKey, FlagKey, Revision, ScheduleId};
use rollout_rules::time::{DurationMs, UnixMs};
use tidegate::state::{Event, Published};

use crate::node::{Bench, START, app, create_app, published, request};

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
        browser: None,
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

fn preview() -> EnvKey {
    EnvKey::new("pr-1").expect("a key")
}

async fn with_preview(ends_at: UnixMs) -> Bench {
    let bench = with_flag(None).await;
    let environment =
        NewEnvironment { key: preview(), kind: EnvironmentKind::Preview, ends_at: Some(ends_at) };
    bench.submit(Command::CreateEnvironment { app: app("a"), environment }).await.expect("created");
    bench
}

fn is_gone(published: &Published) -> bool {
    published.folded.app(&app("a")).expect("there").environment(&preview()).is_none()
}

/// What the log holds of ends.
async fn ends(bench: &Bench) -> Vec<Entry> {
    let head = bench.state.log.head().revision;
    let mut tail = bench.state.log.tail(Revision::ZERO).expect("a tail");
    let mut entries = Vec::new();
    let mut seen = Revision::ZERO;
    while seen < head {
        for stored in tail.next().await.expect("entries") {
            seen = stored.revision;
            entries.push(Entry::decode(&stored.bytes).expect("an entry"));
        }
    }
    entries.retain(|entry| {
        matches!(entry.change, Change::EffectRequested { .. } | Change::EnvironmentRemoved { .. })
    });
    entries
}

#[tokio::test]
async fn a_preview_that_ended_a_day_ago_goes_and_whoever_keeps_what_belongs_to_it_is_told_once() {
    let ends_at = START.plus(DurationMs(60_000));
    let bench = with_preview(ends_at).await;
    // Two nodes with timers of their own, and a restart: one end all the same.
    let other = bench.another_node().await;
    bench.clock.set(ends_at.plus(PREVIEW_GRACE));
    bench.published(is_gone).await;
    published(&other, is_gone).await;
    let bench = bench.restart().await;
    bench.published(is_gone).await;
    bench.submit(create_app("b")).await.expect("created");
    let ends = ends(&bench).await;
    let [told, gone] = &ends[..] else { panic!("{ends:?}") };
    let Change::EffectRequested { effect, payload } = &told.change else { panic!("{told:?}") };
    assert_eq!(effect, PREVIEW_ENDED);
    assert_eq!(*payload, serde_json::json!({"app": "a", "environment": "pr-1", "ended_at": ends_at}));
    assert!(matches!(gone.change, Change::EnvironmentRemoved { .. }), "{gone:?}");
    assert!([told, gone].iter().all(|entry| entry.actor == Actor::Timer && !entry.reason.is_empty()));
    other.stop().await;
}

#[tokio::test]
async fn a_preview_that_people_removed_is_told_of_once() {
    let bench = with_preview(START.plus(DurationMs(60_000))).await;
    let removed = Change::EnvironmentRemoved { app: app("a"), environment: preview(), untold: true };
    bench.append(removed).await;
    let told = |published: &Published| published.folded.untold_end_count() == 0 && is_gone(published);
    bench.published(told).await;
    let bench = bench.restart().await;
    bench.published(told).await;
    bench.submit(create_app("b")).await.expect("created");
    let ends = ends(&bench).await;
    let [_removed, told] = &ends[..] else { panic!("{ends:?}") };
    let Change::EffectRequested { effect, payload } = &told.change else { panic!("{told:?}") };
    assert_eq!(effect, PREVIEW_ENDED);
    assert_eq!((&payload["app"], &payload["environment"]), (&"a".into(), &"pr-1".into()));
    assert_eq!(told.actor, Actor::Timer);
}

#[tokio::test]
async fn a_crash_between_telling_of_an_end_and_removing_the_preview_repeats_neither() {
    let ends_at = START.plus(DurationMs(60_000));
    let bench = with_preview(ends_at).await;
    let payload = serde_json::json!({"app": "a", "environment": "pr-1", "ended_at": ends_at});
    bench.append(Change::EffectRequested { effect: PREVIEW_ENDED.to_owned(), payload }).await;
    let bench = bench.restart().await;
    bench.clock.set(ends_at.plus(PREVIEW_GRACE));
    bench.published(is_gone).await;
    assert_eq!(ends(&bench).await.len(), 2);
}
