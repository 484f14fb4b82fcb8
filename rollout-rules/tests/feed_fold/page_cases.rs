//! Single things that happen to pages: kills of flags that come to be marked, what of rules is kept back, what is guarded.

use rollout_rules::change::{Change, Reach};
use rollout_rules::feed::{ClientState, Frame, FrameBody, FrameError, Overlay, ResumeToken};
use rollout_rules::ids::{FlagKey, KillId, Revision};
use rollout_rules::project::browser::{KeptBack, Travels, browser_form};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DAY, UnixMs};
use serde_json::{Value, json};

use super::history::{History, entry, fold, log, read, two_apps};
use super::page_server::{Server, pages, production, shop};

fn key(name: &str) -> FlagKey {
    FlagKey::new(name).unwrap()
}

fn definition(name: &str, browser: Value) -> Value {
    json!({"key": name, "type": "boolean", "off_variant": "off", "created_at": 0, "browser": browser,
        "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}]})
}

fn on() -> Value {
    json!({"on": true, "exposure": 100, "serve": {"variant": "on"}})
}

fn made(name: &str, browser: Value, targeting: Value) -> Change {
    read(json!({"kind": "flag_created", "app": "shop", "flag": definition(name, browser),
        "states": {"production": {"targeting": targeting, "expires_at": 4_000_000_000_u64}}}))
}

fn marked(name: &str, browser: Value) -> Change {
    read(json!({"kind": "flag_updated", "app": "shop", "flag": definition(name, browser)}))
}

fn targeted(name: &str, targeting: Value) -> Change {
    read(json!({"kind": "targeting_changed", "app": "shop", "flag": name, "environment": "production",
        "targeting": targeting}))
}

fn shop_with(flags: impl IntoIterator<Item = Change>) -> Server {
    Server::new(History::new(two_apps().into_iter().chain(flags)).snapshots.pop().unwrap())
}

fn reach(name: &str) -> Reach {
    Reach::Flag { app: shop(), flag: key(name) }
}

fn ahead(name: &str) -> Overlay {
    Overlay { kill_id: KillId::new("k1").unwrap(), reach: reach(name), at: UnixMs(9) }
}

fn killed(name: &str) -> Change {
    Change::Killed { kill_id: KillId::new("k1").unwrap(), reach: reach(name), environment: None }
}

#[test]
fn a_flag_that_is_marked_while_a_kill_of_it_waits_for_the_log_is_killed_on_pages_too() {
    for browser in ["rules", "values"] {
        let mut server = shop_with([made("f", Value::Null, on())]);
        server.open_all();
        server.kill_ahead(ahead("f"));
        server.agrees().unwrap();
        server.happens(&entry(marked("f", json!(browser))));
        server.agrees().unwrap();
        server.happens(&entry(killed("f")));
        server.agrees().unwrap();
    }
}

#[test]
fn a_kill_that_waits_goes_with_the_flag_and_does_not_outlive_its_entry() {
    let mut server = shop_with([made("f", json!("values"), on())]);
    server.open_all();
    server.kill_ahead(ahead("f"));
    server.happens(&entry(marked("f", Value::Null)));
    server.happens(&entry(killed("f")));
    assert!(server.pages.iter().all(|page| page.state.overlays().is_empty()));
    server.happens(&entry(marked("f", json!("values"))));
    server.happens(&entry(Change::Revived { reach: reach("f"), environment: None }));
    server.happens(&entry(targeted("f", on())));
    server.agrees().unwrap();
}

#[test]
fn a_page_that_is_told_of_less_than_it_has_says_so() {
    let mut server = shop_with([made("f", json!("rules"), on())]);
    server.open_all();
    server.happens(&entry(killed("f")));
    let late = server.frames.pop().unwrap();
    let FrameBody::Change(change) = &late.body else { panic!("{late:?}") };
    assert_eq!(change.follows, Revision::ZERO);
    let mut state = server.pages.pop().unwrap().state;
    assert!(ClientState::fold(Some(&state), &late).is_ok(), "values of one entry follow what is shared");
    let have = Revision(late.revision.0 + 1);
    state.advance(&ResumeToken { log: log(), revision: have }).unwrap();
    let found = ClientState::fold(Some(&state), &late);
    assert_eq!(found.unwrap_err(), FrameError::Gap { have, follows: late.revision });
}

fn by_account() -> Value {
    json!({"split": {"id": "accounts", "unit": "account.id",
        "weights": [{"variant": "on", "weight": 1}, {"variant": "off", "weight": 1}]}})
}

#[test]
fn a_rule_that_lists_what_the_flag_splits_by_lists_units_and_is_kept_back() {
    let with = |attribute: &str, serve: Value| {
        let rule = json!({"id": "named", "serve": {"variant": "on"},
            "when": {"attribute": attribute, "op": "in", "values": ["acme"]}});
        let targeting = json!({"on": true, "exposure": 100, "serve": serve, "rules": [rule]});
        let history = History::new(two_apps().into_iter().chain([made("f", json!("rules"), targeting)]));
        browser_form(history.snapshots.last().unwrap(), &shop(), &production(), &key("f")).unwrap()
    };
    let rule = read(json!("named"));
    let kept_back = Travels::Values { kept_back: Some(KeptBack::Unit { rule }) };
    for attribute in ["account.id", "account", "account.id.short", "targetingKey"] {
        assert_eq!(with(attribute, by_account()), kept_back, "{attribute}");
    }
    assert_eq!(with("account.idea", by_account()), Travels::Rules);
    assert_eq!(with("account.id", json!({"variant": "on"})), Travels::Rules);
}

#[test]
fn names_of_rules_and_plans_of_people_do_not_travel() {
    let rule = json!({"id": "acme-corp", "serve": by_account(), "when": {"attribute": "plan", "op": "in", "values": ["pro"]}});
    let step = |id: &str, change: Value| {
        let mut step = json!({"id": id, "at": 2_000_000});
        step.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        step
    };
    let targeting = json!({"on": true, "exposure": 50, "serve": {"variant": "on"}, "rules": [rule], "schedule": [
        step("launch-day", json!({"exposure": 100, "on": true})),
        step("after-launch", json!({"exposure": 10, "on": true})),
        step("the-end", json!({"on": false, "exposure": 100})),
    ]});
    let mut server = shop_with([made("f", json!("rules"), targeting)]);
    server.open_all();
    server.agrees().unwrap();
    let text = String::from_utf8(server.frames[0].encode().unwrap()).unwrap();
    for told in [
        r#""id":"r0""#,
        r#"{"id":"s0","at":"1970-01-01T00:33:20.000Z","exposure":10}"#,
        r#"{"id":"s1","at":"1970-01-01T00:33:20.000Z","on":false}"#,
        r#""id":"accounts""#,
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    assert!(!["acme", "launch", "the-end"].iter().any(|name| text.contains(name)), "{text}");
}

/// A shop under construction, in which each change has its moment.
struct Clock(Snapshot);

impl Clock {
    fn at(&mut self, at: UnixMs, change: Change) {
        let mut entry = entry(change);
        entry.at = at;
        self.0 = self.0.apply(self.0.revision().next(), self.0.hash(), &entry);
    }

    fn guarded(&self, name: &str, now: UnixMs) -> Option<UnixMs> {
        let names = (log(), shop(), production());
        let context = rollout_rules::context::Context::anonymous();
        let frame: Frame = pages(&self.0, &self.0, &names).snapshot(&context, &[], now).unwrap();
        fold(None, &frame).guarded_until(&key(name))
    }
}

#[test]
fn a_flag_is_guarded_for_a_day_after_any_change_of_what_it_serves_and_with_what_it_depends_on() {
    let day = |nth: u64| UnixMs(nth * 10 * DAY.0);
    let until = |at: UnixMs| Some(UnixMs(at.0 + DAY.0));
    let needs = |name: &str| {
        json!({"on": true, "exposure": 100, "serve": {"variant": "on"},
        "prerequisites": [{"flag": name, "variants": ["on"]}]})
    };
    let mut clock = Clock(History::new(two_apps()).snapshots.pop().unwrap());
    clock.at(day(1), made("base", Value::Null, on()));
    clock.at(day(1), made("middle", json!("values"), needs("base")));
    clock.at(day(1), made("top", json!("rules"), needs("middle")));
    assert_eq!(clock.guarded("top", day(1)), until(day(1)));
    assert_eq!(clock.guarded("top", UnixMs(day(1).0 + DAY.0)), None, "the day is over");
    // Pages begin to get it: so it is for what depends on it.
    clock.at(day(2), marked("base", json!("values")));
    assert_eq!(["base", "middle", "top"].map(|name| clock.guarded(name, day(2))), [until(day(2)); 3]);
    // A hold that is released, and an end that moves.
    let hold = |hold: Value| -> Change {
        read(
            json!({"kind": "hold_changed", "app": "shop", "flag": "base", "environment": "production", "hold": hold}),
        )
    };
    clock.at(day(3), hold(json!({"cause": "guardrail", "at": 7, "reason": "harm"})));
    clock.at(day(4), hold(Value::Null));
    assert_eq!(clock.guarded("top", day(4)), until(day(4)));
    let extended = json!({"kind": "flag_extended", "app": "shop", "flag": "middle", "expires_at": {"production": 5_000_000_000_u64}});
    clock.at(day(5), read(extended));
    assert_eq!(
        ["base", "middle", "top"].map(|name| clock.guarded(name, day(5))),
        [None, until(day(5)), until(day(5))]
    );
}

#[test]
fn a_flag_whose_raise_is_forgotten_over_later_changes_is_guarded_by_the_oldest_that_is_remembered() {
    let mut clock = Clock(History::new(two_apps()).snapshots.pop().unwrap());
    clock.at(UnixMs(DAY.0), made("f", json!("values"), on()));
    clock.at(UnixMs(3 * DAY.0), targeted("f", on()));
    // Changes in another environment.
    for later in 1..=10 {
        let other: Change =
            read(json!({"kind": "targeting_changed", "app": "shop", "flag": "f", "environment": "sandbox",
            "targeting": on()}));
        clock.at(UnixMs(3 * DAY.0 + later), other);
    }
    let until = clock.guarded("f", UnixMs(3 * DAY.0 + 10)).unwrap();
    assert!((4 * DAY.0..=4 * DAY.0 + 10).contains(&until.0), "{until}");
}
