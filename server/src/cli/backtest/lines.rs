//! The lines of a file that rules are tried on. A line that cannot be read is named with its place and what was expected, and
//! loses nothing but itself.

use std::io::BufRead;
use std::path::Path;

use rollout_rules::sli::{Recorded, Recording, RulesInForce};
use rollout_rules::time::UnixMs;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::BacktestOptions;
use super::batches::Batches;
use crate::cli::failure::Failure;
use crate::cli::output::note;

/// Bad lines that are told of one by one; of further ones only how many there are.
const MAX_TOLD: u64 = 20;
/// Longest line, in bytes. What is longer is no line of any of the forms.
const MAX_LINE_BYTES: usize = 256 * 1024 * 1024;
const EXPECTED: &str =
    "a line of a recording, a recording of evidence, or a batch of outcomes as POST /v1/outcomes takes it";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What `--save` wrote.
    Recording,
    /// What evidence was found from.
    Evidence,
    /// Batches of outcomes.
    Batches,
}

/// What a file says.
pub(super) enum Line {
    /// The rules that were in force.
    InForce(RulesInForce),
    Recorded(Recorded),
}

/// What of a file could not be read.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    file: String,
    /// Whether a program reads what comes of it, and it is not noted as it is found.
    for_programs: bool,
    pub(super) lines: u64,
    /// The first of them.
    pub(super) told: Vec<BadLine>,
}

/// A line, or a part of it, that could not be read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BadLine {
    /// From 1 on; null for what is missing at the end, as `column` is.
    line: Option<u64>,
    /// In bytes, from 1 on.
    column: Option<usize>,
    problem: String,
}

impl Bad {
    pub(super) fn of(file: &Path, for_programs: bool) -> Bad {
        Bad { file: file.display().to_string(), for_programs, lines: 0, told: Vec::new() }
    }

    fn note(&mut self, place: Option<(u64, usize)>, problem: String) {
        self.lines += 1;
        if self.lines > MAX_TOLD {
            return;
        }
        if !self.for_programs {
            let place = place.map_or_else(String::new, |(line, column)| format!("{line}:{column}:"));
            note(format_args!("{}:{place} {problem}", self.file));
        }
        let (line, column) = place.unzip();
        self.told.push(BadLine { line, column, problem });
    }

    /// Says what is wrong with a line, or with a part of it.
    pub(super) fn say(&mut self, line: u64, column: usize, problem: impl std::fmt::Display) {
        self.note(Some((line, column)), problem.to_string());
    }

    pub(super) fn say_json(&mut self, line: u64, before: usize, error: &serde_json::Error, expected: &str) {
        let text = error.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
        self.say(line, before + error.column().max(1), format_args!("{text}; expected {expected}"));
    }

    /// The file ends before what it tells of does.
    pub(super) fn say_unfinished(&mut self) {
        let problem =
            "its last line, `{\"end\":…}`, is missing: it is not whole, and what is left was judged";
        self.note(None, problem.to_owned());
    }

    /// What the shell is told of it.
    pub(super) fn outcome(&self, skip: bool) -> Result<(), Failure> {
        if self.lines > MAX_TOLD && !self.for_programs {
            note(format_args!("and {} more", self.lines - MAX_TOLD));
        }
        let detail = match self.lines {
            0 => return Ok(()),
            _ if skip => return Ok(()),
            1 => "1 line could not be read, and the rest was judged".to_owned(),
            lines => format!("{lines} lines could not be read, and the rest was judged"),
        };
        Err(Failure::misread(format!("{detail}; --skip-bad-lines takes that as done")))
    }
}

/// What tells the forms apart.
#[derive(Deserialize)]
struct Probe {
    summaries: Option<IgnoredAny>,
    proposed: Option<IgnoredAny>,
    /// Evidence as it lies on the server has a line about it first.
    found: Option<IgnoredAny>,
    // What lines of a recording are named by.
    recording: Option<IgnoredAny>,
    app: Option<IgnoredAny>,
    serves: Option<IgnoredAny>,
    ends: Option<IgnoredAny>,
    slot: Option<IgnoredAny>,
    sum: Option<IgnoredAny>,
    acted: Option<IgnoredAny>,
    end: Option<IgnoredAny>,
}

