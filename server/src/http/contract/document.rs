//! The description as OpenAPI 3.1, made from the operations.

use std::collections::BTreeMap;

use rollout_rules::governance::Scope;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::advice::advice;
use super::links::links;
use super::operation::{Access, Answer, Body, Files, Operation, Parameter};
use super::{shapes, views};
use crate::http::problem::{self, Kind};
use crate::secret::scope_word;

/// What is said of each group of operations, in the order in which they are shown.
const TAGS: &[(&str, &str)] = &[
    ("Checks", "Flags evaluated over HTTP: OFREP 0.3, for OpenFeature clients."),
    ("Apps", "Apps with owner, tier and budget, and their environments."),
    ("Flags", "Definitions of flags, and what they do in each environment."),
    (
        "Kills",
        "The big switches. A kill needs no revision, may be repeated under its id, and is never refused for load.",
    ),
    ("Rollouts", "A flag raised stage by stage, each held for its own time, by a plan that people wrote."),
    ("Segments", "Reusable sets of users, of an app or shared by all."),
    ("Proposals", "Changes that wait for approvals, or for a human."),
    ("Tokens", "Who may act."),
    ("Log", "Who changed what, when and why."),
    ("Webhooks", "Entries of the log, told to addresses: signed, in order, at least once."),
    (
        "Gate",
        "What a build has to show before its flags may go up in production: evidence comes in, a decision and its receipt go out.",
    ),
    ("Guardrails", "When a rollout is taken back, whom that calls and tells, and what became of it."),
    ("SDKs", "The feed that SDKs follow, what web pages are told, and the browser SDK itself."),
    ("Server", "Health, metrics, and this description."),
];

const ABOUT: &str = "\
Feature flags that are born off, die on a date, and can be killed everywhere in milliseconds.

**Tokens** go in `Authorization: Bearer tg_…` or `X-API-Key: tg_…`. A token has one scope and may be bound to an app and an \
environment; each operation says which scopes may call it.

**Changes** of flags name the revision that was seen, as `ETag` gave it, in `If-Match`, and are refused with 412 `stale` if the flag \
changed since; turning off and killing never need it. `Idempotency-Key` makes a repeated request create once.

**Errors** are problem details (RFC 9457): branch on `code`. Every `type` is an address with a page that says what to do. Under `/ofrep/` \
they have OFREP's own form.

**Lists** come a page at a time: give `next_cursor` back as `cursor`.";

/// The whole description.
pub(super) fn document(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let place = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        let mut shown = told(operation, &mut generator);
        let links = links(operation, operations);
        if let Some(made) = shown.pointer_mut("/responses/201").filter(|_| !links.is_empty()) {
            made["links"] = links.into();
        }
        place[operation.method.as_str().to_ascii_lowercase()] = shown;
    }
    generator.subschema_for::<views::Problem>();
    generator.subschema_for::<views::OfrepFailure>();
    let mut schemas = generator.take_definitions(true);
    shapes::plain(&mut schemas);
    paths.values_mut().for_each(shapes::simplify);
    let examples: Map<String, Value> =
        problem::TABLE.iter().map(|kind| (kind.code.to_owned(), example_of(kind))).collect();
    let tags: Vec<Value> =
        TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A feature-flag and progressive-delivery server",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The server that this was read from" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "examples": examples,
            "headers": headers(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "tg_SCOPE_ID_SECRET" },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "streamToken": {
                    "type": "apiKey", "in": "query", "name": "token",
                    "description": "Short-lived and read-only; a bulk evaluation gives it out in `eventStreams`, an opened page in its addresses.",
                },
            },
        },
    })
}

