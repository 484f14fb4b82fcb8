//! What a file is, by what is in it; never by its name. Nothing is parsed: only the outermost keys of JSON, the outermost element of
//! XML, and the first lines of text are looked at, so that a broken report is still called by its name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollout_rules::gate::facts::Format;

use crate::gate::json::unmarked;

/// Most outermost keys that are looked at.
const MAX_KEYS: usize = 64;
/// How far into a text its first lines are looked at, in bytes.
const HEAD_BYTES: usize = 8 * 1024;
/// Longest signature on its own, in base64.
const MAX_SIGNATURE_BYTES: usize = 2_048;

/// The format of an unpacked piece; none if it is nothing that is known.
pub(super) fn recognise(bytes: &[u8]) -> Option<Format> {
    let bytes = unmarked(bytes).trim_ascii_start();
    match bytes.first()? {
        b'{' => of_object(&Outline::of(bytes)),
        b'[' => of_list(bytes.get(1..)?.trim_ascii_start()),
        b'<' => of_xml(bytes),
        _ => of_text(bytes),
    }
}

/// A list. Gitleaks writes one without items where it found nothing; what is made of it hangs on what it is called.
fn of_list(rest: &[u8]) -> Option<Format> {
    if let Some(after) = rest.strip_prefix(b"]") {
        return after.trim_ascii().is_empty().then_some(Format::Gitleaks);
    }
    let item = Outline::of(rest);
    if item.has("RuleID") && (item.has("Secret") || item.has("Match") || item.has("Fingerprint")) {
        Some(Format::Gitleaks)
    } else {
        item.is_checkov().then_some(Format::Checkov)
    }
}

fn of_object(outline: &Outline<'_>) -> Option<Format> {
    let has = |key| outline.has(key);
    let starts = |key, prefix| outline.text(key).is_some_and(|text| text.starts_with(prefix));
    let contains = |key, part| outline.text(key).is_some_and(|text| text.contains(part));
    if starts("bomFormat", "CycloneDX")
        || starts("specFormat", "CycloneDX")
        || contains("$schema", "cyclonedx.org/schema")
    {
        let only_says = has("vulnerabilities") && !has("components");
        return Some(if only_says { Format::CyclonedxVex } else { Format::Cyclonedx });
    }
    let known = [
        (starts("format", "tidegate.test-presence/"), Format::TestPresence),
        (starts("format", "tidegate.inventory/"), Format::Inventory),
        (has("spdxVersion") || contains("@context", "spdx.org/rdf/"), Format::Spdx),
        (starts("@context", "https://openvex.dev/ns"), Format::Openvex),
        (starts("mediaType", "application/vnd.dev.sigstore.bundle"), Format::SigstoreBundle),
        (has("payload") && has("payloadType"), Format::Dsse),
        // A statement that nobody signed is what an envelope holds.
        (starts("_type", "https://in-toto.io/Statement"), Format::Dsse),
        (has("plugins_used") && has("results"), Format::DetectSecrets),
        (outline.is_sarif(), Format::Sarif),
        (outline.is_checkov(), Format::Checkov),
        (has("format_version") && (has("planned_values") || has("resource_changes")), Format::TerraformPlan),
        (has("SchemaVersion") && (has("ArtifactName") || has("Results")), Format::Trivy),
        (outline.is_grype(), Format::Grype),
        (outline.is_osv(), Format::Osv),
    ];
    known.into_iter().find(|(is, _)| *is).map(|(_, format)| format)
}

