//! A data directory that is made whole or not at all: in a folder inside it, whose contents move up once all is
//! there, the log last.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::OfflineError;
use crate::log::lock::DirectoryLock;

/// The folder in which the work is done. One that an earlier attempt left behind is removed.
const UNFINISHED: &str = "restore-unfinished";
const LOCK: &str = "lock";
/// What is made, in the order in which it moves up.
const PARTS: [&str; 4] = ["ballast", "checkpoints", GATE, "log"];
/// The folder of the gate, which a backup from before has not.
pub(super) const GATE: &str = "gate";

/// A data directory that is being made.
pub(super) struct Target {
    directory: PathBuf,
    _lock: DirectoryLock,
}

impl Target {
    /// Takes a directory that is not there, or empty.
    pub(super) fn take(directory: &Path) -> Result<Target, OfflineError> {
        let failed = |error: io::Error| OfflineError::Files { path: directory.to_owned(), source: error };
        match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) => {
                for entry in found {
                    let name = entry.map_err(failed)?.file_name();
                    if name != UNFINISHED && name != LOCK {
                        return Err(OfflineError::NotEmpty(directory.to_owned()));
                    }
                }
            }
        }
        let lock = DirectoryLock::take(directory)?;
        let target = Target { directory: directory.to_owned(), _lock: lock };
        match fs::remove_dir_all(target.work()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(target),
        }
    }

    /// Where the work is done.
    pub(super) fn work(&self) -> PathBuf {
        self.directory.join(UNFINISHED)
    }

    /// Moves what was made to its place.
    pub(super) fn finish(self) -> Result<(), OfflineError> {
        let work = self.work();
        let done = || -> io::Result<()> {
            for part in PARTS {
                match fs::rename(work.join(part), self.directory.join(part)) {
                    // A full disk leaves no ballast, and not every backup has what the gate keeps.
                    Err(error) if error.kind() == ErrorKind::NotFound && part != "log" => {}
                    outcome => outcome?,
                }
            }
            File::open(&self.directory)?.sync_all()?;
            fs::remove_dir_all(&work)
        };
        done().map_err(|source| OfflineError::Files { path: self.directory.clone(), source })
    }

    /// Leaves nothing behind of what was not finished.
    pub(super) fn give_up(self) {
        // What stays is removed by the next attempt.
        let _ = fs::remove_dir_all(self.work());
    }
}
