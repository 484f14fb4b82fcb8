//! Random builds over a small set of names, so that they meet.

use proptest::prelude::*;
use rollout_rules::gate::decision::CheckName;
use rollout_rules::gate::facts::{
    ChangedLines, Claim, Concern, Coverage, Exploitability, ExploitabilityStatus, Facts, Finding, Licence,
    PolicyEffect, PolicyFinding, Proof, Sbom, ScanKind, Severity, SourceFile, TestRun, Untrusted,
};
use rollout_rules::gate::policy::{Level, Policy, Role, TierPolicy};
use rollout_rules::gate::waiver::Waiver;
use rollout_rules::ids::WaiverId;
use rollout_rules::time::{DAY, DurationMs};

use super::build::{Build, TIERS, attests, component, digest, provenance, scan, signer};
use super::waivers::{glass, waiver};
use crate::world::START;

fn one_of<T: Clone + core::fmt::Debug + 'static>(all: &[T]) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(all.to_vec())
}

pub(super) fn severities() -> impl Strategy<Value = Severity> {
    one_of(&[Severity::Unknown, Severity::Low, Severity::Medium, Severity::High, Severity::Critical])
}

pub(super) fn scan_kinds() -> impl Strategy<Value = ScanKind> {
    one_of(&[ScanKind::Secrets, ScanKind::Code, ScanKind::Infrastructure, ScanKind::Vulnerabilities])
}

pub(super) fn concerns() -> impl Strategy<Value = Concern> {
    one_of(&[
        Concern::PublicData,
        Concern::WildcardPrivileges,
        Concern::Tags,
        Concern::Size,
        Concern::Encryption,
        Concern::Custom,
    ])
}

pub(super) fn effects() -> impl Strategy<Value = PolicyEffect> {
    one_of(&[PolicyEffect::Note, PolicyEffect::Warn, PolicyEffect::Deny])
}

pub(super) fn findings() -> impl Strategy<Value = Finding> {
    let small = || 0_u8..2;
    let aliases = proptest::collection::vec(one_of(&["a0".to_owned(), "a1".to_owned()]), 0..2);
    (small(), small(), small(), severities(), proptest::option::of(small()), any::<bool>(), aliases).prop_map(
        |(rule, print, subject, severity, file, fix, aliases)| Finding {
            rule: format!("r{rule}"),
            fingerprint: digest(&format!("r{rule} {print}")),
            title: format!("t{print}"),
            severity,
            file: file.map(|file| format!("f{file}")),
            line: file.map(u32::from),
            subject: Some(format!("s{subject}")),
            fix: fix.then(|| format!("upgrade as {print}")),
            disputed: fix,
            aliases,
        },
    )
}

fn some<T: core::fmt::Debug>(of: impl Strategy<Value = T>, most: usize) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::vec(of, 0..=most)
}

fn scans() -> impl Strategy<Value = rollout_rules::gate::facts::Scan> {
    let tools = one_of(&["one", "two", "three"]);
    (scan_kinds(), tools, any::<bool>(), some(findings(), 2), prop_oneof![4 => Just(0), 1 => Just(7_u64)])
        .prop_map(|(kind, tool, proven, findings, unlisted)| {
            let mut scan = scan(kind, tool);
            if !proven {
                scan.proof = Proof::Missing(format!("{tool} did not look"));
            }
            scan.total = findings.len() as u64 + unlisted;
            scan.findings = findings;
            scan
        })
}

fn runs() -> impl Strategy<Value = TestRun> {
    let names = one_of(&["t0".to_owned(), "suite.t1".to_owned(), "t0[1]".to_owned()]);
    (0_u64..3, 0_u64..2, any::<bool>(), some(findings(), 1), some(names, 3)).prop_map(
        |(passed, unlisted, contract, failures, ran)| TestRun {
            passed,
            failed: failures.len() as u64 + unlisted,
            contract,
            failures,
            ran,
            ..TestRun::default()
        },
    )
}

fn reports() -> impl Strategy<Value = Coverage> {
    let lines = || one_of(&[0_u64, 19, 20, 100]);
    (lines(), lines(), proptest::option::of((lines(), lines()))).prop_map(|(lines, covered, changed)| {
        Coverage {
            lines,
            covered,
            changed: changed.map(|(lines, covered)| ChangedLines { lines, covered }),
            ..Coverage::default()
        }
    })
}

