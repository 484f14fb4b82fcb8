//! Holds what the server answers against what it says of itself at `/openapi.json`: status, problem, headers, media
//! type and every member of the body. Whatever a test asks for is looked at, so that the description cannot drift.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::Reply;

static DOCUMENT: LazyLock<Value> = LazyLock::new(tidegate::http::contract::document);
const WHERE: &str = "server/src/http/contract";

/// What is told of a request's operation; nothing if it is none.
fn told(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or("");
    let parts: Vec<&str> = path.split('/').collect();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let fits = |pattern: &str| {
        let names: Vec<&str> = pattern.split('/').collect();
        // The key of a flag to be checked may hold slashes, as the last part.
        let open_end = pattern.starts_with("/ofrep/") && pattern.ends_with('}');
        let same_length = names.len() == parts.len() || (open_end && parts.len() > names.len());
        same_length && names.iter().zip(&parts).all(|(name, part)| name.starts_with('{') || name == part)
    };
    let exact = paths.get(path);
    let found = exact.or_else(|| paths.iter().find(|(pattern, _)| fits(pattern)).map(|(_, place)| place));
    found?.get(method.to_ascii_lowercase())
}

/// Fails if an answer is not one of those that are told of its operation.
#[track_caller]
pub(crate) fn hold(method: &str, path: &str, reply: &Reply) {
    let Some(operation) = told(method, path) else { return };
    let name = format!("{method} {path}");
    let Some(answer) = operation["responses"].get(reply.status.to_string()) else {
        panic!("{name} answered {}, which {WHERE} does not tell: {}", reply.status, reply.text);
    };
    hold_headers(&name, answer, reply);
    let Some(content) = answer.get("content") else {
        assert!(reply.text.is_empty(), "{name}: {WHERE} tells of no body: {}", reply.text);
        return;
    };
    if method == "HEAD" {
        return;
    }
    let media = reply.header("content-type").split(';').next().unwrap_or("").trim().to_owned();
    let Some(form) = content.get(&media) else {
        panic!("{name} answered {} with `{media}`, which {WHERE} does not tell", reply.status);
    };
    if media == "application/problem+json" {
        let problem = reply.json();
        let codes = answer["x-tidegate-problems"].as_array().expect("codes");
        let detail = &problem["detail"];
        assert!(
            codes.contains(&problem["code"]),
            "{name} may answer {}: {WHERE} does not tell; {detail}",
            problem["code"]
        );
    }
    if media.ends_with("json")
        && let Err(wrong) = fits(&form["schema"], &reply.json(), "")
    {
        panic!("{name} answered {}, and {WHERE} tells another form: {wrong}\n{}", reply.status, reply.text);
    }
}

#[track_caller]
fn hold_headers(name: &str, answer: &Value, reply: &Reply) {
    for header in ["ETag", "Location", "Idempotency-Replayed", "Retry-After", "WWW-Authenticate"] {
        let (told, there) = (!answer["headers"][header].is_null(), !reply.header(header).is_empty());
        assert!(
            told || !there,
            "{name} answered {} with `{header}`, which {WHERE} does not tell",
            reply.status
        );
        if matches!(header, "ETag" | "Location" | "WWW-Authenticate") {
            assert!(
                there || !told,
                "{name} answered {} without `{header}`, which {WHERE} tells",
                reply.status
            );
        }
    }
}

/// Whether a value has the form of a schema, as far as types, members, alternatives and constants go. Members that
/// are not told are wrong too, unless any may be there.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(target) = schema["$ref"].as_str() {
        return fits(DOCUMENT.pointer(&target[1..]).expect("a reference within"), value, at);
    }
    if let Some(either) = schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array) {
        let outcomes: Vec<_> = either.iter().map(|one| fits(one, value, at)).collect();
        if outcomes.iter().any(Result::is_ok) {
            return Ok(());
        }
        let reasons: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
        return Err(format!("none of the forms fits at `{at}`: {}", reasons.join("; ")));
    }
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        return Err(format!("`{at}` is {value}, not {constant}"));
    }
    if let Some(list) = schema["enum"].as_array()
        && !list.contains(value)
    {
        return Err(format!("`{at}` is {value}, none of {list:?}"));
    }
    match &schema["type"] {
        Value::String(one) if !is_a(one, value) => return Err(format!("`{at}` is {value}, no {one}")),
        Value::Array(list) if !list.iter().any(|one| is_a(one.as_str().unwrap_or(""), value)) => {
            return Err(format!("`{at}` is {value}, none of {list:?}"));
        }
        _ => {}
    }
    match value {
        Value::Array(list) => {
            let mut each = list.iter().enumerate();
            each.try_for_each(|(index, one)| fits(&schema["items"], one, &format!("{at}/{index}")))
        }
        Value::Object(object) => fits_object(schema, object, at),
        _ => Ok(()),
    }
}

fn fits_object(schema: &Value, object: &Map<String, Value>, at: &str) -> Result<(), String> {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            return Err(format!("`{at}/{name}` is missing"));
        }
    }
    for (name, one) in object {
        let at = format!("{at}/{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(member), _) => fits(member, one, &at)?,
            (None, Value::Object(_)) => fits(&schema["additionalProperties"], one, &at)?,
            (None, Value::Null | Value::Bool(false)) if schema.get("properties").is_some() => {
                return Err(format!("`{at}` is not told"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}
