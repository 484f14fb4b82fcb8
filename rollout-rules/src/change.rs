//! What the log holds. An [`Entry`] is one [`Change`] with who made it, when and why; a [`Command`] is
//! what somebody asks for. The JSON forms of `Entry` and `Change` last: fields and kinds are added,
//! never renamed, and every form ever written is read for ever. An older program does not skip what it does
//! not know: a change with a field that is new to it stops its fold, as a new kind does; a field that is
//! added further inside and makes a difference to the fold takes a higher [`ENTRY_VERSION`].

mod codec;
mod command;
mod entry;
mod gate;
mod kind;
mod patch;
mod runbook;
mod subject;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::codec::UnknownEntry;
pub use self::command::Command;
pub use self::entry::{Anchor, Entry};
pub use self::gate::{GateCommand, PolicySet, SourceSet};
pub use self::kind::ChangeKind;
pub use self::patch::{BrowserMark, NewEnvironment, TargetingPatch};
pub use self::runbook::RunbookCommand;
use crate::flag::{AppInfo, Environment, Flag, FlagState, Hold, Segment, SegmentScope, Targeting};
use crate::gate::decision::Decision;
use crate::gate::policy::RoleGrant;
use crate::gate::waiver::Waiver;
use crate::governance::Token;
use crate::ids::{
    AppKey, ChannelName, Digest, EnvKey, FlagKey, JobName, KillId, NodeId, ProposalId, Revision, ScheduleId,
    SegmentKey, TokenId, WebhookId,
};
use crate::percent::Exposure;
use crate::proposal::{Approving, StoodOn};
use crate::release::ArtifactDigest;
use crate::rollout::{Rollout, RolloutEnd};
use crate::runbook::{Act, Channel, EffectId, Job};
use crate::sli::guardrail::Guardrail;
use crate::time::UnixMs;
use crate::webhook::Webhook;

/// The version of entries that this code writes, and the highest that it reads. A node that meets a
/// higher one stops folding and goes unready.
pub const ENTRY_VERSION: u16 = 1;
/// Largest entry, in bytes.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024;

/// How far a kill reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Every flag of every app.
    Everything,
    /// Every flag of an app.
    App {
        /// The app.
        app: AppKey,
    },
    /// One flag.
    Flag {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
    },
}

