//! Rules as people read them. What is printed is read back as the same rule.

use core::fmt;

use super::{Action, Bound, Guardrail, Operator, TWICE, Test, write_decimal};
use crate::written::write_length;

impl fmt::Display for Guardrail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> ", self.when)?;
        for (at, action) in self.then.iter().enumerate() {
            write!(f, "{}{action}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::WorseThanControl { sli, by_thousandths } => {
                write!(f, "{} worse than control", sli.name())?;
                if *by_thousandths != TWICE {
                    f.write_str(" by ")?;
                    write_decimal(f, *by_thousandths, 1_000)?;
                    f.write_str("x")?;
                }
            }
            Test::Threshold { sli, operator, bound, sustained_ms } => {
                let operator = match operator {
                    Operator::Above => ">",
                    Operator::AtLeast => ">=",
                    Operator::Below => "<",
                    Operator::AtMost => "<=",
                };
                write!(f, "{} {operator} {bound}", sli.name())?;
                if let Some(sustained) = sustained_ms {
                    f.write_str(" for ")?;
                    write_length(f, *sustained)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Bound::Millionths(part) => {
                write_decimal(f, part, 10_000)?;
                f.write_str("%")
            }
            Bound::Microseconds(us) if us.is_multiple_of(1_000_000) => write!(f, "{}s", us / 1_000_000),
            Bound::Microseconds(us) if us.is_multiple_of(1_000) => write!(f, "{}ms", us / 1_000),
            Bound::Microseconds(us) => write!(f, "{us}us"),
            Bound::Micros(micros) => write_decimal(f, micros, 1_000_000),
            Bound::TimesBaseline(thousandths) => {
                write_decimal(f, thousandths, 1_000)?;
                f.write_str("x baseline")
            }
            Bound::OfBudget(1_000_000) => f.write_str("budget"),
            Bound::OfBudget(part) => {
                write_decimal(f, part, 10_000)?;
                f.write_str("% of budget")
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::FlagOff => f.write_str("flag off"),
            Action::RolloutToZero => f.write_str("rollout to 0"),
            Action::RevertRelease => f.write_str("revert release"),
            Action::DisableNonCritical => f.write_str("disable non-critical"),
            Action::Notify(channel) => write!(f, "notify {channel}"),
            Action::Run(job) => write!(f, "run {job}"),
        }
    }
}
