//! What the server offers, told to programs and people: one description of every operation, made from the types that
//! the handlers read. The routes are in `http/routes.rs`; a test holds the two against each other, so that neither
//! has what the other lacks.
//!
//! To describe a new route, add an [`Operation`](operation::Operation) to the file of its area: who may call it, with
//! what, and each answer. The tests of the HTTP side then hold every answer that they see against it.

mod advice;
mod apps;
mod delivery;
mod document;
mod exposures;
mod flags;
mod governance;
mod looking_back;
mod operation;
pub(super) mod pages;
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
    let areas: [(&'static str, Vec<Operation>); 16] = [
        ("Checks", serving::checks()),
        ("Apps", apps::apps()),
        ("Apps", apps::environments()),
        ("Flags", flags::flags()),
        ("Flags", flags::states()),
        ("Kills", flags::kills()),
        ("Segments", apps::segments()),
        ("Proposals", governance::proposals()),
        ("Tokens", governance::tokens()),
        ("Log", governance::log()),
        ("Flags", looking_back::looking_back()),
        ("Flags", exposures::exposures()),
        ("Kills", delivery::delivery()),
        ("Webhooks", webhooks::webhooks()),
        ("SDKs", serving::sdks()),
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
