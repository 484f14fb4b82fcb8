//! Whoever sends what nobody should send gets a refusal, and nobody else notices.

use crate::served;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rollout_rules::feed::machine::MAX_ACK_KILLS;
use rollout_rules::flag::MAX_ENVIRONMENTS;
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use served::{START, Served};
use tidegate::http::Settings;

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);

fn one_worker() -> Settings {
    Settings { workers: 1, ..Settings::default() }
}

fn connect(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A request with a body of these bytes.
fn request(path: &str, token: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    [head.as_bytes(), b"\r\n", body].concat()
}

/// The same, after which the connection ends.
fn last_request(path: &str, token: &str, body: &[u8]) -> Vec<u8> {
    let whole = request(path, token, body);
    let line = whole.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
    [&whole[..line], b"Connection: close\r\n", &whole[line..]].concat()
}

/// Reads the answers to requests that were sent one after the other over one connection: their statuses.
fn statuses(reader: &mut BufReader<TcpStream>, count: usize) -> Vec<u16> {
    let mut found = Vec::new();
    for _ in 0..count {
        let (mut line, mut length, mut status) = (String::new(), 0, None);
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a line of the head");
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("the body");
        found.push(status.expect("a status"));
    }
    found
}

#[test]
fn bodies_that_no_client_would_send_are_refused_in_our_own_form_at_every_route() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let deep = |open: &str, close: &str| [open.repeat(20_000), close.repeat(20_000)].concat().into_bytes();
    let bodies: [Vec<u8>; 11] = [
        b"{\"key\":\"\xff\xfe\"}".to_vec(),
        b"\xef\xbb\xbf{}x".to_vec(),
        b"\0\0\0\0".to_vec(),
        br#"{"key":"\ud800"}"#.to_vec(),
        br#"{"key":1e999999}"#.to_vec(),
        b"{\"key\":\"a\"".to_vec(),
        b"[".repeat(100_000),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        [b"{\"context\":".to_vec(), deep("[", "]"), b"}".to_vec()].concat(),
        b"\"".to_vec(),
    ];
    for path in [
        "/v1/apps",
        "/v1/apps/shop/environments",
        "/v1/apps/shop/flags",
        "/v1/apps/shop/flags/f/kill",
        "/v1/apps/shop/flags/f/extend",
        "/v1/kill",
        "/v1/tokens",
        "/v1/proposals",
        "/v1/segments/s/members",
        "/v1/feed/ack",
        "/ofrep/v1/evaluate/flags?app=shop&environment=live",
        "/ofrep/v1/evaluate/flags/f?app=shop&environment=live",
    ] {
        for body in &bodies {
            let reply = served.raw(&last_request(path, &served.admin, body));
            let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(reply.status, 400, "{path} with {start}: {}", reply.text);
            let answer = reply.json();
            let code = if path.starts_with("/ofrep/") { &answer["errorCode"] } else { &answer["code"] };
            assert!(code.is_string(), "{path} with {start}: {answer}");
        }
    }
    served.get("/v1/apps").expect(200);
}

