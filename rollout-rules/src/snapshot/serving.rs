//! What checks look at: flags compiled when they are folded in, so that a check only looks up.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::app::{App, EnvironmentRecord, FlagRecord, StateRecord};
use super::{Snapshot, Whole};
use crate::compile::{CompiledFlag, Definition, FlagSource};
use crate::evaluate::FlagSet;
use crate::ids::{AppKey, EnvKey, FlagKey};

/// What an app environment serves in one snapshot, for whoever checks its flags again and again. It keeps that from being freed.
pub struct Served {
    whole: Arc<Whole>,
    app: Arc<App>,
    environment: Arc<EnvironmentRecord>,
}

impl Served {
    /// The same as [`Snapshot::flag_set`].
    #[inline]
    pub fn flag_set(&self) -> FlagSet<'_> {
        let Served { whole, app, environment } = self;
        FlagSet { shared: &whole.rules, app: &app.rules, environment: &environment.flags }
    }
}

impl Snapshot {
    /// Everything that checks in an app environment look at.
    pub fn flag_set(&self, app: &AppKey, environment: &EnvKey) -> Option<FlagSet<'_>> {
        let app = self.app(app)?;
        let record = app.environment(environment)?;
        Some(FlagSet { shared: &self.whole.rules, app: &app.rules, environment: &record.flags })
    }

    /// What an app environment serves in this snapshot, to be kept.
    pub fn served(&self, app: &AppKey, environment: &EnvKey) -> Option<Served> {
        let app = self.apps.get(app)?;
        let environment = app.environments.get(environment)?;
        let (whole, app, environment) = (Arc::clone(&self.whole), Arc::clone(app), Arc::clone(environment));
        Some(Served { whole, app, environment })
    }

    /// Compiles those states of a flag that changed; all of them if its definition or its kills did.
    pub(super) fn serve_flag(
        &self,
        app: &mut App,
        key: &FlagKey,
        record: &FlagRecord,
        before: Option<&FlagRecord>,
    ) {
        let definition = app.definition_of(record);
        // A kill ahead of the log changes the flag at the revision that it has already.
        let before = before
            .filter(|before| Arc::ptr_eq(&before.flag, &record.flag) && before.kills() == record.kills());
        for (environment, state) in &record.states {
            let twin = before.and_then(|before| before.state(environment));
            if twin.is_some_and(|twin| twin.is_shared_with(state)) {
                continue;
            }
            let Some(served) = app.environments.get(environment) else { continue };
            let table = if record.is_archived() {
                served.flags.flags.without(key.as_str())
            } else {
                let previous = served.flags.flags.get(key.as_str()).cloned();
                let compiled =
                    self.compile(app, record, environment, state, &definition, previous.as_deref());
                served.flags.flags.with(compiled)
            };
            if let Some(served) = app.environments.get_mut(environment) {
                Arc::make_mut(served).flags.flags = table;
            }
        }
    }

    /// Compiles every flag of these environments (of all, without any) at once, which costs less than one by one.
    pub(super) fn serve_all(&self, app: &mut App, only: Option<&EnvKey>) {
        let mut tables: BTreeMap<EnvKey, Vec<Arc<CompiledFlag>>> = BTreeMap::new();
        for record in app.flags.values().filter(|record| !record.is_archived()) {
            let definition = app.definition_of(record);
            let states = record.states.iter().filter(|(key, _)| only.is_none_or(|only| key == only));
            for (environment, state) in states {
                let compiled = self.compile(app, record, environment, state, &definition, None);
                tables.entry(environment.clone()).or_default().push(compiled);
            }
        }
        for (environment, flags) in tables {
            if let Some(served) = app.environments.get_mut(&environment) {
                let table = served.flags.flags.of_only(flags);
                Arc::make_mut(served).flags.flags = table;
            }
        }
    }

    fn compile(
        &self,
        app: &App,
        record: &FlagRecord,
        environment: &EnvKey,
        state: &StateRecord,
        definition: &Arc<Definition>,
        previous: Option<&CompiledFlag>,
    ) -> Arc<CompiledFlag> {
        Arc::new(CompiledFlag::compile(FlagSource {
            definition: Arc::clone(definition),
            state: Arc::clone(&state.state),
            revision: state.revision,
            kills: record.kills(),
            environment,
            shared_segments: &self.whole.rules.segments,
            app_segments: &app.rules.segments,
            previous,
        }))
    }
}

impl App {
    /// The serialized answers of a flag: those at hand, if they are of this definition.
    fn definition_of(&self, record: &FlagRecord) -> Arc<Definition> {
        let at_hand = self.environments.values().find_map(|served| {
            let definition = served.flags.flags.get(record.flag.key.as_str())?.definition();
            Arc::ptr_eq(definition.flag(), &record.flag).then(|| Arc::clone(definition))
        });
        at_hand.unwrap_or_else(|| Definition::new(Arc::clone(&record.flag)))
    }
}
