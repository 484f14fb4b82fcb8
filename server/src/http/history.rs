//! What became of a flag: the entries about it, newest first, and what differs between two of them.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Change, Command, Entry, Reach};
use rollout_rules::flag::Targeting;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::percent::Exposure;
use rollout_rules::proposal::Approving;
use rollout_rules::runbook::Lowered;
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::snapshot::{FlagView, Snapshot, Subject};
use rollout_rules::time::UnixMs;
use serde::Serialize;
use serde_json::{Value, json};

use super::Shared;
use super::auth::Principal;
use super::differences::{Difference, differences};
use super::explain::no_past;
use super::flags::missing_flag;
use super::log::MAX_LOOKED_AT;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::log::{LogEntry, ReadError};
use crate::state::{Moment, PastState};

/// Entries read in one go on the way back.
const WINDOW: u64 = 1_000;
/// A page ends once the entries about the flag that were found for it take more than this, in bytes.
const MAX_FOUND_BYTES: usize = 4 * 1024 * 1024;

/// An entry about the flag.
struct About {
    revision: Revision,
    entry: Entry,
    bytes: usize,
}

/// `GET /v1/apps/{app}/flags/{flag}/history?limit=&cursor=`: newest first; the cursor is a revision, and what was
/// before it follows. At most [`MAX_LOOKED_AT`] entries are looked at for a page, and their bytes are bounded too, so
/// that one may be short, or empty, and have another after it.
pub async fn list(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, FlagKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    reading.who.reads_app(&app)?;
    let page: Page<u64> = Page::of(&reading.query, &[])?;
    let published = &reading.published;
    if published.folded.flag(&app, &flag).is_none() {
        return Err(missing_flag(&app, &flag));
    }
    let history = History { app, flag, who: &reading.who, snapshot: &published.folded };
    let mut end = published.revision().0;
    if let Some(cursor) = page.cursor {
        end = end.min(cursor.saturating_sub(1));
    }
    let mut found: Vec<About> = Vec::new();
    let (mut looked_at, mut bytes) = (0, 0);
    while end > 0
        && looked_at < MAX_LOOKED_AT as u64
        && bytes <= MAX_FOUND_BYTES
        && !history.is_enough(&found, page.limit)
    {
        let start = end.saturating_sub(WINDOW);
        let window = history.read(&shared, Revision(start), Revision(end)).await?;
        looked_at += end - start;
        bytes += window.iter().map(|about| about.bytes).sum::<usize>();
        found.extend(window.into_iter().rev());
        end = start;
        if history.is_whole(&found) {
            end = 0;
        }
    }
    let shown: Vec<Value> =
        (0..found.len().min(page.limit)).map(|place| history.item(&found, place)).collect();
    let mut body = json!({ "items": shown });
    let next = match found.get(page.limit) {
        Some(_) => found.get(page.limit - 1).map(|last| last.revision.0),
        None => (end > 0).then_some(end + 1),
    };
    if let Some(next) = next {
        body["next_cursor"] = next.to_string().into();
    }
    Ok(HttpResponse::Ok().json(body))
}

struct History<'r> {
    app: AppKey,
    flag: FlagKey,
    who: &'r Principal,
    snapshot: &'r Snapshot,
}

