//! A finding by its fingerprint, as the last decision that lists it found it.

use std::cmp::Reverse;
use std::sync::Arc;

use rollout_rules::gate::decision::{CheckName, Decided, Judged};
use rollout_rules::ids::{AppKey, Digest, EnvKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::Gate;

/// In how many environments the last decision is looked at, those with the newest first: each is a file to read.
const MOST_READ: usize = 8;

impl Gate {
    /// What the last decision of an environment, or of each, found under a fingerprint; of several the newest that lists it. None: none
    /// lists it, or its judgement is gone.
    pub fn listed(
        &self,
        snapshot: &Snapshot,
        app: &AppKey,
        only: Option<&EnvKey>,
        (check, fingerprint): (CheckName, Digest),
        now: UnixMs,
    ) -> Option<Judged> {
        let environments = snapshot.app(app)?.environments().map(|record| &record.environment().key);
        let meant = environments.filter(|key| only.is_none_or(|only| only == *key));
        let mut last: Vec<&Arc<Decided>> =
            meant.filter_map(|environment| snapshot.decisions(app, environment).next()).collect();
        last.sort_by_key(|decided| Reverse(decided.revision));
        last.into_iter().take(MOST_READ).find_map(|decided| {
            let read = self.judgement_of(&decided.decision, snapshot, now).inspect_err(|error| {
                tracing::warn!(%error, decision = %decided.decision.id, "a judgement cannot be read");
            });
            let found = read.ok()?.checks.into_iter().find(|found| found.name == check)?;
            found.findings.into_iter().find(|judged| {
                judged.finding.fingerprint == fingerprint || judged.also.contains(&fingerprint)
            })
        })
    }
}
