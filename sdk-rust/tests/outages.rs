//! What a client does while its server is away, and when it comes back.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peer;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

use peer::{PATIENCE, Peer, changes, flag, frame, kill, live, shop, until};
use serde_json::json;
use tidegate_sdk::{BuildError, Client, Context, ErrorKind, Problem, Reason, Revision, Status, UnixMs};

fn ann() -> Context {
    Context::new("ann")
}

/// Runs a client that keeps what it is told in a directory, and ends it.
fn fill(directory: &std::path::Path, peer: &Peer) {
    let client = peer.builder().cache_dir(directory).start().unwrap();
    let mut feed = peer.next_feed().open_with(&shop(5));
    client.wait_ready(PATIENCE).unwrap();
    let changes = changes(&client);
    feed.send(&kill("checkout", 5, 6));
    until(&changes, 6);
    drop(client);
    feed.wait_for_close();
}

#[test]
fn a_start_without_the_server_serves_what_was_kept_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    fill(directory.path(), &peer);

    let client = peer.builder().cache_dir(directory.path()).start().unwrap();
    // At once, before anything was heard from the server.
    assert!(matches!(client.status(), Status::FromCache { why: None, .. }));
    assert_eq!(
        client.bool_detail("checkout", &ann(), true).reason,
        Some(Reason::Killed(tidegate_sdk::Height::Flag))
    );
    assert_eq!(client.string("colour", &ann(), "red"), "blue");
    assert_eq!(client.cache_problem(), None);
    let feed = peer.next_feed();
    assert!(feed.head.contains("last-event-id: l:6\r\n"), "{}", feed.head);
    feed.refuse("503 Service Unavailable", "retry-after: 60\r\n");
    let status = client.wait_ready(PATIENCE).unwrap();
    assert!(
        matches!(&status, Status::FromCache { why: Some(Problem::Refused { status: 503 }), .. }),
        "{status}"
    );
}

#[test]
fn what_was_kept_for_one_key_is_not_served_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    fill(directory.path(), &peer);
    let other = Client::builder(&peer.url, "tg_other").cache_dir(directory.path()).start().unwrap();
    assert_eq!(other.status(), Status::Starting);
}

#[test]
fn a_damaged_cache_is_reported_and_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    fill(directory.path(), &peer);
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("blue", "pink")).unwrap();

    let client = peer.builder().cache_dir(directory.path()).start().unwrap();
    assert_eq!(client.string_detail("colour", &ann(), "red").error, Some(ErrorKind::NotReady));
    assert!(client.cache_problem().unwrap().contains("damaged"));
    let _feed = peer.next_feed().open_with(&shop(7));
    client.wait_ready(PATIENCE).unwrap();
    drop(client);
    let again = peer.builder().cache_dir(directory.path()).start().unwrap();
    assert_eq!(again.string("colour", &ann(), "red"), "blue");
}

#[test]
fn a_directory_that_cannot_be_written_is_reported_and_checks_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let peer = Peer::start();
    let client = peer.builder().cache_dir(file.join("below")).start().unwrap();
    let mut feed = peer.next_feed().open_with(&shop(5));
    client.wait_ready(PATIENCE).unwrap();
    // A kill is written at once.
    feed.send(&kill("checkout", 5, 6));
    let begun = std::time::Instant::now();
    while client.cache_problem().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the problem is reported");
        std::thread::yield_now();
    }
    assert_eq!(client.string("colour", &ann(), "red"), "blue");
}

#[test]
fn what_could_not_be_written_is_written_once_there_is_a_way() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("below");
    std::fs::write(&below, "in the way").unwrap();
    let peer = Peer::start();
    let client = peer.builder().cache_dir(&below).start().unwrap();
    let of_reading = client.cache_problem();
    let mut feed = peer.next_feed().open_with(&shop(5));
    client.wait_ready(PATIENCE).unwrap();
    feed.send(&kill("checkout", 5, 6));
    let begun = std::time::Instant::now();
    while client.revision() != Some(Revision(6)) || client.cache_problem() == of_reading {
        assert!(begun.elapsed() < PATIENCE, "the problem of writing is reported");
        std::thread::yield_now();
    }
    std::fs::remove_file(&below).unwrap();
    drop(client);
    let again = peer.builder().cache_dir(&below).start().unwrap();
    assert!(!again.bool("checkout", &ann(), true), "the kill was kept: {}", again.status());
}

