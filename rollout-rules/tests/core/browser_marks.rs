//! Marking flags for browsers, naming what is sensitive, and keys for pages.

use crate::world;

use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{Refusal, Verdict};
use rollout_rules::flag::BrowserForm;
use rollout_rules::governance::{Scope, Token};
use rollout_rules::ids::TokenId;
use serde_json::{Value, json};
use world::{World, admin, agent, app, caller, command, env, flag, human, kill, set};

fn mark(how: &str) -> Command {
    command(json!({"do": "update_flag", "app": "shop", "flag": "f", "browser": how}))
}

fn form(world: &World) -> Option<BrowserForm> {
    world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag").record().flag().browser
}

fn sensitive(names: Value) -> Command {
    command(json!({"do": "update_app", "app": "shop", "sensitive": names}))
}

fn page_key(id: &str, more: Value) -> Command {
    let mut token = json!({"id": id, "hash": "00".repeat(32), "scope": "sdk-browser", "app": "shop",
        "environment": "production", "created_at": 0, "actor": {"type": "service", "name": "page"}});
    let members = token.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    command(json!({"do": "create_token", "token": token}))
}

/// The field and the problem of a refusal.
fn invalid(world: &World, command: Command) -> (String, String) {
    match world.ask(&admin(), command.clone()) {
        Err(Refusal::Invalid { field, problem }) => (field, problem),
        other => panic!("{command:?}: {other:?}"),
    }
}

#[test]
fn a_flag_is_born_unmarked_unless_it_is_said_and_its_mark_can_be_changed_and_taken_away() {
    let mut world = World::shop(0);
    assert_eq!(form(&world), None);
    for (how, expected) in
        [("values", Some(BrowserForm::Values)), ("rules", Some(BrowserForm::Rules)), ("none", None)]
    {
        world.done(&human("ann"), mark(how));
        assert_eq!(form(&world), expected);
        let again = world.ask(&human("ann"), mark(how));
        assert!(matches!(again, Ok(Verdict::AlreadyDone { .. })), "{again:?}");
    }
    // What says nothing of the mark leaves it.
    world.done(&human("ann"), mark("rules"));
    world.done(
        &human("ann"),
        command(json!({"do": "update_flag", "app": "shop", "flag": "f", "owner": "bob"})),
    );
    assert_eq!(form(&world), Some(BrowserForm::Rules));
    world.done(
        &human("ann"),
        command(json!({"do": "create_flag", "app": "shop", "key": "g", "browser": "values"})),
    );
    let made = world.snapshot.flag(&app("shop"), &flag("g")).expect("the flag").record().flag().browser;
    assert_eq!(made, Some(BrowserForm::Values));
}

#[test]
fn pages_that_begin_to_get_what_is_live_are_a_raise_and_an_agent_only_proposes_it() {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("production", json!({"on": true})));
    assert_eq!(world.refused(&agent(), mark("values")), "agents_only_propose");
    world.done(&human("ann"), mark("values"));
    assert_eq!(form(&world), Some(BrowserForm::Values));
}

#[test]
fn telling_pages_the_rules_of_what_is_live_is_a_raise_and_so_is_taking_the_mark_from_what_is_stopped() {
    let mut world = World::shop(1).without_approvals();
    world.done(&human("ann"), set("production", json!({"on": true})));
    world.done(&human("ann"), mark("values"));
    world.rules.approvals.tier1 = 1;
    assert_eq!(world.refused(&human("ann"), mark("rules")), "approvals_needed");
    assert!(world.ask(&human("ann"), mark("none")).is_ok(), "nothing stops it");
    world.done(&human("ann"), kill("k", world::the_flag(), None));
    assert_eq!(world.refused(&human("ann"), mark("none")), "approvals_needed");

    let mut world = World::shop(1).without_approvals();
    world.done(&human("ann"), mark("rules"));
    world.rules.approvals.tier1 = 1;
    let hold = json!({"kind": "hold_changed", "app": "shop", "flag": "f", "environment": "production",
        "hold": {"cause": "guardrail", "at": 7, "reason": "harm"}});
    world.append_change(serde_json::from_value(hold).expect("a change"));
    assert_eq!(world.refused(&human("ann"), mark("none")), "approvals_needed");
    assert!(world.ask(&human("ann"), mark("values")).is_ok());
}

#[test]
fn what_is_sensitive_no_more_is_for_those_who_govern_to_say() {
    let mut world = World::shop(0);
    let editor = caller(rollout_rules::governance::Actor::Human { name: "eve".into() }, Scope::Editor, "eve");
    let editor = rollout_rules::governance::Caller { app: Some(app("shop")), ..editor };
    world.done(&editor, sensitive(json!(["email", "user.address"])));
    assert_eq!(world.refused(&editor, sensitive(json!(["email"]))), "not_allowed");
    assert_eq!(world.refused(&editor, sensitive(json!(["email", "user.address.city"]))), "not_allowed");
    // What holds it is sensitive from now on.
    world.done(&editor, sensitive(json!(["email", "user"])));
    world.done(&human("ann"), sensitive(json!([])));
}

#[test]
fn an_app_names_what_is_sensitive_and_everything_that_it_serves_counts_as_changed() {
    let mut world = World::shop(0);
    let seen = |world: &World| world.snapshot.feed_revision(&app("shop"), &env("sandbox"));
    let before = seen(&world);
    let changed = world.done(&human("ann"), sensitive(json!(["email", "user.address"])));
    let names = world.snapshot.app(&app("shop")).expect("the app").info().sensitive.clone();
    assert_eq!(names, ["email", "user.address"]);
    assert!(seen(&world) > before && seen(&world) == changed);
    // Another name for people changes nothing that is served.
    world.done(&human("ann"), command(json!({"do": "update_app", "app": "shop", "name": "The shop"})));
    assert_eq!(seen(&world), changed);
    assert_eq!(world.snapshot.app(&app("shop")).expect("the app").info().sensitive, names);
    world.done(&human("ann"), sensitive(json!([])));
    assert!(seen(&world) > changed);
}

