//! The names in paths.

use rollout_rules::ids::{
    AppKey, ChannelName, DecisionId, Digest, EnvKey, EvidenceId, FlagKey, JobName, KillId, ProposalId,
    SegmentKey, TokenId, WaiverId, WebhookId,
};
use rollout_rules::runbook::EffectId;

use super::super::operation::{SchemaOf, of};

/// What a name in a path stands for: its schema, in words, and an example.
pub(in crate::http::contract) fn path_parameter(name: &str) -> (SchemaOf, &'static str, &'static str) {
    match name {
        "app" => (of::<AppKey>, "The app.", "shop"),
        "environment" => (of::<EnvKey>, "The environment.", "production"),
        "flag" | "key" => (of::<FlagKey>, "The flag; slashes in its key are written as %2F.", "checkout"),
        "segment" => (of::<SegmentKey>, "The segment.", "staff"),
        "token" => (of::<TokenId>, "The token's id, which is the third part of its text.", "k3v9q2m7x4ab"),
        "id" => (of::<ProposalId>, "The proposal.", "b7m2x9k4q3va"),
        "webhook" => (of::<WebhookId>, "The webhook.", "w7k2m9x4q3va"),
        "job" => (of::<JobName>, "The job.", "rollback"),
        "channel" => (of::<ChannelName>, "The channel.", "on-call"),
        "effect" => (of::<EffectId>, "What was asked for.", "47.0"),
        "evidence" => (of::<EvidenceId>, "The evidence.", "8f1b2c3d4e5f60718f1b2c3d4e5f6071"),
        "decision" => (of::<DecisionId>, "The decision.", "d7m2x9k4q3va"),
        "waiver" => (of::<WaiverId>, "The waiver.", "v7m2x9k4q3va"),
        "digest" => (
            of::<Digest>,
            "The file: the `digest` or `kept` of a decision's evidence.",
            "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        ),
        "file" => (of::<String>, "The file, as `/sdk` lists it.", "tidegate.js"),
        "release" => (of::<String>, "The build of the SDK, as `/sdk` names it.", "8f1b2c3d4e5f6071"),
        "kill_id" => (of::<KillId>, "The kill, as whoever killed named it.", "incident-7"),
        _ => (of::<String>, "A name.", "stale"),
    }
}
