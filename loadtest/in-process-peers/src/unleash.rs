//! The engine of Unleash's SDKs.

use std::collections::HashMap;

use serde_json::{Value, json};
use unleash_types::client_features::{ClientFeatures, Context};
use unleash_yggdrasil::EngineState;

use crate::Library;
use crate::world::{Asked, COUNTRIES, Kind, PEOPLE, SUFFIX, VERSION, flags, list, people};

/// Unleash.
pub(crate) struct Unleash {
    engine: EngineState,
    people: Vec<Context>,
}

impl Unleash {
    pub(crate) fn new() -> Unleash {
        let features: Vec<Value> = flags().iter().map(|(name, kind)| unleash_flag(name, *kind)).collect();
        let features: ClientFeatures =
            serde_json::from_value(json!({"version": 2, "features": features})).expect("features");
        let engine = EngineState::default();
        assert!(engine.apply_client_features(features).is_none(), "Unleash takes all flags");
        let people = people().into_iter().map(|person| Context {
            user_id: Some(person.user),
            properties: Some(HashMap::from([
                ("country".to_owned(), person.country.to_owned()),
                ("appVersion".to_owned(), person.version),
                ("email".to_owned(), person.email),
            ])),
            ..Context::default()
        });
        Unleash { engine, people: people.collect() }
    }
}

impl Library for Unleash {
    fn name(&self) -> &'static str {
        "unleash-yggdrasil 0.21.7"
    }

    fn says(&self) -> &'static str {
        "is_enabled, and get_variant of one with rules; in the loop is_enabled, as its own SDKs ask"
    }

    fn check(&self, Asked { flag, kind }: Asked<'_>, person: usize) -> usize {
        let context = &self.people[person & (PEOPLE - 1)];
        if kind == Kind::Rules {
            return match self.engine.get_variant(flag, context, &None).name.as_str() {
                "a" => 1,
                "b" => 2,
                _ => 0,
            };
        }
        usize::from(self.engine.is_enabled(flag, context, &None))
    }

    fn hundred(&self, all: &[(String, Kind)], person: usize) -> usize {
        // A loop asks whether flags are on, as its own SDKs do.
        let context = &self.people[person & (PEOPLE - 1)];
        all.iter().filter(|(flag, _)| self.engine.is_enabled(flag, context, &None)).count()
    }
}

fn unleash_flag(name: &str, kind: Kind) -> Value {
    let rollout = |percent: &str| {
        json!({"name": "flexibleRollout",
               "parameters": {"rollout": percent, "stickiness": "userId", "groupId": name}})
    };
    let rule = |context: &str, operator: &str, key: &str, value: Value| {
        let mut strategy = rollout("100");
        strategy["constraints"] = json!([{"contextName": context, "operator": operator, key: value}]);
        strategy["variants"] = json!([
            {"name": "a", "weight": 500, "stickiness": "userId"},
            {"name": "b", "weight": 500, "stickiness": "userId"},
        ]);
        strategy
    };
    let strategies = match kind {
        Kind::Off => json!([rollout("100")]),
        Kind::Rollout => json!([rollout("30")]),
        Kind::Rules => json!([
            rule("country", "IN", "values", json!(COUNTRIES)),
            rule("appVersion", "SEMVER_GTE", "value", json!(VERSION)),
            rule("email", "STR_ENDS_WITH", "values", json!([SUFFIX])),
        ]),
        Kind::List => json!([{"name": "default", "constraints": [
            {"contextName": "userId", "operator": "IN", "values": list()},
        ]}]),
    };
    json!({"name": name, "enabled": kind != Kind::Off, "strategies": strategies})
}
