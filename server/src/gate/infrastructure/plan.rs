//! `terraform show -json PLAN`: what will exist once the plan is applied.
//!
//! What stands in it twice, under `planned_values` and `resource_changes`, has to be the same in both: a plan from which a
//! resource was cut out in one place is caught. Values that Terraform marks as secret are taken out before anything else
//! looks at them, and variables, outputs and the state before are never read. Of the configuration only names are read.
//!
//! Format: Terraform's JSON output format 1 for plans: <https://developer.hashicorp.com/terraform/internals/json-format>.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Plan, Problem, ProblemCode};
use rollout_rules::ids::Digest;
use serde_json::{Map, Value, json};

use super::configuration::Configuration;
use crate::gate::json::{Author, Fault, FaultKind, members};

/// Longest plan, in bytes.
pub const MAX_PLAN_BYTES: usize = 10 * 1024 * 1024;
/// Most resources of a plan, those of modules and those that are only read counted in.
pub const MAX_RESOURCES: usize = 5_000;
/// Most values in what is read of a plan: 5,000 resources of the usual size have half of them.
pub const MAX_PLAN_VALUES: usize = 500_000;
/// How deep a path names where something hidden stands. What lies deeper is named by the path above it.
const MAX_PATH_NAMES: usize = 8;

/// What a plan is read by.
const WANTED: [&str; 6] =
    ["format_version", "planned_values", "resource_changes", "complete", "errored", "configuration"];

/// Reads a plan. One that ended in an error, covers only a part, or has no resource that it manages is a plan of 0
/// resources: it proves nothing, whatever it holds.
pub fn read(piece: Digest, bytes: &[u8]) -> Result<Plan, Problem> {
    if bytes.len() > MAX_PLAN_BYTES {
        return Err(problem(
            ProblemCode::TooLarge,
            "The plan is larger than 10 MiB. Split what it describes.",
        ));
    }
    let mut plan = members(bytes, &WANTED, MAX_PLAN_VALUES).map_err(refused)?;
    check_version(plan.get("format_version"))?;
    let complete =
        plan.get("complete") != Some(&Value::Bool(false)) && plan.get("errored") != Some(&Value::Bool(true));
    let configuration = Configuration::of(plan.remove("configuration"));
    let changes = changes(plan.remove("resource_changes"))?;
    let mut planned = Planned { changes, configuration, resources: Vec::new() };
    if let Some(Value::Object(mut values)) = plan.remove("planned_values") {
        planned.take_module(values.remove("root_module").unwrap_or(Value::Null))?;
    }
    let Planned { changes, resources, .. } = planned;
    if let Some(address) = changes.into_iter().find(|(_, change)| change.stays).map(|(address, _)| address) {
        return Err(problem(
            ProblemCode::Contradictory,
            &format!(
                "The plan changes `{}`, and leaves it out of what is planned. {AS_IT_CAME}",
                cut(&address)
            ),
        ));
    }
    let managed = resources.iter().filter(|resource| resource["mode"] == "managed").count();
    let counted = if complete { u64::try_from(managed).unwrap_or(u64::MAX) } else { 0 };
    let input = json!({ "complete": complete, "resources": resources });
    Ok(Plan { piece, resources: counted, input, verdicts: Vec::new() })
}

const AS_IT_CAME: &str = "Hand it in as `terraform show -json` writes it.";

fn check_version(version: Option<&Value>) -> Result<(), Problem> {
    let Some(Value::String(version)) = version else {
        return Err(malformed("It has no `format_version`, which every plan has"));
    };
    if version.split('.').next() == Some("1") {
        return Ok(());
    }
    Err(problem(
        ProblemCode::UnsupportedVersion,
        &format!(
            "The plan has format {}; formats 1.x are read. Make it with Terraform 1.1 or newer, or with OpenTofu.",
            cut(version)
        ),
    ))
}

/// What `resource_changes` says of a resource.
struct Change {
    /// It will exist.
    stays: bool,
    /// It goes on existing, and is nothing to Terraform any more. Terraform still names it among what is planned.
    forgotten: bool,
    actions: Value,
    after: Value,
    sensitive: Value,
    unknown: Value,
}

