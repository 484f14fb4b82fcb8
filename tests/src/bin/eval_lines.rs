//! The real evaluator behind a protocol of JSON lines, so that anybody's targeting cases can be run
//! against it. Reads `{"rules", "default", "enabled", "context"}` a line and answers `{"value": …}`.

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;

use rollout_rules::compile::{CompiledFlag, Definition, FlagSource};
use rollout_rules::condition::Condition;
use rollout_rules::context::Context;
use rollout_rules::evaluate::{AppFlags, EnvironmentFlags, FlagSet, SharedRules, evaluate};
use rollout_rules::flag::{Flag, FlagKind, FlagState, Kills, Rule, Serve, Targeting, Variant};
use rollout_rules::ids::{EnvKey, FlagKey, InvalidKey, Revision, RuleId, VariantKey};
use rollout_rules::percent::Exposure;
use rollout_rules::table::FlagTable;
use rollout_rules::time::UnixMs;
use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    for line in stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line?)?;
        let mut out = stdout().lock();
        writeln!(out, "{}", json!({ "value": answer(&row)? }))?;
        out.flush()?;
    }
    Ok(())
}

/// Builds a flag of the row's rules and checks it for the row's context.
fn answer(row: &Value) -> Result<Value, Failure> {
    let key = FlagKey::new("row")?;
    let environment = EnvKey::new("production")?;
    let mut variants = vec![Variant { key: variant(0)?, value: row["default"].clone() }];
    let mut rules = Vec::new();
    for (index, rule) in row["rules"].as_array().into_iter().flatten().enumerate() {
        variants.push(Variant { key: variant(index + 1)?, value: rule["serve"].clone() });
        match serde_json::from_value::<Condition>(condition(&rule["when"])) {
            Ok(when) => rules.push(Rule {
                id: RuleId::new(&format!("rule-{index}"))?,
                description: String::new(),
                when,
                serve: Serve::Variant(variant(index + 1)?),
            }),
            Err(error) => eprintln!("rule {index} is off: {error}"),
        }
    }
    let definition = Definition::new(Arc::new(Flag {
        key: key.clone(),
        kind: FlagKind::Object,
        variants,
        off_variant: variant(0)?,
        description: String::new(),
        owner: String::new(),
        critical: false,
        created_at: UnixMs(0),
        extensions: 0,
        archived_at: None,
        browser: None,
    }));
    let state = FlagState {
        targeting: Targeting {
            on: row["enabled"].as_bool().unwrap_or(true),
            exposure: Exposure::ALL,
            serve: Serve::Variant(variant(0)?),
            targets: Vec::new(),
            rules,
            prerequisites: Vec::new(),
            schedule: Vec::new(),
        },
        expires_at: UnixMs::NEVER,
        targeting_revision: Revision(1),
        hold: None,
    };
    let (shared, app) = (SharedRules::default(), AppFlags::default());
    let flag = CompiledFlag::compile(FlagSource {
        definition,
        state: Arc::new(state),
        revision: Revision(1),
        kills: &Kills::default(),
        environment: &environment,
        shared_segments: &shared.segments,
        app_segments: &app.segments,
        previous: None,
    });
    for warning in flag.warnings() {
        eprintln!("{warning}");
    }
    let flags = FlagTable::default().with(Arc::new(flag));
    let environment = EnvironmentFlags { key: environment, ends_at: None, flags };
    let set = FlagSet { shared: &shared, app: &app, environment: &environment };
    let empty = Map::new();
    let context = Context::try_from(row["context"].as_object().unwrap_or(&empty))?;
    let answer = evaluate(&set, key.as_str(), &context, UnixMs(0)).ok_or("the flag exists")?;
    Ok(answer.value().clone())
}

fn variant(index: usize) -> Result<VariantKey, InvalidKey> {
    VariantKey::new(&format!("v{index}"))
}

/// A row's tree in the words of our conditions: they differ in `attr` for `attribute`.
fn condition(tree: &Value) -> Value {
    let Value::Object(fields) = tree else { return tree.clone() };
    let renamed = fields.iter().map(|(name, value)| match name.as_str() {
        "attr" => ("attribute".to_owned(), value.clone()),
        "all" | "any" => {
            let parts = value.as_array().into_iter().flatten().map(condition).collect();
            (name.clone(), Value::Array(parts))
        }
        "not" => (name.clone(), condition(value)),
        _ => (name.clone(), value.clone()),
    });
    Value::Object(renamed.collect())
}
