//! Contexts that are likely to pass the conditions of an entry, made of the conditions themselves: what an entry
//! defines is then reached by somebody.

use rollout_rules::context::Context;
use serde_json::{Map, Value};

/// Contexts that hold what the conditions in a value ask for: the values themselves, and what is beyond them.
pub(crate) fn contexts(value: &Value) -> Vec<Context> {
    let mut exact = Map::new();
    let mut beyond = Map::new();
    note(value, &mut exact, &mut beyond);
    [exact, beyond]
        .iter()
        .filter(|found| !found.is_empty())
        .filter_map(|found| Context::try_from(found).ok())
        .collect()
}

fn note(value: &Value, exact: &mut Map<String, Value>, beyond: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            if let (Some(path), Some(op)) = (fields.get("attribute"), fields.get("op")) {
                let values = fields.get("values").and_then(Value::as_array);
                let first = values.and_then(|values| values.first()).unwrap_or(&Value::Null);
                let last = values.and_then(|values| values.last()).unwrap_or(&Value::Null);
                set(exact, path, passing(op, first));
                set(beyond, path, past(last));
            }
            // The unit of a split, and who is on a list.
            if let Some(Value::String(unit)) = fields.get("unit") {
                set(exact, &Value::from(unit.as_str()), Value::from("tide"));
                set(beyond, &Value::from(unit.as_str()), Value::from(-42));
            }
            if let Some(Value::Array(units)) = fields.get("units") {
                let unit = |unit: Option<&Value>| unit.cloned().unwrap_or_default();
                exact.insert("targetingKey".to_owned(), unit(units.first()));
                beyond.insert("targetingKey".to_owned(), unit(units.last()));
            }
            fields.values().for_each(|field| note(field, exact, beyond));
        }
        Value::Array(items) => items.iter().for_each(|item| note(item, exact, beyond)),
        _ => {}
    }
}

/// What passes a test against a value, or comes near.
fn passing(op: &Value, value: &Value) -> Value {
    match (op.as_str(), value) {
        (Some("exists"), _) => Value::Bool(true),
        // A network's first address.
        (Some("cidr"), Value::String(text)) => Value::from(text.split('/').next().unwrap_or_default()),
        (Some("regex"), Value::String(text)) => Value::from(text.trim_matches(['^', '$', '+', '*'])),
        _ => value.clone(),
    }
}

/// What is larger than a value, as a number or a version is, and a list where it is neither.
fn past(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap_or_default() + 1.0),
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            Value::from(format!("9{text}"))
        }
        other => Value::Array(vec![Value::Null, Value::from("no"), other.clone()]),
    }
}

/// Puts a value where an attribute is looked for.
fn set(context: &mut Map<String, Value>, path: &Value, value: Value) {
    let names: Vec<&str> = match path {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let Some((last, around)) = names.split_last() else { return };
    let mut place = context;
    for name in around {
        let inner = place.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        if !inner.is_object() {
            *inner = Value::Object(Map::new());
        }
        place = inner.as_object_mut().expect("it is one now");
    }
    place.insert((*last).to_owned(), value);
}
