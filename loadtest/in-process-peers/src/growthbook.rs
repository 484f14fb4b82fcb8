//! GrowthBook's SDK for Rust.

use growthbook_rust::client::GrowthBookClientBuilder;
use growthbook_rust::growthbook::GrowthBook as Features;
use growthbook_rust::model_public::GrowthBookAttribute;
use serde_json::{Map, Value, json};

use crate::Library;
use crate::world::{Asked, COUNTRIES, Kind, PEOPLE, VERSION, flags, list, people};

/// The name of the list.
const GROUP: &str = "listed";

/// GrowthBook.
pub(crate) struct GrowthBook {
    features: Features,
    people: Vec<Option<Vec<GrowthBookAttribute>>>,
}

impl GrowthBook {
    pub(crate) fn new() -> GrowthBook {
        let features: Map<String, Value> =
            flags().into_iter().map(|(name, kind)| (name, feature(kind))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let builder =
            GrowthBookClientBuilder::new().features_json(Value::Object(features)).expect("features");
        let client = runtime.block_on(builder.saved_groups(json!({GROUP: list()})).build());
        let features = client.expect("a client").gb.read().expect("nobody panics with it").clone();
        let people = people().into_iter().map(|person| {
            let attributes = json!({"id": person.user, "country": person.country, "appVersion": person.version, "email": person.email});
            Some(GrowthBookAttribute::from(attributes).expect("attributes"))
        });
        GrowthBook { features, people: people.collect() }
    }
}

impl Library for GrowthBook {
    fn name(&self) -> &'static str {
        "growthbook-rust 0.4.0"
    }

    fn says(&self) -> &'static str {
        "what its client holds is asked without the client, which copies all of it for each check; a mail's end is a regular expression"
    }

    fn check(&self, Asked { flag, kind }: Asked<'_>, person: usize) -> usize {
        let result = self.features.check(flag, &self.people[person & (PEOPLE - 1)]);
        match kind {
            Kind::Rules => match result.value.as_str() {
                Some("a") => 1,
                Some("b") => 2,
                _ => 0,
            },
            _ => usize::from(result.on),
        }
    }
}

fn feature(kind: Kind) -> Value {
    let halves = |condition: Value| json!({"condition": condition, "variations": ["a", "b"], "weights": [0.5, 0.5], "coverage": 1.0, "hashAttribute": "id"});
    match kind {
        Kind::Off => json!({"defaultValue": false}),
        Kind::Rollout => {
            json!({"defaultValue": false, "rules": [{"force": true, "coverage": 0.3, "hashAttribute": "id"}]})
        }
        Kind::Rules => json!({"defaultValue": "off", "rules": [
            halves(json!({"country": {"$in": COUNTRIES}})),
            halves(json!({"appVersion": {"$vgte": VERSION}})),
            halves(json!({"email": {"$regex": "@example\\.com$"}})),
        ]}),
        Kind::List => {
            json!({"defaultValue": false, "rules": [{"condition": {"id": {"$inGroup": GROUP}}, "force": true}]})
        }
    }
}
