//! Files named by the SHA-256 of what they hold. All that one decision is made from goes into one pack, which is synced once:
//! a disk takes longer to sync twenty files than the gate may take for a decision. Whoever has a batch kept knows that it is on disk.
//!
//! A pack is a row of files, each after its name (64 hexadecimal digits) and its length (8 bytes, the lowest first). Where each is, is read when
//! the folder is opened. A file that comes again is written again, so that a pack goes when its decision goes.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollout_rules::ids::Digest;

/// Largest file that is read back, in bytes: facts of many pieces are larger than one piece.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// A name before a file, and the length after that.
const NAME_BYTES: usize = 64;
const HEAD_BYTES: usize = NAME_BYTES + 8;
/// How the names of packs end, and of those that are not whole yet.
const PACK: &str = "pack";
const NEW: &str = "new";

/// The files.
pub enum Files {
    /// On disk.
    Folder {
        /// Where.
        path: PathBuf,
        /// What is where.
        index: Mutex<Index>,
    },
    /// In memory, for a server that keeps nothing.
    Memory(Mutex<HashMap<Digest, Arc<[u8]>>>),
}

/// Where each file is.
#[derive(Default)]
pub struct Index {
    places: HashMap<Digest, Place>,
    packs: BTreeSet<u64>,
    /// The packs that nothing named when they were last looked through.
    unnamed: BTreeSet<u64>,
}

/// Where a file is.
#[derive(Clone, Copy)]
struct Place {
    pack: u64,
    offset: u64,
    bytes: u64,
}

/// Files that are on their way, and gone again if they are not kept.
#[derive(Default)]
pub struct Batch {
    /// For a folder: where it is.
    folder: Option<PathBuf>,
    /// The pack, from the first file on.
    open: Option<(PathBuf, File)>,
    pack: u64,
    end: u64,
    places: Vec<(Digest, Place)>,
    /// For memory: the files.
    held: Vec<(Digest, Arc<[u8]>)>,
}

impl Batch {
    /// Adds a file, and says under which name it will be.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<Digest> {
        let name = Digest::of(bytes);
        let Some(folder) = &self.folder else {
            self.held.push((name, bytes.into()));
            return Ok(name);
        };
        let (_, file) = match &mut self.open {
            Some(open) => open,
            closed => {
                let beside = folder.join(format!("{:016x}.{NEW}", self.pack));
                let file = File::create_new(&beside)?;
                closed.insert((beside, file))
            }
        };
        let length = bytes.len() as u64;
        let mut head = name.to_string().into_bytes();
        head.extend_from_slice(&length.to_le_bytes());
        file.write_all(&head)?;
        file.write_all(bytes)?;
        let offset = self.end + head.len() as u64;
        self.end = offset + length;
        self.places.push((name, Place { pack: self.pack, offset, bytes: length }));
        Ok(name)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.open {
            // What stays is removed when the folder is opened.
            let _ = fs::remove_file(beside);
        }
    }
}

