//! Web pages: what they are told when they are opened, and what is pushed to them.

mod access;
mod kept_back;
mod outcomes;
mod unread;

use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::feed::{ClientState, Frame};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};

use tidegate::http::Settings;

use crate::served::{Event, Reply, START, Served, Stream, ungated};

const SITE: &str = "https://shop.example";

/// A page as its browser has it.
struct Page {
    opened: Value,
    state: ClientState,
    context: Value,
}

fn open(served: &Served, key: &str, context: &Value) -> Reply {
    served.call(key, "POST", "/v1/page", &[("Origin", SITE)], &json!({ "context": context }))
}

fn frame(text: &Value) -> Frame {
    Frame::decode(text.as_str().expect("a frame as text").as_bytes()).expect("a frame")
}

impl Page {
    #[track_caller]
    fn open(served: &Served, key: &str, context: Value) -> Page {
        let opened = open(served, key, &context).expect(200);
        let (state, _) = ClientState::fold(None, &frame(&opened["frame"])).expect("it applies");
        Page { opened, state, context }
    }

    fn seen(&self) -> String {
        self.state.resume_token().to_string()
    }

    fn path(&self) -> String {
        let stream = self.opened["stream"].as_str().expect("an address");
        format!("{stream}&seen={}", self.seen())
    }

    fn stream(&self, served: &Served) -> Stream {
        served.stream("", &self.path(), &[("Origin", SITE)])
    }

    #[track_caller]
    fn take(&mut self, event: &Event) {
        let frame = Frame::decode(event.data.as_bytes()).expect("a frame");
        let (state, _) = ClientState::fold(Some(&self.state), &frame).expect("it applies");
        self.state = state;
    }

    /// Takes what comes until the page has seen a change of this revision.
    #[track_caller]
    fn follow(&mut self, stream: &mut Stream, until: u64) {
        while self.state.revision().0 < until {
            self.take(&stream.event());
        }
    }

    /// What a flag answers in the page, and why.
    fn answer_at(&self, flag: &str, now: UnixMs) -> Option<(String, &'static str)> {
        let context: Context = serde_json::from_value(self.context.clone()).expect("a context");
        let answer = evaluate(&self.state.flag_set(), flag, &context, now)?;
        Some((answer.variant().to_string(), answer.reason.code()))
    }

    #[track_caller]
    fn serves(&self, flag: &str) -> (String, &'static str) {
        self.answer_at(flag, START).expect("the page has it")
    }
}