#[test]
fn flags_expire_on_their_date_without_the_server_and_stay_expired() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = |now: &Arc<AtomicU64>| {
        let now = Arc::clone(now);
        move || UnixMs(now.load(Ordering::Relaxed))
    };
    let mut short = flag("short", "boolean", &json!(true), &json!(false));
    short["expires_at"] = json!(2_000_000);
    let snapshot =
        frame(5, &json!({"snapshot": {"app": "shop", "environment": "production", "flags": [short]}}));
    let client = peer.builder().cache_dir(directory.path()).clock(clock(&now)).start().unwrap();
    let feed = peer.next_feed().open_with(&snapshot);
    client.wait_ready(PATIENCE).unwrap();
    drop(client);
    drop(feed);

    let client =
        Client::builder(&peer.url, "tg_key").cache_dir(directory.path()).clock(clock(&now)).start().unwrap();
    assert!(client.bool("short", &ann(), false));
    now.store(2_000_000, Ordering::Relaxed);
    let expired = client.bool_detail("short", &ann(), true);
    assert_eq!((expired.value, expired.reason), (false, Some(Reason::Expired)));
    // A clock that is set back does not bring the flag back.
    now.store(1_500_000, Ordering::Relaxed);
    assert!(!client.bool("short", &ann(), true));
}

#[test]
fn a_client_that_is_cut_off_says_so_and_resumes_where_it_was() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    feed.send(&kill("checkout", 5, 6));
    until(&changes, 6);
    feed.end();
    let feed = peer.next_feed();
    assert!(feed.head.contains("last-event-id: l:6\r\n"), "{}", feed.head);
    assert!(matches!(client.status(), Status::Stale { why: Problem::Ended, .. }), "{}", client.status());
    assert!(!client.bool("checkout", &ann(), true));
    let _feed = feed.open_with(&kill("colour", 6, 8));
    until(&changes, 8);
    assert_eq!(client.string("colour", &ann(), "red"), "grey");
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
}

#[test]
fn a_server_that_comes_back_is_told_again_which_kills_are_in_effect() {
    let peer = Peer::start();
    let (_client, mut feed) = live(&peer);
    feed.send(&kill("checkout", 5, 6));
    assert_eq!(peer.next_ack()["kill_ids"], json!(["kill-6"]));
    feed.end();
    let mut feed = peer.next_feed().open();
    feed.chunk(b": hb\n\n");
    let ack = peer.next_ack();
    assert_eq!((&ack["revision"], &ack["kill_ids"]), (&json!(6), &json!(["kill-6"])));
}

#[test]
fn a_broken_connection_is_an_end_like_any_other() {
    let peer = Peer::start();
    let (client, feed) = live(&peer);
    feed.cut();
    let _feed = peer.next_feed().open_with(&shop(9));
    assert_eq!(client.wait_ready(PATIENCE).map(|status| status.is_live()), Ok(true));
}

#[test]
fn a_stream_that_falls_silent_is_given_up() {
    let peer = Peer::start();
    let client = peer.builder().silence(Duration::from_secs(1)).start().unwrap();
    let feed = peer.next_feed().open_with(&shop(5));
    client.wait_ready(PATIENCE).unwrap();
    feed.wait_for_close();
    let again = peer.next_feed();
    assert!(matches!(client.status(), Status::Stale { why: Problem::Silent, .. }), "{}", client.status());
    assert!(again.head.contains("last-event-id: l:5\r\n"));
}

#[test]
fn a_frame_that_does_not_fit_is_answered_with_a_fresh_start() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    feed.send(&kill("checkout", 8, 9));
    feed.wait_for_close();
    let feed = peer.next_feed();
    assert!(!feed.head.contains("last-event-id"), "{}", feed.head);
    assert!(
        matches!(client.status(), Status::Stale { why: Problem::Unusable { .. }, .. }),
        "{}",
        client.status()
    );
    assert!(client.bool("checkout", &ann(), false), "what it had stays");
}

