//! What tells one JSON value from another: which members it has, and what kind of value each is.

use std::collections::BTreeSet;

use serde_json::Value;

/// The paths of what is in a value, each with what kind of value is there. Names that are made up, and what is in
/// values that nobody looks into, make no difference.
pub(crate) fn shapes(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let ends = |names: &[&str]| names.iter().any(|name| path.ends_with(name));
    let tag = match value {
        Value::Object(fields) => {
            let of_any_name = ends(&[".states", ".expires_at"]);
            for (name, field) in fields.iter().filter(|_| !ends(&[".value", ".payload"])) {
                let name = if of_any_name { "*" } else { name.as_str() };
                shapes(field, &format!("{path}.{name}"), found);
            }
            "object".to_owned()
        }
        Value::Array(items) => {
            items.iter().for_each(|item| shapes(item, &format!("{path}[]"), found));
            format!("list of {}", items.len().min(4))
        }
        Value::String(text) if text.is_empty() || ends(&[".kind", ".op", ".do"]) => format!("`{text}`"),
        Value::String(_) => "text".to_owned(),
        Value::Number(number) => format!("number of {}", number.to_string().len().min(20)),
        Value::Bool(_) | Value::Null => value.to_string(),
    };
    found.insert(format!("{path} {tag}"));
}

/// What a text is, as far as conditions can tell: what it could be read as, and whether it is ASCII or long.
pub(crate) fn manner(text: &str) -> String {
    let mut letters: Vec<char> = text.chars().take(24).map(letter).collect();
    letters.dedup();
    letters.into_iter().chain(text.len().min(1_024).next_power_of_two().to_string().chars()).collect()
}

fn letter(c: char) -> char {
    match c {
        '0'..='9' => '0',
        c if c.is_ascii_alphabetic() => 'a',
        c if c.is_ascii() => c,
        _ => 'é',
    }
}
