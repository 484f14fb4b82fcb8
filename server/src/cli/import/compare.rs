//! What differs between the file and the server, as the body of the request that changes it and in words.

use std::collections::BTreeMap;

use rollout_rules::flag::{ScheduledChange, Serve, Target, Variant};
use rollout_rules::ids::VariantKey;
use rollout_rules::percent::Exposure;
use rollout_rules::time::UnixMs;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli::app_file::{AppPart, FlagPart, StatePart};
use crate::cli::view::{self, FlagView, StateView};

/// A body, and what it changes in words.
#[derive(Default)]
pub(super) struct Difference {
    pub body: Map<String, Value>,
    words: Vec<String>,
    /// What stays other than the file says, in words.
    left: Vec<String>,
    /// Whether units may be served what they are not served now.
    raises: bool,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub(super) fn words(&self) -> String {
        self.words.join(", ")
    }

    /// What stays other than the file says, and why; nothing, if nothing does.
    pub(super) fn left_alone(&self) -> Option<String> {
        (!self.left.is_empty()).then(|| self.left.join(", "))
    }

    /// Whether it may serve units what they are not served now: what it needs guardrails for.
    pub(super) fn may_raise(&self) -> bool {
        self.raises
    }

    fn set(&mut self, name: &str, value: &impl Serialize, words: String) {
        // Nothing here has other than text keys and finite numbers.
        self.body.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self.words.push(words);
    }

    /// Notes a member that the file has and the server has otherwise.
    fn plain<T: Serialize + PartialEq>(&mut self, name: &str, file: &Option<T>, server: &T) {
        if let Some(wanted) = file.as_ref().filter(|wanted| *wanted != server) {
            let shown = |value: &T| match serde_json::to_value(value) {
                Ok(Value::String(text)) if text.is_empty() => "nothing".to_owned(),
                Ok(Value::String(text)) => text,
                Ok(other) => other.to_string(),
                Err(_) => String::new(),
            };
            let words = format!("{} {} -> {}", name.replace('_', " "), shown(server), shown(wanted));
            self.set(name, wanted, words);
        }
    }

    /// Whether the flag is on, and for how many: as far as a rollout leaves that to the file.
    fn reach(&mut self, file: &StatePart, server: &StateView, raise_stopped: bool) {
        let rolling = Rolling::of(server);
        let turns_off = server.on && file.on == Some(false);
        if let Some(on) = file.on.filter(|on| *on != server.on) {
            match rolling {
                Rolling::Stopped(how) if on && !raise_stopped => {
                    self.left.push(format!("off: {}", stopped(how)));
                }
                _ => self.set("on", &on, if on { "turn on".to_owned() } else { "turn off".to_owned() }),
            }
        }
        if let Some(exposure) = file.exposure.filter(|exposure| *exposure != server.exposure) {
            let here = server.exposure;
            match rolling {
                Rolling::Runs if !turns_off => {
                    self.left
                        .push(format!("exposure {here}% is left to the rollout (the file says {exposure}%)"));
                }
                Rolling::Stopped(how) if exposure > here && !raise_stopped => {
                    let why = stopped(how);
                    self.left.push(format!("exposure {here}% (the file says {exposure}%): {why}"));
                }
                _ => self.set("exposure", &exposure, format!("exposure {here}% -> {exposure}%")),
            }
        }
    }
}

/// Of the app itself.
pub(super) fn app(file: &AppPart, server: &Value) -> Difference {
    let mut found = Difference::default();
    let wanted = [
        ("name", json!(file.name)),
        ("owner", json!(file.owner)),
        ("tier", json!(file.tier)),
        ("monthly_budget_micros", json!(file.monthly_budget_micros)),
        ("currency", json!(file.currency)),
    ];
    // An app that marks none says nothing of it.
    let marks_none = file.sensitive.as_ref().is_some_and(Vec::is_empty) && server["sensitive"].is_null();
    if !marks_none {
        found.plain("sensitive", &file.sensitive.as_ref().map(|names| json!(names)), &server["sensitive"]);
    }
    for (name, wanted) in wanted {
        found.plain(name, &Some(wanted).filter(|wanted| !wanted.is_null()), &server[name]);
    }
    found
}

