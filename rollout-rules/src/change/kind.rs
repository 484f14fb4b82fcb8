//! The kinds of changes, as the log names them.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::Change;

/// The kind of a change, without its content. Written as the `kind` of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    WebhookPut,
    WebhookRemoved,
    RolloutStarted,
    RolloutAdvanced,
    RolloutChanged,
    RolloutEnded,
    GuardrailsChanged,
    JobPut,
    JobRemoved,
    ChannelPut,
    ChannelRemoved,
    GuardrailActed,
    EffectReplayed,
    ReleaseDeployed,
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
        ChangeKind::WebhookPut,
        ChangeKind::WebhookRemoved,
        ChangeKind::RolloutStarted,
        ChangeKind::RolloutAdvanced,
        ChangeKind::RolloutChanged,
        ChangeKind::RolloutEnded,
        ChangeKind::GuardrailsChanged,
        ChangeKind::JobPut,
        ChangeKind::JobRemoved,
        ChangeKind::ChannelPut,
        ChangeKind::ChannelRemoved,
        ChangeKind::GuardrailActed,
        ChangeKind::EffectReplayed,
        ChangeKind::ReleaseDeployed,
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
            ChangeKind::WebhookPut => "webhook_put",
            ChangeKind::WebhookRemoved => "webhook_removed",
            ChangeKind::RolloutStarted => "rollout_started",
            ChangeKind::RolloutAdvanced => "rollout_advanced",
            ChangeKind::RolloutChanged => "rollout_changed",
            ChangeKind::RolloutEnded => "rollout_ended",
            ChangeKind::GuardrailsChanged => "guardrails_changed",
            ChangeKind::JobPut => "job_put",
            ChangeKind::JobRemoved => "job_removed",
            ChangeKind::ChannelPut => "channel_put",
            ChangeKind::ChannelRemoved => "channel_removed",
            ChangeKind::GuardrailActed => "guardrail_acted",
            ChangeKind::EffectReplayed => "effect_replayed",
            ChangeKind::ReleaseDeployed => "release_deployed",
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
            Change::WebhookPut { .. } => ChangeKind::WebhookPut,
            Change::WebhookRemoved { .. } => ChangeKind::WebhookRemoved,
            Change::RolloutStarted { .. } => ChangeKind::RolloutStarted,
            Change::RolloutAdvanced { .. } => ChangeKind::RolloutAdvanced,
            Change::RolloutChanged { .. } => ChangeKind::RolloutChanged,
            Change::RolloutEnded { .. } => ChangeKind::RolloutEnded,
            Change::GuardrailsChanged { .. } => ChangeKind::GuardrailsChanged,
            Change::JobPut { .. } => ChangeKind::JobPut,
            Change::JobRemoved { .. } => ChangeKind::JobRemoved,
            Change::ChannelPut { .. } => ChangeKind::ChannelPut,
            Change::ChannelRemoved { .. } => ChangeKind::ChannelRemoved,
            Change::GuardrailActed { .. } => ChangeKind::GuardrailActed,
            Change::EffectReplayed { .. } => ChangeKind::EffectReplayed,
            Change::ReleaseDeployed { .. } => ChangeKind::ReleaseDeployed,
        }
    }
}
