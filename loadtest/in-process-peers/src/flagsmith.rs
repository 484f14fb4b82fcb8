//! The engine of Flagsmith's SDKs.

use flagsmith_flag_engine::engine::get_evaluation_result;
use flagsmith_flag_engine::engine_eval::context::EngineEvaluationContext;
use serde_json::{Map, Value, json};

use crate::Library;
use crate::world::{
    Asked, COUNTRIES, IN_LIST, Kind, OFF, PEOPLE, ROLLOUT, RULES, VERSION, list, looped, people,
};

/// Whoever has the loop's environment: it is a copy for each of them.
const FEW: usize = 64;

/// Flagsmith: it evaluates all flags of an environment at once, and takes the person as a part of the environment. So
/// each flag has an environment of its own, of which there is a copy for each person.
pub(crate) struct Flagsmith {
    single: [(&'static str, Vec<EngineEvaluationContext>); 4],
    looped: Vec<EngineEvaluationContext>,
}

impl Flagsmith {
    pub(crate) fn new() -> Flagsmith {
        let single = [OFF, ROLLOUT, RULES, IN_LIST].map(|Asked { flag, kind }| {
            let count = if kind == Kind::List { FEW } else { PEOPLE };
            (flag, environments(&[(flag.to_owned(), kind)], count))
        });
        let all: Vec<(String, Kind)> = looped().collect();
        Flagsmith { single, looped: environments(&all, FEW) }
    }
}

impl Library for Flagsmith {
    fn name(&self) -> &'static str {
        "flagsmith-flag-engine 0.7.0"
    }

    fn says(&self) -> &'static str {
        "each check evaluates a whole environment, which has that flag alone, and the loop's a hundred at once; a mail's end is a regular expression"
    }

    fn check(&self, Asked { flag, kind }: Asked<'_>, person: usize) -> usize {
        let Some((_, people)) = self.single.iter().find(|(name, _)| *name == flag) else { return 0 };
        let result = get_evaluation_result(&people[person % people.len()]);
        let Some(flag) = result.flags.get(flag).filter(|flag| flag.enabled) else { return 0 };
        match kind {
            Kind::Rules => 1 + usize::from(json!(flag.value) == "b"),
            _ => 1,
        }
    }

    fn hundred(&self, _: &[(String, Kind)], person: usize) -> usize {
        let result = get_evaluation_result(&self.looped[person % FEW]);
        result.flags.values().filter(|flag| flag.enabled).count()
    }
}

/// An environment for each of so many people.
fn environments(flags: &[(String, Kind)], count: usize) -> Vec<EngineEvaluationContext> {
    let features: Map<String, Value> =
        flags.iter().map(|(name, _)| (name.clone(), feature(name, None, false))).collect();
    let segments: Map<String, Value> = flags.iter().flat_map(|(name, kind)| segments(name, *kind)).collect();
    let people = people().into_iter().take(count);
    let of_person = people.map(|person| {
        let traits = json!({"country": person.country, "appVersion": person.version, "email": person.email});
        serde_json::from_value(json!({
            "environment": {"key": "production", "name": "production"}, "features": features, "segments": segments,
            "identity": {"identifier": person.user, "key": format!("production_{}", person.user), "traits": traits},
        }))
        .expect("an environment")
    });
    of_person.collect()
}

/// A feature; as an override of a segment it is on.
fn feature(name: &str, priority: Option<f64>, has_halves: bool) -> Value {
    let mut feature = json!({"key": name, "name": name, "enabled": priority.is_some(), "value": "off", "metadata": {"feature_id": 1}});
    if let Some(priority) = priority {
        feature["priority"] = json!(priority);
    }
    if has_halves {
        feature["variants"] = json!([
            {"key": "a", "value": "a", "weight": 50.0, "priority": 1.0},
            {"key": "b", "value": "b", "weight": 50.0, "priority": 2.0},
        ]);
    }
    feature
}

fn segments(flag: &str, kind: Kind) -> Vec<(String, Value)> {
    let segment = |part: &str, priority: f64, property: &str, operator: &str, value: Value| {
        let key = format!("{flag}-{part}");
        let condition = json!({"property": property, "operator": operator, "value": value});
        let segment = json!({
            "key": key, "name": key, "rules": [{"type": "ALL", "conditions": [condition], "rules": []}],
            "overrides": [feature(flag, Some(priority), kind == Kind::Rules)], "metadata": {"source": "api"},
        });
        (key, segment)
    };
    match kind {
        Kind::Off => Vec::new(),
        Kind::Rollout => vec![segment("share", 1.0, "$.identity.key", "PERCENTAGE_SPLIT", json!("30"))],
        Kind::Rules => vec![
            segment("1", 1.0, "country", "IN", json!(COUNTRIES)),
            segment("2", 2.0, "appVersion", "GREATER_THAN_INCLUSIVE", json!(format!("{VERSION}:semver"))),
            segment("3", 3.0, "email", "REGEX", json!("@example\\.com$")),
        ],
        Kind::List => vec![segment("list", 1.0, "$.identity.identifier", "IN", json!(list()))],
    }
}
