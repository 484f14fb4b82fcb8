//! One server per data directory.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::OpenError;

/// Held while a data directory is in use. The system releases it however the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, making it for its owner alone if it is not there: the log holds the hashes of tokens and
    /// the secrets of webhooks. Refuses if another process has it.
    pub fn take(directory: &Path) -> Result<DirectoryLock, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
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
        let inner = directory.path().join("data");
        let first = DirectoryLock::take(&inner).expect("free");
        let refused = DirectoryLock::take(&inner).expect_err("taken");
        assert!(refused.to_string().starts_with("another server uses the data directory"), "{refused}");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&inner).expect("it was made"));
        assert_eq!(mode & 0o777, 0o700, "only its owner looks into it");
        drop(first);
        DirectoryLock::take(&inner).expect("free again");
    }
}
