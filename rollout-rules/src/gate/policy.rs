//! What each tier asks of a build: the policy, as data. It is an entry of the log, and every decision names the digest of the
//! one that it was made by.

mod defaults;
mod flags;

use alloc::borrow::ToOwned as _;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub(crate) use self::flags::Way;
pub use self::flags::{FlagLimits, MAX_FLAG_LIFE, Reach};
use super::trust::{BuilderOf, MAX_TRUSTED, Trust};
use crate::flag::Tier;
use crate::governance::ByTier;
use crate::governance::same_name;
use crate::ids::{AppKey, Digest};
use crate::time::{DurationMs, HOUR};

/// Most modules of Rego that an operator adds.
pub const MAX_MODULES: usize = 16;
/// Longest module of Rego, in bytes.
pub const MAX_MODULE_BYTES: usize = 16 * 1024;
/// Longest policy as JSON, in bytes: it has to fit an entry.
pub const MAX_POLICY_BYTES: usize = 48 * 1024;
/// The longest that a decision can stand.
pub const MAX_DECISION_LIFE: DurationMs = DurationMs::days(90);
/// The longest that a waiver can stand, whatever a tier says.
pub const MAX_WAIVER_LIFE: DurationMs = DurationMs::days(180);
/// The longest that breaking the glass can last.
pub const MAX_BREAK_GLASS: DurationMs = DurationMs(8 * HOUR.0);
/// How long breaking the glass lasts if nobody says.
pub const BREAK_GLASS: DurationMs = HOUR;
/// Most points of a checklist, tags that are asked for, and roles.
const MAX_LIST: usize = 20;

/// What a check that fails comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is not looked at.
    #[default]
    Off,
    /// It is told.
    Note,
    /// It is told, and the decision passes with a warning.
    Warn,
    /// The build is denied.
    Deny,
}

/// What old policies, which do not say it, ask of identity.
fn noted() -> Level {
    Level::Note
}

fn is_noted(level: &Level) -> bool {
    *level == Level::Note
}

/// Who may approve what. People are granted roles, for an app or a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who runs the platform.
    Platform,
    /// Who answers for security.
    Security,
    /// Who answers for what the app does.
    BusinessOwner,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Platform => "platform",
            Role::Security => "security",
            Role::BusinessOwner => "business_owner",
        }
    }
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What each tier asks.
    pub tiers: ByTier<TierPolicy>,
    /// Whose signatures and tokens count.
    pub trust: Trust,
    /// Policies of infrastructure in Rego, besides those of the server.
    pub modules: Vec<Module>,
    /// What the security role ticks when it approves.
    pub checklist: Vec<String>,
}

/// An operator's module of Rego.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// What people call it, such as `regions.rego`.
    pub name: String,
    /// Its text, of at most 16 KiB.
    pub text: String,
}

/// What a tier asks of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TierPolicy {
    /// What it comes to that who asks did not say who they are by a token of the pipeline's own issuer.
    #[serde(default = "noted", skip_serializing_if = "is_noted")]
    pub identity: Level,
    /// No secret in the code.
    pub secrets: SecretsPolicy,
    /// Every source file with a function has a test that names it, asserts something and ran.
    pub tests_present: Level,
    /// All tests pass, and at least one ran.
    pub tests_pass: Level,
    /// Contract tests ran and passed.
    pub contract_tests: Level,
    /// How much of the code tests run.
    pub coverage: CoveragePolicy,
    /// No error of an analyser of code.
    pub code: Level,
    /// What infrastructure may be.
    pub infrastructure: InfrastructurePolicy,
    /// The list of what it is made of.
    pub sbom: SbomPolicy,
    /// Licences of what it is made of.
    pub licences: LicencePolicy,
    /// Known vulnerabilities of what it is made of.
    pub vulnerabilities: VulnerabilityPolicy,
    /// The artifact is signed by whom the app may use.
    pub signature: Level,
    /// How it was built is attested by whom the app may use.
    pub provenance: Level,
    /// Which roles have to approve what raises exposure in production, each a person of its own.
    pub approvers: Vec<Role>,
    /// How far flags may go in production, and how long they live there. None are said: there are no limits.
    #[serde(default, skip_serializing_if = "FlagLimits::is_none")]
    pub flags: FlagLimits,
    /// Waivers.
    pub waivers: WaiverPolicy,
    /// How long a decision that passes stands.
    pub decision_life_ms: DurationMs,
}

