//! What a backup holds besides the log: the key that signs receipts, and the files of decisions, each checked by its name.

use std::fmt;
use std::io::{self, BufRead};

use rollout_rules::ids::Digest;
use sha2::{Digest as _, Sha256};

use super::reader::{BackupError, BackupReader, MAX_LINE_BYTES, line};
use super::{END, FILE, KEY, LOST, LostFile, MAX_KEPT_BYTES, MAX_KEY_BYTES};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What follows in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The key that signs receipts; its bytes are read by `piece`.
    Key,
    /// A file; its bytes are read by `piece`.
    File {
        /// SHA-256 of its bytes.
        name: Digest,
        /// How many.
        bytes: u64,
    },
    /// A file that a decision names, and that the server did not have.
    Lost(LostFile),
}

/// What is wrong with what the gate keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptFault {
    /// It ends before the last line of the backup.
    Truncated,
    /// A file is not what its name says. The next ones can be read.
    Torn(Digest),
    /// The key is not what was written. What follows can be read.
    TornKey,
    /// It cannot be told what is there, from here on.
    Malformed(&'static str),
}

impl KeptFault {
    /// Whether what follows can be read all the same.
    pub fn is_of_one_file(self) -> bool {
        matches!(self, KeptFault::Torn(_) | KeptFault::TornKey)
    }
}

impl fmt::Display for KeptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeptFault::Truncated => f.write_str("it ends before the last line of the backup"),
            KeptFault::Torn(name) => write!(f, "the file {name} in it is not what was written"),
            KeptFault::TornKey => f.write_str("the key that signs receipts is not what was written"),
            KeptFault::Malformed(problem) => f.write_str(problem),
        }
    }
}

/// How far what the gate keeps was read.
#[derive(Default)]
pub(super) struct Content {
    pub(super) has_key: bool,
    pub(super) files: u64,
    pub(super) lost: u64,
    /// Files that were not what their names say.
    pub(super) torn: u64,
    open: Option<Open>,
    piece: Vec<u8>,
}

/// A file of which bytes are still to come.
struct Open {
    name: Digest,
    is_key: bool,
    rest: u64,
    sum: Sha256,
}

impl<R: BufRead> BackupReader<R> {
    /// What follows after the log; `None` once the backup was read to its end. Bytes that nobody read are checked and passed over.
    pub fn next_kept(&mut self) -> Result<Option<Kept>, BackupError> {
        while self.piece()?.is_some() {}
        if self.is_at_end() {
            return Ok(None);
        }
        let line = line(&mut self.source)?;
        if line.starts_with(END.as_bytes()) {
            self.end_of_all(&line)?;
            return Ok(None);
        }
        if !line.ends_with(b"\n") && (line.len() as u64) < MAX_LINE_BYTES {
            return Err(BackupError::Kept(KeptFault::Truncated));
        }
        let malformed = |problem| BackupError::Kept(KeptFault::Malformed(problem));
        if let Some(lost) = line.strip_prefix(LOST.as_bytes()) {
            let lost = serde_json::from_slice(lost);
            let lost = lost.map_err(|_| malformed("the line of a lost file cannot be read"))?;
            self.take(&line);
            self.content.lost += 1;
            return Ok(Some(Kept::Lost(lost)));
        }
        let (is_key, name, bytes) =
            announced(&line).ok_or_else(|| malformed("the line before a file cannot be read"))?;
        if is_key && (self.content.has_key || self.content.files + self.content.lost > 0) {
            return Err(malformed("there is a key where none belongs"));
        }
        if bytes > if is_key { MAX_KEY_BYTES } else { MAX_KEPT_BYTES } {
            return Err(malformed("the file that follows is too large to be one of the gate"));
        }
        self.take(&line);
        self.content.open = Some(Open { name, is_key, rest: bytes, sum: Sha256::new() });
        if is_key {
            self.content.has_key = true;
            return Ok(Some(Kept::Key));
        }
        self.content.files += 1;
        Ok(Some(Kept::File { name, bytes }))
    }

    /// The next bytes of the file that was announced last; `None` once it was read to its end and is what its name says. After
    /// [`KeptFault::Torn`] what follows it can be read.
    pub fn piece(&mut self) -> Result<Option<&[u8]>, BackupError> {
        let Some(mut open) = self.content.open.take() else { return Ok(None) };
        // The line break after it is read with nothing left of it.
        let wanted = usize::try_from(open.rest).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = std::mem::take(&mut self.content.piece);
        piece.resize(wanted.max(1), 0);
        self.source.read_exact(&mut piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Kept(KeptFault::Truncated),
            _ => BackupError::Read(error),
        })?;
        self.take(&piece);
        self.content.piece = piece;
        if wanted > 0 {
            open.sum.update(&self.content.piece);
            open.rest -= wanted as u64;
            self.content.open = Some(open);
            return Ok(Some(&self.content.piece));
        }
        if self.content.piece == b"\n" && open.sum.finalize().as_slice() == open.name.0 {
            return Ok(None);
        }
        self.content.torn += 1;
        Err(BackupError::Kept(if open.is_key { KeptFault::TornKey } else { KeptFault::Torn(open.name) }))
    }
}

/// `key NAME LENGTH` or `file NAME LENGTH`, exactly as it is written.
fn announced(line: &[u8]) -> Option<(bool, Digest, u64)> {
    let text = std::str::from_utf8(line).ok()?;
    let (kind, rest) = [KEY, FILE].iter().find_map(|kind| Some((*kind, text.strip_prefix(kind)?)))?;
    let (name, bytes) = rest.strip_suffix('\n')?.split_once(' ')?;
    let (name, bytes): (Digest, u64) = (name.parse().ok()?, bytes.parse().ok()?);
    (format!("{kind}{name} {bytes}\n") == text).then_some((kind == KEY, name, bytes))
}
