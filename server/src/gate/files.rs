//! Files named by the SHA-256 of what they hold. Whoever is told the name knows that it is on disk: it is written beside its
//! place, synced and renamed, and the folder is synced.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::ids::Digest;

/// Largest file that is read back, in bytes: facts of many pieces are larger than one piece.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The files.
pub enum Files {
    /// On disk.
    Folder {
        /// Where.
        path: PathBuf,
        /// What nothing named when it was last looked.
        unnamed: Mutex<BTreeSet<Digest>>,
    },
    /// In memory, for a server that keeps nothing.
    Memory(Mutex<HashMap<Digest, Arc<[u8]>>>),
}

impl Files {
    /// Opens a folder; makes it if it is not there, and removes what was half written.
    pub fn open(folder: &Path) -> io::Result<Files> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(path)?;
            }
        }
        Ok(Files::Folder { path: folder.to_owned(), unnamed: Mutex::default() })
    }

    /// Nothing yet, and all is forgotten with the process.
    pub fn in_memory() -> Files {
        Files::Memory(Mutex::default())
    }

    /// Keeps bytes, and says under which name. They are on disk then.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let name = Digest::of(bytes);
        match self {
            Files::Memory(files) => {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                files.entry(name).or_insert_with(|| bytes.into());
            }
            Files::Folder { path: folder, unnamed } => {
                let path = place(folder, &name);
                // Held until it is there: a sweep does not come in between.
                let mut unnamed = unnamed.lock().unwrap_or_else(PoisonError::into_inner);
                unnamed.remove(&name);
                // A file under its name is whole: it was synced before it was named so.
                if path.exists() {
                    return Ok(name);
                }
                let parent = path.parent().unwrap_or(folder);
                let new_parent = !parent.exists();
                fs::create_dir_all(parent)?;
                let beside = folder.join(format!("{name}-{:016x}.new", rand::random::<u64>()));
                let mut file = File::create_new(&beside)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&beside, &path)?;
                File::open(parent)?.sync_all()?;
                if new_parent {
                    File::open(folder)?.sync_all()?;
                }
            }
        }
        Ok(name)
    }

    /// What is kept under a name; none: nothing. What is not what its name says is broken, and told as an error.
    pub fn get(&self, name: &Digest) -> io::Result<Option<Vec<u8>>> {
        let bytes = match self {
            Files::Memory(files) => {
                let files = files.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(files.get(name).map(|bytes| bytes.to_vec()));
            }
            Files::Folder { path, .. } => match File::open(place(path, name)) {
                Ok(file) => {
                    let mut bytes = Vec::new();
                    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
                    bytes
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        if Digest::of(&bytes) != *name {
            let problem =
                format!("the file {name} is not what its name says: the disk or somebody changed it");
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        Ok(Some(bytes))
    }

    /// Removes what nothing named, neither now nor at the last sweep: what names it may have been on its way to the log then. Says
    /// how many went.
    pub fn sweep(&self, is_named: &BTreeSet<Digest>) -> io::Result<usize> {
        // Without a disk nothing outlives the process anyway, and decisions are few.
        let Files::Folder { path, unnamed } = self else { return Ok(0) };
        let mut unnamed = unnamed.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut gone) = (BTreeSet::new(), 0);
        for parent in fs::read_dir(path)? {
            let parent = parent?.path();
            if !parent.is_dir() {
                continue;
            }
            for file in fs::read_dir(&parent)? {
                let file = file?;
                let name = file.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
                let Some(name) = name.filter(|name| !is_named.contains(name)) else { continue };
                if unnamed.contains(&name) {
                    fs::remove_file(file.path())?;
                    gone += 1;
                } else {
                    found.insert(name);
                }
            }
        }
        *unnamed = found;
        Ok(gone)
    }
}

/// The place of a file: two digits make a folder, so that none holds too many.
fn place(folder: &Path, name: &Digest) -> PathBuf {
    let name = name.to_string();
    folder.join(&name[..2]).join(&name)
}