#[test]
fn sensitive_names_that_name_nothing_are_refused_with_what_to_write() {
    let world = World::shop(0);
    for name in
        ["", " ", ".email", "user..mail", "user.", "email ", " user", "user. mail", "a\t", &"x".repeat(257)]
    {
        let (field, problem) = invalid(&world, sensitive(json!(["ok", name])));
        assert_eq!(field, "sensitive[1]");
        assert!(problem.contains("`user.email`"), "{problem}");
    }
    let (field, problem) = invalid(&world, sensitive(json!(["email", "email"])));
    assert_eq!((field.as_str(), problem.as_str()), ("sensitive[1]", "`email` is there twice"));
    let many: Vec<String> = (0..65).map(|nth| format!("a{nth}")).collect();
    assert_eq!(world.refused(&admin(), sensitive(json!(many))), "too_many");
    assert!(world.ask(&admin(), sensitive(json!(many[1..]))).is_ok());
}

#[test]
fn a_key_for_pages_names_their_sites() {
    let mut world = World::shop(0);
    let (field, problem) = invalid(&world, page_key("p", json!({})));
    assert_eq!(field, "origins");
    assert!(problem.contains("`*` for any page"), "{problem}");
    let good = [
        "https://shop.example",
        "http://localhost:5173",
        "https://[::1]:8443",
        "https://[::ffff:102:304]",
        "http://127.0.0.1:8080",
        "http://intranet",
        "https://my_site.x9.example",
        "capacitor://localhost",
        "app://-",
        "https://xn--bcher-kva.example",
    ];
    world.done(&admin(), page_key("named", json!({"origins": good})));
    world.done(&admin(), page_key("any", json!({"origins": ["*"]})));
    world.done(&admin(), page_key("telling", json!({"origins": ["https://shop.example"], "outcomes": true})));
    let token = |id: &str| world.snapshot.token(&TokenId::new(id).expect("an id")).expect("the token");
    assert!(token("named").admits_origin("https://shop.example"));
    for other in ["https://shop.example.evil", "http://shop.example", "https://shop.example:8443", "null", ""]
    {
        assert!(!token("named").admits_origin(other), "{other}");
        assert!(token("any").admits_origin(other));
    }
    let takes = ["named", "any", "telling"].map(|id| token(id).takes_outcomes_of_pages());
    assert_eq!(takes, [false, false, true]);
}

#[test]
fn origins_that_no_browser_writes_are_refused_with_how_it_does() {
    let world = World::shop(0);
    let refused = |origin: &str| {
        let (field, problem) =
            invalid(&world, page_key("p", json!({"origins": ["https://a.example", origin]})));
        assert_eq!(field, "origins[1]", "{origin}");
        problem
    };
    for origin in [
        "shop.example",
        "https://",
        "https://shop.example/",
        "https://shop.example/path",
        "https://Shop.example",
        "HTTPS://shop.example",
        "https://user@shop.example",
        "https://shop.example:port",
        "https://shop.example:0",
        "https://shop.example:70000",
        "https://*.shop.example",
        "https://shop example",
        "://shop.example",
        "",
        "https://::1",
        "https://shop.example:+1",
        "https://[0:0:0:0:0:0:0:1]",
        "https://[::ffff:1.2.3.4]",
        "https://[",
        "https://[::1",
        "https://[]",
        "https://a..b",
        "https://.example",
        "https://-",
        "https://127.1",
        "https://1.2.3.04",
        "https://a.b.7",
        "https://1.2.3.0x4",
        "https://bücher.example",
        &format!("https://{}.example", "x".repeat(256)),
    ] {
        let problem = refused(origin);
        assert!(problem.contains("https://shop.example"), "{origin}");
        assert!(problem.contains("lower case") && problem.contains("`xn--…`"), "{problem}");
    }
    assert!(refused("https://shop.example:443").contains("leave the port out"));
    assert!(refused("null").contains("a site of its own"));
    assert!(refused("*").contains("alone"));
    assert!(refused("https://a.example").contains("twice"));
    let many: Vec<String> = (0..33).map(|nth| format!("https://s{nth}.example")).collect();
    assert_eq!(world.refused(&admin(), page_key("p", json!({"origins": many}))), "too_many");
}

#[test]
fn outcomes_are_promised_by_sites_that_are_named_and_other_keys_have_neither() {
    let world = World::shop(0);
    let any = page_key("p", json!({"origins": ["*"], "outcomes": true}));
    assert_eq!(invalid(&world, any).0, "outcomes");
    for (more, field) in
        [(json!({"origins": ["https://shop.example"]}), "origins"), (json!({"outcomes": false}), "outcomes")]
    {
        let mut more = more;
        more["scope"] = "sdk-server".into();
        assert_eq!(invalid(&world, page_key("p", more)).0, field);
    }
}

#[test]
fn a_key_from_before_origins_were_asked_for_is_every_page_s_and_takes_no_outcomes() {
    let mut world = World::shop(0);
    let Command::CreateToken { token } = page_key("old", json!({})) else { panic!("a token") };
    world.append_change(Change::TokenCreated { token });
    let old: &Token = world.snapshot.token(&TokenId::new("old").expect("an id")).expect("the token");
    assert_eq!(old.scope, Scope::SdkBrowser);
    assert!(old.admits_origin("https://anywhere.example"));
    assert!(!old.names_origins() && !old.takes_outcomes_of_pages());
}
