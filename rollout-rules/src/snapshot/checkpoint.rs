//! The stored copy of a snapshot. Start-up reads the newest and folds only what came after it.

use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rpds::{QueueSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};

use super::app::{App, FlagRecord, SegmentRecord, Touches};
use super::gate::{AppGate, Decisions, Gate};
use super::recall::{PastKill, PastRequest, RequestName};
use super::runbook::Runbook;
use super::uses::Uses;
use super::{OpenEffect, PreviewEnd, Snapshot, Whole};
use crate::evaluate::{AppFlags, SharedRules};
use crate::flag::{AppInfo, Environment, Kills, Segment};
use crate::governance::{Actor, Token};
use crate::ids::{AppKey, Digest, EnvKey, KillId, ProposalId, Revision, SegmentKey};
use crate::proposal::{Outcome, Proposal};
use crate::release::Releases;
use crate::runbook::{EffectId, Run};
use crate::segment::SegmentTable;
use crate::webhook::WebhookRecord;

/// The version of checkpoints that this code writes, and the highest that it reads. It is raised with all that a
/// checkpoint learns to hold: a program that does not know a version folds the log instead, where it stops at
/// what it does not know. Let read it, it would pass over what is new, and write a checkpoint without it.
///
/// 2: webhooks, and ends of previews that are yet to be told. 3: rollouts; guardrails, whom
/// they call, and what they did. 4: releases; by which rule a guardrail acted. 5: the gate. 6: what agents' acts
/// came from; issuers and refs of sources; that somebody was told of a step that waits. 7: what pages get of flags;
/// sensitive attributes; origins of keys.
pub const CHECKPOINT_FORMAT: u16 = 7;

/// A snapshot in the form that is stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    format: u16,
    revision: Revision,
    hash: Digest,
    whole: WholePart,
    apps: Vec<AppPart>,
    tokens: Vec<Arc<Token>>,
    proposals: Vec<Arc<Proposal>>,
    /// In the order in which they closed.
    closed_proposals: Vec<ProposalId>,
    effects: Vec<(Revision, Arc<OpenEffect>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    webhooks: Vec<Arc<WebhookRecord>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<(EffectId, Arc<Run>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    untold_ends: Vec<PreviewEnd>,
    requests: Vec<(RequestName, PastRequest)>,
    kill_ids: Vec<(KillId, PastKill)>,
    #[serde(default, skip_serializing_if = "is_default")]
    gate: Arc<Gate>,
}

fn is_default(gate: &Gate) -> bool {
    gate.is_default()
}

#[derive(Clone, Serialize, Deserialize)]
struct WholePart {
    kills: Kills,
    kills_revision: Revision,
    served_revision: Revision,
    touches: Touches,
    segments: Vec<SegmentPart>,
}

#[derive(Clone, Serialize, Deserialize)]
struct AppPart {
    info: Arc<AppInfo>,
    kills: Kills,
    revision: Revision,
    kills_revision: Revision,
    served_revision: Revision,
    touches: Touches,
    environments: Vec<(Environment, Revision)>,
    segments: Vec<SegmentPart>,
    flags: Vec<Arc<FlagRecord>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runbook: Option<Arc<Runbook>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releases: Vec<(EnvKey, Arc<Releases>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<Arc<AppGate>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<(EnvKey, Arc<Decisions>)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct SegmentPart {
    segment: Segment,
    revision: Revision,
    members: Vec<Arc<str>>,
}

/// Why bytes are not a checkpoint that this code reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Of another format.
    Format {
        /// Its format.
        found: u16,
    },
    /// Broken.
    Malformed {
        /// What the reader stumbled over.
        problem: String,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Format { found } => {
                write!(
                    f,
                    "the checkpoint has format {found}, and this program reads up to {CHECKPOINT_FORMAT}"
                )
            }
            CheckpointError::Malformed { problem } => write!(f, "the checkpoint cannot be read: {problem}"),
        }
    }
}

impl core::error::Error for CheckpointError {}

impl Checkpoint {
    /// The position of the last entry in it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The chain hash after the last entry in it.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a checkpoint has no map with keys other than text")
    }

    /// Reads stored bytes. Another format is told from broken bytes, whatever else is in them.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u16,
        }
        let known = |format: u16| (1..=CHECKPOINT_FORMAT).contains(&format);
        // A checkpoint is large and start-up waits for it: it is read once.
        match serde_json::from_slice::<Checkpoint>(bytes) {
            Ok(checkpoint) if known(checkpoint.format) => Ok(checkpoint),
            Ok(checkpoint) => Err(CheckpointError::Format { found: checkpoint.format }),
            Err(error) => match serde_json::from_slice(bytes) {
                Ok(Versioned { format }) if !known(format) => Err(CheckpointError::Format { found: format }),
                _ => Err(CheckpointError::Malformed { problem: error.to_string() }),
            },
        }
    }
}