/// What is asked about secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretsPolicy {
    /// What a secret, or a missing scan, comes to.
    pub level: Level,
    /// How many different scanners it takes.
    pub scanners: u8,
}

/// What is asked about coverage, of the changed lines if a diff is given, else of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CoveragePolicy {
    /// Below so many percent it is a warning.
    pub warn_below_percent: Option<u8>,
    /// Below so many percent it is denied.
    pub deny_below_percent: Option<u8>,
    /// Fewer lines than these are not judged.
    pub ignored_below_lines: u32,
    /// What it comes to that there is no report.
    pub missing: Level,
}

/// What is asked of infrastructure. Rights to everything are always denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InfrastructurePolicy {
    /// Infrastructure is described, or it is not known whether it is, and there is no plan; or nothing shows that a scan of it
    /// looked at anything.
    pub missing: Level,
    /// Data that everybody can read.
    pub public_data: Level,
    /// Data that is not encrypted.
    pub encryption: Level,
    /// Resources without the tags.
    pub tags: Level,
    /// The tags.
    pub required_tags: Vec<String>,
    /// More virtual CPUs than `max_vcpus`, or than the app's own cap.
    pub size: Level,
    /// The most virtual CPUs of all that a plan has.
    pub max_vcpus: u32,
    /// Whether an app may have a cap of its own.
    pub cap_by_app: bool,
    /// What scanners of infrastructure find, by severity high and above.
    pub findings: Level,
}

/// What is asked of the list of what an artifact is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SbomPolicy {
    /// What it comes to that there is none.
    pub missing: Level,
    /// What it comes to that it is not signed for this artifact.
    pub unsigned: Level,
}

/// What is asked of licences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LicencePolicy {
    /// One that is not said or known.
    pub unknown: Level,
    /// One that everything linked falls under.
    pub strong_copyleft: Level,
}

/// What is asked of known vulnerabilities, by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VulnerabilityPolicy {
    /// Critical.
    pub critical: Level,
    /// High.
    pub high: Level,
    /// What it comes to that nobody looked.
    pub missing: Level,
}

/// Who waives, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WaiverPolicy {
    /// The longest that one stands.
    pub longest_ms: DurationMs,
    /// Who approves one.
    pub approver: Role,
}

/// That somebody has a role: for an app, or for all apps of a tier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RoleGrant {
    /// Which role.
    pub role: Role,
    /// Whose: the name that their token says.
    pub person: String,
    /// For this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// For the apps of this tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

impl RoleGrant {
    /// Whether it is a person's, however they write their name.
    pub fn is_of(&self, name: &str) -> bool {
        same_name(&self.person, name)
    }

