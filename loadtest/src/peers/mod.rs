//! Other flag servers, beside ours on the same core in the same run: filled with the same flags, asked the same question in
//! their own words. What they do not offer is said and not measured. `make peers` brings them.

mod edge;
mod library;
mod place;
mod program;
mod unleash;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::checks::{EXPOSURE, is_on, key};
use crate::cores::Cores;
use crate::kinds::checks::Request;
use crate::sender::{SendError, Whole, ask};
pub(crate) use library::{LIBRARIES, Library};
pub(crate) use place::sweep_if_asked;

use place::Place;
use program::Program;

/// Names the folder in which they are, if that is not `target/peers`.
const FOLDER_VARIABLE: &str = "LOADTEST_PEERS";
/// Who asks, as their clients write it: the same user with the same attributes.
const CONTEXT: &str = "userId=user-17&properties%5Bplan%5D=pro&properties%5Bcountry%5D=DE&properties%5Bemail%5D=ada%40example.org";
/// Where their clients ask for all flags that are on.
const FLAGS: &str = "/api/frontend";
/// The token of their clients. Whoever could read it could ask this server, which ends with the run, too.
const TOKEN: &str = "default:development.loadtest";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// Unleash Edge, which evaluates for clients what a file or a server of Unleash says.
    Edge,
    /// The server of Unleash itself, with its database.
    Unleash,
}

/// Why one cannot be measured.
#[derive(Debug)]
pub(crate) enum PeerError {
    /// It was not brought.
    Absent { peer: Peer, path: PathBuf },
    /// Its database was not brought.
    NoDatabase,
    /// The system does not let it run.
    System { what: &'static str, source: std::io::Error },
    /// It ended, or did not come up in time.
    NotUp { what: &'static str, said: String },
    /// It cannot be asked.
    Send(SendError),
    /// It does not grant what has to be set up.
    Refused { peer: Peer, what: &'static str, status: u16 },
    /// What it answers is not about the flags that it was given.
    Wrong { peer: Peer, answer: String },
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Absent { peer, path } => {
                write!(f, "{} is not here ({} is absent): make peers", peer.name(), path.display())
            }
            PeerError::NoDatabase => {
                write!(f, "PostgreSQL, in which Unleash keeps its flags, is not here: make peers")
            }
            PeerError::System { what, source } => write!(f, "{what}: {source}"),
            PeerError::NotUp { what, said } => write!(f, "{what} did not come up; it said: {said}"),
            PeerError::Send(source) => source.fmt(f),
            PeerError::Refused { peer, what, status } => {
                write!(f, "asked for {what}, {} answers {status}", peer.name())
            }
            PeerError::Wrong { peer, answer } => {
                write!(f, "{} does not answer with the flags that it was given: {answer}", peer.name())
            }
        }
    }
}

impl std::error::Error for PeerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PeerError::System { source, .. } => Some(source),
            PeerError::Send(source) => Some(source),
            _ => None,
        }
    }
}

impl From<SendError> for PeerError {
    fn from(error: SendError) -> PeerError {
        PeerError::Send(error)
    }
}

/// A running one; ended when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    peer: Peer,
    /// Its name and version.
    pub(crate) label: String,
    pub(crate) address: SocketAddr,
    /// What evaluates; its database, if it has one, is a process of its own.
    pub(crate) process: u32,
    /// Ended in this order.
    _programs: Vec<Program>,
    /// Where they keep what they need; gone after them.
    _place: Place,
}

/// What a peer is asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// This.
    For(Question),
    /// Nothing, for this reason.
    NotOffered(&'static str),
}

/// A request, as it is sent, and the status that answers it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) request: Vec<u8>,
    pub(crate) status: u16,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Peer::Edge => "Unleash Edge",
            Peer::Unleash => "Unleash",
        }
    }

    /// Looks whether it was brought.
    pub(crate) fn find(self) -> Result<(), PeerError> {
        match self {
            Peer::Edge => edge::find().map(|_| ()),
            Peer::Unleash => unleash::find().map(|_| ()),
        }
    }

    /// Starts it on the core of servers, with so many flags.
    pub(crate) fn start(self, cores: &Cores, flags: u64) -> Result<Running, PeerError> {
        let running = cores.start(|| match self {
            Peer::Edge => edge::start(flags),
            Peer::Unleash => unleash::start(flags),
        })?;
        running.prove(flags)?;
        Ok(running)
    }

    /// What there is to say of its figures.
    pub(crate) fn says(self, request: Request) -> String {
        let name = self.name();
        let database = match self {
            Peer::Edge => "",
            Peer::Unleash => "; its CPU time is that of Node, without its database",
        };
        let what = match request {
            Request::Single => "and answers in fewer words",
            Request::Bulk => "evaluates the same flags, and answers those alone that are on",
            Request::Unchanged => {
                "evaluates all flags, hashes its answer, and answers 304 if the client has the same"
            }
        };
        format!("{name} is asked by GET with the context in the query, its own protocol, {what}{database}")
    }
}

