//! Commands: decided in order, told only what is durable, and never half done.

use std::sync::Arc;

use rollout_rules::change::Command;
use rollout_rules::decide::Refusal;
use rollout_rules::ids::Revision;
use rollout_rules::time::DurationMs;
use tidegate::log::memory::Fault;
use tidegate::log::{ChangeLog as _, StoredCheckpoint};
use tidegate::state::{Applied, MAX_WAITING, SubmitError};

use crate::node::{Bench, app, create_app, kill_everything, published};

#[tokio::test]
async fn an_answer_comes_with_what_is_published_and_durable() {
    let bench = Bench::new().await;
    let applied = bench.submit(create_app("a")).await.expect("created");
    assert_eq!((applied.revision, applied.durable, applied.already), (Revision(1), true, false));
    assert!(applied.published.folded.app(&app("a")).is_some());
    assert_eq!(bench.log.head().revision, Revision(1));
    assert_eq!(bench.log.head().hash, applied.published.folded.hash());
}

#[tokio::test]
async fn many_commands_at_once_are_all_done_in_one_order() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..300).map(|n| format!("app-{n}")).collect();
    let answers = all(&bench, names.iter().map(|name| create_app(name))).await;
    let mut revisions: Vec<u64> =
        answers.into_iter().map(|answer| answer.expect("created").revision.0).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=300).collect::<Vec<u64>>());
    let published = bench.state.live.load_full();
    assert!(names.iter().all(|name| published.folded.app(&app(name)).is_some()));
}

