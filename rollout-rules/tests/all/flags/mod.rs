//! A set of flags in one environment, built for tests from what people would write.

#![allow(dead_code, reason = "each test uses what it needs")]

pub(crate) mod random;

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
pub(crate) struct World {
    pub(crate) environment: Place,
    #[serde(default)]
    pub(crate) kills: AllKills,
    #[serde(default)]
    pub(crate) segments: AllSegments,
    pub(crate) flags: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) key: EnvKey,
    #[serde(default)]
    pub(crate) ends_at: Option<UnixMs>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AllKills {
    pub(crate) everything: Kills,
    pub(crate) app: Kills,
    pub(crate) flags: BTreeMap<FlagKey, Kills>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AllSegments {
    pub(crate) app: Vec<Members>,
    pub(crate) shared: Vec<Members>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Members {
    pub(crate) segment: Segment,
    pub(crate) members: Vec<Arc<str>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) flag: Flag,
    pub(crate) state: FlagState,
    pub(crate) revision: Revision,
}

/// The flags, compiled.
pub(crate) struct Built {
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
    pub(crate) fn build(&self) -> Built {
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
    pub(crate) fn set(&self) -> FlagSet<'_> {
        FlagSet { shared: &self.shared, app: &self.app, environment: &self.environment }
    }

    pub(crate) fn check(&self, key: &str, context: &Context, now: UnixMs) -> Option<Answer<'_>> {
        evaluate(&self.set(), key, context, now)
    }
}
