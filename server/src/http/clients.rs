//! `GET /v1/clients`: which SDKs are connected to this server, what each says it serves, and how stale it is.
//! OFREP's event streams are counted apart: they only promise that their clients are told to fetch again.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use actix_web::{HttpResponse, web};
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, Revision};
use rollout_rules::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::Shared;
use super::feed::clients::{LiveClient, Name};
use super::paging::Page;
use super::problem::Problem;
use super::reading::Reading;

/// The app environments that a question is about: those that are asked for, of those that the token may see.
pub(super) struct Scope {
    app: Option<AppKey>,
    environment: Option<EnvKey>,
}

impl Scope {
    fn of(reading: &Reading) -> Result<Scope, Problem> {
        let who = &reading.who;
        who.reads()?;
        let app: Option<AppKey> = reading.query.parse("app")?;
        if let Some(app) = &app {
            who.reads_app(app)?;
        }
        let app = app.or_else(|| who.app.clone());
        let environment: Option<EnvKey> = reading.query.parse("environment")?;
        if let (Some(app), Some(environment)) = (&app, &environment) {
            who.reads_environment(app, environment)?;
        }
        Ok(Scope { app, environment: environment.or_else(|| who.environment.clone()) })
    }

    /// All that a token may see.
    pub(super) fn of_token(app: Option<AppKey>, environment: Option<EnvKey>) -> Scope {
        Scope { app, environment }
    }

    /// Whether an app environment is in it.
    pub(super) fn has(&self, app: &AppKey, environment: &EnvKey) -> bool {
        self.app.as_ref().is_none_or(|only| only == app)
            && self.environment.as_ref().is_none_or(|only| only == environment)
    }
}

/// The first so many, in an order, of what comes in none. Keeps twice as many at most.
pub(super) struct First<T> {
    items: Vec<T>,
    most: usize,
    order: fn(&T, &T) -> Ordering,
}

impl<T> First<T> {
    pub(super) fn new(most: usize, order: fn(&T, &T) -> Ordering) -> First<T> {
        First { items: Vec::new(), most, order }
    }

    pub(super) fn add(&mut self, item: T) {
        self.items.push(item);
        if self.items.len() >= 2 * self.most.max(1) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.items.sort_by(self.order);
        self.items.truncate(self.most);
    }

    /// Them, in order.
    pub(super) fn into_items(mut self) -> Vec<T> {
        self.cut();
        self.items
    }
}

/// The client that a page goes on after: `app/environment/instance`.
struct After(Name);

impl FromStr for After {
    type Err = NoClient;

    fn from_str(text: &str) -> Result<After, NoClient> {
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().unwrap_or("");
        let (app, environment, instance) = (part(), part(), part());
        let name = || {
            let (app, environment) = (AppKey::new(app).ok()?, EnvKey::new(environment).ok()?);
            Some((app, environment, InstanceId::new(instance).ok()?))
        };
        name().map(After).ok_or(NoClient)
    }
}

/// A text that names no client.
struct NoClient;

impl fmt::Display for NoClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give `next_cursor` back as it came")
    }
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It serves what there is.
    Current,
    /// It serves something older.
    Behind,
    /// It has not said yet what it serves.
    Unconfirmed,
}

impl Standing {
    fn of(client: &LiveClient, folded: &Snapshot) -> Standing {
        if client.revision == Revision::ZERO {
            Standing::Unconfirmed
        } else if client.revision >= folded.feed_revision(&client.app, &client.environment) {
            Standing::Current
        } else {
            Standing::Behind
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Standing::Current => "current",
            Standing::Behind => "behind",
            Standing::Unconfirmed => "unconfirmed",
        }
    }
}

