//! The operator's tool on a bad network: connections that break, servers that are busy, absent or none
//! of ours. The peer here is a socket that answers as it is told.

use crate::running;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use running::{Following, Said, run, tidegate};
use serde_json::Value;

/// A request as it came over the wire.
#[derive(Debug)]
struct Heard {
    head: String,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Answers one connection after the other with these texts; an empty one breaks the connection.
fn peer(answers: Vec<String>) -> (String, JoinHandle<Vec<Heard>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let talk = move || {
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let heard = hear(&stream);
                stream.write_all(answer.as_bytes()).expect("the tool listens");
                heard
            })
            .collect()
    };
    (url, std::thread::spawn(talk))
}

fn hear(stream: &TcpStream) -> Heard {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "the request ends early: {head}");
    }
    let mut heard = Heard { head, body: String::new() };
    let length = heard.header("content-length").map_or(0, |text| text.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    heard.body = String::from_utf8(body).expect("text");
    heard
}

fn answer(status: &str, more_head: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more_head}\r\n{body}")
}

fn tool(url: &str, arguments: &[&str]) -> Said {
    run(tidegate().env("TIDEGATE_URL", url).env("TIDEGATE_TOKEN", "tg_x").args(arguments))
}

#[test]
fn a_kill_is_sent_under_one_id_until_it_is_acknowledged() {
    let done = answer("200 OK", "", r#"{"kill_id":"k","revision":7,"durable":true,"already":false}"#);
    let busy = answer("503 Service Unavailable", "retry-after: 1\r\n", r#"{"code":"busy","detail":"busy"}"#);
    let (url, heard) = peer(vec![String::new(), busy, done]);
    let said = tool(
        &url,
        &["flag", "kill", "ui/checkout", "-a", "shop", "-e", "production", "--reason", "fire", "--no-wait"],
    );
    said.ends(0).says("in the log at revision 7").complains("trying again under the same kill id");
    let heard = heard.join().expect("the peer");
    assert_eq!(heard.len(), 3);
    assert!(heard[0].head.starts_with("POST /v1/apps/shop/flags/ui%2Fcheckout/kill HTTP/1.1"), "{heard:?}");
    assert!(
        heard[0].body.contains("\"reason\":\"fire\"") && heard[0].body.contains("\"production\""),
        "{heard:?}"
    );
    assert!(heard.iter().all(|one| one.body == heard[0].body), "{heard:?}");
    assert!(heard.iter().all(|one| one.header("if-match").is_none()), "{heard:?}");
}

#[test]
fn a_kill_is_done_even_if_nobody_can_say_who_has_it() {
    let done = || answer("200 OK", "", r#"{"kill_id":"k","revision":7,"durable":true,"already":false}"#);
    let unknown = || answer("404 Not Found", "", r#"{"code":"not_found","detail":"there is nothing here"}"#);
    let (url, heard) = peer(vec![done(), unknown()]);
    let said = tool(&url, &["kill", "--everything", "--kill-id", "night-7"]).ends(0);
    said.says("in the log at revision 7")
        .complains("who has it could not be asked to the end: there is nothing");
    let heard = heard.join().expect("the peer");
    assert!(heard[1].head.starts_with("GET /v1/kills/night-7 HTTP/1.1"), "{heard:?}");
    let busy = || answer("503 Service Unavailable", "", r#"{"code":"busy","detail":"busy"}"#);
    let all = r#"{"clients":{"connected":2,"acknowledged":2,"silent":0},"silent":[]}"#;
    let (url, _) = peer(vec![done(), busy(), answer("200 OK", "", all)]);
    let told = tool(&url, &["kill", "--everything", "--json"]).ends(0).json();
    assert_eq!((&told["delivery"]["clients"]["acknowledged"], told.get("delivery_error")), (&2.into(), None));
    let (url, _) = peer(vec![done(), unknown()]);
    let told = tool(&url, &["kill", "--everything", "--json"]).ends(0).json();
    assert_eq!((&told["delivery"], &told["delivery_error"]["code"]), (&Value::Null, &"not_found".into()));
}

#[test]
fn a_kill_that_is_not_durable_yet_says_so() {
    let (url, heard) = peer(vec![answer("202 Accepted", "", r#"{"kill_id":"k","durable":false}"#)]);
    tool(&url, &["kill", "--everything", "--no-wait"]).ends(0).says("not yet in the log");
    heard.join().expect("the peer");
}

#[test]
fn a_rollout_of_a_newer_server_is_shown_by_an_older_tool() {
    let body = r#"{"flag":"f","environment":"prod","default_plan":"100%","mood":1,"rollout":{"plan":"5%/1h,100%",
        "stages":[{"exposure":5,"hold_ms":3600000,"weather":"rain"},{"exposure":100}],"stage":0,"exposure":5,
        "status":"running","status_since":null,"why":null,"active":true,"due_at":null,"completes_at":null,
        "started_at":"2026-01-01T00:00:00Z","started_by":{"type":"human","name":"ann"},"mood":1}}"#;
    let (url, heard) = peer(vec![answer("200 OK", "", body)]);
    tool(&url, &["rollout", "show", "f", "-a", "shop", "-e", "prod"]).ends(0).says("stage 1 of 2 (5%)");
    heard.join().expect("the peer");
}

#[test]
fn a_kill_that_nobody_acknowledges_is_given_up_with_the_code_for_unreachable() {
    // A port that was free a moment ago and that nobody listens on.
    let url = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    let said = tool(&url, &["flag", "kill", "checkout", "-a", "shop", "--give-up-after", "100ms"]);
    let said = said.ends(4).complains("no answer from").complains("is the server running");
    // The id that it had is the one to repeat it with.
    let id = said.err.split("under the same kill id, ").nth(1).and_then(|rest| rest.split(',').next());
    let repeat = format!("Repeat it with --kill-id {}, which is safe", id.expect("the id is said"));
    said.complains(&repeat);
    let arguments = ["kill", "--everything", "--give-up-after", "100ms", "--kill-id", "night-7", "--json"];
    let refused: serde_json::Value = serde_json::from_str(&tool(&url, &arguments).ends(4).err).expect("JSON");
    assert_eq!((&refused["kill_id"], &refused["code"]), (&"night-7".into(), &"no_answer".into()));
    tool(&url, &["app", "list"]).ends(4);
}

#[test]
fn a_creation_whose_answer_was_lost_is_repeated_under_the_same_key() {
    let done = answer("201 Created", "", r#"{"key":"shop","environments":[{"key":"a","kind":"sandbox"}]}"#);
    let (url, heard) = peer(vec![String::new(), done]);
    tool(&url, &["app", "create", "shop"]).ends(0).says("created app shop with a");
    let heard = heard.join().expect("the peer");
    let keys: Vec<Option<&str>> = heard.iter().map(|one| one.header("idempotency-key")).collect();
    assert!(keys[0].is_some_and(|key| key.starts_with("cli-")), "{heard:?}");
    assert_eq!(keys[0], keys[1]);
    assert_eq!(heard[0].body, heard[1].body);
}

#[test]
fn a_change_whose_answer_was_lost_is_not_repeated_blindly() {
    let (url, heard) = peer(vec![String::new()]);
    tool(&url, &["app", "update", "shop", "--owner", "ada"]).ends(4);
    assert_eq!(heard.join().expect("the peer").len(), 1);
}

#[test]
fn turning_off_depends_on_no_revision_and_turning_on_does() {
    let flag = r#"{"key":"f","app":"shop","revision":9,"type":"boolean","variants":[],"off_variant":"off",
        "environments":{"production":{"on":true,"exposure":10,"serve":{"variant":"on"},"serving":"on for 10%",
        "expires_at":"2030-01-01T00:00:00Z"}}}"#;
    for (command, seen) in [("off", None), ("on", Some("\"9\""))] {
        let (url, heard) = peer(vec![answer("200 OK", "", flag), answer("200 OK", "", flag)]);
        tool(&url, &["flag", command, "f", "-a", "shop"]).ends(0).says("f in production: on for 10%");
        assert_eq!(heard.join().expect("the peer")[1].header("if-match"), seen, "{command}");
    }
}

#[test]
fn following_goes_on_where_the_stream_broke() {
    let event = |revision: u64| {
        let entry = format!(
            r#"{{"revision":{revision},"at":"2026-11-23T00:00:00Z","actor":{{"type":"timer"}},"change":{{"kind":"x"}}}}"#
        );
        format!("event: entry\nid: {revision}\ndata: {entry}\n\n: hb\n\n")
    };
    let stream = |revision| answer("200 OK", "content-type: text/event-stream\r\n", &event(revision));
    let ready = answer("200 OK", "", r#"{"ready":true,"revision":7}"#);
    let page = answer("200 OK", "", r#"{"items":[]}"#);
    let (url, heard) = peer(vec![ready, page, stream(8), stream(9)]);
    let mut follower = tidegate();
    follower.args(["log", "-f", "--json", "--url", &url]).stderr(std::process::Stdio::null());
    let seen: Vec<String> = Following::start(&mut follower).take(2).collect();
    assert!(seen[0].contains("\"revision\":8") && seen[1].contains("\"revision\":9"), "{seen:?}");
    let heard = heard.join().expect("the peer");
    assert!(heard[1].head.starts_with("GET /v1/log?after=0&"), "the last 50 of 7: {heard:?}");
    assert!(heard[2].head.starts_with("GET /v1/log/stream?after=0 "), "{heard:?}");
    assert!(heard[3].head.starts_with("GET /v1/log/stream?after=8 "), "{heard:?}");
}

#[test]
fn lists_are_read_to_their_end_page_by_page() {
    let first = answer("200 OK", "", r#"{"items":[{"key":"a"}],"next_cursor":"a b"}"#);
    let last = answer("200 OK", "", r#"{"items":[{"key":"b"}]}"#);
    let (url, heard) = peer(vec![first, last]);
    let list = tool(&url, &["app", "list", "--json"]).ends(0).json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    let heard = heard.join().expect("the peer");
    assert!(heard[1].head.starts_with("GET /v1/apps?limit=500&cursor=a%20b "), "{heard:?}");
    assert_eq!(heard[0].header("authorization"), Some("Bearer tg_x"));
}

#[test]
fn a_redirect_is_not_followed_since_it_would_carry_the_token_away() {
    let (url, heard) = peer(vec![answer("302 Found", "location: http://127.0.0.1:1/\r\n", "")]);
    tool(&url, &["app", "list"]).ends(4).complains("does not answer like Tidegate");
    heard.join().expect("the peer");
}

#[test]
fn a_page_of_something_else_is_recognised() {
    let (url, heard) = peer(vec![answer("200 OK", "", "<html>welcome</html>")]);
    tool(&url, &["app", "list"]).ends(4).complains("does not answer like Tidegate");
    heard.join().expect("the peer");
    tool("ftp://x", &["app", "list"]).ends(2).complains("http://127.0.0.1:8080");
    tool("http://[", &["app", "list"]).ends(2);
}

#[test]
fn a_server_that_asks_for_patience_is_quoted() {
    let body = r#"{"code":"rate_limited","title":"Too many requests","detail":"5000 a second are allowed"}"#;
    let (url, heard) = peer(vec![answer("429 Too Many Requests", "retry-after: 7\r\n", body)]);
    tool(&url, &["app", "list"]).ends(1).complains("5000 a second are allowed").complains("try again in 7 s");
    heard.join().expect("the peer");
}

#[test]
fn a_kill_behind_a_proxy_that_has_lost_its_server_is_tried_again() {
    let html = "content-type: text/html\r\n";
    for status in ["500 Internal Server Error", "502 Bad Gateway", "521 Web Server Is Down"] {
        let lost = answer(status, html, "<html>the server is away</html>");
        let done = answer("200 OK", "", r#"{"kill_id":"k","revision":7,"durable":true,"already":false}"#);
        let (url, heard) = peer(vec![lost.clone(), done]);
        tool(&url, &["flag", "kill", "checkout", "-a", "shop", "--no-wait"])
            .ends(0)
            .says("in the log at revision 7");
        heard.join().expect("the peer");
        let (url, heard) = peer(vec![lost.clone()]);
        let said = tool(&url, &["kill", "--everything", "--give-up-after", "1ms"]).ends(4);
        said.complains("it may or may not be in effect. Repeat it with --kill-id kill-");
        heard.join().expect("the peer");
        let (url, heard) = peer(vec![lost.clone()]);
        let said = tool(&url, &["app", "update", "shop", "--owner", "ada"]).ends(4);
        said.complains("may have been done all the same");
        heard.join().expect("the peer");
        let (url, heard) = peer(vec![lost]);
        let said = tool(&url, &["app", "list"]).ends(4).complains("no answer from the server behind");
        said.complains(&status[..3]);
        heard.join().expect("the peer");
    }
}

#[test]
fn a_change_that_the_server_itself_does_not_know_the_outcome_of_may_have_been_made() {
    let body = r#"{"code":"outcome_unknown","status":504,"detail":"the log did not answer in time"}"#;
    let unknown = answer("504 Gateway Timeout", "content-type: application/problem+json\r\n", body);
    let (url, heard) = peer(vec![unknown.clone()]);
    let said = tool(&url, &["app", "update", "shop", "--owner", "ada"]).ends(4);
    said.complains("the log did not answer in time").complains("may have been done all the same");
    heard.join().expect("the peer");
    let (url, heard) = peer(vec![unknown.clone()]);
    let said = tool(&url, &["app", "update", "shop", "--owner", "ada", "--json"]).ends(4);
    let failure: serde_json::Value = serde_json::from_str(&said.err).expect("JSON");
    assert_eq!((&failure["code"], &failure["exit_code"]), (&"outcome_unknown".into(), &4.into()));
    heard.join().expect("the peer");
    // Under its key a creation is made once, however often it is sent.
    let done = answer("201 Created", "", r#"{"key":"shop","environments":[{"key":"a","kind":"sandbox"}]}"#);
    let (url, heard) = peer(vec![unknown, done]);
    tool(&url, &["app", "create", "shop"]).ends(0).says("created app shop with a");
    let heard = heard.join().expect("the peer");
    assert!(heard[0].header("idempotency-key").is_some(), "{heard:?}");
    assert_eq!(heard[0].header("idempotency-key"), heard[1].header("idempotency-key"));
}

#[test]
fn a_segment_is_changed_only_as_it_was_when_it_was_read() {
    let segment = r#"{"key":"beta","description":"Beta","members":0,"revision":9}"#;
    let there = answer("200 OK", "", segment);
    let missing = answer("404 Not Found", "", r#"{"code":"not_found","detail":"no segment"}"#);
    for (read, seen) in [(there.clone(), Some("\"9\"")), (missing, None)] {
        let (url, heard) = peer(vec![read, there.clone()]);
        tool(&url, &["segment", "put", "beta", "--when", "plan in pro"]).ends(0);
        let heard = heard.join().expect("the peer");
        assert_eq!(heard[1].header("if-match"), seen, "{heard:?}");
    }
}

#[test]
fn a_long_list_that_stops_halfway_says_how_far_it_came() {
    let members: Vec<String> = (0..2000).map(|n| format!("user-{n:06}-of-the-beta-program")).collect();
    let mut arguments = vec!["segment", "add", "beta"];
    arguments.extend(members.iter().map(String::as_str));
    let stored = answer("200 OK", "", r#"{"key":"beta","members":1,"revision":9}"#);
    let busy = answer("503 Service Unavailable", "", r#"{"code":"busy","detail":"too much to do"}"#);
    let (url, heard) = peer(vec![stored.clone(), busy.clone()]);
    let said = tool(&url, &arguments).ends(1).complains("too much to do");
    said.complains("1 of 3 parts were stored; repeating the command is safe");
    heard.join().expect("the peer");
    let (url, heard) = peer(vec![stored, busy]);
    arguments.push("--json");
    let said = tool(&url, &arguments).ends(1);
    let failure: serde_json::Value =
        serde_json::from_str(&said.err).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!((&failure["code"], &failure["exit_code"]), (&"busy".into(), &1.into()));
    assert_eq!((&failure["stored_parts"], &failure["all_parts"]), (&1.into(), &3.into()));
    heard.join().expect("the peer");
}

#[test]
fn following_waits_neither_for_a_stream_that_never_begins_nor_for_a_refusal_that_never_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\n\r\n{";
    let answers = [
        answer("200 OK", "", r#"{"ready":true,"revision":7}"#),
        answer("200 OK", "", r#"{"items":[]}"#),
        String::new(),
        refusal.to_owned(),
    ];
    let mut follower = tidegate();
    follower.args(["log", "-f", "--url", &url]).stderr(std::process::Stdio::piped());
    let follower = follower.stdout(std::process::Stdio::null()).spawn().expect("the tool runs");
    // None of them is closed: what was not sent stays to be waited for.
    let open: Vec<TcpStream> = answers
        .iter()
        .map(|answer| {
            let (mut stream, _) = listener.accept().expect("a connection");
            hear(&stream);
            stream.write_all(answer.as_bytes()).expect("the tool listens");
            stream
        })
        .collect();
    let output = follower.wait_with_output().expect("our own process");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{err}");
    assert!(err.contains("trying again until it is back"), "{err}");
    drop(open);
}

#[test]
fn patience_with_a_kill_ends_when_it_was_said_to_end() {
    // It takes connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let begun = std::time::Instant::now();
    tool(&url, &["kill", "--everything", "--give-up-after", "300ms"]).ends(4).complains("may or may not");
    // One attempt alone may take 2 s if there is time.
    assert!(begun.elapsed() < std::time::Duration::from_millis(1500), "{:?}", begun.elapsed());
}

#[test]
fn a_change_without_an_answer_may_have_been_made_and_that_is_said() {
    let (url, heard) = peer(vec![String::new()]);
    let said = tool(&url, &["app", "update", "shop", "--owner", "ada"]);
    said.ends(4).complains("may have been done all the same");
    heard.join().expect("the peer");
    let (url, heard) = peer(vec![String::new()]);
    let said = tool(&url, &["app", "list"]).ends(4).complains("is the server running there?");
    assert!(!said.err.contains("may have been done"), "{said:?}");
    heard.join().expect("the peer");
}

#[test]
fn every_failure_is_one_json_object_on_request() {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    let plain = |text: &str| answer(text, "", "no JSON at all");
    let cases = [
        ("usage", 2, None, &["env", "list"][..]),
        ("usage", 2, None, &["env"]),
        ("usage", 2, None, &["app", "create", "Shop"]),
        ("usage", 2, None, &["app", "list", "--loud"]),
        ("no_answer", 4, None, &["app", "list"]),
        ("no_answer", 4, None, &["kill", "--everything", "--give-up-after", "100ms"]),
        ("strange_answer", 4, Some(plain("200 OK")), &["app", "list"]),
        ("no_answer", 4, Some(plain("504 Gateway Timeout")), &["app", "list"]),
        ("refused", 1, Some(plain("429 Too Many Requests")), &["app", "list"]),
        ("refused", 1, Some(answer("409 Conflict", "", "{}")), &["app", "list"]),
    ];
    for (code, exit_code, answered, arguments) in cases {
        let (url, heard) = match answered {
            Some(text) => {
                let (url, heard) = peer(vec![text]);
                (url, Some(heard))
            }
            None => (free(), None),
        };
        let said = tool(&url, &[arguments, &["--json"]].concat()).ends(exit_code);
        let failure: serde_json::Value =
            serde_json::from_str(&said.err).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        assert_eq!((&failure["code"], &failure["exit_code"]), (&code.into(), &exit_code.into()), "{said:?}");
        assert!(failure["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{said:?}");
        heard.map(JoinHandle::join);
    }
}

#[test]
fn an_address_with_a_password_or_a_query_is_refused_without_repeating_it() {
    let said = tool("http://ada:secret@127.0.0.1:1", &["app", "list"]).ends(2).complains("leave them out");
    assert!(!said.err.contains("secret"), "{said:?}");
    tool("http://127.0.0.1:1/?x=1", &["app", "list"]).ends(2).complains("http://127.0.0.1:8080");
}