#[test]
fn a_name_that_stands_twice_in_an_object_is_refused_by_name() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let post = |path: &str, body: &str| served.raw(&last_request(path, &served.admin, body.as_bytes()));
    let named = |path: &str, body: &str, name: &str| {
        let refused = post(path, body).refused(400, "invalid_body");
        assert!(refused["detail"].as_str().unwrap_or("").contains(&format!("`{name}`")), "{refused}");
    };
    named("/v1/apps", r#"{"key":"a","key":"b"}"#, "key");
    let variants = r#"[{"key":"a","value":{"x":[{"colour":1,"colour":2}]}},{"key":"b","value":{}}]"#;
    let flag = format!(r#"{{"key":"g","type":"object","off_variant":"b","variants":{variants}}}"#);
    named("/v1/apps/shop/flags", &flag, "colour");
    for path in ["/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/f"] {
        for context in [
            r#"{"targetingKey":"a","plan":"free","plan":"pro"}"#,
            r#"{"targetingKey":"a","user":{"plan":"free","age":1,"plan":"pro"}}"#,
            r#"{"targetingKey":"a","user":[{"plan":"free","plan":"pro"}]}"#,
        ] {
            let path = format!("{path}?app=shop&environment=live");
            let reply = post(&path, &format!(r#"{{"context":{context}}}"#));
            assert_eq!((reply.status, reply.json()["errorCode"].as_str()), (400, Some("INVALID_CONTEXT")));
            assert!(reply.text.contains("`plan`"), "{}", reply.text);
        }
        let twice = r#"{"context":{"targetingKey":"a","targetingKey":"b"}}"#;
        let reply = post(&format!("{path}?app=shop&environment=live"), twice);
        assert!(reply.status == 400 && reply.text.contains("`targetingKey`"), "{}", reply.text);
    }
}

#[test]
fn lists_without_end_are_refused_and_cost_nobody_anything() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let post = |path: &str, token: &str, body: &Value| {
        served.raw(&last_request(path, token, body.to_string().as_bytes()))
    };
    let environments: Vec<Value> =
        (0..=MAX_ENVIRONMENTS).map(|index| json!({"key": format!("e{index}"), "kind": "sandbox"})).collect();
    let app = |count: usize| json!({"key": "a", "environments": environments[..count]});
    post("/v1/apps", &served.admin, &app(MAX_ENVIRONMENTS + 1)).refused(422, "too_many");
    served.get("/v1/apps/a").refused(404, "not_found");
    post("/v1/apps", &served.admin, &app(MAX_ENVIRONMENTS)).expect(201);

    let sdk = served.token("sdk-server");
    let mut feed = served.stream(&sdk, "/v1/feed?instance=i", &[]);
    feed.event();
    let ids: Vec<String> = (0..=MAX_ACK_KILLS).map(|index| format!("k{index}")).collect();
    let ack = |ids: &[String]| json!({"instance": "i", "revision": 1, "kill_ids": ids});
    post("/v1/feed/ack", &sdk, &ack(&ids)).refused(422, "too_many");
    post("/v1/feed/ack", &sdk, &ack(&ids[1..])).expect(204);

    // They fit into a body, and into no entry of the log.
    let units: Vec<String> = (0..12_000).map(|index| format!("unit-{index}")).collect();
    served.call(&served.admin, "PUT", "/v1/segments/s", &[], &json!({})).expect(200);
    let members = "/v1/segments/s/members";
    post(members, &served.admin, &json!({ "add": units })).refused(413, "too_large");
    assert_eq!(served.get("/v1/segments/s").expect(200)["members"], 0);
    post(members, &served.admin, &json!({ "add": units[..100] })).expect(200);

    let check = "/ofrep/v1/evaluate/flags/f?app=shop&environment=live";
    let long = json!({"targetingKey": "a", "list": vec![1; 100_000]});
    let mut wide = serde_json::Map::from_iter((0..10_000).map(|index| (format!("a{index}"), json!(1))));
    wide.insert("targetingKey".to_owned(), json!("a"));
    for context in [long, wide.into()] {
        let reply = post(check, &served.admin, &json!({ "context": context }));
        assert_eq!(reply.expect(400)["errorCode"], "INVALID_CONTEXT");
    }
    let query = format!("/v1/apps?{}", "limit=1&".repeat(2_000));
    served.get(&query).refused(400, "invalid_parameter");
}

#[test]
fn whoever_breaks_off_in_the_middle_of_a_body_leaves_nothing_behind() {
    let settings = Settings { max_in_flight: 4, ..one_worker() };
    let served = Served::with(settings, crate::served::ungated());
    for round in 0..20 {
        let mut stream = connect(&served);
        let whole = last_request("/v1/apps", &served.admin, &[b' '; 1_000]);
        stream.write_all(&whole[..whole.len() - 900]).expect("sent");
        if round % 2 == 0 {
            stream.shutdown(Shutdown::Write).expect("half closed");
            let mut answer = String::new();
            // Refused or just let go.
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
    }
    // Four at most may be under way: a place that was not given back would show as 503.
    let begun = Instant::now();
    while served.get("/v1/apps").status != 200 {
        assert!(begun.elapsed() < PATIENCE, "the places of broken requests come back");
    }
}

#[test]
fn whoever_dribbles_is_told_that_it_took_too_long() {
    let settings = Settings { request_timeout: Duration::from_millis(200), ..one_worker() };
    let served = Served::with(settings, crate::served::ungated());
    let slow: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(&served);
            stream.write_all(b"POST /v1/apps HTTP/1.1\r\nHos").expect("sent");
            stream
        })
        .collect();
    let mut half = connect(&served);
    let whole = last_request("/v1/apps", &served.admin, &[b' '; 1_000]);
    half.write_all(&whole[..whole.len() - 999]).expect("sent");
    served.get("/v1/apps").expect(200);
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and the end");
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    let mut answer = String::new();
    half.read_to_string(&mut answer).expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
}

#[test]
fn a_feed_client_that_stops_reading_is_let_go_and_the_others_hear_everything() {
    const CHANGES: usize = 40;
    let settings = Settings { write_timeout: Duration::from_secs(1), ..one_worker() };
    let served = Served::with(settings, crate::served::ungated());
    served.shop();
    let token = served.token("sdk-server");
    let mut reading = served.stream(&token, "/v1/feed", &[]);
    let mut stuck = connect(&served);
    rustix::net::sockopt::set_socket_recv_buffer_size(&stuck, 4_096).expect("a small window");
    write!(stuck, "GET /v1/feed HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").expect("sent");
    let open = || {
        let metrics = served.send("GET", "/metrics", &[], "").text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("tidegate_streams "));
        line.expect("the gauge is there").to_owned()
    };
    let begun = Instant::now();
    while open() != "2" {
        assert!(begun.elapsed() < PATIENCE, "both are connected");
    }
    assert_eq!(reading.event().name, "snapshot");
    let text = "x".repeat(7_000);
    for index in 0..CHANGES {
        let variants = json!([{"key": "a", "value": text}, {"key": "b", "value": "short"}]);
        let flag =
            json!({"key": format!("f{index}"), "type": "string", "variants": variants, "off_variant": "b"});
        served.post("/v1/apps/shop/flags", &flag).expect(201);
        assert_eq!(reading.event().name, "change");
    }
    let begun = Instant::now();
    while open() != "1" {
        assert!(begun.elapsed() < PATIENCE, "the place of a client that stopped reading comes back");
    }
    served.flag_on("last");
    assert_eq!(reading.event().name, "change");
}

