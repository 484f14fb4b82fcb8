//! A server of which more is asked than its settings allow.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_tests::{PATIENCE, Server, eventually};

/// What a token may ask for a second, and at once.
const PER_SECOND: u32 = 10;
const BURST: usize = 200;
/// So long nobody is answered: a few may be, then.
const STANDSTILL: Duration = Duration::from_millis(400);
/// Many more than may be.
const CLIENTS: usize = 64;

/// A connection over which one flag is checked.
struct Client {
    reader: BufReader<TcpStream>,
    request: String,
}

impl Client {
    fn of(server: &Server, token: &str) -> Client {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let body = json!({"context": {"targetingKey": "ann"}}).to_string();
        let request = format!(
            "POST /ofrep/v1/evaluate/flags/checkout HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            server.address(),
            body.len()
        );
        Client { reader: BufReader::new(stream), request }
    }

    fn ask(&mut self) {
        self.reader.get_mut().write_all(self.request.as_bytes()).unwrap();
    }

    /// The status of the answer, which is read whole.
    fn status(&mut self) -> u16 {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            status = status.or_else(|| line.split(' ').nth(1).and_then(|status| status.parse().ok()));
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        self.reader.read_exact(&mut vec![0; length]).unwrap();
        status.unwrap()
    }

    fn asked(&mut self) -> u16 {
        self.ask();
        self.status()
    }
}

fn signal(server: &Server, signal: &str) {
    let told = Command::new("kill").args([signal, &server.process_id().to_string()]).status().unwrap();
    assert!(told.success());
}

fn stands_still(server: &Server) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.process_id())).unwrap();
    let state = |thread: PathBuf| {
        let stat = std::fs::read_to_string(thread.join("stat")).unwrap();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    threads.into_iter().all(|thread| state(thread.unwrap().path()) == Some('T'))
}

#[test]
fn of_those_who_waited_for_a_server_that_stood_still_the_last_are_answered() {
    let server = Server::start_with(&[
        ("TIDEGATE_WORKERS", "1"),
        ("TIDEGATE_LIMITS_REQUESTS_PER_SECOND", &PER_SECOND.to_string()),
        ("TIDEGATE_LIMITS_BURST", &BURST.to_string()),
    ]);
    let admin = server.admin();
    admin.create_app("shop", &[("live", "production")]);
    admin.create_flag("shop", &json!({"key": "checkout"}));
    let token = admin.create_token("sdk-server", "shop", "live");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::of(&server, &token)).collect();
    // Whoever is alone is answered as long as anything is left.
    let at_once = (0..).map(|at| clients[at % CLIENTS].asked()).take_while(|status| *status == 200).count();
    assert!(at_once >= BURST, "{at_once}");

    signal(&server, "-STOP");
    eventually("all its threads stand still", || stands_still(&server).then_some(()));
    clients.iter_mut().for_each(Client::ask);
    let since = Instant::now();
    eventually("its token may ask again", || (since.elapsed() >= STANDSTILL).then_some(()));
    signal(&server, "-CONT");
    let statuses: Vec<u16> = clients.iter_mut().map(Client::status).collect();
    let refused = statuses.iter().take_while(|status| **status == 429).count();
    assert!((1..CLIENTS).contains(&refused), "some are answered, not all: {statuses:?}");
    assert!(statuses[refused..].iter().all(|status| *status == 200), "none before others: {statuses:?}");
}
