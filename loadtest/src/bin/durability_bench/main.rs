//! What durability costs: a change in process against an append with fdatasync and against bare sled, one
//! writer and 64; a change with few and with many apps in memory; a start from a checkpoint.
//!
//! `cargo run --release -p tidegate-loadtest --bin durability-bench [-- --dir DIRECTORY]`. All figures come
//! from one run and the first three are taken in turns, as machines differ and disks have moods. The
//! directory (by default a temporary one) decides which disk is measured. Ends with 1 if a bar is missed.

mod floor;
mod start;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollout_rules::ids::LogId;
use tidegate::log::memory::MemoryLog;

use tidegate_loadtest::driver::Driver;

/// Turns of each contender, and changes in a turn: short ones, so that a mood of the disk meets all alike.
const TURNS: usize = 100;
const CHANGES: usize = 20;
/// How long the checkpoints of many new apps have to be written, before changes are measured.
const SETTLING: Duration = Duration::from_secs(5);
/// Turns that only warm up.
const WARM_UP: usize = 10;
/// Writers that change at the same time, and for how long.
const WRITERS: usize = 64;
const RUSH: Duration = Duration::from_secs(3);
/// Apps in memory, few and many.
const FEW_APPS: usize = 100;
const MANY_APPS: usize = 100_000;

/// The bars.
const MOST_TIMES_APPEND: f64 = 2.5;
const LEAST_TIMES_ONE_WRITER: f64 = 10.0;
const MOST_TIMES_FEW_APPS: f64 = 2.0;

/// Prints figures and remembers whether a bar was missed.
#[derive(Default)]
struct Report {
    missed: bool,
}

impl Report {
    fn figure(&self, what: &str, value: impl std::fmt::Display) {
        println!("{what:<58} {value:>14}");
    }

    fn bar(&mut self, what: &str, value: f64, bar: f64, holds: bool) {
        self.missed |= !holds;
        let verdict = if holds { "ok" } else { "MISSED" };
        println!("{what:<58} {value:>14.2}   bar {bar:.2}: {verdict}");
    }
}

fn main() -> ExitCode {
    // As the server does.
    tidegate::allocator::keep_less();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, directory] = &arguments[..]
        && mode == start::MODE
    {
        start::measure(Path::new(directory));
        return ExitCode::SUCCESS;
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let directory = match &arguments[..] {
        [] => temporary.path().to_owned(),
        [flag, directory] if flag == "--dir" => PathBuf::from(directory),
        _ => {
            eprintln!("usage: durability-bench [--dir DIRECTORY]");
            return ExitCode::from(2);
        }
    };
    std::fs::create_dir_all(&directory).expect("a directory to measure in");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    let mut report = Report::default();
    runtime.block_on(one_writer(&mut report, &directory.join("one")));
    runtime.block_on(many_writers(&mut report, &directory.join("many")));
    runtime.block_on(many_apps(&mut report));
    start::run(&mut report, &directory.join("start"));
    ExitCode::from(u8::from(report.missed))
}

async fn one_writer(report: &mut Report, directory: &Path) {
    let mut append = floor::Append::new(directory);
    let mut sled = floor::BareSled::new(directory);
    let driver = Driver::on_disk(&directory.join("tidegate")).await;
    driver.create_apps(1).await;
    let mut flag = driver.create_flag(0, "bench").await;
    let (mut appends, mut sleds, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let kept = if turn < WARM_UP { 0 } else { CHANGES };
        appends.extend((0..CHANGES).map(|_| timed(|| append.once())).take(kept));
        sleds.extend((0..CHANGES).map(|_| timed(|| sled.once())).take(kept));
        for _ in 0..CHANGES {
            let started = Instant::now();
            flag.toggle(&driver).await;
            changes.extend((kept > 0).then(|| started.elapsed()));
        }
    }
    driver.stop().await;
    let (append, sled, change) = (middle(appends), middle(sleds), middle(changes));
    report.figure("append 256 B + fdatasync, p50 (us)", micros(append));
    report.figure("sled insert + flush + fdatasync, p50 (us)", micros(sled));
    report.figure("durable change, one writer, p50 (us)", micros(change));
    let ratio = change.as_secs_f64() / append.as_secs_f64();
    report.bar("  times append + fdatasync", ratio, MOST_TIMES_APPEND, ratio <= MOST_TIMES_APPEND);
    report.figure("  times sled + fdatasync", format!("{:.2}", change.as_secs_f64() / sled.as_secs_f64()));
}

async fn many_writers(report: &mut Report, directory: &Path) {
    let driver = Arc::new(Driver::on_disk(directory).await);
    driver.create_apps(WRITERS).await;
    let one = rush(&driver, "before", 1).await;
    let many = rush(&driver, "crowd", WRITERS).await;
    let one_again = rush(&driver, "after", 1).await;
    let one = one.midpoint(one_again);
    report.figure("durable changes/s, one writer", format!("{one:.0}"));
    report.figure(&format!("durable changes/s, {WRITERS} writers"), format!("{many:.0}"));
    let ratio = many / one;
    report.bar("  times one writer", ratio, LEAST_TIMES_ONE_WRITER, ratio >= LEAST_TIMES_ONE_WRITER);
}

/// Changes a second by so many writers, each with a flag of its own.
async fn rush(driver: &Arc<Driver>, flag: &'static str, writers: usize) -> f64 {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let driver = Arc::clone(driver);
        tasks.spawn(async move {
            let mut flag = driver.create_flag(writer, flag).await;
            let mut changes = 0_u32;
            while started.elapsed() < RUSH {
                flag.toggle(&driver).await;
                changes += 1;
            }
            flag.remove(&driver).await;
            changes
        });
    }
    let mut changes = 0;
    while let Some(made) = tasks.join_next().await {
        changes += made.expect("a writer does not panic");
    }
    f64::from(changes) / started.elapsed().as_secs_f64()
}

async fn many_apps(report: &mut Report) {
    let few = changes_with(FEW_APPS).await;
    let many = changes_with(MANY_APPS).await;
    report.figure(&format!("change in memory with {FEW_APPS} apps, p50 (us)"), micros(few));
    report.figure(&format!("change in memory with {MANY_APPS} apps, p50 (us)"), micros(many));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    report.bar("  times few apps", ratio, MOST_TIMES_FEW_APPS, ratio <= MOST_TIMES_FEW_APPS);
}

async fn changes_with(apps: usize) -> Duration {
    let log = MemoryLog::new(LogId::new("bench").expect("a name"));
    let driver = Driver::start(Arc::new(log), None).await;
    driver.create_apps(apps).await;
    let mut flag = driver.create_flag(apps / 2, "bench").await;
    let began = Instant::now();
    while began.elapsed() < SETTLING {
        flag.toggle(&driver).await;
    }
    let mut changes = Vec::new();
    for _ in 0..CHANGES * TURNS {
        let started = Instant::now();
        flag.toggle(&driver).await;
        changes.push(started.elapsed());
    }
    driver.stop().await;
    middle(changes)
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}
