//! Proposals: stored commands that wait for approvals, or for a human.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::change::Command;
use crate::gate::policy::Role;
use crate::governance::{Actor, same_name};
use crate::ids::{AppKey, Digest, EnvKey, ProposalId, Revision, TokenId, WaiverId};
use crate::release::ArtifactDigest;
use crate::snapshot::Snapshot;
use crate::time::UnixMs;

/// Most open proposals of one app, and most of those that belong to no app.
pub const MAX_OPEN_PROPOSALS: usize = 1_000;
/// How many closed proposals are kept for people to look at; the log has them all.
pub const KEPT_CLOSED_PROPOSALS: usize = 100;
/// Most approvals of one proposal.
pub const MAX_APPROVALS: usize = 64;

/// A stored command. Its hash binds what was shown: approvals name it, and applying names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its name.
    pub id: ProposalId,
    /// What would be done.
    pub command: Command,
    /// SHA-256 of the JSON of the command, `seen` and `stood_on`.
    pub hash: Digest,
    /// The revision of the flag that the proposer saw.
    pub seen: Option<Revision>,
    /// What the gate stood on when it was made; none: it raises no production, or the log is older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood_on: Option<StoodOn>,
    /// The app that it concerns, if it concerns one.
    pub app: Option<AppKey>,
    /// Who proposed.
    pub proposed_by: Actor,
    /// The token they used.
    pub token: Option<TokenId>,
    /// When.
    pub at: UnixMs,
    /// Why.
    pub reason: String,
    /// When it lapses.
    pub expires_at: UnixMs,
    /// What became of it; a lapse shows only in [`Proposal::state`].
    pub outcome: Outcome,
    /// Who approved.
    pub approvals: Vec<Approval>,
}

/// What the gate stood on when something was proposed that may raise production. Approvals are good for that alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StoodOn {
    /// The policy.
    pub policy: Digest,
    /// What ran where production would be raised; empty: what all apps share would change.
    pub builds: Vec<StandingBuild>,
}

/// What ran in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StandingBuild {
    /// Where.
    pub environment: EnvKey,
    /// What; none: nobody had told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactDigest>,
    /// The waivers that its passing decision stood on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverId>,
}

/// An approval, as it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Approving {
    /// Which proposal.
    pub id: ProposalId,
    /// The hash of what was shown.
    pub hash: Digest,
    /// In which role; none: as anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The points of the policy's checklist that were ticked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<String>,
}

/// That somebody approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub actor: Actor,
    /// The token they used.
    pub token: Option<TokenId>,
    /// When.
    pub at: UnixMs,
    /// The hash of what they saw.
    pub hash: Digest,
    /// In which role; none: as anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The points of the checklist that they ticked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<String>,
}

/// What became of a proposal, as the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing yet.
    Open,
    /// Its command was done.
    Applied {
        /// The revision of the entry that did it.
        revision: Revision,
    },
    /// It was turned down or withdrawn.
    Rejected,
}

/// What a proposal is at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalState {
    /// It waits.
    Open,
    /// Its command was done.
    Applied,
    /// It was turned down or withdrawn.
    Rejected,
    /// Its time ran out.
    Lapsed,
}

impl ProposalState {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            ProposalState::Open => "open",
            ProposalState::Applied => "applied",
            ProposalState::Rejected => "rejected",
            ProposalState::Lapsed => "lapsed",
        }
    }
}

impl Proposal {
    /// The hash that binds a command, what its proposer saw, and what the gate stood on.
    pub fn hash_of(command: &Command, seen: Option<Revision>, stood_on: Option<&StoodOn>) -> Digest {
        let bytes = match stood_on {
            None => serde_json::to_vec(&(command, seen)),
            Some(stood_on) => serde_json::to_vec(&(command, seen, stood_on)),
        };
        Digest::of(&bytes.expect("a command has no map with keys other than text"))
    }

    /// What it is now.
    pub fn state(&self, now: UnixMs) -> ProposalState {
        match self.outcome {
            Outcome::Applied { .. } => ProposalState::Applied,
            Outcome::Rejected => ProposalState::Rejected,
            Outcome::Open if self.expires_at <= now => ProposalState::Lapsed,
            Outcome::Open => ProposalState::Open,
        }
    }

    /// Whether somebody is who proposed, the person an agent proposed for, or whose token was used for it.
    pub fn is_own(&self, hands: Hands<'_>, snapshot: &Snapshot) -> bool {
        Hands { actor: &self.proposed_by, token: self.token.as_ref() }.are_of(hands, snapshot)
    }
}

impl Approval {
    /// Who approved, and with which token.
    pub(crate) fn hands(&self) -> Hands<'_> {
        Hands { actor: &self.actor, token: self.token.as_ref() }
    }
}

/// Who acted, and with which token.
#[derive(Clone, Copy, Debug)]
pub struct Hands<'a> {
    /// In whose name.
    pub actor: &'a Actor,
    /// With which token; none: without.
    pub token: Option<&'a TokenId>,
}

impl Hands<'_> {
    /// Whether one person stands behind both. For whom an agent acts it says itself, so the person counts too whose token it used.
    pub fn are_of(self, other: Hands<'_>, snapshot: &Snapshot) -> bool {
        let owner = |hands: Hands<'_>| Some(&snapshot.token(hands.token?)?.actor);
        let (ours, theirs) = ([Some(self.actor), owner(self)], [Some(other.actor), owner(other)]);
        let of_both = |one: &&Actor| theirs.into_iter().flatten().any(|other| same_person(one, other));
        (self.token.is_some() && self.token == other.token)
            || ours.into_iter().flatten().any(|one| of_both(&one))
    }
}

/// Whether two actors are one person; an agent counts as the person it acts for, and a program as the person whose name it has.
pub(crate) fn same_person(one: &Actor, other: &Actor) -> bool {
    fn person(actor: &Actor) -> Option<&str> {
        match actor {
            Actor::Human { name } | Actor::Service { name } => Some(name),
            Actor::Agent { on_behalf_of, .. } => Some(on_behalf_of),
            _ => None,
        }
    }
    match (person(one), person(other)) {
        (Some(one), Some(other)) => same_name(one, other),
        _ => one == other,
    }
}