#[tokio::test]
async fn nothing_is_published_and_nobody_told_before_the_log_has_it() {
    let bench = Bench::new().await;
    bench.log.hold();
    let commands = [create_app("a"), create_app("a"), create_app("b")];
    let answers = all(&bench, commands.into_iter());
    tokio::pin!(answers);
    // Commands are decided in order: when the third is under way, so is what came before it.
    tokio::select! {
        biased;
        _ = &mut answers => panic!("told too early"),
        () = bench.log.held(2) => {}
    }
    assert_eq!(bench.state.live.load().revision(), Revision(0));
    bench.log.release();
    let answers = answers.await;
    assert_eq!(answers[0].as_ref().expect("created").revision, Revision(1));
    let refused = answers[1].as_ref().err().expect("refused");
    assert!(matches!(refused, SubmitError::Refused(Refusal::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(answers[2].as_ref().expect("created").revision, Revision(2));
}

#[tokio::test]
async fn a_kill_shows_nothing_that_is_not_durable() {
    let bench = Bench::new().await;
    bench.log.hold();
    let created = all(&bench, [create_app("a")].into_iter());
    tokio::pin!(created);
    tokio::select! {
        biased;
        _ = &mut created => panic!("told too early"),
        () = bench.log.held(1) => {}
    }
    let killed = bench.let_time_pass_until(bench.submit(kill_everything("k"))).await.expect("killed");
    assert!(!killed.durable && killed.published.snapshot.app(&app("a")).is_none());
    bench.log.release();
    assert!(created.await[0].is_ok());
}

#[tokio::test]
async fn a_full_log_refuses_as_full_and_goes_on_when_there_is_space() {
    for (fault, is_told) in [
        (Fault::Full, (|error| matches!(error, SubmitError::Full)) as fn(&SubmitError) -> bool),
        (Fault::Unavailable, |error| matches!(error, SubmitError::Unavailable)),
    ] {
        let bench = Bench::new().await;
        bench.log.fail_always(Some(fault));
        let error = bench.submit(create_app("a")).await.err().expect("refused");
        assert!(is_told(&error), "{fault:?} is told as {error:?}");
        assert!(bench.state.live.load().folded.app(&app("a")).is_none());
        bench.log.fail_always(None);
        assert_eq!(bench.submit(create_app("a")).await.expect("created").revision, Revision(1));
    }
}

#[tokio::test]
async fn what_was_decided_on_an_entry_that_failed_is_decided_again() {
    let bench = Bench::new().await;
    bench.log.hold();
    bench.log.fail_next(Fault::Full);
    let commands = [create_app("a"), create_app("a"), create_app("b")];
    let answers = all(&bench, commands.into_iter());
    tokio::pin!(answers);
    tokio::select! {
        biased;
        _ = &mut answers => panic!("the log hangs"),
        () = bench.log.held(2) => {}
    }
    bench.log.release();
    let answers = bench.let_time_pass_until(answers).await;
    assert!(matches!(answers[0], Err(SubmitError::Full)), "the first met the fault");
    assert!(answers[1].is_ok(), "the second was to be refused because of the first, and is not");
    assert!(answers[2].is_ok());
    let published = bench.state.live.load_full();
    assert!(published.folded.app(&app("a")).is_some() && published.folded.app(&app("b")).is_some());
}

#[tokio::test]
async fn a_lost_acknowledgement_is_found_in_the_log() {
    let bench = Bench::new().await;
    bench.log.fail_next(Fault::LoseAcknowledgement);
    let applied = bench.let_time_pass_until(bench.submit(create_app("a"))).await.expect("it is there");
    assert_eq!(applied.revision, Revision(1));
    assert_eq!(bench.submit(create_app("b")).await.expect("created").revision, Revision(2));
}

#[tokio::test]
async fn a_lost_entry_is_unknown_unless_another_takes_its_place() {
    let bench = Bench::new().await;
    bench.log.fail_next(Fault::LoseEntry);
    let answer = bench.let_time_pass_until(bench.submit(create_app("a"))).await;
    assert!(matches!(answer, Err(SubmitError::Unknown)), "nobody can know");
    bench.log.fail_next(Fault::LoseEntry);
    let (lost, next) = bench
        .let_time_pass_until(async { tokio::join!(bench.submit(create_app("b")), create(&bench, "c")) })
        .await;
    assert!(
        lost.is_ok(),
        "the entry in its place shows that it was lost, so it is decided again: {:?}",
        lost.err()
    );
    assert!(next.is_ok());
    assert_eq!(bench.log.head().revision, Revision(2));
}

async fn create(bench: &Bench, name: &str) -> Result<Applied, SubmitError> {
    bench.submit(create_app(name)).await
}

#[tokio::test]
async fn nodes_that_race_on_one_log_both_get_their_commands_done() {
    let bench = Bench::new().await;
    let other = bench.another_node().await;
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..60 {
        let node = if n % 2 == 0 { &bench.state } else { &other };
        let commands = node.commands.clone();
        let request = crate::node::request(create_app(&format!("app-{n}")));
        waiting.spawn(async move { commands.submit(request).await });
    }
    let answers = bench.let_time_pass_until(waiting.join_all()).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find_map(|a| a.as_ref().err()));
    assert_eq!(bench.log.head().revision, Revision(60));
    let one = bench.published(|published| published.revision() == Revision(60)).await;
    let two = published(&other, |published| published.revision() == Revision(60)).await;
    assert_eq!(one.folded.to_checkpoint().encode(), two.folded.to_checkpoint().encode());
}

#[tokio::test]
async fn the_queue_is_bounded_and_kills_pass_it() {
    let bench = Bench::new().await;
    bench.log.hold();
    let mut waiting = tokio::task::JoinSet::new();
    let mut refused = 0;
    for n in 0..3 * MAX_WAITING {
        let commands = bench.state.commands.clone();
        let request = crate::node::request(create_app(&format!("app-{n}")));
        waiting.spawn(async move { commands.submit(request).await });
        tokio::task::yield_now().await;
    }
    bench.let_time_pass_until(bench.submit(kill_everything("k"))).await.expect("kills have a lane");
    bench.log.release();
    for answer in bench.let_time_pass_until(waiting.join_all()).await {
        match answer {
            Ok(_) => {}
            Err(SubmitError::Busy) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 0, "some must have been too many");
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_time_and_nothing_else() {
    let bench = Bench::new().await;
    bench.submit(create_app("a")).await.expect("created");
    let anchor = bench.log.head();
    bench.log.store_checkpoint(&StoredCheckpoint { anchor, bytes: b"{}".to_vec() }).expect("stored");
    let bench = bench.restart().await;
    bench.let_time_pass_until(bench.state.live.settled()).await;
    assert!(bench.state.live.load().folded.app(&app("a")).is_some());
    bench.clock.advance(DurationMs(1));
}

/// Submits commands at one moment, and gives their answers in order.
async fn all(bench: &Bench, commands: impl Iterator<Item = Command>) -> Vec<Result<Applied, SubmitError>> {
    let tasks: Vec<_> = commands
        .map(|command| {
            let handle = Arc::new(bench.state.commands.clone());
            tokio::spawn(async move { handle.submit(crate::node::request(command)).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    answers
}
