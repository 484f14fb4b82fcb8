//! Kills: ahead of everything, and in effect whether the log takes them or not.

use std::sync::Arc;

use rollout_rules::change::{Command, Reach};
use rollout_rules::ids::{EnvKey, KillId, LogId, Revision};
use serde_json::{Value, json};
use tidegate::clock::TestClock;
use tidegate::log::memory::{Fault, MemoryLog};
use tidegate::state::{
    Event, KILL_PATIENCE, MAX_KILLS, Refusal, Request, StartError, State, StateConfig, SubmitError,
};

use crate::node::{Bench, START, create_app, is_killed, kill_everything, request};

#[tokio::test]
async fn a_kill_is_durable_and_published_when_it_is_answered() {
    let bench = Bench::new().await;
    let applied = bench.submit(kill_everything("k1")).await.expect("killed");
    assert_eq!((applied.revision, applied.durable, applied.already), (Revision(1), true, false));
    assert!(!applied.journaled, "the log has it, so the journal need not");
    assert!(is_killed(&applied.published) && applied.published.overlays.is_empty());
    assert_eq!(bench.state.log.head().revision, Revision(1));
    let again = bench.submit(kill_everything("k1")).await.expect("killed already");
    assert_eq!((again.revision, again.durable, again.already), (Revision(1), true, true));
    assert_eq!(bench.state.log.head().revision, Revision(1), "the same kill is written once");
}

#[tokio::test]
async fn a_log_that_hangs_does_not_hold_up_a_kill() {
    let bench = Bench::new().await;
    let (_, mut events) = bench.state.live.subscribe();
    bench.log.hold();
    let started = bench.clock.clock().now();
    let applied = bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    assert!(!applied.durable && bench.clock.clock().now().since(started) >= KILL_PATIENCE);
    assert!(is_killed(&applied.published));
    assert!(applied.published.folded.kills().all.is_none(), "the fold of the log knows nothing of it");
    assert!(
        matches!(events.recv().await, Ok(Event::Overlaid { overlay, .. }) if overlay.kill_id.as_str() == "k1")
    );
    bench.log.release();
    let replaced = bench.published(|published| published.revision() == Revision(1)).await;
    assert!(is_killed(&replaced) && replaced.overlays.is_empty());
    assert!(matches!(events.recv().await, Ok(Event::Entry { revision: Revision(1), .. })));
}

