//! Reading a backup, and noticing everything that is not as it was written.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use rollout_rules::change::MAX_ENTRY_BYTES;
use rollout_rules::ids::{Digest, Revision};
use sha2::{Digest as _, Sha256};

use super::{BACKUP_FORMAT, END, Header, KILL, KillAhead, MAGIC, MAX_KILLS_AHEAD, last_line};

/// Longest line of a backup besides its entries, in bytes.
const MAX_LINE_BYTES: u64 = 1024;

/// Why a backup is none, or not whole.
#[derive(Debug)]
pub enum BackupError {
    /// It does not begin like one.
    NotABackup,
    /// Of another version.
    Format {
        /// As it is written.
        found: String,
    },
    /// It ends before its last line.
    Truncated {
        /// The last entry that is whole.
        last_good: Revision,
    },
    /// It is not what was written.
    Damaged {
        /// The last entry that is as it was written, as far as can be told.
        last_good: Revision,
        /// What is wrong.
        problem: &'static str,
    },
    /// It cannot be read.
    Read(io::Error),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::NotABackup => f.write_str("this is no backup of Tidegate"),
            BackupError::Format { found } => {
                write!(f, "the backup has format {found}, and this program reads {BACKUP_FORMAT}")
            }
            BackupError::Truncated { last_good } => {
                write!(f, "the backup is truncated: it ends after revision {last_good}, before its last line")
            }
            BackupError::Damaged { last_good, problem } => {
                write!(f, "the backup is damaged after revision {last_good}: {problem}")
            }
            BackupError::Read(error) => write!(f, "the backup cannot be read: {error}"),
        }
    }
}

impl Error for BackupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            BackupError::Read(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> BackupError {
        BackupError::Read(error)
    }
}

/// One entry of a backup, checked against the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its position.
    pub revision: Revision,
    /// The chain hash after it.
    pub hash: Digest,
    /// The entry.
    pub bytes: Vec<u8>,
}

/// What a whole backup held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many entries.
    pub entries: u64,
    /// How long the file is.
    pub bytes: u64,
    /// The checksum in its last line.
    pub checksum: Digest,
}

/// Reads a backup entry by entry.
pub struct BackupReader<R> {
    source: R,
    header: Header,
    sum: Sha256,
    read: u64,
    entries: u64,
    last: Revision,
    hash: Digest,
    kills: Vec<KillAhead>,
    whole: Option<Summary>,
}

impl<R: BufRead> BackupReader<R> {
    /// Reads the header.
    pub fn open(mut source: R) -> Result<BackupReader<R>, BackupError> {
        let first = line(&mut source)?;
        let version = first.strip_prefix(MAGIC.as_bytes()).ok_or(BackupError::NotABackup)?;
        let Some(version) = version.strip_suffix(b"\n") else {
            return Err(BackupError::Truncated { last_good: Revision::ZERO });
        };
        if version != BACKUP_FORMAT.to_string().as_bytes() {
            let shown = version.iter().take(20).map(|byte| char::from(*byte)).filter(|c| !c.is_control());
            return Err(BackupError::Format { found: shown.collect() });
        }
        let second = line(&mut source)?;
        let truncated = !second.ends_with(b"\n") && (second.len() as u64) < MAX_LINE_BYTES;
        if truncated {
            return Err(BackupError::Truncated { last_good: Revision::ZERO });
        }
        let damaged = |problem| BackupError::Damaged { last_good: Revision::ZERO, problem };
        let header: Header =
            serde_json::from_slice(&second).map_err(|_| damaged("its header cannot be read"))?;
        if header.first != Revision(1) {
            return Err(damaged("it does not begin at revision 1"));
        }
        let mut sum = Sha256::new();
        sum.update(&first);
        sum.update(&second);
        Ok(BackupReader {
            source,
            header,
            sum,
            read: (first.len() + second.len()) as u64,
            entries: 0,
            last: Revision::ZERO,
            hash: Digest::default(),
            kills: Vec::new(),
            whole: None,
        })
    }

    /// What the backup says of itself. It holds only once the backup was read to its end.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was read, once all of it was and is as it was written.
    pub fn summary(&self) -> Option<Summary> {
        self.whole
    }

