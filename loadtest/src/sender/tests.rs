//! The sender before servers that answer, dawdle, refuse and hang up.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender as SignalSender, channel};
use std::time::Duration;

use super::{Arrivals, Lane, Last, Meanwhile, Pace, SendError, Sender, Tally, ask};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that answers its requests by their numbers, from 0; after an answer that says so it hangs up. Ends with
/// the tests.
fn server(answer: impl Fn(u64) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || serve(socket, &count, &*answer));
        }
    });
    address
}

fn serve(mut socket: TcpStream, count: &AtomicU64, answer: &dyn Fn(u64) -> String) -> Option<()> {
    let mut lines = BufReader::new(socket.try_clone().ok()?).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        let answer = answer(count.fetch_add(1, Ordering::Relaxed));
        socket.write_all(answer.as_bytes()).ok()?;
        if answer.contains("connection: close") {
            return None;
        }
    }
}

fn lane(address: SocketAddr, connections: usize) -> Lane {
    Lane::of_same(address, b"GET / HTTP/1.1\r\n\r\n".to_vec(), 200, connections)
}

fn rate(per_second: u32) -> Pace {
    Pace::Rate { per_second, arrivals: Arrivals::Even, seed: 1 }
}

fn run(lanes: Vec<Lane>, paces: &[Pace], length: Duration) -> Result<Vec<Tally>, SendError> {
    Ok(Sender::connect(lanes)?.run(paces, length, &mut ())?.tallies)
}

#[test]
fn what_is_due_while_a_server_dawdles_counts_from_when_it_was_due() {
    // The first answer takes the whole spell. Whoever waited for it before sending the next request would have one
    // slow answer to tell of; here everybody who came meanwhile has waited, half of them for half of it.
    let (_never, nothing) = channel::<()>();
    let nothing = std::sync::Mutex::new(nothing);
    let address = server(move |number| {
        if number == 0 {
            let _ = nothing.lock().unwrap().recv_timeout(Duration::from_millis(300));
        }
        OK.to_owned()
    });
    let tallies = run(vec![lane(address, 1)], &[rate(1_000)], Duration::from_millis(300)).unwrap();
    let tally = &tallies[0];
    assert_eq!((tally.offered + tally.skipped, tally.offered - tally.answered, tally.wrong()), (300, 0, 0));
    let [most, half] = [1.0, 0.5].map(|share| tally.all_us(share));
    assert!(most >= 299_000 && half >= 50_000, "{most} us, and {half} us for half of them");
}

#[test]
fn every_answer_is_counted_for_what_it_is_and_closed_connections_are_opened_anew() {
    let address = server(|number| match number % 3 {
        0 => OK.to_owned(),
        1 => "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"),
    });
    let tallies = run(vec![lane(address, 4)], &[rate(1_000)], Duration::from_millis(90)).unwrap();
    let tally = &tallies[0];
    let refused = tally.wrong.get(&503).copied().unwrap_or_default();
    assert_eq!((refused, tally.wrong()), ((tally.offered + 1) / 3, refused), "{tally:?}");
    assert_eq!(tally.answered + tally.wrong(), tally.offered, "{tally:?}");
    assert_eq!((tally.reopened, tally.lost), (tally.offered / 3, 0), "{tally:?}");
}

#[test]
fn lanes_keep_their_own_pace_and_count_for_themselves() {
    let (one, other) = (server(|_| OK.to_owned()), server(|_| OK.to_owned()));
    let lanes = vec![lane(one, 2), lane(other, 3)];
    let tallies = run(lanes, &[rate(200), Pace::Saturate], Duration::from_millis(300)).unwrap();
    assert_eq!(tallies[0].offered + tallies[0].skipped, 60);
    assert!(tallies[1].answered >= 3, "{:?}", tallies[1]);
    for tally in &tallies {
        assert_eq!((tally.answered, tally.wrong(), tally.lost), (tally.offered, 0, 0));
    }
}

#[test]
fn a_part_of_a_spell_begins_in_time_whatever_the_part_before_still_waits_for() {
    let (_never, nothing) = channel::<()>();
    let nothing = std::sync::Mutex::new(nothing);
    let dawdles = server(move |_| {
        let _ = nothing.lock().unwrap().recv_timeout(Duration::from_millis(600));
        OK.to_owned()
    });
    let other = server(|_| OK.to_owned());
    let [end, until] = [50, 100].map(Duration::from_millis);
    let before = Pace::Between { per_second: 20, from: Duration::ZERO, until: end };
    let behind = Pace::Between { per_second: 100, from: end, until };
    let lanes = [dawdles, other].map(|address| written(address, 1)).into();
    let tallies = run(lanes, &[before, behind], until).unwrap();
    let [before, behind] = &tallies[..] else { panic!("two lanes") };
    assert_eq!((before.answered, before.answered_in_time, behind.answered), (1, 0, 5));
    assert!(behind.all_us(1.0) < 500_000, "{} us: it waited", behind.all_us(1.0));
}

