//! Where to go on from an answer: what an operation has made is named in it, and all that can be done with that is
//! linked. People read it at the operation; programs that try one request after another follow it.

use actix_web::http::Method;
use serde_json::{Map, Value, json};

use super::operation::Operation;

/// The links of a creating operation's answer, by the operations that they lead to.
pub(super) fn links(made_by: &Operation, all: &[Operation]) -> Map<String, Value> {
    let of_what_is_made = |next: &&Operation| {
        let below = next.path.strip_prefix(&made_by.path).and_then(|rest| rest.strip_prefix("/{"));
        below.is_some_and(|rest| !rest.contains('{'))
    };
    let next = all.iter().filter(|_| made_by.method == Method::POST).filter(of_what_is_made);
    next.map(|next| (next.id.clone(), link(made_by, next))).collect()
}

fn link(made_by: &Operation, next: &Operation) -> Value {
    let known = names(&made_by.path);
    let mut parameters: Map<String, Value> = names(&next.path)
        .into_iter()
        .map(|name| {
            let source = match name {
                _ if known.contains(&name) => format!("$request.path.{name}"),
                "app" | "environment" | "flag" => "$response.body#/key".to_owned(),
                "job" | "channel" => "$response.body#/name".to_owned(),
                "waiver" => "$response.body#/waiver/id".to_owned(),
                _ => "$response.body#/id".to_owned(),
            };
            (format!("path.{name}"), source.into())
        })
        .collect();
    let made = made_by.answers.iter().find(|answer| answer.status == 201);
    let has_revision = made.is_some_and(|made| made.headers.contains(&"ETag"));
    if has_revision && next.parameters.iter().any(|parameter| parameter.name == "If-Match") {
        parameters.insert("header.If-Match".to_owned(), "$response.header.ETag".into());
    }
    let mut link = json!({ "operationId": next.id, "parameters": parameters });
    // What is settled is settled as it was shown.
    if next.body.as_ref().is_some_and(|body| body.example.get("hash").is_some()) {
        link["requestBody"] = json!({ "hash": "$response.body#/hash" });
    }
    link
}

/// What a path names.
fn names(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}
