//! One finding that several reports tell of: it is listed and counted once, and being one excuses nothing.

use proptest::prelude::*;
use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{Code, Infrastructure, Secrets};
use rollout_rules::gate::facts::{Facts, Finding, ScanKind, Severity};
use rollout_rules::gate::policy::Level::{Note, Warn};
use rollout_rules::ids::WaiverId;
use rollout_rules::time::DAY;

use super::build::{Build, digest, finding, found, scan};
use super::random::builds;
use super::waivers::waiver;
use crate::world::START;

/// A public bucket on a line, as a report that calls it so finds it.
fn bucket(called: &str, severity: Severity) -> Finding {
    Finding {
        fingerprint: digest(called),
        title: called.into(),
        file: Some("infra/main.tf".into()),
        line: Some(20),
        ..finding("CKV_AWS_53", severity)
    }
}

/// What another report of the same tool found: it is named `checkov.sarif`.
fn in_sarif(facts: &mut Facts, kind: ScanKind, finding: Finding) {
    let mut piece = facts.pieces[0].clone();
    (piece.digest, piece.name) = (digest("checkov.sarif"), "checkov.sarif".into());
    facts.pieces.push(piece);
    let mut other = scan(kind, "checkov.sarif");
    (other.findings, other.total) = (vec![finding], 1);
    facts.scans.push(other);
}

fn told_twice() -> Build {
    Build::with(Tier::One, |facts| {
        let mut piece = facts.pieces[0].clone();
        (piece.digest, piece.name) = (digest("checkov"), "checkov.json".into());
        facts.pieces.push(piece);
        found(facts, ScanKind::Infrastructure, bucket("as JSON", Severity::High));
        in_sarif(facts, ScanKind::Infrastructure, bucket("as SARIF", Severity::High));
    })
}

#[test]
fn what_two_reports_tell_of_is_one_finding_that_names_both() {
    let check = told_twice().check(Infrastructure);
    assert_eq!((check.total, check.level), (1, Warn));
    assert_eq!(check.found, "1 finding in the infrastructure");
    let [only] = &check.findings[..] else { panic!("{:?}", check.findings) };
    assert_eq!(only.reports, ["checkov.json", "checkov.sarif"]);
    let named = [vec![only.finding.fingerprint], only.also.clone()].concat();
    let mut both = vec![digest("as JSON"), digest("as SARIF")];
    both.sort();
    assert_eq!(
        {
            let mut named = named;
            named.sort();
            named
        },
        both,
        "either name can be waived"
    );
}

#[test]
fn a_finding_that_two_reports_tell_of_counts_until_each_of_its_names_is_waived() {
    let mut build = told_twice();
    let json = waiver(Infrastructure, &bucket("as JSON", Severity::High), START.plus(DAY));
    let mut sarif = waiver(Infrastructure, &bucket("as SARIF", Severity::High), START.plus(DAY));
    sarif.id = WaiverId::new("v").expect("an id");
    build.waivers = vec![json.clone()];
    let check = build.check(Infrastructure);
    assert_eq!((check.level, check.total), (Warn, 1), "a report was added that nobody waived");
    assert_eq!(
        check.findings[0].finding.fingerprint,
        digest("as SARIF"),
        "what is left to waive comes first"
    );
    assert_eq!(check.findings[0].excused, None);
    build.waivers.push(sarif);
    let judged = build.judge();
    let check = &judged.checks[8];
    assert_eq!((check.name, check.level), (Infrastructure, Note));
    assert!(check.findings[0].excused.is_some());
    assert_eq!(judged.waivers.len(), 2, "it stands on both");
}

#[test]
fn the_sternest_of_two_reports_counts() {
    for turned in [false, true] {
        let mut build = Build::with(Tier::One, |facts| {
            found(facts, ScanKind::Code, bucket("mild", Severity::Low));
            in_sarif(facts, ScanKind::Code, bucket("stern", Severity::High));
        });
        if turned {
            build.facts.scans.reverse();
            build.facts.pieces.reverse();
        }
        let check = build.check(Code);
        assert_eq!((check.level, check.total, check.findings.len()), (Warn, 1, 1));
        assert_eq!(check.findings[0].finding.severity, Severity::High);
    }
}

#[test]
fn another_rule_or_another_line_is_another_finding() {
    let mut build = told_twice();
    let mut other = bucket("elsewhere", Severity::High);
    other.line = Some(21);
    found(&mut build.facts, ScanKind::Infrastructure, other);
    let mut other = bucket("otherwise", Severity::High);
    other.rule = "CKV_AWS_54".into();
    found(&mut build.facts, ScanKind::Infrastructure, other);
    assert_eq!(build.check(Infrastructure).total, 3);
    // Nor are two files without a line the same.
    let mut build = Build::with(Tier::One, |facts| {
        for name in ["one", "other"] {
            let secret = Finding { line: None, ..bucket(name, Severity::High) };
            found(facts, ScanKind::Secrets, secret);
        }
    });
    assert_eq!(build.check(Secrets).total, 2);
    build.facts.scans.iter_mut().for_each(|scan| scan.total += 3);
    assert_eq!(build.check(Secrets).total, 8, "what is counted and not listed may be anything");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_report_told_again_under_other_names_changes_no_count_and_makes_nothing_milder(build in builds()) {
        let before = build.judge();
        let mut again = build;
        let mut more = again.facts.scans.clone();
        for scan in &mut more {
            scan.findings.retain(|it| it.file.is_some() && it.line.is_some());
            scan.findings.iter_mut().for_each(|it| it.fingerprint = digest(&format!("again {}", it.fingerprint)));
            scan.total = scan.findings.len() as u64;
        }
        more.retain(|scan| scan.kind != ScanKind::Vulnerabilities && !scan.findings.is_empty());
        again.facts.scans.extend(more);
        let after = again.judge();
        prop_assert!(after.verdict >= before.verdict);
        for (before, after) in before.checks.iter().zip(&after.checks) {
            prop_assert_eq!(before.total, after.total, "{}", before.name);
        }
    }
}
