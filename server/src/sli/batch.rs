//! What a process of an app tells of its requests, and what of it is not taken.

use std::fmt;

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, IdempotencyKey, InstanceId, VariantKey};
use rollout_rules::sli::{Gauges, Outcomes, Slot, Summary, Unacceptable};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::open::Open;

/// Most summaries in one batch.
pub const MAX_SUMMARIES: usize = 1_000;

/// What a process of an app tells of its requests in one slot or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OutcomeBatch")]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Who tells.
    pub instance: InstanceId,
    /// Names this batch among those of the instance. Sent again under the same name, it is not added again.
    pub batch: IdempotencyKey,
    /// Any moment of a slot that the process lived through: it is one that reports, even where no summary tells of that slot.
    #[serde(default)]
    pub slot: Option<UnixMs>,
    /// How much the process used of what it has, in that slot. Of several processes the worst counts.
    #[serde(default)]
    pub gauges: Gauges,
    /// What became of all of the process's requests in that slot, those in which no flag was checked included; a slot's other
    /// batches leave it out. Rules of the app itself and its spend go by it. Where no process tells it, the flag that was asked for
    /// most stands for the app.
    #[serde(default)]
    #[schemars(with = "Option<Outcomes>")]
    pub all: Option<Box<RawValue>>,
    /// At most 1,000. Each is taken or refused by itself.
    #[schemars(with = "Vec<Summary>", length(max = 1000))]
    pub summaries: Vec<Box<RawValue>>,
    /// The app, if the token is bound to none.
    #[serde(default)]
    pub app: Option<AppKey>,
    /// The environment, if the token is bound to none.
    #[serde(default)]
    pub environment: Option<EnvKey>,
}

/// Why a summary was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not have the form of a summary: a member is missing, unknown, negative, or no number.
    Malformed(String),
    /// It says what cannot be, or comes at the wrong time.
    Unacceptable(Unacceptable),
    /// The app has no such flag in this environment.
    UnknownFlag(FlagKey),
    /// The flag has no such variant.
    UnknownVariant(VariantKey),
    /// The flag has not so many splits.
    TooManySplits {
        /// How many are taken.
        most: usize,
    },
    /// Open slots hold as much as they may.
    NoRoom {
        /// How many variants of flags that is.
        most: usize,
    },
}

impl From<Unacceptable> for Refusal {
    fn from(why: Unacceptable) -> Refusal {
        Refusal::Unacceptable(why)
    }
}

impl Refusal {
    /// A word for it that does not change.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Unacceptable(why) => why.code(),
            Refusal::UnknownFlag(_) => "unknown_flag",
            Refusal::UnknownVariant(_) => "unknown_variant",
            Refusal::TooManySplits { .. } => "too_many_splits",
            Refusal::NoRoom { .. } => "no_room",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(why) => f.write_str(why),
            Refusal::Unacceptable(why) => why.fmt(f),
            Refusal::UnknownFlag(flag) => write!(f, "there is no flag `{flag}` in this environment"),
            Refusal::UnknownVariant(variant) => write!(f, "the flag has no variant `{variant}`"),
            Refusal::TooManySplits { most } => write!(f, "at most {most} splits of one flag are taken"),
            Refusal::NoRoom { most } => {
                write!(
                    f,
                    "{most} variants of flags are in open slots, and no more are taken until some close"
                )
            }
        }
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Summaries that were added.
    pub added: u64,
    /// Summaries that were added before, under the same name of the batch.
    pub repeated: u64,
    /// Requests that were added.
    pub requests: u64,
    /// Summaries that were not taken, by their place in the batch.
    pub refused: Vec<(usize, Refusal)>,
    /// Why what became of all requests was not taken, if it was not.
    pub all_refused: Option<Refusal>,
}

/// Adds a batch to the open slots.
pub(super) fn take(
    open: &Open,
    (app, environment): (&AppKey, &EnvKey),
    batch: &Batch,
    snapshot: &Snapshot,
    now: UnixMs,
) -> Taken {
    let mut taken = Taken::default();
    let mut summaries = Vec::with_capacity(batch.summaries.len());
    for (index, raw) in batch.summaries.iter().enumerate() {
        match read(raw, app, environment, snapshot) {
            Ok(summary) => summaries.push((index, summary)),
            Err(refusal) => taken.refused.push((index, refusal)),
        }
    }
    let all = batch.all.as_deref().map(|all| read_all(all, batch.slot));
    let name = open.name(&batch.instance, batch.batch.as_str());
    open.with(app, environment, |of_app| {
        if let Some(slot) = batch.slot {
            open.heard(of_app, &batch.instance, Slot::at(slot), now);
            open.measured(of_app, batch.gauges, Slot::at(slot), now);
        }
        let added = all.map(|all| all.and_then(|(slot, all)| open.add_all(of_app, name, slot, all, now)));
        taken.all_refused = added.and_then(Result::err);
        for (index, summary) in summaries {
            match open.add(of_app, name, &summary, now) {
                Ok(is_new) => {
                    open.heard(of_app, &batch.instance, summary.slot, now);
                    taken.added += u64::from(is_new);
                    taken.repeated += u64::from(!is_new);
                    taken.requests += if is_new { summary.outcomes.requests } else { 0 };
                }
                Err(refusal) => taken.refused.push((index, refusal)),
            }
        }
    });
    taken.refused.sort_by_key(|(index, _)| *index);
    taken
}

/// Reads what became of all requests of a slot.
fn read_all(raw: &RawValue, slot: Option<UnixMs>) -> Result<(Slot, Outcomes), Refusal> {
    let all = serde_json::from_str(raw.get()).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let slot =
        slot.ok_or_else(|| Refusal::Malformed("`all` is of the batch's `slot`, which is missing".into()))?;
    Ok((Slot::at(slot), all))
}

/// Reads a summary, of a flag and variant that are there.
fn read(raw: &RawValue, app: &AppKey, environment: &EnvKey, snapshot: &Snapshot) -> Result<Summary, Refusal> {
    let summary: Summary =
        serde_json::from_str(raw.get()).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let flag = snapshot.flag(app, &summary.flag).map(|view| view.record());
    let flag = flag.filter(|flag| !flag.is_archived() && flag.state(environment).is_some());
    let Some(flag) = flag else { return Err(Refusal::UnknownFlag(summary.flag)) };
    if !flag.flag().variants.iter().any(|known| known.key == summary.variant) {
        return Err(Refusal::UnknownVariant(summary.variant));
    }
    Ok(summary)
}
