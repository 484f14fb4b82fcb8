//! Our own server with web pages as its clients: each opens with a context of its own, and a flag for each event.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::node::{secret_of, until_gone};
use super::{Feed, FeedError};
use crate::client::{Client, request};
use crate::problem::Problem;
use crate::server::Server;

/// How long a page waits for a place that is said to be taken.
const WAIT: Duration = Duration::from_secs(1);
/// Pages that are opened before they connect: one that waits for long is given up.
const AT_ONCE: usize = 64;
/// Whose pages they are.
const SITE: &str = "https://shop.example";

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A kill, which is the same for every page.
    Kill,
    /// A flag that is evaluated for each page anew.
    Value,
}

/// Our server with an app, and a flag for each event.
pub(crate) struct Pages {
    server: Server,
    address: SocketAddr,
    opener: RefCell<Client>,
    flags_left: usize,
    what: What,
}

impl Pages {
    /// Starts it and makes so many flags, on for half of the pages.
    pub(crate) fn start(flags: usize, what: What) -> Result<Pages, Problem> {
        let server = Server::start(&["workers=1", "limits.pages_per_minute=1000000"]);
        let address = server.address().parse().map_err(|_| Problem::ended_early())?;
        let mut admin = Client::connect(server.address(), server.admin_token())?;
        let mut ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &Value| {
            admin.ask(method, path, headers, body)?.if_granted()
        };
        let environments = json!([{"key": "live", "kind": "production"}]);
        ask("POST", "/v1/apps", &[], &json!({"key": "shop", "environments": environments}))?;
        for flag in 0..flags {
            let key = format!("flag-{flag}");
            let wanted = json!({"key": key, "browser": "values"});
            let made = ask("POST", "/v1/apps/shop/flags", &[], &wanted)?;
            let seen = format!("\"{}\"", made["revision"]);
            let path = format!("/v1/apps/shop/flags/{key}/environments/live");
            ask("PATCH", &path, &[("if-match", &seen)], &json!({"on": true, "exposure": 50}))?;
        }
        let wanted = json!({"scope": "sdk-browser", "app": "shop", "environment": "live", "origins": [SITE]});
        let key = secret_of(&ask("POST", "/v1/tokens", &[], &wanted)?)?;
        let opener = RefCell::new(Client::connect(server.address(), &key)?);
        Ok(Pages { server, address, opener, flags_left: flags, what })
    }
}

impl Feed for Pages {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> u32 {
        self.server.process()
    }

    fn subscribe(&self, client: usize) -> Result<Vec<u8>, FeedError> {
        let body = json!({"context": {"targetingKey": format!("user-{client}"), "plan": "free"}});
        let ask = || self.opener.borrow_mut().ask("POST", "/v1/page", &[("origin", SITE)], &body);
        let mut answer = ask()?;
        // Where few descriptors are allowed, the pages of the turn before, which were left just now, have to go first.
        if answer.status == 503 {
            std::thread::sleep(WAIT);
            answer = ask()?;
        }
        if answer.status != 200 {
            return Err(FeedError::Refused { what: "a page", status: answer.status });
        }
        let (stream, seen) = place_of(&answer.if_granted()?)
            .ok_or(FeedError::Refused { what: "a page with a stream", status: answer.status })?;
        let host = self.server.address();
        Ok(format!(
            "GET {stream}&seen={seen} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\norigin: {SITE}\r\n\r\n"
        )
        .into())
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn first_event(&self) -> Option<&'static [u8]> {
        None
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        self.flags_left -= 1;
        let path = format!("/v1/apps/shop/flags/flag-{}", self.flags_left);
        let (close, admin) = ([("connection", "close")], self.server.admin_token());
        match self.what {
            What::Kill => {
                let body = json!({"kill_id": marker});
                request("POST", &format!("{path}/kill"), self.server.address(), admin, &close, &body)
            }
            // Lowering needs no revision, and tells each page another answer than it has.
            What::Value => {
                let path = format!("{path}/environments/live");
                request("PATCH", &path, self.server.address(), admin, &close, &json!({"exposure": 25}))
            }
        }
    }

    // Pages do not learn what people call a kill, but which flag it is about.
    fn seen_as(&self, _: &str) -> String {
        match self.what {
            What::Kill => format!("{{\"flag\":\"flag-{}\",", self.flags_left),
            What::Value => format!("{{\"key\":\"flag-{}\",", self.flags_left),
        }
    }

    fn settle(&mut self) -> Result<(), FeedError> {
        until_gone(&self.server, "pages")
    }
}

/// Where an opened page has its stream, and what it has seen already.
fn place_of(opened: &Value) -> Option<(String, String)> {
    let frame: Value = serde_json::from_str(opened["frame"].as_str()?).ok()?;
    let seen = format!("{}:{}", frame["log"].as_str()?, frame["revision"]);
    Some((opened["stream"].as_str()?.to_owned(), seen))
}
