//! Files named by the SHA-256 of what they hold. All that one decision is made from goes into one pack, which is synced once:
//! a disk takes longer to sync twenty files than the gate may take for a decision. Whoever has a batch kept knows that it is on disk.
//!
//! A pack is a row of files, each after its name (64 hexadecimal digits) and its length (8 bytes, the lowest first). Where each is, is read when
//! the folder is opened. A file that comes again is written again, so that a pack goes when its decision goes.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Cursor, ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollout_rules::ids::Digest;
use sha2::{Digest as _, Sha256};

/// Largest file that is read back, in bytes: facts of many pieces are larger than one piece.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of a file that are looked at at once.
const PIECE_BYTES: usize = 64 * 1024;
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
    pub(super) places: HashMap<Digest, Place>,
    pub(super) packs: BTreeSet<u64>,
    /// The files that nothing named when they were last looked through, each with its pack.
    pub(super) unnamed: BTreeSet<(u64, Digest)>,
    /// How many copy what is there, so that nothing may go.
    pub(super) holds: usize,
}

/// Where a file is.
#[derive(Clone, Copy)]
pub struct Place {
    pub(super) pack: u64,
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
    held: Vec<(Digest, Vec<u8>)>,
}

impl Batch {
    /// Adds a file, and says under which name it will be.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<Digest> {
        let name = Digest::of(bytes);
        self.begin(name, bytes.len() as u64)?;
        self.piece(bytes)?;
        self.end(name, bytes.len() as u64);
        Ok(name)
    }

    /// Begins a file that comes piece by piece. Whoever adds it knows its name, and takes it back if it turns out to be another.
    pub fn begin(&mut self, name: Digest, bytes: u64) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            self.held.push((name, Vec::new()));
            return Ok(());
        };
        let (_, file) = match &mut self.open {
            Some(open) => open,
            closed => {
                let beside = folder.join(format!("{:016x}.{NEW}", self.pack));
                let file = File::create_new(&beside)?;
                closed.insert((beside, file))
            }
        };
        let mut head = name.to_string().into_bytes();
        head.extend_from_slice(&bytes.to_le_bytes());
        file.write_all(&head)
    }

    /// Adds the next bytes of the file that was begun.
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.open {
            Some((_, file)) => file.write_all(bytes)?,
            None => self.held.iter_mut().last().into_iter().for_each(|(_, held)| held.extend(bytes)),
        }
        Ok(())
    }

    /// Ends the file that was begun under this name and of this length.
    pub fn end(&mut self, name: Digest, bytes: u64) {
        if self.open.is_some() {
            let offset = self.end + HEAD_BYTES as u64;
            self.end = offset + bytes;
            self.places.push((name, Place { pack: self.pack, offset, bytes }));
        }
    }

    /// Forgets the file that was begun last, and is not whole.
    pub fn take_back(&mut self) -> io::Result<()> {
        self.held.pop();
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        file.set_len(self.end)?;
        file.seek(SeekFrom::Start(self.end)).map(|_| ())
    }

    /// How many bytes are in it.
    pub fn bytes(&self) -> u64 {
        self.end
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

/// The number of a pack by its name, as it was given.
fn pack_of(name: &std::ffi::OsStr) -> Option<u64> {
    let name = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(name, 16).ok()
}

impl Files {
    /// Opens a folder; makes it if it is not there, and removes what was half written.
    pub fn open(folder: &Path) -> io::Result<Files> {
        fs::create_dir_all(folder)?;
        Files::found_in(folder, |path| fs::remove_file(path))
    }

    /// Opens a folder to be read, and changes nothing; none: there is no such folder.
    pub fn look(folder: &Path) -> io::Result<Option<Files>> {
        if !fs::exists(folder)? {
            return Ok(None);
        }
        Files::found_in(folder, |_| Ok(())).map(Some)
    }

    fn found_in(folder: &Path, half_written: impl Fn(&Path) -> io::Result<()>) -> io::Result<Files> {
        let (mut index, mut found) = (Index::default(), Vec::new());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            let pack = path.file_stem().and_then(pack_of);
            match (kind, pack) {
                (Some(NEW), _) => half_written(&path)?,
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
                files.extend(
                    std::mem::take(&mut batch.held).into_iter().map(|(name, held)| (name, held.into())),
                );
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
        let Some(mut source) = self.source(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        if Digest::of(&bytes) == *name { Ok(Some(bytes)) } else { Err(torn(name)) }
    }

    /// Whether there is something under a name.
    pub fn has(&self, name: &Digest) -> bool {
        match self {
            Files::Memory(files) => files.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name),
            Files::Folder { index, .. } => lock(index).places.contains_key(name),
        }
    }

    /// What is kept under a name, to be read piece by piece, once it was found to be what its name says.
    pub fn whole(&self, name: &Digest) -> io::Result<Option<Source>> {
        let Some(mut source) = self.source(name)? else { return Ok(None) };
        let mut sum = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match source.read(&mut piece)? {
                0 => break,
                read => sum.update(&piece[..read]),
            }
        }
        if sum.finalize().as_slice() != name.0 {
            return Err(torn(name));
        }
        self.source(name)
    }

    fn source(&self, name: &Digest) -> io::Result<Option<Source>> {
        let (path, index) = match self {
            Files::Memory(files) => {
                let files = files.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(files.get(name).map(|bytes| Source::Memory(Cursor::new(Arc::clone(bytes)))));
            }
            Files::Folder { path, index } => (path, index),
        };
        let mut before = None;
        loop {
            let Some(place) = lock(index).places.get(name).copied() else { return Ok(None) };
            match File::open(pack_path(path, place.pack)) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(place.offset))?;
                    let bytes = place.bytes.min(MAX_FILE_BYTES + 1);
                    return Ok(Some(Source::Pack { bytes, file: file.take(bytes) }));
                }
                // It may have moved to another pack since.
                Err(error) if error.kind() == ErrorKind::NotFound && before != Some(place.pack) => {
                    before = Some(place.pack);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that is read piece by piece.
pub enum Source {
    /// From a pack.
    Pack {
        /// How long it is.
        bytes: u64,
        /// What is left of it.
        file: io::Take<File>,
    },
    /// From memory.
    Memory(Cursor<Arc<[u8]>>),
}

impl Source {
    /// How long it is, in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Source::Pack { bytes, .. } => *bytes,
            Source::Memory(held) => held.get_ref().len() as u64,
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Pack { file, .. } => file.read(into),
            Source::Memory(held) => held.read(into),
        }
    }
}

fn torn(name: &Digest) -> io::Error {
    let problem = format!("the file {name} is not what its name says: the disk or somebody changed it");
    io::Error::new(ErrorKind::InvalidData, problem)
}

pub(super) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn pack_path(folder: &Path, pack: u64) -> PathBuf {
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
