//! How requests come: in pieces, in a row, in older forms, and longer than they may be.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tidegate::http::Settings;

use super::{ADA, ALL, Sent, log_of_a_shop, shop};
use crate::served::{Served, next_reply, ungated};

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("small pieces leave at once");
    stream
}

/// A check that leaves its connection open.
fn check(token: &str, path: &str, version: &str, extra: &str, body: &str) -> String {
    format!(
        "POST {path} {version}\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         {extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn one(token: &str) -> String {
    check(token, &format!("{ALL}/f"), "HTTP/1.1", "", ADA)
}

#[test]
fn a_request_that_comes_in_pieces_is_answered_as_one_that_comes_whole() {
    let (served, token) = shop(Settings::default());
    let text = one(&token);
    let mut reader = BufReader::new(connect(&served));
    let body = text.len() - ADA.len();
    let whole = {
        reader.get_mut().write_all(text.as_bytes()).expect("sent");
        next_reply(&mut reader)
    };
    for cut in [1, 30, body - 1, body, body + 1, text.len() - 1] {
        for piece in [&text[..cut], &text[cut..]] {
            reader.get_mut().write_all(piece.as_bytes()).expect("sent");
            // The other piece is another read of the server's: a request on another connection is answered in between.
            assert_eq!(served.send("GET", "/healthz", &[], "").status, 200);
        }
        let reply = next_reply(&mut reader);
        assert_eq!((reply.status, &reply.text), (200, &whole.text), "cut at {cut}");
    }
}

#[test]
fn a_request_in_a_row_whose_body_never_comes_is_waited_for_no_longer_than_the_first_one() {
    let (log, token) = log_of_a_shop();
    let settings = Settings { workers: 1, request_timeout: Duration::from_secs(1), ..Settings::default() };
    let served = Served::on(log, settings, ungated());
    // Several at once, of which each but the last is seen to by the next.
    let mut readers: Vec<_> = [token.as_str(), "none", token.as_str()]
        .into_iter()
        .map(|token| {
            let mut stream = connect(&served);
            let head = one(token).replace(ADA, "");
            stream
                .write_all(format!("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n{head}").as_bytes())
                .expect("sent");
            BufReader::new(stream)
        })
        .collect();
    for (reader, status) in readers.iter_mut().zip([408, 401, 408]) {
        assert_eq!(next_reply(reader).status, 200);
        assert_eq!(next_reply(reader).status, status);
    }
}

#[test]
fn requests_that_are_sent_in_a_row_are_answered_in_their_order() {
    let (served, token) = shop(Settings::default());
    let paths = [format!("{ALL}/f"), format!("{ALL}/none"), ALL.to_owned()];
    let mut sent = String::new();
    for round in 0..20 {
        let extra = if round % 5 == 4 { "X-Request-ID: by-app\r\n" } else { "" };
        sent.push_str(&check(&token, &paths[round % 3], "HTTP/1.1", extra, ADA));
    }
    let mut reader = BufReader::new(connect(&served));
    reader.get_mut().write_all(sent.as_bytes()).expect("sent");
    for round in 0..20 {
        let reply = next_reply(&mut reader);
        assert_eq!(reply.status, [200, 404, 200][round % 3], "{round}: {}", reply.text);
        assert_eq!(reply.json()["flags"].is_array(), round % 3 == 2, "{round}");
        assert_eq!(reply.header("x-request-id") == "by-app", round % 5 == 4, "{round}");
    }
    // One that is cut off by the next read, behind ones that are whole.
    let text = one(&token);
    let (head, tail) = text.split_at(text.len() - 3);
    reader.get_mut().write_all([&text, head].concat().as_bytes()).expect("sent");
    assert_eq!(next_reply(&mut reader).status, 200);
    reader.get_mut().write_all([tail, &text].concat().as_bytes()).expect("sent");
    assert_eq!((next_reply(&mut reader).status, next_reply(&mut reader).status), (200, 200));
}

#[test]
fn a_connection_stays_open_or_is_closed_as_its_client_asks() {
    let (served, token) = shop(Settings::default());
    let path = format!("{ALL}/f");
    for (version, extra, stays, told) in [
        ("HTTP/1.1", "", true, ""),
        ("HTTP/1.1", "Connection: close\r\n", false, "close"),
        ("HTTP/1.0", "", false, ""),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true, "keep-alive"),
    ] {
        for by_app in ["", "X-Request-ID: by-app\r\n"] {
            let text = check(&token, &path, version, &format!("{extra}{by_app}"), ADA);
            let mut reader = BufReader::new(connect(&served));
            reader.get_mut().write_all(text.as_bytes()).expect("sent");
            let reply = next_reply(&mut reader);
            assert_eq!((reply.status, reply.header("connection")), (200, told), "{version} {extra}");
            if stays {
                reader.get_mut().write_all(text.as_bytes()).expect("sent");
                assert_eq!(next_reply(&mut reader).status, 200, "{version} {extra}");
            } else {
                assert_eq!(reader.read(&mut [0]).expect("closed in order"), 0, "{version} {extra}");
            }
        }
    }
}

#[test]
fn a_body_of_unknown_length_or_one_that_is_asked_for_first_is_read_all_the_same() {
    let (served, token) = shop(Settings::default());
    let head =
        format!("POST {ALL}/f HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{ADA}\r\n0\r\n\r\n", ADA.len());
    assert_eq!(served.raw(chunked.as_bytes()).expect(200)["value"], true);
    let mut reader = BufReader::new(connect(&served));
    let length = ADA.len();
    let waits = format!("{head}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    reader.get_mut().write_all(waits.as_bytes()).expect("sent");
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    reader.read_exact(&mut go_on).expect("told to go on");
    reader.get_mut().write_all(ADA.as_bytes()).expect("sent");
    assert_eq!(next_reply(&mut reader).expect(200)["value"], true);
}

#[test]
fn a_body_past_the_bound_of_the_settings_is_refused_however_short_that_is() {
    let settings = Settings { workers: 1, max_body_bytes: 512, ..Settings::default() };
    let (served, token) = shop(settings);
    for (length, status) in [(512, 200), (513, 413), (9_000, 413)] {
        let body = format!("{ADA}{}", " ".repeat(length - ADA.len()));
        for key in [None, Some("f")] {
            let sent = Sent::check(&token, key, body.as_str());
            assert_eq!(served.raw(&sent.bytes()).status, status, "{length}");
        }
    }
}

#[test]
fn whoever_goes_away_within_a_body_keeps_no_place() {
    let settings = Settings { workers: 1, max_in_flight: 2, ..Settings::default() };
    let (served, token) = shop(settings);
    for _ in 0..4 {
        let text = one(&token);
        connect(&served).write_all(&text.as_bytes()[..text.len() - 5]).expect("sent");
    }
    let mut reader = BufReader::new(connect(&served));
    reader.get_mut().write_all(one(&token).as_bytes()).expect("sent");
    // The server sees that they are gone in the order in which they came.
    assert_eq!(next_reply(&mut reader).status, 200);
}