#[test]
fn a_wrong_key_is_reported_without_waiting() {
    let peer = Peer::start();
    let client = peer.builder().start().unwrap();
    let feed = peer.next_feed();
    assert!(feed.head.contains("authorization: bearer tg_key\r\n"), "{}", feed.head);
    feed.refuse("401 Unauthorized", "");
    let error = client.wait_ready(PATIENCE).unwrap_err();
    assert!(matches!(error.status, Status::Offline { why: Problem::Unauthorized, .. }), "{error}");
    assert!(client.bool("checkout", &ann(), true), "the default");
}

#[test]
fn an_answer_that_is_no_stream_is_reported() {
    let peer = Peer::start();
    let client = peer.builder().start().unwrap();
    peer.next_feed().refuse("200 OK", "content-type: text/html\r\n");
    let again = peer.next_feed();
    let status = client.status();
    assert!(status.to_string().contains("is this the address of a Tidegate server?"), "{status}");
    drop(again);
}

#[test]
fn a_client_whose_thread_has_stopped_says_so_and_goes_on_answering() {
    let peer = Peer::start();
    let driver = Arc::new(AtomicU64::new(0));
    let fails = Arc::clone(&driver);
    let clock = move || {
        let is_driver = std::thread::current().name() == Some("tidegate-sdk");
        if is_driver && fails.load(Ordering::Relaxed) == 1 {
            std::panic::resume_unwind(Box::new("the clock's own fault"));
        }
        UnixMs(1_000_000)
    };
    let client = peer.builder().clock(clock).start().unwrap();
    let mut feed = peer.next_feed().open_with(&shop(5));
    client.wait_ready(PATIENCE).unwrap();
    driver.store(1, Ordering::Relaxed);
    feed.send(&kill("checkout", 5, 6));
    feed.wait_for_close();
    let begun = std::time::Instant::now();
    while client.status().is_live() {
        assert!(begun.elapsed() < PATIENCE, "it says that it has stopped");
        std::thread::yield_now();
    }
    assert_eq!(client.status().problem(), Some(&Problem::Stopped));
    assert!(client.wait_ready(PATIENCE).unwrap().has_flags());
    assert_eq!(client.string("colour", &ann(), "red"), "blue");
}

#[test]
fn waiting_ends_when_its_time_is_over() {
    let peer = Peer::start();
    let client = peer.builder().start().unwrap();
    let _mute = peer.next_feed();
    let error = client.wait_ready(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.status, Status::Starting);
}

#[test]
fn an_executor_without_a_runtime_behind_it_can_wait_for_a_client() {
    let peer = Peer::start();
    let client = peer.builder().start().unwrap();
    let early = run_alone(client.ready(Duration::from_millis(10)));
    assert_eq!(early.unwrap_err().status, Status::Starting);
    let _feed = peer.next_feed().open_with(&shop(5));
    assert!(run_alone(client.ready(PATIENCE)).unwrap().is_live());
}

/// Runs a future on this thread, as the smallest of executors does: without timers and without sockets.
fn run_alone<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut task::Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn a_client_lives_and_dies_inside_an_async_runtime() {
    let peer = Peer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = peer.builder().start().unwrap();
        let waiting = client.ready(PATIENCE);
        let feed = peer.next_feed().open_with(&shop(5));
        assert!(waiting.await.unwrap().is_live());
        assert!(client.bool("checkout", &ann(), false));
        let short = client.ready(Duration::from_millis(10)).await;
        assert!(short.unwrap().is_live());
        drop(client);
        feed.wait_for_close();
    });
}

#[test]
fn the_last_clone_closes_the_connection_even_from_a_listener() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let clone = client.clone();
    drop(client);
    assert!(clone.bool("checkout", &ann(), false));
    let (give, take) = std::sync::mpsc::channel::<Client>();
    let take = std::sync::Mutex::new(take);
    clone.on_change(move |_| drop(take.lock().unwrap().recv()));
    feed.send(&kill("checkout", 5, 6));
    give.send(clone).unwrap();
    feed.wait_for_close();
}

#[test]
fn mistakes_in_the_program_are_typed_errors() {
    let error = |url: &str, key: &str| Client::builder(url, key).start().unwrap_err();
    assert!(matches!(error("localhost", "tg_key"), BuildError::Url { .. }));
    assert!(matches!(error("ftp://host", "tg_key"), BuildError::Url { .. }));
    assert!(matches!(error("http://host", "two words"), BuildError::Key));
    assert!(!format!("{:?}", Client::builder("http://host", "tg_secret")).contains("tg_secret"));
}
