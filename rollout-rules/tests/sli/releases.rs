//! What another release means for what is watched, and the same artifact again.

use rollout_rules::ids::{FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{
    AppSlot, AppWatch, Gauges, Input, MAX_PARKED, News, Objectives, Outcomes, Part, Plan, Proposed, Reason,
    Recording, Slot, SplitSlot, State, UnitHash, Verdict, Week,
};
use rollout_rules::time::UnixMs;

/// 2027-01-15T08:00:00Z.
const START: Slot = Slot(180_000_000);
const HOUR: u32 = 360;
const WORSE: &str = "error_rate worse than control -> flag off";

fn artifact(nth: u8) -> ArtifactDigest {
    format!("sha256:{nth:064x}").parse().expect("a digest")
}

fn key(text: &str) -> VariantKey {
    VariantKey::new(text).expect("a key")
}

fn flag(nth: usize) -> FlagKey {
    FlagKey::new(&format!("flag-{nth:02}")).expect("a key")
}

fn split() -> SplitId {
    SplitId::new("all").expect("a key")
}

fn rules(texts: &[&str]) -> Vec<Guardrail> {
    texts.iter().map(|text| text.parse().expect("a rule")).collect()
}

/// A watch with what it was told, so that it can be told again.
struct Told {
    watch: AppWatch,
    recording: Recording,
    next: u32,
}

impl Told {
    fn begin(own: &[&str]) -> Told {
        let watch = AppWatch::new(rules(own), Objectives::default(), START);
        Told { recording: Recording { base: watch.clone(), inputs: vec![] }, watch, next: 0 }
    }

    fn tell(&mut self, input: Input) -> Vec<News> {
        let news = self.watch.fold(&input);
        self.recording.inputs.push(input);
        news
    }

    fn released(&mut self, artifact: Option<ArtifactDigest>) {
        self.tell(Input::Released { artifact });
    }

    /// A rollout of a flag is started, against a control.
    fn rollout(&mut self, nth: usize, revision: u64, texts: &[&str], control: &str) {
        let (flag, split) = (flag(nth), split());
        let rollout = Some(UnixMs(revision));
        self.tell(Input::Watch { flag: flag.clone(), split: split.clone(), rules: rules(texts), rollout });
        let weights = vec![(key("new"), 1), (key(control), 1)];
        let plan = Plan { revision: Revision(revision), control: Some(key(control)), weights };
        self.tell(Input::Plan { flag: flag.clone(), split: split.clone(), plan });
        self.tell(Input::RolloutRuns { flag, split, runs: true });
    }

    fn ended(&mut self, nth: usize) {
        self.tell(Input::Unwatch { flag: flag(nth), split: split() });
    }

    /// One slot in which each flag had a hundred requests of either variant.
    fn slot(&mut self, flags: usize, revision: u64, control: &str, bad: (u64, u64)) -> Vec<News> {
        let slot = START.plus(self.next);
        self.next += 1;
        let part = |nth: usize, variant: &str, bad: u64| {
            let unit = |at: u64| (UnitHash::of(&format!("{nth}-{variant}-{}-{at}", slot.0)), ());
            let mut outcomes =
                Outcomes { units: 100, requests: 100, bad_requests: bad, ..Outcomes::default() };
            (outcomes.bad, outcomes.served) = ((0..bad).map(unit).collect(), (0..100).map(unit).collect());
            Part { revision: Revision(revision), variant: key(variant), outcomes }
        };
        let of = |nth: usize| {
            let mut parts = vec![part(nth, "new", bad.0), part(nth, control, bad.1)];
            parts.sort_by(|a, b| a.variant.cmp(&b.variant));
            SplitSlot { flag: flag(nth), split: split(), parts }
        };
        let splits = (0..flags).map(of).collect();
        self.tell(Input::Slot(AppSlot { slot, sources: 1, all: None, gauges: Gauges::default(), splits }))
    }

    fn quiet(&mut self, slots: u32) {
        for _ in 0..slots {
            self.slot(0, 0, "old", (0, 0));
        }
    }

    fn verdict(&self) -> Verdict {
        self.watch.verdicts().next().expect("a variant").2
    }

    /// Whether the first variant is watched as if it were for the first time.
    fn knows_nothing(&self) -> bool {
        let verdict = self.verdict();
        let anew = matches!(verdict.reason, Reason::Compared { resumed: None, evidence, .. } if evidence.bad_units == 0);
        anew && !verdict.shown_good && verdict.state != State::Regressed
    }

    /// Whoever is told the same again, or goes on from what was stored on the way, comes to the same.
    fn is_the_same_again(&self) {
        assert!(self.recording.replay().0 == self.watch, "replayed");
        let half = self.recording.inputs.len() / 2;
        let first = Recording { inputs: self.recording.inputs[..half].to_vec(), ..self.recording.clone() };
        let stored = serde_json::to_vec(&first.replay().0).expect("JSON");
        let base: AppWatch = serde_json::from_slice(&stored).expect("a watch");
        let rest = Recording { base, inputs: self.recording.inputs[half..].to_vec() };
        assert!(rest.replay().0 == self.watch, "stored on the way");
    }
}

fn acts(news: &[News]) -> Vec<&Proposed> {
    news.iter().filter_map(|one| if let News::Act(proposed) = one { Some(proposed) } else { None }).collect()
}

fn acted(news: &[News]) -> usize {
    acts(news).len()
}

/// An artifact whose variant was found to be bad; its rollout was taken back, and some time passed.
fn taken_back() -> Told {
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    told.rollout(0, 7, &[WORSE], "old");
    for _ in 0..20 {
        assert_eq!(acts(&told.slot(1, 7, "old", (1, 1))).len(), 0);
    }
    let news: Vec<News> = (0..5).flat_map(|_| told.slot(1, 7, "old", (30, 1))).collect();
    assert_eq!(acts(&news).len(), 1);
    told.ended(0);
    told.quiet(500);
    told
}

#[test]
fn the_same_artifact_tried_again_is_taken_back_with_the_next_slot_which_says_why() {
    let mut told = taken_back();
    told.rollout(0, 9, &[WORSE], "old");
    let news = told.slot(1, 9, "old", (0, 0));
    let acts = acts(&news);
    let [act] = acts[..] else { panic!("{news:?}") };
    assert_eq!(act.measured.as_ref().map(|it| it.revision), Some(Revision(9)), "on what is served now");
    let Reason::Compared { evidence, resumed, .. } = &act.reason else { panic!("{act:?}") };
    assert_eq!((evidence.since, *resumed), (START, Some(START.plus(525))));
    let words = act.reason.to_string();
    assert!(
        words.ends_with(
            "; what was seen before 2027-01-15T09:27:30.000Z is of the same artifact, and goes on counting"
        ),
        "{words}"
    );
    // Once for one beginning.
    assert_eq!((0..20).map(|_| acted(&told.slot(1, 9, "old", (30, 1)))).sum::<usize>(), 0);
    told.is_the_same_again();
}

#[test]
fn every_rule_acts_again_on_the_same_artifact_not_only_the_one_that_is_found_first() {
    let texts = ["error_rate worse than control -> notify owner", "error_rate > 3% for 1m -> flag off"];
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    for revision in [7, 9] {
        told.rollout(0, revision, &texts, "old");
        let news: Vec<News> = (0..20).flat_map(|_| told.slot(1, revision, "old", (30, 1))).collect();
        let found: Vec<String> = acts(&news).iter().map(|act| act.rule.to_string()).collect();
        assert_eq!(found, texts, "at {revision}");
        told.ended(0);
        told.quiet(10);
    }
    told.is_the_same_again();
}

#[test]
fn what_is_forgotten_counts_no_more_although_the_same_artifact_runs() {
    for watched in [false, true] {
        let mut told = taken_back();
        if watched {
            told.rollout(0, 9, &[WORSE], "old");
            assert_eq!(acted(&told.slot(1, 9, "old", (0, 0))), 1);
        }
        told.tell(Input::Forget { flag: flag(0), split: split() });
        assert_eq!(told.watch.verdicts().count(), 0);
        told.rollout(0, 11, &[WORSE], "old");
        assert_eq!(acted(&told.slot(1, 11, "old", (0, 0))), 0);
        assert!(told.knows_nothing(), "{:?}", told.verdict());
        told.is_the_same_again();
    }
}

#[test]
fn what_is_gone_on_with_is_watched_since_then_and_warms_up_again() {
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    told.rollout(0, 7, &[WORSE], "old");
    (0..20).for_each(|_| drop(told.slot(1, 7, "old", (1, 1))));
    assert_eq!(told.verdict().state, State::Ok);
    told.ended(0);
    told.quiet(10);
    let again = START.plus(told.next);
    told.rollout(0, 9, &[WORSE], "old");
    told.quiet(1);
    assert_eq!(told.watch.began(&flag(0), &split()), Some(again));
    assert_eq!(told.verdict().state, State::Warming);
    // Ended again before a request came: what was known is still known.
    told.ended(0);
    told.rollout(0, 11, &[WORSE], "old");
    told.slot(1, 11, "old", (1, 1));
    assert!(
        matches!(told.verdict().reason, Reason::Compared { resumed: Some(_), .. }),
        "{:?}",
        told.verdict()
    );
}

#[test]
fn flags_that_were_bad_each_at_its_time_are_all_taken_back_when_the_same_artifact_runs_again() {
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    (0..3).for_each(|nth| told.rollout(nth, 7, &[WORSE], "old"));
    (0..20).for_each(|_| drop(told.slot(3, 7, "old", (1, 1))));
    for flags in 1..=3 {
        let found: usize = (0..5).map(|_| acted(&told.slot(flags, 7, "old", (30, 1)))).sum();
        assert_eq!(found, 1, "{flags}");
        told.quiet(10);
    }
    told.released(Some(artifact(2)));
    told.slot(3, 7, "old", (1, 1));
    told.released(Some(artifact(1)));
    let news = told.slot(3, 7, "old", (0, 0));
    assert_eq!(acted(&news), 3, "{news:?}");
    told.is_the_same_again();
}

#[test]
fn as_many_splits_as_are_remembered_all_go_on_when_the_release_before_is_gone_back_to() {
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    (0..MAX_PARKED).for_each(|nth| told.rollout(nth, 7, &[WORSE], "old"));
    for nth in [1, 2, 1] {
        told.released(Some(artifact(nth)));
        told.slot(MAX_PARKED, 7, "old", (1, 1));
    }
    let resumed = told
        .watch
        .verdicts()
        .filter(|(_, _, verdict)| matches!(verdict.reason, Reason::Compared { resumed: Some(_), .. }));
    assert_eq!(resumed.count(), MAX_PARKED);
}

#[test]
fn which_units_were_served_is_not_kept_of_what_is_watched_no_more() {
    let stored = serde_json::to_value(&taken_back().watch).expect("JSON");
    assert_eq!(stored["parked"][0]["watch"]["skew"]["seen"], serde_json::json!([]));
}

#[test]
fn another_artifact_or_none_known_begins_anew() {
    for next in [Some(artifact(2)), None] {
        let mut told = taken_back();
        told.released(next);
        told.rollout(0, 9, &[WORSE], "old");
        assert_eq!(acted(&told.slot(1, 9, "old", (0, 0))), 0);
        assert!(told.knows_nothing(), "{:?}", told.verdict());
        // Gone back to what was bad: that is still known.
        told.ended(0);
        told.released(Some(artifact(1)));
        told.rollout(0, 11, &[WORSE], "old");
        assert_eq!(acted(&told.slot(1, 11, "old", (0, 0))), 1);
        told.is_the_same_again();
    }
    let mut unknown = Told::begin(&[]);
    unknown.rollout(0, 7, &[WORSE], "old");
    (0..5).for_each(|_| drop(unknown.slot(1, 7, "old", (30, 1))));
    unknown.rollout(0, 9, &[WORSE], "old");
    assert_eq!(acted(&unknown.slot(1, 9, "old", (0, 0))), 0, "nobody told what runs");
}

#[test]
fn other_tests_or_another_control_begin_anew() {
    for (texts, control) in
        [(&["latency_p95 worse than control -> flag off"][..], "old"), (&[WORSE], "older")]
    {
        let mut told = taken_back();
        told.rollout(0, 9, texts, control);
        assert_eq!(acted(&told.slot(1, 9, control, (0, 0))), 0, "{texts:?} {control}");
        assert!(told.knows_nothing(), "{:?}", told.verdict());
    }
    // What a rule does is no other test.
    let mut told = taken_back();
    told.rollout(0, 9, &["error_rate worse than control -> rollout to 0"], "old");
    assert_eq!(acted(&told.slot(1, 9, "old", (0, 0))), 1);
}

#[test]
fn evidence_goes_on_where_it_was_and_a_split_that_is_watched_already_is_judged_by_artifact_too() {
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    told.rollout(0, 7, &[WORSE], "old");
    (0..2).for_each(|_| drop(told.slot(1, 7, "old", (1, 1))));
    told.slot(1, 7, "old", (9, 1));
    let log = |told: &Told| match told.verdict().reason {
        Reason::Compared { evidence, .. } => (evidence.bad_units, evidence.log),
        other => panic!("{other:?}"),
    };
    let before = log(&told);
    assert!(before.0 == 14, "{before:?}");
    // The rollout is started again while the first is watched.
    told.rollout(0, 9, &[WORSE], "old");
    told.slot(1, 9, "old", (0, 0));
    assert_eq!(log(&told), before);
    // Another artifact in the middle of it is judged by itself; the first one goes on when it is gone back to.
    told.released(Some(artifact(2)));
    told.slot(1, 9, "old", (1, 1));
    assert!(log(&told).0 <= 2, "{:?}", log(&told));
    told.released(Some(artifact(1)));
    told.slot(1, 9, "old", (0, 0));
    assert_eq!(log(&told), before);
    told.is_the_same_again();
}

#[test]
fn a_bound_for_some_time_has_to_be_passed_for_that_time_again() {
    let text = ["error_rate > 20% for 1m -> flag off"];
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    told.rollout(0, 7, &text, "old");
    let found = (0..30).find(|_| acted(&told.slot(1, 7, "old", (30, 1))) > 0);
    assert_eq!(found, Some(5));
    told.ended(0);
    told.quiet(3);
    told.rollout(0, 9, &text, "old");
    let found = (0..30).find(|_| acted(&told.slot(1, 9, "old", (30, 1))) > 0);
    assert_eq!(found, Some(5), "the minute begins with the rollout");
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes() {
    let mut told = Told::begin(&[]);
    told.released(Some(artifact(1)));
    let count = MAX_PARKED + 1;
    for nth in 0..count {
        told.rollout(nth, 7, &[WORSE], "old");
    }
    // Not all do badly at once: then none would be to blame.
    told.slot(count, 7, "old", (1, 1));
    let states = |told: &Told, nth: usize| {
        let found = told.watch.verdicts().find(|(of, ..)| **of == flag(nth)).expect("it is watched").2;
        matches!(found.reason, Reason::Compared { resumed: Some(_), .. })
    };
    (0..count).for_each(|nth| told.ended(nth));
    let whole = serde_json::to_string(&told.watch).expect("JSON");
    assert_eq!(whole.matches("\"artifact\":").count(), MAX_PARKED + 2, "those, of the watch and of its week");
    for nth in [0, 1, count - 1] {
        told.rollout(nth, 9, &[WORSE], "old");
    }
    told.slot(count, 9, "old", (1, 1));
    assert_eq!([0, 1, count - 1].map(|nth| states(&told, nth)), [false, true, true]);
    told.is_the_same_again();
}

#[test]
fn a_release_that_is_gone_back_to_is_not_reverted_for_what_the_bad_one_did() {
    let mut told = Told::begin(&["error_rate > 3% for 30s -> revert release"]);
    told.released(Some(artifact(1)));
    let whole = |told: &mut Told, bad: u64| acted(&told.slot(1, 7, "old", (bad, bad)));
    (0..60).for_each(|_| assert_eq!(whole(&mut told, 1), 0));
    told.released(Some(artifact(2)));
    let found = (0..30).find(|_| whole(&mut told, 9) > 0);
    assert_eq!(found, Some(2));
    assert_eq!((0..30).map(|_| whole(&mut told, 9)).sum::<usize>(), 0, "once for a release");
    told.released(Some(artifact(1)));
    assert_eq!((0..60).map(|_| whole(&mut told, 2)).sum::<usize>(), 0, "two in a hundred are no reason");
    told.released(Some(artifact(3)));
    assert_eq!((0..30).map(|_| whole(&mut told, 9)).sum::<usize>(), 1, "another release, another act");
    told.is_the_same_again();
}

#[test]
fn usual_is_what_the_release_before_did_and_never_what_was_taken_back() {
    let one = |requests: u64| Outcomes { requests, ..Outcomes::default() };
    let at = |hour: u32| START.plus(hour * HOUR);
    let sum = |week: &Week, hour: u32| week.usual(at(hour)).map(|sums| sums.rate.requests);
    let mut week = Week::default();
    week.released(Some(artifact(1)));
    for hour in 0..24 * 9 {
        week.add(at(hour), &one(1_000));
        assert_eq!(
            sum(&week, hour),
            None,
            "a first release is compared with nothing, for as long as it runs"
        );
    }
    let day = 24 * 9;
    week.released(Some(artifact(2)));
    assert_eq!(sum(&week, day), Some(7_000));
    (day..day + 5).for_each(|hour| week.add(at(hour), &one(5)));
    // It is taken back: the first goes on, and is compared with what it did itself before.
    week.released(Some(artifact(1)));
    assert_eq!(sum(&week, day + 5), Some(7_000));
    week.add(at(day + 5), &one(1_000));
    week.released(Some(artifact(3)));
    assert_eq!(
        [sum(&week, day + 24), sum(&week, day + 5 + 24)],
        [Some(6_000), Some(8_000)],
        "but for the hours of the one that was taken back"
    );
    // However long it runs: what the release before did is known.
    (day + 6..day + 24 * 20).for_each(|hour| week.add(at(hour), &one(1)));
    assert_eq!(sum(&week, day + 24 * 20), Some(6_000));
    let stored = serde_json::to_string(&week).expect("JSON");
    assert_eq!(serde_json::from_str::<Week>(&stored).expect("a week"), week);
}

#[test]
fn what_was_stored_before_releases_were_told_is_read_as_it_was() {
    let watch = AppWatch::new(rules(&[]), Objectives::default(), START);
    let stored = serde_json::to_value(&watch).expect("JSON");
    for name in ["artifact", "parked"] {
        assert!(stored.get(name).is_none(), "{name}: a watch that knows of no release is stored as it was");
    }
    assert_eq!(serde_json::from_value::<AppWatch>(stored).expect("a watch"), watch);
}
