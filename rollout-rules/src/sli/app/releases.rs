//! What another release means for what is watched, and the same one again.

use alloc::vec::Vec;
use core::mem::replace;

use super::{AppWatch, Split};
use crate::release::ArtifactDigest;
use crate::sli::lately::Lately;
use crate::sli::parked::Parked;
use crate::sli::watch::Watch;

impl AppWatch {
    /// Another artifact runs from now on; none: it is not known which. What was found of the one before is not held against
    /// it: rules of the app begin anew and may act again, and so does the watch over every split, unless the same artifact was
    /// watched before. It is compared with the release before where there is no control.
    pub fn released(&mut self, artifact: Option<ArtifactDigest>) {
        if self.artifact == artifact {
            return;
        }
        let before = replace(&mut self.artifact, artifact);
        self.week.released(artifact);
        self.usual = self.week.usual(self.next);
        self.lately = Lately::default();
        self.rules.iter_mut().for_each(|rule| rule.released(self.next));
        // What is known of the one that runs now is taken out before what was found of the other makes older things go.
        let parked = &mut self.parked;
        let known = self.splits.iter().map(|split| parked.take(artifact, &split.flag, &split.split));
        let known: Vec<Option<Watch>> = known.collect();
        for (split, known) in self.splits.iter_mut().zip(known) {
            let anew = split.watch.anew(self.usual.clone());
            split.begin(anew, before, &mut self.parked);
            split.go_on_from(known);
        }
    }
}

impl Split {
    /// Begins with another watch. What was found until now is kept for when the same artifact is tried again.
    pub(super) fn begin(&mut self, watch: Watch, before: Option<ArtifactDigest>, parked: &mut Parked) {
        parked.put(before, &self.flag, &self.split, replace(&mut self.watch, watch));
        self.alarmed = None;
    }

    /// What begins goes on where it was, if the same was asked of the same artifact before.
    pub(super) fn inherit(&mut self, artifact: Option<ArtifactDigest>, parked: &mut Parked) {
        self.go_on_from(parked.take(artifact, &self.flag, &self.split));
    }

    fn go_on_from(&mut self, known: Option<Watch>) {
        if let Some(mut known) = known.filter(|known| known.asks_the_same(&self.watch)) {
            known.go_on(self.watch.clone());
            self.watch = known;
        }
    }
}
