//! Batches of outcomes that an app without a server wrote to a file, put together slot by slot as a server does. A file has
//! no plan: who is the control, and how units were divided, is typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rollout_rules::ids::{
    AppKey, EnvKey, FlagKey, IdempotencyKey, InstanceId, Revision, SplitId, VariantKey,
};
use rollout_rules::sli::{
    AppSlot, Gauges, Outcomes, Part, Plan, Recorded, SUM_SLOTS, Serves, Slot, SlowUnits, SplitSlot, Summary,
    Unacceptable, UnitList,
};
use rollout_rules::time::{DAY, UnixMs};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lines::Bad;
use super::{BacktestOptions, Weighed};

/// Lines may be so many slots out of order: five minutes.
const MAX_BEHIND: u32 = SUM_SLOTS;
/// Most variants and revisions of flags in the slots that are still open.
const MAX_OPEN: usize = 100_000;
const EXPECTED: &str = "a batch of outcomes as POST /v1/outcomes takes it";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    instance: InstanceId,
    batch: IdempotencyKey,
    #[serde(default)]
    slot: Option<UnixMs>,
    #[serde(default)]
    gauges: Gauges,
    /// What became of all requests of the slot.
    #[serde(borrow, default)]
    all: Option<&'a RawValue>,
    #[serde(borrow)]
    summaries: Vec<&'a RawValue>,
    #[serde(default, rename = "app")]
    _app: Option<AppKey>,
    #[serde(default, rename = "environment")]
    _environment: Option<EnvKey>,
}

type Place = (FlagKey, SplitId);

/// Why a summary, or a slot, is not taken.
#[derive(Debug)]
enum NotTaken {
    Unacceptable(Unacceptable),
    /// Its slot was judged already.
    TooLate {
        slot: Slot,
        newest: Slot,
    },
    /// Its slot has not begun.
    ToCome {
        slot: Slot,
    },
    /// What became of all requests is told of no slot.
    NoSlot,
    TooMany,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotTaken::Unacceptable(why) => why.fmt(f),
            NotTaken::TooLate { slot, newest } => write!(
                f,
                "the slot {} comes after {} was told of: lines may be five minutes out of order at most",
                slot.starts_at(),
                newest.starts_at()
            ),
            NotTaken::ToCome { slot } => write!(f, "the slot {} is still to come", slot.starts_at()),
            NotTaken::NoSlot => f.write_str("`all` is of the batch's `slot`, which is missing"),
            NotTaken::TooMany => {
                write!(f, "more than {MAX_OPEN} variants of flags are told of within five minutes")
            }
        }
    }
}

#[derive(Default)]
struct Open {
    sources: BTreeSet<InstanceId>,
    gauges: Gauges,
    /// What of which batches was added.
    added: BTreeSet<(InstanceId, IdempotencyKey, Place, Revision, VariantKey)>,
    /// Of which batches all requests were added.
    all_added: BTreeSet<(InstanceId, IdempotencyKey)>,
    /// What became of all requests, if that was told.
    all: Option<Outcomes>,
    parts: BTreeMap<Place, BTreeMap<(Revision, VariantKey), Outcomes>>,
}

/// Slots that are being put together.
pub(super) struct Batches {
    control: Option<VariantKey>,
    shares: Vec<(VariantKey, u32)>,
    open: BTreeMap<Slot, Open>,
    parts: usize,
    /// Every slot before it was handed on.
    from: Slot,
    newest: Slot,
    /// No slot is later: nothing was recorded that is still to come.
    last: Slot,
    plans: BTreeMap<Place, Plan>,
}

impl Batches {
    pub(super) fn new(options: &BacktestOptions, now: UnixMs) -> Batches {
        let shares = options.shares.iter().map(|Weighed(variant, weight)| (variant.clone(), *weight));
        Batches {
            control: options.control.clone(),
            shares: shares.collect(),
            open: BTreeMap::new(),
            parts: 0,
            from: Slot(0),
            newest: Slot(0),
            last: Slot::at(now.plus(DAY)),
            plans: BTreeMap::new(),
        }
    }

    /// Takes a line in; what of it cannot be taken is told, and the rest is.
    pub(super) fn take(&mut self, text: &str, number: u64, bad: &mut Bad) {
        let batch: Batch<'_> = match serde_json::from_str(text) {
            Ok(batch) => batch,
            Err(error) => return bad.say_json(number, 0, &error, EXPECTED),
        };
        if let Some(slot) = batch.slot.map(Slot::at) {
            match self.hear(slot, &batch) {
                Ok(open) => open.gauges.merge(batch.gauges),
                Err(why) => bad.say(number, 1, why),
            }
        }
        // What is read of a line lies within it.
        let place = |raw: &RawValue| (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        if let Some(raw) = batch.all {
            match serde_json::from_str(raw.get()) {
                Ok(all) => {
                    if let Err(why) = self.add_all(&batch, all) {
                        bad.say(number, place(raw) + 1, why);
                    }
                }
                Err(error) => bad.say_json(number, place(raw), &error, "what became of all requests"),
            }
        }
        for raw in &batch.summaries {
            let before = place(raw);
            let summary: Summary = match serde_json::from_str(raw.get()) {
                Ok(summary) => summary,
                Err(error) => {
                    bad.say_json(number, before, &error, "a summary");
                    continue;
                }
            };
            if let Err(problem) = self.add(&batch, summary) {
                bad.say(number, before + 1, problem);
            }
        }
    }

