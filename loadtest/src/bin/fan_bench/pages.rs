//! Our own server with web pages as its clients: each opens with a context of its own, and a flag for each event.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_loadtest::client::{Client, request};
use tidegate_loadtest::server;

use crate::Server;

/// How long the server may take to notice that all pages have gone.
const PATIENCE: Duration = Duration::from_secs(60);
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
    server: server::Server,
    opener: RefCell<Client>,
    flags_left: usize,
    what: What,
}

impl Pages {
    /// Starts it and makes so many flags, on for half of the pages.
    pub(crate) fn start(flags: usize, what: What) -> Pages {
        let server = server::Server::start(&["limits.pages_per_minute=1000000"]);
        let mut admin = server.admin();
        let environments = json!([{"key": "live", "kind": "production"}]);
        admin.call("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}));
        for flag in 0..flags {
            let key = format!("flag-{flag}");
            let made = admin.call("POST", "/v1/apps/shop/flags", &json!({"key": key, "browser": "values"}));
            let seen = format!("\"{}\"", made["revision"]);
            let path = format!("/v1/apps/shop/flags/{key}/environments/live");
            let on = json!({"on": true, "exposure": 50});
            admin.send("PATCH", &path, &[("if-match", &seen)], &on).granted();
        }
        let wanted = json!({"scope": "sdk-browser", "app": "shop", "environment": "live", "origins": [SITE]});
        let token = admin.call("POST", "/v1/tokens", &wanted);
        let key = token["secret"].as_str().expect("a new token shows its secret");
        let opener = RefCell::new(Client::new(server.address(), key));
        Pages { server, opener, flags_left: flags, what }
    }
}

impl Server for Pages {
    fn address(&self) -> &str {
        self.server.address()
    }

    fn subscribe(&self, client: usize) -> String {
        let body = json!({"context": {"targetingKey": format!("user-{client}"), "plan": "free"}});
        let ask = || self.opener.borrow_mut().send("POST", "/v1/page", &[("origin", SITE)], &body);
        let mut answer = ask();
        // Where few descriptors are allowed, the pages of the turn before, which were left just now, have to go first.
        if answer.status == 503 {
            std::thread::sleep(Duration::from_secs(1));
            answer = ask();
        }
        let opened = answer.granted();
        let frame: Value = serde_json::from_str(opened["frame"].as_str().expect("a frame")).expect("JSON");
        let seen = format!("{}:{}", frame["log"].as_str().expect("a log"), frame["revision"]);
        let stream = opened["stream"].as_str().expect("an address");
        format!(
            "GET {stream}&seen={seen} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\norigin: {SITE}\r\n\r\n",
            self.address()
        )
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        self.flags_left -= 1;
        let path = format!("/v1/apps/shop/flags/flag-{}", self.flags_left);
        let (close, admin) = ([("connection", "close")], self.server.admin_token());
        match self.what {
            What::Kill => {
                let body = json!({"kill_id": marker});
                request("POST", &format!("{path}/kill"), self.address(), admin, &close, &body)
            }
            // Lowering needs no revision, and tells each page another answer than it has.
            What::Value => {
                let path = format!("{path}/environments/live");
                request("PATCH", &path, self.address(), admin, &close, &json!({"exposure": 25}))
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

    fn process(&self) -> u32 {
        self.server.process()
    }

    fn settle(&mut self) {
        let start = Instant::now();
        let mut admin = self.server.admin();
        while admin.call("GET", "/v1/clients?limit=1", &Value::Null)["counts"]["pages"] != 0 {
            assert!(start.elapsed() < PATIENCE, "the server keeps pages that have gone");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