impl Files {
    /// Opens a folder; makes it if it is not there, and removes what was half written.
    pub fn open(folder: &Path) -> io::Result<Files> {
        fs::create_dir_all(folder)?;
        let (mut index, mut found) = (Index::default(), Vec::new());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            let pack = path.file_stem().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
            match (kind, pack) {
                (Some(NEW), _) => fs::remove_file(path)?,
                (Some(PACK), Some(pack)) => found.push((fs::metadata(&path)?.modified()?, pack, path)),
                _ => {}
            }
        }
        // Of a file that came again the newest counts, as it did before.
        found.sort();
        for (_, pack, path) in found {
            index.packs.insert(pack);
            index.places.extend(places_in(&path, pack)?);
        }
        Ok(Files::Folder { path: folder.to_owned(), index: Mutex::new(index) })
    }

    /// Nothing yet, and all is forgotten with the process.
    pub fn in_memory() -> Files {
        Files::Memory(Mutex::default())
    }

    /// Files that are to be kept together, none yet.
    pub fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        if let Files::Folder { path, .. } = self {
            batch.folder = Some(path.clone());
            batch.pack = rand::random();
        }
        batch
    }

    /// Keeps what was put into a batch: it is on disk then.
    pub fn keep(&self, mut batch: Batch) -> io::Result<()> {
        match self {
            Files::Memory(files) => {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                files.extend(std::mem::take(&mut batch.held));
            }
            Files::Folder { path, index } => {
                let Some((beside, file)) = &batch.open else { return Ok(()) };
                file.sync_all()?;
                fs::rename(beside, pack_path(path, batch.pack))?;
                batch.open = None;
                File::open(path)?.sync_all()?;
                let mut index = lock(index);
                index.packs.insert(batch.pack);
                index.places.extend(std::mem::take(&mut batch.places));
            }
        }
        Ok(())
    }

    /// What is kept under a name; none: nothing. What is not what its name says is broken, and told as an error.
    pub fn get(&self, name: &Digest) -> io::Result<Option<Vec<u8>>> {
        let (path, index) = match self {
            Files::Memory(files) => {
                let files = files.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(files.get(name).map(|bytes| bytes.to_vec()));
            }
            Files::Folder { path, index } => (path, index),
        };
        let Some(place) = lock(index).places.get(name).copied() else { return Ok(None) };
        let mut file = match File::open(pack_path(path, place.pack)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(place.offset))?;
        let mut bytes = Vec::new();
        file.take(place.bytes.min(MAX_FILE_BYTES + 1)).read_to_end(&mut bytes)?;
        if Digest::of(&bytes) != *name {
            let problem =
                format!("the file {name} is not what its name says: the disk or somebody changed it");
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        Ok(Some(bytes))
    }

    /// Removes packs of which nothing named any file, neither now nor at the last sweep: what names it may have been on its way to
    /// the log then. Says how many went.
    pub fn sweep(&self, is_named: &BTreeSet<Digest>) -> io::Result<usize> {
        // Without a disk nothing outlives the process anyway, and decisions are few.
        let Files::Folder { path, index } = self else { return Ok(0) };
        let mut index = lock(index);
        let named = index.places.iter().filter(|(name, _)| is_named.contains(name));
        let named: BTreeSet<u64> = named.map(|(_, place)| place.pack).collect();
        let unnamed: BTreeSet<u64> = index.packs.difference(&named).copied().collect();
        let gone: BTreeSet<u64> = unnamed.intersection(&index.unnamed).copied().collect();
        for pack in &gone {
            fs::remove_file(pack_path(path, *pack))?;
            index.packs.remove(pack);
        }
        index.places.retain(|_, place| !gone.contains(&place.pack));
        index.unnamed = unnamed.difference(&gone).copied().collect();
        Ok(gone.len())
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pack_path(folder: &Path, pack: u64) -> PathBuf {
    folder.join(format!("{pack:016x}.{PACK}"))
}

/// What a pack has, and where. A pack was whole before it had its name; of one that was cut off since, what is left counts.
fn places_in(path: &Path, pack: u64) -> io::Result<Vec<(Digest, Place)>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let (mut found, mut at) = (Vec::new(), 0);
    while at + HEAD_BYTES as u64 <= size {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head)?;
        let (name, length) = head.split_at(NAME_BYTES);
        let name = std::str::from_utf8(name).ok().and_then(|name| name.parse::<Digest>().ok());
        let (Some(name), Ok(length)) = (name, <[u8; 8]>::try_from(length)) else { break };
        let (offset, bytes) = (at + HEAD_BYTES as u64, u64::from_le_bytes(length));
        let Some(end) = offset.checked_add(bytes).filter(|end| *end <= size) else { break };
        found.push((name, Place { pack, offset, bytes }));
        at = end;
    }
    Ok(found)
}
