//! The core of Eppo's SDKs.

use std::sync::Arc;

use eppo_core::eval::get_assignment;
use eppo_core::ufc::UniversalFlagConfig;
use eppo_core::{Attributes, Configuration, SdkMetadata, Str};
use serde_json::{Map, Value, json};

use crate::Library;
use crate::world::{Asked, COUNTRIES, Kind, PEOPLE, VERSION, flags, list, people};

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

impl Library for Eppo {
    fn name(&self) -> &'static str {
        "eppo_core 10.0.0"
    }

    fn says(&self) -> &'static str {
        "a mail's end is a regular expression"
    }

    fn check(&self, Asked { flag, .. }: Asked<'_>, person: usize) -> usize {
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
