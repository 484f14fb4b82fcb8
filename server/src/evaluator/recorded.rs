//! What was recorded of an app in an environment: the slots and sums that are kept, and between them, where they took
//! effect, what was planned to be served and what guardrails did, as the log has it.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::io;

use rollout_rules::change::{Change, Entry, UnknownEntry};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision, SplitId};
use rollout_rules::sli::{
    About, Acted, AppSlot, GRACE, Objectives, RECORDING_VERSION, Recorded, Serves, Slot,
};
use rollout_rules::snapshot::{Snapshot, Subject};
use rollout_rules::time::UnixMs;
use tokio::runtime::Handle;

use super::wanted::{self, WantedSplit};
use crate::log::{LogEntry, ReadError, Tail};
use crate::sli::{Sli, WINDOW_SLOTS, Window};

/// Of what a recording is.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// Only of this flag.
    pub flag: Option<FlagKey>,
    /// From the slot of this moment on.
    pub since: UnixMs,
}

/// Why a recording breaks off.
#[derive(Debug)]
pub enum Broken {
    /// The files of slots cannot be read.
    Slots(io::Error),
    /// The log cannot be read.
    Log(ReadError),
    /// The log holds an entry that this program does not know.
    Unknown {
        /// Where.
        revision: Revision,
        /// What is not known about it.
        source: UnknownEntry,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Slots(_) => f.write_str("what was reported cannot be read"),
            Broken::Log(error) => error.fmt(f),
            Broken::Unknown { revision, .. } => {
                write!(f, "the entry at revision {revision} is not known to this version of the server")
            }
        }
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Broken::Slots(error) => Some(error),
            Broken::Log(error) => Some(error),
            Broken::Unknown { source, .. } => Some(source),
        }
    }
}

/// Tells a recording, five minutes at a time.
pub struct Recorder {
    wanted: Wanted,
    sli: Sli,
    /// The fold as it was when the last slot closed that was told of.
    snapshot: Snapshot,
    tail: Box<dyn Tail>,
    entries: VecDeque<LogEntry>,
    /// Entries after it are not told of.
    last: Revision,
    objectives: Option<Objectives>,
    told: BTreeMap<(FlagKey, SplitId), Serves>,
    windows: VecDeque<Slot>,
    until: Slot,
    ended: bool,
}

impl Recorder {
    /// Begins a recording. `then` is the fold as it was at its beginning, `tail` the log from there, and `head` the fold that it
    /// goes on to. Gives the first line, too.
    pub fn begin(
        wanted: Wanted,
        sli: &Sli,
        then: Snapshot,
        tail: Box<dyn Tail>,
        head: &Snapshot,
    ) -> Result<(Recorder, Recorded), Broken> {
        let until = sli.closed_until();
        let windows = sli.windows(Slot::at(wanted.since), until).map_err(Broken::Slots)?;
        let rules = head.app(&wanted.app).map(|app| wanted::in_force(app, &wanted.environment));
        let about = About {
            version: RECORDING_VERSION,
            app: wanted.app.clone(),
            environment: wanted.environment.clone(),
            flag: wanted.flag.clone(),
            since: wanted.since,
            rules: rules.unwrap_or_default(),
        };
        let recorder = Recorder {
            wanted,
            sli: sli.clone(),
            snapshot: then,
            tail,
            entries: VecDeque::new(),
            last: head.revision(),
            objectives: None,
            told: BTreeMap::new(),
            windows: windows.into(),
            until,
            ended: false,
        };
        Ok((recorder, Recorded::Recording(about)))
    }

    /// The lines of the next five minutes of which anything is kept; none after the last. Reads files and the log.
    pub fn next(&mut self, runtime: &Handle) -> Result<Option<Vec<Recorded>>, Broken> {
        if self.ended {
            return Ok(None);
        }
        let mut lines = Vec::new();
        let Some(first) = self.windows.pop_front() else {
            self.ended = true;
            // What happened since the last slot.
            self.go_on(UnixMs(u64::MAX), runtime, &mut lines)?;
            lines.push(Recorded::End { until: self.until.starts_at() });
            return Ok(Some(lines));
        };
        let place = (&self.wanted.app, &self.wanted.environment);
        let kept = self.sli.window(place, self.wanted.flag.as_ref(), first, self.until);
        let Window { slots, sum } = kept.map_err(Broken::Slots)?;
        let from = Slot::at(self.wanted.since);
        // Of sums only whole ones are told: one that began before counts from its beginning.
        let sum = sum.filter(|sum| sum.slot >= from);
        let mut slots: VecDeque<AppSlot> = slots.into_iter().filter(|slot| slot.slot >= from).collect();
        if slots.is_empty() && sum.is_none() {
            return Ok(Some(lines));
        }
        for slot in (first.0..first.0 + WINDOW_SLOTS).map(Slot).filter(|slot| *slot >= from) {
            let closed_at = slot.ends_at().plus(GRACE);
            let changed = self.go_on(closed_at, runtime, &mut lines)?;
            let told = slots.pop_front_if(|told| told.slot == slot);
            if changed || told.is_some() || slot == first || slot == from {
                self.tell_plans(slot, &mut lines, closed_at);
            }
            lines.extend(told.map(Recorded::Slot));
        }
        lines.extend(sum.map(Recorded::Sum));
        Ok(Some(lines))
    }

