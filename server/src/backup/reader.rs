//! Reading a backup, and noticing everything that is not as it was written.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use rollout_rules::change::MAX_ENTRY_BYTES;
use rollout_rules::ids::{Digest, Revision};
use sha2::{Digest as _, Sha256};

use super::kept::{Content, KeptFault};
use super::{
    BACKUP_FORMAT, END, Header, KILL, KillAhead, LOG, LOG_ALONE_FORMAT, MAGIC, MAX_KILLS_AHEAD, last_line,
    log_line,
};

/// Longest line of a backup besides its entries, in bytes.
pub(super) const MAX_LINE_BYTES: u64 = 1024;

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
    /// The log in it is as it was written, and what the gate keeps is not.
    Kept(KeptFault),
    /// It cannot be read.
    Read(io::Error),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::NotABackup => f.write_str("this is no backup of Tidegate"),
            BackupError::Format { found } => {
                write!(f, "the backup has format {found}, and this program reads up to {BACKUP_FORMAT}")
            }
            BackupError::Kept(fault) => write!(
                f,
                "the log in the backup is as it was written, and what the gate keeps is damaged: {fault}"
            ),
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
    /// How many files of the gate.
    pub files: u64,
    /// How long the file is.
    pub bytes: u64,
    /// The checksum in its last line.
    pub checksum: Digest,
}

/// Reads a backup entry by entry, then file by file.
pub struct BackupReader<R> {
    pub(super) source: R,
    header: Header,
    format: u16,
    pub(super) sum: Sha256,
    pub(super) read: u64,
    entries: u64,
    last: Revision,
    hash: Digest,
    kills: Vec<KillAhead>,
    /// Whether all of the log was read.
    log_is_whole: bool,
    pub(super) content: Content,
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
        let known = [LOG_ALONE_FORMAT, BACKUP_FORMAT];
        let format = known.into_iter().find(|known| known.to_string().as_bytes() == version);
        let Some(format) = format else {
            let shown = version.iter().take(20).map(|byte| char::from(*byte)).filter(|c| !c.is_control());
            return Err(BackupError::Format { found: shown.collect() });
        };
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
        if format == LOG_ALONE_FORMAT && header.gate_files.is_some() {
            return Err(damaged("its header speaks of files, and its form has none"));
        }
        let mut sum = Sha256::new();
        sum.update(&first);
        sum.update(&second);
        Ok(BackupReader {
            source,
            header,
            format,
            sum,
            read: (first.len() + second.len()) as u64,
            entries: 0,
            last: Revision::ZERO,
            hash: Digest::default(),
            kills: Vec::new(),
            log_is_whole: false,
            content: Content::default(),
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

    /// The kills that the log had not taken, oldest first, once all entries were read.
    pub fn kills(&self) -> &[KillAhead] {
        &self.kills
    }

    /// The next entry; `None` once the log was read to its end and is whole. What the gate keeps comes then.
    pub fn next_entry(&mut self) -> Result<Option<Item>, BackupError> {
        if self.log_is_whole {
            return Ok(None);
        }
        let line = loop {
            let line = line(&mut self.source)?;
            if self.format == LOG_ALONE_FORMAT && line.starts_with(END.as_bytes()) {
                self.end_of_log(&line, last_line)?;
                if self.something_follows()? {
                    return Err(self.damaged("something follows its last line"));
                }
                self.whole = Some(self.finished(&line));
                self.log_is_whole = true;
                return Ok(None);
            }
            if self.format != LOG_ALONE_FORMAT && line.starts_with(LOG.as_bytes()) {
                self.end_of_log(&line, log_line)?;
                self.take(&line);
                self.log_is_whole = true;
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
        self.take(&line);
        self.take(&bytes);
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
        self.take(line);
        Ok(())
    }

    /// Counts what was read.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.read += bytes.len() as u64;
    }

    /// Checks the line after the last entry and kill.
    fn end_of_log(&self, line: &[u8], written: fn(u64, Digest) -> String) -> Result<(), BackupError> {
        let expected = written(self.entries, self.checksum());
        if line.len() < expected.len() && expected.as_bytes().starts_with(line) {
            return Err(BackupError::Truncated { last_good: self.last });
        }
        if line != expected.as_bytes() {
            return Err(self.damaged("the checksum after it is another"));
        }
        if self.last != self.header.last || self.hash != self.header.hash {
            return Err(self.damaged("it does not hold what its header says"));
        }
        Ok(())
    }

    /// The checksum of all that was read.
    pub(super) fn checksum(&self) -> Digest {
        Digest(self.sum.clone().finalize().into())
    }

    fn something_follows(&mut self) -> io::Result<bool> {
        Ok(!self.source.fill_buf()?.is_empty())
    }

    fn finished(&self, line: &[u8]) -> Summary {
        let bytes = self.read + line.len() as u64;
        Summary { entries: self.entries, files: self.content.files, bytes, checksum: self.checksum() }
    }

    /// Checks the last line of a backup with what the gate keeps.
    pub(super) fn end_of_all(&mut self, line: &[u8]) -> Result<(), BackupError> {
        let expected = last_line(self.entries, self.checksum());
        if line.len() < expected.len() && expected.as_bytes().starts_with(line) {
            return Err(BackupError::Kept(KeptFault::Truncated));
        }
        // Whoever goes on past a torn file has been told of it, and the sum is of what was written.
        if line != expected.as_bytes() && (self.content.torn == 0 || !line.ends_with(b"\n")) {
            return Err(BackupError::Kept(KeptFault::Malformed("the checksum in the last line is another")));
        }
        let (key, files) = (self.content.has_key, self.header.gate_files);
        if key != files.is_some() || self.content.files + self.content.lost != files.unwrap_or_default() {
            return Err(BackupError::Kept(KeptFault::Malformed("it does not hold what the header says")));
        }
        if self.something_follows()? {
            return Err(BackupError::Kept(KeptFault::Malformed("something follows the last line")));
        }
        self.whole = Some(self.finished(line));
        Ok(())
    }

    /// Whether all of the log was read, and nothing else is to come.
    pub(super) fn is_at_end(&self) -> bool {
        self.whole.is_some()
    }

    fn damaged(&self, problem: &'static str) -> BackupError {
        BackupError::Damaged { last_good: self.last, problem }
    }
}

/// The next line with its line break, which is missing at the end of the file or if the line is too long.
pub(super) fn line(source: &mut impl BufRead) -> Result<Vec<u8>, BackupError> {
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
