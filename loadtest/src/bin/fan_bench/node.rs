//! Our own server with an app, and a flag for each kill.

use std::time::{Duration, Instant};

use rollout_rules::feed::{ChangeFrame, Frame, FrameBody, Op, ServedKills};
use rollout_rules::flag::Kill;
use rollout_rules::ids::{FlagKey, KillId, LogId, Revision};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tidegate_loadtest::client::request;
use tidegate_loadtest::server;

use crate::Server;

/// How long the server may take to notice that all clients have gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Our server with an app, and a flag for each kill.
pub(crate) struct Node {
    server: server::Server,
    key: String,
    flags_left: usize,
}

impl Node {
    /// Starts it and makes so many flags.
    pub(crate) fn start(flags: usize) -> Node {
        let server = server::Server::start(&[]);
        let mut admin = server.admin();
        let environments = json!([{"key": "live", "kind": "production"}]);
        admin.call("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}));
        for flag in 0..flags {
            admin.call("POST", "/v1/apps/shop/flags", &json!({"key": format!("flag-{flag}")}));
        }
        let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "live"});
        let token = admin.call("POST", "/v1/tokens", &wanted);
        let key = token["secret"].as_str().expect("a new token shows its secret").to_owned();
        Node { server, key, flags_left: flags }
    }

    /// The length of the event that a kill is to an SDK, in bytes.
    pub(crate) fn typical_event() -> usize {
        let kill = Kill { id: KillId::new("evt-0-10-").expect("an id"), at: UnixMs(0) };
        let frame = Frame::new(
            LogId::new(&"x".repeat(26)).expect("an id"),
            Revision(100),
            FrameBody::Change(ChangeFrame {
                follows: Revision(99),
                kill_id: Some(kill.id.clone()),
                ops: vec![Op::FlagKills {
                    flag: FlagKey::new("flag-10").expect("a key"),
                    kills: ServedKills { killed: Some(kill), off_before: Revision::ZERO },
                    revision: Revision(100),
                }],
            }),
        );
        frame.encode_event().expect("a small frame").len()
    }
}

impl Server for Node {
    fn address(&self) -> &str {
        self.server.address()
    }

    fn subscribe(&self, client: usize) -> String {
        let path = format!("/v1/feed?instance=fan-{client}&sdk=fan-bench/1");
        let accept = [("accept", "text/event-stream")];
        let bytes = request("GET", &path, self.address(), &self.key, &accept, &Value::Null);
        String::from_utf8(bytes).expect("a request is text")
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        self.flags_left -= 1;
        let path = format!("/v1/apps/shop/flags/flag-{}/kill", self.flags_left);
        let close = [("connection", "close")];
        let admin = self.server.admin_token();
        request("POST", &path, self.address(), admin, &close, &json!({"kill_id": marker}))
    }

    fn process(&self) -> u32 {
        self.server.process()
    }

    fn settle(&mut self) {
        let start = Instant::now();
        let mut admin = self.server.admin();
        while admin.call("GET", "/v1/clients?limit=1", &Value::Null)["counts"]["connected"] != 0 {
            assert!(start.elapsed() < PATIENCE, "the server keeps clients that have gone");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
