//! What may be stored of a piece: everything but secrets, the code around them, and what tests printed.

use std::borrow::Cow;

use rollout_rules::gate::facts::Format;
use serde::de::IgnoredAny;

use super::diff;
use super::text::{REDACTED, masked, without_quoted_secrets};
use super::unpack::unpack;
use super::xml::{Node, Xml};
use crate::gate::json;

/// The elements of JUnit XML whose content goes: what tests printed, and what the machine was set to.
const JUNIT: [&str; 8] =
    ["failure", "error", "skipped", "system-out", "system-err", "properties", "rerunFailure", "flakyFailure"];

/// What may be stored of a piece, unpacked: values that may hold a secret are replaced by `[redacted]`. Of a piece that cannot be
/// read nothing is left. A diff comes down to which lines of which files it changed.
pub fn redacted(format: Format, bytes: &[u8]) -> Vec<u8> {
    let Ok(bytes) = unpack(bytes) else { return nothing() };
    let bytes = json::unmarked(&bytes);
    let kept = match format {
        Format::Gitleaks => json_without(bytes, &["Secret", "Match", "Line", "Message", "Email", "Author"]),
        Format::DetectSecrets => json_without(bytes, &["hashed_secret", "secret_value"]),
        Format::Sarif => json_without(bytes, &SARIF),
        Format::Checkov => {
            json_without(bytes, &["code_block", "evaluations", "entity_tags", "fixed_definition"])
        }
        Format::Trivy => json_without(bytes, &["Match", "Code", "Secret"]),
        Format::TerraformPlan => {
            json_without(bytes, &["variables", "values", "before", "after", "constant_value", "outputs"])
        }
        Format::Cyclonedx
        | Format::CyclonedxVex
        | Format::Spdx
        | Format::Grype
        | Format::Osv
        | Format::Openvex => json_without(bytes, &[]),
        Format::Junit => junit(bytes),
        Format::Diff => changed_lines(bytes),
        _ => return bytes.to_vec(),
    };
    kept.unwrap_or_else(nothing)
}

/// The keys of SARIF that hold code, what a program printed, or how it was called.
const SARIF: [&str; 10] = [
    "snippet",
    "contextRegion",
    "insertedContent",
    "contents",
    "rendered",
    "environmentVariables",
    "commandLine",
    "arguments",
    "stdout",
    "stderr",
];

fn nothing() -> Vec<u8> {
    REDACTED.as_bytes().to_vec()
}

/// The JSON with the values of some keys replaced, wherever they are and whatever their case, and with words masked that look
/// like secrets. None if it is no valid JSON.
fn json_without(bytes: &[u8], hidden: &[&str]) -> Option<Vec<u8>> {
    json::parse::<IgnoredAny>(bytes).ok()?;
    let mut kept = Vec::with_capacity(bytes.len());
    let (mut at, mut is_message) = (0, false);
    while let Some(byte) = bytes.get(at) {
        if *byte != b'"' {
            kept.push(*byte);
            at += 1;
            continue;
        }
        let end = string_end(bytes, at)?;
        let written = bytes.get(at..end)?;
        // Text may be written with escapes; what it means is what counts.
        let text: String = serde_json::from_slice(written).ok()?;
        let gap = bytes.get(end..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        at = end;
        if bytes.get(end + gap) != Some(&b':') {
            kept.extend_from_slice(&shown(written, &text, is_message)?);
            continue;
        }
        // Names are paths and addresses in some reports: anybody may have put a secret there, too.
        kept.extend_from_slice(&shown(written, &text, false)?);
        is_message = matches!(text.as_str(), "text" | "markdown");
        if hidden.iter().any(|name| name.eq_ignore_ascii_case(&text)) {
            kept.extend_from_slice(format!(":\"{REDACTED}\"").as_bytes());
            at = value_end(bytes, end + gap + 1)?;
        }
    }
    Some(kept)
}

/// A text without what looks like a secret: as it was written, if nothing does.
fn shown<'a>(written: &'a [u8], text: &str, is_message: bool) -> Option<Cow<'a, [u8]>> {
    let safe = masked(&if is_message { without_quoted_secrets(text) } else { text.to_owned() });
    if safe == text {
        return Some(Cow::Borrowed(written));
    }
    serde_json::to_vec(&safe).ok().map(Cow::Owned)
}

/// Where a string that starts at `at` ends, its quotes included.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate().skip(at + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// Where the value ends that starts at `at` or after blanks.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, at);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

/// The report with the content of some elements replaced, and with words that look like secrets masked. None if it is no valid XML.
fn junit(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut xml = Xml::new(bytes).ok()?;
    let mut kept = Vec::with_capacity(bytes.len());
    let (mut copied, mut hiding) = (0, None);
    while let Some(node) = xml.next().ok()? {
        let at = xml.position();
        match node {
            Node::Open(element) if hiding.is_none() && JUNIT.contains(&element.name.as_str()) => {
                kept.extend_from_slice(bytes.get(copied..at)?);
                copied = at;
                hiding = Some(xml.depth());
            }
            Node::Close(_) if hiding == Some(xml.depth() + 1) => {
                hiding = None;
                // An empty element ends where it starts.
                let inside = bytes.get(copied..at)?;
                if let Some(end) = inside.windows(2).rposition(|part| part == b"</") {
                    if end > 0 {
                        kept.extend_from_slice(REDACTED.as_bytes());
                    }
                    copied += end;
                }
            }
            _ => {}
        }
    }
    kept.extend_from_slice(bytes.get(copied..)?);
    String::from_utf8(kept).ok().map(|text| masked(&text).into_bytes())
}

fn changed_lines(bytes: &[u8]) -> Option<Vec<u8>> {
    let changed = diff::read(bytes).ok()?;
    let mut kept = String::new();
    for (file, lines) in changed.files {
        let lines: Vec<String> = lines.iter().map(u32::to_string).collect();
        kept.push_str(&format!("{}: {}\n", masked(&file), lines.join(", ")));
    }
    Some(kept.into_bytes())
}
