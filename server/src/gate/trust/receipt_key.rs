//! The key by which the gate signs its answers: ECDSA P-256, in a file of the server.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rollout_rules::ids::Digest;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::public_key::{MAX_PEM_BYTES, pem};

/// What stands before the point of a P-256 key in the DER of its `SubjectPublicKeyInfo`.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What nobody but the owner may do with the file: write it; and what nobody but owner and group may: anything. Reading by
/// the group is how clusters hand secrets to a process that is not root.
const TOO_OPEN: u32 = 0o027;
/// How often the file is looked for: made by somebody else at the same moment, it is there the second time.
const TRIES: usize = 3;

/// The key by which the gate signs its answers.
pub struct ReceiptKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    spki: Vec<u8>,
    /// The whole of it, as a file holds it.
    pkcs8: Vec<u8>,
}

/// Why there is no key to sign with.
#[derive(Debug)]
pub enum ReceiptKeyError {
    /// The file cannot be read or made.
    File {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read or change the file.
    TooOpen {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no private key of ECDSA P-256.
    NotAKey {
        /// Where.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    NoRandomness,
}

impl fmt::Display for ReceiptKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiptKeyError::File { path, source } => {
                write!(f, "the key for receipts, {}: {source}", path.display())
            }
            ReceiptKeyError::TooOpen { path, mode } => write!(
                f,
                "the key for receipts, {}, can be read or changed by others (mode {mode:03o}): `chmod 600` it, and make a new one if somebody may have read it",
                path.display()
            ),
            ReceiptKeyError::NotAKey { path } => write!(
                f,
                "the key for receipts, {}, is not `-----BEGIN PRIVATE KEY-----` (PKCS #8) of ECDSA P-256: remove it, and the server makes one, or make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
                path.display()
            ),
            ReceiptKeyError::NoRandomness => {
                f.write_str("the key for receipts: the system gives no random bytes")
            }
        }
    }
}

impl std::error::Error for ReceiptKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReceiptKeyError::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl ReceiptKey {
    /// Reads the key, PKCS #8 in PEM; makes it first if there is no such file, readable by its owner alone. A file that
    /// others may read, or the group may change, is refused.
    pub fn load_or_create(path: &Path) -> Result<ReceiptKey, ReceiptKeyError> {
        let failed = |source| ReceiptKeyError::File { path: path.to_owned(), source };
        for _ in 0..TRIES {
            match File::open(path) {
                Ok(file) => return ReceiptKey::load(path, file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            let random = SystemRandom::new();
            let new = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
            let new = new.map_err(|_| ReceiptKeyError::NoRandomness)?;
            let mut suffix = [0; 8];
            random.fill(&mut suffix).map_err(|_| ReceiptKeyError::NoRandomness)?;
            let beside = beside(path, u64::from_be_bytes(suffix));
            let made = place(&beside, path, &pem("PRIVATE KEY", new.as_ref()));
            // Under its own name alone it is a key; what lies beside is not wanted, whatever happened.
            let _ = fs::remove_file(&beside);
            match made {
                // Somebody else made one at the same moment: theirs is the key.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => other.map_err(failed)?,
            }
        }
        Err(failed(io::Error::new(ErrorKind::NotFound, "it is a link that leads nowhere: remove it")))
    }

    fn load(path: &Path, file: File) -> Result<ReceiptKey, ReceiptKeyError> {
        let failed = |source| ReceiptKeyError::File { path: path.to_owned(), source };
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if mode & TOO_OPEN != 0 {
            return Err(ReceiptKeyError::TooOpen { path: path.to_owned(), mode });
        }
        let mut text = Vec::new();
        file.take(MAX_PEM_BYTES as u64).read_to_end(&mut text).map_err(failed)?;
        let not_a_key = || ReceiptKeyError::NotAKey { path: path.to_owned() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| not_a_key())?;
        ReceiptKey::from_pkcs8(der.secret_pkcs8_der()).ok_or_else(not_a_key)
    }

    fn from_pkcs8(der: &[u8]) -> Option<ReceiptKey> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random).ok()?;
        let spki = [P256_SPKI_PREFIX.as_slice(), pair.public_key().as_ref()].concat();
        Some(ReceiptKey { pair, random, spki, pkcs8: der.to_vec() })
    }

    /// Puts a key where there is none, readable by its owner alone.
    pub fn put_back(path: &Path, text: &[u8]) -> Result<(), ReceiptKeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok();
        let key = key.and_then(|der| ReceiptKey::from_pkcs8(der.secret_pkcs8_der()));
        let key = key.ok_or_else(|| ReceiptKeyError::NotAKey { path: path.to_owned() })?;
        let beside = beside(path, 0);
        let placed = place(&beside, path, &key.private_pem());
        let _ = fs::remove_file(&beside);
        placed.map_err(|source| ReceiptKeyError::File { path: path.to_owned(), source })
    }

    /// The whole key, PKCS #8 in PEM. For a backup alone: whoever has it signs as the gate does.
    pub(crate) fn private_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// A key that is kept nowhere.
    pub fn generate() -> Result<ReceiptKey, ReceiptKeyError> {
        let random = SystemRandom::new();
        let new = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let new = new.map_err(|_| ReceiptKeyError::NoRandomness)?;
        ReceiptKey::from_pkcs8(new.as_ref()).ok_or(ReceiptKeyError::NoRandomness)
    }

    /// The public half, `-----BEGIN PUBLIC KEY-----`, for whoever checks receipts.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    /// Names the key: SHA-256 of the public half as X.509 writes it, in DER.
    pub fn key_id(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// Signs some bytes; the signature is in DER. None if the system gives no random bytes.
    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.pair.sign(&self.random, bytes).ok().map(|signature| signature.as_ref().to_vec())
    }
}

/// Where a new key is written before it is one.
fn beside(path: &Path, suffix: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix:016x}.partial"));
    PathBuf::from(name)
}

/// Writes a key, whole and synced, where there is none yet.
fn place(beside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Unlike a rename, a link takes no key away that came in between.
    fs::hard_link(beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
