//! Which YAML and JSON files describe infrastructure: templates of CloudFormation and Azure, and manifests of Kubernetes.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Groups of kinds that look like Kubernetes' and tell tools of the developer what to do: nothing is deployed by them.
const NOT_DEPLOYED: [&str; 6] =
    ["backstage.io", "skaffold", "kind.x-k8s.io", "k3d.io", "ctlptl.dev", "kuttl.dev"];

/// Whether it is such a file, by its beginning.
pub(super) fn is_template(head: &str) -> bool {
    match head.trim_start().starts_with('{') {
        true => is_json_template(head),
        false => is_yaml_template(head),
    }
}

fn is_yaml_template(head: &str) -> bool {
    let value = |key: &str| {
        head.lines().find_map(|line| {
            let line = line.trim_start_matches("--- ");
            let rest = line.strip_prefix(key).or_else(|| line.strip_prefix(&format!("\"{key}\"")))?;
            let rest = rest.trim_start().strip_prefix(':')?;
            Some(rest.split(" #").next().unwrap_or(rest).trim().trim_matches(['"', '\'']))
        })
    };
    value("AWSTemplateFormatVersion").is_some()
        || value("Transform").is_some() && head.contains("AWS::Serverless")
        || is_manifest(value("apiVersion"), value("kind"))
}

fn is_json_template(head: &str) -> bool {
    // Of a file that is longer than its head, or that is not JSON, the members before the break are known.
    let members = first_members(head);
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    members.contains_key("AWSTemplateFormatVersion")
        || text("Transform").is_some_and(|transform| transform.contains("AWS::Serverless"))
        || text("$schema").is_some_and(|schema| {
            schema.contains("schema.management.azure.com") && schema.contains("eploymentTemplate.json")
        })
        || is_manifest(text("apiVersion"), text("kind"))
}

/// `apps/v1` and `Deployment`: any other file may have something of these names.
fn is_manifest(version: Option<&str>, kind: Option<&str>) -> bool {
    let (Some(version), Some(kind)) = (version, kind) else { return false };
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    // Templates of Helm fill it in: `{{ include "app.version" . }}`.
    let is_version = version.contains("{{")
        || version.strip_prefix('v').and_then(|rest| rest.chars().next()).is_some_and(|c| c.is_ascii_digit());
    let is_kind = kind.starts_with(|c: char| c.is_ascii_uppercase()) && !kind.contains(['#', ' ', '/']);
    is_version && is_kind && !NOT_DEPLOYED.contains(&group)
}

/// The members of an object, up to where its text ends.
fn first_members(head: &str) -> BTreeMap<String, Value> {
    let mut members = BTreeMap::new();
    let mut rest = head.trim_start().strip_prefix('{').unwrap_or_default();
    loop {
        let Some((key, after)) = next::<String>(rest) else { return members };
        let Some(after) = after.trim_start().strip_prefix(':') else { return members };
        let Some((raw, after)) = next::<&RawValue>(after) else { return members };
        // What is long is no name or version.
        let value = if raw.get().starts_with('"') { serde_json::from_str(raw.get()).ok() } else { None };
        members.insert(key, value.unwrap_or_default());
        let Some(after) = after.trim_start().strip_prefix(',') else { return members };
        rest = after;
    }
}

/// The value that a text begins with, and what comes after it.
fn next<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Option<(T, &'t str)> {
    let mut reader = serde_json::Deserializer::from_str(text).into_iter::<&'t RawValue>();
    let raw = reader.next()?.ok()?;
    let value = T::deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok()?;
    Some((value, text.get(reader.byte_offset()..)?))
}