/// `GET /v1/clients?app=&environment=&behind=&limit=&cursor=`. The counts are of all in those app
/// environments, whatever the page shows.
pub async fn list(reading: Reading, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let scope = Scope::of(&reading)?;
    let page: Page<After> = Page::of(&reading.query, &["app", "environment", "behind"])?;
    let only_behind = reading.query.truth("behind")?.unwrap_or(false);
    let folded = &reading.published.folded;
    let (mut current, mut behind, mut unconfirmed) = (0_usize, 0_usize, 0_usize);
    // One more than are shown says whether there is another page.
    let mut first: First<(LiveClient, Standing)> =
        First::new(page.limit + 1, |(one, _), (other, _)| one.name().cmp(&other.name()));
    shared.clients.each(|client| {
        if !scope.has(&client.app, &client.environment) {
            return;
        }
        let standing = Standing::of(client, folded);
        match standing {
            Standing::Current => current += 1,
            Standing::Behind => behind += 1,
            Standing::Unconfirmed => unconfirmed += 1,
        }
        let shown = page
            .cursor
            .as_ref()
            .is_none_or(|After((app, environment, instance))| client.name() > (app, environment, instance));
        if shown && !(only_behind && standing == Standing::Current) {
            first.add((client.clone(), standing));
        }
    });
    let mut gone = 0_usize;
    let note_gone = |client: &LiveClient, _| gone += usize::from(scope.has(&client.app, &client.environment));
    shared.clients.each_gone(note_gone, shared.clock.coarse());
    let unheard = shared.hub.count_unheard(|app, environment| scope.has(app, environment));
    let mut body = page.body(
        first.into_items().into_iter(),
        |(client, _)| format!("{}/{}/{}", client.app, client.environment, client.instance),
        |(client, standing)| item(&shared, &client, standing),
    );
    body["revision"] = reading.published.revision().0.into();
    body["counts"] = json!({
        "connected": current + behind + unconfirmed,
        "current": current,
        "behind": behind,
        "unconfirmed": unconfirmed,
        "gone": gone,
        "unnamed": unheard.unnamed,
        "event_streams": unheard.event_streams,
        "pages": unheard.pages,
    });
    Ok(HttpResponse::Ok().json(body))
}

/// A client with how far it has come.
fn item(shared: &Shared, client: &LiveClient, standing: Standing) -> Value {
    let mut view = view(client);
    view.insert("state".into(), standing.as_str().into());
    let lag = match standing {
        Standing::Behind => shared.hub.lag(&client.app, &client.environment, client.revision),
        Standing::Current | Standing::Unconfirmed => None,
    };
    if let Some(lag) = lag {
        view.insert("behind_by".into(), lag.frames.into());
        view.insert("behind_by_more".into(), lag.more.into());
        view.insert("behind_since".into(), lag.since.to_string().into());
    }
    Value::Object(view)
}

/// Who a client is, what it says and since when.
pub(super) fn view(client: &LiveClient) -> Map<String, Value> {
    let mut view = Map::new();
    let mut put = |name: &str, value: Value| view.insert(name.to_owned(), value);
    put("instance", client.instance.as_str().into());
    put("app", client.app.as_str().into());
    put("environment", client.environment.as_str().into());
    if let Some(sdk) = &client.sdk {
        let (name, version) = sdk.split_once('/').unwrap_or((sdk, ""));
        put("sdk", name.into());
        if !version.is_empty() {
            put("version", version.into());
        }
    }
    put("connected_at", client.connected_at.to_string().into());
    put("last_heard_at", client.last_heard_at().to_string().into());
    if client.revision > Revision::ZERO {
        put("revision", client.revision.0.into());
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_kept_in_order_whatever_the_order_they_come_in() {
        let mut first = First::new(3, |one: &u32, other: &u32| one.cmp(other));
        for number in [9, 4, 7, 1, 8, 2, 6, 3, 5] {
            first.add(number);
        }
        assert_eq!(first.into_items(), [1, 2, 3]);
        assert!(First::new(3, |one: &u32, other: &u32| one.cmp(other)).into_items().is_empty());
    }
}
