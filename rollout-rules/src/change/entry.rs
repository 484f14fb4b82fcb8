//! One item of the log: a change with who made it, when and why.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::Change;
use crate::governance::Actor;
use crate::ids::{Digest, IdempotencyKey, PlanId, ProposalId, Revision, TokenId};
use crate::time::UnixMs;

/// One item of the change log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Anchor {
    /// Its position.
    pub revision: Revision,
    /// The chain hash after it.
    pub hash: Digest,
}
