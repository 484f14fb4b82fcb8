//! The policy that comes with the program, tier by tier.

use alloc::borrow::ToOwned as _;
use alloc::vec;
use alloc::vec::Vec;

use super::super::trust::Trust;
use super::{
    CoveragePolicy, FlagLimits, InfrastructurePolicy, Level, LicencePolicy, Policy, Reach, Role, SbomPolicy,
    SecretsPolicy, TierPolicy, VulnerabilityPolicy, WaiverPolicy,
};
use crate::governance::ByTier;
use crate::percent::Exposure;
use crate::time::DurationMs;

impl Default for Policy {
    fn default() -> Policy {
        let tiers = ByTier { tier0: personal(), tier1: team(), tier2: organisation() };
        let checklist = vec![
            "I know which data the change touches, and who can read it".to_owned(),
            "What it newly depends on is known and kept up".to_owned(),
            "Its waivers are justified, and end in time".to_owned(),
        ];
        Policy { tiers, trust: Trust::default(), modules: Vec::new(), checklist }
    }
}

/// One maker and their friends: only what harms others at once is denied.
fn personal() -> TierPolicy {
    TierPolicy {
        identity: Level::Note,
        secrets: SecretsPolicy { level: Level::Deny, scanners: 1 },
        tests_present: Level::Warn,
        tests_pass: Level::Deny,
        contract_tests: Level::Off,
        coverage: CoveragePolicy {
            warn_below_percent: None,
            deny_below_percent: None,
            ignored_below_lines: 20,
            missing: Level::Note,
        },
        code: Level::Note,
        infrastructure: InfrastructurePolicy {
            missing: Level::Deny,
            public_data: Level::Deny,
            encryption: Level::Warn,
            tags: Level::Off,
            required_tags: Vec::new(),
            size: Level::Deny,
            max_vcpus: 2,
            cap_by_app: false,
            findings: Level::Warn,
        },
        sbom: SbomPolicy { missing: Level::Warn, unsigned: Level::Off },
        licences: LicencePolicy { unknown: Level::Note, strong_copyleft: Level::Note },
        vulnerabilities: VulnerabilityPolicy {
            critical: Level::Warn,
            high: Level::Note,
            missing: Level::Warn,
        },
        signature: Level::Note,
        provenance: Level::Note,
        approvers: Vec::new(),
        flags: FlagLimits { pipelines: Reach::OneList, people: Reach::Everyone, longest_life_ms: None },
        waivers: WaiverPolicy { longest_ms: DurationMs::days(30), approver: Role::Platform },
        decision_life_ms: DurationMs::days(14),
    }
}

/// A team depends on it.
fn team() -> TierPolicy {
    TierPolicy {
        tests_present: Level::Deny,
        coverage: CoveragePolicy {
            warn_below_percent: Some(60),
            deny_below_percent: Some(40),
            missing: Level::Deny,
            ..personal().coverage
        },
        code: Level::Warn,
        infrastructure: InfrastructurePolicy {
            tags: Level::Deny,
            required_tags: vec!["app".to_owned(), "owner".to_owned()],
            ..personal().infrastructure
        },
        sbom: SbomPolicy { missing: Level::Deny, unsigned: Level::Note },
        licences: LicencePolicy { unknown: Level::Warn, strong_copyleft: Level::Deny },
        vulnerabilities: VulnerabilityPolicy {
            critical: Level::Deny,
            high: Level::Warn,
            missing: Level::Deny,
        },
        signature: Level::Warn,
        provenance: Level::Warn,
        approvers: vec![Role::Platform],
        flags: FlagLimits { pipelines: Reach::UpTo(Exposure::HALF), ..personal().flags },
        ..personal()
    }
}

/// The organisation depends on it.
fn organisation() -> TierPolicy {
    TierPolicy {
        secrets: SecretsPolicy { level: Level::Deny, scanners: 2 },
        contract_tests: Level::Deny,
        coverage: CoveragePolicy {
            warn_below_percent: None,
            deny_below_percent: Some(70),
            ..team().coverage
        },
        code: Level::Deny,
        infrastructure: InfrastructurePolicy {
            encryption: Level::Deny,
            cap_by_app: true,
            findings: Level::Deny,
            ..team().infrastructure
        },
        sbom: SbomPolicy { missing: Level::Deny, unsigned: Level::Deny },
        licences: LicencePolicy { unknown: Level::Deny, strong_copyleft: Level::Deny },
        vulnerabilities: VulnerabilityPolicy {
            critical: Level::Deny,
            high: Level::Deny,
            missing: Level::Deny,
        },
        signature: Level::Deny,
        provenance: Level::Deny,
        approvers: vec![Role::Security, Role::BusinessOwner],
        flags: FlagLimits { pipelines: Reach::Staged, ..team().flags },
        waivers: WaiverPolicy { longest_ms: DurationMs::days(14), approver: Role::Security },
        decision_life_ms: DurationMs::days(7),
        ..team()
    }
}
