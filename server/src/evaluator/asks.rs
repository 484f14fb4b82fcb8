//! What the evaluator asks for, as commands: they are decided like everybody else's.

use rollout_rules::change::Command;
use rollout_rules::flag::MAX_TEXT_BYTES;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, ChannelName, EnvKey, FlagKey, SplitId, VariantKey};
use rollout_rules::rollout::{Finding, RolloutStatus, WaitsFor};
use rollout_rules::runbook::{Acting, Cause};
use rollout_rules::sli::guardrail::{Action, Sli};
use rollout_rules::sli::{GRACE, News, Page, Peers, Standing, State, Verdict};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::watching::{Pending, StillServed, Watching};
use crate::state::Request;

/// The channel that is the app's owner.
const OWNER: &str = rollout_rules::runbook::OWNER;

/// A command, and why, in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) command: Command,
    pub(super) reason: String,
}

impl Ask {
    pub(super) fn request(self, app: &AppKey) -> Request {
        Request {
            caller: Caller {
                actor: Actor::Evaluator,
                scope: Scope::Admin,
                app: Some(app.clone()),
                environment: None,
                token: None,
            },
            command: self.command,
            seen: None,
            reason: cut(self.reason),
            idempotency_key: None,
            plan: None,
        }
    }
}

/// What a rule says should be done. None: what it was measured on is not served any more.
pub(super) fn act(watching: &Watching, pending: &Pending) -> Option<Ask> {
    let proposed = &pending.proposed;
    let measured = proposed.measured.as_ref();
    if let Some(measured) = measured {
        let plan = watching.told().plan(&measured.flag, &measured.split)?;
        let is_it = |(variant, weight): &&(VariantKey, u32)| *variant == measured.variant && *weight > 0;
        plan.weights.iter().find(is_it)?;
    }
    let mut actions = proposed.rule.then().to_vec();
    let tells = actions.iter().any(|action| matches!(action, Action::Notify(_)));
    if measured.is_none() && !tells && actions.len() < rollout_rules::sli::guardrail::MAX_ACTIONS {
        // An app that does badly as a whole is a reason to wake somebody, whatever else is done.
        actions.extend(owner());
    }
    let acting = Acting {
        app: watching.app.clone(),
        flag: measured.map(|measured| measured.flag.clone()),
        environment: Some(watching.environment.clone()),
        guardrail: Some(proposed.rule.clone()),
        variant: measured.map(|measured| measured.variant.clone()),
        cause: Cause::Regressed(proposed.sli),
        measured: measured.map(|measured| measured.revision),
        artifact: watching.told().artifact(),
        evidence: pending.evidence.clone(),
        found: Some(proposed.slot.ends_at()),
        actions,
    };
    let reason = proposed.reason.to_string();
    let command = Command::Act { acting: Box::new(acting) };
    Some(Ask { command, reason: reason.trim_start_matches(": ").to_owned() })
}

/// Who is told what, of the news of a slot.
pub(super) fn notices(watching: &Watching, news: &[News]) -> Vec<Ask> {
    let mut asks = Vec::new();
    let mut common = None;
    for one in news {
        match one {
            News::Known { flag, split, verdict } => match verdict.state {
                State::Suspect => {
                    let cause = verdict.reason.sli().map(Cause::Suspect);
                    asks.extend(cause.and_then(|cause| tell(watching, Some((flag, split)), cause, verdict)));
                }
                State::Invalid => asks.extend(tell(watching, Some((flag, split)), Cause::Invalid, verdict)),
                State::CommonMode => common = verdict.reason.sli(),
                _ => {}
            },
            News::Page(Page::CommonMode { alarmed }) => {
                let cause = Cause::CommonMode(common.unwrap_or(Sli::ErrorRate));
                asks.extend(tell_in_words(watching, None, cause, in_common(*alarmed)));
            }
            News::Page(Page::Burning(rule)) => {
                let words = format!(
                    "errors use up what the objective allows {} times as fast as they may, in {} and in {} minutes",
                    rule.burn_thousandths / 1_000,
                    rule.long_minutes,
                    rule.short_minutes
                );
                asks.extend(tell_in_words(watching, None, Cause::Suspect(Sli::Availability), words));
            }
            News::App { state: State::Suspect, reason, .. } => {
                let cause = reason.sli().map(Cause::Suspect);
                let words = format!("the app itself{reason}");
                asks.extend(cause.and_then(|cause| tell_in_words(watching, None, cause, words)));
            }
            // Its act tells.
            News::Page(Page::App) | News::App { .. } | News::Act(_) => {}
        }
    }
    asks
}

/// Why no variant is to blame, with so many splits that alarm at the same time.
pub(super) fn in_common(alarmed: u32) -> String {
    let alone = Peers { watched: alarmed, alarmed };
    if alone.share_a_cause() {
        format!("{alarmed} flags do badly at the same time: none of them is to blame")
    } else {
        "the control, or the app itself, does badly as well: no variant is to blame".to_owned()
    }
}

/// That something is still served although it was taken back.
pub(super) fn alarm(watching: &Watching, still: &StillServed) -> Option<Ask> {
    let words = format!(
        "variant {} was taken back by revision {} and is still served: {} requests in ten seconds. Look at `tidegate clients --behind`",
        still.done.variant, still.done.taken_back, still.requests
    );
    tell_in_words(watching, Some((&still.done.flag, &still.done.split)), Cause::StillServed, words)
}

