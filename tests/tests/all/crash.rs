//! A server is killed in the middle of its work, again and again, and never turns out to have lied.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rollout_rules::change::{Change, Entry};
use rollout_rules::ids::{KillId, Revision};
use tidegate::clock::Clock;
use tidegate::log::lock::DirectoryLock;
use tidegate::log::sled::{SledLog, verify};
use tidegate::log::{Anchor, ChangeLog, LogEntry};
use tidegate::state::{Readiness, State, StateConfig};

const ROUNDS: u64 = 200;
/// Rounds on one data directory.
const GENERATION: u64 = 10;
/// Most acknowledgements before the writer is killed.
const LONGEST_LIFE: u64 = 150;
/// The same with a slow log.
const LONGEST_SLOW_LIFE: u64 = 4;

#[derive(Debug)]
enum Line {
    Opening,
    Flag(Revision, String),
    Kill(Revision, String),
    Overlay(String),
}

/// Runs the writer until it has said so many things, and kills it. Gives all that it managed to say.
fn run_and_kill(directory: &Path, round: u64, life: u64, slow: bool) -> Vec<Line> {
    let mut writer = Command::new(env!("CARGO_BIN_EXE_crash-writer"));
    writer.arg(directory).arg(round.to_string()).args(slow.then_some("slow"));
    let mut writer = writer.stdout(Stdio::piped()).spawn().expect("starts");
    let out = writer.stdout.take().expect("piped");
    let mut said = Vec::new();
    for line in BufReader::new(out).lines() {
        said.push(parse(&line.expect("text")));
        if said.len() as u64 == life {
            writer.kill().expect("killed");
        }
    }
    let status = writer.wait().expect("ended");
    assert!(status.code().is_none(), "it was to be killed, and ended by itself: {status}");
    said
}

fn parse(line: &str) -> Line {
    let mut words = line.split(' ');
    let (what, revision, name) = (words.next(), words.next(), words.next().expect("three words"));
    let revision = Revision(revision.expect("three words").parse().expect("a number"));
    match what {
        Some("opening") => Line::Opening,
        Some("flag") => Line::Flag(revision, name.to_owned()),
        Some("kill") => Line::Kill(revision, name.to_owned()),
        Some("overlay") => Line::Overlay(name.to_owned()),
        _ => panic!("what is {line}?"),
    }
}

/// The entries after one, in order, each chained onto the one before.
async fn chained(log: &dyn ChangeLog, after: Anchor) -> Vec<LogEntry> {
    let (mut entries, mut last) = (Vec::new(), after);
    let mut tail = log.tail(after.revision).expect("what was there is there");
    while last.revision < log.head().revision {
        for entry in tail.next().await.expect("readable") {
            let expected = Anchor { revision: last.revision.next(), hash: last.hash.chain(&entry.bytes) };
            assert_eq!(entry.anchor(), expected);
            last = expected;
            entries.push(entry);
        }
    }
    assert_eq!(last, log.head());
    entries
}

fn check_acknowledged(said: &[Line], entries: &[LogEntry], first: Revision) {
    let change_at = |revision: Revision| {
        let index = usize::try_from(revision.0 - first.0).expect("not before this round");
        let entry = entries.get(index).unwrap_or_else(|| panic!("revision {revision} is gone"));
        Entry::decode(&entry.bytes).expect("an entry").change
    };
    for line in said {
        match line {
            Line::Flag(revision, name) => match change_at(*revision) {
                Change::FlagCreated { flag, .. } => assert_eq!(flag.key.as_str(), name),
                other => panic!("{line:?} is {other:?}"),
            },
            Line::Kill(revision, name) => match change_at(*revision) {
                Change::Killed { kill_id, .. } => assert_eq!(kill_id.as_str(), name),
                other => panic!("{line:?} is {other:?}"),
            },
            Line::Opening | Line::Overlay(_) => {}
        }
    }
}

/// Opens what a crash left, checks it against what was said, and closes it in good order.
async fn check_after_crash(directory: &Path, before: Anchor, said: &[Line]) -> Anchor {
    let _lock = DirectoryLock::take(directory).expect("the writer is gone");
    let log: Arc<dyn ChangeLog> = Arc::new(SledLog::open(directory).expect("opens"));
    let entries = chained(log.as_ref(), before).await;
    check_acknowledged(said, &entries, before.revision.next());
    let config = StateConfig { kill_journal: Some(directory.join("kills")), ..StateConfig::default() };
    let state = State::start(config, log, Clock::system()).expect("starts");
    let (mut published, mut events) = state.live.subscribe();
    for line in said {
        if let Line::Overlay(name) = line {
            let id = KillId::new(name).expect("an id");
            assert!(published.snapshot.kills().all.is_none(), "only the app was killed");
            let overlaid = published.overlays.iter().any(|overlay| overlay.kill_id == id);
            let logged = entries.iter().any(|entry| is_kill(&entry.bytes, &id));
            assert!(overlaid || logged, "{name} was in effect, and is not after the restart");
        }
    }
    assert_eq!(state.live.settled().await, Readiness::Ready);
    while !state.live.load().overlays.is_empty() {
        events.recv().await.expect("the log takes what the journal kept");
    }
    published = state.live.load_full();
    for line in said {
        if let Line::Overlay(name) = line {
            let id = KillId::new(name).expect("an id");
            assert!(published.folded.past_kill(&id).is_some(), "{name} never came to the log");
        }
    }
    let head = Anchor { revision: published.folded.revision(), hash: published.folded.hash() };
    state.stop().await;
    head
}

fn is_kill(bytes: &[u8], id: &KillId) -> bool {
    let change = Entry::decode(bytes).expect("an entry").change;
    matches!(change, Change::Killed { kill_id, .. } if kill_id == *id)
}

/// Any numbers that jump about and are the same in every run.
fn scatter(round: u64, below: u64) -> u64 {
    (round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % below
}

#[tokio::test]
async fn no_acknowledged_entry_is_lost_however_often_the_server_is_killed() {
    let (mut flags, mut kills, mut overlays) = (0, 0, 0);
    let mut directory = tempfile::tempdir().expect("a directory");
    let mut head = Anchor::default();
    for round in 0..ROUNDS {
        if round % GENERATION == 0 && round > 0 {
            assert_eq!(verify(directory.path()).expect("whole").head, head);
            directory = tempfile::tempdir().expect("a directory");
            head = Anchor::default();
        }
        let slow = round % 8 == 7;
        let longest = if slow { LONGEST_SLOW_LIFE } else { LONGEST_LIFE };
        // The first thing said is that it opens the log: some do not live longer than that.
        let life = if round % 8 == 3 { 1 } else { 2 + scatter(round, longest) };
        let said = run_and_kill(directory.path(), round, life, slow);
        head = check_after_crash(directory.path(), head, &said).await;
        flags += said.iter().filter(|line| matches!(line, Line::Flag(..))).count();
        kills += said.iter().filter(|line| matches!(line, Line::Kill(..))).count();
        overlays += said.iter().filter(|line| matches!(line, Line::Overlay(..))).count();
    }
    println!("{ROUNDS} crashes; acknowledged: {flags} flags, {kills} kills, {overlays} kills by overlay");
    assert!(flags > 1000 && kills > 100 && overlays > 5);
}