/// One operation.
fn told(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut about = operation.about.clone();
    if !about.is_empty() {
        about.push_str("\n\n");
    }
    about.push_str(&who(operation.access));
    let mut shown = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.title,
        "description": about,
        "security": security(operation.access),
        "responses": responses(operation, generator),
    });
    if let Access::Scopes(scopes) | Access::OpenOr(scopes) = operation.access {
        shown["x-tidegate-roles"] = scopes.iter().map(|scope| scope_word(*scope)).collect();
    }
    let mut parameters: Vec<Value> = in_path(&operation.path, generator);
    parameters.extend(operation.parameters.iter().map(|parameter| parameter_of(parameter, generator)));
    if !parameters.is_empty() {
        shown["parameters"] = parameters.into();
    }
    if let Some(events) = operation.events {
        shown["x-tidegate-events"] = events(generator).to_value();
    }
    if let Some(body) = &operation.body {
        shown["requestBody"] = body_of(body, generator);
    }
    shown
}

fn body_of(body: &Body, generator: &mut SchemaGenerator) -> Value {
    let (schema, example) = ((body.schema)(generator), &body.example);
    let Some(Files { part, most }) = body.files else {
        let content = json!({ "application/json": { "schema": schema, "example": example } });
        return json!({ "required": body.required, "content": content });
    };
    let file = json!({ "type": "string", "format": "binary" });
    let form = json!({
        "type": "object",
        "properties": { "request": schema, part: { "type": "array", "items": file, "maxItems": most } },
        "required": ["request"],
        "additionalProperties": false,
    });
    json!({
        "required": body.required,
        "content": { "multipart/form-data": {
            "schema": form,
            "example": { "request": example, part: [] },
            "encoding": {
                "request": { "contentType": "application/json" },
                part: { "contentType": "application/octet-stream" },
            },
        } },
    })
}

fn who(access: Access) -> String {
    let words = |scopes: &[Scope]| {
        scopes.iter().map(|scope| format!("`{}`", scope_word(*scope))).collect::<Vec<_>>().join(", ")
    };
    match access {
        Access::Open => "Open to everybody.".to_owned(),
        Access::Scopes(scopes) => format!("Needs a token with the scope {}.", words(scopes)),
        Access::OpenOr(scopes) => {
            format!("Open to whoever the settings let in, else with a token of the scope {}.", words(scopes))
        }
        Access::Signed => {
            "Needs the short-lived token that a bulk evaluation puts into the address.".to_owned()
        }
        Access::Page => "Needs the short-lived token that opening a page puts into the address.".to_owned(),
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Scopes(_) => json!([{ "bearer": [] }, { "apiKey": [] }]),
        Access::OpenOr(_) => json!([{}, { "bearer": [] }, { "apiKey": [] }]),
        Access::Signed | Access::Page => json!([{ "streamToken": [] }]),
    }
}

/// The parameters that a path names.
fn in_path(path: &str, generator: &mut SchemaGenerator) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names
        .map(|name| {
            let (schema, about, example) = views::path_parameter(name);
            json!({
                "name": name, "in": "path", "required": true, "description": about,
                "schema": schema(generator), "example": example,
            })
        })
        .collect()
}

fn parameter_of(parameter: &Parameter, generator: &mut SchemaGenerator) -> Value {
    let schema = match parameter.name {
        "Tidegate-Agent" => json!({
            "type": "string", "pattern": "^model=[^;=]+; tool=[^;=]+; on-behalf-of=[^;=]+$",
            "examples": ["model=m-1; tool=editor; on-behalf-of=ada@example.org"],
        }),
        "Tidegate-Agent-Work" => json!({
            "type": "string", "pattern": "^ *[a-z-]+=[^;]+(; *[a-z-]+=[^;]+)*$",
            "examples": [format!("prompt={}; file=src/cart.py; reviewer=grace", "8b".repeat(32))],
        }),
        "If-Match" => json!({ "type": "string", "pattern": "^\"?[0-9]{1,19}\"?$", "examples": ["\"42\""] }),
        "Idempotency-Key" | "Tidegate-Plan" => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" })
        }
        _ => (parameter.schema)(generator).to_value(),
    };
    json!({
        "name": parameter.name, "in": parameter.place, "required": parameter.required,
        "description": parameter.about, "schema": schema,
    })
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for answer in &operation.answers {
        all.insert(answer.status.to_string(), answer_of(answer, generator));
    }
    let mut by_status: BTreeMap<u16, Vec<&Kind>> = BTreeMap::new();
    for kind in &operation.problems {
        by_status.entry(kind.status).or_default().push(kind);
    }
    let ofrep = operation.path.starts_with("/ofrep/");
    for (status, kinds) in by_status {
        all.insert(status.to_string(), refusal(status, &kinds, ofrep));
    }
    Value::Object(all)
}

