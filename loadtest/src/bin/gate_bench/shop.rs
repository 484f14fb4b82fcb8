//! A server with an app, and a policy that trusts the keys of the evidence.

use serde_json::{Value, json};
use tidegate_loadtest::client::Client;
use tidegate_loadtest::cores::Cores;
use tidegate_loadtest::evidence::{self, Piece};
use tidegate_loadtest::gate;
use tidegate_loadtest::process::{peak_kib, resident_kib};
use tidegate_loadtest::server::Server;

/// The server.
pub(crate) struct Shop {
    server: Server,
    /// Of the pipeline.
    ci: String,
    /// No evidence comes twice.
    mark: u32,
}

impl Shop {
    pub(crate) fn start(cores: &Cores) -> Shop {
        // No token is asked to be slower than it can be.
        let server = cores.start(|| Server::start(&["workers=1", "limits.requests_per_second=0"]));
        let mut admin = server.admin();
        let environments = json!([{"key": "live", "kind": "production"}]);
        admin.call("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}));
        gate::prepare(&mut admin, "shop").expect("the gate takes its policy");
        let wanted = json!({"scope": "ci", "app": "shop", "environment": "live"});
        let token = admin.call("POST", "/v1/tokens", &wanted);
        let ci = token["secret"].as_str().expect("a new token shows its secret").to_owned();
        Shop { server, ci, mark: 0 }
    }

    pub(crate) fn pipeline(&self) -> Client {
        Client::new(self.server.address(), &self.ci)
    }

    /// A request for a decision, with evidence that never came before.
    pub(crate) fn request(&mut self, pieces: &[Piece]) -> Vec<u8> {
        self.mark += 1;
        evidence::request(&gate::path("shop", "live"), self.server.address(), &self.ci, pieces, self.mark)
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        resident_kib(self.server.process())
    }

    pub(crate) fn peak_kib(&self) -> u64 {
        peak_kib(self.server.process())
    }
}

/// Asks; what comes back has to be a decision that looked at the evidence.
pub(crate) fn decide(pipeline: &mut Client, request: &[u8]) -> Value {
    let answer = pipeline.send_bytes(request).granted();
    assert!(answer["judgement"]["checks"].is_array(), "a decision says what was found: {answer}");
    answer
}
