//! What the server offers, told to programs and people: one description of every operation, made from the types that
//! the handlers read. The routes are in `http/routes.rs`; a test holds the two against each other, so that neither
//! has what the other lacks.
//!
//! To describe a new route, add an `Operation` to the file of its area: who may call it, with
//! what, and each answer. The tests of the HTTP side then hold every answer that they see against it.

mod advice;
mod apps;
mod browsers;
mod delivery;
mod document;
mod evaluator;
mod exposures;
mod flags;
mod gate;
mod gate_rules;
mod governance;
mod guardrails;
mod links;
mod looking_back;
mod operation;
mod outcomes;
pub(super) mod pages;
mod releases;
mod rollouts;
mod serving;
mod shapes;
mod views;
mod webhooks;

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;

use self::operation::Operation;

/// All operations, by area.
fn operations() -> Vec<Operation> {
    let areas: [(&'static str, Vec<Operation>); 30] = [
        ("Checks", serving::checks()),
        ("Apps", apps::apps()),
        ("Apps", apps::environments()),
        ("Apps", releases::releases()),
        ("Apps", evaluator::slo()),
        ("Flags", flags::flags()),
        ("Flags", flags::states()),
        ("Kills", flags::kills()),
        ("Segments", apps::segments()),
        ("Proposals", governance::proposals()),
        ("Tokens", governance::tokens()),
        ("Log", governance::log()),
        ("Flags", looking_back::looking_back()),
        ("Flags", exposures::exposures()),
        ("Rollouts", rollouts::rollouts()),
        ("Rollouts", evaluator::verdicts()),
        ("Flags", outcomes::outcomes()),
        ("Kills", delivery::delivery()),
        ("Webhooks", webhooks::webhooks()),
        ("Gate", gate::gate()),
        ("Gate", gate_rules::rules()),
        ("Gate", gate_rules::waivers()),
        ("Guardrails", guardrails::guardrails()),
        ("Guardrails", guardrails::runbook()),
        ("Guardrails", guardrails::effects()),
        ("Guardrails", evaluator::evidence()),
        ("SDKs", serving::sdks()),
        ("SDKs", browsers::pages()),
        ("SDKs", browsers::sdk()),
        ("Server", serving::server()),
    ];
    let tagged = |(tag, area): (&'static str, Vec<Operation>)| {
        area.into_iter().map(move |operation| Operation { tag, ..operation })
    };
    areas.into_iter().flat_map(tagged).collect()
}

/// The description, as OpenAPI 3.1.
pub fn document() -> Value {
    document::document(&operations())
}

/// The same as it is sent. It is made once.
fn sent() -> Bytes {
    static SENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));
    Bytes::clone(&SENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::http::Method;
    use serde_json::json;

    use super::*;
    use crate::http::routes::places;

    /// How a path of the routes is written in the description: names without their patterns.
    fn plain_path(pattern: &str) -> String {
        let mut plain = String::with_capacity(pattern.len());
        for part in pattern.split_inclusive('}') {
            match part.split_once(':') {
                Some((name, _)) if name.contains('{') => plain.extend([name, "}"]),
                _ => plain.push_str(part),
            }
        }
        plain
    }

    /// A route in a few characters: `GET /v1/apps`.
    fn route_name(method: &Method, path: &str) -> String {
        format!("{method} {}", plain_path(path))
    }

    #[test]
    fn every_route_is_described_and_every_description_is_of_a_route() {
        let places = places();
        let routed: BTreeSet<String> = places
            .iter()
            .flat_map(|place| place.methods().map(|method| route_name(method, place.path())))
            .collect();
        let told: Vec<String> =
            operations().iter().map(|operation| route_name(&operation.method, &operation.path)).collect();
        let described: BTreeSet<String> = told.iter().cloned().collect();
        assert_eq!(told.len(), described.len(), "one is described twice");
        let missing: Vec<_> = routed.difference(&described).collect();
        assert!(missing.is_empty(), "not described in server/src/http/contract: {missing:?}");
        let invented: Vec<_> = described.difference(&routed).collect();
        assert!(invented.is_empty(), "described, and no route of server/src/http/routes.rs: {invented:?}");
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_a_title_an_answer_and_somebody_who_may_call_it() {
        let mut names = BTreeSet::new();
        for operation in operations() {
            let name = operation.id.clone();
            assert!(names.insert(operation.id), "{name} twice");
            assert!(!operation.title.is_empty(), "{name} has no title");
            assert!(!operation.answers.is_empty(), "{name} has no answer");
            assert!(!matches!(operation.access, operation::Access::Scopes([])), "nobody may call {name}");
        }
    }

    #[test]
    fn every_group_that_the_page_shows_has_operations_and_every_operation_is_in_one() {
        let document = document();
        let tags = document["tags"].as_array().expect("tags").iter();
        let shown: BTreeSet<&str> = tags.map(|tag| tag["name"].as_str().expect("a name")).collect();
        let operations = operations();
        let used: BTreeSet<&str> = operations.iter().map(|operation| operation.tag).collect();
        assert_eq!(
            used, shown,
            "the page at /docs is made by the tags in server/src/http/contract/document.rs"
        );
    }

    #[test]
    fn every_answer_with_json_has_an_example() {
        let document = document();
        let operations = document["paths"].as_object().expect("paths").values();
        let operations = operations.flat_map(|methods| methods.as_object().expect("methods").values());
        for operation in operations {
            for (status, answer) in operation["responses"].as_object().expect("answers") {
                let forms = answer["content"].as_object().into_iter().flatten();
                for (media, form) in forms.filter(|(media, _)| media.ends_with("json")) {
                    let told = !form["example"].is_null()
                        || form["examples"].as_object().is_some_and(|all| !all.is_empty());
                    assert!(told, "{} {status} {media}", operation["operationId"]);
                }
            }
        }
    }

    #[test]
    fn what_is_made_is_linked_to_all_that_can_be_done_with_it() {
        let document = document();
        let links = |path: &str| document["paths"][path]["post"]["responses"]["201"]["links"].clone();
        let of_flags = links("/v1/apps/{app}/flags");
        let kill = json!({ "path.app": "$request.path.app", "path.flag": "$response.body#/key",
                           "header.If-Match": "$response.header.ETag" });
        assert_eq!(of_flags["kill_flag"], json!({ "operationId": "kill_flag", "parameters": kill }));
        assert_eq!(of_flags["list_flag_history"]["operationId"], "list_flag_history", "{of_flags}");
        let of_proposals = links("/v1/proposals");
        assert_eq!(
            of_proposals["approve_proposal"]["requestBody"],
            json!({ "hash": "$response.body#/hash" })
        );
        for path in ["/v1/apps", "/v1/apps/{app}/environments", "/v1/tokens", "/v1/webhooks"] {
            assert!(links(path).as_object().is_some_and(|links| !links.is_empty()), "{path}");
        }
        assert_eq!(links("/v1/webhooks/{webhook}/rotate"), Value::Null);
    }

    #[test]
    fn every_form_has_a_name_of_its_own() {
        let document = document();
        let names = document["components"]["schemas"].as_object().expect("schemas").keys();
        // Two types of one name get a number each, which generated clients then bear.
        let numbered: Vec<_> =
            names.filter(|name| name.ends_with(|last: char| last.is_ascii_digit())).collect();
        assert!(numbered.is_empty(), "rename one with `schemars(rename = …)`: {numbered:?}");
    }

    #[test]
    fn every_reference_in_the_description_leads_somewhere() {
        let document = document();
        let mut open = vec![&document];
        let mut seen = 0;
        while let Some(value) = open.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').expect("a reference within");
                        assert!(document.pointer(pointer).is_some(), "{target} is nowhere");
                        seen += 1;
                    }
                    open.extend(object.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
        assert!(seen > 100, "only {seen} references");
    }
}
