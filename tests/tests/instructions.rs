//! That hot paths take no more instructions than was accepted. Time says little of it where others share the machine.

use tidegate_tests::instructions::{Accepted, Measured, NAMES, UNCHANGED_100, UNCHANGED_5000};
use tidegate_tests::instructions::{checks, in_process, kill, refusals, reports, unchanged};

/// An answer that nothing changed may take so much more for the flags that there are.
const FOR_MANY_FLAGS: f64 = 0.02;

#[track_caller]
fn take_what_was_accepted(measured: &[Measured]) {
    match Accepted::read().judge(measured) {
        Ok(said) => print!("{said}"),
        Err(said) => panic!("\n{said}"),
    }
}

#[test]
#[cfg_attr(
    not(has_accepted_counters),
    ignore = "NOT TESTED: other tools than instructions were counted with"
)]
fn checks_over_http_take_no_more_instructions_than_was_accepted() {
    take_what_was_accepted(&checks());
}

#[test]
#[cfg_attr(not(has_valgrind), ignore = "NOT TESTED: nothing here counts instructions")]
fn an_answer_that_nothing_changed_costs_the_same_however_many_flags_there_are() {
    let measured = unchanged();
    let of = |name: &str| {
        let found = measured.iter().find(|measured| measured.name == name).expect("it is counted");
        f64::from(u32::try_from(found.count.instructions).expect("some ten thousand"))
    };
    let more = of(UNCHANGED_5000) / of(UNCHANGED_100) - 1.0;
    assert!(more.abs() <= FOR_MANY_FLAGS, "with 5,000 flags it takes {:+.2} %", more * 100.0);
}

#[test]
#[cfg_attr(
    not(has_accepted_counters),
    ignore = "NOT TESTED: other tools than instructions were counted with"
)]
fn an_answer_that_nothing_changed_takes_no_more_instructions_than_was_accepted() {
    take_what_was_accepted(&unchanged());
}

#[test]
#[cfg_attr(
    not(has_accepted_counters),
    ignore = "NOT TESTED: other tools than instructions were counted with"
)]
fn refusals_take_no_more_instructions_than_was_accepted() {
    take_what_was_accepted(&refusals());
}

#[test]
#[cfg_attr(
    not(has_accepted_counters),
    ignore = "NOT TESTED: other tools than instructions were counted with"
)]
fn a_kill_takes_no_more_instructions_a_client_than_was_accepted() {
    take_what_was_accepted(&kill());
}

#[test]
#[cfg_attr(
    not(has_accepted_counters),
    ignore = "NOT TESTED: other tools than instructions were counted with"
)]
fn outcomes_take_no_more_instructions_than_was_accepted() {
    take_what_was_accepted(&reports());
}

#[test]
#[cfg_attr(
    not(has_accepted_counters),
    ignore = "NOT TESTED: other tools than instructions were counted with"
)]
fn checks_in_process_take_no_more_instructions_than_was_accepted() {
    take_what_was_accepted(&in_process());
}

#[test]
fn whatever_is_counted_was_accepted_and_nothing_else() {
    let accepted = Accepted::read();
    let mut names = NAMES;
    names.sort_unstable();
    assert!(accepted.names().eq(names), "make accept-instructions");
}
