//! What the log holds. An [`Entry`] is one [`Change`] with who made it, when and why; a [`Command`] is
//! what somebody asks for. The JSON forms of `Entry` and `Change` last: fields and kinds are added,
//! never renamed, and every form ever written is read for ever.

mod subject;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::flag::{
    AppInfo, Environment, EnvironmentKind, Flag, FlagKind, FlagState, Hold, HoldCause, Prerequisite, Rule,
    ScheduledChange, Segment, SegmentScope, Serve, Target, Targeting, Tier, Variant,
};
use crate::governance::{Actor, Token};
use crate::ids::{
    AppKey, Digest, EnvKey, FlagKey, IdempotencyKey, KillId, NodeId, PlanId, ProposalId, Revision,
    ScheduleId, SegmentKey, TokenId, VariantKey,
};
use crate::percent::Exposure;
use crate::time::UnixMs;

/// The version of entries that this code writes, and the highest that it reads. A node that meets a
/// higher one stops folding and goes unready.
pub const ENTRY_VERSION: u16 = 1;
/// Largest entry, in bytes.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024;

/// One item of the change log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of this form.
    #[serde(rename = "v")]
    pub version: u16,
    /// When it was written, by the writer's clock.
    pub at: UnixMs,
    /// Who made the change.
    pub actor: Actor,
    /// The token they used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// An earlier entry that the writer had seen: ties the chain together where appends expect nothing.
    pub anchor: Anchor,
    /// The caller's name for the request that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// With an idempotency key: the fingerprint of the command that was asked for, so that the key
    /// cannot stand for another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// The proposal whose command this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposalId>,
    /// The import that this is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanId>,
    /// What changed.
    pub change: Change,
}

/// The position and chain hash of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Its position.
    pub revision: Revision,
    /// The chain hash after it.
    pub hash: Digest,
}

/// How far a kill reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[serde(tag = "kind", rename_all = "snake_case")]
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
        /// SHA-256 of the command's JSON and `seen`; approvals bind it.
        hash: Digest,
        /// The flag's revision that the proposer saw.
        seen: Option<Revision>,
        /// When it lapses.
        expires_at: UnixMs,
    },
    /// Somebody approved a proposal.
    ProposalApproved {
        /// Which.
        id: ProposalId,
        /// The hash of what they saw.
        hash: Digest,
    },
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
        /// Who.
        node: NodeId,
        /// Until when.
        lease_until: UnixMs,
    },
    /// An effect came to an end.
    EffectDone {
        /// The revision of the request.
        request: Revision,
        /// Whether it worked.
        succeeded: bool,
        /// What came back, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        outcome: String,
    },
}

/// Why bytes of the log are not an entry that this code knows. A node that meets one stops folding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownEntry {
    /// Written by newer code.
    Version {
        /// Its version.
        found: u16,
    },
    /// No entry of a version that this code knows: another kind of change, or broken.
    Malformed {
        /// What the reader stumbled over.
        problem: String,
    },
}

impl fmt::Display for UnknownEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnknownEntry::Version { found } => write!(
                f,
                "the entry has version {found}, and this program reads up to {ENTRY_VERSION}: use a newer one"
            ),
            UnknownEntry::Malformed { problem } => write!(f, "the entry cannot be read: {problem}"),
        }
    }
}

impl core::error::Error for UnknownEntry {}

impl Entry {
    /// The bytes that the log keeps.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has no map with keys other than text")
    }

    /// Reads the bytes of the log. Another version is told from broken bytes, whatever else is in them.
    pub fn decode(bytes: &[u8]) -> Result<Entry, UnknownEntry> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u16,
        }
        let known = |version: u16| (1..=ENTRY_VERSION).contains(&version);
        // Nearly all are known: reading them once is half the work of looking at the version first.
        match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) if known(entry.version) => Ok(entry),
            Ok(entry) => Err(UnknownEntry::Version { found: entry.version }),
            Err(error) => match serde_json::from_slice(bytes) {
                Ok(Versioned { v }) if !known(v) => Err(UnknownEntry::Version { found: v }),
                _ => Err(UnknownEntry::Malformed { problem: error.to_string() }),
            },
        }
    }
}

