//! `GET /v1/kills/{kill_id}`: what a kill did, and which of the SDKs that are connected to this server, or were a
//! moment ago, have said that it is in effect in them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use rollout_rules::change::Reach;
use rollout_rules::ids::{AppKey, EnvKey, KillId, Revision};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use super::Shared;
use super::auth::Principal;
use super::clients::{First, Scope, view};
use super::feed::channel::reaches;
use super::feed::clients::LiveClient;
use super::feed::deliveries::Delivery;
use super::feed::hub::UnheardCounts;
use super::kill;
use super::problem::{self, Problem};
use super::reading::Reading;
use crate::state::{Overlay as Kill, Published};

/// Most silent clients that are named, those that were not heard of for the longest first; and most of those that
/// are gone, the last to go first.
pub const MAX_SILENT_NAMED: usize = 100;

/// A kill that is known here.
struct Known {
    kill: Kill,
    /// The entry that did it, if the log has it.
    revision: Option<Revision>,
    /// When it was killed; of kills from before this server started only the log knows.
    at: Option<UnixMs>,
    /// How it went, if it was timed.
    delivery: Option<Arc<Delivery>>,
}

impl Known {
    fn find(shared: &Shared, published: &Published, id: &KillId) -> Option<Known> {
        let delivery = shared.deliveries.find(id);
        let timed = delivery.as_ref().map(|delivery| delivery.kill());
        // The log's own fold: in the other one, a kill that is not in the log has the revision of another entry.
        if let Some(past) = published.folded.past_kill(id) {
            let (reach, environment) = (past.reach.clone(), past.environment.clone());
            let at = timed.map(|kill| kill.at);
            let kill = Kill { kill_id: id.clone(), reach, environment, at: at.unwrap_or_default() };
            return Some(Known { kill, revision: Some(past.revision), at, delivery });
        }
        let waiting = || published.overlays.iter().find(|kill| kill.kill_id == *id);
        let kill = timed.or_else(waiting)?.clone();
        let revision = delivery.as_ref().and_then(|delivery| delivery.revision());
        Some(Known { at: Some(kill.at), kill, revision, delivery })
    }

    /// Whether a token may read of it, and which app environments it sees of it.
    fn scope_for(&self, who: &Principal) -> Result<Scope, Problem> {
        who.reads()?;
        let app = match &self.kill.reach {
            Reach::Everything => None,
            Reach::App { app } | Reach::Flag { app, .. } => Some(app),
        };
        if let Some(app) = app {
            who.reads_app(app)?;
        }
        if let (Some(app), Some(environment)) = (app.or(who.app.as_ref()), &self.kill.environment) {
            who.reads_environment(app, environment)?;
        }
        Ok(Scope::of_token(who.app.clone(), who.environment.clone()))
    }
}

/// What was heard of the clients that a kill concerns.
struct Heard {
    connected: usize,
    acknowledged: usize,
    silent: First<LiveClient>,
    /// How many went without having said that they have it.
    gone: usize,
    /// Some of those, and when they went.
    gone_named: Vec<(LiveClient, UnixMs)>,
}

impl Heard {
    fn of(shared: &Shared, known: &Known, id: &KillId, concerns: impl Fn(&AppKey, &EnvKey) -> bool) -> Heard {
        let mut heard = Heard {
            connected: 0,
            acknowledged: 0,
            silent: First::new(MAX_SILENT_NAMED, |one: &LiveClient, other| {
                (one.last_heard_at(), one.name()).cmp(&(other.last_heard_at(), other.name()))
            }),
            gone: 0,
            gone_named: Vec::new(),
        };
        shared.clients.each(|client| {
            if !concerns(&client.app, &client.environment) {
                return;
            }
            heard.connected += 1;
            if client.has(id, known.revision) {
                heard.acknowledged += 1;
            } else {
                heard.silent.add(client.clone());
            }
        });
        let note_gone = |client: &LiveClient, at| {
            if concerns(&client.app, &client.environment) && !client.has(id, known.revision) {
                heard.gone += 1;
                if heard.gone <= MAX_SILENT_NAMED {
                    heard.gone_named.push((client.clone(), at));
                }
            }
        };
        shared.clients.each_gone(note_gone, shared.clock.coarse());
        heard
    }
}

/// `GET /v1/kills/{kill_id}`.
pub async fn get(
    reading: Reading,
    path: web::Path<KillId>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    reading.who.reads()?;
    reading.query.only(&[])?;
    let id = path.into_inner();
    let known = Known::find(&shared, &reading.published, &id).ok_or_else(|| {
        Problem::new(problem::NOT_FOUND, format!("no kill `{id}` was made, or it was made long ago"))
    })?;
    let scope = known.scope_for(&reading.who)?;
    let folded = &reading.published.folded;
    // In an environment that is gone nothing is served: its clients were told so, and are told of no kill.
    let exists = |app: &AppKey, environment: &EnvKey| {
        folded.app(app).is_some_and(|app| app.environment(environment).is_some())
    };
    let concerns = |app: &AppKey, environment: &EnvKey| {
        reaches(&known.kill, app, environment) && scope.has(app, environment) && exists(app, environment)
    };
    let heard = Heard::of(&shared, &known, &id, concerns);
    let unheard = shared.hub.count_unheard(concerns);
    let mut body = body(&reading.published, &known, heard, unheard);
    body["counted_since"] = shared.counted_since.to_string().into();
    Ok(HttpResponse::Ok().json(body))
}

fn body(published: &Published, known: &Known, heard: Heard, unheard: UnheardCounts) -> Value {
    let Kill { kill_id, reach, environment, .. } = &known.kill;
    let mut body = json!({
        "kill_id": kill_id,
        "reach": reach,
        "durable": known.revision.is_some(),
        "in_effect": kill::in_effect(&published.snapshot, reach, environment.as_ref()),
        "clients": {
            "connected": heard.connected,
            "acknowledged": heard.acknowledged,
            "silent": heard.connected - heard.acknowledged,
            "gone": heard.gone,
            "unnamed": unheard.unnamed,
            "event_streams": unheard.event_streams,
            "pages": unheard.pages,
        },
    });
    let delivery = known.delivery.as_ref();
    let facts = [
        ("environment", environment.as_ref().map(|environment| environment.as_str().into())),
        ("at", known.at.map(|at| at.to_string().into())),
        ("revision", known.revision.map(|revision| revision.0.into())),
        ("in_effect_after_ms", delivery.and_then(|delivery| delivery.in_effect_after()).map(milliseconds)),
        (
            "last_acknowledged_after_ms",
            delivery.and_then(|delivery| delivery.last_acknowledged_after()).map(milliseconds),
        ),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    let silent = heard.silent.into_items();
    body["silent"] = silent.iter().map(|client| Value::Object(view(client))).collect();
    let gone = heard.gone_named.iter().map(|(client, at)| {
        let mut view = view(client);
        view.insert("gone_at".into(), at.to_string().into());
        Value::Object(view)
    });
    body["gone"] = gone.collect();
    body
}

/// Milliseconds, to the microsecond.
fn milliseconds(length: Duration) -> Value {
    ((length.as_secs_f64() * 1e6).round() / 1000.0).into()
}
