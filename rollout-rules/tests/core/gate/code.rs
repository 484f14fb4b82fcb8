//! What is judged of the code: tests, coverage, analysers.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{Code, Coverage, TestsPass, TestsPresent};
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::facts::{
    ChangedLines, Claim, Coverage as Report, Facts, OfApp, ScanKind, Severity, TestRun,
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
fn groups_and_test_are_found_whatever_the_reporter_puts_between_them() {
    let test = "cart of many sums 1.5 up";
    for ran in [
        "cart of many.sums 1.5 up",
        "cart of many/sums 1.5 up",
        "cart › of many › sums 1.5 up",
        "shop.spec.ts.cart › of many › sums 1.5 up",
        "src/cart.test.ts.cart > of many > sums 1.5 up",
        "cart of many sums 1.5 up.cart of many sums 1.5 up",
    ] {
        let expected = if ran.contains("many/") { Failed } else { Passed };
        assert_eq!(present(test, &[ran]).0, expected, "{ran}");
    }
    assert_eq!(present(test, &["sums 1.5 up"]).0, Failed, "another test's title may be the same");
    assert_eq!(present("cart v1.sums it up.now", &["sums it up.now"]).0, Failed, "a title is no path");
    assert_eq!(present("backend.tests.test_cart.test_sum", &["tests.test_cart.test_sum"]).0, Passed);
}

#[test]
fn a_title_that_is_made_when_it_runs_is_found_by_what_stands_before_it() {
    assert_eq!(present("cart ${row.title}", &["cart.two of a kind"]).0, Passed);
    assert_eq!(present("adds ${x}", &["adds 4"]).0, Passed);
    assert_eq!(present("cart.test.js %i + %i", &["test/cart.test.js.1 + 1"]).0, Passed);
    assert_eq!(present("cart.test.js %i + %i", &["test/card.test.js.1 + 1"]).0, Failed);
    assert_eq!(present("cart ${row.title}", &["basket.two of a kind"]).0, Failed);
}

#[test]
fn what_did_not_run_is_told_with_a_name_to_look_for_and_what_to_do() {
    let build = Build::with(Tier::One, |facts| {
        facts.presence[0].files[0].tests = vec!["cart sums up".into(), "cart rounds".into()];
        facts.tests[0].ran = vec!["other".into()];
    });
    let told = &build.check(TestsPresent).findings[0].finding;
    assert_eq!(told.title, "none of its 2 tests ran: no report names `cart rounds`, to name one");
    assert!(told.fix.as_deref().is_some_and(|fix| fix.contains("JUnit")), "{told:?}");
}

#[test]
fn sources_without_a_function_need_no_tests_and_other_languages_are_told() {
    let with = |sources, read, files: bool| {
        Build::with(Tier::One, |facts| {
            facts.inventory[0].sources = sources;
            facts.presence[0].read = read;
            if !files {
                facts.presence[0].files.clear();
            }
        })
        .check(TestsPresent)
    };
    let none = with(2, Some(2), false);
    assert_eq!((none.level, none.found.as_str()), (Off, "2 source files, none with a function to test"));
    let other = with(5, Some(2), false);
    assert_eq!((other.state, other.level), (NoProof, Deny));
    assert!(other.found.ends_with("3 source files in languages whose tests are not seen"), "{}", other.found);
    assert_eq!(with(2, None, false).level, Deny, "a report that does not say what it read");
    assert_eq!(with(2, Some(0), false).level, Deny, "it looked elsewhere");
    let mixed = with(5, Some(2), true);
    let text = "1 source file, each with a test that ran; 3 source files in other languages not looked at";
    assert_eq!((mixed.level, mixed.found.as_str()), (Off, text));
    let old = with(5, None, true);
    assert_eq!(old.found, "1 source file, each with a test that ran", "it does not say what it read");
    let huge = with(u64::MAX, Some(u64::MAX), false);
    assert_eq!(huge.level, Off);
}

#[test]
fn a_folder_without_source_files_needs_no_tests_for_them() {
    let build = Build::with(Tier::Two, |facts| {
        facts.presence[0].files.clear();
        (facts.presence[0].read, facts.inventory[0].sources) = (Some(0), 0);
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
fn lines_of_files_that_no_report_lists_count_and_the_files_are_named() {
    let left_out = OfApp { measured: 1, left_out: 2, lines: 60, changed_lines: 30, ..OfApp::default() };
    let left_out = OfApp { named: vec!["src/bare.py".into(), "src/cart.py".into()], ..left_out };
    let build = |report: Report| {
        let report = Report { of_app: Some(left_out.clone()), ..report };
        Build::with(Tier::One, |facts| facts.coverage = vec![report])
    };
    let whole = build(covered(40, 40, None));
    assert_eq!(whole.ends(Coverage), (Failed, Warn));
    let told = whole.check(Coverage).found;
    assert!(
        told.starts_with("tests run 40.00 % of 100 lines, counting 60 lines of 2 source files"),
        "{told}"
    );
    assert!(told.contains("src/bare.py, src/cart.py"), "{told}");
    assert_eq!(build(covered(940, 940, None)).ends(Coverage), (Passed, Off), "60 of 1,000");
    assert_eq!(
        build(covered(40, 40, Some((10, 10)))).ends(Coverage),
        (Failed, Deny),
        "10 of 40 changed lines"
    );
    assert_eq!(
        build(covered(40, 40, Some((0, 0)))).ends(Coverage),
        (Failed, Deny),
        "the change is all in them"
    );
}

#[test]
fn a_report_of_other_code_is_none_of_the_app() {
    let foreign = || {
        let of_app =
            OfApp { is_foreign: true, left_out: 1, named: vec!["src/app.py".into()], ..OfApp::default() };
        Report { of_app: Some(of_app), ..covered(100, 100, None) }
    };
    let with = |tier, reports: Vec<Report>| Build::with(tier, |facts| facts.coverage = reports);
    for (tier, level) in TIERS.into_iter().zip([Note, Deny, Deny]) {
        assert_eq!(with(tier, vec![foreign()]).ends(Coverage), (NoProof, level), "{tier:?}");
    }
    let told = with(Tier::One, vec![foreign()]).check(Coverage).found;
    assert!(told.contains("no line of any source file of the app, such as src/app.py"), "{told}");
    let own = Report { of_app: Some(OfApp { measured: 1, ..OfApp::default() }), ..covered(100, 70, None) };
    assert_eq!(
        with(Tier::One, vec![own, foreign()]).ends(Coverage),
        (Passed, Off),
        "the app's own is there too"
    );
}

#[test]
fn tests_whose_names_were_not_kept_are_told_of_where_one_is_missed() {
    let build = Build::with(Tier::One, |facts| {
        facts.tests[0].ran = vec!["other".into()];
        facts.tests[0].unnamed = 7;
    });
    let check = build.check(TestsPresent);
    assert_eq!((check.state, check.level), (Failed, Deny));
    assert!(check.found.contains("a report holds 7 tests more than are looked at"), "{}", check.found);
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
