//! What a client tells of how requests ended.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peer::{PATIENCE, Peer, shop};
use rollout_rules::sli::{GRACE, Slot};
use serde_json::{Value, json};
use tidegate_sdk::{Client, Context, Outcome, UnixMs};

/// A live client whose clock the test moves; it stands shortly before the end of a slot.
struct Told {
    peer: Peer,
    client: Client,
    hands: Arc<AtomicU64>,
    slot: Slot,
    _feed: peer::Feed,
}

impl Told {
    fn start() -> Told {
        let peer = Peer::start();
        let slot = Slot(180_000_000);
        let hands = Arc::new(AtomicU64::new(slot.ends_at().0 - 50));
        let read = Arc::clone(&hands);
        let builder = peer.builder().without_exposures().clock(move || UnixMs(read.load(Ordering::Relaxed)));
        let client = builder.start().unwrap();
        let feed = peer.next_feed().open_with(&shop(5));
        assert!(client.wait_ready(PATIENCE).unwrap().is_live());
        Told { peer, client, hands, slot, _feed: feed }
    }

    fn serve(&self, requests: u64) {
        for _ in 0..requests {
            let scope = self.client.scope(&Context::new("ann"));
            assert!(scope.bool("checkout", false));
            scope.finish(Outcome::ok());
        }
    }

    /// The slot is over.
    fn ends(&self) {
        self.hands.store(self.slot.ends_at().0 + 500, Ordering::Relaxed);
    }
}

/// Waits for what the client's own thread does.
fn until(is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it does not come about");
        std::thread::yield_now();
    }
}

fn requests(batch: &Value) -> Vec<u64> {
    let summaries = batch["summaries"].as_array().unwrap().iter();
    summaries.map(|one| one["outcomes"]["requests"].as_u64().unwrap()).collect()
}

#[test]
fn a_slot_is_told_when_it_is_over_again_until_it_is_taken_and_counted_then() {
    let told = Told::start();
    told.peer.answer_outcomes("503 Service Unavailable", "retry-after: 0\r\n", "");
    told.peer.answer_outcomes(
        "202 Accepted",
        "",
        &json!({"refused": [], "now": "2027-01-15T08:00:00Z"}).to_string(),
    );
    told.serve(7);
    told.ends();
    let first = told.peer.next_outcomes();
    assert_eq!(requests(&first), [7]);
    assert_eq!(first["slot"], told.slot.starts_at().to_string());
    assert!(first["instance"].as_str().unwrap().starts_with("rust-"), "{first}");
    assert_eq!(told.peer.next_outcomes(), first, "under the same name");
    until(|| told.client.outcome_counts().taken == 7);
    assert_eq!((told.client.outcome_counts().lost, told.peer.has_no_outcomes()), (0, true));
}

#[test]
fn what_is_not_taken_within_the_grace_is_lost_and_counted_and_what_is_refused_is_counted_as_that() {
    let told = Told::start();
    (0..1_000).for_each(|_| told.peer.answer_outcomes("500 Internal Server Error", "", ""));
    told.serve(3);
    let began = std::time::Instant::now();
    told.ends();
    assert_eq!(requests(&told.peer.next_outcomes()), [3]);
    until(|| told.client.outcome_counts().lost == 3);
    assert!(began.elapsed().as_millis() < u128::from(2 * GRACE.0), "{:?}", began.elapsed());
    let told = Told::start();
    let refused = json!({"index": 0, "code": "unknown_flag", "detail": "no flag"});
    told.peer.answer_outcomes("202 Accepted", "", &json!({"refused": [refused]}).to_string());
    told.serve(4);
    told.ends();
    until(|| told.client.outcome_counts().refused == 4);
    assert_eq!(told.client.outcome_counts().taken, 0);
}

#[test]
fn a_client_that_ends_tells_of_the_slot_that_has_begun_and_one_without_scopes_tells_nothing() {
    let told = Told::start();
    told.serve(2);
    let Told { peer, client, .. } = told;
    drop(client);
    assert_eq!(requests(&peer.next_outcomes()), [2]);
    let told = Told::start();
    assert!(told.client.bool("checkout", &Context::new("ann"), false));
    let Told { peer, client, .. } = told;
    drop(client);
    assert!(peer.has_no_outcomes());
    let peer = Peer::start();
    let client = peer.builder().without_outcomes().without_exposures().start().unwrap();
    let _feed = peer.next_feed().open_with(&shop(5));
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    client.scope(&Context::new("ann")).bool("checkout", false);
    drop(client);
    assert!(peer.has_no_outcomes());
}

#[test]
fn a_machine_whose_clock_is_wrong_tells_slots_by_the_clock_of_the_server() {
    let told = Told::start();
    let server = told.slot.starts_at().0 + 95_000;
    told.peer.answer_outcomes("202 Accepted", "", &json!({"refused": [], "now": server}).to_string());
    told.serve(1);
    told.ends();
    told.peer.next_outcomes();
    until(|| told.client.outcome_counts().taken == 1);
    told.serve(5);
    let Told { peer, client, slot, .. } = told;
    drop(client);
    let second = peer.next_outcomes();
    assert_eq!(requests(&second), [5]);
    assert_eq!(second["summaries"][0]["slot"], slot.plus(9).starts_at().to_string());
}
