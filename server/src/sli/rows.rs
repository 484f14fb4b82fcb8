//! Slots as they lie on disk: rows of JSON, a line each, in blocks. A block is whole or does not count: its last line bears
//! its length and a checksum of all of its rows. What is torn at the end of a file was not closed; a block in the
//! middle that is damaged costs itself alone.

use rollout_rules::ids::{AppKey, Digest, EnvKey, FlagKey, SplitId};
use rollout_rules::sli::{Gauges, Outcomes, Part, Slot, SlowUnits, UnitList};
use serde::{Deserialize, Serialize};

use super::Place;
use super::closed::{AppSlot, ClosedSlot, SplitSlot, Watched};

/// How much of a checksum a block bears, in hexadecimal digits.
const SUM_DIGITS: usize = 16;

/// A line about an app environment, or a split of one of its flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) app: AppKey,
    pub(super) environment: EnvKey,
    /// None: the app environment reported something, or nothing but that it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flag: Option<FlagKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) split: Option<SplitId>,
    pub(super) slot: Slot,
    /// How many slots it sums, from `slot` on.
    pub(super) slots: u32,
    /// How many processes reported for the slot.
    #[serde(default)]
    pub(super) sources: u32,
    /// What became of all of the app's requests, in a row of the app environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<Outcomes>,
    /// What its processes used of what they have, in the same.
    #[serde(default, skip_serializing_if = "is_untold")]
    pub(super) gauges: Gauges,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<Part>,
}

fn is_untold(gauges: &Gauges) -> bool {
    *gauges == Gauges::default()
}

impl Row {
    /// What it is about; nothing, for a row of an app environment.
    pub(super) fn watched(&self) -> Option<Watched> {
        Some(Watched {
            app: self.app.clone(),
            environment: self.environment.clone(),
            flag: self.flag.clone()?,
            split: self.split.clone()?,
        })
    }
}

/// A row as it is written, of what lies elsewhere: a slot may hold a hundred megabytes.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Line<'a> {
    app: &'a AppKey,
    environment: &'a EnvKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<&'a FlagKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'a SplitId>,
    slot: Slot,
    slots: u32,
    sources: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<&'a Outcomes>,
    #[serde(skip_serializing_if = "is_untold")]
    gauges: Gauges,
    #[serde(skip_serializing_if = "<[Part]>::is_empty")]
    parts: &'a [Part],
}

/// The rows of a slot.
pub(super) fn lines(closed: &ClosedSlot) -> impl Iterator<Item = Line<'_>> {
    let slot = closed.slot;
    closed.apps.iter().flat_map(move |of| {
        let of_app = Line {
            app: &of.app,
            environment: &of.environment,
            flag: None,
            split: None,
            slot,
            slots: 1,
            sources: of.sources,
            all: of.all.as_ref(),
            gauges: of.gauges,
            parts: &[],
        };
        let splits = of.splits.iter().map(move |one| of_app.of_split(one));
        std::iter::once(of_app).chain(splits)
    })
}

impl<'a> Line<'a> {
    /// The line of a split, given that of its app environment.
    fn of_split(self, one: &'a SplitSlot) -> Line<'a> {
        Line {
            flag: Some(&one.flag),
            split: Some(&one.split),
            all: None,
            gauges: Gauges::default(),
            parts: &one.parts,
            ..self
        }
    }

    /// Whether it is about a flag, or about the flag's app environment.
    pub(super) fn concerns(&self, place: &Place) -> bool {
        *self.app == place.app
            && *self.environment == place.environment
            && self.flag.is_none_or(|flag| *flag == place.flag)
    }

    /// The row that is read when this was written.
    pub(super) fn row(&self) -> Row {
        Row {
            app: self.app.clone(),
            environment: self.environment.clone(),
            flag: self.flag.cloned(),
            split: self.split.cloned(),
            slot: self.slot,
            slots: self.slots,
            sources: self.sources,
            all: self.all.cloned(),
            gauges: self.gauges,
            parts: self.parts.to_vec(),
        }
    }
}

/// The slot that its rows tell of.
pub(super) fn closed(slot: Slot, rows: Vec<Row>) -> ClosedSlot {
    let mut apps: Vec<AppSlot> = Vec::new();
    for row in rows {
        let is_same = |last: &AppSlot| last.app == row.app && last.environment == row.environment;
        if !apps.last().is_some_and(is_same) {
            let Row { app, environment, sources, gauges, .. } = row;
            apps.push(AppSlot { app, environment, sources, all: row.all, gauges, splits: Vec::new() });
        }
        if let (Some(flag), Some(split), Some(last)) = (row.flag, row.split, apps.last_mut()) {
            last.splits.push(SplitSlot { flag, split, parts: row.parts });
        }
    }
    ClosedSlot { slot, apps }
}

/// Rows as a block.
pub(super) fn block(rows: impl Iterator<Item = impl Serialize>) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(&row).unwrap_or_default());
        text.push('\n');
    }
    let end = format!("={} {}\n", text.len(), checksum(text.as_bytes()));
    text + &end
}

fn checksum(bytes: &[u8]) -> String {
    let mut digits = Digest::of(bytes).to_string();
    digits.truncate(SUM_DIGITS);
    digits
}

/// What is in a file.
#[derive(Debug, Default)]
pub(super) struct Blocks<'f> {
    /// The rows of each block that is as it was written.
    pub(super) whole: Vec<&'f str>,
    /// Where the last of them ends.
    pub(super) end: usize,
    /// Whether one before that is damaged.
    pub(super) damaged: bool,
}

/// Reads a file.
pub(super) fn blocks(file: &[u8]) -> Blocks<'_> {
    let mut read = Blocks::default();
    let (mut start, mut at, mut skipped) = (0, 0, false);
    while let Some(length) = file[at..].iter().position(|byte| *byte == b'\n') {
        let line = &file[at..at + length];
        if let Some(end) = line.strip_prefix(b"=") {
            let rows = &file[start..at];
            let sealed = format!("{} {}", rows.len(), checksum(rows));
            match std::str::from_utf8(rows) {
                Ok(rows) if end == sealed.as_bytes() => {
                    read.whole.push(rows);
                    read.end = at + length + 1;
                    read.damaged |= skipped;
                }
                _ => skipped = true,
            }
            start = at + length + 1;
        }
        at += length + 1;
    }
    read
}

/// The rows of a block that begin so. An empty beginning is that of all.
pub(super) fn rows_of<'r>(block: &'r str, beginnings: &'r [String]) -> impl Iterator<Item = Row> + 'r {
    let wanted = |line: &&str| beginnings.is_empty() || beginnings.iter().any(|one| line.starts_with(one));
    block.lines().filter(wanted).filter_map(|line| serde_json::from_str(line).ok())
}

/// How the rows of an app environment, and those of one of its flags, begin.
pub(super) fn beginnings(app: &AppKey, environment: &EnvKey, flag: &FlagKey) -> [String; 2] {
    // Keys are made of characters that JSON writes as they are.
    let of_app = beginning(app, environment);
    [format!("{of_app}\"slot\":"), format!("{of_app}\"flag\":\"{flag}\",")]
}

/// How all rows of an app environment begin.
pub(super) fn beginning(app: &AppKey, environment: &EnvKey) -> String {
    format!("{{\"app\":\"{app}\",\"environment\":\"{environment}\",")
}

/// What is left of requests where units are no longer told apart.
pub(super) fn without_units(outcomes: Outcomes) -> Outcomes {
    Outcomes { served: UnitList::unknown(), bad: UnitList::unknown(), slow: SlowUnits::unknown(), ..outcomes }
}
