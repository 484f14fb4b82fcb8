//! Tidegate's own engine by itself: the core of the server and of the SDK, with the load of the published state and the
//! read of the coarse clock around each check, and what counting adds to that.

use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rollout_rules::compile::{CompiledFlag, Definition, FlagSource};
use rollout_rules::context::Context;
use rollout_rules::evaluate::{Answer, AppFlags, EnvironmentFlags, FlagSet, SharedRules, evaluate};
use rollout_rules::flag::{Flag, FlagState, Kills, Segment};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision, SegmentKey};
use rollout_rules::segment::SegmentTable;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::tally::{Collector, Tally};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tidegate::clock::Clock;
use tidegate::exposures::{self, Exposures, lanes};

use super::measure::coarse_ms;
use super::world::{Asked, COUNTRIES, Engine, Kind, PEOPLE, SUFFIX, VERSION, flags, list, people};

struct Published {
    shared: SharedRules,
    app: AppFlags,
    environment: EnvironmentFlags,
}

/// Tidegate.
pub struct Tidegate {
    published: ArcSwap<Published>,
    people: Vec<Context>,
}

impl Tidegate {
    /// With all flags and people.
    pub fn with_all() -> Tidegate {
        let shared = SharedRules::default();
        let app = AppFlags { segments: listed(), ..AppFlags::default() };
        let key = EnvKey::new("production").expect("a key");
        let compile = |(name, kind): (String, Kind)| {
            let flag: Flag = serde_json::from_value(definition(&name, kind)).expect("a flag");
            let state: FlagState = serde_json::from_value(state(kind)).expect("a state");
            Arc::new(CompiledFlag::compile(FlagSource {
                definition: Definition::new(Arc::new(flag)),
                state: Arc::new(state),
                revision: Revision(7),
                kills: &Kills::default(),
                environment: &key,
                shared_segments: &shared.segments,
                app_segments: &app.segments,
                previous: None,
            }))
        };
        let flags = flags().into_iter().map(compile).collect();
        let environment = EnvironmentFlags { key: key.clone(), ends_at: None, flags };
        let published = Published { shared, app, environment };
        Tidegate { published: ArcSwap::from_pointee(published), people: people_as_contexts() }
    }
}

impl Tidegate {
    #[inline(always)]
    fn check_and(
        &self,
        flag: &str,
        person: usize,
        then: impl FnOnce(&Answer<'_>, &EnvironmentFlags),
    ) -> usize {
        let published = self.published.load();
        let set =
            FlagSet { shared: &published.shared, app: &published.app, environment: &published.environment };
        let answer = evaluate(&set, flag, &self.people[person & (PEOPLE - 1)], UnixMs(coarse_ms()));
        let Some(answer) = answer else { return 0 };
        then(&answer, set.environment);
        match answer.value() {
            Value::Number(number) => number.as_u64().map_or(0, |n| usize::try_from(n).unwrap_or(0)),
            Value::Bool(on) => usize::from(*on),
            _ => 0,
        }
    }
}

impl Engine for Arc<Tidegate> {
    fn name(&self) -> &'static str {
        "Tidegate"
    }

    #[inline]
    fn check(&self, Asked { flag, .. }: Asked<'_>, person: usize) -> usize {
        self.check_and(flag, person, |_, _| {})
    }
}

/// The same with every answer counted, as the SDK's clients do, or passed over: what counting alone costs, which a client
/// always does. It is the very same flags and people: others like them lie elsewhere in memory, which alone is a
/// difference of some nanoseconds.
pub struct Counting {
    engine: Arc<Tidegate>,
    tally: Tally,
    counts: bool,
}

impl Counting {
    /// That counts.
    pub fn of(engine: &Arc<Tidegate>) -> Counting {
        Counting { engine: Arc::clone(engine), tally: Tally::new(), counts: true }
    }

    /// The same code, that passes over the counting. What is compiled without it is inlined otherwise, which is worth as
    /// much as the counting, to either side.
    pub fn silent(engine: &Arc<Tidegate>) -> Counting {
        Counting { counts: false, ..Counting::of(engine) }
    }

    /// How many answers were counted.
    pub fn counted(&self) -> u64 {
        let published = self.engine.published.load();
        let counted = Collector::default().collect(&self.tally, &published.environment.flags);
        counted.counts.iter().map(|one| one.count).sum()
    }
}

impl Engine for Counting {
    fn name(&self) -> &'static str {
        "Tidegate, counting"
    }

    #[inline]
    fn check(&self, Asked { flag, .. }: Asked<'_>, person: usize) -> usize {
        self.engine.check_and(flag, person, |answer, _| {
            // What the compiler could foresee it would compile twice.
            if black_box(self.counts) {
                self.tally.count(answer.cell(), lanes::own());
            }
        })
    }
}

