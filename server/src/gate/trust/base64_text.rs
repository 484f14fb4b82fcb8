//! Base64 as signed things carry it: in either alphabet, padded or not.
//!
//! Format: RFC 4648: <https://www.rfc-editor.org/rfc/rfc4648>.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// The bytes, or none if the text is not base64. Mixing the alphabets is not.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let url_safe = text.bytes().any(|byte| byte == b'-' || byte == b'_');
    let engine = if url_safe { &URL_SAFE } else { &STANDARD };
    engine.decode(text).ok()
}

/// The text in the standard alphabet, padded.
pub(super) fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
