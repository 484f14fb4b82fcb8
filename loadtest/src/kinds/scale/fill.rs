//! Data for a server that is to have much from its start, made by a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use rollout_rules::ids::FlagKey;

use crate::driver::{Driver, app_key, create_flag};
use crate::problem::Problem;
use crate::server::{end_with_parent, remove, start_self_with};

/// The argument that makes this program fill a directory; it, apps, and flags of each follow.
const MODE: &str = "--fill";
/// What it says when it has.
const FILLED: &str = "filled";
/// Filling that takes longer is given up.
const FILL_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Makes a directory of so many apps with so many flags each. It is done by this program, run again: its process removes
/// the directory if this one ends meanwhile, in whatever way.
pub(super) fn fill(data: &Path, apps: u64, flags: u64) -> Result<(), Problem> {
    let path = data.to_str().expect("a plain path");
    let arguments = [MODE, path, &apps.to_string(), &flags.to_string()];
    let began = Instant::now();
    let (process, lines) = start_self_with(FILL_PATIENCE, &arguments);
    until_filled(process, lines, (began, FILL_PATIENCE), || {
        format!("filling a server with {flags} flags of {apps} apps")
    })
}

/// Waits until a process that began then has filled its directory, and ends it. Its lines end with it, or after so long.
fn until_filled(
    mut process: Child,
    mut lines: impl Iterator<Item = String>,
    (began, patience): (Instant, Duration),
    what: impl FnOnce() -> String,
) -> Result<(), Problem> {
    let is_filled = lines.any(|line| line == FILLED);
    let is_late = began.elapsed() >= patience;
    // All is stored when it says so, and one that does not may never end by itself.
    process.kill().map_err(Problem::Start)?;
    process.wait().map_err(Problem::Start)?;
    if is_filled {
        Ok(())
    } else if is_late {
        let then = "free the machine and its disk for it, or have a scenario of your own with fewer";
        Err(Problem::Late { what: what(), after: patience, then })
    } else {
        Err(Problem::Start(std::io::Error::other("its data could not be written (standard error says more)")))
    }
}

/// Fills a directory, if that is what the arguments ask for.
pub(crate) fn fill_if_asked(arguments: &[String]) -> Option<ExitCode> {
    let [mode, path, apps, flags] = arguments else { return None };
    if mode != MODE {
        return None;
    }
    let data = PathBuf::from(path);
    let kept = data.clone();
    end_with_parent(move || remove(&kept));
    let [apps, flags] = [apps, flags].map(|count| count.parse().expect("they are counts"));
    make(&data, apps, flags);
    println!("{FILLED}");
    Some(ExitCode::SUCCESS)
}

/// Makes so many apps with so many flags each, and stores a checkpoint of them.
fn make(directory: &Path, apps: u64, flags: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    let count = usize::try_from(apps).expect("ten thousand");
    runtime.block_on(async {
        let driver = Driver::on_disk(directory).await;
        driver.create_apps(count).await;
        let all = (0..flags).flat_map(|flag| (0..count).map(move |app| (app, flag)));
        driver.submit_all(all.map(|(app, flag)| create_flag(&app_key(app), &key(flag)))).await;
        driver.stop().await;
    });
}

/// The key of a flag by its number.
pub(super) fn key(flag: u64) -> FlagKey {
    FlagKey::new(&format!("flag-{flag:06}")).expect("a key")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::resident_kib;

    #[test]
    fn who_fills_for_too_long_is_ended_and_it_is_said_what_took_so_long() {
        // It never ends by itself: its input stays open.
        let endless = || {
            let piped = Stdio::piped;
            Command::new("cat").stdin(piped()).stdout(piped()).spawn().unwrap()
        };
        let what = || "filling a server".to_owned();
        let process = endless();
        let id = process.id();
        let (at_once, in_time) = ((Instant::now(), Duration::ZERO), (Instant::now(), FILL_PATIENCE));
        let late = until_filled(process, std::iter::empty(), at_once, what).unwrap_err().to_string();
        assert!(late.contains("filling a server took longer than 0 s") && late.contains("fewer"), "{late}");
        assert_eq!(resident_kib(id), 0, "it is gone");
        let ended = until_filled(endless(), std::iter::empty(), in_time, what).unwrap_err().to_string();
        assert!(ended.contains("could not be written"), "{ended}");
        let said = [FILLED.to_owned()].into_iter();
        until_filled(endless(), said, at_once, what).unwrap();
    }
}
