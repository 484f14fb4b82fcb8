//! Bodies that nobody reads, of requests that are refused before: a short one costs neither the connection nor time in
//! the metrics, and what is long, slow or never comes costs no more than the connection.

use crate::served;

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use served::{Served, next_reply};

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most of a body that is read for nobody, in bytes.
const MOST: usize = 64 * 1024;
/// How long the rest of a body is waited for.
const WAIT: Duration = Duration::from_millis(100);
/// Far more of a body than is read for nobody, and than what waits in between is room for.
const LONG: usize = 1024 * 1024;
/// Another request, the last on its connection.
const NEXT: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A connection on which a request without a valid token was sent, with so much of its body.
fn refused(served: &Served, length: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = format!(
        "POST /v1/exposures HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer tg_sdk-server_nobody_knows-this\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let text = [head.into_bytes(), vec![b' '; sent]].concat();
    stream.write_all(&text).expect("sent");
    stream
}

/// The statuses of all answers until the server closes the connection.
fn answers(mut stream: TcpStream) -> Vec<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("closed in order");
    let heads = text.match_indices("HTTP/1.1 ");
    heads.map(|(at, word)| text[at + word.len()..][..3].to_owned()).collect()
}

/// Sends the next request only when the first is answered: what is sent before is read along with the body.
fn goes_on(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    assert_eq!(next_reply(&mut reader).status, 401);
    reader.get_mut().write_all(NEXT.as_bytes()).expect("the connection is open");
    assert_eq!(next_reply(&mut reader).status, 200);
}

#[test]
fn a_connection_goes_on_after_an_unread_body_up_to_the_bound_and_ends_past_it() {
    let served = Served::start();
    goes_on(refused(&served, MOST, MOST));
    assert_eq!(answers(refused(&served, LONG, MOST + 1)), ["401"]);
    // Whoever sends it all has it cut off: the answer may be lost with the connection, and nothing is answered after.
    let mut past = refused(&served, LONG, 1);
    let _ = past.write_all(&vec![b' '; LONG - 1]).and_then(|()| past.write_all(NEXT.as_bytes()));
    let mut heard = Vec::new();
    let _ = past.read_to_end(&mut heard);
    assert!(!String::from_utf8_lossy(&heard).contains("HTTP/1.1 200"), "{heard:?}");
}

#[test]
fn a_body_that_comes_slowly_is_not_waited_for_and_its_time_is_not_that_of_the_request() {
    let served = Served::start();
    let seconds = || -> f64 {
        let all = served.send("GET", "/metrics", &[], "").text;
        let of = r#"tidegate_http_request_seconds_sum{route="/v1/exposures",method="POST"} "#;
        let sum = all.lines().find_map(|line| line.strip_prefix(of));
        sum.map_or(0.0, |sum| sum.parse().expect("a number"))
    };
    let (before, began) = (seconds(), Instant::now());
    for _ in 0..5 {
        assert_eq!(answers(refused(&served, 100, 3)), ["401"]);
    }
    let (took, told) = (began.elapsed(), seconds() - before);
    // Each of them was waited for.
    let waited = 5.0 * WAIT.as_secs_f64();
    assert!(told > 0.0 && told < waited, "{told} of {took:?}");
    assert!(took.as_secs_f64() >= waited && took < PATIENCE, "{took:?}");
}

#[test]
fn whoever_goes_away_before_the_body_is_sent_is_not_waited_for() {
    let served = Served::start();
    for _ in 0..50 {
        drop(refused(&served, 100, 3));
    }
    let began = Instant::now();
    let half = refused(&served, 100, 3);
    half.shutdown(Shutdown::Write).expect("half closed");
    let heard = answers(half);
    assert!(heard.is_empty() || heard == ["401"], "{heard:?}");
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    goes_on(refused(&served, 3, 3));
}
