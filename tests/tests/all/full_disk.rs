//! A disk that fills up: writes are refused as such, quickly; checks, counts and kills go on; and all is well by
//! itself when there is space again. On a real small disk.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollout_rules::change::{Command, Reach};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, IdempotencyKey, InstanceId, LogId, Revision};
use tidegate::clock::Clock;
use tidegate::exposures::batch::{Batch, Count};
use tidegate::exposures::{Exposures, FlagSums, place};
use tidegate::log::memory::MemoryLog;
use tidegate::log::sled::{SledLog, verify};
use tidegate::log::{AppendError, ChangeLog, Expect};
use tidegate::state::{Readiness, Request, State, StateConfig, SubmitError};
use tidegate::telemetry::Telemetry;
use tidegate_tests::ask::{create_flag, kill, request};
use tidegate_tests::eventually;

/// A refusal that takes longer is no refusal.
const QUICK: Duration = Duration::from_secs(1);

/// A disk of 32 MiB in memory, mounted while it is in use.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> SmallDisk {
        let directory = tempfile::tempdir().expect("a directory");
        let how = ["-t", "tmpfs", "-o", "size=32m", "tmpfs"];
        let status = Program::new("mount").args(how).arg(directory.path()).status();
        assert!(status.expect("mount runs").success(), "the build script saw that mounting works");
        SmallDisk(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).expect("made");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn clear(&self) {
        fs::remove_file(self.path().join("filler")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Program::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}

/// One that lies by itself, or one that shares its row.
fn entry(nth: u64) -> Arc<[u8]> {
    vec![b'x'; if nth.is_multiple_of(3) { 8192 } else { 400 }].into()
}

/// Appends until the disk is full. Gives how many entries it took.
async fn append_until_full(log: &SledLog) -> u64 {
    for appended in 0.. {
        let started = Instant::now();
        match log.append(Expect::Any, entry(appended)).await {
            Ok(_) => {}
            Err(AppendError::Full) => {
                assert!(started.elapsed() < QUICK, "refused after {:?}", started.elapsed());
                return appended;
            }
            Err(error) => panic!("told as {error:?}"),
        }
    }
    unreachable!("the disk is small")
}

async fn entries(log: &SledLog) -> usize {
    let mut tail = log.tail(Revision::ZERO).expect("readable");
    let mut count = 0;
    while (count as u64) < log.head().revision.0 {
        count += tail.next().await.expect("readable").len();
    }
    count
}

#[tokio::test]
#[cfg_attr(not(has_small_disks), ignore = "needs the right to mount a small disk")]
async fn the_log_refuses_what_does_not_fit_and_takes_it_when_there_is_space() {
    let disk = SmallDisk::new();
    let data = disk.path().join("data");
    let log = SledLog::open(&data).expect("opens");
    log.append(Expect::Any, b"first"[..].into()).await.expect("there is space");
    disk.fill();
    let appended = 1 + append_until_full(&log).await;
    for _ in 0..20 {
        assert!(matches!(log.append(Expect::Any, vec![0; 60_000].into()).await, Err(AppendError::Full)));
    }
    assert_eq!(log.head().revision.0, appended, "nothing was written by what was refused");
    assert_eq!(entries(&log).await as u64, appended, "all can be read");
    disk.clear();
    log.append(Expect::Any, b"again"[..].into()).await.expect("there is space again");
    drop(log);
    assert_eq!(verify(&data).expect("whole").head.revision.0, appended + 1);
}

#[tokio::test]
#[cfg_attr(not(has_small_disks), ignore = "needs the right to mount a small disk")]
async fn the_log_outlives_a_write_that_finds_no_space_after_all() {
    let disk = SmallDisk::new();
    let data = disk.path().join("data");
    let log = SledLog::open(&data).expect("opens");
    log.append(Expect::Any, b"first"[..].into()).await.expect("there is space");
    // Takes away what the log has claimed behind the end of its file, and the rest of the disk.
    let db = File::options().write(true).open(data.join("log/db")).expect("there");
    let length = db.metadata().expect("there").len();
    db.set_len(length + 1).and_then(|()| db.set_len(length)).expect("cut");
    disk.fill();
    let mut acknowledged = 1;
    let failed = loop {
        let started = Instant::now();
        match log.append(Expect::Any, entry(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                assert!(started.elapsed() < QUICK, "failed after {:?}", started.elapsed());
                break error;
            }
        }
    };
    assert!(matches!(failed, AppendError::Full | AppendError::Unknown), "{failed:?}");
    disk.clear();
    // It reopens itself. The entry in doubt may have been written.
    let started = Instant::now();
    let again = loop {
        match log.append(Expect::Any, b"again"[..].into()).await {
            Ok(anchor) => break anchor.revision.0,
            Err(error) => assert!(started.elapsed() < 10 * QUICK, "still {error:?}"),
        }
    };
    assert!((acknowledged + 1..=acknowledged + 2).contains(&again), "{again} after {acknowledged}");
    assert_eq!(entries(&log).await as u64, again);
    drop(log);
    assert_eq!(verify(&data).expect("whole").head.revision.0, again);
}

#[tokio::test]
#[cfg_attr(not(has_small_disks), ignore = "needs the right to mount a small disk")]
async fn a_node_on_a_full_disk_answers_and_kills_and_starts_and_recovers() {
    let disk = SmallDisk::new();
    let data = disk.path().join("data");
    let state = start(&data);
    assert_eq!(state.live.settled().await, Readiness::Ready);
    state.commands.submit(ask(create_app("before"))).await.expect("there is space");
    disk.fill();
    let mut full = None;
    for number in 0..100_000 {
        let started = Instant::now();
        if let Err(error) = state.commands.submit(ask(create_app(&format!("app-{number}")))).await {
            assert!(started.elapsed() < QUICK, "refused after {:?}", started.elapsed());
            full = Some(error);
            break;
        }
    }
    assert!(matches!(full, Some(SubmitError::Full)), "told as {full:?}");
    // With a long reason: it must not fit where an app no longer does.
    let mut kill = ask(kill("k1", Reach::Everything));
    kill.reason = "x".repeat(1000);
    let killed = state.commands.submit(kill).await.expect("no kill is refused");
    assert!(!killed.durable && killed.published.snapshot.kills().all.is_some());
    assert!(state.live.load().snapshot.app(&AppKey::new("before").expect("a key")).is_some());
    // Not even a restart on the full disk takes the kill back.
    state.stop().await;
    let state = start(&data);
    assert!(state.live.load().snapshot.kills().all.is_some());
    assert_eq!(state.live.settled().await, Readiness::Ready);
    let (_, mut events) = state.live.subscribe();
    disk.clear();
    while state.live.load().folded.kills().all.is_none() {
        events.recv().await.expect("the log takes the kill when there is space");
    }
    state.commands.submit(ask(create_app("after"))).await.expect("there is space again");
    state.stop().await;
}

/// Their counts are too many for what is left of a page in a file.
const FLAGS: usize = 100;

/// Flags, and their counts in a file.
struct Counting {
    state: State,
    counts: Exposures,
    path: PathBuf,
    /// How often each flag was counted.
    counted: RefCell<Vec<u64>>,
    batches: Cell<u64>,
}

impl Counting {
    async fn start(path: PathBuf) -> Counting {
        let log = MemoryLog::new(LogId::new("counts").expect("a name"));
        let state = State::start(StateConfig::default(), Arc::new(log), Clock::system()).expect("starts");
        assert_eq!(state.live.settled().await, Readiness::Ready);
        state.commands.submit(ask(create_app("shop"))).await.expect("made");
        for number in 0..FLAGS {
            let command = create_flag(AppKey::new("shop").expect("a key"), Counting::flag(number));
            state.commands.submit(ask(command)).await.expect("made");
        }
        let counts = Exposures::open(&path, Clock::system().now()).expect("opens");
        Counting { state, counts, path, counted: RefCell::new(vec![0; FLAGS]), batches: Cell::new(0) }
    }

    fn flag(number: usize) -> FlagKey {
        FlagKey::new(&format!("f-{number}")).expect("a key")
    }

    /// Counts each of some flags once more, and has it written.
    fn count(&self, flags: Range<usize>) {
        let (app, production) =
            (AppKey::new("shop").expect("a key"), EnvKey::new("production").expect("a key"));
        let number = self.batches.replace(self.batches.get() + 1);
        let count = |number| Count { flag: Counting::flag(number), variant: None, count: 1, age_s: 0 };
        let batch = Batch {
            instance: InstanceId::new("web-1").expect("a name"),
            batch: IdempotencyKey::new(&format!("b-{number}")).expect("a name"),
            counts: flags.clone().map(count).collect(),
            uncounted: 0,
            app: None,
            environment: None,
        };
        let (snapshot, clock) = (&self.state.live.load_full().snapshot, Clock::system());
        let taken = self.counts.take(&app, &production, &batch, snapshot, &clock);
        assert_eq!(taken.counted, flags.len() as u64);
        self.counts.flush(snapshot, &clock);
        self.counted.borrow_mut()[flags].iter_mut().for_each(|counted| *counted += 1);
    }

    /// Whether all that was counted is there when the file is opened again, of each flag.
    async fn finds_all_again(self) -> bool {
        let clock = Clock::system();
        self.counts.close(&self.state.live.load_full().snapshot, &clock);
        self.state.stop().await;
        let now = clock.now();
        let again = Exposures::open(&self.path, now).expect("opens");
        let (app, production) =
            (AppKey::new("shop").expect("a key"), EnvKey::new("production").expect("a key"));
        let counted = |number| -> u64 {
            again.read(&place(&app, &production, &Counting::flag(number)), |sums, _| {
                let answers = sums.map_or(&[][..], FlagSums::answers).iter();
                answers.flat_map(|answer| answer.days(now)).map(|(_, count)| count).sum()
            })
        };
        (0..FLAGS).map(counted).eq(self.counted.take())
    }
}

#[tokio::test]
#[cfg_attr(not(has_small_disks), ignore = "needs the right to mount a small disk")]
async fn exposure_counts_that_found_no_space_are_written_when_there_is() {
    let telemetry = Telemetry::install().expect("metrics");
    let failures = || -> u64 {
        let all = telemetry.render();
        let count =
            all.lines().find_map(|line| line.strip_prefix("tidegate_exposures_write_failures_total "));
        count.map_or(0, |count| count.parse().expect("a number"))
    };
    let disk = SmallDisk::new();
    let counting = Counting::start(disk.path().join("exposures")).await;
    counting.count(0..FLAGS);
    disk.fill();
    let fail = |times: u64, flags: Range<usize>| {
        let before = failures();
        eventually("the disk has no space for them", || {
            counting.count(flags.clone());
            (failures() >= before + times).then_some(())
        });
    };
    fail(1, 0..FLAGS / 2);
    // One may be under way and one wait: then those of the first half have all been tried.
    fail(3, FLAGS / 2..FLAGS);
    disk.clear();
    assert!(counting.finds_all_again().await);
}

#[tokio::test]
async fn exposure_counts_go_on_being_written_while_their_file_cannot_be_written_anew() {
    let folder = tempfile::tempdir().expect("a directory");
    let counting = Counting::start(folder.path().join("exposures")).await;
    let in_the_way = folder.path().join("exposures.unfinished");
    fs::create_dir(&in_the_way).expect("made");
    let length = || fs::metadata(&counting.path).expect("a file").len();
    eventually("the file grows past what it is written anew at", || {
        counting.count(0..FLAGS);
        (length() > 3 << 19).then_some(())
    });
    fs::remove_dir(&in_the_way).expect("removed");
    eventually("it is written anew", || {
        counting.count(0..FLAGS);
        (length() < 1 << 20).then_some(())
    });
    assert!(counting.finds_all_again().await);
}

fn start(data: &Path) -> State {
    let log = Arc::new(SledLog::open(data).expect("opens, full disk or not"));
    let config = StateConfig { kill_journal: Some(data.join("kills")), ..StateConfig::default() };
    State::start(config, log, Clock::system()).expect("starts, full disk or not")
}

fn create_app(name: &str) -> Command {
    Command::CreateApp {
        key: AppKey::new(name).expect("a key"),
        name: String::new(),
        owner: String::new(),
        tier: Default::default(),
        monthly_budget_micros: None,
        currency: None,
        environments: None,
        sensitive: Vec::new(),
    }
}

fn ask(command: Command) -> Request {
    request("full-disk", command)
}
