//! Making, extending and archiving flags.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Direction, Envs, Ground, Right};
use super::validate::{check_flag, invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::{BrowserMark, Change, Command};
use crate::flag::{
    Environment, EnvironmentKind, Flag, FlagKind, FlagState, MAX_FLAGS, Targeting, Tier, Variant,
};
use crate::gate::policy::Way;
use crate::ids::{AppKey, EnvKey, FlagKey, Revision, VariantKey};
use crate::snapshot::{App, FlagView, variant_when_on};
use crate::time::UnixMs;

/// How many of those that refer to something a refusal names.
pub(super) const NAMED_USERS: usize = 10;

impl<'a> Case<'a> {
    pub(super) fn create_flag(&self, command: &Command) -> Result<Decided, Refusal> {
        let Command::CreateFlag {
            app,
            key,
            kind,
            variants,
            off_variant,
            description,
            owner,
            critical,
            expires_at,
            browser,
        } = command
        else {
            return Err(Refusal::NotProposable);
        };
        self.may(Right::Flags, Some(app), Envs::All)?;
        let found = self.app(app)?;
        if found.flag(key).is_some() {
            return Err(Refusal::AlreadyExists { what: What::Flag(app.clone(), key.clone()) });
        }
        too_many("flags of one app", found.flag_count() + 1, MAX_FLAGS)?;
        let (variants, off_variant) = answers(*kind, variants, off_variant.as_ref())?;
        let owner = if owner.is_empty() { found.info().owner.clone() } else { owner.clone() };
        let flag = Flag {
            key: key.clone(),
            kind: *kind,
            variants,
            off_variant,
            description: description.clone(),
            owner,
            critical: *critical,
            created_at: self.now,
            extensions: 0,
            archived_at: None,
            browser: browser.and_then(BrowserMark::form),
        };
        check_flag(&flag)?;
        let environments: Vec<&Environment> =
            found.environments().map(|record| record.environment()).collect();
        let lives = self.lives(found, &environments, *expires_at, self.rules.default_life_of())?;
        let state = |expires_at| FlagState {
            targeting: Targeting::off(variant_when_on(&flag)),
            expires_at,
            targeting_revision: Revision::ZERO,
            hold: None,
        };
        let states = lives.into_iter().map(|(environment, at)| (environment, state(at))).collect();
        // Born off: nobody is served anything by it, so an agent may do it too.
        self.authorise(Direction::Lower, Ground::Production, found.info().tier, false)?;
        if is_born_on(&flag) {
            let off = Targeting::off(variant_when_on(&flag));
            let on = Targeting { on: true, ..off.clone() };
            for environment in &environments {
                let ground = Ground::of(environment.kind);
                self.within_tier_limits((&off, &on, Way::Set), found.info().tier, ground)?;
                self.authorise_at(Direction::Raise, (found, &environment.key), false)?;
            }
        }
        Ok(Decided::Change(Change::FlagCreated { app: app.clone(), flag, states }))
    }

    pub(super) fn extend_flag(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: Option<&EnvKey>,
        expires_at: Option<UnixMs>,
    ) -> Result<Decided, Refusal> {
        self.may(Right::Flags, Some(app), environment.into())?;
        let view = self.flag(app, flag)?;
        self.not_stale(view)?;
        if let Some(environment) = environment {
            self.state(view, environment)?;
        }
        self.reason_given("an extension")?;
        self.revision_named(view, Direction::Neutral)?;
        let reached: Vec<&Environment> = view
            .app()
            .environments()
            .map(|record| record.environment())
            .filter(|it| environment.is_none_or(|one| it.key == *one))
            .filter(|it| view.record().state(&it.key).is_some())
            .collect();
        let mut lives = self.lives(view.app(), &reached, expires_at, self.rules.longest_life_of())?;
        let expiry = |key: &EnvKey| view.record().state(key).map(|record| record.state().expires_at);
        if expires_at.is_some()
            && environment.is_none()
            && let Some(same) = reached.iter().find(|it| {
                let ended = it.ends_at.is_some_and(|at| at <= self.now);
                !ended && lives.get(&it.key) <= expiry(&it.key).as_ref()
            })
        {
            let problem = alloc::format!(
                "in environment `{}` the flag would not get a longer life: extend it environment by environment",
                same.key
            );
            return Err(invalid("expires_at", problem));
        }
        lives.retain(|key, at| expiry(key).is_some_and(|before| *at > before));
        if lives.is_empty() {
            return match expires_at {
                Some(_) => {
                    Err(invalid("expires_at", "not later than it is now, or than the environment allows"))
                }
                None => Ok(self.nothing_left(view)),
            };
        }
        for environment in reached.iter().filter(|it| lives.contains_key(&it.key)) {
            let expired = expiry(&environment.key).is_some_and(|at| at <= self.now);
            let wakes = expired && self.is_live(view, &environment.key);
            let direction = if wakes { Direction::Raise } else { Direction::Neutral };
            if wakes {
                let on = self.standing(view, &environment.key)?;
                let off = Targeting { on: false, ..on.clone() };
                let tier = view.app().info().tier;
                self.within_tier_limits((&off, &on, Way::Set), tier, Ground::of(environment.kind))?;
            }
            self.authorise_at(direction, (view.app(), &environment.key), false)?;
        }
        Ok(Decided::Change(Change::FlagExtended { app: app.clone(), flag: flag.clone(), expires_at: lives }))
    }

    /// When states in these environments expire: at the moment that is asked for, cut to what each
    /// environment allows, or at the end of the life that is given. A moment that no environment allows
    /// is refused.
    fn lives(
        &self,
        app: &App,
        environments: &[&Environment],
        asked: Option<UnixMs>,
        life: impl Fn(Tier, crate::flag::EnvironmentKind) -> crate::time::DurationMs,
    ) -> Result<BTreeMap<EnvKey, UnixMs>, Refusal> {
        let tier = app.info().tier;
        let longest = self.rules.longest_life_of();
        let of_policy = self.snapshot.policy().of(tier).flags.longest_life_ms;
        let longest = |kind| match kind {
            EnvironmentKind::Production => {
                of_policy.map_or(longest(tier, kind), |life| longest(tier, kind).min(life))
            }
            EnvironmentKind::Preview | EnvironmentKind::Sandbox => longest(tier, kind),
        };
        let cap = |it: &Environment| self.within_preview(it, self.now.plus(longest(it.kind)));
        if let Some(asked) = asked {
            if asked <= self.now {
                return Err(invalid("expires_at", alloc::format!("{asked} is not in the future")));
            }
            let latest = environments.iter().map(|it| cap(it)).max();
            if let Some(cap) = latest.filter(|cap| asked > *cap) {
                return Err(Refusal::ExpiryBeyondCap { asked, cap });
            }
        }
        let expiry = |it: &Environment| match asked {
            Some(asked) => asked.min(cap(it)),
            None => self.within_preview(it, self.now.plus(life(tier, it.kind))).min(cap(it)),
        };
        Ok(environments.iter().map(|it| (it.key.clone(), expiry(it))).collect())
    }

    /// No flag state outlives its preview.
    pub(super) fn within_preview(&self, environment: &Environment, at: UnixMs) -> UnixMs {
        environment.ends_at.map_or(at, |ends_at| at.min(ends_at))
    }

    pub(super) fn archive_flag(&self, app: &AppKey, flag: &FlagKey) -> Result<Decided, Refusal> {
        self.may(Right::Flags, Some(app), Envs::All)?;
        let view = self.flag(app, flag)?;
        self.not_stale(view)?;
        let by: Vec<FlagKey> = view.app().dependents(flag).take(NAMED_USERS).cloned().collect();
        if !by.is_empty() {
            return Err(Refusal::InUse { what: What::Flag(app.clone(), flag.clone()), by });
        }
        // It lowers for people. Apps fall back to the defaults in their code, so an agent leaves it alone
        // where production has the flag.
        self.authorise(Direction::Neutral, self.highest_ground(view), view.app().info().tier, false)?;
        Ok(Decided::Change(Change::FlagArchived { app: app.clone(), flag: flag.clone() }))
    }

    /// Production, if the flag has a state there.
    pub(super) fn highest_ground(&self, view: FlagView<'_>) -> Ground {
        let states = view.record().states();
        let kinds = states.filter_map(|(key, _)| Some(view.app().environment(key)?.environment().kind));
        kinds.map(Ground::of).max().unwrap_or(Ground::Trial)
    }
}

impl crate::governance::Rules {
    fn default_life_of(&self) -> impl Fn(Tier, crate::flag::EnvironmentKind) -> crate::time::DurationMs {
        |tier, kind| self.default_life.of(tier).of(kind)
    }

    fn longest_life_of(&self) -> impl Fn(Tier, crate::flag::EnvironmentKind) -> crate::time::DurationMs {
        |tier, kind| self.longest_life.of(tier).of(kind)
    }
}

/// A new flag's answers, and which of them it gives while it is off.
fn answers(
    kind: FlagKind,
    variants: &[Variant],
    off_variant: Option<&VariantKey>,
) -> Result<(Vec<Variant>, VariantKey), Refusal> {
    let variants = match kind {
        FlagKind::Boolean if variants.is_empty() => {
            let variant = |key: &str, value: bool| Variant {
                key: VariantKey::new(key).expect("a key of letters"),
                value: value.into(),
            };
            vec![variant("on", true), variant("off", false)]
        }
        _ => variants.to_vec(),
    };
    let last = variants.last().map(|variant| variant.key.clone());
    let off_variant = off_variant.cloned().or(last);
    let off_variant = off_variant.ok_or_else(|| invalid("variants", "name at least one answer"))?;
    Ok((variants, off_variant))
}

/// Whether a flag answers yes while it is off: whoever asks for it is served something from the moment it is made.
fn is_born_on(flag: &Flag) -> bool {
    let off = flag.variants.iter().find(|variant| variant.key == flag.off_variant);
    flag.kind == FlagKind::Boolean && off.is_some_and(|off| off.value == serde_json::Value::Bool(true))
}
