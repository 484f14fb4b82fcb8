//! One slot of an app: what it told of itself and of its flags.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{FlagKey, SplitId};
use crate::sli::gauges::Gauges;
use crate::sli::intake::Part;
use crate::sli::outcomes::Outcomes;
use crate::sli::slot::Slot;

/// One slot of an app in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSlot {
    /// Which.
    pub slot: Slot,
    /// How many processes of the app reported anything, requests or not.
    pub sources: u32,
    /// What became of all of the app's requests. Absent, or fewer than those of one flag, since not all processes tell it:
    /// then those of the flag with most requests in the slot stand for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Outcomes>,
    /// What the app said of itself.
    #[serde(default)]
    pub gauges: Gauges,
    /// Splits with requests, each once, in the order of flags and splits; what is out of order does not count.
    pub splits: Vec<SplitSlot>,
}

/// One split of one flag in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSlot {
    /// The flag.
    pub flag: FlagKey,
    /// The split.
    pub split: SplitId,
    /// What became of its requests, by revision and variant.
    pub parts: Vec<Part>,
}

impl AppSlot {
    /// What became of all of the app's requests, as far as it is known.
    pub fn whole(&self) -> Outcomes {
        let most = most_asked(&self.splits);
        self.all.as_ref().filter(|all| all.requests >= most.requests).cloned().unwrap_or(most)
    }
}

/// What became of the requests of the flag that was asked for most.
pub(in crate::sli) fn most_asked<'a>(splits: impl IntoIterator<Item = &'a SplitSlot>) -> Outcomes {
    let (mut most, mut sum) = (Outcomes::default(), Outcomes::default());
    let mut of: Option<&FlagKey> = None;
    for split in splits {
        if of.is_some_and(|flag| *flag != split.flag) {
            let done = core::mem::take(&mut sum);
            if done.requests > most.requests {
                most = done;
            }
        }
        of = Some(&split.flag);
        split.parts.iter().for_each(|part| sum.merge(&part.outcomes));
    }
    if sum.requests > most.requests { sum } else { most }
}
