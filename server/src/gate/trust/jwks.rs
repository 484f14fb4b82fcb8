//! Key sets of issuers, as RFC 7517 writes them.
//!
//! Format: JSON web keys, RFC 7517: <https://www.rfc-editor.org/rfc/rfc7517>.

use std::fmt;

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use rollout_rules::gate::trust::TokenAlgorithm;
use serde::Deserialize;

use super::base64_text;
use super::public_key::{MAX_RSA_BITS, MIN_RSA_BITS, bits_of};
use crate::gate::json;

/// Longest key set that is read, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 64 * 1024;
/// Most keys of a set.
pub const MAX_KEYS: usize = 64;

/// Why a key set is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKeySet {
    /// It is longer than [`MAX_KEY_SET_BYTES`].
    TooLarge,
    /// It has more than [`MAX_KEYS`] keys.
    TooManyKeys,
    /// It is not a key set in JSON.
    Malformed,
    /// None of its keys can check a signature of a token.
    NoKey,
}

impl fmt::Display for BadKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadKeySet::TooLarge => write!(f, "the key set is longer than {MAX_KEY_SET_BYTES} bytes"),
            BadKeySet::TooManyKeys => write!(f, "the key set has more than {MAX_KEYS} keys"),
            BadKeySet::Malformed => {
                f.write_str("it is not a JSON Web Key Set: `{\"keys\": [..]}`, no key given twice")
            }
            BadKeySet::NoKey => write!(
                f,
                "the key set has no key that is taken: RSA of {MIN_RSA_BITS} bits or more, P-256, P-384 or Ed25519, each with its `kid`"
            ),
        }
    }
}

impl std::error::Error for BadKeySet {}

/// A key of an issuer.
#[derive(Clone)]
pub(super) struct IssuerKey {
    kid: String,
    /// The only algorithm that it is for, if it says so.
    alg: Option<String>,
    parts: Parts,
}

#[derive(Clone)]
enum Parts {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a key set. Keys that are not for checking tokens are left out.
pub(super) fn read(text: &str) -> Result<Vec<IssuerKey>, BadKeySet> {
    if text.len() > MAX_KEY_SET_BYTES {
        return Err(BadKeySet::TooLarge);
    }
    let written: Written = json::parse_whole(text.as_bytes()).map_err(|_| BadKeySet::Malformed)?;
    if written.keys.len() > MAX_KEYS {
        return Err(BadKeySet::TooManyKeys);
    }
    let keys: Vec<_> = written.keys.into_iter().filter_map(IssuerKey::from_written).collect();
    if keys.is_empty() { Err(BadKeySet::NoKey) } else { Ok(keys) }
}

impl IssuerKey {
    fn from_written(written: WrittenKey) -> Option<IssuerKey> {
        if written.used_for.is_some_and(|used_for| used_for != "sig") {
            return None;
        }
        let number = |text: &Option<String>| text.as_deref().and_then(base64_text::decode);
        let point = |bytes: usize| {
            let (x, y) = (number(&written.x)?, number(&written.y)?);
            (x.len() == bytes && y.len() == bytes).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        let parts = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", None) => {
                let without_zeros =
                    |number: Vec<u8>| number.into_iter().skip_while(|byte| *byte == 0).collect();
                let (n, e): (Vec<u8>, Vec<u8>) =
                    (number(&written.n).map(without_zeros)?, number(&written.e).map(without_zeros)?);
                (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits_of(&n)).then_some(Parts::Rsa { n, e })?
            }
            ("EC", Some("P-256")) => Parts::P256(point(32)?),
            ("EC", Some("P-384")) => Parts::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Parts::Ed25519(number(&written.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(IssuerKey { kid: written.kid.filter(|kid| !kid.is_empty())?, alg: written.alg, parts })
    }

    /// Whether a token that names `kid` and is signed by `algorithm` can be by this key.
    pub(super) fn fits(&self, kid: &str, algorithm: TokenAlgorithm) -> bool {
        use TokenAlgorithm::{ES256, ES384, EdDSA, RS256, RS384, RS512};
        let of_kind = match self.parts {
            Parts::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512),
            Parts::P256(_) => algorithm == ES256,
            Parts::P384(_) => algorithm == ES384,
            Parts::Ed25519(_) => algorithm == EdDSA,
        };
        of_kind && self.kid == kid && self.alg.as_deref().is_none_or(|alg| alg == algorithm_name(algorithm))
    }

    /// Whether it made the signature.
    pub(super) fn made(&self, algorithm: TokenAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let unparsed = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (&self.parts, algorithm) {
            (Parts::P256(key), TokenAlgorithm::ES256) => unparsed(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Parts::P384(key), TokenAlgorithm::ES384) => unparsed(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Parts::Ed25519(key), TokenAlgorithm::EdDSA) => unparsed(&signature::ED25519, key),
            (Parts::Rsa { n, e }, algorithm) => {
                let algorithm = match algorithm {
                    TokenAlgorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    TokenAlgorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    TokenAlgorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    TokenAlgorithm::ES256 | TokenAlgorithm::ES384 | TokenAlgorithm::EdDSA => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(algorithm, message, signature).is_ok()
            }
            _ => false,
        }
    }
}

/// The name of an algorithm in RFC 7518 and RFC 8037.
pub(super) fn algorithm_name(algorithm: TokenAlgorithm) -> &'static str {
    match algorithm {
        TokenAlgorithm::RS256 => "RS256",
        TokenAlgorithm::RS384 => "RS384",
        TokenAlgorithm::RS512 => "RS512",
        TokenAlgorithm::ES256 => "ES256",
        TokenAlgorithm::ES384 => "ES384",
        TokenAlgorithm::EdDSA => "EdDSA",
    }
}