    /// Whether it gives the same person the same.
    pub fn is_same(&self, other: &RoleGrant) -> bool {
        self.is_of(&other.person) && (self.role, &self.app, self.tier) == (other.role, &other.app, other.tier)
    }
}

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPolicy {
    /// The member, such as `tiers.tier1.coverage.deny_below_percent`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Policy {
    /// What a tier asks.
    pub fn of(&self, tier: Tier) -> &TierPolicy {
        self.tiers.of(tier)
    }

    /// Names the policy by its content. It is hashed as the log writes it.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a policy has no map with keys other than text"))
    }

    /// Everything that is wrong with it, at once. What Rego and keys say is looked at by whoever compiles them.
    pub fn check(&self) -> Vec<BadPolicy> {
        let mut wrong = Vec::new();
        let mut say =
            |field: String, problem: &str| wrong.push(BadPolicy { field, problem: problem.to_owned() });
        for (name, tier) in
            [("tier0", &self.tiers.tier0), ("tier1", &self.tiers.tier1), ("tier2", &self.tiers.tier2)]
        {
            tier.check(&mut |field, problem| say(alloc::format!("tiers.{name}.{field}"), problem));
        }
        if self.checklist.len() > MAX_LIST || self.checklist.iter().any(|point| !is_line(point)) {
            say("checklist".to_string(), "use at most 20 lines of 1 to 200 bytes each");
        }
        if self.modules.len() > MAX_MODULES {
            say("modules".to_string(), "use at most 16 modules");
        }
        for (nth, module) in self.modules.iter().enumerate() {
            if !is_line(&module.name) || self.modules[..nth].iter().any(|other| other.name == module.name) {
                say(
                    alloc::format!("modules[{nth}].name"),
                    "use one line that no other module has as its name",
                );
            }
            if module.text.len() > MAX_MODULE_BYTES {
                say(alloc::format!("modules[{nth}].text"), "use at most 16 KiB: divide it into several");
            }
        }
        let trusted = [
            ("trust.keys", self.trust.keys.len()),
            ("trust.authorities", self.trust.authorities.len()),
            ("trust.issuers", self.trust.issuers.len()),
        ];
        for (field, count) in trusted {
            if count > MAX_TRUSTED {
                say(field.to_string(), "use at most 64");
            }
        }
        for (nth, authority) in self.trust.authorities.iter().enumerate() {
            let is_fine = |it: &BuilderOf| {
                let lines = core::iter::once(&it.workflow).chain(&it.builders);
                it.builders.len() <= MAX_TRUSTED && lines.into_iter().all(|line| is_line(line))
            };
            if authority.builders.len() > MAX_TRUSTED || !authority.builders.iter().all(is_fine) {
                let field = alloc::format!("trust.authorities[{nth}].builders");
                say(
                    field,
                    "use at most 64 workflows with 64 builders each, every name one line of 1 to 200 bytes",
                );
            }
        }
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len());
        if bytes > MAX_POLICY_BYTES {
            say(
                "policy".to_string(),
                "it is longer than 48 KiB as JSON: shorten its modules, or drop old keys",
            );
        }
        wrong
    }
}

impl TierPolicy {
    fn check(&self, say: &mut dyn FnMut(&str, &str)) {
        let percent = |value: Option<u8>| value.is_none_or(|value| value <= 100);
        let coverage = &self.coverage;
        if !percent(coverage.warn_below_percent) || !percent(coverage.deny_below_percent) {
            say("coverage", "a percentage is from 0 to 100");
        }
        if let (Some(warn), Some(deny)) = (coverage.warn_below_percent, coverage.deny_below_percent)
            && warn < deny
        {
            say("coverage", "it cannot warn below less than it denies below");
        }
        if self.secrets.scanners == 0 || self.secrets.scanners > 4 {
            say("secrets.scanners", "ask for 1 to 4 scanners, or set the level to `off`");
        }
        let tags = &self.infrastructure.required_tags;
        if tags.len() > MAX_LIST || tags.iter().any(|tag| !is_line(tag)) {
            say("infrastructure.required_tags", "use at most 20 names of 1 to 200 bytes");
        }
        if self.decision_life_ms < HOUR || self.decision_life_ms > MAX_DECISION_LIFE {
            say("decision_life_ms", "use one hour to 90 days, in milliseconds");
        }
        if self.waivers.longest_ms < HOUR || self.waivers.longest_ms > MAX_WAIVER_LIFE {
            say("waivers.longest_ms", "use one hour to 180 days, in milliseconds");
        }
        self.flags.check(say);
        let approvers = &self.approvers;
        if approvers.iter().enumerate().any(|(nth, role)| approvers[..nth].contains(role)) {
            say("approvers", "name each role once");
        }
    }
}

fn is_line(text: &str) -> bool {
    (1..=200).contains(&text.len()) && !text.chars().any(char::is_control)
}
