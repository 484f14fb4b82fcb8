//! What is judged of the code: tests, coverage, analysers.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{Code, Coverage, TestsPass, TestsPresent};
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::facts::{
    ChangedLines, Claim, Coverage as Report, Facts, ScanKind, Severity, TestRun,
};
use rollout_rules::gate::policy::Level::{Deny, Note, Off, Warn};

use super::build::{Build, TIERS, attests, finding, found, unproven, without};

/// How it ends if a file's test is called so, and these ran.
fn present(
    test: &str,
    ran: &[&str],
) -> (rollout_rules::gate::decision::CheckState, rollout_rules::gate::policy::Level) {
    let build = Build::with(Tier::One, |facts| {
        facts.presence[0].files[0].tests = vec![test.into()];
        facts.tests[0].ran = ran.iter().map(|name| (*name).into()).collect();
    });
    build.ends(TestsPresent)
}

#[test]
fn a_test_that_is_there_and_did_not_run_is_none() {
    assert_eq!(present("test_total", &["test_total"]), (Passed, Off));
    assert_eq!(present("test_total", &[]), (Failed, Deny), "it was skipped");
    assert_eq!(present("test_total", &["tests/test_cart.py::test_total"]), (Passed, Off), "file before it");
    assert_eq!(
        present("test_total", &["tests.test_cart.TestCart.test_total"]),
        (Passed, Off),
        "class before it"
    );
    assert_eq!(present("adds up", &["cart adds up"]), (Passed, Off), "suite before it");
    assert_eq!(
        present("test_total", &["tests.test_subtest_total"]),
        (Failed, Deny),
        "another name that ends so"
    );
    assert_eq!(present("test_total", &["test_totals"]), (Failed, Deny));
    assert_eq!(present("test_total", &["tests.test_total[2-4]"]), (Passed, Off), "a case of it");
    assert_eq!(present("sums [1, 2]", &["sums [1, 2]"]), (Passed, Off), "brackets of its own");
}

#[test]
fn a_folder_without_source_files_needs_no_tests_for_them() {
    let build = Build::with(Tier::Two, |facts| {
        facts.presence[0].files.clear();
        facts.inventory[0].sources = 0;
    });
    assert_eq!(build.ends(TestsPresent), (Passed, Off));
}

#[test]
fn tests_that_fail_and_are_not_listed_count() {
    for listed in [0, 1, 2] {
        let build = Build::with(Tier::Zero, |facts| {
            facts.tests[0].failed = 2;
            facts.tests[0].failures =
                (0..listed).map(|nth| finding(&format!("test_{nth}"), Severity::High)).collect();
        });
        assert_eq!(build.ends(TestsPass), (Failed, Deny), "{listed} of 2");
        assert_eq!(build.check(TestsPass).total, 2);
    }
    let signed = Build::with(Tier::Zero, |facts| {
        facts.attestations.push(attests(Claim::TestResult { passed: false }))
    });
    assert_eq!(signed.ends(TestsPass), (Failed, Deny), "somebody trusted signed that they failed");
}

fn covered(lines: u64, covered: u64, changed: Option<(u64, u64)>) -> Report {
    let changed = changed.map(|(lines, covered)| ChangedLines { lines, covered });
    Report { lines, covered, changed, ..Report::default() }
}

#[test]
fn the_changed_lines_are_judged_if_a_diff_is_given_and_twenty_are_enough() {
    let ends =
        |reports: &[Report]| Build::with(Tier::One, |facts| facts.coverage = reports.to_vec()).ends(Coverage);
    assert_eq!(ends(&[covered(1_000, 1_000, Some((20, 7)))]), (Failed, Deny), "35 % of what changed");
    assert_eq!(ends(&[covered(1_000, 100, Some((20, 20)))]), (Passed, Off), "all of what changed");
    assert_eq!(ends(&[covered(1_000, 100, Some((19, 0)))]), (Passed, Off), "too few lines to judge");
    assert_eq!(ends(&[covered(19, 0, None)]), (Passed, Off));
    assert_eq!(ends(&[covered(20, 0, None)]), (Failed, Deny));
    assert_eq!(ends(&[covered(0, 0, None)]), (NoProof, Deny), "a report of nothing");
    assert_eq!(ends(&[covered(100, 100, None), covered(100, 50, None)]), (Failed, Warn), "the worst counts");
    assert_eq!(ends(&[covered(100, 200, None)]), (Passed, Off), "no more than all");
}

#[test]
fn analysers_count_from_high_on_and_nobody_has_to_have_one() {
    for (severity, levels) in [(Severity::Low, [Note; 3]), (Severity::High, [Note, Warn, Deny])] {
        for (tier, level) in TIERS.into_iter().zip(levels) {
            let build = Build::with(tier, |facts| found(facts, ScanKind::Code, finding("sql", severity)));
            assert_eq!(build.ends(Code), (Failed, level), "{severity:?} in {tier:?}");
        }
    }
    let none = Build::with(Tier::Two, |facts| without(facts, ScanKind::Code));
    assert_eq!(none.ends(Code), (NoProof, Note));
    let empty = |also: fn(&mut Facts)| {
        Build::with(Tier::Two, |facts| {
            unproven(facts, ScanKind::Code);
            also(facts);
        })
    };
    assert_eq!(empty(|_| ()).ends(Code), (NoProof, Deny));
    let mild = empty(|facts| found(facts, ScanKind::Code, finding("style", Severity::Low)));
    assert_eq!(mild.ends(Code), (Failed, Deny), "something mild proves no more");
    let unlisted = Build::with(Tier::Two, |facts| {
        found(facts, ScanKind::Code, finding("sql", Severity::High));
        facts.scans.iter_mut().filter(|scan| scan.kind == ScanKind::Code).for_each(|scan| scan.total = 2_000);
    });
    assert_eq!(unlisted.check(Code).total, 2_000);
}

#[test]
fn cases_of_several_runs_are_counted_together() {
    let build = Build::with(Tier::One, |facts| {
        facts.tests.push(TestRun { failed: 1, ..TestRun::default() });
    });
    assert_eq!(build.ends(TestsPass), (Failed, Deny));
    assert!(build.check(TestsPass).found.contains("1 of 4 tests fail"));
}

#[test]
fn a_failure_that_is_waived_shows_nothing_where_no_test_passed() {
    let failure = finding("test_total", Severity::High);
    for (passed, level) in [(1, Note), (0, Deny)] {
        let mut build = Build::with(Tier::Zero, |facts| {
            (facts.tests[0].passed, facts.tests[0].failed) = (passed, 1);
            facts.tests[0].failures = vec![failure.clone()];
        });
        build.waivers =
            vec![super::waivers::waiver(TestsPass, &failure, build.now.plus(rollout_rules::time::DAY))];
        assert_eq!(build.ends(TestsPass), (Failed, level), "{passed} passed");
    }
}

/// A report of few bytes could otherwise fill all memory: each name is found by each of its parts.
#[test]
fn names_of_tests_are_held_up_to_a_bound_and_beyond_it_no_test_is_known_to_have_run() {
    let long = |nth: usize| format!("m{nth:05}{}", ".a".repeat(480));
    let many: Vec<String> = (0..1_500).map(long).collect();
    let with = |name: &'static str| {
        let ran: Vec<&str> = many.iter().map(String::as_str).chain([name]).collect();
        present("test_total", &ran)
    };
    assert_eq!(with("before.test_total").0, Passed);
    assert_eq!(with("z.test_total").0, Failed, "more was handed in than is held");
}
