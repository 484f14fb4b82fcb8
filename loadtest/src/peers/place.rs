//! A folder for the programs of others: gone after this one, in whatever way that ends.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::PeerError;

/// The argument that makes this program remove a folder once its input ends; the folder follows.
const MODE: &str = "--be-sweeper";
/// What the name of each such folder begins with: nothing else is removed.
const PREFIX: &str = "loadtest-peer-";
/// A folder that something still writes to is tried again, until after this. Then it stays.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const BETWEEN: Duration = Duration::from_millis(100);

/// Such a folder; removed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    folder: TempDir,
    /// It removes the folder if this process ends without doing so: its input ends then.
    sweeper: Child,
}

impl Place {
    /// A new one.
    pub(super) fn new() -> Result<Place, PeerError> {
        let failed = |source| PeerError::System { what: "a folder", source };
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().map_err(failed)?;
        let mut sweeper = Command::new(std::env::current_exe().map_err(failed)?);
        sweeper.arg(MODE).arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null());
        // Ctrl-C goes to all of a group, and it has to outlive this process.
        let sweeper = sweeper.process_group(0).spawn().map_err(failed)?;
        Ok(Place { folder, sweeper })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The folder goes next, by this process.
        let _ = self.sweeper.kill();
        let _ = self.sweeper.wait();
    }
}

/// Removes a folder once the process that made it has ended, if that is what the arguments ask for.
pub(crate) fn sweep_if_asked(arguments: &[String]) -> Option<ExitCode> {
    let [mode, folder] = arguments else { return None };
    if mode != MODE {
        return None;
    }
    sweep(Path::new(folder), &mut std::io::stdin());
    Some(ExitCode::SUCCESS)
}

fn sweep(folder: &Path, until_end: &mut impl Read) {
    let name = folder.file_name().and_then(|name| name.to_str());
    if !name.is_some_and(|name| name.starts_with(PREFIX)) {
        return;
    }
    // However it ends, nobody is there any more.
    let _ = std::io::copy(until_end, &mut std::io::sink());
    let give_up = Instant::now() + PATIENCE;
    while std::fs::remove_dir_all(folder).is_err() && folder.exists() && Instant::now() < give_up {
        std::thread::sleep(BETWEEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_once_nobody_is_there_to_remove_it_and_no_other_is() {
        for (prefix, is_swept) in [(PREFIX, true), ("else", false)] {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir().expect("a temporary folder");
            std::fs::write(folder.path().join("flags.json"), "{}").expect("it takes a file");
            let path = folder.path().to_path_buf();
            let (mut until_end, ours) = std::io::pipe().expect("a pipe");
            let sweeper = std::thread::spawn(move || sweep(&path, &mut until_end));
            assert!(folder.path().exists(), "somebody is there");
            drop(ours);
            sweeper.join().expect("it sweeps");
            assert_eq!(!folder.path().exists(), is_swept);
        }
    }
}
