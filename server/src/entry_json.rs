//! An entry of the log as it is shown outside, to readers of the log and to webhooks alike.

use rollout_rules::change::Entry;

use crate::log::LogEntry;

/// What entries that may hold secrets have in their bytes, one of these. Others are shown without being read.
const MAY_HOLD_SECRETS: [&[u8]; 3] = [b"\"webhook_put\"", b"\"job_put\"", b"\"channel_put\""];

/// Writes an entry with its position and chain hash, around the bytes that the log keeps. What may not be
/// shown to anybody is left out: `redacted` says so, since the hash is of the entry with it.
pub fn write(out: &mut Vec<u8>, entry: &LogEntry) {
    let without_secrets = without_secrets(&entry.bytes);
    let redacted = if without_secrets.is_some() { ",\"redacted\":true" } else { "" };
    let head = format!("{{\"revision\":{},\"hash\":\"{}\"{redacted}", entry.revision, entry.hash);
    out.extend_from_slice(head.as_bytes());
    // An entry is an object that is never empty: its own first member comes after ours.
    let rest = without_secrets.as_deref().unwrap_or(&entry.bytes).strip_prefix(b"{").unwrap_or(b"}");
    out.push(b',');
    out.extend_from_slice(rest);
}

fn without_secrets(bytes: &[u8]) -> Option<Vec<u8>> {
    if !MAY_HOLD_SECRETS.iter().any(|mark| bytes.windows(mark.len()).any(|part| part == *mark)) {
        return None;
    }
    let entry = Entry::decode(bytes).ok()?;
    let change = entry.change.without_secrets()?;
    Some(Entry { change, ..entry }.encode())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollout_rules::ids::{Digest, Revision};
    use serde_json::Value;

    use super::*;

    fn shown(change: &str) -> Value {
        let zero = Digest::default();
        let bytes = format!(
            r#"{{"v":1,"at":"2026-01-01T00:00:00.000Z","actor":{{"type":"timer"}},"anchor":{{"revision":0,"hash":"{zero}"}},"change":{change}}}"#
        );
        let bytes: Arc<[u8]> = bytes.into_bytes().into();
        let mut out = Vec::new();
        write(&mut out, &LogEntry { revision: Revision(7), hash: zero, bytes });
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn what_signs_is_never_shown_and_the_rest_is() {
        let shown = shown(
            r#"{"kind":"webhook_put","webhook":{"id":"w","url":"https://a.example/","secrets":["whsec_c2VjcmV0"],"enabled":true,"created_at":"2026-01-01T00:00:00.000Z"}}"#,
        );
        assert!(!shown.to_string().contains("c2VjcmV0"), "{shown}");
        assert_eq!(shown["redacted"], true);
        assert_eq!(shown["change"]["webhook"]["url"], "https://a.example/");
        assert_eq!(shown["change"]["webhook"]["secrets"], serde_json::json!([]));
    }

    #[test]
    fn an_entry_without_secrets_is_shown_as_it_is() {
        let shown = shown(r#"{"kind":"webhook_removed","id":"webhook_put"}"#);
        assert_eq!((&shown["revision"], &shown["redacted"]), (&7.into(), &Value::Null));
        assert_eq!(shown["change"]["id"], "webhook_put");
    }
}
