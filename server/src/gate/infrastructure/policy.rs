//! The policy: the server's own modules and those of the operator, compiled once, and run over plans.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use regorus::{Engine, LimitError, Value};
use rollout_rules::gate::facts::{Plan, PolicyFinding};
use serde_json::json;

use super::bounded::{TOO_MUCH, bound};
use super::budget::{TIME_LIMIT, TIME_PER_RESOURCE, take_over_time, time_for, took_too_much};
use super::verdict;
use super::vet::{self, Objection};

/// Most modules that an operator adds.
pub const MAX_MODULES: usize = 32;
/// Longest module of an operator, in bytes.
pub const MAX_MODULE_BYTES: usize = 64 * 1024;
/// Most rules of all modules of an operator: each may wait for the next, and has to fit on the stack with it.
pub const MAX_RULES: usize = 500;
/// How long anybody waits for a judgement, by the clock: it may be caught in a single step.
pub const HARD_LIMIT: Duration = Duration::from_secs(10);
/// Of the thread that judges: room for rules that wait for each other.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Where operators' modules stand.
const CUSTOM: &str = "tidegate.infrastructure.custom";
/// How the interpreter says that its time is over; on some of its ways only the words come through.
const OUT_OF_TIME: &str = "execution exceeded time limit";
/// What is asked of the modules.
const QUESTION: &str = "data.tidegate.verdict.found";

/// The server's own modules, by the names that errors give them, with their text in Rego.
pub fn shipped() -> [(&'static str, &'static str); 14] {
    [
        ("plan.rego", include_str!("policies/plan.rego")),
        ("documents.rego", include_str!("policies/documents.rego")),
        ("hidden.rego", include_str!("policies/hidden.rego")),
        ("unjudged.rego", include_str!("policies/unjudged.rego")),
        ("public_aws.rego", include_str!("policies/public_aws.rego")),
        ("public_clouds.rego", include_str!("policies/public_clouds.rego")),
        ("network.rego", include_str!("policies/network.rego")),
        ("privileges.rego", include_str!("policies/privileges.rego")),
        ("privileges_clouds.rego", include_str!("policies/privileges_clouds.rego")),
        ("encryption.rego", include_str!("policies/encryption.rego")),
        ("tags.rego", include_str!("policies/tags.rego")),
        ("machines.rego", include_str!("policies/machines.rego")),
        ("size.rego", include_str!("policies/size.rego")),
        ("fleets.rego", include_str!("policies/fleets.rego")),
    ]
}

/// What an app may have, and where it stands: the part of a policy's input that is not of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The app's tier: 0, 1 or 2.
    pub tier: u8,
    /// Most virtual CPUs of all machines together.
    pub max_vcpus: u32,
    /// Tags that each resource has to have.
    pub required_tags: Vec<String>,
    /// The app's key.
    pub app: String,
    /// The environment's key.
    pub environment: String,
}

