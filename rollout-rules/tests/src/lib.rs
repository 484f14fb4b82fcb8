//! A set of flags in one environment, built for tests from what people would write.

pub mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout_rules::compile::{CompiledFlag, Definition, FlagSource};
use rollout_rules::context::Context;
use rollout_rules::evaluate::{Answer, AppFlags, EnvironmentFlags, FlagSet, SharedRules, evaluate};
use rollout_rules::flag::{Flag, FlagState, Kills, Segment};
use rollout_rules::ids::{EnvKey, FlagKey, Revision};
use rollout_rules::segment::SegmentTable;
use rollout_rules::time::UnixMs;
use serde::Deserialize;

/// The flags, as a golden vector or a test describes them.
#[derive(Clone, Debug, Deserialize)]
pub struct World {
    /// Where they are asked.
    pub environment: Place,
    /// What was stopped.
    #[serde(default)]
    pub kills: AllKills,
    /// Who belongs together.
    #[serde(default)]
    pub segments: AllSegments,
    /// By key.
    pub flags: Vec<Entry>,
}

/// An environment.
#[derive(Clone, Debug, Deserialize)]
pub struct Place {
    /// Its key.
    pub key: EnvKey,
    /// When a preview ends.
    #[serde(default)]
    pub ends_at: Option<UnixMs>,
}

/// The kills that are in effect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AllKills {
    /// Those of all apps.
    pub everything: Kills,
    /// Those of the app.
    pub app: Kills,
    /// Those of single flags.
    pub flags: BTreeMap<FlagKey, Kills>,
}

/// The segments that rules may name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AllSegments {
    /// Those of the app.
    pub app: Vec<Members>,
    /// Those of all apps.
    pub shared: Vec<Members>,
}

/// A segment with its members.
#[derive(Clone, Debug, Deserialize)]
pub struct Members {
    /// The segment.
    pub segment: Segment,
    /// Its members.
    pub members: Vec<Arc<str>>,
}

/// A flag in the environment.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// What it is.
    pub flag: Flag,
    /// What it is set to.
    pub state: FlagState,
    /// The entry that set it.
    pub revision: Revision,
}

/// The flags, compiled.
pub struct Built {
    shared: SharedRules,
    app: AppFlags,
    environment: EnvironmentFlags,
}

fn table(segments: &[Members]) -> SegmentTable {
    segments.iter().fold(SegmentTable::default(), |table, one| {
        table.put(one.segment.clone()).change_members(&one.segment.key, &one.members, &[])
    })
}

impl World {
    /// Compiles them.
    pub fn build(&self) -> Built {
        let kills = &self.kills;
        let shared = SharedRules { kills: kills.everything.clone(), segments: table(&self.segments.shared) };
        let app = AppFlags { kills: kills.app.clone(), segments: table(&self.segments.app) };
        let none = Kills::default();
        let flags = self.flags.iter().map(|entry| {
            Arc::new(CompiledFlag::compile(FlagSource {
                definition: Definition::new(Arc::new(entry.flag.clone())),
                state: Arc::new(entry.state.clone()),
                revision: entry.revision,
                kills: kills.flags.get(&entry.flag.key).unwrap_or(&none),
                environment: &self.environment.key,
                shared_segments: &shared.segments,
                app_segments: &app.segments,
                previous: None,
            }))
        });
        let environment = EnvironmentFlags {
            key: self.environment.key.clone(),
            ends_at: self.environment.ends_at,
            flags: flags.collect(),
        };
        Built { shared, app, environment }
    }
}

impl Built {
    /// What is asked.
    pub fn set(&self) -> FlagSet<'_> {
        FlagSet { shared: &self.shared, app: &self.app, environment: &self.environment }
    }

    /// What the flag of a key gives for a context.
    pub fn check(&self, key: &str, context: &Context, now: UnixMs) -> Option<Answer<'_>> {
        evaluate(&self.set(), key, context, now)
    }
}
