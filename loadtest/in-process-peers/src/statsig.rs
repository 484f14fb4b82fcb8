//! Statsig's server SDK for Rust.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use statsig_rust::networking::ResponseData;
use statsig_rust::{
    FeatureGateEvaluationOptions, SpecsAdapter, SpecsSource, SpecsUpdate, SpecsUpdateListener, Statsig,
    StatsigErr, StatsigOptions, StatsigRuntime, StatsigUser, StatsigUserBuilder,
};

use crate::Library;
use crate::world::{Asked, COUNTRIES, Kind, PEOPLE, SUFFIX, VERSION, flags, list, people};

/// When its flags were made, in milliseconds; any time is as good.
const MADE_MS: u64 = 1_700_000_000_000;

/// Hands it its flags, once.
struct InMemory {
    specs: Vec<u8>,
    listener: RwLock<Option<Arc<dyn SpecsUpdateListener>>>,
}

#[async_trait]
impl SpecsAdapter for InMemory {
    fn initialize(&self, listener: Arc<dyn SpecsUpdateListener>) {
        *self.listener.write().expect("nobody panics with it") = Some(listener);
    }

    async fn start(self: Arc<Self>, _: &Arc<StatsigRuntime>) -> Result<(), StatsigErr> {
        let data = ResponseData::from_bytes(self.specs.clone());
        let update =
            SpecsUpdate { data, source: SpecsSource::Bootstrap, received_at: MADE_MS, source_api: None };
        let listener = self.listener.read().expect("nobody panics with it").clone();
        listener.expect("it is given one before").did_receive_specs_update(update)
    }

    async fn schedule_background_sync(self: Arc<Self>, _: &Arc<StatsigRuntime>) -> Result<(), StatsigErr> {
        Ok(())
    }

    async fn shutdown(&self, _: Duration, _: &Arc<StatsigRuntime>) -> Result<(), StatsigErr> {
        Ok(())
    }

    fn get_type_name(&self) -> String {
        "InMemory".to_owned()
    }
}

/// Statsig.
pub(crate) struct StatsigGates {
    statsig: Statsig,
    people: Vec<StatsigUser>,
    // What it runs on.
    _runtime: tokio::runtime::Runtime,
}

impl StatsigGates {
    pub(crate) fn new() -> StatsigGates {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let specs = serde_json::to_vec(&specs()).expect("JSON");
        let mut options = StatsigOptions::new();
        options.specs_adapter = Some(Arc::new(InMemory { specs, listener: RwLock::new(None) }));
        options.disable_network = Some(true);
        options.disable_all_logging = Some(true);
        options.disable_country_lookup = Some(true);
        options.disable_disk_access = Some(true);
        let statsig = Statsig::new("secret-none", Some(Arc::new(options)));
        runtime.block_on(statsig.initialize()).expect("it takes its flags");
        let people = people().into_iter().map(|person| {
            StatsigUserBuilder::new_with_user_id(person.user)
                .country(Some(person.country.to_owned()))
                .app_version(Some(person.version))
                .email(Some(person.email))
                .build()
        });
        StatsigGates { statsig, people: people.collect(), _runtime: runtime }
    }
}

impl Library for StatsigGates {
    fn name(&self) -> &'static str {
        "statsig-rust 0.12.1"
    }

    fn says(&self) -> &'static str {
        "gates, without its log of exposures: one with rules is passed by one half, and not by the other"
    }

    fn check(&self, Asked { flag, kind }: Asked<'_>, person: usize) -> usize {
        let user = &self.people[person & (PEOPLE - 1)];
        let options = FeatureGateEvaluationOptions { disable_exposure_logging: true, ..Default::default() };
        let passes = self.statsig.check_gate_with_options(user, flag, options);
        match kind {
            Kind::Rules => 1 + usize::from(!passes),
            _ => usize::from(passes),
        }
    }
}

fn specs() -> Value {
    let gates: Map<String, Value> =
        flags().into_iter().map(|(name, kind)| (name.clone(), gate(&name, kind))).collect();
    let condition = |of: &str, operator: &str, field: &str, value: Value| json!({"type": of, "targetValue": value, "operator": operator, "field": field, "additionalValues": {}, "idType": "userID"});
    json!({
        "company_id": "none", "feature_gates": gates, "dynamic_configs": {}, "layer_configs": {},
        "experiment_to_layer": {}, "has_updates": true, "time": MADE_MS, "response_format": "dcs-v2", "id_lists": {},
        "diagnostics": {}, "param_stores": {},
        "condition_map": {
            "everybody": {"type": "public", "targetValue": null, "operator": null, "field": null, "additionalValues": null, "idType": "userID"},
            "country": condition("user_field", "any", "country", json!(COUNTRIES)),
            "version": condition("user_field", "version_gte", "appVersion", json!(VERSION)),
            "email": condition("user_field", "str_ends_with_any", "email", json!([SUFFIX])),
            "listed": condition("unit_id", "any", "userID", json!(list())),
        },
    })
}

fn gate(name: &str, kind: Kind) -> Value {
    let rule = |condition: &str, percent: u32| {
        json!({"name": condition, "groupName": condition, "passPercentage": percent, "returnValue": true, "id": condition,
               "salt": format!("{name}-{condition}"), "conditions": [condition], "idType": "userID"})
    };
    let rules = match kind {
        // It does not look at `enabled`: what is off has no rules.
        Kind::Off => json!([]),
        Kind::Rollout => json!([rule("everybody", 30)]),
        Kind::Rules => json!([rule("country", 50), rule("version", 50), rule("email", 50)]),
        Kind::List => json!([rule("listed", 100)]),
    };
    json!({"type": "feature_gate", "salt": name, "enabled": kind != Kind::Off, "defaultValue": false, "rules": rules,
           "idType": "userID", "entity": "feature_gate", "version": 1})
}
