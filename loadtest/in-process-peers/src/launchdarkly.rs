//! The evaluation of LaunchDarkly's server SDK.

use std::collections::HashMap;

use launchdarkly_server_sdk_evaluation::{
    Context, ContextBuilder, Flag, FlagValue, Segment, Store, evaluate,
};
use serde_json::{Value, json};

use crate::Library;
use crate::world::{Asked, COUNTRIES, Kind, PEOPLE, SUFFIX, flags, list, people};

/// What it says instead of "at least 2.5.0", for which it has no operator: above whatever is below that.
const BELOW_VERSION: &str = "2.5.0-0";

struct Flags(HashMap<String, Flag>);

impl Store for Flags {
    fn flag(&self, key: &str) -> Option<Flag> {
        self.0.get(key).cloned()
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

/// LaunchDarkly.
pub(crate) struct LaunchDarkly {
    flags: Flags,
    people: Vec<Context>,
}

impl LaunchDarkly {
    pub(crate) fn new() -> LaunchDarkly {
        let flags = flags().into_iter().map(|(name, kind)| (name.clone(), flag(&name, kind))).collect();
        let people = people().into_iter().map(|person| {
            let mut context = ContextBuilder::new(person.user);
            context.set_string("country", person.country).set_string("appVersion", person.version);
            context.set_string("email", person.email).build().expect("a context")
        });
        LaunchDarkly { flags: Flags(flags), people: people.collect() }
    }
}

impl Library for LaunchDarkly {
    fn name(&self) -> &'static str {
        "launchdarkly-server-sdk-evaluation 2.2.1"
    }

    fn says(&self) -> &'static str {
        "evaluate alone, after a look-up in a map; the list is one of individual targets"
    }

    fn check(&self, Asked { flag, .. }: Asked<'_>, person: usize) -> usize {
        let Some(flag) = self.flags.0.get(flag) else { return 0 };
        match evaluate(&self.flags, flag, &self.people[person & (PEOPLE - 1)], None).value {
            Some(FlagValue::Bool(on)) => usize::from(*on),
            Some(FlagValue::Str(half)) => ["off", "a", "b"].iter().position(|one| one == half).unwrap_or(0),
            _ => 0,
        }
    }
}

fn flag(name: &str, kind: Kind) -> Flag {
    let split = |weights: [(u32, u32); 2]| {
        let variations = weights.map(|(variation, weight)| json!({"variation": variation, "weight": weight}));
        json!({"variations": variations})
    };
    let rule = |attribute: &str, operator: &str, values: Value| {
        json!({"id": attribute, "trackEvents": false, "rollout": split([(1, 50_000), (2, 50_000)]), "clauses": [
            {"attribute": attribute, "contextKind": "user", "op": operator, "values": values, "negate": false},
        ]})
    };
    let variations = if kind == Kind::Rules { json!(["off", "a", "b"]) } else { json!([false, true]) };
    let rules = match kind {
        Kind::Rules => json!([
            rule("country", "in", json!(COUNTRIES)),
            rule("appVersion", "semVerGreaterThan", json!([BELOW_VERSION])),
            rule("email", "endsWith", json!([SUFFIX])),
        ]),
        _ => json!([]),
    };
    let otherwise = match kind {
        Kind::Rollout => json!({"rollout": split([(1, 30_000), (0, 70_000)])}),
        _ => json!({"variation": 0}),
    };
    let targets = if kind == Kind::List { json!([{"values": list(), "variation": 1}]) } else { json!([]) };
    let flag = json!({
        "key": name, "version": 1, "on": kind != Kind::Off, "salt": name, "variations": variations, "rules": rules,
        "fallthrough": otherwise, "offVariation": 0, "targets": targets, "contextTargets": [], "prerequisites": [],
        "clientSideAvailability": {"usingMobileKey": true, "usingEnvironmentId": true},
    });
    serde_json::from_value(flag).expect("a flag")
}
