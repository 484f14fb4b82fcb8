//! The SDK as an app has it: a client that follows a feed, asked through its own functions, each of which counts its
//! answer.

use std::fmt;
use std::io;
use std::time::Duration;

use rollout_rules::context::Context;
use rollout_rules::feed::{Frame, FrameCodecError};
use serde_json::{Value, json};
use tidegate_sdk::{BuildError, Client, NotReady};

use super::origin::Origin;
use super::ours;
use super::world::{Asked, Engine, Kind, PEOPLE, flags, list};

/// A client that is not live after so long will not be.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any run: the client says nothing while it is measured, and waits for nothing.
const NEVER: Duration = Duration::from_secs(24 * 3_600);
/// It looks like a key, and nobody asks for one.
const KEY: &str = "tg_in-process";

/// Why there is no client.
#[derive(Debug)]
pub enum NoClient {
    /// The system has no socket for its server.
    Socket(io::Error),
    /// The snapshot is none.
    Snapshot(FrameCodecError),
    /// It could not be made.
    Build(BuildError),
    /// It did not become live.
    NotReady(NotReady),
    /// It did not say that it serves the snapshot.
    NotAcknowledged,
}

impl fmt::Display for NoClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoClient::Socket(error) => write!(f, "no socket for the client's server: {error}"),
            NoClient::Snapshot(error) => write!(f, "the client's snapshot is none: {error}"),
            NoClient::Build(error) => write!(f, "the client could not be made: {error}"),
            NoClient::NotReady(error) => write!(f, "the client did not become live: {error}"),
            NoClient::NotAcknowledged => f.write_str("the client did not say that it serves its flags"),
        }
    }
}

impl std::error::Error for NoClient {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NoClient::Socket(error) => Some(error),
            NoClient::Snapshot(error) => Some(error),
            NoClient::Build(error) => Some(error),
            NoClient::NotReady(error) => Some(error),
            NoClient::NotAcknowledged => None,
        }
    }
}

/// A client that is live on all flags, and the server that it follows.
pub struct Sdk {
    client: Client,
    people: Vec<Context>,
    origin: Origin,
}

impl Sdk {
    /// With all flags and people.
    ///
    /// # Errors
    /// When the client does not become live.
    pub fn start() -> Result<Sdk, NoClient> {
        let origin = Origin::start(event()?).map_err(NoClient::Socket)?;
        let client = Client::builder(&origin.url(), KEY).silence(NEVER).exposures_every(NEVER);
        let client = client.without_outcomes().start().map_err(NoClient::Build)?;
        client.wait_ready(PATIENCE).map_err(NoClient::NotReady)?;
        Ok(Sdk { client, people: ours::people_as_contexts(), origin })
    }

    /// Waits until the client has said to its server all that it has to say: from then on its own thread only sleeps.
    ///
    /// # Errors
    /// When it does not within ten seconds.
    pub fn settle(&self) -> Result<(), NoClient> {
        if self.origin.is_acked_within(PATIENCE) { Ok(()) } else { Err(NoClient::NotAcknowledged) }
    }

    /// Ends the client. How many answers it counted, as it told its server.
    pub fn end(self) -> u64 {
        // What it counted it tells when it ends, and waits until the server has it.
        drop(self.client);
        self.origin.counted()
    }
}

impl Engine for Sdk {
    fn name(&self) -> &'static str {
        "Tidegate's SDK"
    }

    /// An app knows of what type a flag is that it asks for.
    #[inline]
    fn check(&self, asked: Asked<'_>, person: usize) -> usize {
        let context = &self.people[person & (PEOPLE - 1)];
        match asked.kind {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0, 1 or 2")]
            Kind::Rules => self.client.number(asked.flag, context, 0.0) as usize,
            _ => usize::from(self.client.bool(asked.flag, context, false)),
        }
    }
}

/// The snapshot of all flags, as the feed says it.
fn event() -> Result<Vec<u8>, NoClient> {
    let flags: Vec<Value> = flags().iter().map(|(name, kind)| flag(name, *kind)).collect();
    let frame = json!({"v": 1, "log": "in-process", "revision": 7, "body": {"snapshot": {
        "app": "shop", "environment": "production", "flags": flags,
        "segments": [{"segment": ours::SEGMENT, "members": list()}],
    }}});
    let frame = Frame::decode(frame.to_string().as_bytes()).map_err(NoClient::Snapshot)?;
    frame.encode_event().map_err(NoClient::Snapshot)
}

/// A flag of the feed: what it is and how it stands, in one.
fn flag(name: &str, kind: Kind) -> Value {
    let mut flag = ours::definition(name, kind);
    if let (Value::Object(flag), Value::Object(state)) = (&mut flag, ours::state(kind)) {
        flag.remove("created_at");
        flag.extend(state);
        flag.insert("revision".to_owned(), json!(7));
    }
    flag
}

#[cfg(test)]
mod tests {
    use super::super::world::{IN_LIST, OFF, RULES};
    use super::super::{Shown as _, are_right};
    use super::*;

    #[test]
    fn a_client_does_the_work_that_it_should_and_counts_every_answer() {
        let sdk = Sdk::start().expect("a client");
        let shares = sdk.shares();
        assert!(are_right(shares), "{shares:?}");
        assert_eq!([OFF, RULES, IN_LIST].map(|asked| sdk.check(asked, 1).min(1)), [0, 1, 1]);
        let hundred = sdk.work(None)(1);
        assert!(hundred >= 40, "every flag with rules is a or b: {hundred}");
        assert_eq!(sdk.end(), 5 * 1_024 + 3 + 100);
    }
}
