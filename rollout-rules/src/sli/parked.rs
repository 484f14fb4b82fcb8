//! What is known of splits that are watched no more, until the same artifact is tried again.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::watch::Watch;
use crate::ids::{FlagKey, SplitId};
use crate::release::ArtifactDigest;

/// Of so many splits and artifacts of an app environment what was found is remembered after they are watched no more. For one
/// more the oldest goes, and begins anew if it is tried again.
pub const MAX_PARKED: usize = 32;

/// The watches, the one that ended first first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Parked(Vec<One>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    artifact: ArtifactDigest,
    flag: FlagKey,
    split: SplitId,
    watch: Watch,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers what was found while an artifact ran. Where it is not known which did, it is evidence of none.
    pub(super) fn put(
        &mut self,
        artifact: Option<ArtifactDigest>,
        flag: &FlagKey,
        split: &SplitId,
        mut watch: Watch,
    ) {
        let Some(artifact) = artifact.filter(|_| watch.has_seen()) else { return };
        // Units are counted anew when it goes on: until then they would only take room.
        watch.forget_units();
        self.take(Some(artifact), flag, split);
        if self.0.len() == MAX_PARKED {
            self.0.remove(0);
        }
        self.0.push(One { artifact, flag: flag.clone(), split: split.clone(), watch });
    }

    /// Takes out what was found of a split while an artifact ran.
    pub(super) fn take(
        &mut self,
        artifact: Option<ArtifactDigest>,
        flag: &FlagKey,
        split: &SplitId,
    ) -> Option<Watch> {
        let is_it = |one: &One| Some(one.artifact) == artifact && one.flag == *flag && one.split == *split;
        let at = self.0.iter().position(is_it)?;
        Some(self.0.remove(at).watch)
    }
}
