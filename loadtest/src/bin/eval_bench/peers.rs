//! Other engines with the same flags, people and questions.

use std::collections::HashMap;
use std::sync::Arc;

use eppo_core::eval::get_assignment;
use eppo_core::ufc::UniversalFlagConfig;
use eppo_core::{Attributes, Configuration, SdkMetadata, Str};
use serde_json::{Map, Value, json};
use unleash_types::client_features::{ClientFeatures, Context};
use unleash_yggdrasil::EngineState;

use tidegate_loadtest::in_process::world::{
    COUNTRIES, Engine, Kind, PEOPLE, RULES, SUFFIX, VERSION, flags, list, people,
};

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

impl Engine for Unleash {
    fn name(&self) -> &'static str {
        "Unleash 0.21.7"
    }

    fn check(&self, flag: &str, person: usize) -> usize {
        let context = &self.people[person & (PEOPLE - 1)];
        // A loop asks whether flags are on, as Unleash's own SDKs do.
        if flag == RULES {
            return match self.engine.get_variant(flag, context, &None).name.as_str() {
                "a" => 1,
                "b" => 2,
                _ => 0,
            };
        }
        usize::from(self.engine.is_enabled(flag, context, &None))
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

/// Eppo.
pub(crate) struct Eppo {
    configuration: Configuration,
    people: Vec<(Str, Arc<Attributes>)>,
    now: chrono::DateTime<chrono::Utc>,
}

impl Eppo {
    pub(crate) fn new() -> Eppo {
        let flags: Map<String, Value> =
            flags().into_iter().map(|(name, kind)| (name.clone(), eppo_flag(&name, kind))).collect();
        let config = json!({"createdAt": "2026-01-01T00:00:00.000Z", "format": "SERVER",
                            "environment": {"name": "production"}, "flags": flags});
        let bytes = serde_json::to_vec(&config).expect("JSON");
        let sdk = SdkMetadata { name: "bench", version: "0" };
        let config = UniversalFlagConfig::from_json(sdk, bytes).expect("a configuration");
        let people = people().into_iter().map(|person| {
            let attributes = [
                ("country", person.country.to_owned()),
                ("appVersion", person.version),
                ("email", person.email),
            ];
            let attributes: Attributes =
                attributes.into_iter().map(|(name, text)| (Str::from(name), text.into())).collect();
            (Str::from(person.user), Arc::new(attributes))
        });
        Eppo {
            configuration: Configuration::from_server_response(config, None),
            people: people.collect(),
            now: chrono::Utc::now(),
        }
    }
}

impl Engine for Eppo {
    fn name(&self) -> &'static str {
        "Eppo 10"
    }

    fn check(&self, flag: &str, person: usize) -> usize {
        let (user, attributes) = &self.people[person & (PEOPLE - 1)];
        match get_assignment(Some(&self.configuration), flag, user, attributes, None, self.now) {
            Ok(Some(assignment)) => 1 + usize::from(assignment.value.as_str() == Some("b")),
            _ => 0,
        }
    }
}

fn eppo_flag(name: &str, kind: Kind) -> Value {
    let shards = |start: u32, end: u32| json!([{"salt": name, "ranges": [{"start": start, "end": end}]}]);
    let rule = |key: &str, attribute: &str, operator: &str, value: Value| {
        json!({"key": key, "doLog": false,
               "rules": [{"conditions": [{"attribute": attribute, "operator": operator, "value": value}]}],
               "splits": [{"variationKey": "a", "shards": shards(0, 5_000)},
                          {"variationKey": "b", "shards": shards(5_000, 10_000)}]})
    };
    let allocations = match kind {
        Kind::Off => json!([]),
        Kind::Rollout => json!([{"key": "rollout", "rules": [], "doLog": false,
                                 "splits": [{"variationKey": "a", "shards": shards(0, 3_000)}]}]),
        Kind::Rules => json!([
            rule("1", "country", "ONE_OF", json!(COUNTRIES)),
            rule("2", "appVersion", "GTE", json!(VERSION)),
            rule("3", "email", "MATCHES", json!("@example\\.com$")),
        ]),
        Kind::List => json!([{"key": "list", "doLog": false,
            "rules": [{"conditions": [{"attribute": "id", "operator": "ONE_OF", "value": list()}]}],
            "splits": [{"variationKey": "a", "shards": []}]}]),
    };
    json!({"key": name, "enabled": kind != Kind::Off, "variationType": "STRING", "totalShards": 10_000,
           "variations": {"a": {"key": "a", "value": "a"}, "b": {"key": "b", "value": "b"}},
           "allocations": allocations})
}
