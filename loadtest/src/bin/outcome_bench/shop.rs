//! A server whose app has many flags, and what its processes tell of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_loadtest::client::Client;
use tidegate_loadtest::outcomes::summary;
use tidegate_loadtest::server::Server;

/// Summaries in one batch.
pub(crate) const BATCH: usize = 100;

/// A server whose app has many flags.
pub(crate) struct Shop {
    server: Server,
    key: String,
    flags: usize,
}

impl Shop {
    /// Starts it and makes so many flags.
    pub(crate) fn start(flags: usize) -> Shop {
        // No token is asked to be slower than it can be.
        let server = Server::start(&["limits.requests_per_second=0"]);
        let mut admin = server.admin();
        let environments = json!([{"key": "live", "kind": "production"}]);
        admin.call("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}));
        for flag in 0..flags {
            admin.call("POST", "/v1/apps/shop/flags", &json!({"key": format!("flag-{flag}")}));
        }
        let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "live"});
        let token = admin.call("POST", "/v1/tokens", &wanted);
        let key = token["secret"].as_str().expect("a new token shows its secret").to_owned();
        Shop { server, key, flags }
    }

    pub(crate) fn flags(&self) -> usize {
        self.flags
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        self.server.resident_kib()
    }

    /// A process of the app.
    pub(crate) fn sender(&self) -> Sender {
        static SENDERS: AtomicUsize = AtomicUsize::new(0);
        let instance = format!("bench-{}", SENDERS.fetch_add(1, Ordering::Relaxed));
        let client = Client::new(self.server.address(), &self.key);
        Sender { client, instance, flags: self.flags, batch: 0 }
    }
}

/// A process of the app.
pub(crate) struct Sender {
    client: Client,
    /// Batches of one sender are known again by their names.
    instance: String,
    flags: usize,
    batch: usize,
}

impl Sender {
    /// Sends the next batch: each tells of the next flags, and in the end of the first again. Gives how many summaries
    /// it has.
    pub(crate) fn send_batch(&mut self) -> usize {
        let now = now_ms();
        let summaries: Value = (0..BATCH)
            .map(|place| {
                let number = self.batch * BATCH + place;
                summary(&format!("flag-{}", number / 2 % self.flags), number as u64, now)
            })
            .collect();
        let body =
            json!({"instance": self.instance, "batch": self.batch.to_string(), "summaries": summaries});
        self.batch += 1;
        let told = self.client.call("POST", "/v1/outcomes", &body);
        assert_eq!(told["added"], BATCH, "{}", told["refused"]);
        BATCH
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
