//! Releases, as far as what is watched hangs on them.

use rollout_rules::release::ArtifactDigest;
use rollout_rules::runbook::Acting;

use super::super::asks;
use super::*;

fn artifact(nth: u8) -> Option<ArtifactDigest> {
    Some(key(&format!("sha256:{nth:064x}")))
}

/// What is wanted while an artifact runs; without a revision the flag is off.
fn while_runs(artifact: Option<ArtifactDigest>, revision: Option<u64>) -> Wanted {
    let mut all = wanted(revision.unwrap_or(0), revision.unwrap_or(0));
    all.artifact = artifact;
    if revision.is_none() {
        all.splits.clear();
    }
    all
}

#[test]
fn the_same_artifact_tried_again_goes_on_where_it_was_whatever_is_restarted_in_between() {
    for restarted in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watching = begin(folder.path());
        let mut number = 0;
        let mut step = |watching: &mut Watching, artifact, revision: Option<u64>, bad| {
            if restarted && (revision.is_some() || number % 40 == 0) {
                *watching = reloaded(folder.path());
            }
            let wanted = while_runs(artifact, revision);
            watching.step(&wanted, slot(number, bad, revision.unwrap_or(0)), None);
            number += 1;
            if revision.is_some() {
                assert_same(watching, &reloaded(folder.path()), &format!("slot {number}"));
            }
        };
        step(&mut watching, artifact(1), Some(7), 1);
        step(&mut watching, artifact(1), Some(7), 60);
        assert_eq!(watching.pending.len(), 1);
        // It is taken back, and past the slot at which all is kept anew.
        for _ in 0..190 {
            step(&mut watching, artifact(1), None, 0);
        }
        assert!(watching.pending.is_empty());
        step(&mut watching, artifact(1), Some(9), 0);
        let [pending] = &watching.pending[..] else { panic!("{:?}", watching.pending) };
        assert_eq!(pending.proposed.measured.as_ref().map(|it| it.revision), Some(Revision(9)));
        let why = pending.proposed.reason.to_string();
        assert!(why.contains("is of the same artifact, and goes on counting"), "{why}");
        // Another one begins anew, and what was to be done about the first is not done to it.
        step(&mut watching, artifact(2), Some(9), 0);
        assert!(watching.pending.is_empty());
        for _ in 0..20 {
            step(&mut watching, artifact(2), Some(9), 1);
        }
        assert!(watching.pending.is_empty());
    }
}

#[test]
fn what_somebody_changed_under_an_act_is_watched_anew_although_the_same_artifact_runs() {
    for restarted in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watching = begin(folder.path());
        watching.step(&while_runs(artifact(1), Some(7)), slot(0, 60, 7), None);
        watching.begin_anew(&key("checkout"), &key(".exposure"));
        if restarted {
            watching.close();
            watching = reloaded(folder.path());
        }
        let mut changed = while_runs(artifact(1), Some(9));
        changed.splits[0].rollout = Some(UnixMs(7));
        for number in 1..3 {
            watching.step(&changed, slot(number, 1, 9), None);
            assert!(watching.pending.is_empty(), "{:?}", watching.pending);
            assert_same(&watching, &reloaded(folder.path()), "the same is known after a restart");
        }
        let states: Vec<State> = watching.watch().verdicts().map(|(.., verdict)| verdict.state).collect();
        assert_eq!(states, [State::Ok]);
    }
}

#[test]
fn what_is_found_of_a_flag_names_what_ran_and_waits_where_something_else_does() {
    let mut watching = Watching::new(None, &key("shop"), &key("live"), BEGAN);
    watching.step(&while_runs(artifact(1), Some(7)), slot(0, 60, 7), None);
    let ask = asks::act(&watching, &watching.pending[0]).expect("it is served");
    let rollout_rules::change::Command::Act { acting } = ask.command else { panic!("{:?}", ask.command) };
    assert_eq!((acting.flag.is_some(), acting.artifact), (true, artifact(1)));
    // Nothing is known to run there.
    let (lowers, tells) = super::super::due(&mut watching, &Snapshot::default(), true, BEGAN.ends_at());
    assert_eq!((lowers.len(), tells.len(), watching.pending.len()), (0, 0, 1));
}

#[test]
fn where_nobody_tells_what_runs_nothing_is_told_of_it_and_each_rollout_begins_anew() {
    let mut watching = Watching::new(None, &key("shop"), &key("live"), BEGAN);
    watching.step(&while_runs(None, Some(7)), slot(0, 60, 7), None);
    assert_eq!(watching.pending.len(), 1);
    watching.step(&while_runs(None, None), slot(1, 0, 0), None);
    watching.step(&while_runs(None, Some(9)), slot(2, 1, 9), None);
    assert!(watching.pending.is_empty());
    assert!(watching.told().inputs().iter().all(|input| !matches!(input, Input::Released { .. })));
}

/// A slot in which every request took so long.
fn timed(number: u32, us: u64) -> AppSlot {
    let mut all = slot(number, 0, 7);
    for part in all.splits.iter_mut().flat_map(|split| &mut split.parts) {
        part.outcomes.latency.add(us, 100);
    }
    all
}

#[test]
fn without_a_control_an_app_is_compared_with_the_same_hour_of_the_release_before_and_reverted_by_its_name() {
    const HOUR: u32 = 360;
    let mut watching = Watching::new(None, &key("shop"), &key("live"), BEGAN);
    let rule: Guardrail = key("latency_p95 > 2x baseline for 3m -> revert release");
    let mut step = |number: u32, nth: u8, us: u64| {
        let wanted = Wanted { rules: vec![rule.clone()], ..while_runs(artifact(nth), Some(7)) };
        watching.step(&wanted, timed(number, us), None);
        let found = watching.pending.iter().find(|pending| pending.proposed.measured.is_none());
        let ask = found.and_then(|pending| asks::act(&watching, pending));
        ask.map(|ask| match ask.command {
            rollout_rules::change::Command::Act { acting } => *acting,
            other => panic!("{other:?}"),
        })
    };
    // A first release is compared with nothing, however slow it becomes.
    for number in 0..HOUR {
        assert_eq!(step(number, 1, if number < 300 { 100_000 } else { 900_000 }), None, "{number}");
    }
    // The next one a day later is, at the same hour, and at no other.
    let day = 24 * HOUR;
    for number in day - 30..day {
        assert_eq!(step(number, 2, 5_000_000), None, "{number}");
    }
    let found =
        (day..day + HOUR).find_map(|number| step(number, 2, 2_000_000).map(|acting| (number, acting)));
    let (number, Acting { artifact: of, measured, flag, .. }) = found.expect("it is slower by far");
    // P95 of the first was 900 ms.
    assert_eq!((number, of, measured, flag), (day + 17, artifact(2), None, None));
    // What goes back to the first is not reverted for it.
    for number in day + 40..day + 80 {
        assert_eq!(step(number, 1, 1_700_000), None, "{number}");
    }
}