#[test]
fn the_same_connections_serve_one_spell_after_another() {
    let address = server(|_| OK.to_owned());
    let mut sender = Sender::connect(vec![lane(address, 8)]).unwrap();
    for _ in 0..3 {
        let spell = sender.run(&[Pace::Saturate], Duration::from_millis(50), &mut ()).unwrap();
        assert!(spell.tallies[0].answered >= 8 && spell.tallies[0].reopened == 0, "{spell:?}");
        assert!((0.0..=1.0).contains(&spell.busy), "{spell:?}");
    }
}

#[test]
fn a_server_that_cannot_be_measured_is_said_to_be_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let spell = Duration::from_millis(50);
    let unreachable = run(vec![lane(nobody, 1)], &[rate(10)], spell).unwrap_err();
    assert!(matches!(unreachable, SendError::Unreachable { .. }), "{unreachable}");
    let closes = server(|_| OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
    let closes_all = run(vec![lane(closes, 4)], &[Pace::Saturate], Duration::from_secs(20)).unwrap_err();
    assert!(matches!(closes_all, SendError::ClosesAll { .. }), "{closes_all}");
    let stranger = server(|_| "SSH-2.0 hello\r\n\r\n".to_owned());
    let malformed = ask(stranger, b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(malformed.to_string().contains("does not begin as HTTP/1.1 does"), "{malformed}");
}

#[test]
fn a_request_may_be_written_with_the_last_answer_of_its_connection() {
    // Answers carry the number of their request; each request says which answer it follows.
    let address = server(|number| OK.replace("\r\n\r\n", &format!("\r\nETag: \"{number}\"\r\n\r\n")));
    let (told, seen) = channel();
    let write = move |request: &mut Vec<u8>, last: Last<'_>| {
        let tag = last.answer.map(|answer| answer.header("etag").unwrap().to_owned());
        assert!(last.answer.is_none_or(|answer| answer.body == b"ok" && answer.status == 200));
        request.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        told.send((last.connection, tag)).unwrap();
    };
    let lanes = vec![Lane::of_written(address, Box::new(write), 200, 2)];
    let tallies = run(lanes, &[rate(500)], Duration::from_millis(100)).unwrap();
    let tally = &tallies[0];
    assert!(tally.offered > 2 && tally.answered == tally.offered, "{tally:?}");
    let seen: Vec<(usize, Option<String>)> = seen.into_iter().collect();
    for connection in [0, 1] {
        let tags: Vec<_> = seen.iter().filter(|(at, _)| *at == connection).map(|(_, tag)| tag).collect();
        assert!(tags[0].is_none() && tags[1..].iter().all(|tag| tag.is_some()), "{tags:?}");
    }
    let mut tags: Vec<&String> = seen.iter().filter_map(|(_, tag)| tag.as_ref()).collect();
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "no answer is told twice");
}

const WAITS_NO_LONGER: &str =
    "HTTP/1.1 408 Request Timeout\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";

/// One whose requests are written is sent whatever the machine does meanwhile.
fn written(address: SocketAddr, connections: usize) -> Lane {
    let write = |request: &mut Vec<u8>, _: Last<'_>| request.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    Lane::of_written(address, Box::new(write), 200, connections)
}

/// Reads a request, and answers it or not.
fn take_request(socket: &mut TcpStream, answer: &str) {
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    socket.write_all(answer.as_bytes()).unwrap();
}

/// What becomes of two connections of which one has the only request, and the other is told so, and closed if it is,
/// before the request is answered.
fn told_unasked(unasked: &'static str, closes: bool) -> Tally {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let [(mut asked, _), (mut other, _)] = [listener.accept().unwrap(), listener.accept().unwrap()];
        other.write_all(unasked.as_bytes()).unwrap();
        let other = (!closes).then_some(other);
        // The sender has heard of it once it has another connection.
        let again = listener.accept().unwrap();
        take_request(&mut asked, OK);
        (listener, other, again)
    });
    let tally = run(vec![written(address, 2)], &[rate(5)], Duration::from_millis(150)).unwrap().remove(0);
    server.join().unwrap();
    tally
}