fn is(answer: (String, &'static str), variant: &str, reason: &str) -> bool {
    answer == (variant.to_owned(), reason)
}

fn revision(reply: &Reply) -> u64 {
    reply.header("etag").trim_matches('"').parse().expect("a revision")
}

fn set(served: &Served, flag: &str, patch: &Value) -> u64 {
    let path = format!("/v1/apps/shop/flags/{flag}");
    let seen = served.get(&path).header("etag").to_owned();
    let changed = served.patch(&format!("{path}/environments/live"), &seen, patch);
    changed.expect(200);
    revision(&changed)
}

fn kill(served: &Served, flag: &str, id: &str) {
    served
        .post(&format!("/v1/apps/shop/flags/{flag}/kill"), &json!({"kill_id": id, "reason": "r"}))
        .expect(200);
}

/// A shop with a flag `checkout` on for all, and a key for its site.
fn shop() -> (Served, String) {
    let served = Served::start();
    served.shop();
    served.flag_on("checkout");
    let key = served.page_key(&[SITE]);
    (served, key)
}

#[test]
fn a_page_gets_values_and_a_kill_is_pushed_to_it() {
    let (served, key) = shop();
    let mut page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    assert!(is(page.serves("checkout"), "on", "default"));
    let mut stream = page.stream(&served);
    let first = stream.next_block().expect("a block");
    assert_eq!((first.id, first.data.as_str()), (page.seen(), ""), "the page lacks nothing");
    kill(&served, "checkout", "checkout-leaks-cards");
    let event = stream.event();
    assert!(!event.data.contains("leaks"), "the name that people gave the kill stays here: {event:?}");
    page.take(&event);
    assert!(is(page.serves("checkout"), "off", "killed_flag"));
    served.post("/v1/apps/shop/flags/checkout/revive", &json!({"reason": "fixed"})).expect(200);
    page.take(&stream.event());
    assert!(is(page.serves("checkout"), "off", "off"));
    let on = set(&served, "checkout", &json!({"on": true}));
    page.follow(&mut stream, on);
    assert!(is(page.serves("checkout"), "on", "default"));
    served.stop();
}

#[test]
fn a_page_that_kept_what_it_was_told_is_spared_it() {
    let (served, key) = shop();
    let context = json!({"targetingKey": "ann"});
    let first = open(&served, &key, &context).json();
    let again = |tag: &Value| {
        served
            .call(&key, "POST", "/v1/page", &[("Origin", SITE)], &json!({"context": context, "tag": tag}))
            .expect(200)
    };
    assert_eq!(again(&first["tag"])["frame"], Value::Null);
    assert_ne!(again(&json!("other"))["frame"], Value::Null);
    kill(&served, "checkout", "k");
    assert_ne!(again(&first["tag"])["frame"], Value::Null, "a kill is told to a page that comes back");
}

#[test]
fn each_page_is_told_what_changes_for_its_own_context() {
    let (served, key) = shop();
    let mut free = Page::open(&served, &key, json!({"targetingKey": "ann", "plan": "free"}));
    let mut paid = Page::open(&served, &key, json!({"targetingKey": "bob", "plan": "paid"}));
    let (mut to_free, mut to_paid) = (free.stream(&served), paid.stream(&served));
    let rule = json!({
        "on": true, "serve": {"variant": "off"},
        "rules": [{"id": "paying", "when": {"attribute": "plan", "op": "in", "values": ["paid"]}, "serve": {"variant": "on"}}],
    });
    let changed = set(&served, "checkout", &rule);
    free.follow(&mut to_free, changed);
    paid.follow(&mut to_paid, changed);
    assert!(is(free.serves("checkout"), "off", "default") && is(paid.serves("checkout"), "on", "rule"));
    for page in [&free, &paid] {
        let kept = String::from_utf8(page.state.to_frame().encode().expect("a frame")).expect("text");
        assert!(!kept.contains("paying") && !kept.contains("plan"), "no rule travels: {kept}");
    }
    // The value that a page does not get is not sent to it.
    let kept = String::from_utf8(free.state.to_frame().encode().expect("a frame")).expect("text");
    assert!(!kept.contains("\"on\",\"value\""), "{kept}");
}

#[test]
fn a_flag_that_depends_on_a_killed_one_is_told_anew() {
    let (served, key) = shop();
    served.flag_on_for("base", "none");
    let needs = json!({"prerequisites": [{"flag": "base", "variants": ["on"]}]});
    set(&served, "checkout", &needs);
    let mut page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    assert!(is(page.serves("checkout"), "on", "default"));
    let mut stream = page.stream(&served);
    kill(&served, "base", "k");
    page.take(&stream.event());
    assert!(is(page.serves("checkout"), "off", "prerequisite_failed"));
    let kept = String::from_utf8(page.state.to_frame().encode().expect("a frame")).expect("text");
    assert!(!kept.contains("base"), "{kept}");
}

#[test]
fn a_page_that_is_cut_off_serves_off_when_the_flags_time_is_over() {
    let (served, key) = shop();
    let page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    let at = |days| START.plus(DurationMs::days(days));
    assert!(is(page.answer_at("checkout", at(1)).expect("it has it"), "on", "default"));
    assert!(is(page.answer_at("checkout", at(400)).expect("it has it"), "off", "expired"));
}

#[test]
fn a_page_that_comes_back_after_many_changes_is_told_everything_anew_in_one_event() {
    let (served, key) = shop();
    for number in 0..50 {
        served.flag_on(&format!("flag-{number}"));
    }
    let mut page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    let mut last = 0;
    for number in 0..50 {
        last = set(&served, &format!("flag-{number}"), &json!({"on": false}));
    }
    // It comes back with what it had before.
    let mut stream = page.stream(&served);
    let event = stream.event();
    assert_eq!(event.name, "snapshot");
    page.take(&event);
    assert_eq!(page.state.revision().0, last);
    assert!((0..50).all(|number| is(page.serves(&format!("flag-{number}")), "off", "off")));
}

#[test]
fn a_stream_gives_its_page_new_addresses_before_those_that_it_has_stop_working() {
    let (served, key) = shop();
    // Just before the addresses of a new window: those of now live shortest.
    served.clock.set(UnixMs(START.0 / 150_000 * 150_000 + 149_999));
    let page = Page::open(&served, &key, json!({}));
    assert_eq!(page.opened["renew_in_ms"], 90_001);
    let mut stream = page.stream(&served);
    stream.next_block().expect("it begins");
    served.clock.advance(DurationMs(90_001));
    let renewed = renewal(&mut stream);
    assert_eq!(renewed.get("frame"), None);
    assert_eq!(renewed["renew_in_ms"], 150_000);
    drop(stream);
    // One that is opened with an address that is about to stop working is given another at once.
    served.clock.advance(DurationMs(30_000));
    assert_eq!(renewal(&mut page.stream(&served))["stream"], renewed["stream"]);
    // The first address is too old by now, the new one is not.
    served.clock.advance(DurationMs(30_000));
    served.knock("", "GET", &page.path(), &[("Origin", SITE)], &Value::Null).refused(410, "page_gone");
    let fresh = renewed["stream"].as_str().expect("an address");
    assert_eq!(served.knock("", "GET", fresh, &[("Origin", SITE)], &Value::Null).status, 200);
}

/// The next event that is none of news: new addresses.
#[track_caller]
fn renewal(stream: &mut Stream) -> Value {
    loop {
        let event = stream.next_block().expect("a block");
        if event.name == "token" {
            return event.json();
        }
        assert_eq!(event.data, "", "{event:?}");
    }
}

#[test]
fn a_page_has_few_streams_and_leaves_some_to_servers() {
    let settings = Settings { workers: 1, max_streams: 4, ..Settings::default() };
    let served = Served::with(settings, ungated());
    served.shop();
    let key = served.page_key(&[SITE]);
    let page = Page::open(&served, &key, json!({}));
    let mut streams: Vec<Stream> = (0..3).map(|_| page.stream(&served)).collect();
    streams.iter_mut().for_each(|stream| drop(stream.next_block().expect("it begins")));
    let from = [("Origin", SITE)];
    served.knock("", "GET", &page.path(), &from, &Value::Null).refused(503, "too_many_streams");
    let server = served.token("sdk-server");
    served.stream(&server, "/v1/feed", &[]).next_block().expect("a server is told");

    let (served, key) = shop();
    let page = Page::open(&served, &key, json!({}));
    let mut streams: Vec<Stream> = (0..8).map(|_| page.stream(&served)).collect();
    streams.iter_mut().for_each(|stream| drop(stream.next_block().expect("it begins")));
    let refused = served.knock("", "GET", &page.path(), &from, &Value::Null);
    refused.refused(429, "rate_limited");
    assert_eq!(refused.header("cache-control"), "no-store");
    assert!(served.get("/metrics").text.contains("tidegate_pages 1"));
}

#[test]
fn open_pages_are_counted_beside_the_clients() {
    let (served, key) = shop();
    let page = Page::open(&served, &key, json!({}));
    let mut stream = page.stream(&served);
    stream.next_block().expect("it begins");
    assert_eq!(served.get("/v1/clients").json()["counts"]["pages"], 1);
    kill(&served, "checkout", "k");
    assert_eq!(served.get("/v1/kills/k").json()["clients"]["pages"], 1);
}

#[test]
fn a_kill_that_the_log_cannot_take_reaches_pages_at_once_with_all_that_depends_on_it() {
    let (served, key) = shop();
    served.flag_on("base");
    set(&served, "checkout", &json!({"prerequisites": [{"flag": "base", "variants": ["on"]}]}));
    let mut page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    let mut stream = page.stream(&served);
    served.log.fail_always(Some(tidegate::log::memory::Fault::Unavailable));
    served.post("/v1/apps/shop/flags/base/kill", &json!({"kill_id": "k-2"})).expect(202);
    let overlay = stream.event();
    assert_eq!(overlay.name, "overlay");
    page.take(&overlay);
    assert!(is(page.serves("base"), "off", "killed_flag"));
    page.take(&stream.event());
    assert!(is(page.serves("checkout"), "off", "prerequisite_failed"));
    // Who comes now is told so too.
    let late = Page::open(&served, &key, json!({"targetingKey": "bob"}));
    assert!(is(late.serves("base"), "off", "killed_flag"));
    assert!(is(late.serves("checkout"), "off", "prerequisite_failed"));
    served.log.fail_always(None);
    served.clock.advance(DurationMs(60_000));
    let event = stream.event();
    assert_eq!(event.name, "change");
    page.take(&event);
    assert!(is(page.serves("base"), "off", "killed_flag"));
}

#[test]
fn what_pages_are_told_counts_as_answers_of_the_flags() {
    let (served, key) = shop();
    for name in ["ann", "bob"] {
        Page::open(&served, &key, json!({"targetingKey": name}));
    }
    let counted = served.get("/v1/apps/shop/flags/checkout/environments/live/exposures").json();
    assert_eq!(counted["hours"][0]["counts"][0]["count"], 2, "{counted}");
}