    /// Folds what was written to the log before a moment: what was done about a slot was done after it closed. `true`: some of it concerns the app.
    fn go_on(&mut self, until: UnixMs, runtime: &Handle, lines: &mut Vec<Recorded>) -> Result<bool, Broken> {
        let mut concerns = false;
        while self.snapshot.revision() < self.last {
            let Some(next) = self.entries.front() else {
                self.entries.extend(runtime.block_on(self.tail.next()).map_err(Broken::Log)?);
                continue;
            };
            let revision = next.revision;
            let entry = Entry::decode(&next.bytes).map_err(|source| Broken::Unknown { revision, source })?;
            if entry.at >= until {
                break;
            }
            let subject = Subject::of(&self.snapshot, &entry.change);
            concerns |= subject.concerns_app(Some(&self.wanted.app));
            self.snapshot = self.snapshot.apply(revision, next.hash, &entry);
            self.entries.pop_front();
            lines.extend(self.acted(revision, &entry).map(Recorded::Acted));
        }
        Ok(concerns)
    }

    /// The act of a guardrail, if an entry is one of this app here.
    fn acted(&self, revision: Revision, entry: &Entry) -> Option<Acted> {
        let Change::GuardrailActed { act } = &entry.change else { return None };
        let here = act.environment.as_ref().is_none_or(|environment| *environment == self.wanted.environment);
        let wanted = self.wanted.flag.as_ref().is_none_or(|flag| act.flag.as_ref() == Some(flag));
        (act.app == self.wanted.app && here && wanted).then(|| Acted {
            at: entry.at,
            revision,
            flag: act.flag.clone(),
            variant: act.variant.clone(),
            measured: act.measured,
            cause: act.cause,
            is_action: act.is_action() && act.cause != rollout_rules::runbook::Cause::Drill,
            words: act.words(),
            reason: entry.reason.clone(),
        })
    }

    /// Tells what is served from a slot on, as far as it is not what was told last.
    fn tell_plans(&mut self, from: Slot, lines: &mut Vec<Recorded>, now: UnixMs) {
        let Wanted { app, environment, flag, .. } = &self.wanted;
        let Some(known) = self.snapshot.app(app) else { return };
        let lives = known.environment(environment).is_some_and(|record| !record.ended(now));
        let divided =
            if lives { wanted::divided(&self.snapshot, known, environment, false, now) } else { Vec::new() };
        let objectives = wanted::objectives(known, environment);
        if self.objectives != Some(objectives) {
            self.objectives = Some(objectives);
            lines.push(Recorded::App(objectives));
        }
        let splits = divided.into_iter().filter(|split| flag.as_ref().is_none_or(|flag| *flag == split.flag));
        let is: BTreeMap<(FlagKey, SplitId), Serves> = splits.map(|split| serves(split, from)).collect();
        let gone: Vec<_> = self.told.keys().filter(|place| !is.contains_key(*place)).cloned().collect();
        for place in gone {
            self.told.remove(&place);
            let (flag, split) = place;
            lines.push(Recorded::Ends { from, flag, split });
        }
        for (place, serves) in is {
            let same = |told: &Serves| Serves { from: told.from, ..serves.clone() } == *told;
            if !self.told.get(&place).is_some_and(same) {
                lines.push(Recorded::Serves(serves.clone()));
                self.told.insert(place, serves);
            }
        }
    }
}

fn serves(split: WantedSplit, from: Slot) -> ((FlagKey, SplitId), Serves) {
    let WantedSplit { flag, split, plan, rollout, runs, .. } = split;
    ((flag.clone(), split.clone()), Serves { from, flag, split, plan, rollout, runs })
}
