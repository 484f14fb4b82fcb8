//! What goes wrong with what flags serve, and with whole apps, as every evaluator is going to see it.

use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::runbook::Cause;
use rollout_rules::sli::guardrail::Sli;
use rollout_rules::snapshot::Snapshot;

use super::cast::{apps, environments, production};
use super::history::{Breach, Harm};
use super::laws;
use super::node::served;
use super::outside::Outside;

/// What rules say of a flag, and of what they are.
const OF_FLAGS: &[(&str, Cause)] = &[
    ("error_rate worse than control -> flag off", Cause::Regressed(Sli::ErrorRate)),
    ("error_rate > 3% for 5m -> flag off, run rollback", Cause::Regressed(Sli::ErrorRate)),
    ("latency_p95 > 2x baseline for 3m -> rollout to 0, notify owner", Cause::Regressed(Sli::LatencyP95)),
    ("latency_p99 > 2s for 1m -> run rollback", Cause::Regressed(Sli::LatencyP99)),
    ("error_rate worse than control -> notify owner", Cause::Suspect(Sli::ErrorRate)),
];
/// What they say of an app.
const OF_APPS: &[(&str, Cause)] = &[
    ("availability < 99% for 5m -> revert release, notify owner", Cause::Regressed(Sli::Availability)),
    ("monthly_spend > budget -> disable non-critical", Cause::Regressed(Sli::MonthlySpend)),
];
/// Most that is seen at one time.
const MOST_AT_ONCE: usize = 5;

/// Harm is seen of what a node serves; seldom of one thing alone.
pub(super) fn see(snapshot: &Snapshot, outside: &mut Outside) {
    let live = live(snapshot, outside);
    let Some(place) = outside.dice.pick(&live).cloned() else { return };
    if outside.dice.chance(40) {
        return breach(snapshot, place, outside);
    }
    for _ in 0..=outside.dice.below(MOST_AT_ONCE) {
        let place = outside.dice.pick(&live).cloned().unwrap_or_else(|| place.clone());
        find(snapshot, place, outside);
    }
}

type Place = (AppKey, FlagKey, EnvKey);

/// Where something is served.
fn live(snapshot: &Snapshot, outside: &Outside) -> Vec<Place> {
    let mut live = Vec::new();
    for app in apps() {
        let flags = snapshot.app(&app).into_iter().flat_map(|found| found.flags(None));
        for flag in flags.map(|record| record.flag().key.clone()) {
            for environment in environments() {
                if laws::level(snapshot, &app, &flag, &environment, outside.now) > 0 {
                    live.push((app.clone(), flag.clone(), environment));
                }
            }
        }
    }
    live
}

/// A flag does harm as it is now.
fn breach(snapshot: &Snapshot, (app, flag, environment): Place, outside: &mut Outside) {
    let Some(revision) = snapshot.flag(&app, &flag).map(|view| view.revision()) else { return };
    outside.note(|| format!("harm is seen: {app}/{flag} in {environment} at revision {revision}"));
    outside.history.count("harm seen");
    outside.history.breaches.push(Breach { app, flag, environment, revision });
}

/// A rule finds that it does, or that the whole app does badly.
fn find(snapshot: &Snapshot, (app, flag, environment): Place, outside: &mut Outside) {
    let of_app = outside.dice.chance(15);
    let rules = if of_app { OF_APPS } else { OF_FLAGS };
    let Some((rule, cause)) = outside.dice.pick(rules).copied() else { return };
    let rule = rule.parse().expect("a rule");
    let harm = if of_app {
        Harm { app, measured: None, environment: production(), cause, rule }
    } else {
        let Some(revision) = served(snapshot, &app, &flag, &environment) else { return };
        Harm { app, measured: Some((flag, revision)), environment, cause, rule }
    };
    outside.note(|| format!("a rule finds harm: {harm:?}"));
    outside.history.count("harm found by rules");
    outside.history.harms.push(harm);
}