fn changes(changes: Option<Value>) -> Result<BTreeMap<String, Change>, Problem> {
    let Some(Value::Array(changes)) = changes else {
        return match changes {
            // Terraform leaves it out if nothing is planned at all.
            None => Ok(BTreeMap::new()),
            Some(_) => Err(malformed("`resource_changes` is not a list")),
        };
    };
    let mut by_address = BTreeMap::new();
    for mut change in changes {
        // What is left of a resource that was replaced, and will be deleted.
        if change.get("deposed").is_some() {
            continue;
        }
        let address = text(&mut change, "address")?;
        let mut change = change.get_mut("change").map(Value::take).unwrap_or_default();
        let actions = change.get_mut("actions").map(Value::take).unwrap_or_default();
        let Value::Array(list) = &actions else {
            return Err(malformed("A resource's change has no `actions`"));
        };
        let stays = list.iter().any(|action| action != "delete" && action != "forget");
        let forgotten = list.iter().all(|action| action == "forget");
        let mut part = |name: &str| change.get_mut(name).map(Value::take).unwrap_or_default();
        let change = Change {
            stays,
            forgotten,
            after: part("after"),
            sensitive: part("after_sensitive"),
            unknown: part("after_unknown"),
            actions,
        };
        if by_address.insert(address.clone(), change).is_some() {
            return Err(problem(
                ProblemCode::Hostile,
                &format!("`{}` is changed twice. {AS_IT_CAME}", cut(&address)),
            ));
        }
    }
    Ok(by_address)
}

/// What is planned, as it is read.
struct Planned {
    changes: BTreeMap<String, Change>,
    configuration: Configuration,
    resources: Vec<Value>,
}

impl Planned {
    /// Takes what a module and the modules in it have planned. The depth is bounded by that of the text.
    fn take_module(&mut self, module: Value) -> Result<(), Problem> {
        let Value::Object(mut module) = module else {
            return if module.is_null() { Ok(()) } else { Err(malformed("A module is not an object")) };
        };
        for resource in list(&mut module, "resources")? {
            if self.resources.len() == MAX_RESOURCES {
                return Err(problem(
                    ProblemCode::TooLarge,
                    "The plan has more than 5,000 resources. Split what it describes into several.",
                ));
            }
            self.take_resource(resource)?;
        }
        for child in list(&mut module, "child_modules")? {
            self.take_module(child)?;
        }
        Ok(())
    }

    fn take_resource(&mut self, mut resource: Value) -> Result<(), Problem> {
        let address = text(&mut resource, "address")?;
        let values = resource.get_mut("values").map(Value::take).unwrap_or_default();
        let marks = resource.get_mut("sensitive_values").map(Value::take).unwrap_or_default();
        let change = self.changes.remove(&address);
        if change.as_ref().is_some_and(|change| change.forgotten && change.after == values) {
            return Ok(());
        }
        // Where all values are known only later, Terraform leaves them out here and writes `{}` there.
        let none = |values: &Value| values.is_null() || values.as_object().is_some_and(Map::is_empty);
        let same = |after: &Value| *after == values || (none(after) && none(&values));
        if change.as_ref().is_some_and(|change| !change.stays || !same(&change.after)) {
            return Err(problem(
                ProblemCode::Contradictory,
                &format!("The plan says two things about `{}`. {AS_IT_CAME}", cut(&address)),
            ));
        }
        let (actions, after_marks, unknown) = match change {
            Some(change) => (change.actions, change.sensitive, change.unknown),
            None => (json!([]), Value::Null, Value::Null),
        };
        let mut paths = BTreeSet::new();
        add_paths(&marks, &mut Vec::new(), &mut paths);
        add_paths(&after_marks, &mut Vec::new(), &mut paths);
        let hidden: Vec<String> = paths.into_iter().collect();
        let mut paths = BTreeSet::new();
        add_paths(&unknown, &mut Vec::new(), &mut paths);
        let later: Vec<String> = paths.into_iter().collect();
        let mut sensitive = marked(&marks);
        sensitive.extend(marked(&after_marks));
        sensitive.sort_unstable();
        sensitive.dedup();
        let values = without(without(values, &marks), &after_marks);
        let awaited = self.configuration.awaited(&address, &unknown);
        let mut unknown = marked(&unknown);
        unknown.sort_unstable();
        let provisioners = self.configuration.provisioners(&address);
        self.resources.push(json!({
            "address": address,
            "mode": text(&mut resource, "mode")?,
            "type": text(&mut resource, "type")?,
            "name": text(&mut resource, "name")?,
            "actions": actions,
            "values": if values.is_object() { values } else { json!({}) },
            "unknown": unknown,
            "sensitive": sensitive,
            "paths": { "unknown": later, "sensitive": hidden },
            "awaited": awaited,
            "provisioners": provisioners,
        }));
        Ok(())
    }
}

