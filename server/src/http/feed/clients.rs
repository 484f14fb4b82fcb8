//! The SDKs that are connected now, and the revision each one says it serves; and those that were a moment ago.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use rollout_rules::feed::machine::MAX_ACK_KILLS;
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};

use crate::http::problem::{self, Problem};

/// Most clients that are kept in mind; further ones are served and counted like feeds without a name.
pub const MAX_CLIENTS: usize = 50_000;
/// How long a client is kept in mind whose connection ended.
pub const GONE_KEPT: DurationMs = DurationMs(10 * 60 * 1_000);
/// Most clients that are kept in mind after their connection ended; the first to go is forgotten first.
pub const MAX_GONE: usize = 10_000;
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
    /// The last to go comes last. A client that came back is still here; who looks passes it over.
    gone: Mutex<VecDeque<Gone>>,
}

/// A client whose connection ended. Whether it still runs, and serves what it had, nobody knows.
struct Gone {
    name: Name,
    client: LiveClient,
    at: UnixMs,
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
    /// Notes that a client connected; false if there are [`MAX_CLIENTS`] already, and it is not kept in mind.
    #[must_use]
    pub fn connected(&self, name: Name, sdk: Option<String>, connection: u64, now: UnixMs) -> bool {
        let (app, environment, instance) = name.clone();
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&name) {
            return false;
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
        true
    }

    /// Notes that a connection ended, unless the client has a newer one.
    pub fn disconnected(&self, name: &Name, connection: u64, now: UnixMs) {
        let ended = self.clients.remove_if(name, |_, client| client.connection == connection);
        let Some((name, client)) = ended else { return };
        let mut gone = self.gone(now);
        if gone.len() == MAX_GONE {
            gone.pop_front();
        }
        gone.push_back(Gone { name, client, at: now });
    }

    /// Those that are gone, without those that are gone for long.
    fn gone(&self, now: UnixMs) -> MutexGuard<'_, VecDeque<Gone>> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        while gone.front().is_some_and(|first| now.since(first.at) >= GONE_KEPT) {
            gone.pop_front();
        }
        gone
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

    /// Shows each client whose connection ended within [`GONE_KEPT`] and that has not come back, and when that
    /// was; the last to go comes first. `visit` must ask nothing of the clients.
    pub fn each_gone(&self, mut visit: impl FnMut(&LiveClient, UnixMs), now: UnixMs) {
        let gone = self.gone(now);
        let mut seen = HashSet::new();
        for Gone { name, client, at } in gone.iter().rev() {
            // Who comes and goes is gone once.
            if seen.insert(name) && !self.clients.contains_key(name) {
                visit(client, *at);
            }
        }
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
        assert!(clients.connected(name("a"), Some("tidegate-rust/0.1.0".into()), 1, UnixMs(5)));
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
        assert!(clients.connected(name("a"), None, 1, UnixMs(5)));
        assert!(clients.connected(name("a"), None, 2, UnixMs(6)));
        clients.disconnected(&name("a"), 1, UnixMs(7));
        assert_eq!((clients.count(), gone(&clients, UnixMs(7))), (1, Vec::new()));
        clients.disconnected(&name("a"), 2, UnixMs(8));
        assert_eq!((clients.count(), gone(&clients, UnixMs(8))), (0, vec![("a".to_owned(), UnixMs(8))]));
    }

    fn gone(clients: &LiveClients, now: UnixMs) -> Vec<(String, UnixMs)> {
        let mut gone = Vec::new();
        clients.each_gone(|client, at| gone.push((client.instance.to_string(), at)), now);
        gone
    }

    #[test]
    fn who_goes_is_kept_in_mind_for_a_while_unless_it_comes_back() {
        let clients = LiveClients::default();
        let stay = |instance: &str, from: u64, to: u64| {
            assert!(clients.connected(name(instance), None, from, UnixMs(from)));
            clients.disconnected(&name(instance), from, UnixMs(to));
        };
        stay("a", 1, 10);
        stay("b", 2, 20);
        stay("a", 21, 30);
        let ended = |instance: &str, at| (instance.to_owned(), UnixMs(at));
        assert_eq!(gone(&clients, UnixMs(40)), [ended("a", 30), ended("b", 20)], "the last first, each once");
        assert!(clients.connected(name("a"), None, 41, UnixMs(41)));
        assert_eq!(gone(&clients, UnixMs(42)), [ended("b", 20)]);
        assert_eq!(gone(&clients, UnixMs(20).plus(GONE_KEPT)), []);
    }

    #[test]
    fn clients_past_the_bound_are_turned_away_and_the_first_to_go_are_forgotten() {
        let clients = LiveClients::default();
        for index in 0..MAX_CLIENTS as u64 {
            assert!(clients.connected(name(&format!("i-{index}")), None, index, UnixMs(1)));
        }
        assert!(!clients.connected(name("further"), None, 0, UnixMs(1)));
        assert!(clients.connected(name("i-7"), None, 7, UnixMs(2)), "it is known");
        for index in 0..MAX_GONE as u64 {
            clients.disconnected(&name(&format!("i-{index}")), index, UnixMs(3));
        }
        assert!(clients.connected(name("further"), None, 0, UnixMs(4)));
        clients.disconnected(&name("further"), 0, UnixMs(5));
        let gone = gone(&clients, UnixMs(5));
        assert_eq!(
            (gone.len(), gone[0].0.as_str(), gone[MAX_GONE - 1].0.as_str()),
            (MAX_GONE, "further", "i-1")
        );
    }
}
