//! The fold of what was deployed, and of what guardrails had reverted.

use alloc::string::String;
use alloc::sync::Arc;

use super::Snapshot;
use super::apply::Stamp;
use crate::ids::{AppKey, EnvKey, Revision};
use crate::release::{ArtifactDigest, Release, Releases};

impl Snapshot {
    /// What was deployed to an environment; none if there is no such environment.
    pub fn releases(&self, app: &AppKey, environment: &EnvKey) -> Option<&Releases> {
        Some(self.app(app)?.environment(environment)?.releases())
    }

    pub(super) fn release_deployed(
        &mut self,
        app: &AppKey,
        environment: &EnvKey,
        artifact: ArtifactDigest,
        version: Option<&str>,
        stamp: &Stamp<'_>,
    ) {
        let release = Release {
            artifact,
            version: version.map(String::from),
            revision: stamp.revision(),
            deployed_at: stamp.entry.at,
            acted_on: None,
        };
        self.change_releases(app, environment, |releases| releases.deployed(release));
    }

    /// A guardrail asked for the release of a deployment to be reverted.
    pub(super) fn release_acted_on(
        &mut self,
        app: &AppKey,
        environment: &EnvKey,
        deployed: Revision,
        act: Revision,
    ) {
        if self.releases(app, environment).is_some_and(|releases| !releases.is_empty()) {
            self.change_releases(app, environment, |releases| releases.acted_on(deployed, act));
        }
    }

    /// Nothing is served otherwise by it: neither the app nor the environment counts as changed.
    fn change_releases(&mut self, app: &AppKey, environment: &EnvKey, change: impl FnOnce(&mut Releases)) {
        let is_there = self.app(app).is_some_and(|app| app.environment(environment).is_some());
        if let Some(app) = self.apps.get_mut(app).filter(|_| is_there)
            && let Some(record) = Arc::make_mut(app).environments.get_mut(environment)
        {
            change(Arc::make_mut(Arc::make_mut(record).releases.get_or_insert_default()));
        }
    }
}
