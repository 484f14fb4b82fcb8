//! What scenarios do, by kind. Each kind is a file of its own with its settings, which a scenario has in a section of
//! the kind's name; here it has one line.

mod beside;
pub(crate) mod checks;
mod feed;
mod overload;
mod restart;
pub(crate) mod scale;
mod sdk;
mod soak;

use std::fmt;
use std::time::Duration;

use crate::problem::Problem;
use crate::report::Findings;
use crate::run::Runner;
use crate::scenario::{Measure, Reading, Scenario, Who};

/// Reads the section of a kind.
pub(crate) type Read = fn(&mut Reading<'_>) -> Box<dyn Kind>;

/// All kinds, by their names in files.
pub(crate) const KINDS: &[(&str, Read)] = &[
    ("checks", checks::read),
    ("changes", beside::read_changes),
    ("reports", beside::read_reports),
    ("sdk", sdk::read),
    ("scale", scale::read),
    ("feed", feed::read),
    ("restart", restart::read),
    ("overload", overload::read),
    ("soak", soak::read),
];

/// What is done, with its settings.
pub(crate) trait Kind: fmt::Debug {
    /// Whether it gives such a figure: a bar may be about no other. `of` is whose figure it is divided by, if it is.
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool;

    /// How long it takes, starts not counted; `against` is who is measured beside instead of whom the file names.
    fn planned(&self, is_short: bool, against: Option<&[Who]>) -> Duration;

    /// What is measured, in a few words for the table.
    fn words(&self, is_short: bool) -> String;

    /// Whether it can be run before a server that is not ours.
    fn takes_target(&self) -> bool {
        false
    }

    /// Whom the command line may name to be measured beside it.
    fn baselines(&self) -> &'static [(&'static str, Who)] {
        &[]
    }

    /// Measures.
    ///
    /// # Errors
    /// When it cannot be brought to its end. What goes wrong while something is measured is among the findings.
    fn run(&self, scenario: &Scenario, runner: &mut Runner) -> Result<Findings, Problem>;
}

/// Those of `against` that are among `known`; none if it names none of them, and is about other scenarios.
pub(crate) fn named(against: Option<&[Who]>, known: &[(&str, Who)]) -> Option<Vec<Who>> {
    let is_known = |who: &&Who| known.iter().any(|(_, known)| known == *who);
    let named: Vec<Who> = against?.iter().filter(is_known).copied().collect();
    (!named.is_empty()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::LIBRARIES;

    #[test]
    fn names_of_other_scenarios_leave_a_scenario_with_whom_its_file_names() {
        let against = [Who::Edge, Who::Eppo, Who::Floor];
        assert_eq!(named(Some(&against), LIBRARIES), Some(vec![Who::Eppo]));
        assert_eq!(named(Some(&against), checks::BASELINES), Some(vec![Who::Edge, Who::Floor]));
        assert_eq!(named(Some(&[Who::Edge]), LIBRARIES), None);
        assert_eq!(named(None, LIBRARIES), None);
    }
}
