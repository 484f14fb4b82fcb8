//! What is left of a slot once it is closed.

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, SplitId};
use rollout_rules::sli::{Gauges, Outcomes, Part, Slot, SlotEntry};

/// A split of a flag in an environment of an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watched {
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// The flag.
    pub flag: FlagKey,
    /// The split.
    pub split: SplitId,
}

/// A slot, closed: what was reported for it, by app environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSlot {
    /// Which.
    pub slot: Slot,
    /// App environments of which anything was reported, by key; none if nobody reported anything.
    pub apps: Vec<AppSlot>,
}

/// One app environment in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSlot {
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// How many processes of the app reported anything, requests or not.
    pub sources: u32,
    /// What became of all of the app's requests, if any process told it.
    pub all: Option<Outcomes>,
    /// What the processes used of what they have.
    pub gauges: Gauges,
    /// Splits with requests, by flag and split.
    pub splits: Vec<SplitSlot>,
}

/// One split of one flag in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitSlot {
    /// The flag.
    pub flag: FlagKey,
    /// The split.
    pub split: SplitId,
    /// What became of its requests, by revision and variant.
    pub parts: Vec<Part>,
}

impl ClosedSlot {
    /// What a watch over a split folds of this slot. Where nobody reported anything it is empty, and so are the slots
    /// between this one and the next.
    pub fn entry(&self, watched: &Watched) -> SlotEntry {
        let app =
            self.apps.iter().find(|one| one.app == watched.app && one.environment == watched.environment);
        let split = app
            .into_iter()
            .flat_map(|app| &app.splits)
            .find(|one| one.flag == watched.flag && one.split == watched.split);
        SlotEntry {
            slot: self.slot,
            sources: app.map_or(0, |app| app.sources),
            parts: split.map(|split| split.parts.clone()).unwrap_or_default(),
        }
    }
}