    /// The kills that the log had not taken, oldest first, once all was read.
    pub fn kills(&self) -> &[KillAhead] {
        &self.kills
    }

    /// The next entry; `None` once the backup was read to its end and is whole.
    pub fn next_entry(&mut self) -> Result<Option<Item>, BackupError> {
        if self.whole.is_some() {
            return Ok(None);
        }
        let line = loop {
            let line = line(&mut self.source)?;
            if line.starts_with(END.as_bytes()) {
                self.whole = Some(self.finish(&line)?);
                return Ok(None);
            }
            if !line.ends_with(b"\n") && (line.len() as u64) < MAX_LINE_BYTES {
                return Err(BackupError::Truncated { last_good: self.last });
            }
            match line.strip_prefix(KILL.as_bytes()) {
                Some(kill) => self.kill(kill, &line)?,
                None => break line,
            }
        };
        if !self.kills.is_empty() {
            return Err(self.damaged("an entry follows the kills that the log had not taken"));
        }
        let (revision, hash, length) =
            announced(&line).ok_or_else(|| self.damaged("the line before an entry cannot be read"))?;
        if revision != self.last.next() || revision > self.header.last {
            return Err(self.damaged("the entry that follows is not the next one"));
        }
        if length > MAX_ENTRY_BYTES {
            return Err(self.damaged("the entry that follows is too large to be one"));
        }
        // The line break belongs to it.
        let mut bytes = vec![0; length + 1];
        self.source.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Truncated { last_good: self.last },
            _ => BackupError::Read(error),
        })?;
        self.sum.update(&line);
        self.sum.update(&bytes);
        self.read += (line.len() + bytes.len()) as u64;
        if bytes.pop() != Some(b'\n') || self.hash.chain(&bytes) != hash {
            return Err(self.damaged("the entry that follows is not what was written"));
        }
        self.entries += 1;
        (self.last, self.hash) = (revision, hash);
        Ok(Some(Item { revision, hash, bytes }))
    }

    fn kill(&mut self, kill: &[u8], line: &[u8]) -> Result<(), BackupError> {
        if self.kills.len() >= MAX_KILLS_AHEAD {
            return Err(self.damaged("it has more kills than a server has"));
        }
        let kill = serde_json::from_slice(kill);
        self.kills.push(kill.map_err(|_| self.damaged("a kill in it cannot be read"))?);
        self.sum.update(line);
        self.read += line.len() as u64;
        Ok(())
    }

    fn finish(&mut self, line: &[u8]) -> Result<Summary, BackupError> {
        let checksum = Digest(self.sum.clone().finalize().into());
        let expected = last_line(self.entries, checksum);
        if line.len() < expected.len() && expected.as_bytes().starts_with(line) {
            return Err(BackupError::Truncated { last_good: self.last });
        }
        if line != expected.as_bytes() {
            return Err(self.damaged("the checksum in its last line is another"));
        }
        if self.last != self.header.last || self.hash != self.header.hash {
            return Err(self.damaged("it does not hold what its header says"));
        }
        if !self.source.fill_buf()?.is_empty() {
            return Err(self.damaged("something follows its last line"));
        }
        Ok(Summary { entries: self.entries, bytes: self.read + line.len() as u64, checksum })
    }

    fn damaged(&self, problem: &'static str) -> BackupError {
        BackupError::Damaged { last_good: self.last, problem }
    }
}

/// The next line with its line break, which is missing at the end of the file or if the line is too long.
fn line(source: &mut impl BufRead) -> Result<Vec<u8>, BackupError> {
    let mut line = Vec::new();
    source.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// `REVISION HASH LENGTH`, exactly as it is written.
fn announced(line: &[u8]) -> Option<(Revision, Digest, usize)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.strip_suffix('\n')?.split(' ');
    let (revision, hash, length) = (words.next()?, words.next()?, words.next()?);
    let read = (Revision(revision.parse().ok()?), hash.parse().ok()?, length.parse().ok()?);
    (format!("{} {} {}\n", read.0, read.1, read.2) == text).then_some(read)
}
