//! The answer for one flag, as OFREP's clients read it: the bytes that were serialized when the flag was
//! written, then the reason, then what Tidegate adds as metadata.

use std::fmt::Write as _;

use rollout_rules::evaluate::{Answer, Reason, StandardReason};
use rollout_rules::governance::Scope;

use super::Asking;

/// A word of [`StandardReason`] with what stands around it.
macro_rules! reason {
    ($word:literal) => {
        concat!(",\"reason\":\"", $word, "\",\"metadata\":{\"tidegate.revision\":")
    };
}

/// What stands before the flag's revision.
const fn before_revision(reason: StandardReason) -> &'static str {
    match reason {
        StandardReason::Disabled => reason!("DISABLED"),
        StandardReason::TargetingMatch => reason!("TARGETING_MATCH"),
        StandardReason::Split => reason!("SPLIT"),
        StandardReason::Static => reason!("STATIC"),
        StandardReason::Default => reason!("DEFAULT"),
        StandardReason::Unknown => reason!("UNKNOWN"),
    }
}

/// A word of [`Reason::cause`] with what stands around it.
macro_rules! cause {
    ($word:literal) => {
        concat!(",\"tidegate.reason\":\"", $word, "\"")
    };
}

/// What stands after the flag's revision.
const fn after_revision(reason: Reason) -> &'static str {
    match reason {
        Reason::Killed(_) => cause!("killed"),
        Reason::Held(_) => cause!("held"),
        Reason::Expired => cause!("expired"),
        Reason::EnvironmentEnded => cause!("environment_ended"),
        Reason::Off => cause!("off"),
        Reason::PrerequisiteFailed => cause!("prerequisite_failed"),
        Reason::Target => cause!("target"),
        Reason::Rule { .. } => cause!("rule"),
        Reason::RuleSplit { .. } => cause!("rule_split"),
        Reason::Split => cause!("split"),
        Reason::Exposed => cause!("exposed"),
        Reason::Default => cause!("default"),
        Reason::NotExposed => cause!("not_exposed"),
        Reason::NoUnit => cause!("no_unit"),
        Reason::Broken => cause!("broken"),
    }
}

/// Writes the answer, braces included. Names that people gave to kills and rules are not for pages, which everybody reads.
pub(super) fn write(out: &mut String, answer: &Answer<'_>, asking: &Asking<'_>) {
    let tells_names = asking.scope != Scope::SdkBrowser;
    out.push('{');
    out.push_str(answer.serialized());
    // In few pieces: this is done for every flag of every answer, and a format is read anew each time.
    out.push_str(before_revision(answer.standard_reason()));
    out.push_str(itoa::Buffer::new().format(answer.revision().0));
    out.push_str(after_revision(answer.reason));
    match answer.reason {
        Reason::Killed(height) => {
            // Writing to a string cannot fail.
            let _ = write!(out, ",\"tidegate.killed\":\"{height}\"");
            let kill = asking.published.snapshot.flag(asking.app, answer.key());
            let kill = kill.and_then(|flag| flag.killed(asking.environment));
            if let Some((_, kill)) = kill.filter(|_| tells_names) {
                let _ = write!(out, ",\"tidegate.kill_id\":\"{}\"", kill.id);
            }
        }
        Reason::Expired => {
            let _ = write!(out, ",\"tidegate.expired_at\":\"{}\"", answer.flag().state().expires_at);
        }
        Reason::Rule { .. } | Reason::RuleSplit { .. } => {
            if let Some(rule) = answer.rule().filter(|_| tells_names) {
                let _ = write!(out, ",\"tidegate.rule\":\"{rule}\"");
            }
        }
        _ => {}
    }
    if let Some(split) = answer.split() {
        out.push_str(",\"tidegate.split\":\"");
        out.push_str(split.as_str());
        out.push('"');
    }
    out.push_str("}}");
}

#[cfg(test)]
mod tests {
    use rollout_rules::flag::{Height, HoldCause};

    use super::*;

    #[test]
    fn reasons_are_written_in_the_words_that_they_have() {
        for reason in [
            StandardReason::Disabled,
            StandardReason::TargetingMatch,
            StandardReason::Split,
            StandardReason::Static,
            StandardReason::Default,
            StandardReason::Unknown,
        ] {
            let whole = format!(r#","reason":"{}","metadata":{{"tidegate.revision":"#, reason.as_str());
            assert_eq!(before_revision(reason), whole);
        }
        for reason in [
            Reason::Killed(Height::App),
            Reason::Held(HoldCause::Gate),
            Reason::Expired,
            Reason::EnvironmentEnded,
            Reason::Off,
            Reason::PrerequisiteFailed,
            Reason::Target,
            Reason::Rule { index: 1 },
            Reason::RuleSplit { index: 1 },
            Reason::Split,
            Reason::Exposed,
            Reason::Default,
            Reason::NotExposed,
            Reason::NoUnit,
            Reason::Broken,
        ] {
            assert_eq!(after_revision(reason), format!(r#","tidegate.reason":"{}""#, reason.cause()));
        }
    }
}