fn sboms() -> impl Strategy<Value = Sbom> {
    let licences =
        one_of(&[Licence::Permissive, Licence::WeakCopyleft, Licence::StrongCopyleft, Licence::Unknown]);
    let components = (one_of(&["x", "y"]), licences).prop_map(|(name, licence)| component(name, licence));
    (some(components, 3), prop_oneof![4 => Just(0), 1 => Just(3_u64)]).prop_map(|(components, unlisted)| {
        Sbom { total: components.len() as u64 + unlisted, components, ..Sbom::default() }
    })
}

fn attestations() -> impl Strategy<Value = rollout_rules::gate::facts::Attestation> {
    let mut foreign = provenance();
    foreign.builder = "https://evil.example.org".into();
    let claims = one_of(&[
        Claim::Artifact,
        Claim::Sbom,
        Claim::Provenance(provenance()),
        Claim::Provenance(foreign),
        Claim::TestResult { passed: true },
        Claim::TestResult { passed: false },
        Claim::Verification { verifier: "v".into(), passed: false },
        Claim::SecretAudit { app: "shop".into(), harmless: vec![digest("r0 0"), digest("r1 1")] },
        Claim::SecretAudit { app: "other".into(), harmless: vec![digest("r0 1")] },
    ]);
    let mut other = signer();
    other.key = digest("another key");
    let signers =
        one_of(&[Ok(signer()), Ok(signer()), Ok(other), Err(Untrusted::Unsigned), Err(Untrusted::Mismatch)]);
    (claims, signers, 0_u8..2, any::<bool>()).prop_map(|(claim, signer, piece, about_it)| {
        let mut attestation = attests(claim);
        attestation.signer = signer;
        attestation.piece = digest(&format!("p{piece}"));
        if !about_it {
            attestation.subjects.clear();
        }
        attestation
    })
}