impl Running {
    /// What it is asked instead of what ours is.
    pub(crate) fn asked(&self, request: Request) -> Result<Asked, PeerError> {
        let asked = match (request, self.peer) {
            (Request::Single, Peer::Unleash) => {
                Asked::NotOffered("Unleash has no request for one flag: not measured")
            }
            (Request::Single, Peer::Edge) => {
                let path = format!("{FLAGS}/features/{}", key(0));
                Asked::For(Question { request: request_for(&path, None), status: 200 })
            }
            (Request::Bulk, _) => Asked::For(Question { request: request_for(FLAGS, None), status: 200 }),
            (Request::Unchanged, _) => {
                let Some(tag) = self.flags()?.header("etag").map(str::to_owned) else {
                    return Ok(Asked::NotOffered("it gives no ETag: not measured"));
                };
                Asked::For(Question { request: request_for(FLAGS, Some(&tag)), status: 304 })
            }
        };
        if let Asked::For(Question { request, status }) = &asked {
            let answered = ask(self.address, request)?.status;
            if answered != *status {
                return Err(PeerError::Refused { peer: self.peer, what: "flags", status: answered });
            }
        }
        Ok(asked)
    }

    fn flags(&self) -> Result<Whole, PeerError> {
        let answer = ask(self.address, &request_for(FLAGS, None))?;
        match answer.status {
            200 => Ok(answer),
            status => Err(PeerError::Refused { peer: self.peer, what: "flags", status }),
        }
    }

    /// It answers with flags that are on, of those that it was given, and with no others.
    fn prove(&self, flags: u64) -> Result<(), PeerError> {
        let answer = self.flags()?;
        let wrong = || {
            let answer = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
            PeerError::Wrong { peer: self.peer, answer }
        };
        let all: Value = serde_json::from_slice(&answer.body).map_err(|_| wrong())?;
        let named: Vec<&str> = all["toggles"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|flag| flag["name"].as_str())
            .collect();
        let on: Vec<String> = (0..flags).filter(|place| is_on(*place)).map(key).collect();
        let is_known = |name: &&str| on.iter().any(|known| known == name);
        // One flag at 30 % may be off for this user; of many some are on and some are not.
        let is_as_given =
            named.iter().all(is_known) && (on.len() < 20 || (1..on.len()).contains(&named.len()));
        if is_as_given { Ok(()) } else { Err(wrong()) }
    }
}

/// Where they are.
fn folder() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("peers");
    std::env::var_os(FOLDER_VARIABLE).map_or_else(built, PathBuf::from)
}

/// A request of their clients, as it is sent.
fn request_for(path: &str, tag: Option<&str>) -> Vec<u8> {
    let tag = tag.map_or(String::new(), |tag| format!("if-none-match: {tag}\r\n"));
    format!("GET {path}?{CONTEXT} HTTP/1.1\r\nhost: localhost\r\nauthorization: {TOKEN}\r\n{tag}\r\n").into()
}

/// How a flag that is on is rolled out.
fn strategy(key: &str) -> Value {
    json!({
        "name": "flexibleRollout",
        "parameters": {"rollout": EXPOSURE.to_string(), "stickiness": "default", "groupId": key},
        "constraints": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_peers_is_told_how_to_bring_them() {
        let absent =
            PeerError::Absent { peer: Peer::Edge, path: PathBuf::from("target/peers/bin/unleash-edge") };
        assert!(absent.to_string().ends_with("is absent): make peers"), "{absent}");
        assert!(PeerError::NoDatabase.to_string().ends_with("make peers"));
    }

    #[test]
    fn they_are_asked_for_the_same_user() {
        let question = String::from_utf8(request_for(FLAGS, Some("W/\"1\""))).expect("text");
        let lines: Vec<&str> = question.split("\r\n").collect();
        assert!(lines[0].starts_with("GET /api/frontend?userId=user-17&") && lines[0].ends_with(" HTTP/1.1"));
        assert_eq!(lines[3..], ["if-none-match: W/\"1\"", "", ""]);
    }
}
