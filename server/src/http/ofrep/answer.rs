//! The answer for one flag, as OFREP's clients read it: the bytes that were serialized when the flag was
//! written, then the reason, then what Tidegate adds as metadata.

use std::fmt::Write as _;

use rollout_rules::evaluate::{Answer, Reason};
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::snapshot::Snapshot;

/// The reason in OpenFeature's words. Clients refuse words that they do not know.
fn reason_word(answer: &Answer<'_>) -> &'static str {
    match answer.reason {
        Reason::Killed(_) | Reason::Held(_) | Reason::Expired | Reason::EnvironmentEnded | Reason::Off => {
            "DISABLED"
        }
        Reason::Target | Reason::Rule { .. } => "TARGETING_MATCH",
        Reason::RuleSplit { .. } | Reason::Split | Reason::Exposed => "SPLIT",
        Reason::Default if is_static(answer) => "STATIC",
        Reason::Default | Reason::PrerequisiteFailed | Reason::NotExposed | Reason::NoUnit => "DEFAULT",
        Reason::Broken => "UNKNOWN",
    }
}

/// The reason in Tidegate's own words.
fn cause_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Killed(_) => "killed",
        Reason::Held(_) => "held",
        Reason::Expired => "expired",
        Reason::EnvironmentEnded => "environment_ended",
        Reason::Off => "off",
        Reason::PrerequisiteFailed => "prerequisite_failed",
        Reason::Target => "target",
        Reason::Rule { .. } => "rule",
        Reason::RuleSplit { .. } => "rule_split",
        Reason::Split => "split",
        Reason::Exposed => "exposed",
        Reason::Default => "default",
        Reason::NotExposed => "not_exposed",
        Reason::NoUnit => "no_unit",
        Reason::Broken => "broken",
    }
}

fn is_static(answer: &Answer<'_>) -> bool {
    let targeting = &answer.flag().state().targeting;
    targeting.rules.is_empty() && targeting.targets.is_empty()
}

/// Writes the answer, braces included.
pub fn write(out: &mut String, answer: &Answer<'_>, snapshot: &Snapshot, app: &AppKey, environment: &EnvKey) {
    out.push('{');
    out.push_str(answer.serialized());
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        ",\"reason\":\"{}\",\"metadata\":{{\"tidegate.revision\":{},\"tidegate.reason\":\"{}\"",
        reason_word(answer),
        answer.revision(),
        cause_word(answer.reason)
    );
    match answer.reason {
        Reason::Killed(height) => {
            let _ = write!(out, ",\"tidegate.killed\":\"{height}\"");
            let kill = snapshot.flag(app, answer.key()).and_then(|flag| flag.killed(environment));
            if let Some((_, kill)) = kill {
                let _ = write!(out, ",\"tidegate.kill_id\":\"{}\"", kill.id);
            }
        }
        Reason::Expired => {
            let _ = write!(out, ",\"tidegate.expired_at\":\"{}\"", answer.flag().state().expires_at);
        }
        Reason::Rule { .. } | Reason::RuleSplit { .. } => {
            if let Some(rule) = answer.rule() {
                let _ = write!(out, ",\"tidegate.rule\":\"{rule}\"");
            }
        }
        _ => {}
    }
    if let Some(split) = answer.split() {
        let _ = write!(out, ",\"tidegate.split\":\"{split}\"");
    }
    out.push_str("}}");
}
