//! What is kept of an app in an environment, five minutes at a time, for whoever tries rules on it.

use std::collections::BTreeMap;
use std::io;

use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::sli::{AppSlot, AppSum, Slot, SplitSlot};

use super::rows::{self, Row};
use super::{Sli, WINDOW_SLOTS};

/// What is kept of five minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The slots for which anything was reported, in order.
    pub slots: Vec<AppSlot>,
    /// Flags of which only the sum is kept, if there are any.
    pub sum: Option<AppSum>,
}

impl Sli {
    /// The first slots of the five minutes of which anything is kept, from those of `from` on and before `until`.
    pub fn windows(&self, from: Slot, until: Slot) -> io::Result<Vec<Slot>> {
        if let Some(files) = &self.0.files {
            return files.windows((from, until));
        }
        let stored = self.stored();
        let slots = stored.recent.iter().map(|closed| closed.slot);
        let first = |slot: Slot| Slot(slot.0 / WINDOW_SLOTS * WINDOW_SLOTS);
        let mut windows: Vec<Slot> =
            slots.filter(|slot| first(*slot) >= first(from) && *slot < until).map(first).collect();
        windows.sort_unstable();
        windows.dedup();
        Ok(windows)
    }

    /// What is kept of the five minutes that begin with `first`, of all flags or of one, before `until`. Reads a file.
    pub fn window(
        &self,
        (app, environment): (&AppKey, &EnvKey),
        flag: Option<&FlagKey>,
        first: Slot,
        until: Slot,
    ) -> io::Result<Window> {
        let mut rows: Vec<Row> = Vec::new();
        let end = first.plus(WINDOW_SLOTS).min(until);
        if let Some(files) = &self.0.files {
            let beginnings = match flag {
                Some(flag) => rows::beginnings(app, environment, flag).to_vec(),
                None => vec![rows::beginning(app, environment)],
            };
            files.read((first, end), &beginnings, |row| rows.push(row))?;
        } else {
            let stored = self.stored();
            let recent = stored.recent.iter().filter(|closed| closed.slot >= first && closed.slot < end);
            let lines = recent.flat_map(|closed| rows::lines(closed)).map(|line| line.row());
            let wanted = |row: &Row| {
                row.app == *app
                    && row.environment == *environment
                    && row.flag.as_ref().is_none_or(|of| flag.is_none_or(|flag| flag == of))
            };
            rows.extend(lines.filter(wanted));
        }
        Ok(window(first, rows))
    }
}

fn window(first: Slot, rows: Vec<Row>) -> Window {
    let mut slots: BTreeMap<Slot, AppSlot> = BTreeMap::new();
    let mut sums: Vec<SplitSlot> = Vec::new();
    let (mut all_of_sum, mut is_sum) = (None, false);
    for row in rows {
        let split = row.flag.zip(row.split).map(|(flag, split)| SplitSlot { flag, split, parts: row.parts });
        if row.slots != 1 {
            if split.is_none() {
                all_of_sum = row.all;
            }
            sums.extend(split);
            is_sum = true;
            continue;
        }
        let (slot, sources) = (row.slot, row.sources);
        let (all, gauges, splits) = Default::default();
        let told = slots.entry(slot).or_insert(AppSlot { slot, sources, all, gauges, splits });
        match split {
            Some(split) => told.splits.push(split),
            None => (told.all, told.gauges) = (row.all, row.gauges),
        }
    }
    let in_order = |splits: &mut Vec<SplitSlot>| {
        splits.sort_by(|a, b| (&a.flag, &a.split).cmp(&(&b.flag, &b.split)));
    };
    in_order(&mut sums);
    let mut slots: Vec<AppSlot> = slots.into_values().collect();
    slots.iter_mut().for_each(|slot| in_order(&mut slot.splits));
    let sum = is_sum.then(|| AppSum { slot: first, slots: WINDOW_SLOTS, all: all_of_sum, splits: sums });
    Window { slots, sum }
}