/// Why there is no policy, or no judgement. The gate takes it for a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// More modules than [`MAX_MODULES`], or rules than [`MAX_RULES`].
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// Something is wrong with a module.
    Module {
        /// Which.
        module: String,
        /// On which line, from 1; none: with the whole.
        line: Option<u32>,
        /// What, and what to do.
        problem: String,
    },
    /// It took longer than [`TIME_LIMIT`] and what there is for each resource, or than [`HARD_LIMIT`].
    OutOfTime,
    /// It would have made more than a policy may.
    TooMuch {
        /// The module, and the line from 1, if they are known.
        place: Option<(String, u32)>,
    },
    /// An earlier judgement by the same policy is still caught in a step.
    Caught,
    /// A package found something in a shape that is not known.
    Finding {
        /// The package.
        package: String,
        /// Of its `deny`, `warn` or `note`.
        set: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// It could not be run to its end.
    Broken {
        /// What the interpreter says, in one line.
        detail: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyError::TooMany { what, found, most } => {
                write!(f, "the policy has {found} {what}; {most} are the most. Join or drop some")
            }
            PolicyError::Module { module, line: Some(line), problem } => write!(f, "{module}, line {line}: {problem}"),
            PolicyError::Module { module, line: None, problem } => write!(f, "{module}: {problem}"),
            PolicyError::OutOfTime => write!(
                f,
                "the policy was at work over the plan for longer than {} ms, and {} µs for each resource. Look for rules \
                 that go through every pair of resources, or through a long range of numbers",
                TIME_LIMIT.as_millis(),
                TIME_PER_RESOURCE.as_micros()
            ),
            PolicyError::TooMuch { place: Some((module, line)) } => write!(
                f,
                "{module}, line {line}: it {TOO_MUCH}. Make shorter texts and lists, and look through less at a time"
            ),
            PolicyError::TooMuch { place: None } => {
                write!(f, "the policy {TOO_MUCH}. Make shorter texts and lists, and look through less at a time")
            }
            PolicyError::Caught => f.write_str(
                "the policy is caught in a step that does not end. Take the module that was added last away again, \
                 and have its values hold each other less deeply",
            ),
            PolicyError::Finding { package, set, problem } => write!(f, "`{set}` of package {package}: {problem}"),
            PolicyError::Broken { detail } => write!(f, "the policy could not be run: {detail}"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// A compiled policy. Cheap to clone, and to run again and again.
#[derive(Clone, Debug)]
pub struct Policies {
    engine: Engine,
    /// A judgement is caught in a step.
    caught: Arc<AtomicBool>,
}

/// Compiles the server's own modules and those of the operator, each a name and its text.
pub fn compile(extra: &[(String, String)]) -> Result<Policies, PolicyError> {
    if extra.len() > MAX_MODULES {
        return Err(PolicyError::TooMany { what: "modules", found: extra.len(), most: MAX_MODULES });
    }
    for (name, text) in extra {
        if text.len() > MAX_MODULE_BYTES {
            let problem = format!("it is longer than {} KiB. Split it", MAX_MODULE_BYTES / 1024);
            return Err(PolicyError::Module { module: name.clone(), line: None, problem });
        }
    }
    let extra = extra.to_vec();
    on_own_stack(move || build(&extra), || {})
}

impl Policies {
    /// What the policy says of a plan: the worst first, at most [`rollout_rules::gate::facts::MAX_FINDINGS`].
    pub fn judge(&self, plan: &Plan, limits: &Limits) -> Result<Vec<PolicyFinding>, PolicyError> {
        if self.caught.load(Ordering::Acquire) {
            return Err(PolicyError::Caught);
        }
        let mut input = Value::from(plan.input.clone());
        let members = input
            .as_object_mut()
            .map_err(|_| PolicyError::Broken { detail: "the plan is no object".into() })?;
        let limits = json!({
            "app": limits.app, "environment": limits.environment, "tier": limits.tier,
            "limits": { "max_vcpus": limits.max_vcpus, "required_tags": limits.required_tags },
        });
        let limits = Value::from(limits);
        for (name, value) in limits.as_object().into_iter().flat_map(|limits| limits.iter()) {
            members.insert(name.clone(), value.clone());
        }
        let mut engine = self.engine.clone();
        let resources = plan.input.get("resources").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
        engine.set_execution_timer_config(time_for(resources));
        let (caught, over) = (Arc::clone(&self.caught), Arc::clone(&self.caught));
        on_own_stack(
            move || {
                engine.set_input(input);
                let found = engine
                    .eval_rule(QUESTION.to_owned())
                    .map_err(|error| failed(error.downcast_ref(), &error));
                let findings = found.and_then(|found| verdict::read(&found));
                over.store(false, Ordering::Release);
                findings
            },
            move || caught.store(true, Ordering::Release),
        )
    }
}

/// Runs it on a thread of its own: a policy can neither take the stack of others nor keep them waiting.
fn on_own_stack<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PolicyError> + Send + 'static,
    caught: impl FnOnce(),
) -> Result<T, PolicyError> {
    let broken = |detail: &str| PolicyError::Broken { detail: detail.to_owned() };
    let (done, result) = sync_channel(1);
    let thread = thread::Builder::new().name("gate-policy".to_owned()).stack_size(STACK_BYTES);
    thread
        .spawn(move || {
            // Nobody waits any more: nothing is to be told.
            let _ = done.send(work());
        })
        .map_err(|_| broken("there is no room for a thread to run it on"))?;
    match result.recv_timeout(HARD_LIMIT) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            caught();
            Err(PolicyError::OutOfTime)
        }
        Err(RecvTimeoutError::Disconnected) => Err(broken("the interpreter gave up")),
    }
}

