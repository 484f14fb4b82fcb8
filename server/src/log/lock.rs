//! One server per data directory.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::OpenError;

/// Held while a data directory is in use. The system releases it however the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, making it if it is not there; refuses if another process has it.
    pub fn take(directory: &Path) -> Result<DirectoryLock, OpenError> {
        fs::create_dir_all(directory)
            .map_err(|error| OpenError::storage("making the data directory", directory, error))?;
        let path = directory.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| OpenError::storage("opening", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: directory.to_owned() }),
            Err(TryLockError::Error(error)) => Err(OpenError::storage("locking", &path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_serves_one_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = DirectoryLock::take(directory.path()).expect("free");
        let refused = DirectoryLock::take(directory.path()).expect_err("taken");
        assert!(refused.to_string().starts_with("another server uses the data directory"), "{refused}");
        drop(first);
        DirectoryLock::take(directory.path()).expect("free again");
    }
}
