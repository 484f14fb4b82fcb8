//! What there is to watch of an app in an environment, as it stands in the fold.

use rollout_rules::evaluate::EXPOSURE_SPLIT;
use rollout_rules::flag::{Serve, Targeting, Tier};
use rollout_rules::ids::{EnvKey, FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::percent::Exposure;
use rollout_rules::release::ArtifactDigest;
use rollout_rules::runbook::{InForce, Source};
use rollout_rules::sli::guardrail::{Bound, Guardrail, Sli, Test};
use rollout_rules::sli::{Estimate, MAX_SPLITS, Objectives, Plan, RulesInForce, Slot};
use rollout_rules::snapshot::{App, FlagView, Snapshot};
use rollout_rules::time::{DAY, UnixMs};

use super::view::Views;

/// What people want to be watched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The rules of the app itself.
    pub(super) rules: Vec<Guardrail>,
    pub(super) objectives: Objectives,
    /// What the month costs in the app's other environments.
    pub(super) elsewhere: Estimate,
    /// What runs, if that was told.
    pub(super) artifact: Option<ArtifactDigest>,
    /// By flag and split.
    pub(super) splits: Vec<WantedSplit>,
}

/// One split of one flag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WantedSplit {
    pub(super) flag: FlagKey,
    pub(super) split: SplitId,
    pub(super) rules: Vec<Guardrail>,
    pub(super) plan: Plan,
    /// When the rollout was started that is the last one, if there was one.
    pub(super) rollout: Option<UnixMs>,
    /// Whether it runs.
    pub(super) runs: bool,
}

/// What is to be watched of an app in an environment in a slot; none if there is no such thing. What ran is what was deployed
/// before the slot began: it is not held against what was deployed while the slot waited to be judged.
pub(super) fn wanted(
    snapshot: &Snapshot,
    app: &App,
    environment: &EnvKey,
    views: &Views,
    slot: Slot,
    now: UnixMs,
) -> Option<Wanted> {
    let record = app.environment(environment).filter(|record| !record.ended(now))?;
    let mut releases = record.releases().newest_first();
    // Where the clock was ahead and was set back, what was deployed is as good as long there.
    let artifact =
        releases.find(|release| release.deployed_at <= slot.starts_at() || release.deployed_at > now);
    let artifact = artifact.map(|release| release.artifact);
    let splits = divided(snapshot, app, environment, true, now);
    let of_app = app.guardrails(None, environment).rules;
    let rules: Vec<Guardrail> = of_app.iter().filter_map(Guardrail::of_the_app).collect();
    let others = app.environments().map(|record| &record.environment().key);
    let others = others.filter(|other| *other != environment);
    let spent = others.filter_map(|other| views.get(&app.info().key, other)).map(|view| view.spend);
    let elsewhere = spent.reduce(Estimate::plus).unwrap_or_default();
    Some(Wanted { rules, objectives: objectives(app, environment), elsewhere, artifact, splits })
}

/// What the app promises and may cost.
pub(super) fn objectives(app: &App, environment: &EnvKey) -> Objectives {
    let of_app = app.guardrails(None, environment).rules;
    Objectives {
        good_millionths: Some(promised(&of_app, app.info().tier)),
        budget_micros: app.info().monthly_budget_micros,
    }
}

/// The splits that divide units now; with `only_guarded` those alone that there are rules for.
pub(super) fn divided(
    snapshot: &Snapshot,
    app: &App,
    environment: &EnvKey,
    only_guarded: bool,
    now: UnixMs,
) -> Vec<WantedSplit> {
    let mut splits = Vec::new();
    for record in app.flags(None) {
        let key = &record.flag().key;
        let Some(view) = snapshot.flag(&app.info().key, key) else { continue };
        let rules = rules_of(app, key, environment);
        if !only_guarded || !rules.is_empty() {
            add_splits(&mut splits, view, &rules, environment, now);
        }
        if splits.len() >= MAX_SPLITS {
            break;
        }
    }
    splits.truncate(MAX_SPLITS);
    splits.sort_by(|a, b| (&a.flag, &a.split).cmp(&(&b.flag, &b.split)));
    splits
}

/// The rules that the splits of a flag are judged by.
fn rules_of(app: &App, flag: &FlagKey, environment: &EnvKey) -> Vec<Guardrail> {
    let InForce { rules, source } = app.guardrails(Some(flag), environment);
    let is_its_own = matches!(source, Source::Flag | Source::FlagInEnvironment);
    // What is judged for the whole app is not judged for each flag as well: nothing is done twice for one thing.
    let of_flag =
        |rule: &&Guardrail| !rule.when().sli().is_of_app() && (is_its_own || rule.of_the_app().is_none());
    rules.iter().filter(of_flag).cloned().collect()
}

