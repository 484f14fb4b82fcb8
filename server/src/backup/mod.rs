//! The file of a backup: the whole log up to a revision, and what the gate keeps of its decisions, in a form that is checked while it is read.
//!
//! ```text
//! tidegate-backup 2
//! {"log":"3f9a…","first":1,"last":2,"hash":"…","at":"2026-11-25T02:00:00.000Z","gate_files":2}
//! 1 <chain hash> <bytes of the entry>
//! {"v":1,…}
//! 2 <chain hash> <bytes of the entry>
//! {"v":1,…}
//! kill {"kill_id":"k-1","reach":"everything","at":"2026-11-25T01:59:00.000Z"}
//! log 2 <SHA-256 of everything before this line>
//! key <SHA-256 of the key> <bytes of the key>
//! <the key, PKCS #8 in PEM>
//! file <SHA-256 of the file> <bytes of the file>
//! {"verdict":"pass",…}
//! lost {"file":"<SHA-256>","app":"shop","decision":"d7m2x9k4q3va"}
//! end 2 <SHA-256 of everything before this line>
//! ```
//!
//! A reader notices what is missing, since the last line is, and what was changed: an entry by its chain
//! hash, a file by its name, the rest by the checksums. It holds one entry, or one piece of a file, at a time. The log has a checksum
//! of its own: it can be restored where what follows it is damaged.
//!
//! A `kill` is one that was in effect and that the log had not taken, since its disk was full for one; there are
//! none as a rule. A `lost` file is one that a decision names and that the server had no more, or not as it was written. Of a server
//! whose gate was closed there are no files and no key, and `gate_files` is left out; a backup of the form 1 ends after its kills.
//!
//! Entries and kills hold the hashes of all tokens and the secrets of all webhooks, and the key signs the gate's receipts.

mod kept;
mod reader;
#[cfg(test)]
mod tests;

use rollout_rules::change::{Anchor, Change, ENTRY_VERSION, Entry, Reach};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, DecisionId, Digest, EnvKey, KillId, LogId, Revision};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::kept::{Kept, KeptFault};
pub use self::reader::{BackupError, BackupReader, Item, Summary};

/// The version of the form that this code writes.
pub const BACKUP_FORMAT: u16 = 2;
/// The version before, which it reads too: it held the log alone.
pub const LOG_ALONE_FORMAT: u16 = 1;
/// Largest file of the gate, in bytes: as large as the gate reads back.
pub const MAX_KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// Largest key, in bytes: one is of some hundreds.
pub const MAX_KEY_BYTES: u64 = 16 * 1024;
/// What the file begins with, up to the version.
const MAGIC: &str = "tidegate-backup ";
/// What a line begins with that has a kill.
const KILL: &str = "kill ";
/// Most kills that a backup has; as many as a server has in effect ahead of its log.
pub const MAX_KILLS_AHEAD: usize = 1_000;
/// What the line after the last entry and kill begins with.
const LOG: &str = "log ";
/// What the line before the key begins with.
const KEY: &str = "key ";
/// What the line before a file begins with.
const FILE: &str = "file ";
/// What a line begins with that names a file that is not there.
const LOST: &str = "lost ";
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
    /// How many files of the gate are in it, with those that are lost. None: what the gate keeps is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_files: Option<u64>,
}

/// A file that a decision names, and that the server had no more, or not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostFile {
    /// The file.
    pub file: Digest,
    /// The app of the decision.
    pub app: AppKey,
    /// The newest decision that names it.
    pub decision: DecisionId,
}

/// A kill that was in effect when the backup was taken, and that the log had not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillAhead {
    /// The caller's name for the act.
    pub kill_id: KillId,
    /// What is killed.
    pub reach: Reach,
    /// Only there; none: in all environments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvKey>,
    /// When it was killed.
    pub at: UnixMs,
}

impl KillAhead {
    /// As an entry of a log that ends at `anchor`. Who killed, and why, the backup does not know.
    pub fn as_entry(&self, anchor: Anchor) -> Entry {
        Entry {
            version: ENTRY_VERSION,
            at: self.at,
            actor: Actor::Tidegate,
            token: None,
            reason: "in effect when the backup was taken, and not in its log".to_owned(),
            anchor,
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change: Change::Killed {
                kill_id: self.kill_id.clone(),
                reach: self.reach.clone(),
                environment: self.environment.clone(),
            },
        }
    }
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

    /// Adds a kill that the log has not taken; all of them come after the last entry.
    pub fn kill(&mut self, kill: &KillAhead, out: &mut Vec<u8>) {
        let kill = serde_json::to_string(kill).expect("a kill has text keys and no floats");
        self.put(format!("{KILL}{kill}\n").as_bytes(), out);
    }

    /// Ends the log: entries and kills come before.
    pub fn log_ends(&mut self, out: &mut Vec<u8>) {
        let line = log_line(self.entries, Digest(self.sum.clone().finalize().into()));
        self.put(line.as_bytes(), out);
    }

    /// Adds the key that signs receipts. It comes before the files.
    pub fn key(&mut self, pem: &[u8], out: &mut Vec<u8>) {
        self.put(format!("{KEY}{} {}\n", Digest::of(pem), pem.len()).as_bytes(), out);
        self.put(pem, out);
        self.put(b"\n", out);
    }

    /// Announces a file; its bytes follow, all of them.
    pub fn file(&mut self, name: Digest, bytes: u64, out: &mut Vec<u8>) {
        self.put(format!("{FILE}{name} {bytes}\n").as_bytes(), out);
    }

    /// Adds the next bytes of the file that was announced.
    pub fn file_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.put(bytes, out);
    }

    /// Ends the file that was announced.
    pub fn file_ends(&mut self, out: &mut Vec<u8>) {
        self.put(b"\n", out);
    }

    /// Says that a file is not there.
    pub fn lost(&mut self, lost: &LostFile, out: &mut Vec<u8>) {
        let lost = serde_json::to_string(lost).expect("a lost file has text keys and no floats");
        self.put(format!("{LOST}{lost}\n").as_bytes(), out);
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

fn log_line(entries: u64, sum: Digest) -> String {
    format!("{LOG}{entries} {sum}\n")
}

fn last_line(entries: u64, sum: Digest) -> String {
    format!("{END}{entries} {sum}\n")
}
