//! `tidegate import`: makes an app be as a file says, by ordinary changes, after a look at what they would be.

mod compare;
mod perform;
mod plan;
mod plan_flags;
mod plan_guardrails;
mod propose;
mod seen;

use std::path::PathBuf;

use clap::Args;
use rollout_rules::ids::PlanId;
use serde_json::{Value, json};

use super::app_file::AppFile;
use super::confirm::Sure;
use super::failure::{ExitCode, Failure};
use super::output::{Table, Tone};
use super::session::Session;
use perform::{Order, Outcome};
use plan::{Act, Plan};
use seen::Seen;

/// What to import, and how.
#[derive(Args, Clone, Debug)]
pub struct ImportOptions {
    /// A file of `tidegate export`; - reads standard input
    file: PathBuf,
    /// Only show the plan
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: end with 8 if there is anything to change
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// Archive flags and delete segments of the app that are not in the file, and clear rules that are not; environments stay, and so do
    /// rules of previews. A file without any `guardrails` clears no rules
    #[arg(long)]
    prune: bool,
    /// Raise also what is off since its rollout was aborted, taken back or killed
    #[arg(long)]
    raise_stopped: bool,
    /// Store what needs approvals as proposals, one of a flag at a time; the exit code is 0 then
    #[arg(long)]
    propose: bool,
    /// The plan's name in the log; without it, one that is made of the file's content
    #[arg(long, value_name = "ID")]
    plan: Option<PlanId>,
    #[command(flatten)]
    sure: Sure,
}

/// Shows what would change, and changes it.
pub(super) fn run(session: &mut Session, options: &ImportOptions) -> Result<(), Failure> {
    let file = AppFile::read(&options.file)?;
    let id = options.plan.clone().unwrap_or_else(|| file.plan());
    let app = file.app.key.clone();
    let seen = Seen::read(session, &file)?;
    if session.reason.is_none() {
        session.reason = Some(format!("imported from {}", options.file.display()));
    }
    let plan = Plan::of(&file, &seen, options, session)?;
    let (to_do, impossible) = (plan.to_do(), plan.count(Act::Impossible));
    if !session.json {
        show(session, &plan)?;
        let line = format!(
            "plan {id} for app {app}: {to_do} to change, {} as they are, {} left alone{}",
            plan.count(Act::Unchanged),
            plan.count(Act::LeftAlone),
            if impossible > 0 { format!(", {impossible} cannot be") } else { String::new() }
        );
        session.say(line)?;
    }
    let mut outcomes = vec![None; plan.rows.len()];
    let mut stopped = None;
    if !options.dry_run && to_do > 0 {
        let noun =
            if to_do == 1 { "1 change is made".to_owned() } else { format!("{to_do} changes are made") };
        options.sure.or_confirm(&format!("{noun} to app {app}"))?;
        session.client.under_plan(id.clone());
        let order = Order { plan: &plan, seen: &seen, app: &app, propose: options.propose };
        let made = perform::perform(session, &order)?;
        (outcomes, stopped) = (made.outcomes, made.stopped);
    }
    if session.json {
        session.print_json(&as_json(&id, &plan, &outcomes))?;
    }
    if let Some(failure) = stopped {
        return Err(failure);
    }
    verdict(options, to_do, impossible, &outcomes)
}

fn verdict(
    options: &ImportOptions,
    to_do: usize,
    impossible: usize,
    outcomes: &[Option<Outcome>],
) -> Result<(), Failure> {
    let failed: Vec<ExitCode> = outcomes.iter().flatten().filter_map(Outcome::exit_code).collect();
    let missing = outcomes.iter().flatten().filter(|outcome| !outcome.is_dealt_with()).count() + impossible;
    if missing == 0 {
        return match to_do {
            changes if changes > 0 && options.exit_code => Err(Failure::Differs { changes }),
            _ => Ok(()),
        };
    }
    // That approvals are missing is said where nothing worse happened.
    let worse = failed.iter().find(|code| **code != ExitCode::NeedsApproval);
    let code = match (impossible, worse) {
        (0, Some(worse)) => *worse,
        (0, None) => ExitCode::NeedsApproval,
        _ => ExitCode::Refused,
    };
    Err(Failure::NotAll { all: to_do + impossible, missing, code })
}

fn show(session: &mut Session, plan: &Plan) -> Result<(), Failure> {
    let mut table = Table::new(["WHAT", "ENVIRONMENT", "PLAN", "DETAILS"]);
    for row in &plan.rows {
        let tone = match row.act {
            Act::Create | Act::Change | Act::Extend => Tone::Live,
            Act::Delete | Act::Impossible => Tone::Alarm,
            Act::Unchanged | Act::LeftAlone => Tone::Faint,
        };
        table.toned_row(vec![
            (row.what.clone(), Tone::Plain),
            (row.environment.clone(), Tone::Plain),
            (row.act.words().to_owned(), tone),
            (row.details.clone(), Tone::Plain),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "the file holds nothing")?)
}

fn as_json(id: &PlanId, plan: &Plan, outcomes: &[Option<Outcome>]) -> Value {
    let rows: Vec<Value> = plan
        .rows
        .iter()
        .zip(outcomes)
        .map(|(row, outcome)| {
            let mut shown = json!({
                "what": row.what, "environment": row.environment, "act": row.act.word(), "details": row.details,
            });
            if let Some(outcome) = outcome {
                shown["outcome"] = outcome.word().into();
                if let Outcome::Refused { problem, .. } | Outcome::NotTried { because: problem } = outcome {
                    shown["problem"] = problem.as_str().into();
                }
                if let Outcome::Proposed { id, .. } = outcome {
                    shown["proposal"] = id.as_str().into();
                }
            }
            shown
        })
        .collect();
    json!({
        "plan": id,
        "to_change": plan.to_do(),
        "unchanged": plan.count(Act::Unchanged),
        "left_alone": plan.count(Act::LeftAlone),
        "impossible": plan.count(Act::Impossible),
        "rows": rows,
    })
}