/// Adds where marks stand, by the names on the way there; lists are passed through.
fn add_paths<'m>(marks: &'m Value, way: &mut Vec<&'m str>, paths: &mut BTreeSet<String>) {
    match marks {
        Value::Bool(true) => {
            paths.insert(way.join("."));
        }
        Value::Array(marks) => marks.iter().for_each(|marks| add_paths(marks, way, paths)),
        Value::Object(_) if way.len() == MAX_PATH_NAMES && any(marks) => {
            paths.insert(way.join("."));
        }
        Value::Object(marks) if way.len() < MAX_PATH_NAMES => {
            for (name, marks) in marks {
                way.push(name);
                add_paths(marks, way, paths);
                way.pop();
            }
        }
        _ => {}
    }
}

/// The attributes in which a mark stands.
fn marked(marks: &Value) -> Vec<String> {
    let Value::Object(marks) = marks else { return Vec::new() };
    marks.iter().filter(|(_, marks)| any(marks)).map(|(name, _)| name.clone()).collect()
}

/// Whether anything is marked.
pub(super) fn any(marks: &Value) -> bool {
    match marks {
        Value::Bool(marked) => *marked,
        Value::Array(marks) => marks.iter().any(any),
        Value::Object(marks) => marks.values().any(any),
        _ => false,
    }
}

/// The value without what is marked in it; in lists, null stands in its place.
fn without(value: Value, marks: &Value) -> Value {
    match (value, marks) {
        (_, Value::Bool(true)) => Value::Null,
        (Value::Object(mut members), Value::Object(marks)) => {
            for (name, marks) in marks {
                if *marks == Value::Bool(true) {
                    members.remove(name);
                } else if let Some(member) = members.get_mut(name) {
                    *member = without(member.take(), marks);
                }
            }
            Value::Object(members)
        }
        (Value::Array(items), Value::Array(marks)) => {
            let marks = marks.iter().chain(std::iter::repeat(&Value::Null));
            Value::Array(items.into_iter().zip(marks).map(|(item, marks)| without(item, marks)).collect())
        }
        (value, _) => value,
    }
}

fn list(module: &mut Map<String, Value>, name: &str) -> Result<Vec<Value>, Problem> {
    match module.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(malformed(&format!("`{name}` of a module is not a list"))),
    }
}

fn text(object: &mut Value, name: &str) -> Result<String, Problem> {
    match object.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(malformed(&format!("A resource has no `{name}`"))),
    }
}

fn refused(fault: Fault) -> Problem {
    if fault.kind == FaultKind::TooMany {
        return problem(
            ProblemCode::TooLarge,
            "The plan has more than 500,000 values. Split what it describes.",
        );
    }
    fault.problem(Author { what: "The plan", again: AS_IT_CAME })
}

fn malformed(what: &str) -> Problem {
    problem(ProblemCode::Malformed, &format!("{what}: this is not a whole plan. {AS_IT_CAME}"))
}

fn problem(code: ProblemCode, detail: &str) -> Problem {
    Problem { code, detail: detail.to_owned() }
}

/// Names of strangers are shown up to a length, and without what moves a terminal's cursor.
fn cut(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(120).collect()
}
