//! The app that most tests are about, and whose tokens they use.

use serde_json::{Value, json};

use super::{Reply, Served};

impl Served {
    /// An app `shop` with `live` (production) and `trial` (sandbox).
    #[track_caller]
    pub(crate) fn shop(&self) {
        let environments =
            json!([{"key": "live", "kind": "production"}, {"key": "trial", "kind": "sandbox"}]);
        self.post("/v1/apps", &json!({"key": "shop", "environments": environments})).expect(201);
    }

    /// A boolean flag of the shop that is on for everyone in `live`, in browsers too; gives its revision as `ETag` has it.
    #[track_caller]
    pub(crate) fn flag_on(&self, key: &str) -> String {
        self.flag_on_for(key, "values")
    }

    /// The same, travelling so to browsers.
    #[track_caller]
    pub(crate) fn flag_on_for(&self, key: &str, browser: &str) -> String {
        let made = self.post("/v1/apps/shop/flags", &json!({"key": key, "browser": browser}));
        made.expect(201);
        let path = format!("/v1/apps/shop/flags/{}/environments/live", key.replace('/', "%2F"));
        let patch = json!({"on": true, "exposure": 100, "serve": {"variant": "on"}});
        let changed = self.patch(&path, made.header("etag"), &patch);
        changed.expect(200);
        changed.header("etag").to_owned()
    }

    /// A token bound to the shop's `live`; one for browsers is for any page.
    #[track_caller]
    pub(crate) fn token(&self, scope: &str) -> String {
        let mut wanted = json!({"scope": scope, "app": "shop", "environment": "live"});
        if scope == "sdk-browser" {
            wanted["origins"] = json!(["*"]);
        }
        self.secret_of(&wanted)
    }

    /// A browser's key for pages of these origins.
    #[track_caller]
    pub(crate) fn page_key(&self, origins: &[&str]) -> String {
        self.secret_of(
            &json!({"scope": "sdk-browser", "app": "shop", "environment": "live", "origins": origins}),
        )
    }

    #[track_caller]
    fn secret_of(&self, wanted: &Value) -> String {
        self.post("/v1/tokens", wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
    }

    /// Evaluates a flag over OFREP.
    pub(crate) fn check(&self, token: &str, key: &str, context: &Value) -> Reply {
        let path = format!("/ofrep/v1/evaluate/flags/{key}");
        self.call(token, "POST", &path, &[], &json!({ "context": context }))
    }
}
