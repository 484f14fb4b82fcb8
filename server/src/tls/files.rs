//! The files of TLS: reading them, and making sense of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollout_rules::time::UnixMs;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use crate::certificate;
use crate::config::{ClientCertificates, TlsFiles};

/// Largest of the files that is read, in bytes: hundreds of certificates fit.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why TLS cannot be done with the files that the settings name.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    NotPem {
        /// The setting that names it.
        setting: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unreadable { setting, path, source } => {
                write!(f, "`{setting}`: {} cannot be read: {source}", path.display())
            }
            TlsError::NotPem { setting, path, problem } => {
                write!(f, "`{setting}`: {}: {problem}", path.display())
            }
            TlsError::Unusable { certificate, key, source } => {
                let (certificate, key) = (certificate.display(), key.display());
                match source {
                    rustls::Error::InconsistentKeys(_) => write!(
                        f,
                        "`tls.key`: {key} is not the key of the certificate in {certificate} (`tls.certificate`); the \
                         server's own certificate has to come first there"
                    ),
                    other => write!(f, "`tls.certificate`, `tls.key`: {certificate} with {key}: {other}"),
                }
            }
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Unreadable { source, .. } => Some(source),
            TlsError::NotPem { .. } => None,
            TlsError::Unusable { source, .. } => Some(source),
        }
    }
}

/// The files' content, all read at one look.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What the files mean.
#[derive(Debug)]
pub(super) struct Understood {
    /// The server's certificate and key.
    pub(super) identity: Arc<CertifiedKey>,
    /// Whose certificates clients may show.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// The end of the server's certificate.
    pub(super) valid_until: UnixMs,
    texts: Texts,
}

impl PartialEq for Understood {
    fn eq(&self, other: &Understood) -> bool {
        self.texts == other.texts
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One of them is a secret.
        f.write_str("Texts")
    }
}

impl Texts {
    pub(super) fn read(files: &TlsFiles) -> Result<Texts, TlsError> {
        let client_ca = match &files.clients {
            ClientCertificates::Off => None,
            ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
                Some(read("tls.client_ca", path)?)
            }
        };
        Ok(Texts {
            certificate: read("tls.certificate", &files.certificate)?,
            key: read("tls.key", &files.key)?,
            client_ca,
        })
    }

    pub(super) fn understand(
        &self,
        files: &TlsFiles,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Understood, TlsError> {
        let chain = certificates("tls.certificate", &files.certificate, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| TlsError::NotPem {
            setting: "tls.key",
            path: files.key.clone(),
            problem: match error {
                PemError::NoItemsFound => {
                    "there is no private key in it: it has to be PEM, -----BEGIN PRIVATE KEY-----, without a password"
                        .to_owned()
                }
                other => format!("it is no PEM file: {other}"),
            },
        })?;
        let valid_until =
            chain.first().and_then(|der| certificate::valid_until(der)).ok_or_else(|| TlsError::NotPem {
                setting: "tls.certificate",
                path: files.certificate.clone(),
                problem: "its first certificate is damaged".to_owned(),
            })?;
        let identity = CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })?;
        let clients = match &files.clients {
            ClientCertificates::Off => None,
            ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
                Some(verifier(path, self.client_ca.as_deref().unwrap_or_default(), provider)?)
            }
        };
        Ok(Understood { identity: Arc::new(identity), clients, valid_until, texts: self.clone() })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let wrong = |source| TlsError::Unreadable { setting, path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(wrong)?.len();
    if length > MAX_FILE_BYTES {
        let problem = format!("it has {length} bytes, more than the {MAX_FILE_BYTES} that are read");
        return Err(TlsError::NotPem { setting, path: path.to_owned(), problem });
    }
    std::fs::read(path).map_err(wrong)
}

fn certificates(
    setting: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| TlsError::NotPem { setting, path: path.to_owned(), problem };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(
            "there is no certificate in it: it has to be PEM, -----BEGIN CERTIFICATE-----".to_owned(),
        )),
        Err(error) => Err(wrong(format!("it is no PEM file: {error}"))),
    }
}

/// Who vouches for clients.
fn verifier(
    path: &Path,
    text: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let setting = "tls.client_ca";
    let wrong = |problem: String| TlsError::NotPem { setting, path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, path, text)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(format!("a certificate in it cannot be used: {error}")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| wrong(error.to_string()))
}