/// The kind of a change, without its content. Written as the `kind` of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is documented on the change of the same name")]
pub enum ChangeKind {
    AppCreated,
    AppUpdated,
    EnvironmentCreated,
    EnvironmentUpdated,
    EnvironmentRemoved,
    FlagCreated,
    FlagUpdated,
    TargetingChanged,
    FlagExtended,
    FlagArchived,
    Killed,
    Revived,
    HoldChanged,
    SegmentPut,
    SegmentMembersChanged,
    SegmentRemoved,
    TokenCreated,
    TokenRevoked,
    Proposed,
    ProposalApproved,
    ProposalRejected,
    EffectRequested,
    EffectClaimed,
    EffectDone,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: &[ChangeKind] = &[
        ChangeKind::AppCreated,
        ChangeKind::AppUpdated,
        ChangeKind::EnvironmentCreated,
        ChangeKind::EnvironmentUpdated,
        ChangeKind::EnvironmentRemoved,
        ChangeKind::FlagCreated,
        ChangeKind::FlagUpdated,
        ChangeKind::TargetingChanged,
        ChangeKind::FlagExtended,
        ChangeKind::FlagArchived,
        ChangeKind::Killed,
        ChangeKind::Revived,
        ChangeKind::HoldChanged,
        ChangeKind::SegmentPut,
        ChangeKind::SegmentMembersChanged,
        ChangeKind::SegmentRemoved,
        ChangeKind::TokenCreated,
        ChangeKind::TokenRevoked,
        ChangeKind::Proposed,
        ChangeKind::ProposalApproved,
        ChangeKind::ProposalRejected,
        ChangeKind::EffectRequested,
        ChangeKind::EffectClaimed,
        ChangeKind::EffectDone,
    ];

