//! The description of the API, the pages beside it, and the promise that no route is open to the wrong role.

use crate::http_gate::{self, Part};
use crate::served;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use served::{Reply, Served};

const ROLES: [&str; 7] = ["admin", "operator", "editor", "viewer", "ci", "sdk-server", "sdk-browser"];

fn token(served: &Served, scope: &str) -> String {
    let mut wanted = json!({ "scope": scope, "actor": { "type": "human", "name": format!("the {scope}") } });
    if matches!(scope, "editor" | "ci" | "sdk-server" | "sdk-browser") {
        wanted["app"] = "shop".into();
    }
    if scope.starts_with("sdk") {
        wanted["environment"] = "production".into();
    }
    if scope == "sdk-browser" {
        wanted["origins"] = json!(["*"]);
    }
    served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
}

/// What the examples of the description name: an app with its environments, flags, segments.
fn world() -> Served {
    let served = Served::start();
    let environments =
        json!([{ "key": "production", "kind": "production" }, { "key": "sandbox", "kind": "sandbox" }]);
    served.post("/v1/apps", &json!({ "key": "shop", "environments": environments })).expect(201);
    served.post("/v1/apps/shop/environments", &json!({ "key": "pr-7", "kind": "preview" })).expect(201);
    served.post("/v1/apps/shop/flags", &json!({ "key": "checkout" })).expect(201);
    for under in ["/v1", "/v1/apps/shop"] {
        let path = format!("{under}/segments/staff");
        served.call(&served.admin, "PUT", &path, &[], &json!({})).expect(200);
    }
    served
}

/// One operation, as it is described.
struct Told<'d> {
    method: String,
    path: &'d str,
    it: &'d Value,
}

fn every(document: &Value) -> Vec<Told<'_>> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        methods.map(move |(method, it)| Told { method: method.to_uppercase(), path, it })
    });
    all.collect()
}