/// What changed. Each holds the new state itself, so that folding needs no rules and never fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// An app came to be, with its first environments.
    AppCreated {
        /// The app.
        app: AppInfo,
        /// Its environments.
        environments: Vec<Environment>,
    },
    /// An app's description, owner, tier or budget changed.
    AppUpdated {
        /// The app as it is now.
        app: AppInfo,
    },
    /// An environment came to be, with the states of the flags that exist (all off).
    EnvironmentCreated {
        /// The app.
        app: AppKey,
        /// The environment.
        environment: Environment,
        /// When each existing flag's state in it expires.
        expires_at: UnixMs,
        /// Previews whose end had come, and which make room for it: they are gone with all flag states in
        /// them. One may have had the same key.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        replaces: Vec<EnvKey>,
        /// Those of them whose end nobody was told: who keeps what belongs to them is yet to be asked to destroy
        /// it. Not the one of the same key: what belonged to that belongs to the new one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        untold: Vec<EnvKey>,
    },
    /// An environment's end moved, or it became another kind.
    EnvironmentUpdated {
        /// The app.
        app: AppKey,
        /// The environment as it is now.
        environment: Environment,
    },
    /// An environment and all flag states in it are gone.
    EnvironmentRemoved {
        /// The app.
        app: AppKey,
        /// The environment.
        environment: EnvKey,
        /// Whether it was a preview whose end nobody was told: who keeps what belongs to it is yet to be asked to
        /// destroy it.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        untold: bool,
    },
    /// A flag came to be, with a state for each environment.
    FlagCreated {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: Flag,
        /// Its states; all off.
        states: BTreeMap<EnvKey, FlagState>,
    },
    /// A flag's definition changed.
    FlagUpdated {
        /// The app.
        app: AppKey,
        /// The flag as it is now.
        flag: Flag,
    },
    /// What people set for a flag in an environment changed. A hold ends with it.
    TargetingChanged {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// As it is now.
        targeting: Box<Targeting>,
        /// The scheduled change that fell due and caused this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<ScheduleId>,
        /// Whether a hold by automation ends with it.
        #[serde(default)]
        release_hold: bool,
        /// How a rollout ends with it, if one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_rollout: Option<RolloutEnd>,
    },
    /// A flag's life was extended.
    FlagExtended {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// When it now expires, by environment.
        expires_at: BTreeMap<EnvKey, UnixMs>,
    },
    /// A flag is no more: it answers as not found, and its key stays taken.
    FlagArchived {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
    },
    /// Something was killed: it serves off variants at once, whatever else is set.
    Killed {
        /// The caller's name for the act; the same id twice is the same kill.
        kill_id: KillId,
        /// What.
        reach: Reach,
        /// Only in this environment; none: in all, those made later included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<EnvKey>,
    },
    /// A kill was taken back. What it killed is off now.
    Revived {
        /// What.
        reach: Reach,
        /// Only in this environment; none: in all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<EnvKey>,
    },
    /// Automation holds flag states at their off variant, or no longer does.
    HoldChanged {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// The hold as it is now.
        hold: Option<Hold>,
    },
    /// A segment came to be or changed. Its members stay.
    SegmentPut {
        /// Where it lives.
        scope: SegmentScope,
        /// As it is now.
        segment: Segment,
    },
    /// Members came to or left a segment.
    SegmentMembersChanged {
        /// Where it lives.
        scope: SegmentScope,
        /// The segment.
        segment: SegmentKey,
        /// Who came.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        add: Vec<Arc<str>>,
        /// Who left.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remove: Vec<Arc<str>>,
    },
    /// A segment is gone.
    SegmentRemoved {
        /// Where it lived.
        scope: SegmentScope,
        /// The segment.
        segment: SegmentKey,
    },
    /// A token came to be.
    TokenCreated {
        /// As the log keeps it.
        token: Token,
    },
    /// A token stopped working.
    TokenRevoked {
        /// Which.
        token: TokenId,
    },
    /// A command waits for approvals, or for a human.
    Proposed {
        /// Its name.
        id: ProposalId,
        /// What would be done.
        command: Box<Command>,
        /// SHA-256 of the JSON of the command, `seen` and `stood_on`; approvals bind it.
        hash: Digest,
        /// The flag's revision that the proposer saw.
        seen: Option<Revision>,
        /// What the gate stood on; none: it raises no production.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stood_on: Option<StoodOn>,
        /// When it lapses.
        expires_at: UnixMs,
    },
    /// Somebody approved a proposal.
    ProposalApproved(Approving),
    /// A proposal was turned down or withdrawn.
    ProposalRejected {
        /// Which.
        id: ProposalId,
    },
    /// Something outside is to be done because of this entry; its revision is the idempotency key.
    EffectRequested {
        /// What kind of effect: `webhook`, `rollback`.
        effect: String,
        /// What it needs.
        payload: serde_json::Value,
    },
    /// A node does an effect and nobody else until the lease ends.
    EffectClaimed {
        /// The revision of the request.
        request: Revision,
        /// Which of what an act of a guardrail asked for, from 0; none: the request asked for one thing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u8>,
        /// Who.
        node: NodeId,
        /// Until when.
        lease_until: UnixMs,
    },
    /// An effect came to an end.
    EffectDone {
        /// The revision of the request.
        request: Revision,
        /// Which of what an act of a guardrail asked for, from 0; none: the request asked for one thing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u8>,
        /// Whether it worked.
        succeeded: bool,
        /// What came back, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        outcome: String,
    },
    /// A webhook came to be or changed.
    WebhookPut {
        /// As it is now, with what it signs with.
        webhook: Box<Webhook>,
    },
    /// A webhook is gone.
    WebhookRemoved {
        /// Which.
        id: WebhookId,
    },
    /// A rollout began: the flag is on, with the exposure of the first stage. A hold ends with it.
    RolloutStarted {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// As it is now.
        rollout: Box<Rollout>,
        /// What the flag's exposure is now.
        exposure: Exposure,
    },
    /// A rollout came to its next stage.
    RolloutAdvanced {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// As it is now.
        rollout: Box<Rollout>,
        /// What the flag's exposure is now.
        exposure: Exposure,
    },
    /// A rollout was paused or goes on, waits for somebody, or is held. Nothing else is served.
    RolloutChanged {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// As it is now.
        rollout: Box<Rollout>,
    },
    /// A rollout is over. Where nothing is said of what the flag serves, that stays.
    RolloutEnded {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// As it is now.
        rollout: Box<Rollout>,
        /// Whether the flag is on now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<bool>,
        /// What its exposure is now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exposure: Option<Exposure>,
    },
    /// The guardrails of a flag, or an app's defaults, were written or cleared.
    GuardrailsChanged {
        /// The app.
        app: AppKey,
        /// The flag; none: these are the app's defaults.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flag: Option<FlagKey>,
        /// Only in this environment; none: in all that have no list of their own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<EnvKey>,
        /// As they are now; none: what stands above them holds again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guardrails: Option<Vec<Guardrail>>,
    },
    /// A job that guardrails run came to be or changed.
    JobPut {
        /// The app.
        app: AppKey,
        /// As it is now, with what it signs with.
        job: Box<Job>,
    },
    /// A job is gone.
    JobRemoved {
        /// The app.
        app: AppKey,
        /// Which.
        job: JobName,
    },
    /// A channel on which guardrails tell people came to be or changed.
    ChannelPut {
        /// The app.
        app: AppKey,
        /// As it is now.
        channel: Box<Channel>,
    },
    /// A channel is gone.
    ChannelRemoved {
        /// The app.
        app: AppKey,
        /// Which.
        channel: ChannelName,
    },
    /// A guardrail acted, or a person tried one out: it lowered something, asked for something outside, or both.
    GuardrailActed {
        /// What it did.
        act: Box<Act>,
    },
    /// An artifact was deployed: what the app runs there from now on.
    ReleaseDeployed {
        /// The app.
        app: AppKey,
        /// The environment.
        environment: EnvKey,
        /// What runs.
        artifact: ArtifactDigest,
        /// What people call it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// What an act asked for and was given up is tried again, under the same id.
    EffectReplayed {
        /// The app.
        app: AppKey,
        /// Which.
        id: EffectId,
    },
    /// The gate said of a build whether it may be where users are.
    GateDecided(Box<Decision>),
    /// The gate judges by another policy.
    PolicySet(PolicySet),
    /// It was said what an app may be built from.
    SourceSet(SourceSet),
    /// A waiver was asked for, approved or ended: as it is now.
    WaiverPut(Box<Waiver>),
    /// Somebody was given a role.
    RoleGranted(RoleGrant),
    /// A role was taken from somebody.
    RoleRevoked(RoleGrant),
}