fn statements() -> impl Strategy<Value = Exploitability> {
    use ExploitabilityStatus::{Affected, Fixed, NotAffected};
    let status = one_of(&[NotAffected, NotAffected, Affected, Fixed]);
    (one_of(&["r0", "r1", "a0"]), status, any::<bool>()).prop_map(|(vulnerability, status, signed)| {
        Exploitability {
            piece: digest("vex"),
            vulnerability: vulnerability.into(),
            products: vec!["s0".into()],
            status,
            justification: Some("code_not_reachable".into()),
            signer: signed.then(signer),
        }
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let files = (0_u8..3, some(one_of(&["t0".to_owned(), "t1".to_owned(), "t2".to_owned()]), 2))
        .prop_map(|(nth, tests)| SourceFile { path: format!("f{nth}"), functions: 1, tests });
    let verdicts = (concerns(), effects(), findings()).prop_map(|(concern, effect, finding)| PolicyFinding {
        effect,
        concern,
        finding,
    });
    (
        (some(scans(), 5), some(runs(), 2), some(reports(), 2), some(sboms(), 2)),
        (some(files, 3), some(verdicts, 2), some(attestations(), 5), some(statements(), 2)),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((scans, tests, coverage, sboms), (files, verdicts, attestations, exploitability), has)| {
                let mut facts = Build::clean(TIERS[0]).facts;
                let (keeps_scans, has_plan, has_inventory, describes) = has;
                if !keeps_scans {
                    facts.scans.clear();
                }
                facts.scans.extend(scans);
                (facts.tests, facts.coverage, facts.sboms) = (tests, coverage, sboms);
                facts.presence[0].files = files;
                facts.plans[0].verdicts = verdicts;
                if !has_plan {
                    facts.plans.clear();
                }
                if !describes {
                    facts.inventory[0].infrastructure.clear();
                }
                if !has_inventory {
                    facts.inventory.clear();
                }
                facts.attestations.extend(attestations);
                facts.exploitability = exploitability;
                facts
            },
        )
}

/// Waivers of what is found, and broken glass.
fn waivers() -> impl Strategy<Value = Vec<Waiver>> {
    let one = (findings(), one_of(&CheckName::ALL), 1_u64..40, proptest::bool::weighted(0.2), 0_u8..9);
    let one = one.prop_map(|(finding, check, days, broken, id)| {
        let waiver = if broken { glass(check) } else { waiver(check, &finding, START) };
        let id = WaiverId::new(&format!("w{id}")).expect("an id");
        Waiver { id, expires_at: START.plus(DurationMs(days * DAY.0)), ..waiver }
    });
    some(one, 5).prop_map(|mut waivers| {
        waivers.sort_by(|one, other| one.id.cmp(&other.id));
        waivers.dedup_by(|one, other| one.id == other.id);
        waivers
    })
}

fn levels() -> impl Strategy<Value = Level> {
    one_of(&[Level::Off, Level::Note, Level::Warn, Level::Deny])
}

/// The policy of a tier with other levels and bounds.
fn tier_policies(from: TierPolicy) -> impl Strategy<Value = TierPolicy> {
    let levels = proptest::collection::vec(levels(), 22);
    let percent = || proptest::option::of(0_u8..=100);
    (levels, percent(), percent(), 1_u8..=4, 1_u64..=90, any::<bool>()).prop_map(
        move |(levels, warn, deny, scanners, days, approver)| {
            let mut it = from.clone();
            let infrastructure = &mut it.infrastructure;
            let places = [
                &mut it.secrets.level,
                &mut it.tests_present,
                &mut it.tests_pass,
                &mut it.contract_tests,
                &mut it.coverage.missing,
                &mut it.code,
                &mut infrastructure.missing,
                &mut infrastructure.public_data,
                &mut infrastructure.encryption,
                &mut infrastructure.tags,
                &mut infrastructure.size,
                &mut infrastructure.findings,
                &mut it.sbom.missing,
                &mut it.sbom.unsigned,
                &mut it.licences.unknown,
                &mut it.licences.strong_copyleft,
                &mut it.vulnerabilities.critical,
                &mut it.vulnerabilities.high,
                &mut it.vulnerabilities.missing,
                &mut it.signature,
                &mut it.provenance,
                &mut it.identity,
            ];
            for (place, level) in places.into_iter().zip(levels) {
                *place = level;
            }
            it.coverage.deny_below_percent = deny;
            it.coverage.warn_below_percent = warn.map(|warn| warn.max(deny.unwrap_or(0)));
            it.secrets.scanners = scanners;
            it.decision_life_ms = DurationMs::days(days);
            it.waivers.approver = if approver { Role::Platform } else { Role::Security };
            it
        },
    )
}

pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let default = Policy::default();
    let tiers = [&default.tiers.tier0, &default.tiers.tier1, &default.tiers.tier2];
    let [zero, one, two] = tiers.map(|tier| tier_policies(tier.clone()));
    let random = (zero, one, two).prop_map(move |(tier0, tier1, tier2)| {
        let mut policy = default.clone();
        (policy.tiers.tier0, policy.tiers.tier1, policy.tiers.tier2) = (tier0, tier1, tier2);
        policy
    });
    prop_oneof![1 => Just(Policy::default()), 3 => random]
}

pub(super) fn builds() -> impl Strategy<Value = Build> {
    (facts(), policies(), waivers(), one_of(&TIERS), any::<bool>()).prop_map(
        |(facts, policy, waivers, tier, said)| {
            let clean = Build::clean(tier);
            let source = clean.source.clone().filter(|_| said);
            Build { facts, policy, waivers, source, ..clean }
        },
    )
}

/// The same facts in another order.
pub(super) fn shuffled(facts: Facts) -> BoxedStrategy<Facts> {
    let lists = (
        (Just(facts.pieces.clone()).prop_shuffle(), Just(facts.scans.clone()).prop_shuffle()),
        (Just(facts.tests.clone()).prop_shuffle(), Just(facts.coverage.clone()).prop_shuffle()),
        (Just(facts.sboms.clone()).prop_shuffle(), Just(facts.attestations.clone()).prop_shuffle()),
        (Just(facts.exploitability.clone()).prop_shuffle(), Just(facts.presence.clone()).prop_shuffle()),
    );
    lists
        .prop_map(
            move |(
                (pieces, mut scans),
                (mut tests, coverage),
                (mut sboms, attestations),
                (vex, mut presence),
            )| {
                // What is in each, the other way round.
                scans.iter_mut().for_each(|it| it.findings.reverse());
                sboms.iter_mut().for_each(|it| it.components.reverse());
                for run in &mut tests {
                    run.ran.reverse();
                    run.failures.reverse();
                }
                for it in &mut presence {
                    it.files.reverse();
                    it.files.iter_mut().for_each(|file| file.tests.reverse());
                }
                let mut plans = facts.plans.clone();
                plans.iter_mut().for_each(|plan| plan.verdicts.reverse());
                let exploitability = vex;
                Facts {
                    pieces,
                    scans,
                    tests,
                    coverage,
                    sboms,
                    attestations,
                    exploitability,
                    presence,
                    plans,
                    ..facts.clone()
                }
            },
        )
        .boxed()
}
