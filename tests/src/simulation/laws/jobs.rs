//! What acts ask to be done outside is done at least once, under one key, and written down once.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::Change;
use rollout_rules::ids::Revision;
use rollout_rules::runbook::EffectId;

use super::{Scene, Violate};
use crate::simulation::mutation::Law;

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    under_one_key(scene, violate);
    done_before_written_down(scene, violate);
    let waiting: Vec<EffectId> = scene.log.truth().waiting_runs().collect();
    if !waiting.is_empty() {
        violate(Law::JobsAreCalled, format!("in the end nobody has done {waiting:?}"));
    }
}

fn under_one_key(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut keys: BTreeMap<EffectId, BTreeSet<&str>> = BTreeMap::new();
    for call in &scene.history.calls {
        keys.entry(call.id).or_default().insert(&call.key);
    }
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for (id, keys) in keys {
        if keys.len() > 1 {
            violate(Law::JobsKeepTheirKey, format!("{id} was called under the keys {keys:?}"));
        }
        for key in keys {
            if !known.insert(key) {
                violate(Law::JobsKeepTheirKey, format!("key {key} stands for several"));
            }
        }
    }
}

fn done_before_written_down(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut written: BTreeMap<EffectId, Revision> = BTreeMap::new();
    for step in scene.steps() {
        let Change::EffectDone { request, nth: Some(nth), .. } = &step.row.entry.change else { continue };
        let id = EffectId { request: *request, nth: *nth };
        if let Some(first) = written.insert(id, step.revision) {
            let what = format!("{id} is written down at {first} and at {}", step.revision);
            violate(Law::JobsAreCalled, what);
        }
        let Some(ask) = step.row.ask else { continue };
        let calls = &mut scene.history.calls.iter();
        if !calls.any(|call| call.id == id && call.done && call.after_asks <= ask) {
            let what = format!("{id} is written down as done at {}, and nobody did it", step.revision);
            violate(Law::JobsAreCalled, what);
        }
    }
}