impl Told<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn may(&self, role: &str) -> bool {
        self.it["x-tidegate-roles"].as_array().is_some_and(|roles| roles.iter().any(|one| one == role))
    }

    fn needs_a_token(&self) -> bool {
        let schemes = self.it["security"].as_array().expect("security");
        !schemes.is_empty() && !schemes.contains(&json!({}))
    }

    /// The request of its examples, as a role sends it; `proposal` is one that the role may settle.
    fn ask(&self, served: &Served, token: &str, proposal: &Value, revision: &str) -> Reply {
        let mut path = self.path.to_owned();
        for parameter in
            self.it["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path")
        {
            let name = parameter["name"].as_str().expect("a name");
            let value = match name {
                "id" => proposal["id"].as_str().expect("an id"),
                "environment" if self.path.ends_with("{app}/environments/{environment}") => "pr-7",
                _ => parameter["example"].as_str().expect("an example"),
            };
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let names = |name: &str| {
            self.it["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["name"] == name && one["in"] == "query")
        };
        if names("app") && names("environment") {
            path.push_str("?app=shop&environment=production");
        }
        let needed = self.it["parameters"].as_array().into_iter().flatten();
        for parameter in needed.filter(|one| one["in"] == "query" && one["required"] == true) {
            path.push_str(&format!("?{}=1", parameter["name"].as_str().expect("a name")));
        }
        let mut body = self.it["requestBody"]["content"]["application/json"]["example"].clone();
        if self.path.starts_with("/v1/proposals/{id}") && !body["hash"].is_null() {
            body["hash"] = proposal["hash"].clone();
        }
        let form = &self.it["requestBody"]["content"]["multipart/form-data"]["example"]["request"];
        if !form.is_null() {
            let parts = [Part::request(&form.to_string())];
            return http_gate::send(served, token, &path, &parts);
        }
        let extra: &[(&str, &str)] =
            if self.path.contains("{flag}") { &[("If-Match", revision)] } else { &[] };
        served.knock(token, &self.method, &path, extra, &body)
    }
}

/// Whether nobody is let in. A page with a token that is none of ours is told to be opened anew.
fn is_turned_away(told: &Told<'_>, reply: &Reply) -> bool {
    reply.status == 401 || told.path.starts_with("/v1/page/") && reply.status == 410
}

#[test]
fn no_route_is_open_to_the_wrong_role_and_every_one_to_those_that_are_named() {
    let document = tidegate::http::contract::document();
    let operations = every(&document);
    let served = world();
    let tokens: BTreeMap<&str, String> = ROLES.iter().map(|role| (*role, token(&served, role))).collect();
    let flag = served.get("/v1/apps/shop/flags/checkout");
    let revision = flag.header("etag").to_owned();
    let propose = |token: &str| {
        let command = json!({ "do": "set_targeting", "app": "shop", "flag": "checkout", "environment": "production",
                              "exposure": 50 });
        let extra = [("If-Match", revision.as_str())];
        served.call(token, "POST", "/v1/proposals", &extra, &json!({ "command": command })).expect(201)
    };
    let (of_admin, of_ci) = (propose(&served.admin), propose(&tokens["ci"]));
    for told in &operations {
        let name = told.name();
        let nobody = told.ask(&served, "", &of_admin, &revision);
        assert_eq!(
            is_turned_away(told, &nobody),
            told.needs_a_token(),
            "{name} without a token: {}",
            nobody.text
        );
        for role in ROLES.iter().filter(|role| told.needs_a_token() && !told.may(role)) {
            let reply = told.ask(&served, &tokens[role], &of_admin, &revision);
            if told.it["security"][0].get("streamToken").is_some() {
                assert!(is_turned_away(told, &reply), "{name} as {role}: {}", reply.text);
            } else {
                assert_eq!(reply.status, 403, "{name} as {role}: {}", reply.text);
                assert_eq!(reply.json()["code"], "not_allowed", "{name} as {role}");
            }
        }
    }
    // What is open changes the world, so it comes last; the lowest role first, which has the least to fall back on.
    for told in &operations {
        let name = told.name();
        for role in ROLES.iter().rev().filter(|role| told.needs_a_token() && told.may(role)) {
            // A pipeline turns down what it proposed itself.
            let own = name.ends_with("/reject") && *role == "ci";
            let proposal = if own { &of_ci } else { &of_admin };
            let reply = told.ask(&served, &tokens[role], proposal, &revision);
            let refused = reply.status == 403 && reply.text.contains("\"not_allowed\"");
            assert!(!refused && reply.status != 401, "{name} as {role}: {} {}", reply.status, reply.text);
            assert!(
                reply.status != 400 && reply.status < 500,
                "the example of {name}: {} {}",
                reply.status,
                reply.text
            );
        }
    }
}

/// A token that is bound to an app, or to one environment of it.
fn bound_token(served: &Served, scope: &str, app: &str, environment: Option<&str>) -> String {
    let actor = json!({ "type": "human", "name": format!("the {scope}") });
    let mut wanted = json!({ "scope": scope, "actor": actor, "app": app, "environment": environment });
    if scope == "sdk-browser" {
        wanted["origins"] = json!(["*"]);
    }
    served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
}

#[test]
fn no_route_shows_or_changes_what_a_token_is_not_bound_to() {
    let document = tidegate::http::contract::document();
    let served = world();
    served.post("/v1/apps", &json!({ "key": "other" })).expect(201);
    let revision = served.get("/v1/apps/shop/flags/checkout").header("etag").to_owned();
    let command = json!({ "do": "set_targeting", "app": "shop", "flag": "checkout", "environment": "production",
                          "exposure": 50 });
    let body = json!({ "command": command });
    let proposed =
        served.call(&served.admin, "POST", "/v1/proposals", &[("If-Match", revision.as_str())], &body);
    let proposal = proposed.expect(201);
    let kill = json!({ "kill_id": "incident-7", "environment": "production", "reason": "Payments fail" });
    served.post("/v1/apps/shop/flags/checkout/kill", &kill).expect(200);
    let elsewhere = ROLES[1..].iter().map(|role| {
        let environment = role.starts_with("sdk").then_some("production");
        (*role, "other", bound_token(&served, role, "other", environment))
    });
    let beside = ["operator", "editor", "viewer", "ci"];
    let beside = beside.map(|role| (role, "sandbox", bound_token(&served, role, "shop", Some("sandbox"))));
    for (role, place, token) in elsewhere.chain(beside) {
        for told in every(&document).iter().filter(|told| told.needs_a_token()) {
            let reply = told.ask(&served, &token, &proposal, &revision);
            let name = format!("{} as {role} of {place}", told.name());
            let named = match place {
                "other" => told.path.contains("{app}"),
                _ => told.path.contains("{environment}"),
            };
            let closed = named || told.path.contains("{id}") || told.path.contains("{kill_id}");
            if closed {
                assert!(matches!(reply.status, 401 | 403 | 404), "{name}: {} {}", reply.status, reply.text);
            } else if reply.status < 300 && place == "other" {
                // Lists leave out what it may not see.
                assert!(
                    !reply.text.contains("shop") && !reply.text.contains("checkout"),
                    "{name}: {}",
                    reply.text
                );
            } else if reply.status < 300 {
                assert!(!reply.text.contains("incident-7"), "{name}: {}", reply.text);
            }
        }
    }
    let flag = served.get("/v1/apps/shop/flags/checkout");
    let production = flag.expect(200)["environments"]["production"].clone();
    assert_eq!((&production["killed"], &production["exposure"]), (&json!("flag"), &json!(100)));
}

#[test]
fn the_description_is_served_to_everybody_and_names_every_problem_and_its_page() {
    let served = Served::start();
    let sent = served.send("GET", "/openapi.json", &[], "").expect(200);
    assert_eq!(sent["openapi"], "3.1.0");
    assert_eq!(sent, tidegate::http::contract::document());
    for kind in tidegate::http::problem::TABLE {
        let told = &sent["components"]["examples"][kind.code]["value"];
        let page = told["type"].as_str().unwrap_or_else(|| panic!("{} is not told", kind.code)).to_owned();
        let json = served.send("GET", &page, &[], "").expect(200);
        assert_eq!((&json["code"], &json["status"]), (&told["code"], &told["status"]));
        assert!(json["remedy"].as_str().is_some_and(|remedy| remedy.len() > 9), "{json}");
        let headers = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        let html = served.send("GET", &page, &headers, "");
        assert_eq!((html.status, html.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(html.text.contains(kind.code) && html.text.contains("What to do"), "{}", html.text);
    }
    served.send("GET", "/problems/no-such", &[], "").refused(404, "not_found");
}

#[test]
fn the_page_to_read_works_alone_and_lets_nothing_else_in() {
    let served = Served::start();
    let page = served.send("GET", "/docs", &[], "");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let mut parts = vec![page.text.clone()];
    for (path, media) in [("/docs/script.js", "text/javascript"), ("/docs/style.css", "text/css")] {
        assert!(page.text.contains(path), "the page does not use {path}");
        let part = served.send("GET", path, &[], "");
        assert_eq!(part.status, 200);
        assert!(part.header("content-type").starts_with(media), "{path}");
        parts.push(part.text);
    }
    for part in parts {
        assert!(!part.contains("://"), "something comes from elsewhere");
        assert!(
            !part.contains("innerHTML") && !part.contains("style=") && !part.contains("onclick="),
            "not under the policy"
        );
    }
}