/// Of a flag's definition: what is changed before its states are, and what after. A variant that goes stays until no
/// state names it any more, and one that comes is there before one does.
pub(super) fn definition(file: &FlagPart, server: &FlagView) -> (Difference, Difference) {
    let (mut first, mut last) = (Difference::default(), Difference::default());
    if let Some(wanted) = file.variants.as_ref().filter(|wanted| **wanted != server.variants) {
        let words = variants(&server.variants, wanted);
        let goes = |old: &&Variant| !wanted.iter().any(|variant| variant.key == old.key);
        let going: Vec<&Variant> = server.variants.iter().filter(goes).collect();
        let meanwhile: Vec<&Variant> = wanted.iter().chain(going.iter().copied()).collect();
        if going.is_empty() {
            first.set("variants", wanted, words);
        } else {
            if !meanwhile.iter().copied().eq(&server.variants) {
                first.set("variants", &meanwhile, words.clone());
            }
            last.set("variants", wanted, words);
        }
    }
    let off = file.off_variant.as_ref().map(|key| key.as_str().to_owned());
    first.plain("off_variant", &off, &server.off_variant);
    first.plain("description", &file.description, &server.description);
    first.plain("owner", &file.owner, &server.owner);
    first.plain("critical", &file.critical, &server.critical);
    let mark = file.browser.and_then(|mark| Some(json!(mark).as_str()?.to_owned()));
    first.plain("browser", &mark, &server.browser.clone().unwrap_or_else(|| "none".to_owned()));
    (first, last)
}

fn variants(before: &[Variant], after: &[Variant]) -> String {
    let keyed = |list: &[Variant]| -> BTreeMap<String, Value> {
        list.iter().map(|variant| (variant.key.to_string(), variant.value.clone())).collect()
    };
    format!("variants: {}", changed(&keyed(before), &keyed(after)))
}

/// `add a, change b, remove c`, or that only the order differs.
fn changed<V: PartialEq>(before: &BTreeMap<String, V>, after: &BTreeMap<String, V>) -> String {
    let named = |word: &str, keys: Vec<&str>| match keys.len() {
        0 => None,
        1..=5 => Some(format!("{word} {}", keys.join(" "))),
        many => Some(format!("{word} {many}")),
    };
    let keys = |keep: &dyn Fn(&String) -> bool, of: &BTreeMap<String, V>| -> Vec<String> {
        of.keys().filter(|key| keep(key)).cloned().collect()
    };
    let come = keys(&|key| !before.contains_key(key), after);
    let differ = keys(&|key| before.get(key).is_some_and(|old| Some(old) != after.get(key)), after);
    let go = keys(&|key| !after.contains_key(key), before);
    let parts = [("add", &come), ("change", &differ), ("remove", &go)];
    let parts: Vec<String> = parts
        .into_iter()
        .filter_map(|(word, keys)| named(word, keys.iter().map(String::as_str).collect()))
        .collect();
    if parts.is_empty() { "another order".to_owned() } else { parts.join(", ") }
}

/// The state of a flag that does not exist yet in an environment: born off.
pub(super) fn born_off(off_variant: &VariantKey, variants: &[Variant]) -> StateView {
    let on = variants.iter().find(|variant| variant.key != *off_variant);
    StateView {
        on: false,
        exposure: Exposure::ALL,
        serve: Serve::Variant(on.map_or_else(|| off_variant.clone(), |variant| variant.key.clone())),
        targets: Vec::new(),
        rules: Vec::new(),
        prerequisites: Vec::new(),
        schedule: Vec::new(),
        expires_at: UnixMs::NEVER,
        rollout: None,
        hold: None,
        serving: String::new(),
        browser_kept_back: None,
    }
}

