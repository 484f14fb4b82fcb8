//! A crowd of SDKs: each client is the very machine that drives every SDK, with its state, its waits and its
//! acknowledgements.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rollout_rules::feed::machine::{Input, Loss, Machine, NEVER, Output, Standing};
use rollout_rules::time::DurationMs;
use serde_json::{Value, json};

use super::FeedError;
use super::acks::Acks;
use super::crowd::{Crowd, Heard};
use crate::chance::Chance;
use crate::client::request;

/// Who they are, in lists of clients.
const NAME: &str = "loadtest/1";

/// What the crowd was told beside its streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Connections that were refused, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Connections that could not be made or broke.
    pub(crate) failed: u64,
    /// Streams that the server ended.
    pub(crate) ended: u64,
}

/// The SDKs, by numbers from 0.
pub(crate) struct Sdks {
    address: SocketAddr,
    key: String,
    crowd: Crowd,
    machines: Vec<Machine>,
    /// Since when each serves what the server serves; none while it does not.
    live_since: Vec<Option<Instant>>,
    live: usize,
    /// When machines want to be told the time, in milliseconds since the start; some of it is out of date.
    wakes: BinaryHeap<Reverse<(u64, usize)>>,
    /// The next of each that is not.
    planned: Vec<u64>,
    acks: Acks,
    chance: Chance,
    start: Instant,
    told: Told,
}

impl Sdks {
    /// So many that know nothing yet. They connect at the first step, all at once.
    pub(crate) fn new(address: SocketAddr, key: &str, clients: usize, seed: u64) -> Result<Sdks, FeedError> {
        let machine = |_| Machine::new(None, DurationMs(0));
        Ok(Sdks {
            address,
            key: key.to_owned(),
            crowd: Crowd::new(address, clients)?,
            machines: (0..clients).map(machine).collect(),
            live_since: vec![None; clients],
            live: 0,
            wakes: (0..clients).map(|client| Reverse((0, client))).collect(),
            planned: vec![0; clients],
            acks: Acks::new(address),
            chance: Chance::new(seed),
            start: Instant::now(),
            told: Told::default(),
        })
    }