#[tokio::test]
async fn a_full_disk_refuses_no_kill_and_takes_it_when_there_is_space() {
    for fault in [Fault::Full, Fault::Unavailable, Fault::LoseEntry] {
        let bench = Bench::new().await;
        bench.log.fail_always(Some(fault));
        let applied = bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
        assert!(is_killed(&applied.published) && !applied.durable, "{fault:?}");
        // The clock of the test may outrun the disk: then the journal has the kill after the answer.
        let mut again = applied;
        while !again.journaled {
            again = bench.submit(kill_everything("k1")).await.expect("killed already");
            assert!(!again.durable, "{fault:?}");
        }
        bench.log.fail_always(None);
        let durable = bench.published(|published| published.revision() == Revision(1));
        let durable = bench.let_time_pass_until(durable).await;
        assert!(is_killed(&durable) && durable.overlays.is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn the_id_of_a_kill_that_waits_for_the_log_names_no_other_kill() {
    let bench = Bench::new().await;
    bench.submit(create_app("shop")).await.expect("an app with production and sandbox");
    bench.log.fail_always(Some(Fault::Unavailable));
    bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    let kill_id = KillId::new("k1").expect("an id");
    let environment = Some(EnvKey::new("production").expect("a key"));
    let other = Command::Kill { kill_id, reach: Reach::Everything, environment };
    let refused = bench.let_time_pass_until(bench.submit(other)).await.err().expect("refused");
    assert!(matches!(refused, SubmitError::Refused(Refusal::KillIdTaken { .. })), "{refused}");
    assert_eq!(bench.state.live.load().overlays.len(), 1);
}

#[tokio::test]
async fn more_kills_at_once_than_the_journal_has_places_are_all_in_effect() {
    for hangs in [false, true] {
        let bench = Bench::new().await;
        if hangs {
            bench.log.hold();
        }
        let mut kills = tokio::task::JoinSet::new();
        for n in 0..2 * MAX_KILLS + 10 {
            let commands = bench.state.commands.clone();
            let request = crate::node::request(kill_everything(&format!("k{n}")));
            kills.spawn(async move { commands.submit(request).await });
        }
        let mut journaled = 0;
        for answer in bench.let_time_pass_until(kills.join_all()).await {
            let answer = answer.expect("killed");
            assert!(is_killed(&answer.published));
            journaled += usize::from(answer.journaled);
        }
        assert!(
            !hangs || journaled <= MAX_KILLS,
            "{journaled} are said to be where {MAX_KILLS} have a place"
        );
        bench.log.release();
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_of_a_kill_writes_it_once() {
    let bench = Bench::new().await;
    bench.log.fail_next(Fault::LoseAcknowledgement);
    bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    let bench = bench.restart().await;
    bench.let_time_pass_until(bench.state.live.settled()).await;
    bench.submit(kill_everything("k2")).await.expect("killed");
    assert_eq!(bench.state.log.head().revision, Revision(2));
}

#[tokio::test]
async fn a_kill_that_the_log_has_not_taken_survives_a_restart() {
    let bench = Bench::new().await;
    bench.log.fail_always(Some(Fault::Unavailable));
    bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    let bench = bench.restart().await;
    assert!(is_killed(&bench.state.live.load()), "in effect before anything else is done");
    bench.log.fail_always(None);
    let durable = bench.published(|published| published.revision() == Revision(1));
    assert!(is_killed(&*bench.let_time_pass_until(durable).await));
    let bench = bench.restart().await;
    assert!(bench.state.live.load().overlays.is_empty(), "the journal has forgotten it");
    assert_eq!(bench.state.log.head().revision, Revision(1));
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_not_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("kills");
    // A file that is there, and that not even root can open.
    std::os::unix::fs::symlink(&journal, &journal).expect("made");
    let log = MemoryLog::new(LogId::new("test").expect("a name"));
    let config = StateConfig { kill_journal: Some(journal.clone()), ..StateConfig::default() };
    let clock = TestClock::at(START).clock();
    let refused = State::start(config, Arc::new(log), clock).err().expect("refused");
    assert!(matches!(&refused, StartError::KillJournal(_)), "{refused}");
    assert!(refused.to_string().contains("reading"), "{refused}");
    assert!(journal.is_symlink(), "what is there stays");
}

/// An app `shop` with production and sandbox, and a flag `f`.
async fn with_a_flag() -> Bench {
    let bench = Bench::new().await;
    bench.submit(create_app("shop")).await.expect("an app");
    bench.submit(command(json!({"do": "create_flag", "app": "shop", "key": "f"}))).await.expect("a flag");
    bench
}

fn command(json: Value) -> Command {
    serde_json::from_value(json).expect("a command")
}

fn kill_flag() -> Command {
    command(json!({"do": "kill", "kill_id": "k1", "reach": {"flag": {"app": "shop", "flag": "f"}}}))
}

#[tokio::test]
async fn a_kill_is_not_refused_for_an_archive_that_the_log_then_does_not_take() {
    let bench = with_a_flag().await;
    bench.log.hold();
    bench.log.fail_next(Fault::Full);
    let commands = bench.state.commands.clone();
    let archive = request(command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    let archived = tokio::spawn(async move { commands.submit(archive).await });
    bench.log.held(1).await;
    let killed = bench.let_time_pass_until(bench.submit(kill_flag())).await.expect("killed");
    assert!(!killed.durable);
    bench.log.release();
    let archived = bench.let_time_pass_until(archived).await.expect("no panic");
    assert!(matches!(archived, Err(SubmitError::Full)), "{:?}", archived.err());
    let durable = bench.published(|published| published.revision() == Revision(3));
    let durable = bench.let_time_pass_until(durable).await;
    let (app, flag) = ("shop".parse().expect("a key"), "f".parse().expect("a key"));
    let view = durable.folded.flag(&app, &flag).expect("the flag");
    assert!(!view.record().is_archived() && view.record().kills().all.is_some());
}

#[tokio::test]
async fn nothing_is_raised_under_a_kill_that_waits_for_the_log() {
    let bench = with_a_flag().await;
    bench.log.fail_always(Some(Fault::Unavailable));
    bench.let_time_pass_until(bench.submit(kill_flag())).await.expect("killed");
    bench.log.hold();
    bench.log.fail_always(None);
    let on =
        json!({"do": "set_targeting", "app": "shop", "flag": "f", "environment": "production", "on": true});
    let raise = Request { seen: Some(Revision(2)), ..request(command(on)) };
    let answer = bench.let_time_pass_until(async {
        tokio::select! {
            biased;
            answer = bench.state.commands.submit(raise) => answer,
            () = bench.log.held(2) => panic!("it is on its way to the log, beside the kill"),
        }
    });
    let refused = answer.await.err().expect("refused");
    assert!(matches!(refused, SubmitError::Refused(Refusal::Killed { .. })), "{refused}");
    bench.log.release();
}

#[tokio::test]
async fn a_kill_overtakes_commands_that_take_their_time_to_be_decided() {
    const COMMANDS: usize = 16;
    let bench = with_a_flag().await;
    bench.log.hold();
    // Compiling it takes much longer than asking for a kill.
    let when = json!({"attribute": "a", "op": "regex", "values": ["0\\p{L}"]});
    let mut commands = tokio::task::JoinSet::new();
    for nth in 0..COMMANDS {
        let segment = json!({"key": format!("s{nth}"), "when": when});
        let put = json!({"do": "put_segment", "scope": {"app": "shop"}, "segment": segment});
        let (handle, put) = (bench.state.commands.clone(), request(command(put)));
        commands.spawn(async move { handle.submit(put).await });
    }
    // The first is under way, and the node decides one after the other.
    bench.log.held(1).await;
    let (handle, kill) = (bench.state.commands.clone(), request(kill_flag()));
    let killed = tokio::spawn(async move { handle.submit(kill).await });
    bench.log.held(COMMANDS + 1).await;
    bench.log.release();
    let killed = killed.await.expect("no panic").expect("killed");
    assert!(killed.revision.0 < 2 + COMMANDS as u64 / 2, "it waited for most of them: {}", killed.revision);
    assert!(commands.join_all().await.iter().all(Result::is_ok));
}
