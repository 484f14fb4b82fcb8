//! How long a node takes to start from a checkpoint of many flags, and what it keeps in memory. Measured in
//! a process of its own, so that nothing of the making of them counts.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rollout_rules::ids::FlagKey;

use crate::Report;
use tidegate_loadtest::driver::{Driver, app_key, create_flag};

/// The argument with which this program measures a start.
pub(crate) const MODE: &str = "--measure-start";

const APPS: usize = 100;
const FLAGS: usize = 100_000;
/// The bars.
const MOST_SECONDS: f64 = 2.0;
const MOST_BYTES_A_FLAG: f64 = 2048.0;

/// Makes the flags, and has the start measured.
pub(crate) fn run(report: &mut Report, directory: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    runtime.block_on(async {
        let driver = Driver::on_disk(directory).await;
        driver.create_apps(APPS).await;
        let key = |n: usize| FlagKey::new(&format!("flag-{n:06}")).expect("a key");
        driver.submit_all((0..FLAGS).map(|n| create_flag(&app_key(n % APPS), &key(n)))).await;
        // Stopping stores a checkpoint.
        driver.stop().await;
    });
    let itself = std::env::current_exe().expect("this program has a path");
    let measured = Command::new(itself).arg(MODE).arg(directory).output().expect("starts");
    let text = String::from_utf8_lossy(&measured.stdout);
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().expect("a number"));
    let (seconds, bytes) = (numbers.next(), numbers.next());
    let seconds = seconds.expect("the start measures its time");
    let bytes = bytes.expect("the start measures its memory") / FLAGS as f64;
    report.bar(
        &format!("start with {FLAGS} flags from a checkpoint (s)"),
        seconds,
        MOST_SECONDS,
        seconds < MOST_SECONDS,
    );
    report.bar("  memory a flag (bytes)", bytes, MOST_BYTES_A_FLAG, bytes <= MOST_BYTES_A_FLAG);
}

/// Starts a node, and prints the seconds it took and the bytes that it keeps.
pub(crate) fn measure(directory: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    let before = resident_bytes();
    let started = Instant::now();
    let driver = runtime.block_on(Driver::on_disk(directory));
    let seconds = started.elapsed().as_secs_f64();
    println!("{seconds} {}", resident_bytes() - before);
    runtime.block_on(driver.stop());
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0
}
