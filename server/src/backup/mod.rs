//! The file of a backup: the whole log up to a revision, in a form that is checked while it is read.
//!
//! ```text
//! tidegate-backup 1
//! {"log":"3f9a…","first":1,"last":2,"hash":"…","at":"2026-11-25T02:00:00.000Z"}
//! 1 <chain hash> <bytes of the entry>
//! {"v":1,…}
//! 2 <chain hash> <bytes of the entry>
//! {"v":1,…}
//! kill {"kill_id":"k-1","reach":"everything","at":"2026-11-25T01:59:00.000Z"}
//! end 2 <SHA-256 of everything before this line>
//! ```
//!
//! A reader notices what is missing, since the last line is, and what was changed: an entry by its chain
//! hash, the rest by the checksum. It holds one entry at a time.
//!
//! A `kill` is one that was in effect and that the log had not taken, since its disk was full for one; there are
//! none as a rule. Entries and kills hold the hashes of all tokens and the secrets of all webhooks.

mod reader;
#[cfg(test)]
mod tests;

use rollout_rules::change::{Anchor, Change, ENTRY_VERSION, Entry, Reach};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{Digest, EnvKey, KillId, LogId, Revision};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::reader::{BackupError, BackupReader, Item, Summary};

/// The version of the form that this code writes, and the only one that it reads.
pub const BACKUP_FORMAT: u16 = 1;
/// What the file begins with, up to the version.
const MAGIC: &str = "tidegate-backup ";
/// What a line begins with that has a kill.
const KILL: &str = "kill ";
/// Most kills that a backup has; as many as a server has in effect ahead of its log.
pub const MAX_KILLS_AHEAD: usize = 1_000;
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
