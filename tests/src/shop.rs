//! One small app with a flag for every way of answering, for the tests of the OpenFeature clients.

use serde_json::{Value, json};

use crate::{Api, Client, Server, ask, encode};

/// The app's key.
pub const APP: &str = "shop";
/// Its environment where users are.
pub const LIVE: &str = "live";

/// A server with the app in it.
pub struct Shop {
    /// The server.
    pub server: Server,
    /// Its API with all rights.
    pub admin: Api,
    /// A token for the server-side clients of the live environment.
    pub server_token: String,
    /// A token for pages of the live environment.
    pub browser_token: String,
}

impl Shop {
    /// Starts a server and makes the app.
    ///
    /// # Panics
    /// When a step is refused.
    #[must_use]
    pub fn open() -> Shop {
        let server = Server::start();
        let admin = server.admin();
        admin.create_app(APP, &[(LIVE, "production"), ("trial", "sandbox")]);
        create_flags(&admin);
        let server_token = admin.create_token("sdk-server", APP, LIVE);
        let browser_token = admin.create_token("sdk-browser", APP, LIVE);
        Shop { server, admin, server_token, browser_token }
    }

    /// Changes a flag in the live environment.
    #[track_caller]
    pub fn set(&self, flag: &str, patch: &Value) -> Value {
        self.admin.set_flag(APP, flag, LIVE, patch)
    }

    /// Kills a flag everywhere.
    #[track_caller]
    pub fn kill(&self, flag: &str) -> Value {
        self.admin.kill_flag(APP, flag)
    }

    /// The path of a flag in the API.
    #[must_use]
    pub fn path(flag: &str) -> String {
        format!("/v1/apps/{APP}/flags/{}", encode(flag))
    }
}

fn create_flags(admin: &Api) {
    let make = |key: &str, kind: &str, variants: Value, off: &str, patch: Value| {
        let flag =
            json!({"key": key, "type": kind, "variants": variants, "off_variant": off, "browser": "values"});
        admin.create_flag(APP, &flag);
        if !patch.is_null() {
            admin.set_flag(APP, key, LIVE, &patch);
        }
    };
    let on_off = || json!([{"key": "off", "value": false}, {"key": "on", "value": true}]);
    let on_for_all = || json!({"on": true, "exposure": 100, "serve": {"variant": "on"}});
    make("checkout", "boolean", on_off(), "off", on_for_all());
    make("dark", "boolean", on_off(), "off", Value::Null);
    make("doomed", "boolean", on_off(), "off", on_for_all());
    make("team/new-search", "boolean", on_off(), "off", on_for_all());
    let premium = json!({"attribute": "plan", "op": "in", "values": ["premium"]});
    make(
        "banner",
        "string",
        json!([{"key": "plain", "value": "Hello"}, {"key": "gold", "value": "Hello, gold"}]),
        "plain",
        json!({"on": true, "exposure": 100, "serve": {"variant": "plain"},
            "rules": [{"id": "premium", "when": premium, "serve": {"variant": "gold"}}],
            "targets": [{"variant": "gold", "units": ["vip"]}]}),
    );
    make(
        "limit",
        "number",
        json!([{"key": "few", "value": 3}, {"key": "many", "value": 300}]),
        "few",
        json!({"on": true, "exposure": 100, "serve": {"variant": "many"}}),
    );
    make(
        "factor",
        "number",
        json!([{"key": "half", "value": 0.5}, {"key": "whole", "value": 2.0}]),
        "half",
        json!({"on": true, "exposure": 100, "serve": {"variant": "whole"}}),
    );
    make(
        "theme",
        "object",
        json!([{"key": "light", "value": {}}, {"key": "dark", "value": theme()}]),
        "light",
        json!({"on": true, "exposure": 100, "serve": {"variant": "dark"}}),
    );
    make(
        "colour",
        "string",
        json!([{"key": "none", "value": "grey"}, {"key": "a", "value": "red"}, {"key": "b", "value": "blue"}]),
        "none",
        json!({"on": true, "exposure": 100, "serve": {"split": {"id": "colours", "control": "a",
            "weights": [{"variant": "a", "weight": 50}, {"variant": "b", "weight": 50}]}}}),
    );
}

/// What the flag `theme` answers.
#[must_use]
pub fn theme() -> Value {
    json!({"background": "black", "scale": 1.5, "columns": 3, "rounded": true, "fonts": ["serif", "mono"]})
}

/// Somebody whom no rule and no list of the shop knows.
#[must_use]
pub fn user() -> Value {
    json!({"targetingKey": "ann"})
}

/// Asks a client for a flag of every type; `factor` is how its language writes a whole float.
///
/// # Panics
/// If a value or a variant is not the shop's.
#[track_caller]
pub fn every_type_arrives(client: &mut Client, factor: &Value) {
    for (key, kind, value, variant) in [
        ("checkout", "boolean", json!(true), "on"),
        ("team/new-search", "boolean", json!(true), "on"),
        ("banner", "string", json!("Hello"), "plain"),
        ("limit", "integer", json!(300), "many"),
        ("factor", "float", factor.clone(), "whole"),
        ("theme", "object", theme(), "dark"),
    ] {
        let details = client.evaluate(ask(key, kind), &user());
        assert_eq!(details["value"], value, "{key}: {details:#}");
        assert_eq!(details["variant"], variant, "{key}: {details:#}");
        assert_eq!(details["errorCode"], Value::Null, "{key}: {details:#}");
    }
}
