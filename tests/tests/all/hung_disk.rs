//! A disk that stops answering: nobody waits for it, kills are in effect, and what was acknowledged is there
//! when it answers again. On a real disk that is frozen.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

use rollout_rules::change::{Command, Reach};
use rollout_rules::ids::Revision;
use tidegate::clock::Clock;
use tidegate::log::sled::{Patience, SledLog, verify};
use tidegate::log::{AppendError, ChangeLog, Expect, ReadError};
use tidegate::state::{Readiness, Request, State, StateConfig, SubmitError};
use tidegate_tests::ask::{kill, request};
use tidegate_tests::eventually;

/// A disk of its own in a file, which can be frozen. Thawed and unmounted in the end.
struct FreezableDisk {
    folder: tempfile::TempDir,
}

impl FreezableDisk {
    fn new() -> FreezableDisk {
        let folder = tempfile::tempdir().expect("a directory");
        let disk = FreezableDisk { folder };
        let image = disk.folder.path().join("image");
        std::fs::create_dir(disk.path()).expect("made");
        std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("made");
        run(Program::new("mkfs.ext4").arg("-q").arg(&image));
        run(Program::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        disk
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// From now on, writes wait, until what this gives is dropped. Bind it after whatever writes: what is
    /// bound later is dropped earlier, and a log that is closed waits for its disk.
    fn freeze(&self) -> Frozen<'_> {
        run(Program::new("fsfreeze").arg("--freeze").arg(self.path()));
        Frozen(self)
    }
}

/// A disk on which writes wait. Thawed in the end, also by a test that fails.
#[must_use]
struct Frozen<'a>(&'a FreezableDisk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let status = Program::new("fsfreeze").arg("--unfreeze").arg(self.0.path()).status();
        // A second panic would end the process with the disk still mounted.
        if !std::thread::panicking() {
            assert!(status.is_ok_and(|status| status.success()), "the disk stays frozen");
        }
    }
}

fn run(program: &mut Program) {
    let status = program.status();
    assert!(status.is_ok_and(|status| status.success()), "the build script saw that this works: {program:?}");
}

impl Drop for FreezableDisk {
    fn drop(&mut self) {
        let status = Program::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "the disk stays mounted");
    }
}

/// Hangs after a tenth of a second; given up after so many times as long.
fn patience(times: u32) -> Patience {
    Patience { every: Duration::from_millis(20), hangs_after: 5, given_up_after: 5 * times }
}

