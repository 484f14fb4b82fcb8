//! Whether a rollout may go on.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::verdict::State;
use crate::ids::VariantKey;

/// What outcomes say of the stage of a rollout, once it was held for as long as the plan asks.
///
/// | standing | what becomes of the rollout |
/// | --- | --- |
/// | `not_enough_data` | the tier decides: 0 and 1 go on, 2 asks a person |
/// | `shown_good` | it goes on: the variant is no worse than the size that matters, shown at 1 in 20 |
/// | `held` | it waits, however long, until nothing speaks against it any more |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing speaks against it, and too little was seen to speak for it.
    NotEnoughData,
    /// All variants were shown to be good.
    ShownGood,
    /// Something speaks against going on.
    Held(Held),
}

/// What speaks against going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// A variant is held to be this. Without data, too: silence is no reason to go on.
    Variant(VariantKey, State),
    /// The control does much worse than it usually does.
    Control,
    /// A rule of the app itself holds, or nearly does; one on what the month costs only if it holds.
    App,
    /// Nothing is watched: there is no such split.
    Unwatched,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::NotEnoughData => {
                f.write_str("nothing speaks against it; too little was seen to speak for it")
            }
            Standing::ShownGood => f.write_str("shown to be no worse than the control"),
            Standing::Held(Held::Variant(variant, state)) => write!(f, "{variant} is {state}"),
            Standing::Held(Held::Control) => f.write_str("the control does much worse than it usually does"),
            Standing::Held(Held::App) => f.write_str("the app itself does badly"),
            Standing::Held(Held::Unwatched) => f.write_str("nothing is watched"),
        }
    }
}