fn answer_of(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut headers = answer.headers.clone();
    headers.push("X-Request-ID");
    let mut shown = json!({ "description": answer.about, "headers": named(&headers) });
    if let Some((media, schema, example)) = &answer.content {
        shown["content"] = json!({ *media: { "schema": schema(generator), "example": example } });
        if let Some(also) = answer.also {
            shown["content"][also] = json!({ "schema": { "type": "string" } });
        }
    }
    shown
}

fn refusal(status: u16, kinds: &[&Kind], ofrep: bool) -> Value {
    let mut headers = vec!["X-Request-ID"];
    match status {
        401 => headers.push("WWW-Authenticate"),
        405 => headers.push("Allow"),
        429 | 503 => headers.push("Retry-After"),
        _ => {}
    }
    let lines: Vec<String> =
        kinds.iter().map(|kind| format!("[`{0}`](/problems/{0}): {1}", kind.code, kind.title)).collect();
    let codes: Vec<&str> = kinds.iter().map(|kind| kind.code).collect();
    let content = if ofrep {
        let example = |kind: &&Kind| {
            let about = advice(kind.code).map_or("", |advice| advice.means);
            let body = json!({ "errorCode": problem::ofrep_code(kind), "errorDetails": about });
            (kind.code.to_owned(), json!({ "summary": kind.title, "value": body }))
        };
        let examples: Map<String, Value> = kinds.iter().map(example).collect();
        json!({ "application/json": {
            "schema": { "$ref": "#/components/schemas/OfrepFailure" }, "examples": examples,
        } })
    } else {
        let example = |kind: &&Kind| {
            (kind.code.to_owned(), json!({ "$ref": format!("#/components/examples/{}", kind.code) }))
        };
        let examples: Map<String, Value> = kinds.iter().map(example).collect();
        json!({ "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" }, "examples": examples,
        } })
    };
    json!({
        "description": lines.join("\n\n"),
        "headers": named(&headers),
        "content": content,
        "x-tidegate-problems": codes,
    })
}

fn named(headers: &[&str]) -> Value {
    let shown = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(headers.iter().map(shown).collect())
}

fn headers() -> Value {
    let text = |about: &str, example: &str| json!({ "description": about, "schema": { "type": "string" }, "example": example });
    let number = |about: &str| json!({ "description": about, "schema": { "type": "integer", "minimum": 1 }, "example": 1 });
    json!({
        "ETag": text("The revision of what is shown, for `If-Match`; of a bulk evaluation, for `If-None-Match`.", "\"42\""),
        "Location": text("Where what was made can be found.", "/v1/apps/shop"),
        "Content-Disposition": text("The name of a file to keep it in.", "attachment; filename=\"tidegate-main-42.backup\""),
        "Idempotency-Replayed": text("`true`: an earlier request under the same key made it.", "true"),
        "X-Request-ID": text("The id of the request in the server's log; the caller's own, if it sent one.", "r-1"),
        "Retry-After": number("After how many seconds to try again."),
        "Allow": text("The methods that are offered here.", "GET, POST"),
        "WWW-Authenticate": text("How to show who asks.", "Bearer"),
    })
}

fn example_of(kind: &Kind) -> Value {
    let about = advice(kind.code).map_or("", |advice| advice.means);
    json!({
        "summary": kind.title,
        "value": {
            "type": format!("/problems/{}", kind.code), "title": kind.title, "status": kind.status,
            "detail": about, "code": kind.code,
        },
    })
}
