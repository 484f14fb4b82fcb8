//! Public keys: what kinds are taken, and whether a signature is by one.
//!
//! Format: SubjectPublicKeyInfo in PEM, RFC 7468: <https://www.rfc-editor.org/rfc/rfc7468>.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature as P256Signature, VerifyingKey};
use ring::signature::{self, UnparsedPublicKey};
use rollout_rules::ids::Digest;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::base64_text;

/// Longest text of a key or certificate that is read, in bytes.
pub(super) const MAX_PEM_BYTES: usize = 16 * 1024;
/// Fewest bits of an RSA key: shorter ones can be factored within reach.
pub(super) const MIN_RSA_BITS: usize = 2_048;
/// Most bits of an RSA key: longer ones only cost time.
pub(super) const MAX_RSA_BITS: usize = 8_192;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why a text is not a key that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAKey {
    /// It holds a private key.
    Private,
    /// It is not one PEM block of a public key.
    NotPem,
    /// It is broken.
    Broken,
    /// It is of a kind that is not taken.
    OtherKind,
    /// It is an RSA key of a size that is not taken.
    RsaSize {
        /// How many bits it has.
        bits: usize,
    },
}

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// ECDSA over P-256 with SHA-256.
    P256,
    /// Ed25519.
    Ed25519,
    /// RSA, PKCS #1 v1.5 with SHA-256.
    Rsa,
}

/// What was signed.
#[derive(Clone, Copy)]
pub(super) enum Message<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Bytes of which only the SHA-256 is known: the artifact's.
    Sha256(Digest),
}

/// A public key.
#[derive(Clone)]
pub(super) struct PublicKey {
    kind: Kind,
    /// The key as X.509 writes it, in DER.
    spki: Vec<u8>,
    /// The bits of the key alone.
    bits: Vec<u8>,
}

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`.
    pub(super) fn from_pem(text: &str) -> Result<PublicKey, NotAKey> {
        if text.contains("PRIVATE KEY") {
            return Err(NotAKey::Private);
        }
        if text.len() > MAX_PEM_BYTES {
            return Err(NotAKey::NotPem);
        }
        let mut blocks = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
        match (blocks.next(), blocks.next()) {
            (Some(Ok(der)), None) => PublicKey::from_spki(&der),
            _ => Err(NotAKey::NotPem),
        }
    }

    /// Reads a `SubjectPublicKeyInfo` in DER.
    pub(super) fn from_spki(der: &[u8]) -> Result<PublicKey, NotAKey> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| NotAKey::Broken)?;
        let bits = spki.subject_public_key.as_bytes().ok_or(NotAKey::Broken)?;
        let curve = || spki.algorithm.parameters_oid().ok();
        let kind = match spki.algorithm.oid {
            EC if curve() == Some(P256) => {
                VerifyingKey::from_sec1_bytes(bits).map_err(|_| NotAKey::Broken)?;
                // ring takes points that are written in full alone, and so does everybody else.
                if bits.len() != 65 {
                    return Err(NotAKey::Broken);
                }
                Kind::P256
            }
            ED25519 if bits.len() == 32 => Kind::Ed25519,
            ED25519 => return Err(NotAKey::Broken),
            RSA => {
                let bits = rsa_bits(bits).ok_or(NotAKey::Broken)?;
                if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                    return Err(NotAKey::RsaSize { bits });
                }
                Kind::Rsa
            }
            _ => return Err(NotAKey::OtherKind),
        };
        Ok(PublicKey { kind, spki: der.to_vec(), bits: bits.to_vec() })
    }

    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// SHA-256 of the key as X.509 writes it, in DER.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// Whether the key made the signature. Over a digest alone only P-256 can be checked.
    pub(super) fn made(&self, message: Message<'_>, signature: &[u8]) -> bool {
        match (self.kind, message) {
            (Kind::P256, Message::Bytes(bytes)) => {
                self.ring(&signature::ECDSA_P256_SHA256_ASN1, bytes, signature)
            }
            (Kind::Ed25519, Message::Bytes(bytes)) => self.ring(&signature::ED25519, bytes, signature),
            (Kind::Rsa, Message::Bytes(bytes)) => {
                self.ring(&signature::RSA_PKCS1_2048_8192_SHA256, bytes, signature)
            }
            (Kind::P256, Message::Sha256(digest)) => {
                self.made_over_digest(digest, signature).unwrap_or(false)
            }
            (Kind::Ed25519 | Kind::Rsa, Message::Sha256(_)) => false,
        }
    }

    fn ring(
        &self,
        algorithm: &'static dyn signature::VerificationAlgorithm,
        bytes: &[u8],
        signature: &[u8],
    ) -> bool {
        UnparsedPublicKey::new(algorithm, &self.bits).verify(bytes, signature).is_ok()
    }

    /// ring hashes what it checks itself; the artifact is not here, only its digest.
    fn made_over_digest(&self, digest: Digest, signature: &[u8]) -> Option<bool> {
        let key = VerifyingKey::from_sec1_bytes(&self.bits).ok()?;
        let signature = P256Signature::from_der(signature).ok()?;
        Some(key.verify_prehash(&digest.0, &signature).is_ok())
    }

    /// The names by which tools call a key beside its signature.
    pub(super) fn hints(&self) -> Vec<String> {
        let digest = self.digest();
        let mut hints = vec![digest.to_string(), base64_text::encode(&digest.0)];
        hints.extend(self.securesystemslib_id());
        hints
    }

    /// How securesystemslib, and so in-toto and TUF, name a key: SHA-256 of a canonical JSON of it.
    fn securesystemslib_id(&self) -> Option<String> {
        let (kind, scheme, public) = match self.kind {
            Kind::P256 => ("ecdsa", "ecdsa-sha2-nistp256", self.to_pem()),
            Kind::Ed25519 => {
                ("ed25519", "ed25519", self.bits.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            Kind::Rsa => return None,
        };
        let canonical =
            format!(r#"{{"keytype":"{kind}","keyval":{{"public":"{public}"}},"scheme":"{scheme}"}}"#);
        Some(Digest::of(canonical.as_bytes()).to_string())
    }

    /// The key as `-----BEGIN PUBLIC KEY-----`.
    pub(super) fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }
}

/// A PEM block, with lines of 64 letters.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64_text::encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// How many bits the modulus has, if the key is one of RSA.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let modulus = reader
        .sequence(|inner| {
            let modulus = UintRef::decode(inner)?;
            let _exponent = UintRef::decode(inner)?;
            Ok(modulus)
        })
        .ok()?;
    if !reader.is_finished() {
        return None;
    }
    Some(bits_of(modulus.as_bytes()))
}

/// How many bits a number has, written with its highest byte first.
pub(super) fn bits_of(number: &[u8]) -> usize {
    let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
    digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}