#[test]
fn ten_thousand_guessed_tokens_learn_nothing_and_lock_nobody_out() {
    const ROUNDS: usize = 100;
    let served = Served::start();
    served.shop();
    let allowed = Settings::default().failed_logins_per_minute as usize;
    let mut stream = connect(&served);
    let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
    let (mut refused, mut limited) = (0, 0);
    for round in 0..ROUNDS {
        let requests: String = (0..100)
            .map(|index| {
                let guess = format!("tg_admin_{round:012}_{index:032}");
                format!("GET /v1/apps HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {guess}\r\n\r\n")
            })
            .collect();
        stream.write_all(requests.as_bytes()).expect("sent");
        for status in statuses(&mut reader, 100) {
            match status {
                401 => refused += 1,
                429 => limited += 1,
                other => panic!("a guess was answered with {other}"),
            }
        }
    }
    assert_eq!((refused, limited), (allowed, ROUNDS * 100 - allowed));
    served.get("/v1/apps").expect(200);
}

#[test]
fn a_flood_of_headers_is_refused() {
    let served = Served::start();
    let many: String = (0..200).map(|index| format!("X-{index}: y\r\n")).collect();
    let reply = served.raw(format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes());
    assert_eq!(reply.status, 431);
    // These are cut off while they are sent, so the answer may be lost with the connection.
    for flood in ["X-Long: ".to_owned() + &"y".repeat(4 << 20), "X: y\r\n".repeat(1 << 20)] {
        let mut stream = connect(&served);
        let _ = stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{flood}").as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{:?}", &answer[..20]);
    }
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(200_000));
    let mut stream = connect(&served);
    let _ = stream.write_all(path.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", &answer[..20]);
    assert_eq!(served.send("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn ten_times_what_a_token_may_ask_is_shed_and_a_kill_goes_through() {
    const MAY: u32 = 100;
    let settings = Settings { requests_per_second: Some(MAY), burst: MAY, ..one_worker() };
    let served = Served::with(settings, crate::served::ungated());
    served.shop();
    served.flag_on("f");
    let sdk = served.token("sdk-server");
    let check = request("/ofrep/v1/evaluate/flags/f", &sdk, br#"{"context":{"targetingKey":"a"}}"#);
    let mut accepted = 0;
    for round in 0..10 {
        let mut stream = connect(&served);
        stream.write_all(&check.repeat(MAY as usize)).expect("sent");
        let mut reader = BufReader::new(stream);
        for status in statuses(&mut reader, MAY as usize) {
            assert!(matches!(status, 200 | 429), "{status}");
            accepted += u32::from(status == 200);
        }
        served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": format!("k{round}")})).expect(200);
    }
    assert_eq!(accepted, MAY, "the clock stands still, so no more than the burst");
}

#[test]
fn a_clock_that_is_set_back_an_hour_changes_what_time_it_is_and_nothing_else() {
    let served = Served::start();
    served.shop();
    let seen = served.flag_on("f");
    let sdk = served.token("sdk-server");
    let mut feed = served.stream(&sdk, "/v1/feed?instance=i-1", &[]);
    feed.event();
    let value = || served.check(&sdk, "f", &json!({"targetingKey": "a"})).expect(200)["value"].clone();
    assert_eq!(value(), true);
    served.clock.set(UnixMs(START.0 - 60 * 60 * 1_000));
    assert_eq!(value(), true);
    let bulk = served.call(
        &sdk,
        "POST",
        "/ofrep/v1/evaluate/flags",
        &[],
        &json!({"context": {"targetingKey": "a"}}),
    );
    let url = bulk.expect(200)["eventStreams"][0]["url"].as_str().expect("a stream").to_owned();
    let path = url.find("/ofrep").map(|at| &url[at..]).expect("a path");
    drop(served.stream("", path, &[]));

    let state = "/v1/apps/shop/flags/f/environments/live";
    served.patch(state, &seen, &json!({"exposure": 50})).expect(200);
    assert_eq!(feed.event().name, "change");
    served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k-1"})).expect(200);
    assert_eq!((feed.event().name.as_str(), value()), ("change", json!(false)));
    served.post("/v1/apps/shop/flags/f/revive", &json!({"reason": "again"})).expect(200);
    assert_eq!(value(), false);
    served.flag_on("g");
    served.token("sdk-browser");
    let log = served.get("/v1/log?limit=500").expect(200);
    let revisions: Vec<_> =
        log["items"].as_array().expect("entries").iter().map(|entry| entry["revision"].as_u64()).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    // And forward again: what expires then expires.
    served.clock.set(UnixMs(START.0 + 40 * 24 * 60 * 60 * 1_000));
    let expired = served.check(&sdk, "g", &json!({"targetingKey": "a"})).expect(200);
    assert_eq!(expired["value"], false);
    assert!(expired["metadata"]["tidegate.expired_at"].is_string(), "{expired}");
}
