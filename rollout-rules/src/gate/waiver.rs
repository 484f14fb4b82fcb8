//! Waivers: dated, reasoned, approved exceptions for one finding. One function says whether one is active, for every path.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::decision::CheckName;
use super::facts::Finding;
use super::policy::{Role, WaiverPolicy};
use crate::flag::Tier;
use crate::governance::Actor;
use crate::ids::{AppKey, Digest, EnvKey, TokenId, WaiverId};
use crate::time::UnixMs;

/// Shortest reason of a waiver, in characters.
pub const MIN_REASON_CHARS: usize = 20;
/// Most waivers of one app that wait to be approved or count, and most that are kept: for one more the oldest that is over goes.
pub const MAX_WAIVERS: usize = 200;

/// A dated exception.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// Its name.
    pub id: WaiverId,
    /// For which app.
    pub app: AppKey,
    /// Only there; none: in all environments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvKey>,
    /// From which check.
    pub check: CheckName,
    /// For which finding. None only where the glass is broken: then for the whole check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// The risk, by its name: the rule of the finding, such as `CVE-2020-14343`.
    pub risk: String,
    /// Why it is taken.
    pub reason: String,
    /// Who asked.
    pub requested_by: Actor,
    /// The token they used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// When.
    pub requested_at: UnixMs,
    /// When it ends.
    pub expires_at: UnixMs,
    /// Whether somebody took it upon themselves in an emergency.
    #[serde(default)]
    pub break_glass: bool,
    /// Who approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<WaiverApproval>,
    /// Who ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<WaiverRevoked>,
}

/// That somebody approved a waiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WaiverApproval {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: UnixMs,
    /// In which role.
    pub role: Role,
}

/// That somebody ended a waiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WaiverRevoked {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: UnixMs,
}

/// How a waiver stands at some moment, whatever it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaiverState {
    /// It waits to be approved.
    Requested,
    /// It counts.
    Active,
    /// Its time is over.
    Lapsed,
    /// Somebody ended it.
    Revoked,
}

impl WaiverState {
    /// Whether it counts, or may yet.
    pub fn is_open(self) -> bool {
        matches!(self, WaiverState::Requested | WaiverState::Active)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            WaiverState::Requested => "requested",
            WaiverState::Active => "active",
            WaiverState::Lapsed => "lapsed",
            WaiverState::Revoked => "revoked",
        }
    }
}

/// What a waiver is held against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The app.
    pub app: &'a AppKey,
    /// The environment.
    pub environment: &'a EnvKey,
    /// The app's tier.
    pub tier: Tier,
    /// What the tier says of waivers.
    pub policy: &'a WaiverPolicy,
    /// The check.
    pub check: CheckName,
    /// The finding; none: what the check says as a whole, as that there is no signature.
    pub finding: Option<&'a Finding>,
    /// Whether it is what nobody may waive, such as rights to everything.
    pub hard_stop: bool,
}

impl Waiver {
    /// How it stands.
    pub fn state(&self, now: UnixMs) -> WaiverState {
        if self.revoked.is_some() {
            WaiverState::Revoked
        } else if self.expires_at <= now {
            WaiverState::Lapsed
        } else if self.break_glass || self.approval.is_some() {
            WaiverState::Active
        } else {
            WaiverState::Requested
        }
    }

    /// Whether it counts for something now. Nothing else decides that.
    pub fn is_active(&self, against: Against<'_>, now: UnixMs) -> bool {
        let is_for = match (&self.fingerprint, against.finding) {
            (Some(fingerprint), Some(finding)) => {
                *fingerprint == finding.fingerprint && self.risk == finding.rule
            }
            (Some(_), None) => false,
            (None, _) => self.break_glass,
        };
        let mended = against.check == CheckName::Vulnerabilities
            && against.finding.is_some_and(|finding| finding.fix.is_some());
        // As the tier asks now: an app may have come to matter more since.
        let approved = self.approval.as_ref().is_some_and(|approval| {
            approval.role == against.policy.approver
                && self.expires_at <= approval.at.plus(against.policy.longest_ms)
        });
        is_for
            && (self.break_glass || approved)
            && self.state(now) == WaiverState::Active
            && self.app == *against.app
            && self.environment.as_ref().is_none_or(|only| only == against.environment)
            && self.check == against.check
            && (!mended || self.break_glass)
            && !against.hard_stop
            && is_waivable(against.check, against.tier)
    }
}

/// Whether anybody may waive what a check finds: never a secret, never evidence that cannot be read or is not the app's, never a
/// missing signature or provenance in tier 2. Of infrastructure, rights to everything are not waived either.
pub fn is_waivable(check: CheckName, tier: Tier) -> bool {
    match check {
        CheckName::Evidence | CheckName::Identity | CheckName::Secrets => false,
        CheckName::Signature | CheckName::Provenance => tier != Tier::Two,
        _ => true,
    }
}
