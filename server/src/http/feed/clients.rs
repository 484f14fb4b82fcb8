//! The SDKs that are connected now, and the revision each one says it serves.

use dashmap::DashMap;
use rollout_rules::feed::machine::MAX_ACK_KILLS;
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use serde::Serialize;

use crate::http::problem::{self, Problem};

/// Most clients that are kept in mind; further ones are served but not listed.
pub const MAX_CLIENTS: usize = 50_000;
/// Longest name and version of an SDK, in bytes.
pub const MAX_SDK_BYTES: usize = 64;

/// One connected SDK.
#[derive(Clone, Debug, Serialize)]
pub struct LiveClient {
    /// Its own name for itself.
    pub instance: InstanceId,
    /// Whose flags it serves.
    pub app: AppKey,
    /// In which environment.
    pub environment: EnvKey,
    /// What it is: `tidegate-rust/0.1.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdk: Option<String>,
    /// Since when.
    pub since: UnixMs,
    /// The revision that it says it serves.
    pub revision: Revision,
    /// When it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<UnixMs>,
    /// The last kills that it says are in effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kill_ids: Vec<KillId>,
    /// Tells a connection from an earlier one of the same client.
    #[serde(skip)]
    connection: u64,
}

type Name = (AppKey, EnvKey, InstanceId);

/// All connected SDKs.
#[derive(Default)]
pub struct LiveClients {
    clients: DashMap<Name, LiveClient>,
}

/// What an SDK acknowledges.
pub struct Acknowledgement {
    /// Which SDK.
    pub instance: InstanceId,
    /// The revision that it serves.
    pub revision: Revision,
    /// Kills that are in effect in it, overlays included.
    pub kill_ids: Vec<KillId>,
}

impl LiveClients {
    /// Notes that a client connected.
    pub fn connected(&self, name: Name, sdk: Option<String>, connection: u64, now: UnixMs) {
        let (app, environment, instance) = name.clone();
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&name) {
            return;
        }
        let fresh = LiveClient {
            instance,
            app,
            environment,
            sdk,
            since: now,
            revision: Revision::ZERO,
            acknowledged_at: None,
            kill_ids: Vec::new(),
            connection,
        };
        self.clients.insert(name, fresh);
    }

    /// Notes that a connection ended, unless the client has a newer one.
    pub fn disconnected(&self, name: &Name, connection: u64) {
        self.clients.remove_if(name, |_, client| client.connection == connection);
    }

    /// Notes what a client says. Unknown clients are refused: acknowledgements belong to a stream.
    pub fn acknowledge(
        &self,
        app: AppKey,
        environment: EnvKey,
        said: Acknowledgement,
        now: UnixMs,
    ) -> Result<(), Problem> {
        let name = (app, environment, said.instance);
        let Some(mut client) = self.clients.get_mut(&name) else {
            return Err(Problem::new(
                problem::NOT_FOUND,
                "no feed of this instance is connected to this server",
            ));
        };
        client.revision = client.revision.max(said.revision);
        client.acknowledged_at = Some(now);
        for kill_id in said.kill_ids {
            if !client.kill_ids.contains(&kill_id) {
                if client.kill_ids.len() == MAX_ACK_KILLS {
                    client.kill_ids.remove(0);
                }
                client.kill_ids.push(kill_id);
            }
        }
        Ok(())
    }

    /// How many there are, and how many have not acknowledged what they should serve.
    pub fn count_behind(&self, folded: &Snapshot) -> (u64, u64) {
        self.clients.iter().fold((0, 0), |(all, behind), client| {
            let served = folded.feed_revision(&client.app, &client.environment);
            (all + 1, behind + u64::from(client.revision < served))
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// Those that `keep` wants, by name.
    pub fn list(&self, keep: impl Fn(&LiveClient) -> bool) -> Vec<LiveClient> {
        let mut list: Vec<LiveClient> =
            self.clients.iter().filter(|client| keep(client)).map(|client| client.clone()).collect();
        list.sort_by(|a, b| {
            (&a.app, &a.environment, &a.instance).cmp(&(&b.app, &b.environment, &b.instance))
        });
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(instance: &str) -> Name {
        (AppKey::new("shop").unwrap(), EnvKey::new("production").unwrap(), InstanceId::new(instance).unwrap())
    }

    fn said(instance: &str, revision: u64, kills: &[&str]) -> Acknowledgement {
        Acknowledgement {
            instance: InstanceId::new(instance).unwrap(),
            revision: Revision(revision),
            kill_ids: kills.iter().map(|kill| KillId::new(kill).unwrap()).collect(),
        }
    }

    #[test]
    fn a_client_is_listed_with_the_highest_revision_it_acknowledged() {
        let clients = LiveClients::default();
        clients.connected(name("a"), Some("tidegate-rust/0.1.0".into()), 1, UnixMs(5));
        let (app, environment, _) = name("a");
        for revision in [7, 3] {
            clients
                .acknowledge(app.clone(), environment.clone(), said("a", revision, &["k"]), UnixMs(6))
                .unwrap();
        }
        let list = clients.list(|_| true);
        assert_eq!((list.len(), list[0].revision, list[0].kill_ids.len()), (1, Revision(7), 1));
        assert!(clients.acknowledge(app, environment, said("stranger", 1, &[]), UnixMs(6)).is_err());
    }

    #[test]
    fn the_end_of_an_old_connection_leaves_the_new_one_listed() {
        let clients = LiveClients::default();
        clients.connected(name("a"), None, 1, UnixMs(5));
        clients.connected(name("a"), None, 2, UnixMs(6));
        clients.disconnected(&name("a"), 1);
        assert_eq!(clients.count(), 1);
        clients.disconnected(&name("a"), 2);
        assert_eq!(clients.count(), 0);
    }
}
