//! The gate: evidence comes in as untrusted bytes, is read into facts, and judged by the core; what was decided is an entry of the
//! log, and what it was decided from is kept in files.
//!
//! | what | where |
//! | --- | --- |
//! | bytes into facts, within bounds | [`read`], [`infrastructure`] (plans), [`trust`] (signatures and tokens), all by `json` |
//! | a policy as somebody wrote it, and all that is wrong with it | [`written`] |
//! | the policy made ready to judge by, and the keys of issuers that it names | [`compiled`], [`key_sets`] |
//! | facts and policy into a decision with its receipt | [`desk`], from `material`; `told`, what the receipt says |
//! | a finding of the last decision, for who asks for a waiver | `listed` |
//! | evidence, facts, judgements and receipts, by their digests | [`files`], `sweep` |
//! | for how long those are kept | [`named`] |
//! | the folder where no server runs: filled from a backup, or looked through | [`folder`] |
//! | judging again what changed, and taking back what is denied | [`keeper`] |

pub mod compiled;
pub mod desk;
pub mod files;
pub mod folder;
pub mod infrastructure;
mod json;
pub mod keeper;
pub mod key_sets;
mod listed;
mod material;
pub mod named;
pub mod read;
mod room;
mod sweep;
mod told;
pub mod trust;
pub mod written;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::gate::decision::Decided;
use rollout_rules::gate::policy::Policy;
use rollout_rules::ids::Digest;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::compiled::Compiled;
use self::files::Files;
use self::key_sets::KeySets;
use self::named::{Retention, files_of};
use self::trust::receipt_key::{ReceiptKey, ReceiptKeyError};

/// How many requests are let in at one time; more are told to come again. Each holds one file at a time, which may come slowly.
pub const AT_ONCE: usize = 8;
/// How many files are read, or builds judged, at one time; others wait. It is work for a whole core, and checks have to go on beside it.
pub const WORKING: usize = 2;
/// The key that receipts are signed with, in the folder of the gate.
const KEY: &str = "receipt-key.pem";
/// The folder of the files, in the folder of the gate.
const FILES: &str = "files";

/// The gate's own parts; cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    files: Files,
    retention: Retention,
    key: ReceiptKey,
    compiled: Mutex<Option<Arc<Compiled>>>,
    key_sets: KeySets,
    room: Arc<Semaphore>,
    desks: Arc<Semaphore>,
}

/// Why the gate cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Its folder.
    Folder(io::Error),
    /// The key of its receipts.
    Key(ReceiptKeyError),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Folder(error) => write!(f, "the folder of the gate cannot be used: {error}"),
            OpenError::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl Gate {
    /// Opens the folder; makes it, and the key that receipts are signed with, if they are not there.
    pub fn open(folder: &Path, retention: Retention) -> Result<Gate, OpenError> {
        let files = Files::open(&folder.join(FILES)).map_err(OpenError::Folder)?;
        let key = ReceiptKey::load_or_create(&folder.join(KEY)).map_err(OpenError::Key)?;
        Ok(Gate::of(files, retention, key))
    }

    /// With everything in memory, and a key of its own: what it signs can be checked for as long as it lives.
    pub fn in_memory() -> Result<Gate, OpenError> {
        let key = ReceiptKey::generate().map_err(OpenError::Key)?;
        Ok(Gate::of(Files::in_memory(), Retention::default(), key))
    }

    fn of(files: Files, retention: Retention, key: ReceiptKey) -> Gate {
        let (room, desks) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(WORKING)));
        let (compiled, key_sets) = (Mutex::default(), KeySets::default());
        Gate(Arc::new(Inner { files, retention, key, compiled, key_sets, room, desks }))
    }

    /// Where evidence, facts, judgements and receipts are.
    pub fn files(&self) -> &Files {
        &self.0.files
    }

    /// How long those are kept.
    pub fn retention(&self) -> Retention {
        self.0.retention
    }

    /// From now on no file goes, until what is answered is dropped.
    pub fn hold(&self) -> Hold {
        self.files().hold();
        Hold(self.clone())
    }

    /// The files that are kept, each once, with the newest decision that names it; those of the newest decisions first.
    pub fn kept_files(&self, snapshot: &Snapshot, now: UnixMs) -> Vec<(Digest, Arc<Decided>)> {
        let (mut seen, mut kept) = (BTreeSet::new(), Vec::new());
        for decided in self.retention().kept(snapshot, now) {
            let new = files_of(&decided.decision).filter(|name| seen.insert(*name));
            kept.extend(new.map(|name| (name, Arc::clone(&decided))));
        }
        kept
    }

    /// Removes what no decision names whose files are kept. Says how many files went.
    pub fn sweep(&self, snapshot: &Snapshot, now: UnixMs) -> io::Result<usize> {
        let kept = self.retention().kept(snapshot, now);
        let named = kept.iter().flat_map(|decided| files_of(&decided.decision)).collect();
        self.files().sweep(&named)
    }

    /// The key of its receipts.
    pub fn key(&self) -> &ReceiptKey {
        &self.0.key
    }

    /// The keys of issuers.
    pub fn key_sets(&self) -> &KeySets {
        &self.0.key_sets
    }

    /// A place in the room; none: too many are there.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_owned().ok()
    }

    /// A desk to work at, once one is free. Nobody who holds one waits for anybody outside.
    pub async fn desk(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.desks).acquire_owned().await.ok()
    }

    /// The policy in effect, made ready. It is made once for each policy.
    pub fn compiled(&self, snapshot: &Snapshot) -> Arc<Compiled> {
        self.compiled_of(snapshot.policy(), snapshot.policy_digest())
    }

    /// Another policy, made ready only to be tried.
    pub fn compiled_apart(&self, policy: &Arc<Policy>, digest: Digest) -> Compiled {
        Compiled::of(Arc::clone(policy), digest)
    }

    fn compiled_of(&self, policy: &Arc<Policy>, digest: Digest) -> Arc<Compiled> {
        let mut kept = self.0.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = kept.as_ref().filter(|compiled| compiled.digest == digest) {
            return Arc::clone(compiled);
        }
        let compiled = Arc::new(Compiled::of(Arc::clone(policy), digest));
        *kept = Some(Arc::clone(&compiled));
        compiled
    }
}

/// While it is there, no file of the gate goes.
pub struct Hold(Gate);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.files().release();
    }
}
