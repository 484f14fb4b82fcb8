//! Finds evidence in an app's folder by its content, and by its name only where the content says nothing. Reports are usually ignored by Git, so what Git ignores is
//! looked at too.

mod head;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rollout_rules::gate::facts::{Format, MAX_PIECES};
use rollout_rules::ids::Digest;

use super::walk::{Listed, WalkError, all_files};
use head::{Head, is_own_output, says_nothing};

/// How deep folders may lie in each other; what lies deeper is not found.
pub const MAX_DISCOVER_DEPTH: usize = 8;
/// Largest piece of evidence in bytes, packed and unpacked; the server takes none that is larger.
pub const MAX_PIECE_BYTES: u64 = 10 * 1024 * 1024;
/// How much of a file is looked at before it is read.
const HEAD_BYTES: u64 = 4 * 1024;
/// Most files whose beginning looks like evidence that are read; the newest first.
const MAX_CANDIDATES: usize = 2_000;
/// Most files that were left out and are told of by name.
const MAX_LEFT_OUT: usize = 100;
/// How gzip begins.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Evidence that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called: its path in the app's folder, or its file name if it lies elsewhere.
    pub name: String,
    /// What it is.
    pub format: Format,
    /// SHA-256 of what it holds, unpacked.
    pub digest: Digest,
}

impl Found {
    /// Reads it, as it lies there: packed if it is packed.
    pub fn read(&self) -> Result<Vec<u8>, EvidenceError> {
        let unreadable = |source| EvidenceError::Unreadable { path: self.path.clone(), source };
        let bytes = whole(&self.path).map_err(unreadable)?;
        bytes.ok_or_else(|| EvidenceError::TooLarge { path: self.path.clone() })
    }
}

/// A file that looks like evidence and is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path in the app's folder.
    pub name: String,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why a file that looks like evidence is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyLeftOut {
    /// There are [`MAX_PIECES`] newer ones.
    TooMany,
    /// It is larger than [`MAX_PIECE_BYTES`].
    TooLarge,
    /// It cannot be read, or unpacked.
    Unreadable,
    /// The tool wrote it itself: an earlier answer of the gate, or what the tool looks at anew.
    OwnOutput,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.why {
            WhyLeftOut::TooMany => write!(
                f,
                "{name} is left out: there are {MAX_PIECES} newer reports. Delete old ones, or name those that count with \
                 --evidence"
            ),
            WhyLeftOut::TooLarge => write!(
                f,
                "{name} is left out: it is larger than 10 MiB, packed or unpacked. Split it, or leave out passed checks and \
                 snippets"
            ),
            WhyLeftOut::Unreadable => {
                write!(f, "{name} is left out: it cannot be read. Make it again, or delete it")
            }
            WhyLeftOut::OwnOutput => write!(f, "{name} is left out: the gate wrote it itself"),
        }
    }
}

/// What was found in an app's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// What is taken, in the order of names, at most [`MAX_PIECES`].
    pub taken: Vec<Found>,
    /// What looked like evidence and is not taken; the first hundred.
    pub left_out: Vec<LeftOut>,
}

/// Why a file that was given by hand cannot be taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum EvidenceError {
    /// It cannot be read.
    Unreadable {
        /// What was given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than [`MAX_PIECE_BYTES`].
    TooLarge {
        /// What was given.
        path: PathBuf,
    },
    /// It is nothing that the gate knows.
    Unknown {
        /// What was given.
        path: PathBuf,
    },
    /// More than [`MAX_PIECES`] files were given.
    TooMany {
        /// How many.
        given: usize,
    },
}

impl fmt::Display for EvidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvidenceError::Unreadable { path, .. } => {
                write!(f, "the evidence {} cannot be read", path.display())
            }
            EvidenceError::TooLarge { path } => write!(
                f,
                "the evidence {} is larger than 10 MiB; split it, or leave out passed checks and snippets",
                path.display()
            ),
            EvidenceError::Unknown { path } => write!(
                f,
                "{} is no report that the gate knows; give it as its tool writes it, as JSON, XML or LCOV",
                path.display()
            ),
            EvidenceError::TooMany { given } => {
                write!(f, "{given} pieces of evidence are given, and the gate takes {MAX_PIECES}")
            }
        }
    }
}

impl std::error::Error for EvidenceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EvidenceError::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Looks through an app's folder, and beside the artifact for its signatures. `recognise` says what a file is.
///
/// The same content is taken once, whatever its files are called. Never taken are the artifact itself, what the tool wrote, and
/// what lies in links.
pub fn discover(
    folder: &Path,
    artifact: Option<&Path>,
    recognise: &dyn Fn(&[u8]) -> Option<Format>,
) -> Result<Discovery, WalkError> {
    let artifact = artifact.and_then(|artifact| artifact.canonicalize().ok());
    let mut listed = all_files(folder, MAX_DISCOVER_DEPTH)?;
    listed.extend(beside(artifact.as_deref(), &listed));
    let mut candidates: Vec<(Reverse<(i64, i64)>, Listed)> = listed
        .into_iter()
        .filter(|file| {
            Some(file.full.as_path()) != artifact.as_deref() && looks_like_evidence(file, artifact.as_deref())
        })
        .map(|file| (Reverse(changed_at(&file.full)), file))
        .collect();
    candidates.sort();
    let mut discovery = Discovery::default();
    let mut seen = BTreeSet::new();
    for (at, (_, file)) in candidates.into_iter().enumerate() {
        match judged(&file, recognise) {
            _ if at >= MAX_CANDIDATES => discovery.leave(file.path, WhyLeftOut::TooMany),
            Err(why) => discovery.leave(file.path, why),
            Ok(None) => {}
            Ok(Some(found)) if !seen.insert(found.digest) => {}
            Ok(Some(_)) if discovery.taken.len() == MAX_PIECES => {
                discovery.leave(file.path, WhyLeftOut::TooMany)
            }
            Ok(Some(found)) => discovery.taken.push(found),
        }
    }
    discovery.taken.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(discovery)
}