/// The outermost keys of an object, as written, each with what follows it.
struct Outline<'a> {
    entries: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Outline<'a> {
    fn of(bytes: &'a [u8]) -> Outline<'a> {
        let mut entries = Vec::new();
        let mut rest = bytes.strip_prefix(b"{").unwrap_or_default();
        while entries.len() < MAX_KEYS {
            rest = rest.trim_ascii_start();
            let Some((key, after)) = string(rest) else { break };
            let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { break };
            let value = value.trim_ascii_start();
            entries.push((key, value));
            let Some(next) = skip(value).trim_ascii_start().strip_prefix(b",") else { break };
            rest = next;
        }
        Outline { entries }
    }

    fn value(&self, key: &str) -> Option<&'a [u8]> {
        self.entries.iter().find(|(known, _)| *known == key.as_bytes()).map(|(_, value)| *value)
    }

    fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        core::str::from_utf8(string(self.value(key)?)?.0).ok()
    }

    /// What an object within it has.
    fn within(&self, key: &str) -> Outline<'a> {
        Outline::of(self.value(key).unwrap_or_default())
    }

    /// What the first item of a list within it has; none: it is no list, or has no item.
    fn first_of(&self, key: &str) -> Option<Outline<'a>> {
        let rest = self.value(key)?.strip_prefix(b"[")?.trim_ascii_start();
        rest.starts_with(b"{").then(|| Outline::of(rest))
    }

    /// Runs alone many kinds of data have.
    fn is_sarif(&self) -> bool {
        let is_log = self.text("version").is_some_and(|version| version.starts_with("2."))
            || self.text("$schema").is_some_and(|schema| schema.to_ascii_lowercase().contains("sarif"))
            || self.first_of("runs").is_some_and(|run| run.has("tool") && run.has("results"));
        self.has("runs") && is_log
    }

    /// Matches are of many things: Grype names itself, and a match of it a vulnerability and an artifact.
    fn is_grype(&self) -> bool {
        let is_match = |first: &Outline<'_>| first.has("vulnerability") && first.has("artifact");
        self.has("matches")
            && (self.within("descriptor").text("name") == Some("grype")
                || self.first_of("matches").as_ref().is_some_and(is_match))
    }

    /// Results are the commonest word of all: OSV-Scanner says from which file each is, and where there is none, its settings.
    fn is_osv(&self) -> bool {
        match self.first_of("results") {
            Some(first) => first.within("source").has("path") && first.has("packages"),
            None => {
                self.value("results").is_some_and(|results| results.starts_with(b"["))
                    && self.has("experimental_config")
            }
        }
    }

    fn is_checkov(&self) -> bool {
        let summary = ["passed", "failed", "skipped", "parsing_errors", "checkov_version"];
        (self.has("check_type") && (self.has("results") || self.has("summary")))
            || summary.iter().all(|key| self.has(key))
    }
}

/// What is between the quotes of a string, and what comes after them.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = bytes.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (index, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((inner.get(..index)?, inner.get(index + 1..)?)),
            _ => {}
        }
    }
    None
}

/// What comes after a value.
fn skip(bytes: &[u8]) -> &[u8] {
    let (mut depth, mut rest) = (0_usize, bytes);
    while let Some(byte) = rest.first() {
        match byte {
            b'"' => match string(rest) {
                Some((_, after)) => {
                    rest = after;
                    continue;
                }
                None => return &[],
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    rest
}

/// The outermost element, whatever is declared before it.
fn of_xml(bytes: &[u8]) -> Option<Format> {
    let mut rest = bytes;
    let tag = loop {
        rest = rest.trim_ascii_start();
        let (skips, to): (bool, &[u8]) = match rest {
            _ if rest.starts_with(b"<?") => (true, b"?>"),
            _ if rest.starts_with(b"<!--") => (true, b"-->"),
            _ if rest.starts_with(b"<!") => {
                // A document type may hold declarations in brackets.
                let head = rest.get(..rest.iter().position(|byte| *byte == b'>')?)?;
                if head.contains(&b'[') { (true, b"]>") } else { (true, b">") }
            }
            _ => (false, b">"),
        };
        let at = rest.windows(to.len()).position(|part| part == to)?;
        if !skips {
            break rest.strip_prefix(b"<")?.get(..at.checked_sub(1)?)?;
        }
        rest = rest.get(at + to.len()..)?;
    };
    let tag = String::from_utf8_lossy(tag);
    let full = tag.split(|c: char| c.is_whitespace() || c == '/').next()?;
    match full.rsplit(':').next()? {
        "testsuites" | "testsuite" => Some(Format::Junit),
        "coverage" if tag.contains("line-rate") || tag.contains("lines-valid") => Some(Format::Cobertura),
        "bom" if tag.contains("cyclonedx.org/schema/bom") => Some(Format::Cyclonedx),
        _ => None,
    }
}

fn of_text(bytes: &[u8]) -> Option<Format> {
    let head = bytes.get(..bytes.len().min(HEAD_BYTES))?;
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let starts = |line: &[u8], with: &str| line.starts_with(with.as_bytes());
    let first = lines.clone().next()?;
    if starts(first, "TN:") || starts(first, "SF:") {
        return Some(Format::Lcov);
    }
    let begins_diff = |line: &[u8]| starts(line, "diff --git ");
    let plain = lines
        .clone()
        .zip(lines.clone().skip(1))
        .any(|(line, next)| starts(line, "--- ") && starts(next, "+++ "));
    if lines.any(begins_diff) || plain {
        return Some(Format::Diff);
    }
    is_signature(bytes).then_some(Format::CosignSignature)
}

/// A signature on its own: base64 of what ECDSA, Ed25519 or RSA write.
fn is_signature(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    if text.len() > MAX_SIGNATURE_BYTES {
        return false;
    }
    let Ok(signature) = STANDARD.decode(text) else { return false };
    let is_ecdsa = signature.starts_with(&[0x30])
        && signature.get(1).is_some_and(|length| usize::from(*length) + 2 == signature.len());
    is_ecdsa || matches!(signature.len(), 64 | 256 | 384 | 512 | 1_024)
}
