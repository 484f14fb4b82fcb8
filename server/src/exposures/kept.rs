//! What is kept of the sums, in memory and on disk.

use std::collections::BTreeMap;

use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::answers::FlagSums;

/// A flag in an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The app.
    pub app: AppKey,
    /// The flag.
    pub flag: FlagKey,
    /// The environment; none: those that are gone, of which is kept when the flag was asked for last.
    pub environment: Option<EnvKey>,
}

/// What is kept of the sums on disk.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The sums of each flag.
    pub flags: BTreeMap<Place, FlagSums>,
    /// When something of an app was last not counted, or was lost; none: of all apps.
    pub gaps: BTreeMap<Option<AppKey>, UnixMs>,
}

/// What a line on disk is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Gap(Option<AppKey>),
    Flag(Place),
}

/// Something as it is now; none: it is gone.
pub(super) enum Change {
    Gap(Option<AppKey>, Option<UnixMs>),
    Flag(Place, Option<FlagSums>),
}

impl Change {
    pub(super) fn about(&self) -> About {
        match self {
            Change::Gap(app, _) => About::Gap(app.clone()),
            Change::Flag(place, _) => About::Flag(place.clone()),
        }
    }

    /// How many answers it takes to copy, about.
    pub(super) fn size(&self) -> usize {
        match self {
            Change::Flag(_, Some(sums)) => sums.size(),
            Change::Flag(_, None) | Change::Gap(..) => 1,
        }
    }
}

/// What is still there of a [`Place`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Still {
    There,
    /// The environment is gone, or has the flag no more.
    FlagAlone,
    Gone,
}
