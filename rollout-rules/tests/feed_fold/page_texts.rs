//! What reaches a page: nothing but what may be known to everyone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rollout_rules::change::Change;
use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::feed::{Frame, Overlay};
use rollout_rules::flag::BrowserForm;
use rollout_rules::ids::FlagKey;
use rollout_rules::project::browser::{BrowserChange, Travels, browser_change, browser_form};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::history::{History, entry, log, read};
use super::page_server::{TOLD_AT, pages, production, shop};
use super::page_world::{FLAGS, change, pages_contexts, steps, the_shop};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Not by looking for what must not be there, but by knowing all that may.
    #[test]
    fn no_text_reaches_a_page_that_is_not_one_of_those_that_may(steps in steps()) {
        let mut snapshot = History::new(the_shop()).snapshots.pop().unwrap();
        let mut overlays: Vec<Overlay> = Vec::new();
        for step in steps {
            let (before, entry) = (snapshot, entry(change(step)));
            if let Change::Killed { kill_id, reach, environment: None } = &entry.change {
                overlays.push(Overlay { kill_id: kill_id.clone(), reach: reach.clone(), at: UnixMs(9) });
            }
            snapshot = before.apply(before.revision().next(), before.hash(), &entry);
            let shared = browser_change(&before, &snapshot, &log(), &entry, &shop(), &production());
            let names = (log(), shop(), production());
            let all = pages(&snapshot, &snapshot, &names);
            // Every context has its turn: frames are made the same way for all.
            for context in pages_contexts().into_iter().skip(usize::from(step.3) % 5).take(1) {
                let now = TOLD_AT[0];
                let mut frames: Vec<Frame> = overlays
                    .iter()
                    .filter_map(|overlay| match all.overlay(overlay, None) {
                        BrowserChange::Ops { shared, .. } => shared,
                        _ => None,
                    })
                    .collect();
                frames.extend(all.snapshot(&context, &overlays, now));
                frames.extend(all.change_for(&shared, &context, now));
                for frame in frames {
                    let json: Value = serde_json::from_slice(&frame.encode().unwrap()).unwrap();
                    if let Some(told) = told_of_others(&json, &snapshot) {
                        return Err(TestCaseError::fail(format!("`{told}` in {json}")));
                    }
                    let mut found = Vec::new();
                    texts(&json, &mut found);
                    let allowed = allowed(&[&before, &snapshot], &context);
                    for text in found {
                        let is_moment = UnixMs::parse_rfc3339(text).is_some();
                        let is_kill = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                        prop_assert!(is_moment || is_kill || allowed.contains(text), "`{text}` in {json}");
                    }
                }
            }
        }
    }
}

/// A text that no page may get, found without asking the code that makes frames: what people wrote for each other, values of
/// what the app calls sensitive, and flags that are not marked.
fn told_of_others(json: &Value, after: &Snapshot) -> Option<String> {
    let app = after.app(&shop()).unwrap();
    let sensitive = &app.info().sensitive;
    let mails_are_sensitive = sensitive.iter().any(|name| name == "user" || name == "user.mail");
    let marked = |key: &&str| {
        let record = app.flag(&FlagKey::new(key).unwrap());
        record.is_some_and(|record| record.flag().browser.is_some() && !record.is_archived())
    };
    let unmarked: Vec<&str> = FLAGS.into_iter().filter(|key| !marked(key)).collect();
    let mut json = json.clone();
    // That a flag is gone is told to those who had it.
    if let Some(ops) = json.pointer_mut("/body/change/ops").and_then(Value::as_array_mut) {
        ops.retain(|op| op.get("remove_flag").is_none());
    }
    let mut found = Vec::new();
    texts(&json, &mut found);
    let is_told = |text: &&str| {
        let of_flag = |key: &&str| text == key || text.starts_with(&format!("{key} is "));
        text.contains("secret")
            || (mails_are_sensitive && text.ends_with("@example.org"))
            || unmarked.iter().any(of_flag)
    };
    found.into_iter().find(is_told).map(ToOwned::to_owned)
}

/// Every text in some JSON, names of members included.
fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.push(name);
            texts(value, found);
        }),
        _ => {}
    }
}

/// The names of all members of frames for pages, besides those of rules.
const MEMBERS: &str = "
    v log revision body snapshot change overlay app environment ends_at everything app_kills flags
    follows kill_id ops put_flag remove_flag flag_kills kills height killed off_before id at key type
    variants value variant off_variant targeting on exposure serve expires_at targeting_revision hold
    cause told steps reason split targeted guarded_until flag gone overlays";

/// The words of frames for pages.
const WORDS: &str = "
    log-1 shop production string budget guardrail gate environment_gone off prerequisite_failed target
    rule rule_split split exposed default not_exposed no_unit broken .exposure reach";

/// The name of a rule or a scheduled step, as pages know it.
fn place<T: DeserializeOwned>(letter: char, nth: usize) -> T {
    read(json!(format!("{letter}{nth}")))
}

/// Every text that a frame to a page with this context may hold: of flags that are marked, and of those that travel as
/// values only what the server serves this context, and the off variant.
fn allowed(snapshots: &[&Snapshot], context: &Context) -> BTreeSet<String> {
    let mut allowed: BTreeSet<String> =
        MEMBERS.split_whitespace().chain(WORDS.split_whitespace()).map(ToOwned::to_owned).collect();
    for snapshot in snapshots {
        let Some(app) = snapshot.app(&shop()) else { continue };
        for record in app.flags(None).filter(|record| record.flag().browser.is_some()) {
            let flag = record.flag();
            allowed.insert(flag.key.to_string());
            let Some(travels) = browser_form(snapshot, &shop(), &production(), &flag.key) else { continue };
            let mut whole: Vec<Value> = Vec::new();
            if travels == Travels::Rules {
                assert_eq!(flag.browser, Some(BrowserForm::Rules));
                let state = record.state(&production()).unwrap().state();
                assert!(state.targeting.targets.is_empty(), "lists of units travel");
                whole.push(json!(flag.variants));
                let mut targeting = state.targeting.clone();
                targeting.schedule.iter_mut().enumerate().for_each(|(nth, step)| step.id = place('s', nth));
                for (nth, rule) in targeting.rules.iter_mut().enumerate() {
                    rule.id = place('r', nth);
                    rule.description.clear();
                    rule.when = rule.when.with_dfas();
                }
                let targeting = json!(targeting);
                let text = targeting.to_string();
                let sensitive = &app.info().sensitive;
                assert!(!text.contains("targetingKey"), "targeting keys travel: {text}");
                assert!(!text.contains(r#""segment""#), "segments travel: {text}");
                assert!(
                    !sensitive.iter().any(|name| text.contains(&format!(r#""{name}""#))),
                    "sensitive values travel: {text}"
                );
                whole.push(targeting);
            } else {
                let off = flag.variants.iter().filter(|variant| variant.key == flag.off_variant);
                off.for_each(|variant| whole.push(json!(variant)));
                let set = snapshot.flag_set(&shop(), &production()).unwrap();
                let answer = evaluate(&set, flag.key.as_str(), context, TOLD_AT[0]).unwrap();
                whole.extend([Value::from(answer.variant().as_str()), answer.value().clone()]);
                whole.extend(answer.assigned(context).map(|assigned| Value::from(assigned.split.as_str())));
            }
            for value in &whole {
                let mut found = Vec::new();
                texts(value, &mut found);
                allowed.extend(found.into_iter().map(ToOwned::to_owned));
            }
        }
    }
    allowed
}
