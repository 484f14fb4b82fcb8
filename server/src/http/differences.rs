//! What differs between two states of a flag, part by part, for programs and in words.

use serde::Serialize;
use serde_json::Value;

/// Parts that are compared and told as a whole.
const WHOLE: [&str; 5] = ["when", "serve", "value", "hold", "all"];

/// One part that differs. A part that was not there before, or is not there after, is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where: `environments.live.rules[staff].serve`. Members of lists are named by their id or key.
    pub path: String,
    /// What it was.
    pub before: Value,
    /// What it is.
    pub after: Value,
}

/// What differs, in the order of the parts.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let name = path.rsplit('.').next().unwrap_or(path);
    match (before, after) {
        (Value::Object(one), Value::Object(other)) if !WHOLE.contains(&name) => {
            let gone = one.keys().filter(|key| !other.contains_key(*key));
            for key in one
                .keys()
                .filter(|key| other.contains_key(*key))
                .chain(gone)
                .chain(other.keys().filter(|key| !one.contains_key(*key)))
            {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, &before[key], &after[key], found);
            }
        }
        // A list that is not there is an empty one.
        (Value::Array(_), Value::Array(_) | Value::Null) | (Value::Null, Value::Array(_)) => {
            match (named(before), named(after)) {
                (Some(one), Some(other)) => compare_lists(path, &one, &other, found),
                _ => found.push(whole(path, before, after)),
            }
        }
        _ => found.push(whole(path, before, after)),
    }
}

fn whole(path: &str, before: &Value, after: &Value) -> Difference {
    Difference { path: path.to_owned(), before: before.clone(), after: after.clone() }
}

type Named<'v> = Vec<(&'v str, &'v Value)>;

/// The members of a list by name, if each has one of its own.
fn named(list: &Value) -> Option<Named<'_>> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |member: &'_ Value| {
        ["id", "key", "flag", "variant"].into_iter().find(|name| member[*name].is_string())
    };
    let mut all: Named<'_> = Vec::with_capacity(list.len());
    for member in list {
        let known = member[name(member)?].as_str()?;
        if all.iter().any(|(other, _)| *other == known) {
            return None;
        }
        all.push((known, member));
    }
    Some(all)
}

fn compare_lists(path: &str, before: &Named<'_>, after: &Named<'_>, found: &mut Vec<Difference>) {
    let find = |list: &Named<'_>, name: &str| list.iter().any(|(other, _)| *other == name);
    for (name, member) in before {
        let other = after.iter().find(|(other, _)| other == name).map_or(&Value::Null, |(_, member)| member);
        compare(&format!("{path}[{name}]"), member, other, found);
    }
    for (name, member) in after.iter().filter(|(name, _)| !find(before, name)) {
        compare(&format!("{path}[{name}]"), &Value::Null, member, found);
    }
    // Rules are tried in order: what moved is a difference, though no member changed.
    let stayed = |list: &Named<'_>, other: &Named<'_>| -> Vec<String> {
        list.iter().filter(|(name, _)| find(other, name)).map(|(name, _)| (*name).to_owned()).collect()
    };
    let (was, is) = (stayed(before, after), stayed(after, before));
    if was != is {
        found.push(Difference { path: path.to_owned(), before: was.into(), after: is.into() });
    }
}

impl Difference {
    /// In words: `exposure 10% -> 30%`, `rule staff added`.
    pub fn words(&self) -> String {
        let (head, rest) = self.path.split_once('.').unwrap_or((&self.path, ""));
        let Some((list, name)) = head.strip_suffix(']').and_then(|head| head.split_once('[')) else {
            return self.plain(&self.path);
        };
        let thing = match list {
            "rules" => "rule",
            "targets" => "target list",
            "prerequisites" => "prerequisite",
            "schedule" => "scheduled change",
            "variants" => "variant",
            other => other,
        };
        match (rest, &self.before, &self.after) {
            ("", Value::Null, _) => format!("{thing} {name} added"),
            ("", _, Value::Null) => format!("{thing} {name} removed"),
            ("", _, _) => format!("{thing} {name} changed"),
            (part, _, _) => format!("{thing} {name}: {part} changed"),
        }
    }

    fn plain(&self, name: &str) -> String {
        match (name, &self.before, &self.after) {
            ("on", _, Value::Bool(true)) => "turned on".to_owned(),
            ("on", _, Value::Bool(false)) => "turned off".to_owned(),
            ("exposure", before, after) => format!("exposure {before}% -> {after}%"),
            ("serve", before, after) => format!("serves {} -> {}", serve(before), serve(after)),
            (_, before, after) if is_short(before) && is_short(after) => {
                format!("{name} {} -> {}", short(before), short(after))
            }
            (_, Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
                format!("{name} in another order")
            }
            _ => format!("{name} changed"),
        }
    }
}

fn serve(serve: &Value) -> String {
    match (&serve["variant"], &serve["split"]["weights"]) {
        (Value::String(variant), _) => variant.clone(),
        (_, Value::Array(weights)) => {
            let shares = weights.iter().map(|share| {
                format!("{}={}", share["variant"].as_str().unwrap_or_default(), share["weight"])
            });
            shares.collect::<Vec<_>>().join(",")
        }
        _ => "nothing".to_owned(),
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() <= 60,
        Value::Array(_) | Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: &Value, after: &Value) -> Vec<String> {
        differences(before, after).iter().map(|d| format!("{}: {}", d.path, d.words())).collect()
    }

    #[test]
    fn members_of_lists_are_compared_by_name_and_their_order_counts() {
        let rule =
            |id: &str, variant: &str| json!({"id": id, "when": {"all": []}, "serve": {"variant": variant}});
        let before = json!({"rules": [rule("a", "on"), rule("b", "on"), rule("c", "on")]});
        let after = json!({"rules": [rule("b", "off"), rule("a", "on"), rule("d", "on")]});
        assert_eq!(
            told(&before, &after),
            [
                "rules[b].serve: rule b: serve changed",
                "rules[c]: rule c removed",
                "rules[d]: rule d added",
                "rules: rules in another order",
            ]
        );
        assert!(told(&before, &before).is_empty());
    }

    #[test]
    fn plain_parts_are_told_with_what_they_were_and_are() {
        let before = json!({"on": false, "exposure": 10, "serve": {"variant": "on"}, "owner": ""});
        let after = json!({"on": true, "exposure": 12.5, "owner": "ada", "targets": [{"variant": "on", "units": ["x"]}],
            "serve": {"split": {"id": "s", "weights": [{"variant": "a", "weight": 1}, {"variant": "b", "weight": 2}]}}});
        let mut words: Vec<String> = differences(&before, &after).iter().map(Difference::words).collect();
        words.sort();
        assert_eq!(
            words,
            [
                "exposure 10% -> 12.5%",
                "owner \"\" -> ada",
                "serves on -> a=1,b=2",
                "target list on added",
                "turned on",
            ]
        );
    }
}
