//! Whose certificates are trusted when the server is behind TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::failure::Failure;

/// TLS that trusts the CAs of a file, or without one those of the system.
pub(super) fn tls(cacert: Option<&Path>) -> Result<TlsConfig, Failure> {
    let trusted = match cacert {
        Some(path) => of_file(path)?,
        None => of_system()?,
    };
    let roots = trusted.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let wrong = |problem: String| Failure::usage(format!("--cacert {}: {problem}", path.display()));
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
