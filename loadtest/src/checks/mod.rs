//! Who is asked for flags over OFREP, and what: our own server, or a target, and the floor beside it.

mod proof;
mod shop;

use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use proof::prove;
pub(crate) use shop::{
    APP, EXPOSURE, Shop, is_on, key, make_each, origin_of, put_at_share, state_of, tag_of,
};

use crate::bounds::Target;
use crate::floor::{self, Floor};
use crate::kinds::checks::Request;
use crate::peers::{Question, Running};
use crate::problem::Problem;
use crate::scenario::Who;
use crate::sender::{Lane, Last, ask};

/// Who asks; a few attributes, as an app has them at hand.
const CONTEXT: &str =
    r#"{"context":{"targetingKey":"user-17","plan":"pro","country":"DE","email":"ada@example.org"}}"#;
/// Where all flags are asked for; a flag's key follows where one is.
const FLAGS: &str = "/ofrep/v1/evaluate/flags";

/// A server that answers checks, and whose flags.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) at: Target,
    pub(crate) token: Option<String>,
    /// A flag that is there.
    pub(crate) flag: String,
    /// Where its time and memory can be seen.
    pub(crate) process: Option<u32>,
    /// It is our own server, and not a target.
    pub(crate) is_ours: bool,
}

impl Origin {
    /// A request, as it is sent.
    fn request(&self, method: &str, path: &str, tag: Option<&str>) -> Vec<u8> {
        let Origin { at, token, .. } = self;
        let token =
            token.as_ref().map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let tag = tag.map_or(String::new(), |tag| format!("if-none-match: {tag}\r\n"));
        let (context, length) = (CONTEXT, CONTEXT.len());
        let body = match method {
            "GET" => "\r\n".to_owned(),
            _ => format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{context}"),
        };
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{token}{tag}{body}", at.host).into()
    }

    /// One flag.
    pub(crate) fn single(&self, flag: &str) -> Vec<u8> {
        self.request("POST", &format!("{}{FLAGS}/{flag}", self.at.base), None)
    }

    /// All flags; by somebody who has those with this tag.
    pub(crate) fn bulk(&self, tag: Option<&str>) -> Vec<u8> {
        self.request("POST", &format!("{}{FLAGS}", self.at.base), tag)
    }

    /// The tag of all flags, as they are now.
    pub(crate) fn tag(&self) -> Result<Option<String>, Problem> {
        let answer = ask(self.at.address, &self.bulk(None))?;
        match answer.status {
            200 => Ok(answer.header("etag").map(str::to_owned)),
            status => Err(Problem::Refused { what: "all flags", status }),
        }
    }
}

/// Somebody who is measured.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) who: Who,
    pub(crate) label: String,
    pub(crate) process: Option<u32>,
    address: SocketAddr,
    request: Vec<u8>,
    /// What is sent instead in turn, if there is more than one request.
    in_turn: Arc<[Vec<u8>]>,
    expected: u16,
    connections: usize,
    /// Every answer is as long as the first.
    is_even: bool,
    /// Where a tag comes from that has to be fresh.
    tag_of: Option<Origin>,
}

impl Contender {
    /// A server that answers OFREP.
    pub(crate) fn origin(
        who: Who,
        label: String,
        origin: &Origin,
        request: Request,
        connections: usize,
    ) -> Contender {
        let request = match request {
            Request::Single => origin.single(&origin.flag),
            Request::Bulk | Request::Unchanged => origin.bulk(None),
        };
        let asked = Question { request, status: 200 };
        let at = (origin.at.address, origin.process);
        Contender { is_even: origin.is_ours, ..Contender::asked(who, label, at, asked, connections) }
    }

    /// The same, asked for one flag by each of these in turn.
    pub(crate) fn in_turn(mut self, origins: &[Origin]) -> Contender {
        self.in_turn = origins.iter().map(|origin| origin.single(&origin.flag)).collect();
        self
    }

    /// The same, whose every answer is that nothing changed.
    pub(crate) fn unchanged(mut self, origin: &Origin) -> Contender {
        self.expected = 304;
        self.tag_of = Some(origin.clone());
        self
    }

    /// The floor: it gets what the server gets, but for the path.
    pub(crate) fn floor(
        who: Who,
        floor: &Floor,
        origin: &Origin,
        request: Request,
        connections: usize,
    ) -> Result<Contender, Problem> {
        let path = match request {
            Request::Single => floor::SAME,
            Request::Bulk if who == Who::FloorSameLength => floor::SAME,
            Request::Bulk => floor::BULK,
            Request::Unchanged => floor::UNCHANGED,
        };
        let (method, label) = match who {
            Who::FloorGet => ("GET", "floor, bare GET"),
            Who::FloorSameLength => ("POST", "floor, same length"),
            _ => ("POST", "floor"),
        };
        let expected = if request == Request::Unchanged { 304 } else { 200 };
        let tag = if request == Request::Unchanged { origin.tag()? } else { None };
        let as_long = Origin { at: Target { base: String::new(), ..origin.at.clone() }, ..origin.clone() };
        let request = as_long.request(method, path, tag.as_deref());
        let asked = Question { request, status: expected };
        let at = (floor.address, Some(floor.process()));
        Ok(Contender { is_even: true, ..Contender::asked(who, label.to_owned(), at, asked, connections) })
    }

    /// A peer, which is asked in its own words.
    pub(crate) fn peer(who: Who, peer: &Running, asked: Question, connections: usize) -> Contender {
        let at = (peer.address, Some(peer.process));
        Contender::asked(who, peer.label.clone(), at, asked, connections)
    }

    /// Somebody whose answers may be of any length: they may tell the time.
    fn asked(
        who: Who,
        label: String,
        (address, process): (SocketAddr, Option<u32>),
        asked: Question,
        connections: usize,
    ) -> Contender {
        let Question { request, status: expected } = asked;
        let (in_turn, is_even, tag_of) = (Arc::default(), false, None);
        Contender { who, label, process, address, request, in_turn, expected, connections, is_even, tag_of }
    }

    /// What is sent now: tags die, so a fresh one is fetched.
    pub(crate) fn lane(&mut self) -> Result<Lane, Problem> {
        if let Some(origin) = &self.tag_of {
            let tag = origin.tag()?.ok_or(Problem::NoTag)?;
            self.request = origin.bulk(Some(&tag));
        }
        if !self.in_turn.is_empty() {
            let (requests, mut sent) = (Arc::clone(&self.in_turn), 0);
            let write = Box::new(move |request: &mut Vec<u8>, _: Last<'_>| {
                request.extend_from_slice(&requests[sent % requests.len()]);
                sent += 1;
            });
            // Whoever asks may be told another variant than the one before.
            return Ok(Lane::of_written(self.address, write, self.expected, self.connections));
        }
        let lane = Lane::of_same(self.address, self.request.clone(), self.expected, self.connections);
        Ok(if self.is_even { lane.even() } else { lane })
    }
}