#[tokio::test]
#[cfg_attr(not(has_freezable_disks), ignore = "needs the right to mount and freeze a disk")]
async fn nobody_waits_for_a_disk_that_hangs_and_it_may_go_on() {
    let disk = FreezableDisk::new();
    let data = disk.path().join("data");
    let log = SledLog::open_with(&data, patience(1_000_000)).expect("opens");
    log.append(Expect::Any, b"first"[..].into()).await.expect("appended");
    let frozen = disk.freeze();
    let in_doubt = log.append(Expect::Any, b"second"[..].into()).await;
    assert!(matches!(in_doubt, Err(AppendError::Unknown)), "{in_doubt:?}");
    let refused = log.append(Expect::Any, b"third"[..].into()).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    drop(frozen);
    let mut tail = log.tail(Revision(1)).expect("readable");
    assert_eq!(tail.next().await.expect("it was written after all")[0].bytes[..], *b"second");
    let again = loop {
        match log.append(Expect::Any, b"fourth"[..].into()).await {
            Ok(anchor) => break anchor,
            Err(AppendError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(again.revision, Revision(3));
}

#[tokio::test]
#[cfg_attr(not(has_freezable_disks), ignore = "needs the right to mount and freeze a disk")]
async fn a_log_that_hangs_for_good_is_given_up_and_loses_nothing() {
    let disk = FreezableDisk::new();
    let data = disk.path().join("data");
    let log = SledLog::open_with(&data, patience(3)).expect("opens");
    log.append(Expect::Any, b"first"[..].into()).await.expect("appended");
    let mut tail = log.tail(Revision(1)).expect("readable");
    let frozen = disk.freeze();
    let in_doubt = log.append(Expect::Any, b"second"[..].into()).await;
    assert!(matches!(in_doubt, Err(AppendError::Unknown)), "{in_doubt:?}");
    let ended = tail.next().await;
    assert!(matches!(ended, Err(ReadError::Hangs)), "{ended:?}");
    // Its writer hangs in the system, and closing does not wait for it.
    drop((tail, log));
    drop(frozen);
    // The writer that was left behind ends and lets go of the file.
    let found = eventually("the log can be opened", || verify(&data).ok());
    assert!((1..=2).contains(&found.head.revision.0), "{found:?}");
}

#[tokio::test]
#[cfg_attr(not(has_freezable_disks), ignore = "needs the right to mount and freeze a disk")]
async fn a_node_on_a_disk_that_hangs_kills_and_says_that_it_has_to_end() {
    let disk = FreezableDisk::new();
    let journal = tempfile::tempdir().expect("a directory");
    let log = Arc::new(SledLog::open_with(&disk.path().join("data"), patience(10)).expect("opens"));
    let config = StateConfig { kill_journal: Some(journal.path().join("kills")), ..StateConfig::default() };
    let state = State::start(config, log, Clock::system()).expect("starts");
    assert_eq!(state.live.settled().await, Readiness::Ready);
    let frozen = disk.freeze();
    let killed =
        state.commands.submit(ask(kill("k1", Reach::Everything))).await.expect("no kill waits for a disk");
    assert!(!killed.durable && killed.published.snapshot.kills().all.is_some());
    let mut readiness = state.live.watch_readiness();
    readiness.wait_for(|now| *now == Readiness::LogHangs).await.expect("the state lives");
    let app = Command::RevokeToken { token: "any".parse().expect("an id") };
    let refused = state.commands.submit(ask(app)).await.err().expect("refused");
    assert!(matches!(refused, SubmitError::Unavailable), "{refused}");
    let killed =
        state.commands.submit(ask(kill("k2", Reach::Everything))).await.expect("nor does one wait now");
    assert_eq!(killed.published.overlays.len(), 2);
    drop(state);
    drop(frozen);
    let data = disk.path().join("data");
    eventually("the log can be opened", || verify(Path::new(&data)).ok());
}

#[tokio::test]
#[cfg_attr(not(has_freezable_disks), ignore = "needs the right to mount and freeze a disk")]
async fn a_node_does_not_end_before_its_journal_has_the_kills_that_the_log_has_not() {
    let disk = FreezableDisk::new();
    let data = disk.path().join("data");
    let log = Arc::new(SledLog::open_with(&data, patience(3)).expect("opens"));
    let config = StateConfig { kill_journal: Some(data.join("kills")), ..StateConfig::default() };
    let state = State::start(config, log, Clock::system()).expect("starts");
    assert_eq!(state.live.settled().await, Readiness::Ready);
    let frozen = disk.freeze();
    let killed = state.commands.submit(ask(kill("k1", Reach::Everything))).await;
    let killed = killed.expect("no kill waits for a disk");
    assert!(!killed.durable && !killed.journaled, "the journal is on the same disk");
    let mut readiness = state.live.watch_readiness();
    let now = readiness.wait_for(|now| *now != Readiness::Ready).await.expect("the state lives").clone();
    assert!(
        matches!(&now, Readiness::LogLost { problem } if problem.contains("1 kill in effect")),
        "{now:?}"
    );
    // It stays for a kill that comes now as well.
    let killed = state.commands.submit(ask(kill("k2", Reach::Everything))).await;
    assert!(!killed.expect("nor does one wait now").journaled);
    let now = state.live.readiness();
    assert!(
        matches!(&now, Readiness::LogLost { problem } if problem.contains("2 kills in effect")),
        "{now:?}"
    );
    drop(frozen);
    readiness.wait_for(|now| *now == Readiness::LogHangs).await.expect("the state lives");
    drop(state);
    let log = eventually("the log can be opened", || SledLog::open(&data).ok());
    let config = StateConfig { kill_journal: Some(data.join("kills")), ..StateConfig::default() };
    let state = State::start(config, Arc::new(log), Clock::system()).expect("starts");
    let published = state.live.load();
    assert!(published.snapshot.kills().all.is_some(), "from the start, before the log is read");
    let mut kept = published.overlays.iter().map(|overlay| overlay.kill_id.as_str());
    assert!(kept.any(|id| id == "k2"), "{:?}", published.overlays);
}

fn ask(command: Command) -> Request {
    request("hung-disk", command)
}