    fn hear(&mut self, slot: Slot, batch: &Batch<'_>) -> Result<&mut Open, NotTaken> {
        if slot < self.from {
            return Err(NotTaken::TooLate { slot, newest: self.newest });
        }
        if slot > self.last {
            return Err(NotTaken::ToCome { slot });
        }
        self.newest = self.newest.max(slot);
        let open = self.open.entry(slot).or_default();
        open.sources.insert(batch.instance.clone());
        Ok(open)
    }

    /// Adds what became of all requests, once for a batch.
    fn add_all(&mut self, batch: &Batch<'_>, mut all: Outcomes) -> Result<(), NotTaken> {
        all.check().map_err(NotTaken::Unacceptable)?;
        let slot = batch.slot.map(Slot::at).ok_or(NotTaken::NoSlot)?;
        if self.parts >= MAX_OPEN {
            return Err(NotTaken::TooMany);
        }
        let open = self.hear(slot, batch)?;
        if open.all_added.insert((batch.instance.clone(), batch.batch.clone())) {
            all.complete_what_is_empty();
            // An app is compared with nothing: who was served, or slow, is not asked.
            (all.served, all.slow) = (UnitList::unknown(), SlowUnits::unknown());
            open.all.get_or_insert_default().merge(&all);
            self.parts += 1;
        }
        Ok(())
    }

    fn add(&mut self, batch: &Batch<'_>, summary: Summary) -> Result<(), NotTaken> {
        let Summary { flag, flag_revision, split, variant, slot, mut outcomes } = summary;
        outcomes.check().map_err(NotTaken::Unacceptable)?;
        if self.parts >= MAX_OPEN {
            return Err(NotTaken::TooMany);
        }
        let open = self.hear(slot, batch)?;
        let place = (flag, split);
        let name =
            (batch.instance.clone(), batch.batch.clone(), place.clone(), flag_revision, variant.clone());
        // The same batch again adds nothing.
        if open.added.insert(name) {
            outcomes.complete_what_is_empty();
            let parts = open.parts.entry(place).or_default();
            parts.entry((flag_revision, variant)).or_default().merge(&outcomes);
            self.parts += 1;
        }
        Ok(())
    }

    /// The slots that nothing more comes for.
    pub(super) fn closed(&mut self) -> Vec<Recorded> {
        let until = Slot(self.newest.0.saturating_sub(MAX_BEHIND));
        self.close(until)
    }

    /// All of them.
    pub(super) fn end(mut self) -> Vec<Recorded> {
        let until = self.newest.plus(1);
        let mut lines = self.close(until);
        lines.push(Recorded::End { until: until.starts_at() });
        lines
    }

    fn close(&mut self, until: Slot) -> Vec<Recorded> {
        self.from = self.from.max(until);
        let later = self.open.split_off(&until);
        let mut lines = Vec::new();
        for (slot, open) in std::mem::replace(&mut self.open, later) {
            self.parts = self.parts.saturating_sub(open.added.len() + open.all_added.len());
            for (place, parts) in &open.parts {
                for (revision, variant) in parts.keys() {
                    lines.extend(self.planned(place, *revision, variant, slot));
                }
            }
            let splits = open.parts.into_iter().map(|((flag, split), parts)| {
                let part = |((revision, variant), outcomes)| Part { revision, variant, outcomes };
                SplitSlot { flag, split, parts: parts.into_iter().map(part).collect() }
            });
            lines.push(Recorded::Slot(AppSlot {
                slot,
                sources: u32::try_from(open.sources.len()).unwrap_or(u32::MAX),
                all: open.all,
                gauges: open.gauges,
                splits: splits.collect(),
            }));
        }
        lines
    }

    /// What a split serves, once something of a revision or a variant comes that was not told of: as if a rollout ran all the
    /// time.
    fn planned(
        &mut self,
        place: &Place,
        revision: Revision,
        variant: &VariantKey,
        from: Slot,
    ) -> Option<Recorded> {
        let known = self.plans.get(place);
        let is_known = known.is_some_and(|plan| {
            plan.revision == revision && plan.weights.iter().any(|(known, _)| known == variant)
        });
        // Both revisions of a change may be told of for a while.
        if is_known || known.is_some_and(|plan| revision < plan.revision) {
            return None;
        }
        let weights = if self.shares.is_empty() {
            let same = known.filter(|plan| plan.revision == revision);
            let mut weights = same.map(|plan| plan.weights.clone()).unwrap_or_default();
            weights.push((variant.clone(), 1));
            weights
        } else {
            let mut weights = self.shares.clone();
            if !weights.iter().any(|(known, _)| known == variant) {
                weights.push((variant.clone(), 0));
            }
            weights
        };
        let plan = Plan { revision, control: self.control.clone(), weights };
        self.plans.insert(place.clone(), plan.clone());
        let (flag, split) = place.clone();
        Some(Recorded::Serves(Serves { from, flag, split, plan, rollout: None, runs: true }))
    }
}
