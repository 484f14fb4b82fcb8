//! The lines of the file of the sums: each is the sums of one flag in one environment as they were at a time, or
//! when something of an app was not counted, with a checksum. The last line about something counts. What is torn at
//! the end was not written. A line that is damaged is passed over, and since nobody can tell what it was about, a gap
//! in the counts of all apps is noted after it.

use std::collections::BTreeMap;

use rollout_rules::ids::{AppKey, Digest};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::answers::{AnswerSums, FlagSums};
use super::kept::{About, Change, Kept, Place};

/// How much of a checksum a line bears, in hexadecimal digits.
const SUM_DIGITS: usize = 16;
const FORMAT: u32 = 1;

/// Stands for lines that were damaged, where the file is written anew before their gap was noted.
pub(super) const DAMAGED: &str = "damaged\n";

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    counting_since: UnixMs,
}

/// A line about a flag.
#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    place: Place,
    /// None: the flag is gone.
    answers: Option<Vec<AnswerSums>>,
    #[serde(default)]
    asked_at: Option<UnixMs>,
}

/// A line about when something was not counted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GapRow {
    /// None: of all apps.
    app: Option<AppKey>,
    /// None: it is too long ago to matter.
    gap_at: Option<UnixMs>,
}

/// Every line but the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Gap(GapRow),
    Flag(Row),
}

/// The first line of a file.
pub(super) fn head(counting_since: UnixMs) -> String {
    sealed(&Head { format: FORMAT, counting_since })
}

/// A line about what is so now.
pub(super) fn line(change: Change) -> String {
    match change {
        Change::Gap(app, gap_at) => sealed(&GapRow { app, gap_at }),
        Change::Flag(place, sums) => {
            let asked_at = sums.as_ref().and_then(FlagSums::last_asked_at);
            sealed(&Row { place, answers: sums.map(FlagSums::into_answers), asked_at })
        }
    }
}

fn sealed(content: &impl Serialize) -> String {
    let json = serde_json::to_string(content).unwrap_or_default();
    format!("{} {json}\n", &checksum(&json))
}

fn checksum(json: &str) -> String {
    let mut digits = Digest::of(json.as_bytes()).to_string();
    digits.truncate(SUM_DIGITS);
    digits
}

/// The content of a line that is as it was written.
fn opened(line: &str) -> Option<&str> {
    let (sum, json) = line.split_once(' ')?;
    (sum == checksum(json)).then_some(json)
}

/// What a file says.
pub(super) struct Read {
    pub(super) counting_since: UnixMs,
    pub(super) kept: Kept,
    /// How much of it is whole lines.
    pub(super) whole: u64,
    /// How long it would be without what is of the past.
    pub(super) needed: u64,
    /// Whether a line is damaged, and none after it notes the gap.
    pub(super) damaged: bool,
}

/// What lines say that follow the head.
pub(super) struct Rows {
    pub(super) kept: Kept,
    /// How long those are that count.
    needed: usize,
    /// Whether one is damaged, and none after it notes the gap.
    pub(super) damaged: bool,
}

/// What a file says; none if its head is not whole or of another format.
pub(super) fn read(bytes: &[u8]) -> Option<Read> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    let head_end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let head: Head = serde_json::from_str(&content(&bytes[..head_end])?).ok()?;
    if head.format != FORMAT {
        return None;
    }
    let Rows { kept, needed, damaged } = rows(&bytes[head_end..whole]);
    let needed = (head_end + needed) as u64;
    Some(Read { counting_since: head.counting_since, kept, whole: whole as u64, needed, damaged })
}

/// The content of a line that is as it was written.
fn content(line: &[u8]) -> Option<String> {
    std::str::from_utf8(line).ok().and_then(|line| opened(line.trim_end()).map(str::to_owned))
}

/// What the lines after the head say.
pub(super) fn rows(bytes: &[u8]) -> Rows {
    let mut kept = Kept::default();
    let mut damaged = false;
    let mut lengths: BTreeMap<About, usize> = BTreeMap::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(row) = content(line).and_then(|json| serde_json::from_str::<Line>(&json).ok()) else {
            damaged = true;
            continue;
        };
        let (about, is_there) = match row {
            Line::Gap(GapRow { app, gap_at }) => {
                damaged &= app.is_some();
                match gap_at {
                    Some(at) => kept.gaps.insert(app.clone(), at),
                    None => kept.gaps.remove(&app),
                };
                (About::Gap(app), gap_at.is_some())
            }
            Line::Flag(Row { place, answers, asked_at }) => {
                let is_there = answers.is_some();
                match answers {
                    Some(answers) => kept.flags.insert(place.clone(), FlagSums::restored(answers, asked_at)),
                    None => kept.flags.remove(&place),
                };
                (About::Flag(place), is_there)
            }
        };
        lengths.insert(about, if is_there { line.len() } else { 0 });
    }
    Rows { kept, needed: lengths.values().sum(), damaged }
}
