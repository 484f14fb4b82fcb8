//! What files of Terraform declare, so that it is seen which of them a plan stands for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{DeclaredNames, Listed, MAX_NAMED, whole};

/// What a file declares, if it is one that declares something.
pub(super) fn declared(file: &Listed) -> Option<DeclaredNames> {
    let is_json = [".tf.json", ".tofu.json"].iter().any(|end| file.path.ends_with(end));
    let is_text = [".tf", ".tofu"].iter().any(|end| file.path.ends_with(end));
    let names = match (is_json, is_text) {
        (true, _) => in_json(&whole(file)),
        (false, true) => in_text(&whole(file)),
        (false, false) => return None,
    };
    let names: Vec<String> = names.into_iter().take(MAX_NAMED).collect();
    (!names.is_empty()).then(|| DeclaredNames { path: file.path.clone(), names })
}

/// `resource "aws_s3_bucket" "data" {` and `module "network" {`, each at the start of a line.
fn in_text(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut in_comment = false;
    for line in text.lines().map(str::trim_start) {
        if in_comment || line.starts_with("/*") {
            in_comment = !line.contains("*/");
            continue;
        }
        let mut words = line.split(['"', ' ', '\t', '{']).filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (Some("resource"), Some(kind), Some(name)) => names.insert(format!("{kind}.{name}")),
            (Some("module"), Some(name), _) if line.contains('{') => names.insert(format!("module.{name}")),
            _ => continue,
        };
    }
    names
}

fn in_json(text: &str) -> BTreeSet<String> {
    let file: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    // Terraform takes a list of such objects too.
    fn objects(value: Option<&Value>) -> Vec<&Map<String, Value>> {
        match value {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_object).collect(),
            other => other.and_then(Value::as_object).into_iter().collect(),
        }
    }
    let modules = objects(file.get("module")).into_iter().flat_map(Map::keys);
    let mut names: BTreeSet<String> = modules.map(|name| format!("module.{name}")).collect();
    for (kind, of_kind) in objects(file.get("resource")).into_iter().flatten() {
        let own = objects(Some(of_kind)).into_iter().flat_map(Map::keys);
        names.extend(own.map(|name| format!("{kind}.{name}")));
    }
    names
}
