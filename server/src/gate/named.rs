//! Which files decisions name, and for how long they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rollout_rules::gate::decision::{Decided, Decision};
use rollout_rules::ids::{AppKey, Digest};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::snapshot::{App, Snapshot};
use rollout_rules::time::{DurationMs, UnixMs};

use crate::duration;

/// How long what a decision was made from is kept where no setting says otherwise: a year, and some weeks to look back at it.
const KEEP_EVIDENCE: DurationMs = DurationMs::days(400);

/// How long what a decision was made from is kept, from when it was made. What was made of a build that runs in any environment of the
/// app, or is the one to go back to there, is kept for as long as it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention(pub DurationMs);

impl Default for Retention {
    fn default() -> Retention {
        Retention(KEEP_EVIDENCE)
    }
}

/// Why what a decision was made from is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was kept for as long as the settings say.
    Retention {
        /// When that ended.
        at: UnixMs,
        /// How long that was.
        kept: DurationMs,
    },
    /// There is no such file.
    Missing,
    /// The file is not what was written.
    Damaged,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gone::Retention { at, kept } => {
                write!(f, "was removed by retention at {at}: `gate.keep_evidence` keeps it for {}", duration::exact(*kept))
            }
            Gone::Missing => f.write_str(
                "is not there: it was not in the backup that this server was made of, the retention was shorter once, or its file was lost",
            ),
            Gone::Damaged => f.write_str("is not what was written: the disk or somebody changed its file"),
        }
    }
}

impl Retention {
    /// Why what a decision was made from counts as gone; none: it is kept.
    pub(super) fn ended(self, decided: &Decided, snapshot: &Snapshot, now: UnixMs) -> Option<Gone> {
        let app = snapshot.app(&decided.decision.app)?;
        self.passed(decided, now).filter(|_| !staying(app).contains(&decided.decision.artifact))
    }

    /// The same, whichever build it is of.
    pub(super) fn passed(self, decided: &Decided, now: UnixMs) -> Option<Gone> {
        let at = decided.at.plus(self.0);
        (at <= now).then_some(Gone::Retention { at, kept: self.0 })
    }

    /// The decisions whose files are kept, the newest first.
    pub(super) fn kept(self, snapshot: &Snapshot, now: UnixMs) -> Vec<Arc<Decided>> {
        let staying: BTreeMap<&AppKey, _> =
            snapshot.apps(None).map(|app| (&app.info().key, staying(app))).collect();
        let stays = |decided: &Decided| {
            let of_its_app = staying.get(&decided.decision.app);
            of_its_app.is_some_and(|staying| staying.contains(&decided.decision.artifact))
        };
        let mut kept = decisions(snapshot);
        kept.retain(|decided| self.passed(decided, now).is_none() || stays(decided));
        kept.into_iter().map(Arc::clone).collect()
    }
}

/// All decisions that are remembered, the newest first.
pub(super) fn decisions(snapshot: &Snapshot) -> Vec<&Arc<Decided>> {
    let mut all = Vec::new();
    for app in snapshot.apps(None) {
        for record in app.environments() {
            all.extend(snapshot.decisions(&app.info().key, &record.environment().key));
        }
    }
    all.sort_by_key(|decided| std::cmp::Reverse(decided.revision));
    all
}

/// The builds of an app that run in some environment, or are the ones to go back to: by what guardrails did, and by what the gate says
/// too.
fn staying(app: &App) -> BTreeSet<ArtifactDigest> {
    let mut staying = BTreeSet::new();
    for record in app.environments() {
        let releases = record.releases();
        let those = [releases.current(), releases.previous_good(), record.previous_good()];
        staying.extend(those.into_iter().flatten().map(|release| release.artifact));
    }
    staying
}

/// All files that a decision names.
pub fn files_of(decision: &Decision) -> impl Iterator<Item = Digest> {
    let Decision { facts, judgement, receipt, evidence, .. } = decision;
    [*judgement, *receipt, *facts].into_iter().chain(evidence.iter().map(|piece| piece.kept))
}
