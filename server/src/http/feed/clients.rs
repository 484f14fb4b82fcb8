//! The SDKs that are connected now, and the revision each one says it serves.

use dashmap::DashMap;
use rollout_rules::feed::machine::MAX_ACK_KILLS;
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use crate::http::problem::{self, Problem};

/// Most clients that are kept in mind; further ones are served but not listed.
pub const MAX_CLIENTS: usize = 50_000;
/// Longest name and version of an SDK, in bytes.
pub const MAX_SDK_BYTES: usize = 64;

/// One connected SDK.
#[derive(Clone, Debug)]
pub struct LiveClient {
    /// Its own name for itself.
    pub instance: InstanceId,
    /// Whose flags it serves.
    pub app: AppKey,
    /// In which environment.
    pub environment: EnvKey,
    /// What it is: `tidegate-rust/0.1.0`.
    pub sdk: Option<String>,
    /// Since when.
    pub connected_at: UnixMs,
    /// The revision that it says it serves; zero before it has said so on this connection.
    pub revision: Revision,
    /// When it said so last.
    pub acknowledged_at: Option<UnixMs>,
    /// The last kills that it says are in effect.
    pub kill_ids: Vec<KillId>,
    /// Tells a connection from an earlier one of the same client.
    pub connection: u64,
}

impl LiveClient {
    /// By which clients are told apart, and listed.
    pub fn name(&self) -> (&AppKey, &EnvKey, &InstanceId) {
        (&self.app, &self.environment, &self.instance)
    }

    /// When it said anything last: an acknowledgement, or that it is there.
    pub fn last_heard_at(&self) -> UnixMs {
        self.acknowledged_at.unwrap_or(self.connected_at)
    }

    /// Whether it has said that a kill is in effect in it: by the kill's id, or by serving a revision which
    /// comes after that of the kill.
    pub fn has(&self, kill_id: &KillId, revision: Option<Revision>) -> bool {
        covers(self.revision, &self.kill_ids, kill_id, revision)
    }
}

fn covers(served: Revision, named: &[KillId], kill_id: &KillId, revision: Option<Revision>) -> bool {
    revision.is_some_and(|revision| served >= revision) || named.contains(kill_id)
}

/// What a client is called.
pub type Name = (AppKey, EnvKey, InstanceId);

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

impl Acknowledgement {
    /// Whether it says that a kill is in effect.
    pub fn has(&self, kill_id: &KillId, revision: Option<Revision>) -> bool {
        covers(self.revision, &self.kill_ids, kill_id, revision)
    }
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
            connected_at: now,
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

    /// Notes what a client says, after `note` has compared it with what it said before. Unknown clients are
    /// refused: acknowledgements belong to a stream.
    pub fn acknowledge(
        &self,
        app: AppKey,
        environment: EnvKey,
        said: Acknowledgement,
        note: impl FnOnce(&LiveClient, &Acknowledgement),
        now: UnixMs,
    ) -> Result<(), Problem> {
        let name = (app, environment, said.instance.clone());
        let Some(mut client) = self.clients.get_mut(&name) else {
            return Err(Problem::new(
                problem::NOT_FOUND,
                "no feed of this instance is connected to this server",
            ));
        };
        note(&client, &said);
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

    /// Shows each of them, in no order. `visit` must ask nothing of the clients.
    pub fn each(&self, mut visit: impl FnMut(&LiveClient)) {
        self.clients.iter().for_each(|client| visit(&client));
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
                .acknowledge(
                    app.clone(),
                    environment.clone(),
                    said("a", revision, &["k"]),
                    |_, _| {},
                    UnixMs(6),
                )
                .unwrap();
        }
        let mut list = Vec::new();
        clients.each(|client| list.push(client.clone()));
        assert_eq!((list.len(), list[0].revision, list[0].kill_ids.len()), (1, Revision(7), 1));
        assert_eq!(list[0].last_heard_at(), UnixMs(6));
        let stranger = said("stranger", 1, &[]);
        assert!(clients.acknowledge(app, environment, stranger, |_, _| {}, UnixMs(6)).is_err());
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
