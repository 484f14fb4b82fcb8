//! Killing, which nothing but rights and a wrong name refuses, and taking kills back.

use alloc::string::ToString as _;

use super::authority::{Direction, Ground, Right, Row};
use super::{Case, Decided, Refusal, What};
use crate::change::{Change, Reach};
use crate::flag::{Height, Kills, MAX_KILL_ENVIRONMENTS};
use crate::ids::{EnvKey, KillId};
use crate::snapshot::{FlagView, PastKill};

impl<'a> Case<'a> {
    pub(super) fn kill(
        &self,
        id: &KillId,
        reach: &Reach,
        environment: Option<&EnvKey>,
    ) -> Result<Decided, Refusal> {
        self.may_kill(reach, environment)?;
        if let Some(PastKill { revision, reach: past, environment: past_environment }) =
            self.snapshot.past_kill(id)
        {
            if past == reach && past_environment.as_ref() == environment {
                return Ok(Decided::Already(*revision));
            }
            return Err(Refusal::KillIdTaken { kill_id: id.clone(), revision: *revision });
        }
        let kills = self.kills_at(reach, environment)?;
        if let (Reach::Everything, Some(environment)) = (reach, environment) {
            let (killed, revived) = (&kills.environments, &kills.off_before_in);
            let known = killed.contains_key(environment) || revived.contains_key(environment);
            // A misspelt name would look like a kill and stop nothing.
            if !self.snapshot.apps(None).any(|app| app.environment(environment).is_some()) {
                return Err(Refusal::NotFound { what: What::Other("environment", environment.to_string()) });
            }
            // Environments come and go while their kills stay; a bound keeps them from filling the memory.
            if !known && killed.len().max(revived.len()) >= MAX_KILL_ENVIRONMENTS {
                let what = "environments named in kills of everything";
                return Err(Refusal::TooMany { what, limit: MAX_KILL_ENVIRONMENTS });
            }
        }
        Ok(Decided::Change(Change::Killed {
            kill_id: id.clone(),
            reach: reach.clone(),
            environment: environment.cloned(),
        }))
    }

    fn may_kill(&self, reach: &Reach, environment: Option<&EnvKey>) -> Result<(), Refusal> {
        match reach {
            Reach::Everything => self.may(Right::Whole, None, environment.into()),
            Reach::App { app } | Reach::Flag { app, .. } => {
                self.may(Right::Flags, Some(app), environment.into())
            }
        }
    }

    pub(super) fn revive(&self, reach: &Reach, environment: Option<&EnvKey>) -> Result<Decided, Refusal> {
        match reach {
            Reach::Everything => self.may(Right::Whole, None, environment.into())?,
            Reach::App { app } | Reach::Flag { app, .. } => {
                self.may(Right::Structure, Some(app), environment.into())?;
            }
        }
        self.no_agent()?;
        if matches!(self.row(), Row::Timer | Row::Evaluator) {
            return Err(Refusal::NotAllowed { who_may: "a human: nothing comes back by itself" });
        }
        let kills = self.kills_at(reach, environment)?;
        match reach {
            Reach::Flag { app, flag } => self.not_stale(self.flag(app, flag)?)?,
            Reach::App { app } => self.not_older(self.app(app)?.revision())?,
            Reach::Everything => self.not_older(self.snapshot.kills_revision())?,
        }
        self.reason_given("taking a kill back")?;
        self.check_killed(reach, environment, kills)?;
        let tier = match reach {
            Reach::Everything => crate::flag::Tier::Two,
            Reach::App { app } | Reach::Flag { app, .. } => self.app(app)?.info().tier,
        };
        // What comes back is off: nobody is served anything else.
        self.authorise(Direction::Neutral, Ground::Production, tier, false)?;
        Ok(Decided::Change(Change::Revived { reach: reach.clone(), environment: environment.cloned() }))
    }

    fn check_killed(
        &self,
        reach: &Reach,
        environment: Option<&EnvKey>,
        kills: &Kills,
    ) -> Result<(), Refusal> {
        let killed = match environment {
            None => kills.all.is_some() || !kills.environments.is_empty(),
            Some(environment) => kills.in_environment(environment).is_some(),
        };
        if !killed {
            return Err(Refusal::NotKilled { elsewhere: self.killed_above(reach, environment) });
        }
        if *reach == Reach::Everything && environment.is_some() && kills.all.is_some() {
            return Err(Refusal::KilledEverywhere);
        }
        Ok(())
    }

    /// The height of a kill that is in effect above one that is not.
    fn killed_above(&self, reach: &Reach, environment: Option<&EnvKey>) -> Option<Height> {
        let in_effect = |kills: &Kills| match environment {
            None => kills.all.is_some() || !kills.environments.is_empty(),
            Some(environment) => kills.in_environment(environment).is_some(),
        };
        let (everything, app) = match reach {
            Reach::Everything => return None,
            Reach::App { .. } => (self.snapshot.kills(), None),
            Reach::Flag { app, .. } => (self.snapshot.kills(), self.snapshot.app(app)),
        };
        if in_effect(everything) {
            return Some(Height::Everything);
        }
        app.filter(|app| in_effect(app.kills())).map(|_| Height::App)
    }

    /// The highest kill in effect over a flag in an environment, those that the log has not taken included.
    pub(super) fn killed(&self, view: FlagView<'_>, environment: &EnvKey) -> Option<(Height, KillId)> {
        let info = view.app().info();
        let waiting = self.waiting.iter().filter(|kill| {
            kill.environment.as_ref().is_none_or(|only| only == environment)
                && match &kill.reach {
                    Reach::Everything => true,
                    Reach::App { app } => *app == info.key,
                    Reach::Flag { app, flag } => *app == info.key && *flag == view.record().flag().key,
                }
        });
        let waiting = waiting.map(|kill| (height_of(&kill.reach), kill.kill_id.clone()));
        let folded = view.killed(environment).map(|(height, kill)| (height, kill.id.clone()));
        folded.into_iter().chain(waiting).min_by_key(|(height, _)| *height as u8)
    }

    /// The kills at a height, if what is named is there.
    fn kills_at(&self, reach: &Reach, environment: Option<&EnvKey>) -> Result<&'a Kills, Refusal> {
        let in_app = |app: &crate::ids::AppKey| {
            let found = self.app(app)?;
            match environment {
                Some(key) if found.environment(key).is_none() => {
                    Err(Refusal::NotFound { what: What::Environment(app.clone(), key.clone()) })
                }
                _ => Ok(found),
            }
        };
        match reach {
            Reach::Everything => Ok(self.snapshot.kills()),
            Reach::App { app } => Ok(in_app(app)?.kills()),
            Reach::Flag { app, flag } => {
                in_app(app)?;
                Ok(self.flag(app, flag)?.record().kills())
            }
        }
    }
}

fn height_of(reach: &Reach) -> Height {
    match reach {
        Reach::Everything => Height::Everything,
        Reach::App { .. } => Height::App,
        Reach::Flag { .. } => Height::Flag,
    }
}
