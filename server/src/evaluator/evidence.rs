//! What an act of automation was found from: the watch as it was, and all that it was told until then. Whoever folds it
//! again comes to the same verdict, to the bit.
//!
//! Each is a file of two lines, named by the hash of its second: a summary, and the recording. The oldest go when there are
//! more than [`MAX_KEPT`], or more than [`MAX_KEPT_OF_APP`] of one app, or when they take more than [`MAX_BYTES`], or those of
//! one app more than [`MAX_BYTES_OF_APP`]; one that takes more by itself is not kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rollout_rules::ids::{AppKey, EnvKey, EvidenceId, FlagKey, SplitId, VariantKey};
use rollout_rules::sli::{News, Proposed, Recording};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Most pieces of evidence that are kept.
pub const MAX_KEPT: usize = 1_000;
/// Most of one app.
pub const MAX_KEPT_OF_APP: usize = 100;

/// Most room that evidence takes on disk: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;
/// Most room that that of one app takes: 256 MiB.
pub const MAX_BYTES_OF_APP: u64 = 256 << 20;

/// What was found, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Names it.
    pub id: EvidenceId,
    /// The end of the slot that it was found in.
    pub at: UnixMs,
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// The flag; none: the app itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<FlagKey>,
    /// The split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitId>,
    /// The variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
    /// The rule, as people write it.
    pub rule: String,
    /// What was found, in words.
    pub found: String,
}

/// What is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What was to be done.
    pub proposed: Proposed,
    /// What was new at the last slot.
    pub news: Vec<News>,
    /// What it was found from.
    pub recording: Recording,
}

/// Evidence on disk.
pub(super) struct Store {
    folder: PathBuf,
    bounds: Bounds,
    known: Mutex<BTreeMap<Name, Known>>,
}

/// How the evidence of a store is ordered.
type Name = (UnixMs, EvidenceId);

struct Known {
    summary: Summary,
    bytes: u64,
}

/// How much is kept, in pieces and bytes: of all apps and of one.
pub(super) struct Bounds {
    pub(super) all: (usize, u64),
    pub(super) of_app: (usize, u64),
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { all: (MAX_KEPT, MAX_BYTES), of_app: (MAX_KEPT_OF_APP, MAX_BYTES_OF_APP) }
    }
}

impl Store {
    /// The evidence of a folder, made if it is not there.
    pub(super) fn open(folder: &Path, bounds: Bounds) -> io::Result<Store> {
        fs::create_dir_all(folder)?;
        let mut known = BTreeMap::new();
        for file in fs::read_dir(folder)? {
            let file = file?;
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(summary) = summary_of(&path)
            {
                let bytes = file.metadata()?.len();
                known.insert((summary.at, summary.id.clone()), Known { summary, bytes });
            }
        }
        Ok(Store { folder: folder.to_owned(), bounds, known: Mutex::new(known) })
    }

    /// Stores evidence; `summary` is given the name that it has from then on.
    pub(super) fn put(
        &self,
        evidence: &Evidence,
        summary: impl FnOnce(EvidenceId) -> Summary,
    ) -> io::Result<EvidenceId> {
        let recording = serde_json::to_vec(evidence)?;
        let id = name_of(&recording)?;
        let summary = summary(id.clone());
        let mut text = serde_json::to_vec(&summary)?;
        text.push(b'\n');
        text.extend(recording);
        text.push(b'\n');
        let bytes = text.len() as u64;
        if bytes > self.bounds.of_app.1 {
            let problem = format!("it takes {bytes} bytes, and at most {} are kept", self.bounds.of_app.1);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        let new = self.folder.join(format!("{id}.new"));
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&new, self.path(&id))?;
        let mut known = self.known();
        let (name, app) = ((summary.at, id.clone()), summary.app.clone());
        known.insert(name.clone(), Known { summary, bytes });
        while let Some(oldest) = self.surplus(&known, &app, &name) {
            known.remove(&oldest);
            if let Err(error) = fs::remove_file(self.path(&oldest.1))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(oldest = %oldest.1, "evidence is not needed any more and stays: {error}");
            }
        }
        Ok(id)
    }

    /// What has to go for the evidence of an app that was put last.
    fn surplus(&self, known: &BTreeMap<Name, Known>, app: &AppKey, last: &Name) -> Option<Name> {
        let oldest = |(most, most_bytes): (usize, u64), is_meant: &dyn Fn(&Known) -> bool| {
            let meant = known.iter().filter(|(_, known)| is_meant(known));
            let bytes: u64 = meant.clone().map(|(_, known)| known.bytes).sum();
            let is_over = meant.clone().count() > most || bytes > most_bytes;
            meant.map(|(name, _)| name).find(|name| is_over && *name != last).cloned()
        };
        let of_app = oldest(self.bounds.of_app, &|known| known.summary.app == *app);
        of_app.or_else(|| oldest(self.bounds.all, &|_| true))
    }

    /// What is kept of an app, the newest first.
    pub(super) fn list(&self, app: &AppKey) -> Vec<Summary> {
        let known = self.known();
        let summaries = known.values().rev().map(|known| &known.summary);
        summaries.filter(|summary| summary.app == *app).cloned().collect()
    }

    /// One.
    pub(super) fn summary(&self, id: &EvidenceId) -> Option<Summary> {
        self.known().values().map(|known| &known.summary).find(|summary| summary.id == *id).cloned()
    }

    /// What one was found from, as it is stored. `None`: there is none of this name.
    pub(super) fn read(&self, id: &EvidenceId) -> io::Result<Option<Evidence>> {
        if self.summary(id).is_none() {
            return Ok(None);
        }
        let mut lines = BufReader::new(File::open(self.path(id))?).lines();
        let recording = lines.nth(1).transpose()?.unwrap_or_default();
        if name_of(recording.as_bytes())? != *id {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what was stored"));
        }
        Ok(Some(serde_json::from_str(&recording)?))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Known>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn path(&self, id: &EvidenceId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn summary_of(path: &Path) -> Option<Summary> {
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

/// The first half of the hash, in hexadecimal digits.
fn name_of(recording: &[u8]) -> io::Result<EvidenceId> {
    let hash = Sha256::digest(recording);
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    EvidenceId::new(&digits).map_err(io::Error::other)
}
