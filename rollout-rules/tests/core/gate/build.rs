//! A build that every tier lets pass, to take something from or add something to.

use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::gate::decision::{Check, CheckName, CheckState, Judgement, Verdict};
use rollout_rules::gate::facts::{
    Attestation, Claim, Component, Coverage, Facts, Finding, Format, Inventory, Licence, Piece, Plan,
    Presence, Proof, Provenance, Sbom, Scan, ScanKind, Severity, SignerId, SourceFile, TestRun, Tool,
};
use rollout_rules::gate::policy::{Level, Policy};
use rollout_rules::gate::trust::Source;
use rollout_rules::gate::waiver::Waiver;
use rollout_rules::gate::{Subject, judge};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use rollout_rules::time::UnixMs;

use crate::world::{START, app, artifact_of, env};

pub(super) const TIERS: [Tier; 3] = [Tier::Zero, Tier::One, Tier::Two];

#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) policy: Policy,
    pub(super) tier: Tier,
    pub(super) source: Option<Source>,
    pub(super) waivers: Vec<Waiver>,
    pub(super) facts: Facts,
    pub(super) now: UnixMs,
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn artifact() -> ArtifactDigest {
    artifact_of('a')
}

pub(super) fn finding(rule: &str, severity: Severity) -> Finding {
    Finding {
        rule: rule.into(),
        fingerprint: digest(rule),
        title: rule.into(),
        severity,
        ..Finding::default()
    }
}

pub(super) fn vulnerability(rule: &str, severity: Severity) -> Finding {
    Finding { subject: Some("pkg:pypi/pyyaml@5.3".into()), ..finding(rule, severity) }
}

pub(super) fn scan(kind: ScanKind, tool: &str) -> Scan {
    Scan {
        piece: digest(tool),
        kind,
        tool: Tool { name: tool.into(), version: None },
        proof: Proof::Given("12 rules over 3 files".into()),
        total: 0,
        findings: Vec::new(),
    }
}

pub(super) fn signer() -> SignerId {
    SignerId { name: "ci".into(), key: digest("the key"), certificate: None }
}

pub(super) fn attests(claim: Claim) -> Attestation {
    Attestation { piece: digest("a statement"), claim, subjects: vec![artifact()], signer: Ok(signer()) }
}

pub(super) fn provenance() -> Provenance {
    Provenance {
        builder: "https://ci.example.org/builder".into(),
        build_type: "https://ci.example.org/build/v1".into(),
        repository: Some("https://git.example.org/team/shop".into()),
        commit: Some("abc".into()),
        ..Provenance::default()
    }
}

pub(super) fn source() -> Source {
    Source {
        repository: Some("https://git.example.org/team/shop".into()),
        issuer: None,
        repository_id: Some("1".into()),
        owner_id: Some("2".into()),
        builders: vec!["https://ci.example.org/builder".into()],
        build_types: vec!["https://ci.example.org/build/v1".into()],
        signers: vec!["ci".into()],
        workflows: vec!["platform/ci/build.yml".into()],
        refs: Vec::new(),
        max_vcpus: None,
    }
}

pub(super) fn component(name: &str, licence: Licence) -> Component {
    Component { name: name.into(), licence, licences: format!("{licence:?}"), ..Component::default() }
}

fn clean() -> Facts {
    let piece = |name: &str, format| Piece {
        digest: digest(name),
        name: name.into(),
        format: Some(format),
        bytes: 100,
        received_at: START,
        added: false,
        problem: None,
    };
    Facts {
        pieces: vec![piece("junit.xml", Format::Junit), piece("gitleaks.json", Format::Gitleaks)],
        tests: vec![TestRun {
            passed: 3,
            contract: true,
            ran: vec!["tests.test_cart.test_total[2]".into(), "sums [1, 2]".into()],
            ..TestRun::default()
        }],
        coverage: vec![Coverage { lines: 100, covered: 100, ..Coverage::default() }],
        presence: vec![Presence {
            piece: digest("presence"),
            files: vec![SourceFile {
                path: "cart.py".into(),
                functions: 2,
                tests: vec!["test_total".into()],
            }],
            read: Some(1),
        }],
        inventory: vec![Inventory {
            piece: digest("inventory"),
            files: 9,
            sources: 1,
            infrastructure: vec!["main.tf".into()],
            declared: Vec::new(),
            manifests: Vec::new(),
        }],
        scans: vec![
            scan(ScanKind::Secrets, "gitleaks"),
            scan(ScanKind::Secrets, "detect-secrets"),
            scan(ScanKind::Code, "semgrep"),
            scan(ScanKind::Infrastructure, "checkov"),
            scan(ScanKind::Vulnerabilities, "grype"),
        ],
        plans: vec![Plan {
            piece: digest("plan"),
            resources: 2,
            input: serde_json::Value::Null,
            verdicts: Vec::new(),
        }],
        sboms: vec![Sbom {
            piece: digest("a statement"),
            format: "CycloneDX 1.6".into(),
            total: 1,
            subjects: vec![artifact()],
            components: vec![component("flask", Licence::Permissive)],
        }],
        exploitability: Vec::new(),
        attestations: vec![
            attests(Claim::Artifact),
            attests(Claim::Provenance(provenance())),
            attests(Claim::Sbom),
        ],
        identity: None,
        agents: Vec::new(),
    }
}

impl Build {
    /// It passes without a warning.
    pub(super) fn clean(tier: Tier) -> Build {
        Build {
            policy: Policy::default(),
            tier,
            source: Some(source()),
            waivers: Vec::new(),
            facts: clean(),
            now: START,
        }
    }

    pub(super) fn with(tier: Tier, change: impl FnOnce(&mut Facts)) -> Build {
        let mut build = Build::clean(tier);
        change(&mut build.facts);
        build
    }

    pub(super) fn judge(&self) -> Judgement {
        let (app, environment) = (app("shop"), env("production"));
        let waivers: Vec<&Waiver> = self.waivers.iter().collect();
        let subject = Subject {
            app: &app,
            environment: &environment,
            kind: EnvironmentKind::Production,
            tier: self.tier,
            artifact: artifact(),
            source: self.source.as_ref(),
            waivers: &waivers,
        };
        judge(&self.policy, &subject, &self.facts, self.now)
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.judge().verdict
    }

    pub(super) fn check(&self, name: CheckName) -> Check {
        self.judge().checks.into_iter().find(|check| check.name == name).expect("every check is told")
    }

    /// How a check ended, and what that comes to.
    pub(super) fn ends(&self, name: CheckName) -> (CheckState, Level) {
        let check = self.check(name);
        (check.state, check.level)
    }
}

/// What a scan of a kind found, added to the first of that kind.
pub(super) fn found(facts: &mut Facts, kind: ScanKind, finding: Finding) {
    let scan = facts.scans.iter_mut().find(|scan| scan.kind == kind).expect("a scan");
    scan.findings.push(finding);
    scan.total += 1;
}

pub(super) fn without(facts: &mut Facts, kind: ScanKind) {
    facts.scans.retain(|scan| scan.kind != kind);
}

/// The scans of a kind show nothing.
pub(super) fn unproven(facts: &mut Facts, kind: ScanKind) {
    for scan in facts.scans.iter_mut().filter(|scan| scan.kind == kind) {
        scan.proof = Proof::Missing("a plugin is switched off".into());
    }
}