impl History<'_> {
    /// What is about the flag after one revision up to another, oldest first.
    async fn read(&self, shared: &Shared, after: Revision, until: Revision) -> Result<Vec<About>, Problem> {
        let unreadable =
            |error: ReadError| Problem::new(problem::LOG_UNAVAILABLE, error.to_string()).retry_after(2);
        let mut found = Vec::new();
        let mut tail = shared.log.tail(after).map_err(unreadable)?;
        let mut seen = after;
        while seen < until {
            for stored in tail.next().await.map_err(unreadable)? {
                seen = stored.revision;
                if seen <= until {
                    found.extend(self.about(&stored));
                }
            }
            // A long log is read at once and without waiting: others have their turn meanwhile.
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// An entry, if it is about the flag and the reader may see it.
    fn about(&self, stored: &LogEntry) -> Option<About> {
        let entry = Entry::decode(&stored.bytes).ok()?;
        let subject = Subject::of(self.snapshot, &entry.change);
        let about = self.is_about(&entry.change)
            && subject.concerns_app(Some(&self.app))
            && subject.concerns_environment(self.who.environment.as_ref());
        about.then_some(About { revision: stored.revision, entry, bytes: stored.bytes.len() })
    }

    /// Whether a change is about the flag, or a kill above it.
    fn is_about(&self, change: &Change) -> bool {
        let reaches = |reach: &Reach| match reach {
            Reach::Everything => true,
            Reach::App { app } => *app == self.app,
            Reach::Flag { app, flag } => *app == self.app && *flag == self.flag,
        };
        let is = |app: &AppKey, flag: &FlagKey| *app == self.app && *flag == self.flag;
        match change {
            Change::FlagCreated { app, flag, .. } | Change::FlagUpdated { app, flag } => is(app, &flag.key),
            Change::TargetingChanged { app, flag, .. }
            | Change::FlagExtended { app, flag, .. }
            | Change::FlagArchived { app, flag }
            | Change::HoldChanged { app, flag, .. }
            | Change::GuardrailsChanged { app, flag: Some(flag), .. }
            | Change::RolloutStarted { app, flag, .. }
            | Change::RolloutAdvanced { app, flag, .. }
            | Change::RolloutChanged { app, flag, .. }
            | Change::RolloutEnded { app, flag, .. } => is(app, flag),
            Change::GuardrailActed { act } => {
                act.app == self.app && act.flag.as_ref().is_none_or(|flag| *flag == self.flag)
            }
            Change::Killed { reach, .. } | Change::Revived { reach, .. } => reaches(reach),
            Change::Proposed { command, .. } => self.is_asked_of(command),
            Change::ProposalApproved(Approving { id, .. }) | Change::ProposalRejected { id } => {
                self.snapshot.proposal(id).is_some_and(|proposal| self.is_asked_of(&proposal.command))
            }
            _ => false,
        }
    }

    fn is_asked_of(&self, command: &Command) -> bool {
        match command {
            Command::UpdateFlag { app, flag, .. }
            | Command::SetTargeting { app, flag, .. }
            | Command::ExtendFlag { app, flag, .. }
            | Command::SetGuardrails { app, flag: Some(flag), .. }
            | Command::ArchiveFlag { app, flag }
            | Command::StartRollout { app, flag, .. }
            | Command::ResumeRollout { app, flag, .. }
            | Command::AdvanceRollout { app, flag, .. } => *app == self.app && *flag == self.flag,
            Command::Revive { reach: Reach::Flag { app, flag }, .. } => {
                *app == self.app && *flag == self.flag
            }
            _ => false,
        }
    }

    /// Whether there is more than a page, and what is shown of it can be compared with what was before.
    fn is_enough(&self, found: &[About], limit: usize) -> bool {
        found.len() > limit
            && (0..limit).all(|place| match &found[place].entry.change {
                Change::TargetingChanged { environment, .. } => {
                    targeting_before(&found[place + 1..], environment).is_some()
                }
                Change::FlagUpdated { .. } => definition_before(&found[place + 1..]).is_some(),
                _ => true,
            })
    }

    /// Whether the flag's creation was found: a key is taken for good, so nothing about it is older.
    fn is_whole(&self, found: &[About]) -> bool {
        found.iter().any(|about| matches!(about.entry.change, Change::FlagCreated { .. }))
    }

    fn item(&self, found: &[About], place: usize) -> Value {
        let About { revision, entry, .. } = &found[place];
        let changes = changes(&entry.change, &found[place + 1..]);
        let subject = Subject::of(self.snapshot, &entry.change);
        json!({
            "revision": revision,
            "at": entry.at,
            "actor": entry.actor,
            "reason": entry.reason,
            "proposal": entry.proposal,
            "kind": json_of(&entry.change)["kind"],
            "environment": subject.environment,
            "what": words(&entry.change, changes.as_deref(), self.who.environment.as_ref()),
            "changes": changes,
        })
    }
}

fn json_of(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or(Value::Null)
}

/// What an entry changed of what older ones had set; none if that is not known, or it sets nothing.
fn changes(change: &Change, older: &[About]) -> Option<Vec<Difference>> {
    match change {
        Change::TargetingChanged { environment, targeting, .. } => {
            let before = targeting_before(older, environment)?;
            Some(differences(&json_of(&before), &json_of(targeting)))
        }
        Change::FlagUpdated { flag, .. } => {
            Some(differences(definition_before(older).as_ref()?, &json_of(flag)))
        }
        _ => None,
    }
}

/// What was set in an environment before; only entries of the flag tell, so nothing is known of what was set
/// when the environment was made after the flag.
fn targeting_before(older: &[About], environment: &EnvKey) -> Option<Targeting> {
    let (mut on, mut exposure) = (None, None);
    for about in older {
        match &about.entry.change {
            Change::TargetingChanged { environment: there, targeting, .. } if there == environment => {
                return Some(with(targeting, on, exposure));
            }
            Change::FlagCreated { states, .. } => {
                return states.get(environment).map(|state| with(&state.targeting, on, exposure));
            }
            Change::GuardrailActed { act } if act.environment.as_ref() == Some(environment) => {
                let targeted = act.lowered.iter().find_map(|lowered| match lowered {
                    Lowered::Targeted { targeting } => Some(targeting),
                    Lowered::Held { .. } | Lowered::NonCritical { .. } | Lowered::All { .. } => None,
                });
                if let Some(targeting) = targeted {
                    return Some(with(targeting, on, exposure));
                }
            }
            // What a rollout set counts, unless a newer entry set it again.
            Change::RolloutStarted { environment: there, exposure: to, .. } if there == environment => {
                (on, exposure) = (on.or(Some(true)), exposure.or(Some(*to)));
            }
            Change::RolloutAdvanced { environment: there, exposure: to, .. } if there == environment => {
                exposure = exposure.or(Some(*to));
            }
            Change::RolloutEnded { environment: there, on: is_on, exposure: to, .. }
                if there == environment =>
            {
                (on, exposure) = (on.or(*is_on), exposure.or(*to));
            }
            _ => {}
        }
    }
    None
}

fn with(targeting: &Targeting, on: Option<bool>, exposure: Option<Exposure>) -> Targeting {
    let mut with = targeting.clone();
    with.on = on.unwrap_or(with.on);
    with.exposure = exposure.unwrap_or(with.exposure);
    with
}

fn definition_before(older: &[About]) -> Option<Value> {
    older.iter().find_map(|about| match &about.entry.change {
        Change::FlagUpdated { flag, .. } | Change::FlagCreated { flag, .. } => Some(json_of(flag)),
        _ => None,
    })
}

/// A change in words, for who knows which flag it is about; `only` is the one environment they may see.
fn words(change: &Change, changes: Option<&[Difference]>, only: Option<&EnvKey>) -> String {
    let differences = |otherwise: &dyn Fn() -> String| match changes {
        Some([]) => "nothing".to_owned(),
        Some(changes) => changes.iter().map(Difference::words).collect::<Vec<_>>().join("; "),
        None => otherwise(),
    };
    let place = |environment: &Option<EnvKey>| {
        environment.as_ref().map_or_else(String::new, |environment| format!(" in {environment}"))
    };
    let reached = |reach: &Reach| match reach {
        Reach::Everything => "everything",
        Reach::App { .. } => "the app",
        Reach::Flag { .. } => "the flag",
    };
    match change {
        Change::FlagCreated { .. } => "created".to_owned(),
        Change::FlagUpdated { .. } => differences(&|| "changed its definition".to_owned()),
        Change::TargetingChanged { environment, targeting, schedule, release_hold, ends_rollout, .. } => {
            let what = differences(&|| format!("set to: {}", views::serving(targeting)));
            let due = schedule.as_ref().map_or_else(String::new, |id| format!(" (scheduled {id})"));
            let hold = if *release_hold { "; a hold ended" } else { "" };
            let rollout = ends_rollout.map_or("", |_| "; the rollout ended");
            format!("{environment}: {what}{hold}{rollout}{due}")
        }
        Change::FlagExtended { expires_at, .. } => {
            let ends = expires_at.iter().filter(|(environment, _)| views::shows(only, environment));
            let ends: Vec<String> =
                ends.map(|(environment, at)| format!("{environment} until {at}")).collect();
            format!("extended: {}", ends.join(", "))
        }
        Change::FlagArchived { .. } => "archived".to_owned(),
        Change::Killed { reach, environment, .. } => {
            format!("KILLED {}{}", reached(reach), place(environment))
        }
        Change::Revived { reach, environment } => format!("revived {}{}", reached(reach), place(environment)),
        Change::HoldChanged { environment, hold: Some(hold), .. } => {
            format!("{environment}: held: {}", hold.reason)
        }
        Change::HoldChanged { environment, hold: None, .. } => format!("{environment}: no longer held"),
        Change::RolloutStarted { environment, rollout, .. } => {
            format!("{environment}: rollout started: {}; {}", rollout.plan, rollout.stage_in_words())
        }
        Change::RolloutAdvanced { environment, rollout, .. } => {
            format!("{environment}: rollout went on: {}", rollout.stage_in_words())
        }
        Change::RolloutChanged { environment, rollout, .. } => {
            format!("{environment}: rollout {} at {}", rollout.status.as_str(), rollout.stage_in_words())
        }
        Change::RolloutEnded { environment, rollout, exposure, .. } => {
            let now = exposure.map_or_else(String::new, |exposure| format!("; exposure {exposure}%"));
            let how = rollout.status.as_str().replace('_', " ");
            format!("{environment}: rollout {how} at {}{now}", rollout.stage_in_words())
        }
        Change::GuardrailsChanged { environment, guardrails, .. } => {
            format!("{}{}", guardrails_words(guardrails.as_deref()), place(environment))
        }
        Change::GuardrailActed { act } => format!("{}{}", act.words(), place(&act.environment)),
        Change::Proposed { id, command, .. } => {
            let there = place(&command.environment().cloned());
            let name = json_of(command)["do"].as_str().unwrap_or_default().replace('_', " ");
            format!("proposed {id}: {name}{there}")
        }
        Change::ProposalApproved(Approving { id, .. }) => format!("approved proposal {id}"),
        Change::ProposalRejected { id } => format!("rejected proposal {id}"),
        other => json_of(other)["kind"].as_str().unwrap_or_default().to_owned(),
    }
}

/// What became of guardrails, in words.
fn guardrails_words(list: Option<&[Guardrail]>) -> String {
    let Some(list) = list else { return "guardrails cleared".to_owned() };
    let rules: Vec<String> = list.iter().map(ToString::to_string).collect();
    if rules.is_empty() { "no guardrails".to_owned() } else { format!("guardrails: {}", rules.join("; ")) }
}

/// `GET /v1/apps/{app}/flags/{flag}/diff?from=&to=`: what differs in the definition and the states; without `to`,
/// from then to now.
pub async fn diff(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, FlagKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    reading.who.reads_app(&app)?;
    reading.query.only(&["from", "to"])?;
    let Some(from) = reading.query.whole_number("from")? else {
        let detail = "say from which revision on: `?from=41`; `history` of the flag lists them";
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "from"));
    };
    let to = match reading.query.whole_number("to")? {
        Some(to) => Moment::Revision(Revision(to)),
        None => Moment::Time(reading.now),
    };
    let moments = vec![Moment::Revision(Revision(from)), to];
    let states = shared.past.each(&reading.published, moments, reading.now).await.map_err(no_past)?;
    let [before, after] = &states[..] else { return Err(Problem::internal("two moments have two states")) };
    let only = reading.who.environment.as_ref();
    let told = |state: &PastState| shown(state.snapshot.flag(&app, &flag), only, state.at);
    let (was, is) = (told(before), told(after));
    if was.is_null() && is.is_null() {
        return Err(missing_flag(&app, &flag));
    }
    let end = |state: &PastState| json!({"revision": state.snapshot.revision(), "at": state.at});
    Ok(HttpResponse::Ok().json(json!({
        "app": app,
        "flag": flag,
        "from": end(before),
        "to": end(after),
        "changes": differences(&was, &is),
    })))
}

/// What is compared of a flag: all that people and automation set. Null if there is none.
fn shown(view: Option<FlagView<'_>>, only: Option<&EnvKey>, at: UnixMs) -> Value {
    let Some(view) = view else { return Value::Null };
    let mut shown = views::flag(&view, view.revision(), only, at);
    if let Value::Object(members) = &mut shown {
        members.retain(|name, _| !matches!(name.as_str(), "app" | "key" | "revision"));
    }
    if let Some(Value::Object(states)) = shown.get_mut("environments") {
        for state in states.values_mut().filter_map(Value::as_object_mut) {
            // These follow from the rest and the time.
            state.retain(|name, _| !matches!(name.as_str(), "serving" | "expired"));
            if let Some(Value::Object(rollout)) = state.get_mut("rollout") {
                rollout.retain(|name, _| matches!(name.as_str(), "plan" | "stage" | "status"));
            }
        }
    }
    shown
}