/// The rules that the app and its flags are judged by.
pub(super) fn in_force(app: &App, environment: &EnvKey) -> RulesInForce {
    let of_app = app.guardrails(None, environment).rules;
    let live = app.flags(None).filter(|record| !record.is_archived());
    let flags = live.map(|record| {
        let key = &record.flag().key;
        (key.clone(), rules_of(app, key, environment))
    });
    RulesInForce {
        app: of_app.iter().filter_map(Guardrail::of_the_app).collect(),
        flags: flags.filter(|(_, rules)| !rules.is_empty()).collect(),
    }
}

/// The part of requests that should be good, in millionths: what the app's strictest rule on availability says, or else
/// 99 % in tier 0, 99.5 % in tier 1 and 99.9 % in tier 2.
fn promised(rules: &[Guardrail], tier: Tier) -> u64 {
    let written = rules.iter().filter_map(|rule| match rule.when() {
        Test::Threshold { sli: Sli::Availability, bound: Bound::Millionths(bound), .. } => Some(bound),
        _ => None,
    });
    written.max().unwrap_or(match tier {
        Tier::Zero => 990_000,
        Tier::One => 995_000,
        Tier::Two => 999_000,
    })
}

fn add_splits(
    splits: &mut Vec<WantedSplit>,
    view: FlagView<'_>,
    rules: &[Guardrail],
    environment: &EnvKey,
    now: UnixMs,
) {
    let record = view.record();
    let Some(state) = record.state(environment) else { return };
    let is_off = record.is_archived()
        || state.state().hold.is_some()
        || state.state().expires_at <= now
        || view.killed(environment).is_some();
    let Some(targeting) = view.targeting(environment, now).filter(|targeting| targeting.on && !is_off) else {
        return;
    };
    let rollout = record.rollout(environment);
    let runs =
        rollout.is_some_and(|rollout| rollout.is_active()) && view.rollout_over(environment, now).is_none();
    // Raised by a rollout, or by hand.
    let set = state.state().targeting_revision;
    let by_hand = view.changed_since(Revision(set.0.saturating_sub(1)));
    let by_hand = by_hand.into_iter().find(|touch| touch.revision == set).map(|touch| touch.at);
    let raised = rollout.map(|rollout| rollout.raised_at).into_iter().chain(by_hand).max();
    let lately = raised.is_some_and(|raised| raised.plus(DAY) > now);
    let mut add = |split: SplitId, control: Option<VariantKey>, weights: Vec<(VariantKey, u32)>| {
        let is_new = splits.iter().rev().take_while(|known| known.flag == record.flag().key);
        if is_new.into_iter().any(|known| known.split == split) {
            return;
        }
        splits.push(WantedSplit {
            flag: record.flag().key.clone(),
            split,
            rules: rules.to_vec(),
            plan: Plan { revision: state.revision(), control, weights },
            rollout: rollout.map(|rollout| rollout.started_at),
            runs,
        });
    };
    let off = &record.flag().off_variant;
    match &targeting.serve {
        Serve::Variant(variant) => {
            if let Some((control, weights)) = exposed(&targeting, variant, off, runs || lately)
                && let Ok(split) = SplitId::new(EXPOSURE_SPLIT)
            {
                add(split, control, weights);
            }
        }
        Serve::Split(split) if targeting.exposure > Exposure::NONE => {
            add(split.id.clone(), split.control.clone(), weights_of(split));
        }
        Serve::Split(_) => {}
    }
    for rule in &targeting.rules {
        if let Serve::Split(split) = &rule.serve {
            add(split.id.clone(), split.control.clone(), weights_of(split));
        }
    }
}

fn weights_of(split: &rollout_rules::flag::Split) -> Vec<(VariantKey, u32)> {
    split.weights.iter().map(|weight| (weight.variant.clone(), weight.weight)).collect()
}

/// The control, if there is one, and the weight of each variant.
type Served = (Option<VariantKey>, Vec<(VariantKey, u32)>);

/// What a flag without a split serves, as one of its variant against the off variant. At all units there is no
/// control; then it is watched while it is new.
fn exposed(targeting: &Targeting, variant: &VariantKey, off: &VariantKey, is_new: bool) -> Option<Served> {
    let reached = targeting.exposure.milli_percent();
    if variant == off || reached == 0 {
        return None;
    }
    if targeting.exposure == Exposure::ALL {
        return is_new.then(|| (None, vec![(variant.clone(), Exposure::SCALE)]));
    }
    let weights = vec![(variant.clone(), reached), (off.clone(), Exposure::SCALE - reached)];
    Some((Some(off.clone()), weights))
}