/// The same as the server counts what is asked over HTTP: it knows of many environments.
pub struct OverHttp {
    engine: Arc<Tidegate>,
    exposures: Exposures,
    app: AppKey,
    /// Kept for as long as the same is published.
    counting: exposures::Counting,
    counts: bool,
}

impl OverHttp {
    /// That counts, or passes over it.
    pub fn of(engine: &Arc<Tidegate>, counts: bool) -> OverHttp {
        let exposures = Exposures::in_memory(UnixMs(coarse_ms()));
        let app = AppKey::new("shop").expect("a key");
        let published = engine.published.load();
        let EnvironmentFlags { key, flags, .. } = &published.environment;
        let counting = exposures.counting(&app, key, flags);
        OverHttp { engine: Arc::clone(engine), exposures, app, counting, counts }
    }

    /// How many answers of a flag were counted.
    pub fn counted(&self, Asked { flag, .. }: Asked<'_>) -> u64 {
        let clock = Clock::system();
        self.exposures.collect(None, &Snapshot::default(), &clock);
        let flag = FlagKey::new(flag).expect("a key");
        let place = exposures::place(&self.app, &self.engine.published.load().environment.key, &flag);
        self.exposures.read(&place, |sums, _| {
            let hours =
                sums.iter().flat_map(|sums| sums.answers()).flat_map(|answer| answer.hours(clock.now()));
            hours.map(|(_, count)| count).sum()
        })
    }
}

impl Engine for OverHttp {
    fn name(&self) -> &'static str {
        "Tidegate, counting over HTTP"
    }

    #[inline]
    fn check(&self, Asked { flag, .. }: Asked<'_>, person: usize) -> usize {
        self.engine.check_and(flag, person, |answer, _| {
            if black_box(self.counts) {
                self.counting.count_asked(answer);
            }
        })
    }
}

/// Everybody who asks, as our engine takes them.
pub(super) fn people_as_contexts() -> Vec<Context> {
    let people = people().into_iter().map(|person| {
        Context::new(&person.user)
            .with("country", person.country)
            .with("appVersion", person.version)
            .with("email", person.email)
    });
    people.collect()
}

/// The name of the list of users.
pub(super) const SEGMENT: &str = "listed";

fn listed() -> SegmentTable {
    let key = SegmentKey::new(SEGMENT).expect("a key");
    let segment = Segment { key: key.clone(), description: String::new(), when: None };
    let members: Vec<Arc<str>> = list().into_iter().map(Arc::from).collect();
    SegmentTable::default().put(segment).change_members(&key, &members, &[])
}

/// What a flag is.
pub(super) fn definition(name: &str, kind: Kind) -> Value {
    let variants = match kind {
        Kind::Rules => json!([
            {"key": "a", "value": 1}, {"key": "b", "value": 2}, {"key": "off", "value": 0},
        ]),
        _ => json!([{"key": "on", "value": true}, {"key": "off", "value": false}]),
    };
    let kind = if kind == Kind::Rules { "number" } else { "boolean" };
    json!({"key": name, "type": kind, "variants": variants, "off_variant": "off", "created_at": 0})
}

/// How it stands.
pub(super) fn state(kind: Kind) -> Value {
    let half = |id: &str| {
        let weights = json!([{"variant": "a", "weight": 1}, {"variant": "b", "weight": 1}]);
        json!({"split": {"id": id, "weights": weights}})
    };
    let test = |attribute: &str, op: &str, values: Value| {
        json!({"id": attribute, "serve": half(attribute),
               "when": {"attribute": attribute, "op": op, "values": values}})
    };
    let rules = match kind {
        Kind::Off | Kind::Rollout => json!([]),
        Kind::Rules => json!([
            test("country", "in", json!(COUNTRIES)),
            test("appVersion", "semver_gte", json!([VERSION])),
            test("email", "ends_with", json!([SUFFIX])),
        ]),
        Kind::List => json!([
            {"id": "listed", "when": {"segment": SEGMENT}, "serve": {"variant": "on"}},
        ]),
    };
    let (exposure, serve) = match kind {
        Kind::Rollout => (30, "on"),
        _ => (100, "off"),
    };
    json!({
        "targeting": {"on": kind != Kind::Off, "exposure": exposure, "serve": {"variant": serve}, "rules": rules},
        "expires_at": "2099-01-01T00:00:00Z",
        "targeting_revision": 7,
    })
}
