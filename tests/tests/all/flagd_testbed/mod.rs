//! flagd's own features for evaluators, run on Tidegate's evaluator: flagd's flags are converted to
//! Tidegate's, and what a scenario expects is looked for in Tidegate's answer.

mod convert;
mod gherkin;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use convert::{NOTHING, NotApplicable, convert};
use gherkin::Scenario;
use rollout_rules::compile::{CompiledFlag, Definition, FlagSource};
use rollout_rules::context::{Attribute, Context};
use rollout_rules::evaluate::{Answer, AppFlags, EnvironmentFlags, FlagSet, Reason, SharedRules, evaluate};
use rollout_rules::flag::{Flag, FlagKind, FlagState, Kills};
use rollout_rules::ids::{EnvKey, Revision};
use rollout_rules::table::FlagTable;
use rollout_rules::time::UnixMs;
use serde_json::Value;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

struct Testbed {
    shared: SharedRules,
    app: AppFlags,
    environment: EnvironmentFlags,
    not_applicable: BTreeMap<String, NotApplicable>,
    /// The flags that have targeting in flagd.
    targeted: BTreeSet<String>,
}

fn folder() -> PathBuf {
    tidegate_tests::prerequisites::shared().join("data/flagd-testbed/evaluator")
}

impl Testbed {
    fn load() -> Testbed {
        let text = fs::read_to_string(folder().join("flags/testkit-flags.json")).expect("the flags");
        let file: Value = serde_json::from_str(&text).expect("the flags are JSON");
        let (shared, app) = (SharedRules::default(), AppFlags::default());
        let key = EnvKey::new("production").expect("a key");
        let (mut flags, mut not_applicable) = (Vec::new(), BTreeMap::new());
        let mut targeted = BTreeSet::new();
        for (name, flag) in file["flags"].as_object().expect("flags") {
            if flag.get("targeting").is_some() {
                targeted.insert(name.clone());
            }
            match convert(name, flag, &file["$evaluators"]) {
                Ok((definition, state)) => {
                    let flag: Flag = serde_json::from_value(definition).expect("a flag");
                    let state: FlagState = serde_json::from_value(state).expect("a state");
                    flags.push(Arc::new(CompiledFlag::compile(FlagSource {
                        definition: Definition::new(Arc::new(flag)),
                        state: Arc::new(state),
                        revision: Revision(1),
                        kills: &Kills::default(),
                        environment: &key,
                        shared_segments: &shared.segments,
                        app_segments: &app.segments,
                        previous: None,
                    })));
                }
                Err(why) => {
                    not_applicable.insert(name.clone(), why);
                }
            }
        }
        let flags: FlagTable = flags.into_iter().collect();
        let environment = EnvironmentFlags { key, ends_at: None, flags };
        Testbed { shared, app, environment, not_applicable, targeted }
    }

    fn check(&self, key: &str, context: &Context) -> Option<Answer<'_>> {
        let set = FlagSet { shared: &self.shared, app: &self.app, environment: &self.environment };
        evaluate(&set, key, context, NOW)
    }

    /// Runs a scenario: `Ok` if it passed, else what was found instead.
    fn run(&self, scenario: &Scenario) -> Result<Result<(), String>, NotApplicable> {
        if scenario.tags.contains("@fractional-v1") {
            return Err("flagd's older buckets, by floating-point numbers");
        }
        let asked = Asked::read(&scenario.steps)?;
        if let Some(why) = self.not_applicable.get(&asked.key) {
            return Err(why);
        }
        if asked.key.starts_with("semver") && asked.has_numbers {
            return Err("a number is no version: 1.10 would be 1.1");
        }
        if asked.key.starts_with("disabled") {
            return Err("Tidegate serves the off variant of what is off, not the caller's default");
        }
        let answer = self.check(&asked.key, &asked.context);
        let found = asked.wants.iter().find_map(|want| {
            let found = want.found_in(answer.as_ref(), &asked.kind, self.targeted.contains(&asked.key));
            (found != want.expected()).then(|| format!("{found:?} instead of {want:?}"))
        });
        Ok(found.map_or(Ok(()), Err))
    }
}

/// What a scenario asks and wants to see.
struct Asked {
    kind: String,
    key: String,
    context: Context,
    has_numbers: bool,
    wants: Vec<Want>,
}

#[derive(Debug)]
enum Want {
    Value(Value),
    Reason(String),
    Error(String),
}

