//! What a client tells of the checks that it answered.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peer;

use std::thread;
use std::time::{Duration, Instant};

use peer::{PATIENCE, Peer, changes, flag, live, shop, until};
use rollout_rules::tally::MOST_LEFT;
use serde_json::{Value, json};
use tidegate_sdk::Context;

/// What a batch says: `checkout on 3`.
fn said(batch: &Value) -> Vec<String> {
    let counts = batch["counts"].as_array().unwrap().iter();
    let mut said: Vec<String> = counts
        .map(|one| {
            let variant = one["variant"].as_str().unwrap_or("-");
            format!("{} {variant} {}", one["flag"].as_str().unwrap(), one["count"])
        })
        .collect();
    said.sort();
    said
}

#[test]
fn a_client_that_ends_tells_what_all_its_threads_counted_and_says_nothing_else() {
    let peer = Peer::start();
    let (client, feed) = live(&peer);
    let (ann, bob) = (Context::new("ann"), Context::new("bob"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    assert!(client.bool("checkout", &ann, false));
                    client.string_detail("staff", &bob, "red");
                    client.bool("nobody", &ann, false);
                }
            });
        }
    });
    drop(client);
    let told = peer.next_exposures();
    assert_eq!(said(&told), ["checkout on 4000", "staff off 4000"]);
    assert_eq!(told["counts"][0]["age_s"], 0);
    assert!(told["instance"].as_str().unwrap().starts_with("rust-"), "{told}");
    assert!(!told["batch"].as_str().unwrap().is_empty(), "{told}");
    assert!(peer.has_no_exposures());
    drop(feed);
    // One that was not asked has nothing to tell, and one that is not to tell does not.
    let (client, _feed) = live(&peer);
    drop(client);
    let client = peer.builder().without_exposures().start().unwrap();
    let _feed = peer.next_feed().open_with(&shop(5));
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    client.bool("checkout", &ann, false);
    drop(client);
    assert!(peer.has_no_exposures());
}

#[test]
fn a_check_that_cannot_read_the_value_and_gives_its_default_counts_as_none_of_the_variants() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    let ann = Context::new("ann");
    assert!((client.number("checkout", &ann, 7.5) - 7.5).abs() < f64::EPSILON);
    assert!(client.string_detail("checkout", &ann, "red").error.is_some());
    assert!(client.bool("checkout", &ann, false));
    drop(client);
    assert_eq!(said(&peer.next_exposures()), ["checkout - 2", "checkout on 1"]);
}

#[test]
fn a_batch_that_was_not_taken_is_told_again_under_its_name_and_later_counts_in_the_next() {
    let peer = Peer::start();
    peer.answer_exposures("503 Service Unavailable", "retry-after: 1\r\n");
    // Taken or not, who knows.
    peer.answer_exposures("", "");
    peer.answer_exposures("", "");
    let client = peer.builder().exposures_every(Duration::ZERO).start().unwrap();
    let _feed = peer.next_feed().open_with(&shop(5));
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    let ann = Context::new("ann");
    client.bool("checkout", &ann, false);
    let first = peer.next_exposures();
    assert_eq!(said(&first), ["checkout on 1"]);
    let refused_at = Instant::now();
    client.number("limit", &ann, 0.0);
    let again = peer.next_exposures();
    assert!(refused_at.elapsed() >= Duration::from_millis(990), "it was asked to wait");
    assert_eq!((&again["batch"], said(&again)), (&first["batch"], said(&first)));
    let third = peer.next_exposures();
    assert_eq!((&third["batch"], said(&third)), (&first["batch"], said(&first)));
    loop {
        let next = peer.next_exposures();
        if next["batch"] == first["batch"] {
            continue;
        }
        assert_eq!(said(&next), ["limit on 1"]);
        break;
    }
}

#[test]
fn counts_follow_a_flag_through_changes_and_new_snapshots() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    let ann = Context::new("ann");
    client.bool("checkout", &ann, false);
    feed.send(&peer::kill("checkout", 5, 6));
    until(&changes, 6);
    client.bool("checkout", &ann, true);
    // A snapshot in which the flags come in another order, one is gone and one has other variants.
    let mut colour = flag("colour", "string", &json!("blue"), &json!("grey"));
    colour["variants"] = json!([{"key": "red", "value": "red"}, {"key": "on", "value": "blue"}, {"key": "off", "value": "grey"}]);
    client.string("colour", &ann, "x");
    client.number("limit", &ann, 0.0);
    let flags = json!([
        colour,
        flag("checkout", "boolean", &json!(true), &json!(false)),
        flag("added", "boolean", &json!(true), &json!(false))
    ]);
    feed.send(&peer::frame(
        9,
        &json!({"snapshot": {"app": "shop", "environment": "production", "flags": flags}}),
    ));
    until(&changes, 9);
    for key in ["checkout", "added"] {
        client.bool(key, &ann, false);
    }
    client.string("colour", &ann, "x");
    drop(client);
    assert_eq!(
        said(&peer.next_exposures()),
        ["added on 1", "checkout off 1", "checkout on 2", "colour on 2", "limit on 1"]
    );
}

#[test]
fn of_more_flags_than_are_remembered_when_they_go_it_is_told_how_many_answers_there_were() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    let snapshot =
        |flags: &[Value]| json!({"snapshot": {"app": "shop", "environment": "production", "flags": flags}});
    let many: Vec<Value> = (0..=MOST_LEFT)
        .map(|number| flag(&format!("f-{number}"), "boolean", &json!(true), &json!(false)))
        .collect();
    let ann = Context::new("ann");
    feed.send(&peer::frame(8, &snapshot(&many)));
    until(&changes, 8);
    (0..=MOST_LEFT).for_each(|number| assert!(client.bool(&format!("f-{number}"), &ann, false)));
    feed.send(&peer::frame(9, &snapshot(&[])));
    until(&changes, 9);
    drop(client);
    // Those that were there before them are remembered as well.
    let before = String::from_utf8(shop(5).encode_event().unwrap()).unwrap().matches("off_variant").count();
    assert_eq!(peer.next_exposures()["uncounted"], 1 + before);
}

#[test]
fn a_server_that_hangs_keeps_a_client_from_ending_for_a_second_and_no_longer() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    client.bool("checkout", &Context::new("ann"), false);
    // It promises more than it sends.
    peer.answer_exposures("200 OK", "x: y\r\ncontent-length: 5\r\n\r\n");
    let asked = Instant::now();
    drop(client);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
