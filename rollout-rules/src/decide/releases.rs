//! Telling what was deployed, and what acts on a whole app are on: the release that runs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::authority::{Direction, Envs, Ground, Right, Row};
use super::validate::invalid;
use super::{Case, Decided, Refusal};
use crate::change::Change;
use crate::flag::EnvironmentKind;
use crate::ids::{EnvKey, Revision};
use crate::release::{Deployed, Release, Releases, Reversal, check_version};
use crate::runbook::{Acting, Cause};
use crate::sli::guardrail::Action;
use crate::snapshot::App;
use crate::time::UnixMs;

impl Case<'_> {
    /// An artifact was deployed. The current one again is nothing new, whatever version it is told under.
    pub(super) fn report_release(&self, deployed: &Deployed) -> Result<Decided, Refusal> {
        let Deployed { app, environment, artifact, version } = deployed;
        self.may(Right::Flags, Some(app), Envs::One(environment))?;
        let found = self.app(app)?;
        let defined = self.environment(found, environment)?;
        if self.row() == Row::Agent && defined.kind == EnvironmentKind::Production {
            let who_may = "a human or pipeline of the app (agents tell of previews and sandboxes)";
            return Err(Refusal::NotAllowed { who_may });
        }
        self.authorise(Direction::Neutral, Ground::of(defined.kind), found.info().tier, false)?;
        if let Some(at) = defined.ends_at.filter(|ends_at| *ends_at <= self.now) {
            return Err(Refusal::EnvironmentEnded { at });
        }
        if let Some(version) = version {
            check_version(version).map_err(|problem| invalid("version", problem))?;
        }
        let current = releases(found, environment).current();
        self.not_older(current.map_or(Revision::ZERO, |current| current.revision))?;
        if let Some(current) = current.filter(|current| current.artifact == *artifact) {
            return Ok(Decided::Already(current.revision));
        }
        Ok(Decided::Change(Change::ReleaseDeployed {
            app: app.clone(),
            environment: environment.clone(),
            artifact: *artifact,
            version: version.clone(),
        }))
    }

    /// The deployment that an act on a whole app is on, if it is known what runs. Nothing is reverted that was not measured.
    pub(super) fn deployment_measured(
        &self,
        app: &App,
        acting: &Acting,
    ) -> Result<Option<Revision>, Refusal> {
        let (None, Some(environment), Cause::Regressed(_)) =
            (&acting.flag, &acting.environment, acting.cause)
        else {
            return Ok(None);
        };
        let releases = releases(app, environment);
        let current = releases.current();
        if acting.actions.contains(&Action::RevertRelease) && !is_current(releases, acting) {
            return Err(not_current(releases, acting));
        }
        let measured = acting.artifact.and_then(|artifact| releases.get(&artifact));
        Ok(measured.or(current).map(|measured| measured.revision))
    }

    /// What is left to do for an act: on a whole app a release is reverted once for a cause, however long it stays, and for what a
    /// flag does none is that was not measured.
    pub(super) fn not_reverted_yet(
        &self,
        app: &App,
        acting: &Acting,
        deployed: Option<Revision>,
    ) -> Result<Vec<Action>, Refusal> {
        let mut actions = acting.actions.clone();
        if let (None, Some(environment), Some(deployed)) = (&acting.flag, &acting.environment, deployed)
            && releases(app, environment).current().is_some_and(|current| current.acted_on.is_some())
            && app.runbook().is_some_and(|runbook| runbook.acted_on(environment, deployed, acting.cause))
        {
            actions.retain(|action| *action != Action::RevertRelease);
        }
        if let (Some(_), Some(environment), Cause::Regressed(_)) =
            (&acting.flag, &acting.environment, acting.cause)
            && actions.contains(&Action::RevertRelease)
            && !is_current(releases(app, environment), acting)
        {
            actions.retain(|action| *action != Action::RevertRelease);
            if actions.is_empty() {
                return Err(not_current(releases(app, environment), acting));
            }
        }
        Ok(actions)
    }
}

/// Whether what was measured still runs.
fn is_current(releases: &Releases, acting: &Acting) -> bool {
    acting.artifact == releases.current().map(|current| current.artifact)
}

fn not_current(releases: &Releases, acting: &Acting) -> Refusal {
    let seen = acting.artifact.and_then(|artifact| releases.get(&artifact));
    let of = |release: Option<&Release>| release.map_or(Revision::ZERO, |release| release.revision);
    Refusal::Stale { seen: of(seen), current: of(releases.current()), changed: Vec::new() }
}

/// What was deployed to an environment.
fn releases<'a>(app: &'a App, environment: &EnvKey) -> &'a Releases {
    app.environment(environment).map_or(Releases::none(), |record| record.releases())
}

/// When what runs was deployed, if that was told.
pub(super) fn last_deployed(app: &App, environment: &EnvKey) -> Option<UnixMs> {
    releases(app, environment).current().map(|current| current.deployed_at)
}

/// What an act has reverted, if it asks for that.
pub(super) fn reversal(app: &App, environment: Option<&EnvKey>, effects: &[Action]) -> Option<Box<Reversal>> {
    let environment = environment.filter(|_| effects.contains(&Action::RevertRelease))?;
    let record = app.environment(environment)?;
    let current = record.releases().current()?.clone();
    Some(Box::new(Reversal { current, back_to: record.previous_good().cloned() }))
}
