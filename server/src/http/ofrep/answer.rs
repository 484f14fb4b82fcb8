//! The answer for one flag, as OFREP's clients read it: the bytes that were serialized when the flag was
//! written, then the reason, then what Tidegate adds as metadata.

use std::fmt::Write as _;

use rollout_rules::evaluate::{Answer, Reason};
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::snapshot::Snapshot;

/// Writes the answer, braces included. Names that people gave to kills and rules are not for pages, which everybody reads.
pub fn write(
    out: &mut String,
    answer: &Answer<'_>,
    scope: Scope,
    snapshot: &Snapshot,
    (app, environment): (&AppKey, &EnvKey),
) {
    let tells_names = scope != Scope::SdkBrowser;
    out.push('{');
    out.push_str(answer.serialized());
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        ",\"reason\":\"{}\",\"metadata\":{{\"tidegate.revision\":{},\"tidegate.reason\":\"{}\"",
        answer.standard_reason().as_str(),
        answer.revision(),
        answer.reason.cause()
    );
    match answer.reason {
        Reason::Killed(height) => {
            let _ = write!(out, ",\"tidegate.killed\":\"{height}\"");
            let kill = snapshot.flag(app, answer.key()).and_then(|flag| flag.killed(environment));
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
        let _ = write!(out, ",\"tidegate.split\":\"{split}\"");
    }
    out.push_str("}}");
}
