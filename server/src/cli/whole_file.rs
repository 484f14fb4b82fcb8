//! Files that are there whole or not at all: written beside their place, synced, renamed.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// Bytes written at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How often the place beside is tried; it is lost only to one who comes at the same moment.
const TRIES: usize = 16;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner alone, whoever could read what was there before.
    Owner,
    /// Whoever could read what was there before; of a new file, whom the umask lets.
    AsBefore,
}

/// Writes a file beside its place, syncs it and moves it there. Of two that write the same file at once, the second
/// is refused.
pub(super) fn write_whole<T>(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let partial = partial_of(path);
    let file = begin(&partial, path, readers).map_err(|error| failed(&partial, &error))?;
    let outcome = finish(&file, &partial, path, write);
    if outcome.is_err() {
        // It is not whole, and whoever finds it might take it for what it was to be.
        let _ = fs::remove_file(&partial);
    }
    outcome
}

/// Whether a file can be written there, found out before work is done whose outcome would be lost. Nothing is left there.
pub(super) fn can_be_written(path: &Path) -> Result<(), Failure> {
    let told = |why: String| Failure::no_evidence(format!("{} cannot be written: {why}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.exists() => {
            let shown = folder.display();
            return Err(told(format!("there is no folder {shown}; make it first: mkdir -p {shown}")));
        }
        Some(folder) if !folder.is_dir() => {
            return Err(told(format!("{} is a file, and no folder", folder.display())));
        }
        _ => {}
    }
    if path.is_dir() {
        return Err(told("it is a folder; name a file in it".to_owned()));
    }
    let partial = partial_of(path);
    begin(&partial, path, Readers::AsBefore).map_err(|error| told(error.to_string()))?;
    fs::remove_file(&partial).map_err(|error| told(error.to_string()))
}

/// The place beside a file.
fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Output(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn finish<T>(
    file: &File,
    partial: &Path,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut out = BufWriter::with_capacity(BLOCK_BYTES, file);
    let written = write(&mut out)?;
    out.flush().map_err(|error| failed(partial, &error))?;
    drop(out);
    file.sync_all().map_err(|error| failed(partial, &error))?;
    fs::rename(partial, path).map_err(|error| failed(path, &error))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| failed(parent, &error))?;
    Ok(written)
}

/// Makes the file beside the place, for this run alone as long as it is open. One that a run left behind which was
/// killed is made anew: it may be somebody else's, or readable to others.
fn begin(partial: &Path, path: &Path, readers: Readers) -> io::Result<File> {
    let mode = match readers {
        Readers::Owner => Some(0o600),
        Readers::AsBefore => fs::metadata(path).ok().map(|before| before.mode() & 0o777),
    };
    for _ in 0..TRIES {
        match File::options().write(true).create_new(true).mode(mode.unwrap_or(0o666)).open(partial) {
            Ok(file) => {
                lock(&file)?;
                if is_at(&file, partial) {
                    // The umask may have taken more away than the file before had.
                    if let Some(mode) = mode {
                        file.set_permissions(Permissions::from_mode(mode))?;
                    }
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => remove_left(partial)?,
            Err(error) => return Err(error),
        }
    }
    Err(busy())
}

/// Removes what another run left, unless it is at work.
fn remove_left(partial: &Path) -> io::Result<()> {
    let is_file = match fs::symlink_metadata(partial) {
        Ok(found) => found.is_file(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_file {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "it is in the way, and no file: remove it"));
    }
    let left = match File::open(partial) {
        Ok(left) => left,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    lock(&left)?;
    if is_at(&left, partial) { fs::remove_file(partial) } else { Ok(()) }
}

fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(busy()),
        // Some network file systems know no locks; there, two at once are the caller's affair.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn busy() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "another run writes it; try again when that is done")
}

/// Whether an open file is the one that is there under the name: another run may have moved or removed it.
fn is_at(file: &File, path: &Path) -> bool {
    let here = file.metadata().map(|found| (found.dev(), found.ino()));
    let there = fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puts(text: &str) -> impl FnOnce(&mut dyn Write) -> Result<(), Failure> {
        move |out| Ok(out.write_all(text.as_bytes())?)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn whether_a_file_can_be_written_is_told_before_and_leaves_nothing_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = |name: &str| folder.path().join(name);
        fs::write(here("file"), "kept").expect("written");
        can_be_written(&here("new.json")).expect("it can");
        can_be_written(&here("file")).expect("it can be written over");
        for (name, told) in [
            ("no/new.json", "mkdir -p"),
            ("file/new.json", "is a file, and no folder"),
            ("", "it is a folder"),
        ] {
            let failure = can_be_written(&here(name)).expect_err(name);
            assert_eq!(failure.exit_code() as u8, 3, "{failure}");
            assert!(failure.to_string().contains(told), "{failure}");
        }
        assert_eq!(fs::read_to_string(here("file")).expect("readable"), "kept");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing was made");
    }

    #[test]
    fn a_second_run_is_refused_and_spoils_nothing_of_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("night.backup");
        write_whole(&path, Readers::Owner, |out| {
            out.write_all(b"the first")?;
            let refused = write_whole(&path, Readers::Owner, puts("the second")).expect_err("refused");
            assert!(refused.to_string().contains("another run writes it"), "{refused}");
            Ok(())
        })
        .expect("written");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "the first");
        write_whole(&path, Readers::Owner, puts("the third")).expect("the way is free again");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "the third");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_a_killed_run_left_passes_none_of_its_readers_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("night.backup");
        let partial = folder.path().join("night.backup.partial");
        fs::write(&partial, "half of what was to be").expect("written");
        set_mode(&partial, 0o666);
        let held = File::open(&partial).expect("whoever could read it holds it open");
        write_whole(&path, Readers::Owner, puts("whole")).expect("written");
        assert_eq!((fs::read_to_string(&path).expect("readable").as_str(), mode(&path)), ("whole", 0o600));
        assert!(!is_at(&held, &path), "it is another file");
        fs::create_dir(&partial).expect("made");
        let refused = write_whole(&path, Readers::Owner, puts("again")).expect_err("refused").to_string();
        assert!(refused.contains("in the way"), "{refused}");
    }

    #[test]
    fn a_file_that_others_may_read_stays_so_unless_it_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.json");
        for before in [0o640, 0o664, 0o600] {
            fs::write(&path, "before").expect("written");
            set_mode(&path, before);
            write_whole(&path, Readers::AsBefore, puts("after")).expect("written");
            assert_eq!(mode(&path), before);
        }
        set_mode(&path, 0o644);
        write_whole(&path, Readers::Owner, puts("after")).expect("written");
        assert_eq!(mode(&path), 0o600);
    }
}
