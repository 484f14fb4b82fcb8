//! What the configuration of a plan writes: it tells an attribute that somebody wrote, and whose value is known only later, from
//! one that nobody wrote and the cloud answers.
//!
//! Only names are read: of attributes, of what their expressions refer to, and of provisioners. Values are not.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// What an attribute is made of whose value is known only after the plan is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// Of documents that Terraform puts together, and that stand in the plan themselves.
    Documents,
    /// Of what is handed over from elsewhere: a variable, a local value, a module.
    Elsewhere,
    /// Of other resources.
    Resources,
}

impl Made {
    fn text(self) -> &'static str {
        match self {
            Made::Documents => "documents",
            Made::Elsewhere => "elsewhere",
            Made::Resources => "resources",
        }
    }
}

/// The configuration's resources by their address without the keys of instances.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    by_address: HashMap<String, Written>,
}

#[derive(Debug, Default)]
struct Written {
    expressions: Map<String, Value>,
    provisioners: Vec<&'static str>,
}

impl Configuration {
    /// Reads `configuration`. One that is left out writes nothing that is known.
    pub(super) fn of(configuration: Option<Value>) -> Configuration {
        let mut read = Configuration::default();
        if let Some(Value::Object(mut configuration)) = configuration {
            read.module("", configuration.remove("root_module").unwrap_or_default());
        }
        read
    }

    /// The depth is bounded by that of the text.
    fn module(&mut self, path: &str, mut module: Value) {
        if let Some(Value::Array(resources)) = module.get_mut("resources").map(Value::take) {
            for mut resource in resources {
                let Some(address) = resource.get("address").and_then(Value::as_str) else { continue };
                let address = format!("{path}{address}");
                let provisioners = provisioners(&resource);
                let expressions = match resource.get_mut("expressions").map(Value::take) {
                    Some(Value::Object(expressions)) => expressions,
                    _ => Map::new(),
                };
                self.by_address.insert(address, Written { expressions, provisioners });
            }
        }
        if let Some(Value::Object(calls)) = module.get_mut("module_calls").map(Value::take) {
            for (name, mut call) in calls {
                let module = call.get_mut("module").map(Value::take).unwrap_or_default();
                self.module(&format!("{path}module.{name}."), module);
            }
        }
    }

    /// Of a resource's attributes that are not known yet, those that somebody wrote, and what each is made of. One that cannot
    /// be found in the configuration counts as written.
    pub(super) fn awaited(&self, address: &str, unknown: &Value) -> Value {
        let Value::Object(unknown) = unknown else { return json!({}) };
        let written = self.by_address.get(&without_keys(address));
        let made = |name: &str, marks: &Value| match written {
            None => Some(Made::Resources),
            Some(written) => match written.expressions.get(name) {
                Some(expression) => Some(made_of(expression)),
                // A block that is made by `dynamic` is left out of the configuration, and has marks of its own.
                None => (*marks != Value::Bool(true)).then_some(Made::Elsewhere),
            },
        };
        let marked = unknown.iter().filter(|(_, marks)| super::plan::any(marks));
        let made = marked.filter_map(|(name, marks)| Some((name.clone(), json!(made(name, marks)?.text()))));
        Value::Object(made.collect())
    }

    /// The kinds of commands that are run once a resource is made.
    pub(super) fn provisioners(&self, address: &str) -> &[&'static str] {
        self.by_address.get(&without_keys(address)).map_or(&[], |written| &written.provisioners)
    }
}

fn provisioners(resource: &Value) -> Vec<&'static str> {
    let named = |kind: &str| {
        let of = |provisioner: &Value| provisioner.get("type").and_then(Value::as_str) == Some(kind);
        resource.get("provisioners").and_then(Value::as_array).is_some_and(|all| all.iter().any(of))
    };
    ["local-exec", "remote-exec"].into_iter().filter(|kind| named(kind)).collect()
}

fn made_of(expression: &Value) -> Made {
    let mut names = Vec::new();
    references(expression, &mut names);
    let begins = |name: &&str, with: &[&str]| with.iter().any(|with| name.starts_with(with));
    if names.iter().any(|name| begins(name, &["var.", "local.", "module.", "each."])) {
        return Made::Elsewhere;
    }
    let documents = names.iter().all(|name| begins(name, &["data.aws_iam_policy_document.", "count."]));
    if documents && names.iter().any(|name| name.starts_with("data.")) {
        Made::Documents
    } else {
        Made::Resources
    }
}

fn references<'e>(expression: &'e Value, names: &mut Vec<&'e str>) {
    match expression {
        Value::Object(members) => {
            if let Some(Value::Array(here)) = members.get("references") {
                names.extend(here.iter().filter_map(Value::as_str));
            }
            members.values().for_each(|member| references(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// `module.m["a"].aws_x.y[0]` as `module.m.aws_x.y`: the configuration writes each once.
fn without_keys(address: &str) -> String {
    let (mut bare, mut is_key, mut is_text, mut is_escaped) = (String::new(), false, false, false);
    for c in address.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' if is_key => is_text = !is_text,
            ']' if is_key && !is_text => is_key = false,
            _ if is_key => {}
            '[' => is_key = true,
            c => bare.push(c),
        }
    }
    bare
}
