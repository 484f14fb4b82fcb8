//! TLS of the tool: whose certificates are trusted, and which one it shows itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::failure::Failure;

/// The files that the options name.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsOptions {
    /// CAs to trust in place of the system's.
    pub cacert: Option<PathBuf>,
    /// The certificate to show, where the server asks for one.
    pub cert: Option<PathBuf>,
    /// Its key; without it, the key is in the file of the certificate.
    pub key: Option<PathBuf>,
}

/// What the files hold.
pub(super) struct Trust {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    provider: Arc<CryptoProvider>,
}

/// The certificate that is shown.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The key in the form that requests want.
    of_requests: PrivateKey<'static>,
}

impl Trust {
    /// Reads the files; without a CA's, the system's CAs are trusted.
    pub(super) fn read(options: &TlsOptions) -> Result<Trust, Failure> {
        let roots = match &options.cacert {
            Some(path) => certificates("--cacert", path)?,
            None => of_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let identity = match (&options.cert, &options.key) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Failure::usage("--key is the key of a certificate: name that with --cert"));
            }
            (Some(cert), key) => Some(identity(cert, key.as_deref(), &provider)?),
        };
        Ok(Trust { roots, identity, provider })
    }

    /// For requests.
    pub(super) fn of_requests(&self) -> TlsConfig {
        let roots = self.roots.iter().map(|der| Certificate::from_der(der).to_owned());
        let client = self.identity.as_ref().map(|identity| {
            let chain: Vec<_> =
                identity.chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            ClientCert::new_with_certs(&chain, identity.of_requests.to_owned())
        });
        TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .client_cert(client)
            .unversioned_rustls_crypto_provider(Arc::clone(&self.provider))
            .build()
    }

    /// For a connection that is looked at itself.
    pub(super) fn of_connections(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots.iter().cloned());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        match &self.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let wrong = |problem: String| Failure::usage(format!("{option} {}: {problem}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(
            "there is no certificate in it: it has to be PEM, -----BEGIN CERTIFICATE-----".to_owned(),
        )),
        Err(error) => Err(wrong(format!("it is no PEM file: {error}"))),
    }
}

fn identity(cert: &Path, key: Option<&Path>, provider: &CryptoProvider) -> Result<Identity, Failure> {
    let chain = certificates("--cert", cert)?;
    let (option, path) = key.map_or(("--cert", cert), |key| ("--key", key));
    let wrong = |problem: String| Failure::usage(format!("{option} {}: {problem}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        wrong(match error {
            PemError::NoItemsFound => {
                "there is no private key in it: it has to be PEM, without a password; --key names its file"
                    .to_owned()
            }
            other => format!("it is no PEM file: {other}"),
        })
    })?;
    CertifiedKey::from_der(chain.clone(), key.clone_key(), provider).map_err(|error| {
        wrong(format!("it does not belong to the certificate in {}: {error}", cert.display()))
    })?;
    let of_requests = PrivateKey::from_pem(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Identity { chain, key, of_requests })
}

fn of_system() -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(Failure::usage(format!(
            "this machine has no certificates to trust, so https cannot be checked{why}; \
             install its CA certificates, or name the server's CA with --cacert or TIDEGATE_CACERT"
        )));
    }
    Ok(found.certs)
}
