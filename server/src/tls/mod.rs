//! The server's TLS: its certificate and whose client certificates it takes, from files that are read again
//! whenever they change.
//!
//! A client certificate adds a lock to the door and nothing else: with `required`, who has none does not get
//! to send a request. What a request may do is its token's affair, as without.

mod files;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rollout_rules::time::{DAY, DurationMs, UnixMs};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error as RustlsError, ServerConfig, SignatureScheme};

pub use self::files::TlsError;
use self::files::{Texts, Understood};
use crate::certificate;
use crate::clock::Clock;
use crate::config::{ClientCertificates, TlsFiles};

/// How often the files are looked at. A certificate that is replaced is served within two looks: files are
/// taken once they stand still, since a certificate and its key are never written at one moment.
pub const LOOK_EVERY: DurationMs = DurationMs(2_000);
/// With fewer days left than this, the certificate's end is warned of once a day.
const WARN_DAYS: u64 = 14;

/// What TLS is done with, from files that may change meanwhile.
pub struct Tls {
    files: TlsFiles,
    current: Arc<Current>,
}

/// What new connections are met with.
#[derive(Debug)]
struct Current {
    understood: ArcSwap<Understood>,
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

/// What the last looks at the files found.
#[derive(Default)]
struct Looks {
    /// Found at the last look, and to be judged if the next one finds the same.
    last: Option<Found>,
    /// Judged already, for good or bad.
    judged: Option<Found>,
    /// When the certificate's end was last spoken of.
    announced: UnixMs,
}

/// The files as found: their content, or why they cannot be read.
type Found = Result<Texts, String>;

impl Tls {
    /// Reads the files. Whatever is wrong with them is said with the setting and the path.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let understood = Texts::read(&files)?.understand(&files, &provider)?;
        let mandatory = matches!(files.clients, ClientCertificates::Required(_));
        let understood = ArcSwap::from_pointee(understood);
        Ok(Tls { files, current: Arc::new(Current { understood, mandatory, provider }) })
    }

    /// TLS 1.2 and 1.3, with whatever the files held when they were last understood.
    pub fn server_config(&self) -> Result<ServerConfig, RustlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.current.provider));
        let builder = builder.with_safe_default_protocol_versions()?;
        let asks = !matches!(self.files.clients, ClientCertificates::Off);
        let builder = if asks {
            builder.with_client_cert_verifier(Arc::clone(&self.current) as Arc<dyn ClientCertVerifier>)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        if asks {
            // Whoever resumes a session shows no certificate again: one that is trusted no more would go on.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    /// The end of the certificate in use.
    pub fn valid_until(&self) -> UnixMs {
        self.current.understood.load().valid_until
    }

    /// Looks at the files until it is dropped, and takes what is new and sound.
    pub async fn keep_up(&self, clock: &Clock) {
        let mut looks = Looks::default();
        self.announce(&mut looks, clock.now());
        loop {
            clock.pass(LOOK_EVERY).await;
            let files = self.files.clone();
            // A disk that hangs must not hold up whatever else runs on this thread.
            let read = tokio::task::spawn_blocking(move || Texts::read(&files)).await;
            let Ok(read) = read else { continue };
            self.look(&mut looks, read.map_err(|error| error.to_string()), clock.now());
        }
    }

    fn look(&self, looks: &mut Looks, found: Found, now: UnixMs) {
        let known = looks.judged.as_ref() == Some(&found);
        let still = looks.last.as_ref() == Some(&found);
        if known || !still {
            looks.last = Some(found);
        } else {
            self.judge(looks, &found, now);
            looks.judged = Some(found);
        }
        let soon = certificate::days_left(self.valid_until(), now).is_none_or(|days| days < WARN_DAYS);
        if soon && now.since(looks.announced) >= DAY {
            self.announce(looks, now);
        }
    }

    fn judge(&self, looks: &mut Looks, found: &Found, now: UnixMs) {
        let understood = match found {
            Ok(texts) => {
                texts.understand(&self.files, &self.current.provider).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.clone()),
        };
        match understood {
            Ok(understood) => {
                if *self.current.understood.load_full() != understood {
                    self.current.understood.store(Arc::new(understood));
                    metrics::counter!("tidegate_tls_reloads_total", "outcome" => "done").increment(1);
                    tracing::info!("the TLS files changed; new connections get what is in them now");
                    self.announce(looks, now);
                }
            }
            Err(error) => {
                metrics::counter!("tidegate_tls_reloads_total", "outcome" => "failed").increment(1);
                tracing::error!(
                    "the TLS files changed and cannot be used; what was read before stays: {error}"
                );
            }
        }
    }

    /// Says when the certificate ends, louder the nearer that is.
    fn announce(&self, looks: &mut Looks, now: UnixMs) {
        looks.announced = now;
        let until = self.valid_until();
        metrics::gauge!("tidegate_tls_certificate_expires_seconds").set((until.0 / 1_000) as f64);
        match certificate::days_left(until, now) {
            None => tracing::error!(%until, "the TLS certificate has expired: clients refuse this server"),
            Some(days) if days < WARN_DAYS => {
                tracing::warn!(%until, days, "the TLS certificate expires soon");
            }
            Some(days) => tracing::info!(%until, days, "the TLS certificate is valid"),
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.understood.load().identity))
    }
}

impl ClientCertVerifier for Current {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: what is named here cannot change with the files, and clients of one server have one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, RustlsError> {
        let understood = self.understood.load();
        let Some(clients) = &understood.clients else {
            return Err(RustlsError::General("no CA of clients is known".to_owned()));
        };
        let judged = clients.verify_client_cert(end_entity, intermediates, now);
        if let Err(error) = &judged {
            // Whoever connects may cause it, so it is for those who look for it.
            tracing::debug!(%error, "a client's certificate was refused");
        }
        let outcome = if judged.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("tidegate_tls_client_certificates_total", "outcome" => outcome).increment(1);
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
