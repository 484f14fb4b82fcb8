//! Waivers: what does not count until a date, for a reason and with somebody's approval. One function says whether one is active, for every path.

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
/// Most waivers of one app that wait to be approved or count, and most that are kept: for one more the oldest that is over goes. Broken
/// glass is kept besides, for as long as it counts against what may be broken next.
pub const MAX_WAIVERS: usize = 200;

/// One finding, or in an emergency a whole check, that does not count until a date.
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

/// A finding as a decision found it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What was found.
    pub finding: &'a Finding,
    /// Whether it is what nobody may waive.
    pub hard_stop: bool,
}

/// Why a waiver counts for nothing, whoever approves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// What the check finds is never waived in the app's tier.
    Check,
    /// The check is judged as a whole, and finds nothing that one waiver could be for.
    Whole,
    /// It names no finding, and the glass is not broken.
    NoFinding,
    /// What was found is never waived, wherever it is.
    HardStop,
    /// What was found can be mended.
    Mended {
        /// How.
        fix: String,
    },
    /// What was found goes by another name than the risk that is taken.
    Risk {
        /// By which.
        rule: String,
    },
}

impl Waiver {
    /// Why it counts for nothing, as far as is known of what it is for. Asking, approving and judging go by this alone.
    pub fn barred(&self, tier: Tier, found: Option<Found<'_>>) -> Option<Barred> {
        if !is_waivable(self.check, tier) {
            return Some(Barred::Check);
        }
        if self.fingerprint.is_some() && !has_findings(self.check) {
            return Some(Barred::Whole);
        }
        if self.fingerprint.is_none() && !self.break_glass {
            return Some(Barred::NoFinding);
        }
        let Found { finding, hard_stop } = found?;
        if hard_stop {
            return Some(Barred::HardStop);
        }
        match &finding.fix {
            Some(fix) if self.check == CheckName::Vulnerabilities && !self.break_glass => {
                return Some(Barred::Mended { fix: fix.clone() });
            }
            _ => {}
        }
        let named = self.fingerprint.is_none() || self.risk == finding.rule;
        (!named).then(|| Barred::Risk { rule: finding.rule.clone() })
    }

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
            (Some(fingerprint), finding) => {
                finding.is_some_and(|finding| *fingerprint == finding.fingerprint)
            }
            (None, _) => true,
        };
        let found = against.finding.map(|finding| Found { finding, hard_stop: against.hard_stop });
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
            && self.barred(against.tier, found).is_none()
    }
}

/// Whether a check holds single findings against waivers. The others are judged as a whole, as coverage is.
fn has_findings(check: CheckName) -> bool {
    match check {
        CheckName::TestsPresent
        | CheckName::TestsPass
        | CheckName::Code
        | CheckName::Infrastructure
        | CheckName::Licences
        | CheckName::Vulnerabilities => true,
        CheckName::Evidence
        | CheckName::Identity
        | CheckName::Secrets
        | CheckName::ContractTests
        | CheckName::Coverage
        | CheckName::Sbom
        | CheckName::Signature
        | CheckName::Provenance => false,
    }
}

/// Whether anybody may waive what a check finds: never a secret, never evidence that cannot be read or is not the app's, never a
/// missing signature or provenance in tier 2. Of infrastructure, rights to everything are not waived either.
fn is_waivable(check: CheckName, tier: Tier) -> bool {
    match check {
        CheckName::Evidence | CheckName::Identity | CheckName::Secrets => false,
        CheckName::Signature | CheckName::Provenance => tier != Tier::Two,
        _ => true,
    }
}
