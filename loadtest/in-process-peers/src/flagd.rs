//! The engine of flagd's providers.

use std::collections::HashMap;

use flagd_evaluation_engine::{FeatureFlag, FlagParser, Operator};
use open_feature::EvaluationContext;
use serde_json::{Map, Value, json};

use crate::Library;
use crate::world::{Asked, COUNTRIES, Kind, PEOPLE, SUFFIX, VERSION, flags, list, people};

/// flagd.
pub(crate) struct Flagd {
    operator: Operator,
    flags: HashMap<String, FeatureFlag>,
    people: Vec<EvaluationContext>,
}

impl Flagd {
    pub(crate) fn new() -> Flagd {
        let flags: Map<String, Value> =
            flags().into_iter().map(|(name, kind)| (name.clone(), flag(&name, kind))).collect();
        let parsed = FlagParser::parse_string(&json!({"flags": flags}).to_string()).expect("flags");
        let people = people().into_iter().map(|person| {
            EvaluationContext::default()
                .with_targeting_key(person.user)
                .with_custom_field("country", person.country)
                .with_custom_field("appVersion", person.version)
                .with_custom_field("email", person.email)
        });
        Flagd { operator: Operator::new(), flags: parsed.flags, people: people.collect() }
    }
}

impl Library for Flagd {
    fn name(&self) -> &'static str {
        "flagd-evaluation-engine 0.1.0"
    }

    fn says(&self) -> &'static str {
        "the engine alone, without the provider around it; it takes rules as text, and reads them at each check"
    }

    fn check(&self, Asked { flag: name, .. }: Asked<'_>, person: usize) -> usize {
        let Some(flag) = self.flags.get(name) else { return 0 };
        let context = &self.people[person & (PEOPLE - 1)];
        let variant = match flag.targeting {
            None => Some(flag.default_variant.clone()),
            Some(_) => self.operator.apply(name, &flag.get_targeting(), context).ok().flatten(),
        };
        match variant.as_deref() {
            Some("on" | "a") => 1,
            Some("b") => 2,
            _ => 0,
        }
    }
}

fn flag(name: &str, kind: Kind) -> Value {
    let split = |one: &str, share: u32, other: &str, rest: u32| json!({"fractional": [{"cat": [{"var": "targetingKey"}, name]}, [one, share], [other, rest]]});
    let variants = if kind == Kind::Rules {
        json!({"a": 1, "b": 2, "off": 0})
    } else {
        json!({"on": true, "off": false})
    };
    let halves = || split("a", 50, "b", 50);
    let targeting = match kind {
        Kind::Off => None,
        Kind::Rollout => Some(split("on", 30, "off", 70)),
        Kind::Rules => Some(json!({"if": [
            {"in": [{"var": "country"}, COUNTRIES]}, halves(),
            {"sem_ver": [{"var": "appVersion"}, ">=", VERSION]}, halves(),
            {"ends_with": [{"var": "email"}, SUFFIX]}, halves(),
            "off",
        ]})),
        Kind::List => Some(json!({"if": [{"in": [{"var": "targetingKey"}, list()]}, "on", "off"]})),
    };
    let mut flag = json!({"state": "ENABLED", "variants": variants, "defaultVariant": "off"});
    if let Some(targeting) = targeting {
        flag["targeting"] = targeting;
    }
    flag
}
