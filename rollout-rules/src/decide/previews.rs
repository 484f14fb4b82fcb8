//! The end of a preview: who keeps what belongs to it is told, once, and it goes.
//!
//! Nothing that is served waits for this: an ended preview serves off variants from its end on. Two entries,
//! in this order: the request to destroy what belongs to it, then its removal. A crash in between loses
//! neither, as the same command makes the one that is missing. Of a preview that goes before its end was told,
//! since people remove it or another takes its place, the entry that removes it says so: then the request
//! follows it.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::validate::too_many;
use super::{Case, Decided, Refusal};
use crate::change::{Change, Reach};
use crate::flag::{Environment, EnvironmentKind};
use crate::ids::{AppKey, EnvKey};
use crate::snapshot::{App, MAX_OPEN_EFFECTS, Snapshot};
use crate::time::{DAY, DurationMs, UnixMs};

/// How long an ended preview can still be extended, with all that was set in it; then it goes. A day: whoever
/// finds it off the next morning gets it back, and what it costs does not go on over a weekend.
pub const PREVIEW_GRACE: DurationMs = DAY;
/// The effect that asks whoever made what belongs to a preview to destroy it.
pub const PREVIEW_ENDED: &str = "preview_ended";

impl Case<'_> {
    pub(super) fn end_preview(&self, app: &AppKey, key: &EnvKey) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        if let Some(ended_at) = self.snapshot.untold_end(app, key) {
            return Ok(tell_of_end(app, key, ended_at));
        }
        let found = self.app(app)?;
        let environment = self.environment(found, key)?;
        let Some(ended_at) = environment.ends_at else {
            return Err(Refusal::NotAllowed { who_may: "people: only previews end by themselves" });
        };
        let goes_at = ended_at.plus(PREVIEW_GRACE);
        if goes_at > self.now {
            return Err(Refusal::NotDue { at: goes_at });
        }
        if found.has_kill_in(key) || self.is_killed_ahead_of_the_log(found, key) {
            return Err(Refusal::NotAllowed { who_may: "people: a kill is taken back by them alone" });
        }
        if self.snapshot.has_told_of_end(app, environment) {
            return Ok(Decided::Change(Change::EnvironmentRemoved {
                app: app.clone(),
                environment: key.clone(),
                untold: false,
            }));
        }
        too_many("effects that wait or run", self.snapshot.effect_count() + 1, MAX_OPEN_EFFECTS)?;
        Ok(tell_of_end(app, key, ended_at))
    }

    /// Of environments that go, the previews whose end nobody was told. The timer soon tells, so that few wait.
    pub(super) fn untold(&self, app: &AppKey, going: &[&Environment]) -> Result<Vec<EnvKey>, Refusal> {
        let untold = going.iter().filter(|environment| {
            environment.kind == EnvironmentKind::Preview && !self.snapshot.has_told_of_end(app, environment)
        });
        let untold: Vec<EnvKey> = untold.map(|environment| environment.key.clone()).collect();
        let waiting = self.snapshot.untold_end_count() + untold.len();
        too_many("previews whose end is yet to be told", waiting, MAX_OPEN_EFFECTS)?;
        Ok(untold)
    }

    /// Whether an ended preview can still be extended. It is not looked at whether it was removed already: the
    /// clock says whether it should be.
    pub(super) fn can_be_extended(&self, app: &AppKey, environment: &Environment) -> bool {
        let over = |ended_at: UnixMs| ended_at.plus(PREVIEW_GRACE) <= self.now;
        !environment.ends_at.is_some_and(over) && !self.snapshot.has_told_of_end(app, environment)
    }

    fn is_killed_ahead_of_the_log(&self, app: &App, key: &EnvKey) -> bool {
        self.waiting.iter().any(|kill| {
            let here = match &kill.reach {
                Reach::Everything => false,
                Reach::App { app: killed } | Reach::Flag { app: killed, .. } => *killed == app.info().key,
            };
            here && kill.environment.as_ref() == Some(key)
        })
    }
}

fn tell_of_end(app: &AppKey, key: &EnvKey, ended_at: UnixMs) -> Decided {
    let payload = json!({ "app": app, "environment": key, "ended_at": ended_at });
    Decided::Change(Change::EffectRequested { effect: PREVIEW_ENDED.to_string(), payload })
}

impl Snapshot {
    /// Whether the end of a preview was told already, and the preview is yet to go.
    fn has_told_of_end(&self, app: &AppKey, environment: &Environment) -> bool {
        let ended_at = json!(environment.ends_at);
        self.effects().any(|(_, effect)| {
            effect.effect == PREVIEW_ENDED
                && is_of(&effect.payload, app, &environment.key)
                && effect.payload["ended_at"] == ended_at
        })
    }
}

/// The preview whose end an effect tells.
pub(crate) fn preview_in(payload: &Value) -> Option<(AppKey, EnvKey)> {
    let app = AppKey::new(payload["app"].as_str()?).ok()?;
    Some((app, EnvKey::new(payload["environment"].as_str()?).ok()?))
}

/// Whether what an effect needs names an environment.
pub(crate) fn is_of(payload: &Value, app: &AppKey, environment: &EnvKey) -> bool {
    payload["app"] == app.as_str() && payload["environment"] == environment.as_str()
}
