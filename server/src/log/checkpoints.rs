//! Checkpoints as files of their own, each whole or absent: written beside its place, synced, renamed.
//!
//! A file is a fixed header (magic, revision, chain hash, length, SHA-256 of all that and the body) and
//! the body. One that does not check out is passed over for the next older one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollout_rules::ids::{Digest, Revision};

use super::{Anchor, CheckpointError, StoredCheckpoint};

/// Most checkpoints kept. The newest three, and older ones ever further apart, so that a look at the
/// past starts near it.
pub const LADDER: usize = 20;
const NEWEST_KEPT: usize = 3;
const MAGIC: &[u8; 8] = b"tgcheck1";
const HEADER_BYTES: usize = 8 + 8 + 32 + 8 + 32;

/// A directory of checkpoints.
#[derive(Debug)]
pub struct CheckpointFiles {
    directory: PathBuf,
}

impl CheckpointFiles {
    /// Opens the directory, making it if it is not there.
    pub fn open(directory: &Path) -> io::Result<CheckpointFiles> {
        fs::create_dir_all(directory)?;
        Ok(CheckpointFiles { directory: directory.to_owned() })
    }

    /// The revisions of the files that are there, oldest first.
    pub fn revisions(&self) -> io::Result<Vec<Revision>> {
        let mut revisions = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let name = file?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".checkpoint"));
            revisions.extend(number.and_then(|digits| digits.parse().ok()).map(Revision));
        }
        revisions.sort_unstable();
        Ok(revisions)
    }

    /// The newest intact one at or before a position.
    pub fn load(&self, at_most: Revision) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        for revision in self.revisions()?.into_iter().rev().filter(|revision| *revision <= at_most) {
            match read(&self.path(revision), revision) {
                Ok(Some(checkpoint)) => return Ok(Some(checkpoint)),
                Ok(None) => tracing::warn!(%revision, "a checkpoint is damaged; using an older one"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%revision, %error, "a checkpoint cannot be read; using an older one");
                }
            }
        }
        Ok(None)
    }

    /// Stores one and drops those that the ladder no longer needs.
    pub fn store(&self, checkpoint: &StoredCheckpoint) -> Result<(), CheckpointError> {
        let path = self.path(checkpoint.anchor.revision);
        let unfinished = path.with_extension("unfinished");
        let written = write(&unfinished, checkpoint).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            // What is left of it would only fill the disk further.
            let _ = fs::remove_file(&unfinished);
            return Err(error.into());
        }
        File::open(&self.directory)?.sync_all()?;
        for revision in spare(&self.revisions()?) {
            fs::remove_file(self.path(revision))?;
        }
        Ok(())
    }

    fn path(&self, revision: Revision) -> PathBuf {
        self.directory.join(format!("{:020}.checkpoint", revision.0))
    }
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> CheckpointError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => CheckpointError::Full,
            _ => CheckpointError::Unavailable(Arc::new(error)),
        }
    }
}

/// Which of the revisions (oldest first) the ladder drops. Beyond the newest few, it keeps the oldest for
/// each doubling of the distance to the newest: as the newest moves on, that one grows into the next rung.
pub(super) fn spare(revisions: &[Revision]) -> Vec<Revision> {
    let Some(newest) = revisions.last() else { return Vec::new() };
    let (older, _) = revisions.split_at(revisions.len().saturating_sub(NEWEST_KEPT));
    let rung = |revision: &Revision| (newest.0 - revision.0).checked_ilog2();
    let mut kept = older.to_vec();
    kept.dedup_by_key(|revision| rung(revision));
    let too_many = (kept.len() + NEWEST_KEPT).saturating_sub(LADDER);
    kept.drain(..too_many);
    older.iter().filter(|revision| !kept.contains(revision)).copied().collect()
}

fn header(checkpoint: &StoredCheckpoint) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&checkpoint.anchor.revision.0.to_be_bytes());
    header[16..48].copy_from_slice(&checkpoint.anchor.hash.0);
    header[48..56].copy_from_slice(&(checkpoint.bytes.len() as u64).to_be_bytes());
    let sum = Digest::of(&header[..56]).chain(&checkpoint.bytes);
    header[56..].copy_from_slice(&sum.0);
    header
}

fn write(path: &Path, checkpoint: &StoredCheckpoint) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&header(checkpoint))?;
    file.write_all(&checkpoint.bytes)?;
    file.sync_all()
}

/// `None` if what is there is not what was written.
fn read(path: &Path, revision: Revision) -> io::Result<Option<StoredCheckpoint>> {
    let mut bytes = fs::read(path)?;
    if bytes.len() < HEADER_BYTES {
        return Ok(None);
    }
    let body = bytes.split_off(HEADER_BYTES);
    let mut hash = Digest::default();
    hash.0.copy_from_slice(&bytes[16..48]);
    let checkpoint = StoredCheckpoint { anchor: Anchor { revision, hash }, bytes: body };
    Ok((header(&checkpoint)[..] == bytes[..]).then_some(checkpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(revision: u64) -> StoredCheckpoint {
        let hash = Digest::of(&revision.to_be_bytes());
        let bytes = format!("fold up to {revision}").into_bytes();
        StoredCheckpoint { anchor: Anchor { revision: Revision(revision), hash }, bytes }
    }

    #[test]
    fn a_damaged_checkpoint_gives_way_to_the_next_older_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = CheckpointFiles::open(directory.path()).expect("opens");
        files.store(&checkpoint(10)).expect("stored");
        files.store(&checkpoint(20)).expect("stored");
        let path = files.path(Revision(20));
        for position in 0..fs::metadata(&path).expect("there").len() {
            let mut bytes = fs::read(&path).expect("readable");
            bytes[usize::try_from(position).expect("small")] ^= 1;
            fs::write(&path, &bytes).expect("writable");
            assert_eq!(files.load(Revision(99)).expect("loads"), Some(checkpoint(10)), "byte {position}");
            bytes[usize::try_from(position).expect("small")] ^= 1;
            fs::write(&path, &bytes).expect("writable");
        }
        assert_eq!(files.load(Revision(99)).expect("loads"), Some(checkpoint(20)));
        fs::write(&path, b"short").expect("writable");
        assert_eq!(files.load(Revision(99)).expect("loads"), Some(checkpoint(10)));
    }

    #[test]
    fn the_ladder_keeps_few_and_reaches_far_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = CheckpointFiles::open(directory.path()).expect("opens");
        for revision in 1..=200 {
            files.store(&checkpoint(revision)).expect("stored");
        }
        let kept = files.revisions().expect("lists");
        assert!(kept.len() <= LADDER, "{kept:?}");
        assert_eq!(kept[kept.len() - 3..], [Revision(198), Revision(199), Revision(200)]);
        assert!(kept[0] <= Revision(100), "{kept:?}");
        assert_eq!(
            files.load(Revision(197)).expect("loads").expect("one").anchor.revision,
            kept[kept.len() - 4]
        );
    }
}