/// Evidence that is given by hand: each has to be something that is known. The same content is taken once.
pub fn given(
    paths: &[PathBuf],
    recognise: &dyn Fn(&[u8]) -> Option<Format>,
) -> Result<Vec<Found>, EvidenceError> {
    if paths.len() > MAX_PIECES {
        return Err(EvidenceError::TooMany { given: paths.len() });
    }
    let mut seen = BTreeSet::new();
    let mut taken = Vec::new();
    for path in paths {
        let unreadable = |source| EvidenceError::Unreadable { path: path.clone(), source };
        let too_large = || EvidenceError::TooLarge { path: path.clone() };
        let packed = whole(path).map_err(unreadable)?.ok_or_else(too_large)?;
        let bytes = unpacked(packed).map_err(unreadable)?.ok_or_else(too_large)?;
        let format = recognise(&bytes).ok_or_else(|| EvidenceError::Unknown { path: path.clone() })?;
        let digest = Digest::of(&bytes);
        if seen.insert(digest) {
            let name = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
            taken.push(Found { path: path.clone(), name: name.into_owned(), format, digest });
        }
    }
    Ok(taken)
}

impl Discovery {
    /// Adds what was given by hand. What was given comes first: of too many, what was found is left out.
    pub fn with(mut self, given: Vec<Found>) -> Discovery {
        let found = std::mem::replace(&mut self.taken, given);
        let seen: BTreeSet<Digest> = self.taken.iter().map(|given| given.digest).collect();
        for found in found.into_iter().filter(|found| !seen.contains(&found.digest)) {
            match self.taken.len() < MAX_PIECES {
                true => self.taken.push(found),
                false => self.leave(found.name, WhyLeftOut::TooMany),
            }
        }
        self
    }

    fn leave(&mut self, name: String, why: WhyLeftOut) {
        if self.left_out.len() < MAX_LEFT_OUT {
            self.left_out.push(LeftOut { name, why });
        }
    }
}

/// Files that begin with the artifact's name and lie beside it, where the walk does not come by: in `target`, or elsewhere.
fn beside(artifact: Option<&Path>, known: &[Listed]) -> Vec<Listed> {
    let sides = artifact.and_then(|artifact| Some((artifact.parent()?, artifact.file_name()?.to_str()?)));
    let Some((folder, artifact)) = sides else { return Vec::new() };
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let files = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.starts_with(artifact))?;
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Listed { path: name, full: entry.path(), bytes: metadata.len() })
    });
    files.filter(|file| !known.iter().any(|known| known.full == file.full)).take(MAX_PIECES).collect()
}

/// Whether the beginning of a file may be that of evidence. A signature on its own is nothing but base64, and only taken where it
/// lies beside the artifact.
fn looks_like_evidence(file: &Listed, artifact: Option<&Path>) -> bool {
    let mut bytes = Vec::new();
    let read = File::open(&file.full).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut bytes));
    if read.is_err() {
        return false;
    }
    if bytes.starts_with(&GZIP) {
        let mut head = Vec::new();
        // Of a head that is cut off the last block is missing: what came out before counts.
        let _ = MultiGzDecoder::new(bytes.as_slice()).take(HEAD_BYTES).read_to_end(&mut head);
        bytes = head;
    }
    match Head::of(&bytes, file.bytes) {
        Head::Report => true,
        Head::Signature => artifact.is_some_and(|artifact| artifact.parent() == file.full.parent()),
        Head::Other => false,
    }
}

/// What a file is, if it is evidence.
fn judged(file: &Listed, recognise: &dyn Fn(&[u8]) -> Option<Format>) -> Result<Option<Found>, WhyLeftOut> {
    let unreadable = |_| WhyLeftOut::Unreadable;
    let packed = whole(&file.full).map_err(unreadable)?.ok_or(WhyLeftOut::TooLarge)?;
    let bytes = unpacked(packed).map_err(unreadable)?.ok_or(WhyLeftOut::TooLarge)?;
    match recognise(&bytes) {
        None => Ok(None),
        Some(format) if says_nothing(format, &file.path, &bytes) => Ok(None),
        Some(format) if is_own_output(format, &bytes) => Err(WhyLeftOut::OwnOutput),
        Some(format) => {
            let digest = Digest::of(&bytes);
            Ok(Some(Found { path: file.full.clone(), name: file.path.clone(), format, digest }))
        }
    }
}

/// All of a file; none if it is too large.
fn whole(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    bounded(File::open(path)?)
}

/// What packed bytes hold, and others as they are; none if it is too large.
fn unpacked(bytes: Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    if bytes.starts_with(&GZIP) { bounded(MultiGzDecoder::new(bytes.as_slice())) } else { Ok(Some(bytes)) }
}

fn bounded(from: impl std::io::Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(MAX_PIECE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_PIECE_BYTES).then_some(bytes))
}

/// When a file was last written, in seconds and nanoseconds; of one that is gone, never.
fn changed_at(path: &Path) -> (i64, i64) {
    path.metadata().map_or((0, 0), |metadata| (metadata.mtime(), metadata.mtime_nsec()))
}
