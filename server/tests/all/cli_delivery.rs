//! The operator's tool tells who has a kill, and who is connected.

use crate::running;

use std::time::Instant;

use running::Server;
use running::feed::Feed;
use serde_json::json;

/// A server with a flag, and a token for its production.
fn shop() -> (Server, String) {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    let token = server.token("--scope sdk-server -a shop -e production");
    (server, token)
}

#[test]
fn a_kill_is_followed_until_every_client_has_it() {
    let (server, token) = shop();
    let mut feeds = ["one", "two"].map(|name| Feed::open(&server, &token, name));
    let acknowledging = std::thread::spawn(move || {
        for feed in &mut feeds {
            feed.change();
            feed.acknowledge();
        }
        feeds
    });
    let begun = Instant::now();
    let said = server.tool("flag kill checkout -a shop --kill-id k-1 --wait 1m").ends(0);
    assert!(begun.elapsed().as_secs() < 50, "it waits no longer than it has to");
    let said = said.says("is killed in all environments").says("2 of 2 clients have it after");
    assert!(!said.out.contains("silent") && !said.out.contains('\r'), "{said:?}");
    let _open = acknowledging.join().expect("both had it");
    // The same kill again: what is known of the first time.
    let again = server.tool("flag kill checkout -a shop --kill-id k-1 --json").ends(0).json();
    let told = &again["delivery"];
    assert_eq!((&again["already"], &told["clients"]["acknowledged"]), (&json!(true), &json!(2)), "{again}");
    assert!(told["last_acknowledged_after_ms"].as_f64() > told["in_effect_after_ms"].as_f64(), "{told}");
    let quick = server.tool("app kill shop --no-wait --json").ends(0).json();
    assert_eq!(quick.get("delivery"), None);
    server.tool("kill --everything --no-wait --wait 1s").ends(2);
}

#[test]
fn a_kill_that_some_client_is_silent_about_is_done_and_names_it() {
    let (server, token) = shop();
    let mut one = Feed::open(&server, &token, "one");
    let never = Feed::open(&server, &token, "never");
    server.tool("app kill shop --kill-id k-2 --wait 0s").ends(0).says("0 of 2 clients have it; 2 are silent");
    one.change();
    one.acknowledge();
    let said = server.tool("app kill shop --kill-id k-2 --wait 50ms").ends(0);
    let said = said.says("1 of 2 clients have it after").says("; 1 is silent since 20");
    said.says("  never of shop/production (raw 0.1): last heard of").says("the kill itself is done");
    let told = server.tool("app kill shop --kill-id k-2 --wait 50ms --json").ends(0).json();
    assert_eq!(told["delivery"]["silent"][0]["instance"], "never");
    // Who goes without it is not forgotten.
    drop(never);
    let begun = Instant::now();
    let said = loop {
        let said = server.tool("app kill shop --kill-id k-2 --wait 50ms").ends(0);
        if !said.out.contains("silent") {
            break said;
        }
        assert!(begun.elapsed().as_secs() < 20, "the end of its connection is seen: {said:?}");
    };
    let said = said.says("1 of 1 client has it after").says("; 1 is gone without having said so");
    said.says("  never of shop/production (raw 0.1): connected until 20")
        .says("a client that is gone may have");
    server.tool("clients").ends(0).says("besides 1 whose connection ended in the last 10 minutes");
    // Nobody is connected there; but the server has been started a moment ago.
    let said =
        server.tool("kill --everything -e sandbox").ends(0).says("no SDK is connected that it concerns");
    said.says("the server counts clients since 20").says("SDKs that have yet to come back");
}

#[test]
fn clients_are_listed_with_how_stale_they_are() {
    let (server, token) = shop();
    server.tool("clients").ends(0).says("0 clients are connected");
    let one = Feed::open(&server, &token, "one");
    let mut two = Feed::open(&server, &token, "two");
    one.acknowledge();
    server.tool("flag create other -a shop").ends(0);
    two.change();
    two.acknowledge();
    let _fresh = Feed::open(&server, &token, "fresh");
    let said = server.tool("clients").ends(0);
    let said = said.says("3 clients are connected: 1 up to date, 1 behind, 1 yet to say what they serve");
    let line = |name: &str| said.out.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
    assert!(line("one").contains("raw 0.1") && line("one").contains("behind by 1 change since"), "{said:?}");
    assert!(line("two").ends_with("up to date") && line("fresh").ends_with("has not said yet"), "{said:?}");
    let behind = server.tool("clients --behind -a shop -e production").ends(0);
    assert!(behind.out.contains("\none ") && !behind.out.contains("\ntwo "), "{behind:?}");
    let none = server.tool("clients -e sandbox --json").ends(0).json();
    assert_eq!((&none["items"], &none["counts"]["connected"]), (&json!([]), &json!(0)));
    server.tool("clients -a nothing").ends(0).says("0 clients");
}
