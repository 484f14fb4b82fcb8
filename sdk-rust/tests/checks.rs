//! What checks answer.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peer;

use peer::{Peer, changes, flag, frame, kill, live, until};
use serde_json::{Value, json};
use tidegate_sdk::{Client, Context, ErrorKind, FlagKey, Height, Reason, Revision};

fn ann() -> Context {
    Context::new("ann").with("plan", "pro")
}

#[test]
fn every_type_answers_its_value() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    assert!(client.bool("checkout", &ann(), false));
    assert_eq!(client.string("colour", &ann(), "red"), "blue");
    assert!((client.number("limit", &ann(), 1.0) - 2.5).abs() < f64::EPSILON);
    assert_eq!(client.json("layout", &ann(), &Value::Null)["columns"], 3);
    assert_eq!(*client.json("colour", &ann(), &Value::Null), json!("blue"));
    assert_eq!(client.string("staff", &ann(), ""), "yes");
    assert_eq!(client.string("staff", &Context::new("bob"), ""), "no");
}

#[test]
fn a_detail_tells_the_story_behind_a_value() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    let plain = client.bool_detail("checkout", &ann(), false);
    assert!(plain.value && plain.error.is_none());
    assert_eq!(plain.variant.unwrap().as_str(), "on");
    assert_eq!(plain.reason, Some(Reason::Default));
    assert_eq!(plain.revision, Some(Revision(3)));
    let ruled = client.string_detail("staff", &ann(), "");
    assert_eq!(ruled.reason, Some(Reason::Rule { index: 0 }));
    assert_eq!(ruled.rule.unwrap().as_str(), "is-staff");
    let anonymous = client.bool_detail("split", &Context::anonymous(), true);
    assert_eq!((anonymous.value, anonymous.reason), (false, Some(Reason::NoUnit)));
}

#[test]
fn a_default_tells_why_it_was_given() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    let missing = client.number_detail("nobody", &ann(), 7.0);
    assert!((missing.value - 7.0).abs() < f64::EPSILON);
    assert_eq!(missing.error, Some(ErrorKind::FlagNotFound));
    let other = client.string_detail("checkout", &ann(), "red");
    assert_eq!(other.value, "red");
    assert!(matches!(other.error, Some(ErrorKind::TypeMismatch { .. })));
    assert_eq!((other.variant, other.reason), (None, None));
    assert!(client.bool("colour", &ann(), true));

    let nowhere = Client::builder(&Peer::nowhere(), "tg_key").start().unwrap();
    let early = nowhere.json_detail("layout", &ann(), &Value::Null);
    assert_eq!((early.error, &*early.value), (Some(ErrorKind::NotReady), &Value::Null));
}

#[test]
fn a_kill_is_in_effect_and_acknowledged_at_once() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    feed.send(&kill("checkout", 5, 6));
    until(&changes, 6);
    let detail = client.bool_detail("checkout", &ann(), true);
    assert_eq!((detail.value, detail.reason), (false, Some(Reason::Killed(Height::Flag))));
    assert_eq!(client.string("colour", &ann(), "red"), "blue");
    let (connection, ack) = peer.next_numbered_ack();
    assert_eq!((&ack["revision"], &ack["kill_ids"]), (&json!(6), &json!(["kill-6"])));
    assert!(ack["instance"].as_str().unwrap().starts_with("rust-"));
    // The same connection serves for the next one.
    feed.send(&kill("colour", 6, 7));
    let (same, ack) = peer.next_numbered_ack();
    assert_eq!((same, &ack["kill_ids"]), (connection, &json!(["kill-7"])));
}

#[test]
fn a_refused_acknowledgement_is_not_asked_again_but_goes_with_the_next_on_the_same_connection() {
    let peer = Peer::start();
    let (_client, mut feed) = live(&peer);
    let kill_ids = || {
        let (connection, ack) = peer.next_numbered_ack();
        (connection, ack["kill_ids"].clone())
    };
    feed.send(&kill("checkout", 5, 6));
    let (connection, first) = kill_ids();
    assert_eq!(first, json!(["kill-6"]));
    peer.answer_ack("403 Forbidden", "");
    feed.send(&kill("colour", 6, 7));
    assert_eq!(kill_ids(), (connection, json!(["kill-7"])));
    feed.send(&kill("limit", 7, 8));
    assert_eq!(kill_ids(), (connection, json!(["kill-7", "kill-8"])));
    feed.send(&kill("layout", 8, 9));
    assert_eq!(kill_ids(), (connection, json!(["kill-9"])));
}

#[test]
fn a_kill_that_comes_with_a_snapshot_is_acknowledged_at_once() {
    let peer = Peer::start();
    let (_client, mut feed) = live(&peer);
    let mut killed = flag("checkout", "boolean", &json!(true), &json!(false));
    killed["killed"] = json!({"id": "kill-8", "at": 5});
    feed.send(&frame(
        9,
        &json!({"snapshot": {"app": "shop", "environment": "production", "flags": [killed]}}),
    ));
    assert_eq!(peer.next_ack()["kill_ids"], json!(["kill-8"]));
}

#[test]
fn a_text_outlives_the_flag_that_it_came_from() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    let colour = client.string("colour", &ann(), "red");
    feed.send(&kill("colour", 5, 6));
    until(&changes, 6);
    drop(client);
    assert_eq!(colour, "blue");
}

#[test]
fn listeners_hear_what_changed_and_one_that_panics_harms_nobody() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    client.on_change(|_| std::panic::resume_unwind(Box::new("a listener's own fault")));
    let (sender, heard) = std::sync::mpsc::channel();
    client.on_change(move |change| {
        let flags: Vec<String> = change.flags.iter().map(FlagKey::to_string).collect();
        let _ = sender.send((flags, change.concerns("checkout"), change.concerns("colour")));
    });
    feed.send(&kill("checkout", 5, 6));
    assert_eq!(heard.recv_timeout(peer::PATIENCE).unwrap(), (vec!["checkout".to_owned()], true, false));
    feed.send(&peer::shop(7));
    assert_eq!(heard.recv_timeout(peer::PATIENCE).unwrap(), (vec![], true, true));
    assert!(client.bool("checkout", &ann(), false));
}

#[test]
fn threads_check_while_flags_change() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    std::thread::scope(|scope| {
        let check = || {
            // The killed flag stays killed for whoever has seen it so: states only go forward.
            let mut killed = false;
            while client.revision() < Some(Revision(105)) {
                let on = client.bool("checkout", &ann(), false);
                assert!(!(killed && on), "a kill was seen and lost again");
                killed |= !on;
                assert_eq!(client.string("colour", &ann(), "red"), "blue");
            }
            assert!(!client.bool("checkout", &ann(), false));
        };
        let threads = [scope.spawn(check), scope.spawn(check)];
        for revision in 6..=105 {
            feed.send(&kill("checkout", revision - 1, revision));
        }
        until(&changes, 105);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
