//! A server that is offered far more than it takes says so, in a form that clients understand, and does not let go
//! of what has to work all the same.

use crate::served;

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rollout_rules::time::DurationMs;
use serde_json::json;
use served::{Reply, Served, next_reply};
use tidegate::http::Settings;

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests that a token may make at once.
const MAY: u32 = 100;
/// Places for requests under way.
const PLACES: usize = 8;

/// A server with a flag `f` that is on, and its token for SDKs.
fn served(settings: Settings) -> (Served, String) {
    let served = Served::with(Settings { workers: 1, ..settings }, crate::served::ungated());
    served.shop();
    served.flag_on("f");
    let sdk = served.token("sdk-server");
    (served, sdk)
}

fn request(path: &str, token: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn check(token: &str) -> String {
    request("/ofrep/v1/evaluate/flags/f", token, r#"{"context":{"targetingKey":"a"}}"#)
}

/// A connection on which this was sent.
fn send(served: &Served, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(text.as_bytes()).expect("sent");
    stream
}

/// Whether an answer grants the check; if not, it has to say when to come again, as OFREP's clients read it.
#[track_caller]
fn is_granted(reply: &Reply) -> bool {
    let body = reply.json();
    match reply.status {
        200 => assert_eq!(body["value"], true),
        429 | 503 => {
            let seconds: u64 = reply.header("retry-after").parse().expect("whole seconds");
            assert!((1..=60).contains(&seconds), "{seconds}");
            assert_eq!(body["errorCode"], "GENERAL", "{body}");
            assert!(body["errorDetails"].is_string(), "{body}");
        }
        other => panic!("a check was answered with {other}: {body}"),
    }
    reply.status == 200
}

/// What an orchestrator and an operator need at any time.
#[track_caller]
fn is_well_and_kills(served: &Served, kill_id: &str) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(served.send("GET", path, &[], "").status, 200, "{path}");
    }
    served.post("/v1/apps/shop/flags/other/kill", &json!({ "kill_id": kill_id })).expect(200);
}

/// Asks until checks are granted again.
fn granted_again(served: &Served, sdk: &str) {
    let begun = Instant::now();
    while !is_granted(&served.check(sdk, "f", &json!({"targetingKey": "a"}))) {
        assert!(begun.elapsed() < PATIENCE, "the places come back");
    }
}

#[test]
fn ten_times_the_load_is_shed_with_when_to_come_again_and_then_all_is_granted() {
    let settings = Settings { requests_per_second: Some(MAY), burst: MAY, ..Settings::default() };
    let (served, sdk) = served(settings);
    served.flag_on("other");
    let mut granted = 0;
    for round in 0..3 {
        // All at once, on ten connections.
        let all: Vec<TcpStream> = (0..10).map(|_| send(&served, &check(&sdk).repeat(MAY as usize))).collect();
        is_well_and_kills(&served, &format!("k-{round}"));
        for stream in all {
            let mut reader = BufReader::new(stream);
            granted += (0..MAY).filter(|_| is_granted(&next_reply(&mut reader))).count();
        }
        assert_eq!(granted, MAY as usize * (round + 1), "what is allowed is granted, and nothing above it");
        served.clock.advance(DurationMs(1_000));
    }
    for _ in 0..MAY {
        assert!(is_granted(&served.check(&sdk, "f", &json!({"targetingKey": "a"}))), "the load is gone");
    }
}

#[test]
fn while_all_places_are_taken_checks_are_told_when_to_come_again_and_health_and_kills_are_answered() {
    let (served, sdk) = served(Settings { max_in_flight: PLACES, ..Settings::default() });
    served.flag_on("other");
    let whole = request("/v1/apps", &served.admin, &format!("{:900}", "{}"));
    // Their bodies never end.
    let held: Vec<TcpStream> = (0..PLACES).map(|_| send(&served, &whole[..whole.len() - 800])).collect();
    let begun = Instant::now();
    let under_way = || {
        let metrics = served.send("GET", "/metrics", &[], "").text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("tidegate_requests_in_flight "));
        line.and_then(|count| count.parse::<f64>().ok()).expect("the gauge is there")
    };
    // The one that asks is under way, too.
    while under_way() < 1.0 + f64::from(u32::try_from(PLACES).expect("few")) {
        assert!(begun.elapsed() < PATIENCE, "all places are taken");
    }
    let mut reader = BufReader::new(send(&served, &check(&sdk).repeat(10 * PLACES)));
    for _ in 0..10 * PLACES {
        let reply = next_reply(&mut reader);
        assert!(!is_granted(&reply) && reply.status == 503, "{reply:?}");
    }
    served.get("/v1/apps").refused(503, "busy");
    is_well_and_kills(&served, "k-1");
    drop(held);
    granted_again(&served, &sdk);
}

#[test]
fn a_connection_goes_on_after_an_answer_that_did_not_wait_for_the_body() {
    let (served, sdk) = served(Settings::default());
    let mut reader = BufReader::new(send(&served, &check("tg_sdk-server_nobody_knows-this")));
    assert_eq!(next_reply(&mut reader).status, 401);
    for body in ["{}".to_owned(), format!("{{\"much\":\"{}\"}}", "x".repeat(20_000))] {
        let nowhere = request("/v1/nowhere", &sdk, &body);
        reader.get_mut().write_all(nowhere.as_bytes()).expect("sent");
        assert_eq!(next_reply(&mut reader).status, 404);
    }
    reader.get_mut().write_all(check(&sdk).as_bytes()).expect("sent");
    assert!(is_granted(&next_reply(&mut reader)));
}
