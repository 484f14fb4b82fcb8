//! Making and changing apps and environments.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Direction, Envs, Ground, Right, Row};
use super::validate::{check_text, invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::{Change, Command, NewEnvironment};
use crate::flag::{
    AppInfo, Environment, EnvironmentKind, MAX_APPS, MAX_ENVIRONMENTS, MAX_SENSITIVE, MAX_UNIT_BYTES, Tier,
};
use crate::ids::{AppKey, EnvKey};
use crate::snapshot::App;
use crate::time::UnixMs;

impl<'a> Case<'a> {
    pub(super) fn create_app(&self, command: &Command) -> Result<Decided, Refusal> {
        let Command::CreateApp {
            key,
            name,
            owner,
            tier,
            monthly_budget_micros,
            currency,
            environments,
            sensitive,
        } = command
        else {
            return Err(Refusal::NotProposable);
        };
        // A token bound to an app may not make another one, or that one again.
        self.may(Right::Whole, None, Envs::All)?;
        if self.snapshot.app(key).is_some() {
            return Err(Refusal::AlreadyExists { what: What::App(key.clone()) });
        }
        too_many("apps", self.snapshot.app_count() + 1, MAX_APPS)?;
        let info = AppInfo {
            key: key.clone(),
            name: name.clone(),
            owner: owner.clone(),
            tier: *tier,
            monthly_budget_micros: *monthly_budget_micros,
            currency: currency.clone(),
            created_at: self.now,
            sensitive: sensitive.clone(),
        };
        check_app(&info)?;
        let asked = environments.clone().unwrap_or_else(first_environments);
        too_many("environments of one app", asked.len(), MAX_ENVIRONMENTS)?;
        let mut keys = BTreeSet::new();
        let mut environments = Vec::new();
        for new in &asked {
            if !keys.insert(&new.key) {
                return Err(invalid("environments", alloc::format!("`{}` is there twice", new.key)));
            }
            environments.push(self.new_environment(new)?);
        }
        Ok(Decided::Change(Change::AppCreated { app: info, environments }))
    }

    pub(super) fn update_app(&self, app: &AppKey, command: &Command) -> Result<Decided, Refusal> {
        let Command::UpdateApp { name, owner, tier, monthly_budget_micros, currency, sensitive, .. } =
            command
        else {
            return Err(Refusal::NotProposable);
        };
        self.may(Right::Structure, Some(app), Envs::All)?;
        let found = self.app(app)?;
        self.not_older(found.revision())?;
        let before = found.info();
        let mut after = AppInfo::clone(before);
        if let Some(name) = name {
            after.name.clone_from(name);
        }
        if let Some(owner) = owner {
            after.owner.clone_from(owner);
        }
        after.tier = tier.unwrap_or(after.tier);
        after.monthly_budget_micros = monthly_budget_micros.or(after.monthly_budget_micros);
        after.currency = currency.clone().or(after.currency);
        after.sensitive = sensitive.clone().unwrap_or(after.sensitive);
        if after == **before {
            return Ok(Decided::Already(found.revision()));
        }
        check_app(&after)?;
        self.may_change_tier(app, before.tier, after.tier)?;
        if opens_names(&before.sensitive, &after.sensitive) {
            self.may(Right::Governance, Some(app), Envs::All)?;
        }
        self.authorise(Direction::Neutral, Ground::Production, before.tier, false)?;
        Ok(Decided::Change(Change::AppUpdated { app: after }))
    }

    /// A lower tier asks for less of every later raise, so it takes what the higher one asks.
    fn may_change_tier(&self, app: &AppKey, before: Tier, after: Tier) -> Result<(), Refusal> {
        if before != after {
            self.may(Right::Governance, Some(app), Envs::All)?;
        }
        let proposing = matches!(self.mode, super::Mode::Proposing);
        if after < before && !proposing { self.approved(before) } else { Ok(()) }
    }

    pub(super) fn create_environment(&self, app: &AppKey, new: &NewEnvironment) -> Result<Decided, Refusal> {
        self.may_shape(app, &new.key, new.kind)?;
        let found = self.app(app)?;
        if found.environment(&new.key).is_some_and(|record| !record.ended(self.now)) {
            return Err(Refusal::AlreadyExists { what: What::Environment(app.clone(), new.key.clone()) });
        }
        if new.kind != EnvironmentKind::Production && found.was_production(&new.key) {
            let problem =
                "this key was production's, and those who serve users ask by it: choose another key";
            return Err(invalid("key", problem));
        }
        let going = self.making_room(found, &new.key);
        let stay = found.environments().len() - going.len();
        too_many("environments of one app, ended ones with a kill included", stay + 1, MAX_ENVIRONMENTS)?;
        let environment = self.new_environment(new)?;
        self.authorise(Direction::Neutral, Ground::of(new.kind), found.info().tier, false)?;
        let life = self.rules.default_life.of(found.info().tier).of(new.kind);
        let expires_at = self.within_preview(&environment, self.now.plus(life));
        let replaces = going.iter().map(|it| it.key.clone()).collect();
        // What belongs to the one that had its key is not to be destroyed: it is taken over.
        let others: Vec<&Environment> = going.into_iter().filter(|it| it.key != new.key).collect();
        let untold = self.untold(app, &others)?;
        let app = app.clone();
        Ok(Decided::Change(Change::EnvironmentCreated { app, environment, expires_at, replaces, untold }))
    }

    /// The ended previews that go when an environment comes: the one that had its key, and as many others
    /// as the bound asks for, the longest ended first. The rest stay: they can still be extended. So do those
    /// with a kill, which is taken back by people only; the namesake's kills stay with its key.
    fn making_room(&self, app: &'a App, key: &EnvKey) -> Vec<&'a Environment> {
        let ended = app.environments().filter(|record| {
            let defined = record.environment();
            record.ended(self.now) && (defined.key == *key || !app.has_kill_in(&defined.key))
        });
        let mut ended: Vec<&Environment> = ended.map(|record| record.environment()).collect();
        ended.sort_by_key(|it| (it.key != *key, it.ends_at));
        let namesake = usize::from(app.environment(key).is_some());
        let too_many = (app.environments().len() + 1).saturating_sub(MAX_ENVIRONMENTS);
        ended.truncate(namesake.max(too_many));
        ended
    }

    pub(super) fn extend_environment(
        &self,
        app: &AppKey,
        key: &EnvKey,
        ends_at: UnixMs,
    ) -> Result<Decided, Refusal> {
        let (found, environment) = self.shaped(app, key)?;
        if environment.kind != EnvironmentKind::Preview {
            return Err(invalid("ends_at", "only previews end"));
        }
        if environment.ends_at == Some(ends_at) {
            return Ok(Decided::Already(found.revision()));
        }
        if !self.can_be_extended(app, environment) {
            return Err(invalid("ends_at", "it ended too long ago to be extended: make a new one"));
        }
        self.check_end(ends_at)?;
        self.authorise(Direction::Raise, Ground::Trial, found.info().tier, false)?;
        let environment = Environment { ends_at: Some(ends_at), ..environment.clone() };
        Ok(Decided::Change(Change::EnvironmentUpdated { app: app.clone(), environment }))
    }

    pub(super) fn remove_environment(&self, app: &AppKey, key: &EnvKey) -> Result<Decided, Refusal> {
        let (found, environment) = self.shaped(app, key)?;
        self.authorise(Direction::Neutral, Ground::of(environment.kind), found.info().tier, false)?;
        if found.has_kill_in(key) {
            // With it go its kills: another of its key would not have them.
            self.may(Right::Structure, Some(app), Envs::One(key))?;
            self.no_agent()?;
            self.reason_given("removing an environment with kills in it")?;
        }
        let untold = !self.untold(app, &[environment])?.is_empty();
        Ok(Decided::Change(Change::EnvironmentRemoved { app: app.clone(), environment: key.clone(), untold }))
    }

    /// An environment that the caller may shape.
    fn shaped(&self, app: &AppKey, key: &EnvKey) -> Result<(&'a App, &'a Environment), Refusal> {
        // Whoever may not even touch flags there learns nothing of what is there.
        self.may(Right::Flags, Some(app), Envs::One(key))?;
        let found = self.app(app)?;
        let environment = self.environment(found, key)?;
        self.may_shape(app, key, environment.kind)?;
        Ok((found, environment))
    }

    /// Pipelines shape previews, which come and go with what they build.
    fn may_shape(&self, app: &AppKey, key: &EnvKey, kind: EnvironmentKind) -> Result<(), Refusal> {
        if matches!(self.row(), Row::Timer | Row::Evaluator) {
            return Err(Refusal::NotAllowed { who_may: "an admin, operator or editor of the app" });
        }
        let right = if kind == EnvironmentKind::Preview { Right::Flags } else { Right::Structure };
        self.may(right, Some(app), Envs::One(key))
    }

    fn new_environment(&self, new: &NewEnvironment) -> Result<Environment, Refusal> {
        let ends_at = match (new.kind, new.ends_at) {
            (EnvironmentKind::Preview, ends_at) => {
                let ends_at = ends_at.unwrap_or_else(|| self.now.plus(self.rules.default_preview_life));
                self.check_end(ends_at)?;
                Some(ends_at)
            }
            (_, None) => None,
            (_, Some(_)) => return Err(invalid("ends_at", "only previews end")),
        };
        Ok(Environment { key: new.key.clone(), kind: new.kind, created_at: self.now, ends_at })
    }

    fn check_end(&self, ends_at: UnixMs) -> Result<(), Refusal> {
        if ends_at <= self.now {
            return Err(invalid("ends_at", alloc::format!("{ends_at} is not in the future")));
        }
        let cap = self.now.plus(self.rules.longest_preview_life);
        if ends_at > cap { Err(Refusal::ExpiryBeyondCap { asked: ends_at, cap }) } else { Ok(()) }
    }
}

/// What an app gets that names no environments.
fn first_environments() -> Vec<NewEnvironment> {
    let new = |key: &str, kind| NewEnvironment {
        key: EnvKey::new(key).expect("a key of letters"),
        kind,
        ends_at: None,
    };
    vec![new("production", EnvironmentKind::Production), new("sandbox", EnvironmentKind::Sandbox)]
}

/// Whether something is sensitive no more, so that rules which name it may travel to pages: everyone can read them there.
fn opens_names(before: &[String], after: &[String]) -> bool {
    let holds = |outer: &String, inner: &str| {
        inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    before.iter().any(|name| !after.iter().any(|kept| holds(kept, name)))
}

fn check_sensitive(names: &[String]) -> Result<(), Refusal> {
    too_many("sensitive attributes of one app", names.len(), MAX_SENSITIVE)?;
    let mut known = BTreeSet::new();
    for (nth, name) in names.iter().enumerate() {
        let field = alloc::format!("sensitive[{nth}]");
        let is_part = |part: &str| !part.is_empty() && part == part.trim();
        if name.len() > MAX_UNIT_BYTES || !name.split('.').all(is_part) {
            let problem = alloc::format!(
                "name an attribute in 1 to {MAX_UNIT_BYTES} bytes, as the app writes it (capital letters count) and without \
                 spaces around it: `email`, or `user.email` for one within another"
            );
            return Err(invalid(field, problem));
        }
        if !known.insert(name) {
            return Err(invalid(field, alloc::format!("`{name}` is there twice")));
        }
    }
    Ok(())
}

fn check_app(info: &AppInfo) -> Result<(), Refusal> {
    check_text("name", &info.name)?;
    check_text("owner", &info.owner)?;
    check_sensitive(&info.sensitive)?;
    if let Some(currency) = &info.currency
        && !(currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        return Err(invalid("currency", "use an ISO 4217 code of three capital letters, such as `EUR`"));
    }
    if info.monthly_budget_micros.is_some() && info.currency.is_none() {
        return Err(invalid("currency", "a budget needs one: an ISO 4217 code such as `EUR`"));
    }
    Ok(())
}