impl Snapshot {
    /// The form to store. Cheap: it shares the contents.
    pub fn to_checkpoint(&self) -> Checkpoint {
        Checkpoint {
            format: CHECKPOINT_FORMAT,
            revision: self.revision,
            hash: self.hash,
            whole: WholePart {
                kills: self.whole.rules.kills.clone(),
                kills_revision: self.whole.kills_revision,
                served_revision: self.whole.served_revision,
                touches: self.whole.touches.clone(),
                segments: self.whole.segments.values().map(|record| SegmentPart::of(record)).collect(),
            },
            apps: self.apps.values().map(|app| AppPart::of(app)).collect(),
            tokens: self.tokens.values().cloned().collect(),
            proposals: self.proposals.values().cloned().collect(),
            closed_proposals: self.closed_proposals.iter().cloned().collect(),
            effects: self.effects.iter().map(|(at, effect)| (*at, Arc::clone(effect))).collect(),
            webhooks: self.webhooks.values().cloned().collect(),
            runs: self.runs.iter().map(|(id, run)| (id, Arc::clone(run))).collect(),
            untold_ends: self.untold_ends().collect(),
            requests: self.recalled.requests.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            kill_ids: self.recalled.kills.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            gate: Arc::clone(&self.gate),
        }
    }

    /// The snapshot of which this is the stored form.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Snapshot {
        let mut snapshot =
            Snapshot { revision: checkpoint.revision, hash: checkpoint.hash, ..Snapshot::default() };
        let mut actors = Actors::default();
        let whole = checkpoint.whole;
        let (segments, table) = load_segments(whole.segments);
        snapshot.whole = Arc::new(Whole {
            rules: SharedRules { kills: whole.kills, segments: table },
            kills_revision: whole.kills_revision,
            served_revision: whole.served_revision,
            touches: actors.intern(whole.touches),
            segments,
            segment_uses: Uses::default(),
        });
        for part in checkpoint.apps {
            snapshot.load_app(part, &mut actors);
        }
        for token in checkpoint.tokens {
            snapshot.put_token(token);
        }
        for proposal in checkpoint.proposals {
            snapshot.proposals.insert_mut(proposal.id.clone(), proposal);
        }
        snapshot.closed_proposals = checkpoint.closed_proposals.into_iter().collect::<QueueSync<_>>();
        snapshot.index_open_proposals();
        snapshot.effects = checkpoint.effects.into_iter().collect();
        for record in checkpoint.webhooks {
            snapshot.webhooks.insert_mut(record.webhook.id.clone(), record);
        }
        for (id, run) in checkpoint.runs {
            snapshot.runs.put(id, run);
        }
        for end in checkpoint.untold_ends {
            snapshot.untold_ends.insert_mut((end.app, end.environment), end.at);
        }
        for (name, past) in checkpoint.requests {
            snapshot.recalled.requests.remember(name, past);
        }
        for (id, past) in checkpoint.kill_ids {
            snapshot.recalled.kills.remember(id, past);
        }
        snapshot.gate = checkpoint.gate;
        snapshot.take_policy_of_program();
        snapshot
    }

    fn load_app(&mut self, part: AppPart, actors: &mut Actors) {
        let key = part.info.key.clone();
        let (segments, table) = load_segments(part.segments);
        let mut app = App {
            info: part.info,
            rules: AppFlags { kills: part.kills, segments: table },
            revision: part.revision,
            kills_revision: part.kills_revision,
            served_revision: part.served_revision,
            touches: actors.intern(part.touches),
            environments: alloc::collections::BTreeMap::new(),
            flags: RedBlackTreeMapSync::new_sync(),
            segments,
            segment_uses: Uses::default(),
            dependents: Uses::default(),
            runbook: part.runbook,
            gate: part.gate,
        };
        for (environment, revision) in &part.environments {
            self.put_environment(&mut app, environment, *revision);
        }
        for (environment, releases) in part.releases {
            if let Some(record) = app.environments.get_mut(&environment) {
                Arc::make_mut(record).releases = Some(releases);
            }
        }
        for (environment, decisions) in part.decisions {
            if let Some(record) = app.environments.get_mut(&environment) {
                Arc::make_mut(record).decisions = Some(decisions);
            }
        }
        for record in part.flags {
            let mut record = Arc::unwrap_or_clone(record);
            record.touches = actors.intern(record.touches);
            if let Some(flag) = Arc::get_mut(&mut record.flag) {
                flag.variants.shrink_to_fit();
            }
            let key = record.flag.key.clone();
            self.index_flag(&mut app, &key, record);
        }
        self.serve_all(&mut app, None);
        self.apps.insert_mut(key, Arc::new(app));
    }

    fn index_open_proposals(&mut self) {
        let closed: alloc::collections::BTreeSet<&ProposalId> = self.closed_proposals.iter().collect();
        let mut open: alloc::collections::BTreeMap<Option<AppKey>, RedBlackTreeSetSync<ProposalId>> =
            alloc::collections::BTreeMap::new();
        for proposal in self.proposals.values() {
            if proposal.outcome == Outcome::Open && !closed.contains(&proposal.id) {
                let here = open.entry(proposal.app.clone()).or_insert_with(RedBlackTreeSetSync::new_sync);
                here.insert_mut(proposal.id.clone());
            }
        }
        self.open_proposals = open.into_iter().collect();
    }
}

