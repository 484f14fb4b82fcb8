//! Pages in a real Chromium against the real server. What happens in each case is written where pages are, in
//! `clients/browser/cases`; how they look is kept in `target/browser`.

use std::process::Command;

use tidegate_tests::prerequisites::repository;
use tidegate_tests::tidegate;

macro_rules! cases {
    ($($case:ident)*) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];
        $(
            #[test]
            #[cfg_attr(
                not(all(has_browser, has_wasm)),
                ignore = "needs Chromium and the SDK for JavaScript: make clients wasm"
            )]
            fn $case() {
                run(&[stringify!($case)]);
            }
        )*
    };
}

cases! {
    a_flag_that_expires_while_the_server_is_away_goes_off_on_the_open_page_and_on_one_opened_later
    a_key_for_servers_is_refused_in_a_page
    a_kill_reaches_an_open_page
    a_page_that_cannot_hear_of_a_kill_waits_no_longer_than_it_was_told_and_shows_the_flag_as_off
    a_page_that_is_left_tells_what_became_of_what_it_was_served
    a_page_that_was_closed_when_its_flag_was_killed_never_shows_it_again
    a_page_whose_server_is_down_goes_on_with_what_it_has_and_comes_back
    a_page_without_a_build_step_loads_the_sdk_from_the_server_and_shows_its_flags
    a_policy_without_webassembly_leaves_the_page_with_its_fallbacks
    a_react_app_renders_again_on_a_kill
    a_silent_stream_is_given_up_and_what_was_missed_arrives
    a_tab_that_is_hidden_lets_its_stream_go_and_catches_up
    a_wrong_key_answers_fallbacks_and_breaks_nothing
    another_site_is_refused_and_the_named_one_is_not
    fifty_flags_flip_at_once
    memory_stays_flat_over_ten_thousand_changes
    openfeature_hears_of_kills_of_absence_and_of_another_context
    tabs_share_one_stream
    tabs_that_do_not_want_to_share_have_a_stream_each
    the_strict_policies_of_the_readme_are_enough_for_each_way_of_loading
}

#[test]
#[cfg_attr(
    not(all(has_browser, has_wasm)),
    ignore = "needs Chromium and the SDK for JavaScript: make clients wasm"
)]
fn every_case_that_is_written_is_run() {
    let said = run(&[]);
    let mut written: Vec<&str> = said.lines().collect();
    written.sort_unstable();
    assert_eq!(written, CASES);
}

/// Runs one case, or says which there are.
fn run(words: &[&str]) -> String {
    let script = repository().join("tests/clients/browser/run.mjs");
    let mut node = Command::new("node");
    let ended = node.arg(script).args(words).env("TIDEGATE_BIN", tidegate()).output().expect("node runs");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    print!("{said}");
    said
}