    /// As it is written in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::AppCreated => "app_created",
            ChangeKind::AppUpdated => "app_updated",
            ChangeKind::EnvironmentCreated => "environment_created",
            ChangeKind::EnvironmentUpdated => "environment_updated",
            ChangeKind::EnvironmentRemoved => "environment_removed",
            ChangeKind::FlagCreated => "flag_created",
            ChangeKind::FlagUpdated => "flag_updated",
            ChangeKind::TargetingChanged => "targeting_changed",
            ChangeKind::FlagExtended => "flag_extended",
            ChangeKind::FlagArchived => "flag_archived",
            ChangeKind::Killed => "killed",
            ChangeKind::Revived => "revived",
            ChangeKind::HoldChanged => "hold_changed",
            ChangeKind::SegmentPut => "segment_put",
            ChangeKind::SegmentMembersChanged => "segment_members_changed",
            ChangeKind::SegmentRemoved => "segment_removed",
            ChangeKind::TokenCreated => "token_created",
            ChangeKind::TokenRevoked => "token_revoked",
            ChangeKind::Proposed => "proposed",
            ChangeKind::ProposalApproved => "proposal_approved",
            ChangeKind::ProposalRejected => "proposal_rejected",
            ChangeKind::EffectRequested => "effect_requested",
            ChangeKind::EffectClaimed => "effect_claimed",
            ChangeKind::EffectDone => "effect_done",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Change {
    /// Its kind.
    pub fn kind(&self) -> ChangeKind {
        match self {
            Change::AppCreated { .. } => ChangeKind::AppCreated,
            Change::AppUpdated { .. } => ChangeKind::AppUpdated,
            Change::EnvironmentCreated { .. } => ChangeKind::EnvironmentCreated,
            Change::EnvironmentUpdated { .. } => ChangeKind::EnvironmentUpdated,
            Change::EnvironmentRemoved { .. } => ChangeKind::EnvironmentRemoved,
            Change::FlagCreated { .. } => ChangeKind::FlagCreated,
            Change::FlagUpdated { .. } => ChangeKind::FlagUpdated,
            Change::TargetingChanged { .. } => ChangeKind::TargetingChanged,
            Change::FlagExtended { .. } => ChangeKind::FlagExtended,
            Change::FlagArchived { .. } => ChangeKind::FlagArchived,
            Change::Killed { .. } => ChangeKind::Killed,
            Change::Revived { .. } => ChangeKind::Revived,
            Change::HoldChanged { .. } => ChangeKind::HoldChanged,
            Change::SegmentPut { .. } => ChangeKind::SegmentPut,
            Change::SegmentMembersChanged { .. } => ChangeKind::SegmentMembersChanged,
            Change::SegmentRemoved { .. } => ChangeKind::SegmentRemoved,
            Change::TokenCreated { .. } => ChangeKind::TokenCreated,
            Change::TokenRevoked { .. } => ChangeKind::TokenRevoked,
            Change::Proposed { .. } => ChangeKind::Proposed,
            Change::ProposalApproved { .. } => ChangeKind::ProposalApproved,
            Change::ProposalRejected { .. } => ChangeKind::ProposalRejected,
            Change::EffectRequested { .. } => ChangeKind::EffectRequested,
            Change::EffectClaimed { .. } => ChangeKind::EffectClaimed,
            Change::EffectDone { .. } => ChangeKind::EffectDone,
        }
    }
}

/// What somebody asks for. Keys name what exists; absent fields stay as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Make an app. Without environments it gets `production` and `sandbox`.
    CreateApp {
        /// Its key.
        key: AppKey,
        /// Its name for people.
        #[serde(default)]
        name: String,
        /// Who answers for it.
        #[serde(default)]
        owner: String,
        /// How much it matters.
        #[serde(default)]
        tier: Tier,
        /// What it may cost a month, in millionths of `currency`.
        #[serde(default)]
        monthly_budget_micros: Option<u64>,
        /// ISO 4217 code.
        #[serde(default)]
        currency: Option<String>,
        /// Its first environments.
        #[serde(default)]
        environments: Option<Vec<NewEnvironment>>,
    },
    /// Change what is known of an app.
    UpdateApp {
        /// Which.
        app: AppKey,
        /// Its name for people.
        #[serde(default)]
        name: Option<String>,
        /// Who answers for it.
        #[serde(default)]
        owner: Option<String>,
        /// How much it matters.
        #[serde(default)]
        tier: Option<Tier>,
        /// What it may cost a month, in millionths of `currency`.
        #[serde(default)]
        monthly_budget_micros: Option<u64>,
        /// ISO 4217 code.
        #[serde(default)]
        currency: Option<String>,
    },
    /// Make an environment.
    CreateEnvironment {
        /// The app.
        app: AppKey,
        /// What to make.
        #[serde(flatten)]
        environment: NewEnvironment,
    },
    /// Move the end of a preview.
    ExtendEnvironment {
        /// The app.
        app: AppKey,
        /// The preview.
        environment: EnvKey,
        /// Its new end.
        ends_at: UnixMs,
    },
    /// Remove an environment with all flag states in it.
    RemoveEnvironment {
        /// The app.
        app: AppKey,
        /// Which.
        environment: EnvKey,
    },
    /// Make a flag; it is off everywhere. A boolean flag without variants gets `on` and `off`.
    CreateFlag {
        /// The app.
        app: AppKey,
        /// Its key.
        key: FlagKey,
        /// What its values are.
        #[serde(rename = "type", default = "boolean")]
        kind: FlagKind,
        /// Its answers.
        #[serde(default)]
        variants: Vec<Variant>,
        /// Its answer while off; the last variant if none is named (`off` for a boolean without variants).
        #[serde(default)]
        off_variant: Option<VariantKey>,
        /// What it is for.
        #[serde(default)]
        description: String,
        /// Who answers for it; the app's owner if nobody is named.
        #[serde(default)]
        owner: String,
        /// Critical flags stay when a budget disables the rest.
        #[serde(default)]
        critical: bool,
        /// When it expires; what its tier and each environment's kind say, if none is given. Where an
        /// environment allows less it is cut to that; a moment that none allows is refused.
        #[serde(default)]
        expires_at: Option<UnixMs>,
    },
    /// Change a flag's definition.
    UpdateFlag {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Its answers.
        #[serde(default)]
        variants: Option<Vec<Variant>>,
        /// Its answer while off.
        #[serde(default)]
        off_variant: Option<VariantKey>,
        /// What it is for.
        #[serde(default)]
        description: Option<String>,
        /// Who answers for it.
        #[serde(default)]
        owner: Option<String>,
        /// Critical flags stay when a budget disables the rest.
        #[serde(default)]
        critical: Option<bool>,
    },
    /// Change what a flag does in an environment: on, off, exposure, rules.
    SetTargeting {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// What changes.
        #[serde(flatten)]
        patch: Box<TargetingPatch>,
    },
    /// Give a flag a longer life. Needs a reason.
    ExtendFlag {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Only there; none: everywhere.
        #[serde(default)]
        environment: Option<EnvKey>,
        /// When it expires; the longest that each environment allows if none is given. In one environment a
        /// moment past what it allows is refused. In all, it is cut to what each allows, and refused if none
        /// allows it or if the flag would not get a longer life in each that has not ended.
        #[serde(default)]
        expires_at: Option<UnixMs>,
    },
    /// End a flag for good.
    ArchiveFlag {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
    },
    /// Kill: everything, an app or a flag serves off variants at once. Never stale, never refused twice.
    Kill {
        /// The caller's name for the act.
        kill_id: KillId,
        /// What.
        reach: Reach,
        /// Only there; none: in all environments.
        #[serde(default)]
        environment: Option<EnvKey>,
    },
    /// Take a kill back; what it killed is off then. Needs a reason.
    Revive {
        /// What.
        reach: Reach,
        /// Only there; none: in all environments.
        #[serde(default)]
        environment: Option<EnvKey>,
    },
    /// Automation holds a flag state at its off variant.
    Hold {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// On whose account.
        cause: HoldCause,
    },
    /// Make or change a segment.
    PutSegment {
        /// Where it lives.
        scope: SegmentScope,
        /// What it is.
        segment: Segment,
    },
    /// Members come to or leave a segment, in chunks that fit one entry.
    ChangeSegmentMembers {
        /// Where it lives.
        scope: SegmentScope,
        /// Which.
        segment: SegmentKey,
        /// Who comes.
        #[serde(default)]
        add: Vec<Arc<str>>,
        /// Who leaves.
        #[serde(default)]
        remove: Vec<Arc<str>>,
    },
    /// Remove a segment that nothing refers to.
    RemoveSegment {
        /// Where it lives.
        scope: SegmentScope,
        /// Which.
        segment: SegmentKey,
    },
    /// Make a token. The shell draws the secret and passes its hash.
    CreateToken {
        /// As the log will keep it.
        token: Token,
    },
    /// Stop a token.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Store a command for others to approve and apply.
    Propose {
        /// Its name; the shell draws it.
        id: ProposalId,
        /// What would be done.
        command: Box<Command>,
    },
    /// Approve a proposal as it was shown.
    ApproveProposal {
        /// Which.
        id: ProposalId,
        /// The hash of what was shown.
        hash: Digest,
    },
    /// Turn a proposal down, or withdraw one's own.
    RejectProposal {
        /// Which.
        id: ProposalId,
    },
    /// Do what a proposal says, decided again now.
    ApplyProposal {
        /// Which.
        id: ProposalId,
        /// The hash of what was shown.
        hash: Digest,
    },
    /// A scheduled change fell due: decide it again and make it so.
    ApplySchedule {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// Which.
        schedule: ScheduleId,
    },
    /// Ask for something outside to be done.
    RequestEffect {
        /// What kind.
        effect: String,
        /// What it needs.
        payload: serde_json::Value,
    },
    /// Claim an effect.
    ClaimEffect {
        /// The revision of the request.
        request: Revision,
        /// For which node.
        node: NodeId,
        /// Until when.
        lease_until: UnixMs,
    },
    /// Report the end of an effect.
    FinishEffect {
        /// The revision of the request.
        request: Revision,
        /// By which node.
        node: NodeId,
        /// Whether it worked.
        succeeded: bool,
        /// What came back.
        outcome: String,
    },
}

fn boolean() -> FlagKind {
    FlagKind::Boolean
}

/// An environment to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEnvironment {
    /// Its key.
    pub key: EnvKey,
    /// What it is for.
    pub kind: EnvironmentKind,
    /// When a preview ends; what the settings say if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMs>,
}

/// What changes of a flag's targeting; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetingPatch {
    /// Turn it on or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// How many units get `serve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// What the exposed units get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<Serve>,
    /// All target lists anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<Target>>,
    /// All rules anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
    /// All prerequisites anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prerequisites: Option<Vec<Prerequisite>>,
    /// All scheduled changes anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<ScheduledChange>>,
}