    /// How many serve what the server serves.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Since when each that does serves what the server serves.
    pub(crate) fn live_since(&self) -> impl Iterator<Item = Option<Instant>> + '_ {
        self.live_since.iter().copied()
    }

    /// What they were told since the start.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// The most that were connecting at once.
    pub(crate) fn most_under_way(&self) -> usize {
        self.crowd.most_under_way()
    }

    /// Acknowledgements that are to be sent or not answered yet, those that were answered by status, and those lost.
    pub(crate) fn acks(&self) -> (usize, &BTreeMap<u16, u64>, u64) {
        (self.acks.open(), &self.acks.answered, self.acks.lost)
    }

    /// Lets so many at most do something, and waits that long at most for something to happen.
    pub(crate) fn step(&mut self, wait: Duration, most: usize) -> Result<(), FeedError> {
        let now = self.now();
        let mut outputs = Vec::new();
        while outputs.len() < most
            && let Some(Reverse((at, client))) = self.wakes.peek().copied().filter(|wake| wake.0.0 <= now.0)
        {
            self.wakes.pop();
            if self.planned[client] != at {
                continue;
            }
            self.planned[client] = u64::MAX;
            let machine = &mut self.machines[client];
            // What was heard since may have put it off.
            if machine.wake_at() <= now {
                let said = machine.handle(Input::Tick, self.chance.draw(), now);
                outputs.extend(said.into_iter().map(|output| (client, output)));
            }
            self.plan(client);
        }
        self.act(&mut outputs);
        self.acks.step();
        let next =
            self.wakes.peek().map_or(wait, |wake| Duration::from_millis(wake.0.0.saturating_sub(now.0)));
        let now = self.now();
        let Sdks { crowd, machines, chance, told, .. } = self;
        let mut heard_by = Vec::new();
        crowd.step(wait.min(next), most, &mut |client, heard| {
            let input = match heard {
                Heard::Opened => Input::Connected,
                Heard::Bytes(bytes) => Input::Bytes(bytes),
                Heard::Lost(loss) => {
                    told.count(&loss);
                    Input::Lost(loss)
                }
            };
            let said = machines[client].handle(input, chance.draw(), now);
            outputs.extend(said.into_iter().map(|output| (client, output)));
            heard_by.push(client);
        })?;
        heard_by.dedup();
        heard_by.into_iter().for_each(|client| self.plan(client));
        self.act(&mut outputs);
        Ok(())
    }

    /// The network of one of them ends.
    pub(crate) fn cut(&mut self, client: usize) {
        self.crowd.close(client);
        let now = self.now();
        let loss = Input::Lost(Loss::Failed("the network ended".to_owned()));
        let said = self.machines[client].handle(loss, self.chance.draw(), now);
        let mut outputs = said.into_iter().map(|output| (client, output)).collect();
        self.plan(client);
        self.act(&mut outputs);
    }

    fn now(&self) -> DurationMs {
        DurationMs(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn plan(&mut self, client: usize) {
        let at = self.machines[client].wake_at();
        if at != NEVER && at.0 < self.planned[client] {
            self.planned[client] = at.0;
            self.wakes.push(Reverse((at.0, client)));
        }
    }

    fn act(&mut self, outputs: &mut Vec<(usize, Output)>) {
        let host = self.address.to_string();
        for (client, output) in outputs.drain(..) {
            match output {
                Output::Connect { resume } => {
                    let path = format!("/v1/feed?instance=crowd-{client}&sdk={NAME}");
                    let resume = resume.map(|token| token.to_string());
                    let mut headers = vec![("accept", "text/event-stream")];
                    headers.extend(resume.as_ref().map(|token| ("last-event-id", token.as_str())));
                    let asked = request("GET", &path, &host, &self.key, &headers, &Value::Null);
                    self.crowd.connect(client, asked);
                }
                Output::Disconnect => self.crowd.close(client),
                Output::Ack { revision, kill_ids } => {
                    let body = json!({"instance": format!("crowd-{client}"), "revision": revision, "kill_ids": kill_ids});
                    self.acks.add(request("POST", "/v1/feed/ack", &host, &self.key, &[], &body));
                }
                Output::Standing(standing) => self.stand(client, &standing),
                Output::Serve { .. } | Output::Said { .. } => {}
            }
        }
    }

    fn stand(&mut self, client: usize, standing: &Standing) {
        let is_live = *standing == Standing::Live;
        let since = &mut self.live_since[client];
        self.live = self.live + usize::from(is_live) - usize::from(since.is_some());
        *since = is_live.then(Instant::now);
    }
}

impl Told {
    /// What came after an earlier look.
    pub(crate) fn since(&self, earlier: &Told) -> Told {
        let mut refused = self.refused.clone();
        for (status, before) in &earlier.refused {
            refused.entry(*status).and_modify(|count| *count -= before);
        }
        refused.retain(|_, count| *count > 0);
        Told { refused, failed: self.failed - earlier.failed, ended: self.ended - earlier.ended }
    }

    /// Those who were sent away for what trying again will hardly change, by status.
    pub(crate) fn for_good(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let is_for_good = |status: u16| matches!(status, 400..=499) && !matches!(status, 408 | 429);
        self.refused
            .iter()
            .map(|(status, count)| (*status, *count))
            .filter(move |(status, _)| is_for_good(*status))
    }

    fn count(&mut self, loss: &Loss) {
        match loss {
            Loss::Ended => self.ended += 1,
            Loss::Failed(_) => self.failed += 1,
            Loss::Refused { status, .. } => *self.refused.entry(*status).or_default() += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trying_again_will_not_change_is_for_good_and_earlier_refusals_are_not_counted() {
        let mut told = Told::default();
        let refused = |status| Loss::Refused { status, retry_after: None };
        [503, 403].into_iter().for_each(|status| told.count(&refused(status)));
        let earlier = told.clone();
        [503, 429, 404, 408].into_iter().for_each(|status| told.count(&refused(status)));
        told.count(&Loss::Ended);
        let since = told.since(&earlier);
        assert_eq!(since.refused, BTreeMap::from([(404, 1), (408, 1), (429, 1), (503, 1)]));
        assert_eq!((since.ended, since.failed), (1, 0));
        assert_eq!(since.for_good().collect::<Vec<_>>(), [(404, 1)]);
        assert_eq!(told.for_good().collect::<Vec<_>>(), [(403, 1), (404, 1)]);
    }
}
