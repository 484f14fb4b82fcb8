//! Answers as numbers, which cross to JavaScript for nothing.

use rollout_rules::evaluate::{Answer, Reason};
use rollout_rules::flag::{Height, HoldCause};

/// There is no such flag.
pub(crate) const NO_FLAG: u32 = u32::MAX;

/// The context is refused.
pub(crate) const REFUSED: u32 = u32::MAX - 1;

/// The names of reasons, by their numbers.
pub(crate) const REASONS: &str = "killed_everything,killed_app,killed_flag,held_guardrail,held_budget,held_gate,\
    expired,environment_ended,off,prerequisite_failed,target,rule,rule_split,split,exposed,default,not_exposed,\
    no_unit,broken";

fn number(reason: Reason) -> u32 {
    match reason {
        Reason::Killed(Height::Everything) => 0,
        Reason::Killed(Height::App) => 1,
        Reason::Killed(Height::Flag) => 2,
        Reason::Held(HoldCause::Guardrail) => 3,
        Reason::Held(HoldCause::Budget) => 4,
        Reason::Held(HoldCause::Gate) => 5,
        Reason::Expired => 6,
        Reason::EnvironmentEnded => 7,
        Reason::Off => 8,
        Reason::PrerequisiteFailed => 9,
        Reason::Target => 10,
        Reason::Rule { .. } => 11,
        Reason::RuleSplit { .. } => 12,
        Reason::Split => 13,
        Reason::Exposed => 14,
        Reason::Default => 15,
        Reason::NotExposed => 16,
        Reason::NoUnit => 17,
        Reason::Broken => 18,
    }
}

/// The variant's place in the lowest 16 bits, the reason's number in the next 8, and whether it serves.
pub(crate) fn packed(answer: &Answer<'_>) -> u32 {
    let serves = u32::from(answer.reason.serves());
    u32::from(answer.index()) | (number(answer.reason) << 16) | (serves << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_name_at_its_number() {
        let index = 0;
        let heights = [Height::Everything, Height::App, Height::Flag].map(Reason::Killed);
        let causes = [HoldCause::Guardrail, HoldCause::Budget, HoldCause::Gate].map(Reason::Held);
        let others = [
            Reason::Expired,
            Reason::EnvironmentEnded,
            Reason::Off,
            Reason::PrerequisiteFailed,
            Reason::Target,
            Reason::Rule { index },
            Reason::RuleSplit { index },
            Reason::Split,
            Reason::Exposed,
            Reason::Default,
            Reason::NotExposed,
            Reason::NoUnit,
            Reason::Broken,
        ];
        let names: Vec<&str> = REASONS.split(',').collect();
        let all: Vec<Reason> = heights.into_iter().chain(causes).chain(others).collect();
        assert_eq!(names.len(), all.len());
        for reason in all {
            assert_eq!(names[number(reason) as usize], reason.code());
        }
    }
}
