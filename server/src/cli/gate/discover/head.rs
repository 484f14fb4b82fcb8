//! What the beginning of a file tells: whether it may be evidence, and whether the tool wrote it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollout_rules::gate::facts::Format;

use crate::cli::gate::DRIVER;

/// Longest signature on its own, in base64.
const MAX_SIGNATURE_BYTES: u64 = 2_048;

/// Most bytes of a list without items, blanks and line ends counted in.
const MAX_EMPTY_BYTES: usize = 4_096;

/// What a beginning may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// JSON, XML or LCOV.
    Report,
    /// A signature on its own, or any other base64.
    Signature,
    /// Nothing that the gate takes.
    Other,
}

impl Head {
    /// Of a beginning, and the size of its file.
    pub(super) fn of(bytes: &[u8], size: u64) -> Head {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
        let is_xml = || {
            let marks: [&[u8]; 6] =
                [b"<?xml", b"<!--", b"<!DOCTYPE coverage", b"<testsuite", b"<coverage", b"<bom"];
            marks.iter().any(|mark| bytes.starts_with(mark))
        };
        let is_signature = || {
            size <= MAX_SIGNATURE_BYTES
                && !bytes.is_empty()
                && STANDARD.decode(bytes).is_ok_and(|decoded| decoded.len() >= 64)
        };
        match bytes.first() {
            Some(b'{' | b'[') => Head::Report,
            Some(b'<') if is_xml() => Head::Report,
            _ if bytes.starts_with(b"TN:") || bytes.starts_with(b"SF:") => Head::Report,
            _ if is_signature() => Head::Signature,
            _ => Head::Other,
        }
    }
}

/// Whether it is a list without items that is not called after gitleaks: gitleaks writes such where it finds nothing, and the app's own
/// data may be the same. Whoever names it with `--evidence` has it sent.
pub(super) fn says_nothing(format: Format, path: &str, bytes: &[u8]) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    let has_no_item =
        || bytes.len() <= MAX_EMPTY_BYTES && bytes.iter().filter(|byte| byte.is_ascii_graphic()).count() == 2;
    format == Format::Gitleaks && !file.to_ascii_lowercase().contains("gitleaks") && has_no_item()
}

/// Whether the tool wrote it: what it looks at anew each time, or an earlier answer of the gate, which is no evidence for the next.
pub(super) fn is_own_output(format: Format, bytes: &[u8]) -> bool {
    let names_driver = || {
        let head = &bytes[..bytes.len().min(1_024)];
        head.windows(DRIVER.len()).any(|part| part == DRIVER.as_bytes())
    };
    match format {
        Format::TestPresence | Format::Inventory => true,
        Format::Sarif | Format::Junit => names_driver(),
        _ => false,
    }
}