impl AppPart {
    fn of(app: &App) -> AppPart {
        let environments = app.environments.values();
        let releases = app.environments.iter();
        AppPart {
            info: Arc::clone(&app.info),
            kills: app.rules.kills.clone(),
            revision: app.revision,
            kills_revision: app.kills_revision,
            served_revision: app.served_revision,
            touches: app.touches.clone(),
            environments: environments.map(|record| (record.environment.clone(), record.revision)).collect(),
            segments: app.segments.values().map(|record| SegmentPart::of(record)).collect(),
            flags: app.flags.values().cloned().collect(),
            runbook: app.runbook.clone(),
            releases: releases
                .filter_map(|(key, record)| Some((key.clone(), record.releases.clone()?)))
                .collect(),
            gate: app.gate.clone(),
            decisions: app
                .environments
                .iter()
                .filter_map(|(key, record)| Some((key.clone(), record.decisions.clone()?)))
                .collect(),
        }
    }
}

impl SegmentPart {
    fn of(record: &SegmentRecord) -> SegmentPart {
        SegmentPart {
            segment: record.segment.clone(),
            revision: record.revision,
            members: record.members.iter().cloned().collect(),
        }
    }

    fn into_record(self) -> SegmentRecord {
        SegmentRecord {
            segment: self.segment,
            members: self.members.into_iter().collect(),
            revision: self.revision,
        }
    }
}

type SegmentRecords = RedBlackTreeMapSync<SegmentKey, Arc<SegmentRecord>>;

fn load_segments(parts: Vec<SegmentPart>) -> (SegmentRecords, SegmentTable) {
    let mut records = SegmentRecords::new_sync();
    let mut table = SegmentTable::default();
    for part in parts {
        let key = part.segment.key.clone();
        table = table.put(part.segment.clone()).change_members(&key, &part.members, &[]);
        records.insert_mut(key, Arc::new(part.into_record()));
    }
    (records, table)
}

/// Most neighbouring changes are by the same actor: one copy of each serves them all.
#[derive(Default)]
struct Actors {
    last: Option<Arc<Actor>>,
}

impl Actors {
    fn intern(&mut self, mut touches: Touches) -> Touches {
        for touch in &mut touches.0 {
            match &self.last {
                Some(known) if **known == *touch.actor => touch.actor = Arc::clone(known),
                _ => self.last = Some(Arc::clone(&touch.actor)),
            }
        }
        touches.0.shrink_to_fit();
        touches
    }
}
