//! The laws of the log hold in ten thousand histories of lagging nodes; and each of them is alive: a
//! server with a mistake in it breaks the law that forbids the mistake.
//!
//! A seed that fails can be replayed: `cargo run -p tidegate-tests --bin simulate -- SEED [MUTATION]`.

use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_tests::simulation::{Law, Mutation, run, run_traced};

/// Within so many seeds a mistake has to show.
const SEEDS_TO_FIND_A_MISTAKE: u64 = 1_500;

fn no_law_is_broken_in(seeds: Range<u64>) {
    for seed in seeds {
        let outcome = run(seed, None);
        if let Some(broken) = outcome.violations.first() {
            panic!(
                "seed {seed} breaks {}: {}\nreplay it: cargo run -p tidegate-tests --bin simulate -- {seed}",
                broken.law, broken.what
            );
        }
    }
}

/// The ten thousand, in parts that run side by side.
macro_rules! histories {
    ($($name:ident: $seeds:expr;)*) => {
        $(#[test]
        fn $name() {
            no_law_is_broken_in($seeds);
        })*
    };
}

histories! {
    no_law_is_broken_in_the_first_2500_histories: 0..2_500;
    no_law_is_broken_in_the_second_2500_histories: 2_500..5_000;
    no_law_is_broken_in_the_third_2500_histories: 5_000..7_500;
    no_law_is_broken_in_the_fourth_2500_histories: 7_500..10_000;
}

/// Looks for the first seed in which a mistake breaks the law that it should, and makes sure that it is
/// the mistake that does.
fn is_caught(mutation: Mutation) {
    for law in mutation.breaks() {
        let found = (0..SEEDS_TO_FIND_A_MISTAKE)
            .find(|seed| run(*seed, Some(mutation)).violations.iter().any(|broken| broken.law == *law));
        let Some(seed) = found else {
            panic!("{mutation:?} breaks {law} in none of {SEEDS_TO_FIND_A_MISTAKE} seeds");
        };
        no_law_is_broken_in(0..seed + 1);
    }
}

macro_rules! mistakes {
    ($($name:ident: $mutation:ident;)*) => {
        $(#[test]
        fn $name() {
            is_caught(Mutation::$mutation);
        })*

        const TRIED: &[Mutation] = &[$(Mutation::$mutation),*];
    };
}

mistakes! {
    a_seen_revision_that_is_refreshed_lets_stale_commands_through: RefreshSeen;
    an_append_that_expects_only_a_place_follows_an_entry_that_was_not_seen: ExpectPositionOnly;
    automation_that_does_not_decide_again_acts_twice: AppendWithoutDecidingAgain;
    an_append_repeated_without_looking_is_there_twice: RepeatWithoutLooking;
    an_append_that_is_not_recognised_in_the_tail_is_decided_again: LoseTrack;
    a_retry_under_a_new_key_is_another_request: RetryUnderNewKey;
    a_kill_that_takes_its_turn_does_not_arrive: KillBounded;
    a_kill_without_an_overlay_waits_for_the_log: NoOverlay;
    an_overlay_that_ends_early_leaves_a_gap: OverlayEndsEarly;
    a_forgotten_journal_loses_kills: ForgetJournal;
    a_kill_under_a_new_name_counts_twice: JournalRenamesKills;
    what_is_published_before_it_is_durable_may_never_have_been: PublishBeforeDurable;
    what_is_answered_before_it_is_durable_may_not_be_true: AnswerBeforeDurable;
    a_node_that_misses_an_entry_differs: SkipEntry;
    a_node_that_steps_over_what_it_does_not_know_differs: SkipUnknownEntry;
    an_effect_claimed_without_deciding_runs_twice: ClaimWithoutDeciding;
    an_act_on_what_is_served_now_acts_on_what_nobody_measured: ActOnWhatIs;
    a_node_that_forgets_causes_acts_twice: ForgetCauses;
    a_node_that_does_not_count_acts_leaves_nothing_to_people: ForgetCap;
    a_checkpoint_without_acts_forgets_what_was_acknowledged: CheckpointWithoutActs;
    an_evaluator_that_takes_its_hold_back_raises: GiveBack;
    a_job_written_down_before_it_is_called_is_never_done: FinishBeforeCalling;
    a_key_for_each_attempt_makes_a_job_run_twice: KeyOfTheAttempt;
    an_effect_run_before_it_is_durable_has_no_claim: RunBeforeDurable;
    an_anchor_on_what_may_never_be_does_not_hold: AnchorOnSpeculation;
    an_agent_that_passes_for_a_human_raises_in_production: AgentPassesForHuman;
    an_approval_in_another_name_lets_people_approve_for_themselves: ApproveForOthers;
    a_gate_that_nobody_asks_lets_everything_through: GateUnasked;
    a_timer_ahead_of_time_makes_steps_early: TimerAheadOfTime;
}

#[test]
fn every_mistake_is_tried_and_every_law_has_one_that_breaks_it() {
    assert_eq!(TRIED, Mutation::ALL);
    for law in Law::ALL {
        let broken = Mutation::ALL.iter().any(|mutation| mutation.breaks().contains(law));
        assert!(broken, "nothing shows that {law} is checked");
    }
}

#[test]
fn a_seed_is_the_same_history_every_time() {
    for seed in 0..20 {
        let (first, second) = (run_traced(seed, None), run_traced(seed, None));
        assert!(first.trace.len() > 20, "a trace says what happened");
        assert_eq!(first.trace, second.trace);
    }
}

/// A simulation in which nothing goes wrong, or nobody gets anything done, would prove nothing.
#[test]
fn everything_that_can_happen_does() {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..300 {
        for (what, times) in run(seed, None).counts {
            *counts.entry(what).or_default() += times;
        }
    }
    for what in [
        "acknowledgements lost",
        "acts asked for",
        "answers that it is done",
        "answers that nobody knows",
        "answers that nothing was left to do",
        "answers that the log is away",
        "appends delayed",
        "appends lost on their way",
        "appends of unknown outcome",
        "builds deployed",
        "builds judged",
        "checkpoints stored",
        "clock jumps",
        "doubts resolved: it was not written",
        "doubts resolved: it was written",
        "effects run",
        "entries of a newer program",
        "harm found by rules",
        "harm seen",
        "jobs called",
        "jobs called in vain",
        "kills answered before they were durable",
        "kills asked for",
        "kills found in a journal",
        "kills in effect ahead of the log",
        "kills offered again",
        "power failures that lost entries",
        "proposals asked for",
        "races lost",
        "requests repeated",
        "restarts",
        "rollouts that were due",
        "steps that fell due",
        "the log went away or came back",
        "unknown entries met",
        // Refusals, by their codes.
        "agents_only_propose",
        "approvals_needed",
        "effect_claimed",
        "expired",
        "gate_missing",
        "killed",
        "left_to_people",
        "own_approval",
        "proposal_closed",
        "stale",
    ] {
        let times = counts.get(what).copied().unwrap_or(0);
        assert!(times >= 3, "in 300 histories: {times} times: {what}");
    }
}