#[test]
fn what_nobody_asked_for_is_counted_as_broken() {
    let half = WAITS_NO_LONGER.strip_suffix("o").unwrap();
    for (unasked, closes) in [(OK, false), (OK, true), ("SSH-2.0 hello\r\n\r\n", false), (half, true)] {
        let tally = told_unasked(unasked, closes);
        assert_eq!((tally.answered, tally.broken, tally.reopened), (1, 1, 1), "{unasked}: {tally:?}");
    }
}

#[test]
fn an_idle_connection_that_the_server_closes_with_a_word_or_without_is_opened_anew() {
    let until_closed = "HTTP/1.0 408 Request Timeout\r\n\r\n";
    for (unasked, closes) in
        [("", true), (WAITS_NO_LONGER, true), (WAITS_NO_LONGER, false), (until_closed, true)]
    {
        let tally = told_unasked(unasked, closes);
        assert_eq!((tally.answered, tally.broken, tally.reopened), (1, 0, 1), "{unasked}: {tally:?}");
        assert_eq!((tally.wrong(), tally.lost), (0, 0), "{unasked}: {tally:?}");
    }
}

#[test]
fn a_connection_that_is_closed_between_two_spells_is_opened_anew_before_the_next_request() {
    for farewell in ["", WAITS_NO_LONGER] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((end, ended), (closed, is_closed)) = (channel(), channel());
        let server = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            take_request(&mut first, OK);
            ended.recv().unwrap();
            first.write_all(farewell.as_bytes()).unwrap();
            drop(first);
            closed.send(()).unwrap();
            let (mut second, _) = listener.accept().unwrap();
            take_request(&mut second, OK);
            second
        });
        let mut sender = Sender::connect(vec![written(address, 1)]).unwrap();
        let length = Duration::from_millis(20);
        let mut spell = || sender.run(&[rate(50)], length, &mut ()).unwrap().tallies.remove(0);
        let first = spell();
        end.send(()).unwrap();
        is_closed.recv().unwrap();
        let second = spell();
        assert_eq!((first.answered, first.wrong(), first.reopened), (1, 0, 0), "{first:?}");
        assert_eq!((second.answered, second.wrong(), second.reopened), (1, 0, 1), "{second:?}");
        server.join().unwrap();
    }
}

#[test]
fn an_answer_of_another_length_than_the_first_is_a_wrong_one() {
    let address =
        server(|number| if number == 3 { OK.replace("2\r\n\r\nok", "3\r\n\r\nno!") } else { OK.to_owned() });
    let tallies = run(vec![lane(address, 1).even()], &[Pace::Saturate], Duration::from_millis(90)).unwrap();
    let tally = &tallies[0];
    // On a machine that does something else all the time it may not come to that.
    let odd = u64::from(tally.offered > 3);
    assert_eq!((tally.odd, tally.wrong()), (odd, odd), "{tally:?}");
}

/// A server that goes away in the middle of its first answer, and is back once it is told.
fn server_that_goes_away(told: Receiver<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.read_exact(&mut [0; 4]).unwrap();
        drop(listener);
        drop(socket);
        // The other end is dropped.
        let _ = told.recv();
        let (socket, _) = TcpListener::bind(address).unwrap().accept().unwrap();
        serve(socket, &AtomicU64::new(0), &|_| OK.to_owned());
    });
    address
}

#[test]
fn checks_that_may_go_through_a_restart_wait_for_the_server_and_others_end_there() {
    const AWAY: Duration = Duration::from_millis(100);
    struct Tells(Option<SignalSender<()>>);
    impl Meanwhile for Tells {
        fn step(&mut self, passed: Duration, _: u64) {
            self.0 = self.0.take().filter(|_| passed < AWAY);
        }
    }
    let length = 3 * AWAY;
    let (tell, told) = channel();
    let mut sender = Sender::connect(vec![lane(server_that_goes_away(told), 1).through_restarts()]).unwrap();
    let spell = sender.run(&[rate(100)], length, &mut Tells(Some(tell))).unwrap();
    let tally = &spell.tallies[0];
    // The first is under way when it goes, the second is due 10 ms later and waits for the rest.
    assert_eq!((tally.broken, tally.lost, tally.reopened), (1, 0, 1), "{tally:?}");
    assert_eq!(tally.answered + tally.skipped, 29, "{tally:?}");
    assert!(tally.failed_ns.is_some_and(|(first, last)| first == last && Duration::from_nanos(last) < AWAY));
    assert!(tally.all_us(1.0) >= 50_000, "{}", tally.all_us(1.0));
    let (_tell, told) = channel();
    let ended = run(vec![lane(server_that_goes_away(told), 1)], &[rate(100)], length);
    assert!(matches!(ended, Err(SendError::Unreachable { .. })), "{ended:?}");
}