/// That automation has acted as often as it may, and leaves this to people.
pub(super) fn left_to_people(watching: &Watching, pending: &Pending, until: UnixMs) -> Option<Ask> {
    let words = format!(
        "automation has acted as often as it may within a day and leaves the app to people until {until}: {}{}",
        pending.proposed.rule, pending.proposed.reason
    );
    // Once for the app: of many flags that ask for more nobody needs as many mails.
    tell_in_words(watching, None, Cause::LeftToPeople, words)
}

/// That what a rule asks for is refused, which only people can mend.
pub(super) fn refused(watching: &Watching, pending: &Pending, why: &str) -> Option<Ask> {
    let place = pending.proposed.measured.as_ref().map(|measured| (&measured.flag, &measured.split));
    let words = format!("what a guardrail asks for is refused: {}: {why}", pending.proposed.rule);
    tell_in_words(watching, place, Cause::Refused, words)
}

fn tell(
    watching: &Watching,
    place: Option<(&FlagKey, &SplitId)>,
    cause: Cause,
    verdict: &Verdict,
) -> Option<Ask> {
    tell_in_words(watching, place, cause, verdict.to_string())
}

fn tell_in_words(
    watching: &Watching,
    place: Option<(&FlagKey, &SplitId)>,
    cause: Cause,
    reason: String,
) -> Option<Ask> {
    let plan = place.and_then(|(flag, split)| watching.told().plan(flag, split));
    let acting = Acting {
        app: watching.app.clone(),
        flag: place.map(|(flag, _)| flag.clone()),
        environment: Some(watching.environment.clone()),
        guardrail: None,
        variant: None,
        cause,
        measured: plan.map(|plan| plan.revision),
        artifact: None,
        evidence: None,
        // The end of the last slot that was judged.
        found: Some(watching.next().starts_at()),
        actions: owner().into_iter().collect(),
    };
    Some(Ask { command: Command::Act { acting: Box::new(acting) }, reason })
}

fn owner() -> Option<Action> {
    ChannelName::new(OWNER).ok().map(Action::Notify)
}

/// What rollouts are told of what was seen of their stages: all of it once slots are caught up on, until then what holds them.
pub(super) fn steps(watching: &Watching, snapshot: &Snapshot, caught_up: bool, now: UnixMs) -> Vec<Ask> {
    let here = snapshot.rollouts(&watching.app, None);
    let here = here.filter(|(_, environment)| **environment == watching.environment);
    here.filter_map(|(flag, _)| step(watching, snapshot, flag, caught_up, now)).collect()
}

fn step(
    watching: &Watching,
    snapshot: &Snapshot,
    flag: &FlagKey,
    caught_up: bool,
    now: UnixMs,
) -> Option<Ask> {
    let (app, environment): (&AppKey, &EnvKey) = (&watching.app, &watching.environment);
    let view = snapshot.flag(app, flag)?;
    let rollout = view.record().rollout(environment).filter(|rollout| rollout.is_active())?;
    if view.rollout_over(environment, now).is_some() {
        return None;
    }
    let mut finding = finding(watching, flag);
    // What was begun to be watched anew since it is held says nothing for it because it has seen nothing yet.
    if let RolloutStatus::Held { at, .. } = rollout.status
        && is_warming_since(watching, flag, at)
    {
        finding = Finding::Held { reason: String::new() };
    }
    let asks = match (&rollout.status, &finding) {
        (RolloutStatus::Running | RolloutStatus::Waiting { .. }, Finding::Held { .. }) => true,
        _ if !caught_up => false,
        (RolloutStatus::Held { .. }, found) => !matches!(found, Finding::Held { .. }),
        (RolloutStatus::Waiting { why: WaitsFor::Outcomes, .. }, Finding::ShownGood) => true,
        _ => false,
    };
    if !asks {
        return None;
    }
    let reason = match &finding {
        Finding::Held { reason } => format!("held: {reason}"),
        Finding::ShownGood => "shown to be no worse than the control".to_owned(),
        Finding::NotEnoughData => "nothing speaks against it any more".to_owned(),
    };
    let command = Command::StepRollout {
        app: app.clone(),
        flag: flag.clone(),
        environment: environment.clone(),
        started_at: rollout.started_at,
        stage: rollout.stage,
        finding,
    };
    Some(Ask { command, reason })
}

/// Whether a split of a flag has seen little and was begun to be watched with a slot that was not closed at a moment.
fn is_warming_since(watching: &Watching, flag: &FlagKey, at: UnixMs) -> bool {
    let watch = watching.watch();
    let began = |split| watch.began(flag, split).is_some_and(|began| began.ends_at().plus(GRACE) > at);
    let mut verdicts = watch.verdicts().filter(|(of, ..)| *of == flag);
    verdicts.any(|(_, split, verdict)| verdict.state == State::Warming && began(split))
}

/// What the splits of a flag say together. Where none is watched nothing speaks against it.
fn finding(watching: &Watching, flag: &FlagKey) -> Finding {
    let splits: Vec<_> = watching.told().splits().filter(|(of, _)| of == flag).collect();
    let mut shown = !splits.is_empty();
    for (_, split) in splits {
        match watching.standing(flag, split) {
            Standing::Held(held) => {
                return Finding::Held { reason: cut(Standing::Held(held).to_string()) };
            }
            Standing::NotEnoughData => shown = false,
            Standing::ShownGood => {}
        }
    }
    if shown { Finding::ShownGood } else { Finding::NotEnoughData }
}

/// As long as the log takes it.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}
