//! The file of a backup: the whole log up to a revision, in a form that is checked while it is read.
//!
//! ```text
//! tidegate-backup 1
//! {"log":"3f9a…","first":1,"last":2,"hash":"…","at":"2026-11-25T02:00:00.000Z"}
//! 1 <chain hash> <bytes of the entry>
//! {"v":1,…}
//! 2 <chain hash> <bytes of the entry>
//! {"v":1,…}
//! end 2 <SHA-256 of everything before this line>
//! ```
//!
//! A reader notices what is missing, since the last line is, and what was changed: an entry by its chain
//! hash, the rest by the checksum. It holds one entry at a time.

mod reader;
#[cfg(test)]
mod tests;

use rollout_rules::ids::{Digest, LogId, Revision};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::reader::{BackupError, BackupReader, Item, Summary};

/// The version of the form that this code writes, and the only one that it reads.
pub const BACKUP_FORMAT: u16 = 1;
/// What the file begins with, up to the version.
const MAGIC: &str = "tidegate-backup ";
/// What the last line begins with.
const END: &str = "end ";

/// What a backup says of itself before its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The log that it was taken of. A restored log has another name.
    pub log: LogId,
    /// The first revision in it: always 1.
    pub first: Revision,
    /// The last revision in it; 0 if the log was empty.
    pub last: Revision,
    /// The chain hash after the last entry.
    pub hash: Digest,
    /// When it was taken, by the server's clock.
    pub at: UnixMs,
}

/// Writes a backup piece by piece into buffers of the caller.
pub struct Encoder {
    sum: Sha256,
    entries: u64,
}

impl Encoder {
    /// Begins with the header.
    pub fn begin(header: &Header, out: &mut Vec<u8>) -> Encoder {
        let mut encoder = Encoder { sum: Sha256::new(), entries: 0 };
        let header = serde_json::to_string(header).expect("a header has text keys and no floats");
        encoder.put(format!("{MAGIC}{BACKUP_FORMAT}\n{header}\n").as_bytes(), out);
        encoder
    }

    /// Adds the next entry.
    pub fn entry(&mut self, revision: Revision, hash: Digest, bytes: &[u8], out: &mut Vec<u8>) {
        self.entries += 1;
        self.put(format!("{revision} {hash} {}\n", bytes.len()).as_bytes(), out);
        self.put(bytes, out);
        self.put(b"\n", out);
    }

    /// Ends it; answers with the checksum.
    pub fn end(self, out: &mut Vec<u8>) -> Digest {
        let sum = Digest(self.sum.finalize().into());
        out.extend_from_slice(last_line(self.entries, sum).as_bytes());
        sum
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.sum.update(bytes);
        out.extend_from_slice(bytes);
    }
}

fn last_line(entries: u64, sum: Digest) -> String {
    format!("{END}{entries} {sum}\n")
}
