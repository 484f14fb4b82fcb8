//! Pages: what they get is what the server answers for their context, at every later moment with the connection cut.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollout_rules::change::Reach;
use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::ids::FlagKey;
use rollout_rules::project::browser::{Travels, browser_form};

use super::history::History;
use super::page_server::{looks_the_same, play, production, seen, shop};
use super::page_world::{FLAGS, change, moments, pages_contexts, steps, the_shop};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_page_answers_as_the_server_does_for_its_context_at_every_later_moment(steps in steps()) {
        play(steps, true)?;
    }

    #[test]
    fn time_alone_only_ever_takes_a_flag_to_its_off_variant(steps in steps()) {
        let history = History::new(the_shop().into_iter().chain(steps.into_iter().map(change)));
        let snapshot = history.snapshots.last().unwrap();
        let Some(set) = snapshot.flag_set(&shop(), &production()) else { return Ok(()) };
        for (context, key) in pages_contexts().iter().flat_map(|context| FLAGS.iter().map(move |key| (context, key))) {
            let mut last: Option<(String, bool)> = None;
            for now in moments() {
                let Some(answer) = evaluate(&set, key, context, now) else { continue };
                let (variant, serves) = (answer.variant().to_string(), answer.reason.serves());
                if let Some((before, served)) = &last {
                    prop_assert!(*served || !serves, "{key} serves again at {}", now.0);
                    prop_assert!(variant == *before || !serves, "{key} serves something else at {}", now.0);
                }
                prop_assert!(serves || variant == answer.flag().definition().flag().off_variant.to_string());
                last = Some((variant, serves));
            }
        }
    }

    #[test]
    fn what_is_settled_does_not_change_before(steps in steps()) {
        let server = play(steps, false)?;
        for page in &server.pages {
            let set = page.state.flag_set();
            let keys: Vec<FlagKey> = page.state.flag_keys().cloned().collect();
            for pair in moments().windows(2) {
                let until = set.settled_until(pair[0]);
                prop_assert!(until > pair[0]);
                if until > pair[1] {
                    for key in &keys {
                        let at = |now| evaluate(&set, key.as_str(), &page.context, now).expect("the page has it");
                        let (first, last) = (at(pair[0]), at(pair[1]));
                        prop_assert!(
                            looks_the_same(&first, &last, &page.context),
                            "`{}` and `{}`",
                            seen(&first, &page.context),
                            seen(&last, &page.context)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn an_answer_hangs_on_nothing_but_what_the_flag_needs(steps in steps()) {
        let history = History::new(the_shop().into_iter().chain(steps.into_iter().map(change)));
        let snapshot = history.snapshots.last().unwrap();
        let Some(set) = snapshot.flag_set(&shop(), &production()) else { return Ok(()) };
        for key in FLAGS {
            let needs = set.needs(key);
            for context in pages_contexts() {
                let mut bare = match context.targeting_key() {
                    Some(unit) if needs.iter().any(|name| &**name == "targetingKey") => Context::new(unit),
                    _ => Context::anonymous(),
                };
                for name in needs.iter().filter(|name| &***name != "targetingKey") {
                    if let Some(value) = context.get(name) {
                        bare = bare.with(name, value.clone());
                    }
                }
                for now in moments() {
                    let whole = evaluate(&set, key, &context, now).map(|it| (it.variant().clone(), it.reason));
                    let part = evaluate(&set, key, &bare, now).map(|it| (it.variant().clone(), it.reason));
                    prop_assert_eq!(whole, part, "{} needs {:?}", key, &needs);
                }
            }
        }
    }
}

#[test]
fn the_random_histories_know_every_way_in_which_a_flag_travels() {
    let mut seen = BTreeSet::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for nth in 0..400 {
        let steps = proptest::strategy::Strategy::new_tree(&steps(), &mut runner).unwrap();
        let steps = proptest::strategy::ValueTree::current(&steps);
        let history = History::new(the_shop().into_iter().chain(steps.iter().map(|step| change(*step))));
        for (snapshot, key) in history.snapshots.iter().flat_map(|snapshot| FLAGS.map(|key| (snapshot, key)))
        {
            let key = FlagKey::new(key).unwrap();
            seen.insert(match browser_form(snapshot, &shop(), &production(), &key) {
                None => "not at all".to_owned(),
                Some(Travels::Rules) => "rules".to_owned(),
                Some(Travels::Values { kept_back: None }) => "values".to_owned(),
                Some(Travels::Values { kept_back: Some(why) }) => {
                    format!("{why:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
                }
            });
        }
        if nth % 10 > 0 {
            continue;
        }
        let server = play(steps, false).unwrap();
        for frame in &server.frames {
            seen.insert(frame.event_name().to_owned());
            let text = String::from_utf8(frame.encode().unwrap()).unwrap();
            for reason in
                ["exposed", "split", "rule", "target", "default", "prerequisite_failed", "no_unit", "off"]
            {
                if text.contains(&format!(r#""reason":"{reason}""#)) {
                    seen.insert(format!("told {reason}"));
                }
            }
            if text.contains(r#","at":"#) || text.contains(r#"{"at":"#) {
                seen.insert("a later step".to_owned());
            }
            if text.contains("guarded_until") {
                seen.insert("guarded".to_owned());
            }
            if text.contains("flag_kills") {
                seen.insert("a small kill".to_owned());
            }
        }
        for overlay in &server.world.overlays {
            if let Reach::Flag { .. } = overlay.reach {
                seen.insert("a kill of a flag ahead of the log".to_owned());
            }
        }
    }
    let every = [
        "not at all",
        "rules",
        "values",
        "Targets",
        "Segment",
        "Unit",
        "Sensitive",
        "Split",
        "Prerequisite",
        "snapshot",
        "change",
        "overlay",
        "told exposed",
        "told split",
        "told rule",
        "told target",
        "told default",
        "told prerequisite_failed",
        "told no_unit",
        "told off",
        "a later step",
        "guarded",
        "a small kill",
        "a kill of a flag ahead of the log",
    ];
    let missing: Vec<_> = every.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} in {seen:?}");
}
