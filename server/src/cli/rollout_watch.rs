//! `tidegate rollout watch`: a rollout as it goes on, until it is over.

use std::time::Duration;

use serde_json::Value;

use super::failure::{Failure, Problem};
use super::output::{note, redraws};
use super::rollout_view::{self, RolloutView, StateView};
use super::session::Session;
use super::verdicts::Followed;
use super::when;
use crate::clock::Clock;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Lines that are too long for the terminal end at its edge.
const CUT_LINES: &str = "\u{1b}[?7l";
/// They go on in the next row again.
const WRAP_LINES: &str = "\u{1b}[?7h";

/// Follows it. On a terminal it is drawn anew each second, elsewhere each change is a line, as JSON one answer a
/// line. It ends when the rollout does: well if it was completed.
pub(super) fn run(session: &mut Session, path: &str) -> Result<(), Failure> {
    let clock = Clock::system();
    let drawn = redraws() && !session.json;
    let mut height = 0;
    let mut told: Option<(usize, String, bool)> = None;
    let (mut verdicts, mut told_verdicts) = (Followed::default(), Vec::new());
    let mut away = false;
    loop {
        session.now = clock.now();
        let answer = match session.client.get(path) {
            Ok(answer) => answer.body,
            // Once for each time that it is away, however long it stays away.
            Err(failure) if failure.is_passing() => {
                if !std::mem::replace(&mut away, true) && !session.json {
                    note(format_args!("{failure}; trying again until it is back"));
                    height = 0;
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        away = false;
        let state = StateView::read(&answer, session)?;
        if !session.json {
            verdicts.look(session, path);
        }
        if drawn {
            let more = verdicts.lines(state.rollout.as_ref(), session.style);
            height = draw(session, &state, more, height)?;
        } else if let Some(rollout) = &state.rollout {
            let now = (rollout.stage, rollout.status.clone(), rollout.active);
            if told.as_ref() != Some(&now) {
                tell(session, &answer, rollout)?;
                told = Some(now);
            }
            let (states, lines) = verdicts.told();
            if states != told_verdicts {
                tell_verdicts(session, &lines)?;
                told_verdicts = states;
            }
        }
        match &state.rollout {
            Some(rollout) if rollout.active => std::thread::sleep(PAUSE),
            over => return end(over.as_ref()),
        }
    }
}

/// Draws it over what was drawn before; answers with how many lines there are now.
fn draw(
    session: &mut Session,
    state: &StateView,
    more: Vec<String>,
    before: usize,
) -> Result<usize, Failure> {
    if before > 0 {
        write!(session.out, "\u{1b}[{before}A\u{1b}[J")?;
    }
    let mut lines = rollout_view::lines(state, session.style, session.now);
    lines.extend(more);
    // Each is one row, however narrow the terminal: what does not fit is cut, else too few rows would be drawn over.
    write!(session.out, "{CUT_LINES}")?;
    lines.iter().try_for_each(|line| writeln!(session.out, "{line}"))?;
    write!(session.out, "{WRAP_LINES}")?;
    session.out.flush()?;
    Ok(lines.len())
}

fn tell(session: &mut Session, answer: &Value, rollout: &RolloutView) -> Result<(), Failure> {
    if session.json {
        writeln!(session.out, "{answer}")?;
    } else {
        session.say(format_args!("{}  {}", when::second(session.now), rollout.line(session.now)))?;
    }
    Ok(session.out.flush()?)
}

/// What outcomes say of each variant, once it is something else.
fn tell_verdicts(session: &mut Session, lines: &[String]) -> Result<(), Failure> {
    for line in lines {
        session.say(format_args!("{}  {line}", when::second(session.now)))?;
    }
    Ok(session.out.flush()?)
}

fn end(rollout: Option<&RolloutView>) -> Result<(), Failure> {
    let (code, detail) = match rollout {
        Some(rollout) if rollout.status == "completed" => return Ok(()),
        Some(rollout) => {
            let why = rollout.why.as_deref().unwrap_or_default();
            ("rollout_not_completed", format!("the rollout was not completed: {why}"))
        }
        None => {
            ("no_rollout", "there is no rollout to watch: `tidegate rollout start` starts one".to_owned())
        }
    };
    Err(Failure::Refused(Box::new(Problem {
        code: code.to_owned(),
        title: "The rollout was not completed".to_owned(),
        detail,
        ..Problem::default()
    })))
}
