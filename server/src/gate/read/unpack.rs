//! Evidence that comes packed: gzip is recognised by its first bytes and unpacked within a bound.
//!
//! Format: gzip, RFC 1952: <https://www.rfc-editor.org/rfc/rfc1952>.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use rollout_rules::gate::facts::{Problem, ProblemCode};

use super::problem;

/// Largest piece of evidence, in bytes, packed and unpacked; a larger one is not read.
pub const MAX_PIECE_BYTES: usize = 10 * 1024 * 1024;
/// How gzip starts: its two magic bytes and the only method there is.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// The bytes of a piece, unpacked if they were packed.
pub(super) fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    if bytes.len() > MAX_PIECE_BYTES {
        return Err(too_large());
    }
    if !bytes.starts_with(&GZIP) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacked = Vec::new();
    // One byte more than is taken tells what is too large from what just fits; nothing more is ever unpacked.
    let mut reader = MultiGzDecoder::new(bytes).take(MAX_PIECE_BYTES as u64 + 1);
    reader.read_to_end(&mut unpacked).map_err(|_| {
        problem(
            ProblemCode::Malformed,
            "It is packed with gzip, and broken or cut off. Pack it again, or send it unpacked.",
        )
    })?;
    if unpacked.len() > MAX_PIECE_BYTES {
        return Err(too_large());
    }
    Ok(Cow::Owned(unpacked))
}

fn too_large() -> Problem {
    let mib = MAX_PIECE_BYTES / (1024 * 1024);
    problem(
        ProblemCode::TooLarge,
        format!(
            "It is larger than {mib} MiB, packed or unpacked. Split the report, or leave out passed checks \
            and snippets."
        ),
    )
}
