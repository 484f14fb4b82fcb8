//! What a node makes of a log that loses answers, answers late, or has been overtaken: every command is done
//! once, and its caller told so.

use std::sync::Arc;

use rollout_rules::change::{Change, Reach};
use rollout_rules::ids::Revision;
use serde_json::json;
use tidegate::clock::TestClock;
use tidegate::log::AppendError;
use tidegate::state::{Applied, Readiness, State, StateConfig, SubmitError};
use tokio::task::JoinHandle;

use crate::node::{START, app, app_created, create_app, entry, kill_everything, published, request};
use crate::scripted::ScriptedLog;

type Answer = Result<Applied, SubmitError>;

/// A ready node; revision 1 is a kill, so that the same one again is answered without the log.
async fn node() -> (ScriptedLog, State) {
    let log = ScriptedLog::new();
    let clock = TestClock::at(START).clock();
    let state = State::start(StateConfig::default(), Arc::new(log.clone()), clock).expect("starts");
    assert_eq!(state.live.settled().await, Readiness::Ready);
    state.commands.submit(request(kill_everything("known"))).await.expect("killed");
    log.play_by_hand();
    (log, state)
}

fn submit(state: &State, command: rollout_rules::change::Command) -> JoinHandle<Answer> {
    let commands = state.commands.clone();
    tokio::spawn(async move { commands.submit(request(command)).await })
}

/// Lets the node come round a few times: it has seen then what it was told before.
async fn come_round(state: &State) {
    for _ in 0..20 {
        let again = state.commands.submit(request(kill_everything("known"))).await.expect("known");
        assert!(again.already);
    }
}

async fn done(answer: JoinHandle<Answer>) -> Revision {
    answer.await.expect("no panic").unwrap_or_else(|error| panic!("{error}: {error:?}")).revision
}

/// Two commands under way, asked for as the first and second.
async fn two_under_way(log: &ScriptedLog, state: &State) -> (JoinHandle<Answer>, JoinHandle<Answer>) {
    let one = submit(state, create_app("one"));
    assert_eq!(log.asked(1).await, Some(Revision(1)));
    let two = submit(state, create_app("two"));
    assert_eq!(log.asked(2).await, Some(Revision(2)));
    (one, two)
}

#[tokio::test]
async fn a_command_behind_a_lost_acknowledgement_is_done_once() {
    let (log, state) = node().await;
    let (one, two) = two_under_way(&log, &state).await;
    // Nobody knows of the first, and then both turn out to be in the log.
    log.tell(0, Err(AppendError::Unknown)).await;
    come_round(&state).await;
    log.write(0).await.expect("written");
    let second = log.write(1).await.expect("written");
    published(&state, |published| published.revision() == Revision(3)).await;
    log.tell(1, Ok(second)).await;
    assert_eq!((done(one).await, done(two).await), (Revision(2), Revision(3)));
    assert_eq!(log.asked(2).await, Some(Revision(2)), "nothing was asked for again");
}

#[tokio::test]
async fn a_command_whose_own_acknowledgement_is_lost_after_it_was_seen_is_done_once() {
    let (log, state) = node().await;
    let (one, two) = two_under_way(&log, &state).await;
    let first = log.write(0).await.expect("written");
    log.write(1).await.expect("written");
    assert_eq!((done(one).await, done(two).await), (Revision(2), Revision(3)));
    // Too late to matter, and wrong.
    log.tell(1, Err(AppendError::Unknown)).await;
    log.tell(0, Ok(first)).await;
    come_round(&state).await;
    let third = submit(&state, create_app("three"));
    assert_eq!(log.asked(3).await, Some(Revision(3)));
    log.write(2).await.expect("written");
    assert_eq!(done(third).await, Revision(4));
}

#[tokio::test]
async fn commands_that_were_overtaken_are_decided_again_on_what_overtook_them() {
    let (log, state) = node().await;
    let (one, two) = two_under_way(&log, &state).await;
    // Another node makes the app that the second one asks for.
    log.write_other(entry(app_created("two")).encode()).await;
    for nth in [0, 1] {
        // Also the second, which expects the first at the very place where the other node's is.
        let refused = log.write(nth).await;
        assert!(matches!(refused, Err(AppendError::Conflict { head: Revision(2) })), "{refused:?}");
        log.tell(nth, Err(AppendError::Conflict { head: Revision(2) })).await;
    }
    assert_eq!(log.asked(3).await, Some(Revision(2)), "the first, on what is there now");
    let written = log.write(2).await.expect("written");
    log.tell(2, Ok(written)).await;
    assert_eq!(done(one).await, Revision(3));
    let refused = two.await.expect("no panic").err().expect("refused");
    assert!(refused.to_string().contains("exists already"), "{refused}");
}

#[tokio::test]
async fn what_was_decided_on_an_entry_that_failed_is_not_written_behind_another_in_its_place() {
    let (log, state) = node().await;
    let one = submit(&state, create_app("one"));
    log.asked(1).await;
    let flag = json!({"do": "create_flag", "app": "one", "key": "f"});
    let two = submit(&state, serde_json::from_value(flag).expect("a command"));
    assert_eq!(log.asked(2).await, Some(Revision(2)));
    // A kill from elsewhere comes first: there is no app `one` when the flag's turn comes.
    log.write_other(entry(killed("other")).encode()).await;
    for nth in [0, 1] {
        let refused = log.write(nth).await.expect_err("refused");
        log.tell(nth, Err(refused)).await;
    }
    for (nth, expected) in [(3, 2), (4, 3)] {
        assert_eq!(log.asked(nth).await, Some(Revision(expected)));
        let written = log.write(nth - 1).await.expect("written");
        log.tell(nth - 1, Ok(written)).await;
    }
    assert_eq!((done(one).await, done(two).await), (Revision(3), Revision(4)));
    let published = state.live.load_full();
    let (app, flag) = (app("one"), "f".parse().expect("a key"));
    assert!(published.folded.flag(&app, &flag).is_some());
}

fn killed(id: &str) -> Change {
    Change::Killed { kill_id: id.parse().expect("an id"), reach: Reach::Everything, environment: None }
}

#[tokio::test]
async fn an_append_that_was_lost_and_whose_place_is_taken_is_made_again() {
    let (log, state) = node().await;
    let one = submit(&state, create_app("one"));
    log.asked(1).await;
    let killed = submit(&state, kill_everything("new"));
    assert_eq!(log.asked(2).await, None);
    log.tell(0, Err(AppendError::Unknown)).await;
    // The first never comes; the kill is where it was to be.
    let kill = log.write(1).await.expect("written");
    log.tell(1, Ok(kill)).await;
    assert_eq!(done(killed).await, Revision(2));
    assert_eq!(log.asked(3).await, Some(Revision(2)));
    log.write(2).await.expect("written");
    assert_eq!(done(one).await, Revision(3));
    assert!(state.live.load().folded.app(&app("one")).is_some());
}