impl Asked {
    fn read(steps: &[String]) -> Result<Asked, NotApplicable> {
        let mut asked = Asked {
            kind: String::new(),
            key: String::new(),
            context: Context::anonymous(),
            has_numbers: false,
            wants: Vec::new(),
        };
        for step in steps {
            let (words, texts) = take_apart(step);
            let text = |at: usize| texts.get(at).map_or("", String::as_str);
            match words.as_str() {
                "an evaluator" | "the flag was evaluated with details" => {}
                "a context containing a targeting key with value _" => {
                    asked.context = asked.context.with("targetingKey", text(0));
                }
                "a context containing a key _, with type _ and with value _" => {
                    asked.has_numbers |= text(1) != "String";
                    asked.context = asked.context.with(text(0), attribute(text(1), text(2)));
                }
                "a context containing a nested property with outer key _ and inner key _, with value _" => {
                    let inner = vec![(Box::from(text(1)), Attribute::from(text(2)))];
                    asked.context = asked.context.with(text(0), Attribute::Object(inner));
                }
                "the resolved details value should be _" => {
                    asked.wants.push(Want::Value(value(&asked.kind, text(0))));
                }
                "the reason should be _" => asked.wants.push(Want::Reason(text(0).to_owned())),
                "the error-code should be _" => asked.wants.push(Want::Error(text(0).to_owned())),
                words if words.starts_with("the resolved metadata") => {
                    return Err("flags carry no metadata of their own; Tidegate's is about the answer");
                }
                words => match words.strip_suffix("-flag with key _ and a fallback value _") {
                    Some(kind) => {
                        kind.trim_start_matches("a ").clone_into(&mut asked.kind);
                        text(0).clone_into(&mut asked.key);
                    }
                    None => panic!("what does this step mean: {step}"),
                },
            }
        }
        Ok(asked)
    }
}

/// A step with its quoted texts taken out.
fn take_apart(step: &str) -> (String, Vec<String>) {
    let step = step.replace("\\\"", "\u{1}");
    let mut words = String::new();
    let mut texts = Vec::new();
    for (at, piece) in step.split('"').enumerate() {
        if at % 2 == 0 {
            words.push_str(piece);
        } else {
            words.push('_');
            texts.push(piece.replace('\u{1}', "\""));
        }
    }
    (words, texts)
}

fn attribute(kind: &str, text: &str) -> Attribute {
    match kind {
        "String" => Attribute::from(text),
        _ => Attribute::from(text.parse::<f64>().expect("a number")),
    }
}

fn value(kind: &str, text: &str) -> Value {
    match kind {
        "String" => Value::from(text),
        _ => serde_json::from_str(text).expect("a value"),
    }
}

impl Want {
    fn expected(&self) -> Value {
        match self {
            Want::Value(value) => value.clone(),
            Want::Reason(text) | Want::Error(text) => Value::from(text.as_str()),
        }
    }

    fn found_in(&self, answer: Option<&Answer<'_>>, kind: &str, has_targeting: bool) -> Value {
        match (self, answer) {
            (Want::Error(_), None) => Value::from("FLAG_NOT_FOUND"),
            (Want::Error(_), Some(answer)) if answer.kind() != kind_of(kind) => Value::from("TYPE_MISMATCH"),
            (Want::Value(_), Some(answer)) => answer.value().clone(),
            (Want::Reason(_), Some(answer)) => Value::from(reason(answer, has_targeting)),
            _ => Value::Null,
        }
    }
}

fn kind_of(kind: &str) -> FlagKind {
    match kind {
        "Boolean" => FlagKind::Boolean,
        "String" => FlagKind::String,
        "Object" => FlagKind::Object,
        _ => FlagKind::Number,
    }
}

/// Our reason in flagd's words. flagd calls a default STATIC if the flag has no targeting.
fn reason(answer: &Answer<'_>, has_targeting: bool) -> &'static str {
    match answer.reason {
        Reason::Rule { .. } if answer.rule().is_some_and(|rule| rule.as_str().starts_with(NOTHING)) => {
            "DEFAULT"
        }
        Reason::Rule { .. } | Reason::RuleSplit { .. } => "TARGETING_MATCH",
        Reason::Default if !has_targeting => "STATIC",
        Reason::Default => "DEFAULT",
        Reason::Off => "DISABLED",
        other => panic!("{} is a reason that flagd does not know", other.code()),
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "the shared data is absent")]
fn the_evaluator_features_of_flagd_hold() {
    let testbed = Testbed::load();
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("gherkin"))
        .expect("the features")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let (mut passed, mut failed) = (0, Vec::new());
    let mut not_applicable: BTreeMap<NotApplicable, Vec<String>> = BTreeMap::new();
    for file in &files {
        let feature = file.file_stem().unwrap_or_default().to_string_lossy();
        for scenario in gherkin::scenarios(&fs::read_to_string(file).expect("a feature")) {
            let name = format!("{feature}: {}", scenario.name);
            match testbed.run(&scenario) {
                Ok(Ok(())) => passed += 1,
                Ok(Err(found)) => failed.push(format!("{name}: {found}")),
                Err(why) => not_applicable.entry(why).or_default().push(name),
            }
        }
    }
    let left_out: usize = not_applicable.values().map(Vec::len).sum();
    println!("{passed} passed, {} failed, {left_out} do not apply:", failed.len());
    for (why, names) in &not_applicable {
        println!("{why} ({}):", names.len());
        names.iter().for_each(|name| println!("  {name}"));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!((passed, left_out), (101, 39));
}
