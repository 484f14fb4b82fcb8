//! What the server is told of a slot, in pieces that it takes.

use rollout_rules::sli::{Gauges, Outcomes, Slot, Summary};
use serde_json::Value;

/// Longest list of summaries in one batch, in bytes: an eighth of what a server takes at least. One summary has at
/// most 40 KiB.
const MOST_BYTES: usize = 128 * 1024;
/// Most summaries in one batch; as many as a server takes.
const MOST_SUMMARIES: usize = 1_000;

/// One batch.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) slot: Slot,
    /// JSON, but for who sends it: that is added when it is sent.
    pub(super) summaries: String,
    /// How many outcomes each of them tells of.
    pub(super) requests: Vec<u64>,
    /// What became of all requests of the slot, those without a flag included; in the slot's first batch.
    all: Option<Outcomes>,
    gauges: Gauges,
}

impl Batch {
    fn of(slot: Slot) -> Batch {
        Batch { slot, summaries: String::new(), requests: Vec::new(), all: None, gauges: Gauges::default() }
    }

    fn is_full(&self) -> bool {
        self.summaries.len() >= MOST_BYTES || self.requests.len() == MOST_SUMMARIES
    }

    fn push(&mut self, summary: &Summary) {
        let Ok(text) = serde_json::to_string(summary) else { return };
        if !self.summaries.is_empty() {
            self.summaries.push(',');
        }
        self.summaries.push_str(&text);
        self.requests.push(summary.outcomes.requests);
    }

    /// How many outcomes it tells of.
    pub(super) fn requests(&self) -> u64 {
        self.requests.iter().fold(0, |sum, requests| sum.saturating_add(*requests))
    }

    /// The body to send. `sender` is an object of who sends it, and how it is called.
    pub(super) fn body(&self, sender: &Value) -> String {
        let slot = self.slot.starts_at();
        let mut body = sender.to_string();
        body.truncate(body.len() - 1);
        body.push_str(&format!(",\"slot\":\"{slot}\""));
        let all = self.all.as_ref().and_then(|all| serde_json::to_string(all).ok());
        body.extend(all.map(|all| format!(",\"all\":{all}")));
        let gauges = Some(self.gauges).filter(|gauges| *gauges != Gauges::default());
        let gauges = gauges.and_then(|gauges| serde_json::to_string(&gauges).ok());
        body.extend(gauges.map(|gauges| format!(",\"gauges\":{gauges}")));
        body.push_str(&format!(",\"summaries\":[{}]}}", self.summaries));
        body
    }
}

/// All that is told of the slots before `until`: those with summaries, and that just before `until` in any case, since
/// a process in which nothing happened is not one that fell silent. `all` is what became of all requests, by slot; `gauges` are
/// of that last slot.
pub(super) fn batches(
    summaries: &[Summary],
    all: Vec<(Slot, Outcomes)>,
    gauges: Gauges,
    until: Slot,
) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for summary in summaries {
        let fits = batches.last().is_some_and(|last| last.slot == summary.slot && !last.is_full());
        if !fits {
            batches.push(Batch::of(summary.slot));
        }
        if let Some(last) = batches.last_mut() {
            last.push(summary);
        }
    }
    let last = Slot(until.0.saturating_sub(1));
    first_of(&mut batches, last).gauges = gauges;
    for (slot, all) in all {
        first_of(&mut batches, slot).all = Some(all);
    }
    batches
}

/// The first batch of a slot; an empty one, if nothing is told of it yet.
fn first_of(batches: &mut Vec<Batch>, slot: Slot) -> &mut Batch {
    let at = batches.iter().position(|batch| batch.slot == slot).unwrap_or_else(|| {
        batches.push(Batch::of(slot));
        batches.len() - 1
    });
    &mut batches[at]
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::{FlagKey, Revision, SplitId, VariantKey};
    use rollout_rules::sli::Outcomes;
    use serde_json::json;

    use super::*;

    fn summary(flag: usize, slot: u32) -> Summary {
        Summary {
            flag: FlagKey::new(&format!("flag-{flag}")).expect("a key"),
            flag_revision: Revision(1),
            split: SplitId::new("main").expect("a name"),
            variant: VariantKey::new("on").expect("a key"),
            slot: Slot(slot),
            outcomes: Outcomes { units: 1, requests: 2, ..Outcomes::default() },
        }
    }

    #[test]
    fn each_slot_is_told_in_batches_of_its_own_that_servers_take_and_a_quiet_one_in_an_empty_batch() {
        let summaries: Vec<Summary> =
            (0..2_500).map(|flag| summary(flag, 8)).chain([summary(0, 9)]).collect();
        let all = batches(&summaries, Vec::new(), Gauges::default(), Slot(11));
        let told: usize = all.iter().map(|batch| batch.requests.len()).sum();
        assert_eq!(told, summaries.len());
        assert!(
            all.iter().all(|batch| batch.summaries.len() < 2 * MOST_BYTES && batch.requests.len() <= 1_000)
        );
        let slots: Vec<u32> = all.iter().map(|batch| batch.slot.0).collect();
        assert!(slots.is_sorted() && slots[slots.len() - 2..] == [9, 10], "{slots:?}");
        let body: Value = serde_json::from_str(&all[0].body(&json!({"instance": "a"}))).expect("JSON");
        let first: Summary = serde_json::from_value(body["summaries"][0].clone()).expect("a summary");
        assert_eq!((body["instance"].as_str(), first), (Some("a"), summary(0, 8)));
        assert_eq!(body["slot"], Slot(8).starts_at().to_string());
    }

    #[test]
    fn nothing_to_tell_is_told_of_the_slot_that_is_over() {
        let quiet = batches(&[], Vec::new(), Gauges::default(), Slot(11));
        assert_eq!((quiet.len(), quiet[0].slot, quiet[0].requests()), (1, Slot(10), 0));
        let body: Value = serde_json::from_str(&quiet[0].body(&json!({"instance": "a"}))).expect("JSON");
        assert_eq!(body["summaries"], json!([]));
        assert!(body.get("all").is_none() && body.get("gauges").is_none(), "{body}");
    }

    #[test]
    fn all_requests_of_a_slot_are_told_once_and_what_the_process_uses_with_the_last_slot() {
        let summaries: Vec<Summary> = (0..1_500).map(|flag| summary(flag, 9)).collect();
        let all = |requests| Outcomes { requests, ..Outcomes::default() };
        let gauges = Gauges { cpu_millionths: Some(7), memory_millionths: None };
        let told = batches(&summaries, vec![(Slot(8), all(3)), (Slot(9), all(4))], gauges, Slot(11));
        let bodies: Vec<Value> = told
            .iter()
            .map(|batch| serde_json::from_str(&batch.body(&json!({"instance": "a"}))).expect("JSON"))
            .collect();
        let of = |slot: u32, member: &str| -> Vec<&Value> {
            let at = Slot(slot).starts_at().to_string();
            bodies.iter().filter(|body| body["slot"] == at).filter_map(|body| body.get(member)).collect()
        };
        assert_eq!(of(8, "all").len(), 1);
        assert_eq!(of(9, "all").iter().map(|all| &all["requests"]).collect::<Vec<_>>(), [&json!(4)]);
        assert_eq!(of(10, "gauges"), [&json!({"cpu_millionths": 7})]);
        assert!(of(9, "gauges").is_empty() && of(10, "all").is_empty());
    }
}