impl Probe {
    fn is_recorded(&self) -> bool {
        let Probe { recording, app, serves, ends, slot, sum, acted, end, .. } = self;
        [recording, app, serves, ends, slot, sum, acted, end].iter().any(|member| member.is_some())
    }
}

#[derive(Deserialize)]
struct Evidence {
    recording: Recording,
}

/// Reads a file, whatever of the forms it has, and hands its lines on.
pub(super) fn read(
    mut source: impl BufRead,
    options: &BacktestOptions,
    bad: &mut Bad,
    each: &mut dyn FnMut(Line) -> Result<(), Failure>,
    now: UnixMs,
) -> Result<Form, Failure> {
    let mut form = None;
    let mut batches = Batches::new(options, now);
    let mut line = Vec::new();
    let unreadable = |error: std::io::Error| Failure::misread(format!("it cannot be read: {error}"));
    for number in 1_u64.. {
        line.clear();
        if next_line(&mut source, &mut line).map_err(unreadable)? == 0 {
            break;
        }
        let text = match std::str::from_utf8(&line) {
            Ok(text) => text.trim_end(),
            Err(error) => {
                bad.say(number, error.valid_up_to() + 1, "this is no text in UTF-8");
                continue;
            }
        };
        if text.is_empty() {
            continue;
        }
        if form.is_none() {
            form = form_of(text, number, bad);
            if form.is_some_and(|form| form != Form::Batches) && !options.shares.is_empty() {
                return Err(Failure::usage(
                    "--control and --shares are for files of batches: a recording says itself what was planned",
                ));
            }
        }
        match form {
            None => {}
            Some(Form::Recording) => match serde_json::from_str(text) {
                Ok(recorded) => each(Line::Recorded(recorded))?,
                Err(error) => bad.say_json(number, 0, &error, "a line of a recording"),
            },
            Some(Form::Evidence) => match serde_json::from_str::<Evidence>(text) {
                Ok(evidence) => {
                    let (rules, lines) = evidence.recording.recorded();
                    each(Line::InForce(rules))?;
                    lines.into_iter().try_for_each(|line| each(Line::Recorded(line)))?;
                }
                Err(error) => bad.say_json(number, 0, &error, "a recording of evidence"),
            },
            Some(Form::Batches) => {
                batches.take(text, number, bad);
                batches.closed().into_iter().try_for_each(|line| each(Line::Recorded(line)))?;
            }
        }
    }
    if form == Some(Form::Batches) {
        batches.end().into_iter().try_for_each(|line| each(Line::Recorded(line)))?;
    }
    form.ok_or_else(|| Failure::misread(format!("{}: nothing in it is {EXPECTED}", bad.file)))
}

fn next_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    use std::io::Read as _;
    let most = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    let read = source.by_ref().take(most).read_until(b'\n', line)?;
    if read == MAX_LINE_BYTES && !line.ends_with(b"\n") {
        let problem = format!("a line is longer than {MAX_LINE_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem));
    }
    Ok(read)
}

fn form_of(text: &str, number: u64, bad: &mut Bad) -> Option<Form> {
    match serde_json::from_str::<Probe>(text) {
        Ok(Probe { summaries: Some(_), .. }) => Some(Form::Batches),
        Ok(Probe { proposed: Some(_), .. }) => Some(Form::Evidence),
        Ok(Probe { found: Some(_), .. }) => None,
        Ok(probe) if probe.is_recorded() => Some(Form::Recording),
        Ok(_) => {
            bad.say(
                number,
                1,
                format_args!("an object without any member that is known; expected {EXPECTED}"),
            );
            None
        }
        Err(error) => {
            bad.say_json(number, 0, &error, EXPECTED);
            None
        }
    }
}
