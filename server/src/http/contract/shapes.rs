//! The schemas in the forms that generators of clients understand. Each means the same as what it stands for.

use serde_json::{Map, Value, json};

/// Rewrites all schemas of the description.
pub(super) fn plain(schemas: &mut Map<String, Value>) {
    name_alternatives(schemas);
    schemas.values_mut().for_each(simplify);
}

/// Gives the objects that a schema chooses from names of their own, after what tells them apart: `ChangeKilled`.
fn name_alternatives(schemas: &mut Map<String, Value>) {
    let mut named = Map::new();
    for (name, schema) in schemas.iter_mut() {
        for choice in ["oneOf", "anyOf"] {
            let Some(Value::Array(alternatives)) = schema.get_mut(choice) else { continue };
            for alternative in alternatives {
                let Some(mark) = mark_of(alternative) else { continue };
                let called = format!("{name}{}", in_capitals(&mark));
                let reference = json!({ "$ref": format!("#/components/schemas/{called}") });
                named.insert(called, std::mem::replace(alternative, reference));
            }
        }
    }
    schemas.extend(named);
}

/// What tells an object from its alternatives: its constant member, else its first.
fn mark_of(alternative: &Value) -> Option<String> {
    let members = alternative.get("properties")?.as_object()?;
    let constant = members.values().find_map(|member| member.get("const")?.as_str());
    constant.or_else(|| members.keys().next().map(String::as_str)).map(str::to_owned)
}

fn in_capitals(snake: &str) -> String {
    let capital = |part: &str| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    snake.split('_').map(capital).collect()
}

/// Rewrites what is inside a schema, or inside anything that holds schemas.
pub(super) fn simplify(within: &mut Value) {
    match within {
        Value::Object(object) => {
            one_list_of_words(object);
            map_by_pattern(object);
            for (name, value) in object.iter_mut() {
                if matches!(name.as_str(), "schema" | "items") && *value == Value::Bool(true) {
                    *value = json!({});
                }
                if name == "properties"
                    && let Value::Object(members) = value
                {
                    let anything = members.values_mut().filter(|one| **one == Value::Bool(true));
                    anything.for_each(|one| *one = json!({}));
                }
                simplify(value);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// Words that are told one by one, each with what it means, become one list of words with what they mean together.
fn one_list_of_words(schema: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = schema.get("oneOf") else { return };
    let (mut words, mut meanings) = (Vec::new(), Vec::new());
    for one in alternatives {
        if one["type"] != "string" {
            return;
        }
        match (&one["const"], one["enum"].as_array()) {
            (Value::String(word), _) => {
                meanings.push(format!("`{word}`: {}", one["description"].as_str().unwrap_or("")));
                words.push(json!(word));
            }
            (_, Some(list)) => words.extend(list.iter().cloned()),
            _ => return,
        }
    }
    let about = schema.get("description").and_then(Value::as_str).unwrap_or("");
    let about = std::iter::once(about.to_owned()).chain(meanings).collect::<Vec<_>>().join("\n\n");
    schema.remove("oneOf");
    schema.insert("type".into(), "string".into());
    schema.insert("enum".into(), words.into());
    schema.insert("description".into(), about.into());
}

/// A map whose keys have one pattern says so of its names, and tells the form of its values as any map does.
fn map_by_pattern(schema: &mut Map<String, Value>) {
    if schema.get("type").and_then(Value::as_str) != Some("object") || schema.contains_key("properties") {
        return;
    }
    let Some(Value::Object(patterns)) = schema.get("patternProperties") else { return };
    let (1, Some((pattern, values))) = (patterns.len(), patterns.iter().next()) else { return };
    let (pattern, values) = (pattern.clone(), values.clone());
    schema.remove("patternProperties");
    schema.insert("propertyNames".into(), json!({ "pattern": pattern }));
    schema.insert("additionalProperties".into(), values);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_get_names_words_one_list_and_maps_the_usual_form() {
        let written = json!({
            "Reach": { "oneOf": [
                { "properties": { "app": true } }, { "properties": { "kind": { "const": "all_of_it" } } },
            ] },
            "Kind": { "description": "What it is.", "oneOf": [
                { "type": "string", "const": "a", "description": "The first." }, { "type": "string", "enum": ["b"] },
            ] },
            "States": { "type": "object", "patternProperties": { "^a$": { "type": "string" } } },
        });
        let Value::Object(mut schemas) = written else { panic!("an object") };
        plain(&mut schemas);
        let meant = json!({
            "Reach": { "oneOf": [
                { "$ref": "#/components/schemas/ReachApp" }, { "$ref": "#/components/schemas/ReachAllOfIt" },
            ] },
            "ReachApp": { "properties": { "app": {} } },
            "ReachAllOfIt": { "properties": { "kind": { "const": "all_of_it" } } },
            "Kind": { "type": "string", "enum": ["a", "b"], "description": "What it is.\n\n`a`: The first." },
            "States": {
                "type": "object", "propertyNames": { "pattern": "^a$" }, "additionalProperties": { "type": "string" },
            },
        });
        assert_eq!(Value::Object(schemas), meant);
    }
}
