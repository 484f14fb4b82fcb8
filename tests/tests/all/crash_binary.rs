//! The real server is killed under HTTP writes and kills, again and again, and after each restart everything
//! that it had acknowledged is there, in order. `crash.rs` does the same to log and state alone, much more often.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};
use tidegate::log::sled::verify;
use tidegate_tests::{Api, PATIENCE, Server, eventually};

const ROUNDS: u64 = 25;
/// Most acknowledgements before the server is killed.
const LONGEST_LIFE: u64 = 60;
const WRITERS: usize = 6;

/// What the server acknowledged.
enum Said {
    /// A flag was made.
    Flag(String),
    /// A kill is in the log there.
    Kill(String, u64),
    /// A kill is in effect and not yet in the log.
    Overlay(String),
}

/// Asks again and again until the server is gone. Each answer is told before the next request.
fn write_until_killed(url: &str, token: &str, writer: usize, round: u64, said: &Sender<(usize, Said)>) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    let agent: ureq::Agent = config.build().into();
    for number in 0.. {
        let name = format!("r{round}-w{writer}-{number}");
        let (path, body) = match writer {
            0 => ("kill", json!({"kill_id": name, "reason": "to be killed"})),
            _ => ("flags", json!({"key": name})),
        };
        let request = agent.post(format!("{url}/v1/apps/shop/{path}"));
        let sent = request.header("Authorization", format!("Bearer {token}")).send_json(&body);
        // An answer that did not come whole was no acknowledgement.
        let Ok(mut answer) = sent else { return };
        let Ok(body) = answer.body_mut().read_json::<Value>() else { return };
        let acknowledged = match (answer.status().as_u16(), path) {
            (201, "flags") => Said::Flag(name),
            (200, "kill") => Said::Kill(name, body["revision"].as_u64().expect("a revision")),
            (202, "kill") => Said::Overlay(name),
            (status, _) => panic!("{path} was answered with {status}: {body}"),
        };
        if said.send((writer, acknowledged)).is_err() {
            return;
        }
    }
}

/// Where the log holds each flag and each kill.
#[derive(Default)]
struct Found {
    flags: BTreeMap<String, u64>,
    kills: BTreeMap<String, u64>,
    read_to: u64,
}

impl Found {
    /// Reads what has come since. Revisions follow one another without a gap.
    fn read_on(&mut self, api: &Api) {
        loop {
            let page = api.get(&format!("/v1/log?limit=100&after={}", self.read_to)).expect(200);
            for item in page["items"].as_array().expect("a list") {
                self.read_to += 1;
                assert_eq!(item["revision"], self.read_to, "nothing is missing");
                let change = &item["change"];
                let place = match change["kind"].as_str() {
                    Some("flag_created") => (&mut self.flags, &change["flag"]["key"]),
                    Some("killed") => (&mut self.kills, &change["kill_id"]),
                    _ => continue,
                };
                let before = place.0.insert(place.1.as_str().expect("a key").to_owned(), self.read_to);
                assert_eq!(before, None, "{} is there twice", place.1);
            }
            if page["next_after"].is_null() {
                return;
            }
        }
    }
}

/// Lets writers at the server, and kills it after so many acknowledgements. Gives all of them, by writer.
fn run_and_kill(server: &mut Server, round: u64, life: u64) -> Vec<(usize, Said)> {
    let (sender, answers) = channel();
    let (url, token) = (server.url().to_owned(), server.admin_token().to_owned());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (sender, url, token) = (sender.clone(), &url, &token);
            scope.spawn(move || write_until_killed(url, token, writer, round, &sender));
        }
        drop(sender);
        let mut said: Vec<(usize, Said)> =
            (0..life).map(|_| answers.recv_timeout(PATIENCE).expect("the server answers")).collect();
        server.kill();
        // What was on its way when it died was acknowledged too.
        said.extend(answers.iter());
        said
    })
}

fn check(said: &[(usize, Said)], found: &mut Found, api: &Api) {
    found.read_on(api);
    let mut last = [0; WRITERS];
    for (writer, acknowledged) in said {
        let at = match acknowledged {
            Said::Flag(name) => *found.flags.get(name).unwrap_or_else(|| panic!("flag {name} is gone")),
            Said::Kill(name, revision) => {
                assert_eq!(found.kills.get(name), Some(revision), "kill {name}");
                *revision
            }
            Said::Overlay(name) => eventually("the log takes the kill that the journal kept", || {
                found.read_on(api);
                found.kills.get(name).copied()
            }),
        };
        // A kill that waited for the log may come after later ones.
        if !matches!(acknowledged, Said::Overlay(_)) {
            assert!(at > last[*writer], "writer {writer} was answered in another order");
            last[*writer] = at;
        }
    }
}

#[test]
fn nothing_that_the_real_server_acknowledged_is_lost_when_it_is_killed() {
    let mut server = Server::start();
    server.admin().create_app("shop", &[("production", "production")]);
    let mut found = Found::default();
    let (mut flags, mut kills) = (0, 0);
    for round in 0..ROUNDS {
        let life = 1 + (round * 37) % LONGEST_LIFE;
        let said = run_and_kill(&mut server, round, life);
        server = server.restart();
        check(&said, &mut found, &server.admin());
        flags += said.iter().filter(|(_, said)| matches!(said, Said::Flag(_))).count();
        kills += said.len() - said.iter().filter(|(_, said)| matches!(said, Said::Flag(_))).count();
    }
    println!("{ROUNDS} crashes; acknowledged: {flags} flags, {kills} kills; {} entries", found.read_to);
    assert!(flags > 200 && kills > 25);
    server.kill();
    let whole = verify(&server.data_dir()).expect("the chain is whole");
    assert!(whole.head.revision.0 >= found.read_to);
}
