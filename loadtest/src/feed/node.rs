//! Our own server with an app, and a flag for each kill.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Feed, FeedError};
use crate::client::{Client, request};
use crate::problem::Problem;
use crate::server::Server;

/// How long the server may take to notice that all clients have gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(50);

/// Our server with an app, and a flag for each kill.
pub(crate) struct Node {
    server: Server,
    address: SocketAddr,
    key: String,
    flags_left: usize,
}

impl Node {
    /// Starts it with settings as `name=value`, and makes so many flags.
    pub(crate) fn start(settings: &[&str], flags: usize) -> Result<Node, Problem> {
        let server = Server::start(settings);
        let address = server.address().parse().map_err(|_| Problem::ended_early())?;
        let mut admin = Client::connect(server.address(), server.admin_token())?;
        let environments = json!([{"key": "live", "kind": "production"}]);
        let mut make = |path: &str, body: &Value| admin.ask("POST", path, &[], body)?.if_granted();
        make("/v1/apps", &json!({"key": "shop", "environments": environments}))?;
        for flag in 0..flags {
            make("/v1/apps/shop/flags", &json!({"key": format!("flag-{flag}")}))?;
        }
        let token =
            make("/v1/tokens", &json!({"scope": "sdk-server", "app": "shop", "environment": "live"}))?;
        let key = secret_of(&token)?;
        Ok(Node { server, address, key, flags_left: flags })
    }

    /// What SDKs authenticate with.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The server.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The server, to be started anew.
    pub(crate) fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Feed for Node {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> u32 {
        self.server.process()
    }

    fn subscribe(&self, client: usize) -> Result<Vec<u8>, FeedError> {
        let path = format!("/v1/feed?instance=fan-{client}&sdk=loadtest/1");
        let accept = [("accept", "text/event-stream")];
        Ok(request("GET", &path, self.server.address(), &self.key, &accept, &Value::Null))
    }

    fn first_event(&self) -> Option<&'static [u8]> {
        Some(b"event: snapshot")
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        self.flags_left -= 1;
        let path = format!("/v1/apps/shop/flags/flag-{}/kill", self.flags_left);
        let close = [("connection", "close")];
        let admin = self.server.admin_token();
        request("POST", &path, self.server.address(), admin, &close, &json!({"kill_id": marker}))
    }

    fn settle(&mut self) -> Result<(), FeedError> {
        until_gone(&self.server, "connected")
    }
}

/// What a token authenticates with, which only its making shows.
pub(super) fn secret_of(token: &Value) -> Result<String, Problem> {
    let secret = token["secret"].as_str().map(str::to_owned);
    secret.ok_or_else(|| Problem::Wrong("a new token shows no secret".to_owned()))
}

/// Waits until the server counts no more of such clients.
pub(super) fn until_gone(server: &Server, which: &str) -> Result<(), FeedError> {
    let start = Instant::now();
    let mut admin = Client::connect(server.address(), server.admin_token())?;
    loop {
        let answer = admin.ask("GET", "/v1/clients?limit=1", &[], &Value::Null)?.if_granted()?;
        match answer["counts"][which].as_u64() {
            Some(0) => return Ok(()),
            left if start.elapsed() > PATIENCE => {
                return Err(FeedError::KeepsClients { left: left.unwrap_or_default(), after: PATIENCE });
            }
            _ => std::thread::sleep(LOOK),
        }
    }
}