fn build(extra: &[(String, String)]) -> Result<Policies, PolicyError> {
    take_over_time();
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(false);
    engine.set_execution_timer_config(time_for(0));
    bound(&mut engine).map_err(|error| PolicyError::Broken { detail: error.to_string() })?;
    for (name, text) in shipped() {
        engine.add_policy(name.to_owned(), text.to_owned()).map_err(|error| unreadable(name, &error))?;
    }
    for (name, text) in extra {
        engine.add_policy(name.clone(), text.clone()).map_err(|error| unreadable(name, &error))?;
    }
    let question = question(&mut engine, extra)?;
    engine
        .add_policy("verdict.rego".to_owned(), question)
        .map_err(|error| failed(error.downcast_ref(), &error))?;
    // Run once over nothing: what is cloned later is ready to run, and what only shows when a policy runs, such as rules that
    // wait for each other in a circle, shows now.
    let nothing = json!({
        "complete": true, "resources": [], "app": "", "environment": "", "tier": 0,
        "limits": { "max_vcpus": 0, "required_tags": [] },
    });
    engine.set_input(Value::from(nothing));
    let found =
        engine.eval_rule(QUESTION.to_owned()).map_err(|error| failed(error.downcast_ref(), &error))?;
    verdict::read(&found)?;
    Ok(Policies { engine, caught: Arc::default() })
}

/// Looks through the modules, and writes the one that asks all the others.
fn question(engine: &mut Engine, extra: &[(String, String)]) -> Result<String, PolicyError> {
    let modules = engine.get_modules();
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in modules {
        let package = vet::package(module).unwrap_or_default();
        packages.entry(package).or_default().extend(vet::rules(module));
    }
    let theirs = modules.iter().skip(shipped().len()).zip(extra);
    let mut rules = 0;
    for (module, (name, _)) in theirs {
        let object = |Objection { line, problem }| PolicyError::Module {
            module: name.clone(),
            line: Some(line),
            problem,
        };
        let package = vet::package(module).unwrap_or_default();
        let below = package.strip_prefix(CUSTOM).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !below || !package.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
        {
            let problem = format!("the package has to be `{CUSTOM}`, or one below it with a plain name");
            return Err(object(Objection { line: module.package.span.line, problem }));
        }
        rules += module.policy.len();
        if rules > MAX_RULES {
            return Err(PolicyError::TooMany { what: "rules", found: rules, most: MAX_RULES });
        }
        packages.get(&package).map_or(Ok(()), |own| vet::check(module, own)).map_err(object)?;
    }
    let mut text = String::from("package tidegate.verdict\n\nfound := [\n");
    for (package, rules) in &packages {
        for set in ["deny", "warn", "note"].into_iter().filter(|set| rules.contains(*set)) {
            text += &format!("\t[\"{package}\", \"{set}\", [set | set := data.{package}.{set}]],\n");
        }
    }
    text += "]\n";
    Ok(text)
}

/// What the interpreter says of a module that it cannot read.
fn unreadable(module: &str, error: &impl fmt::Display) -> PolicyError {
    let said = format!("{error:#}");
    let problem = format!("it cannot be read as Rego v1: {}", last_line(&said));
    PolicyError::Module { module: module.to_owned(), line: place(&said).map(|(_, line)| line), problem }
}

/// What the interpreter says of a policy that it cannot run.
fn failed(limit: Option<&LimitError>, error: &impl fmt::Display) -> PolicyError {
    let said = format!("{error:#}");
    match place(&said) {
        _ if took_too_much() => PolicyError::TooMuch { place: None },
        _ if matches!(limit, Some(LimitError::TimeLimitExceeded { .. })) || said.contains(OUT_OF_TIME) => {
            PolicyError::OutOfTime
        }
        place if said.contains(TOO_MUCH) => PolicyError::TooMuch { place },
        Some((module, line)) => PolicyError::Module { module, line: Some(line), problem: last_line(&said) },
        None => PolicyError::Broken { detail: last_line(&said) },
    }
}

/// The module and line that the interpreter points to: `--> module:line:column`.
fn place(said: &str) -> Option<(String, u32)> {
    let place = said.split("--> ").nth(1)?.lines().next()?;
    let mut parts = place.rsplitn(3, ':');
    let line = parts.nth(1)?.parse().ok()?;
    Some((parts.next()?.to_owned(), line))
}

fn last_line(said: &str) -> String {
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line = line.trim();
    line.strip_prefix("error: ").unwrap_or(line).chars().take(300).collect()
}
