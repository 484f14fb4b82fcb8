//! The worst findings of a piece: a report of a million keeps its thousand worst, and their number.

use core::cmp::Ordering;

use rollout_rules::gate::facts::{Finding, MAX_FINDINGS};

/// Counts every finding and keeps the worst [`MAX_FINDINGS`].
#[derive(Default)]
pub(super) struct Worst {
    total: u64,
    kept: Vec<Finding>,
}

impl Worst {
    /// One more. Twice as many as are kept at the end are held at most.
    pub(super) fn add(&mut self, finding: Finding) {
        self.total += 1;
        self.kept.push(finding);
        if self.kept.len() >= 2 * MAX_FINDINGS {
            self.shrink();
        }
    }

    /// One more, if it is one.
    pub(super) fn add_if(&mut self, finding: Option<Finding>) {
        if let Some(finding) = finding {
            self.add(finding);
        }
    }

    /// How many there were, and the worst of them, the worst first.
    pub(super) fn finish(mut self) -> (u64, Vec<Finding>) {
        self.shrink();
        (self.total, self.kept)
    }

    fn shrink(&mut self) {
        self.kept.sort_by(worse_first);
        self.kept.truncate(MAX_FINDINGS);
    }
}

/// Everything that is shown has a part in the order, so that it does not hang on how a report was written.
fn worse_first(one: &Finding, other: &Finding) -> Ordering {
    let rest = |f: &Finding| (f.rule.clone(), f.file.clone(), f.line, f.fingerprint, f.title.clone());
    other.severity.cmp(&one.severity).then_with(|| {
        one.rule
            .cmp(&other.rule)
            .then_with(|| one.file.cmp(&other.file))
            .then_with(|| rest(one).cmp(&rest(other)))
    })
}
