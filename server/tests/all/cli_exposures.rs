//! The operator's tool tells how often flags gave which answer, and which have become stale.

use crate::running;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use running::Server;

/// A server with the app `shop` (tier 0) and its flag `checkout`.
fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server
}

/// Posts JSON with a token; answers with the head and the body as they came.
fn post(server: &Server, token: &str, path: &str, body: &str) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("connects");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[test]
fn exposures_are_drawn_by_hour_and_by_day() {
    let server = shop();
    let exposures = |options: &str| server.tool(&format!("flag exposures checkout -a shop {options}"));
    exposures("").ends(2).complains("say where with --env: production, sandbox");
    exposures("-e production").ends(0).says("nobody asked for checkout in production since");
    let made =
        server.tool("token create --scope sdk-server --app shop --env production --json").ends(0).json();
    let token = made["secret"].as_str().expect("a secret");
    post(&server, token, "/ofrep/v1/evaluate/flags/checkout", r#"{"context":{"targetingKey":"ann"}}"#);
    let batch =
        r#"{"instance":"web-1","batch":"b-1","counts":[{"flag":"checkout","variant":"on","count":1200}]}"#;
    post(&server, token, "/v1/exposures", batch);
    let drawn = exposures("-e production").ends(0).says("asked for last").says("1,200").says("████");
    assert_eq!(drawn.out.lines().filter(|line| line.contains(" UTC ")).count(), 24, "{drawn:?}");
    let days = exposures("-e production --days 3").ends(0).says("1,200");
    assert_eq!(days.out.lines().count(), 6, "{days:?}");
    let json = exposures("-e production --json").ends(0).json();
    assert_eq!(json["variants"].as_array().map(Vec::len), Some(2), "{json}");
    exposures("-e production --hours 49").ends(2).complains("48");
    exposures("-e nowhere").ends(3);
    server.tool("flag exposures nope -a shop -e production").ends(3);
}

#[test]
fn where_nobody_told_outcomes_it_is_said_who_may_tell_them() {
    let server = shop();
    server.tool("flag create banner -a shop --browser values").ends(0);
    let outcomes = |flag: &str| server.tool(&format!("flag outcomes {flag} -a shop -e production")).ends(0);
    outcomes("banner")
        .says("nobody reported requests with banner")
        .says("token create --scope sdk-browser --outcomes");
    assert!(!outcomes("checkout").out.contains("sdk-browser"), "pages do not get it");
}

#[test]
fn stale_flags_are_listed_of_one_app_or_of_all() {
    let server = shop();
    server.tool("app create zoo --owner ben").ends(0);
    server.tool("flag create lions -a zoo").ends(0);
    let list = |options: &str| server.tool(&format!("flag list --stale {options}"));
    // A personal app's flags live for two weeks.
    let all = list("").ends(0).says("expires in 1").says("checkout").says("lions").says("ada@example.org");
    assert!(all.out.starts_with("APP"), "{all:?}");
    let one = list("-a zoo").ends(0).says("lions");
    assert!(!one.out.contains("checkout"), "{one:?}");
    list("-a zoo --all-apps").ends(0).says("checkout");
    let production = list("-a zoo -e production").ends(0).says("production");
    assert!(!production.out.contains("sandbox"), "{production:?}");
    list("-a nope").ends(3).complains("nope");
    let json = list("-a zoo --json").ends(0).json();
    assert_eq!(json["items"][0]["reasons"][0]["reason"], "expires_soon");
    server.tool("flag archive lions -a zoo --yes --reason done").ends(0);
    list("-a zoo").ends(0).says("no flag has become stale");
    server.tool("flag list -a shop -e production").ends(2).complains("--stale");
    server.tool("flag list").ends(2).complains("TIDEGATE_APP");
}