/// What a rollout leaves to a file of whether a flag is on, and for how many.
enum Rolling<'a> {
    /// All.
    No,
    /// To turn the flag off, and no more: else every run of a pipeline would take the rollout over.
    Runs,
    /// What does not raise: it was stopped, as this word says, and nobody set anything since. Else the next run of a
    /// pipeline would undo that.
    Stopped(&'a str),
}

impl Rolling<'_> {
    fn of(server: &StateView) -> Rolling<'_> {
        let Some(rollout) = &server.rollout else { return Rolling::No };
        let nothing_served = server.hold.is_some() || !server.on || server.exposure == Exposure::NONE;
        match rollout.status.as_str() {
            _ if rollout.active => Rolling::Runs,
            stopped @ ("aborted" | "taken_back" | "killed") if nothing_served => Rolling::Stopped(stopped),
            _ => Rolling::No,
        }
    }
}

/// Of what a flag does in an environment. With `raise_stopped`, also where a rollout was stopped.
pub(super) fn state(file: &StatePart, server: &StateView, raise_stopped: bool, now: UnixMs) -> Difference {
    let mut found = Difference::default();
    found.reach(file, server, raise_stopped);
    if let Some(serve) = file.serve.as_ref().filter(|serve| **serve != server.serve) {
        found.set("serve", serve, format!("serve {} -> {}", view::serve(&server.serve), view::serve(serve)));
    }
    if let Some(targets) = file.targets.as_ref().filter(|targets| **targets != server.targets) {
        let units = |lists: &[Target]| lists.iter().map(|list| list.units.len()).sum::<usize>();
        let words = format!("units on target lists {} -> {}", units(&server.targets), units(targets));
        found.set("targets", targets, words);
    }
    if let Some(rules) = file.rules.as_ref().filter(|rules| **rules != server.rules) {
        let before = server.rules.iter().map(|rule| (rule.id.to_string(), rule)).collect();
        let after = rules.iter().map(|rule| (rule.id.to_string(), rule)).collect();
        found.set("rules", rules, format!("rules: {}", changed(&before, &after)));
    }
    if let Some(all) = file.prerequisites.as_ref().filter(|all| **all != server.prerequisites) {
        let before = server.prerequisites.iter().map(|it| (it.flag.to_string(), it)).collect();
        let after = all.iter().map(|it| (it.flag.to_string(), it)).collect();
        found.set("prerequisites", all, format!("prerequisites: {}", changed(&before, &after)));
    }
    if let Some(wanted) = &file.schedule {
        let (wanted, standing) = (ahead(wanted, now), ahead(&server.schedule, now));
        if wanted != standing {
            let before = standing.iter().map(|it| (it.id.to_string(), it)).collect();
            let after = wanted.iter().map(|it| (it.id.to_string(), it)).collect();
            found.raises |= !wanted.is_empty();
            found.set("schedule", &wanted, format!("schedule: {}", changed(&before, &after)));
        }
    }
    let lowers = file.exposure.is_none_or(|exposure| exposure <= server.exposure);
    let only_lowers = !file.on.is_some_and(|on| on && !server.on)
        && lowers
        && found.body.keys().all(|name| name == "exposure");
    found.raises |= file.on.unwrap_or(server.on) && !only_lowers;
    found
}

fn stopped(how: &str) -> String {
    format!("its rollout was {}; --raise-stopped raises it again", how.replace('_', " "))
}

/// The scheduled changes that are still to come, in the server's order. What is past was done.
fn ahead(schedule: &[ScheduledChange], now: UnixMs) -> Vec<ScheduledChange> {
    let mut ahead: Vec<ScheduledChange> = schedule.iter().filter(|step| step.at > now).cloned().collect();
    ahead.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    ahead
}
