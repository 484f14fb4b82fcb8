//! Private authorities: whether a certificate was issued by one, and what it says of who signs.
//!
//! Nothing that is read here shows when something was signed. So the certificate has to be valid when the evidence is
//! handed in, give or take [`CLOCK_SKEW`]: a short-lived key that gets lost later is worth nothing to who finds it.
//!
//! Format: X.509 (RFC 5280) with the extensions of Fulcio: <https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>.

use std::collections::BTreeSet;
use std::time::Duration;

use rollout_rules::gate::facts::{
    CertificateClaims, MAX_FACT_BYTES, Problem, ProblemCode, SignerId, Untrusted,
};
use rollout_rules::gate::trust::{Signs, TrustedAuthority};
use rollout_rules::time::{DurationMs, UnixMs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::time::Time;

use super::keys::{Asked, Mistake, Times, TrustedKeys};
use super::public_key::{MAX_PEM_BYTES, PublicKey};
use super::{malformed, problem};

/// Most certificates of a chain, the leaf included.
pub(super) const MAX_CHAIN: usize = 8;
/// How far clocks may be apart.
pub(super) const CLOCK_SKEW: DurationMs = DurationMs(60_000);
/// The extended key usage of code signing, 1.3.6.1.5.5.7.3.3. A leaf has to have it; what stands between it and the root may
/// leave it open.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// Under which the extensions of Fulcio are numbered.
const FULCIO: &str = "1.3.6.1.4.1.57264.1.";

/// A trusted authority.
#[derive(Clone)]
pub(super) struct Authority {
    name: String,
    root: CertificateDer<'static>,
    signs: Vec<Signs>,
    times: Times,
    /// The root's own.
    valid: Times,
}

impl Authority {
    /// Reads the root. `times` is when the policy says that it counts; none if that is a mistake of its own.
    pub(super) fn new(authority: &TrustedAuthority, times: Option<Times>) -> Result<Authority, Mistake> {
        if authority.pem.contains("PRIVATE KEY") {
            return Err(Mistake::PrivateKey);
        }
        if authority.pem.len() > MAX_PEM_BYTES {
            return Err(Mistake::NotPem);
        }
        let mut blocks = CertificateDer::pem_slice_iter(authority.pem.as_bytes());
        let (Some(Ok(root)), None) = (blocks.next(), blocks.next()) else { return Err(Mistake::NotPem) };
        let parsed = Certificate::from_der(&root).map_err(|_| Mistake::Broken)?;
        let constraints = parsed.tbs_certificate.get::<BasicConstraints>().map_err(|_| Mistake::Broken)?;
        if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(Mistake::NotAnAuthority);
        }
        webpki::anchor_from_trusted_cert(&root).map_err(|_| Mistake::Broken)?;
        let valid = validity(&parsed);
        let always = Times { from: UnixMs(0), until: UnixMs::NEVER };
        let (name, signs) = (authority.name.clone(), authority.signs.clone());
        Ok(Authority { name, root: root.into_owned(), signs, times: times.unwrap_or(always), valid })
    }

    /// Whether a chain leads to it: each certificate signed by the next, none of them for something else than signing code.
    fn issued(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], at: UnixMs) -> Issued {
        let (Ok(anchor), Ok(leaf)) =
            (webpki::anchor_from_trusted_cert(&self.root), EndEntityCert::try_from(leaf))
        else {
            return Issued::No;
        };
        let at = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
        let usage = KeyUsage::required_if_present(CODE_SIGNING);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match leaf.verify_for_usage(algorithms, &[anchor], others, at, usage, None, None) {
            Ok(_) => Issued::Yes,
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => {
                Issued::AtAnotherTime
            }
            Err(_) => Issued::No,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Issued {
    Yes,
    AtAnotherTime,
    No,
}

/// A certificate that came with a signature, and the others that lead from it to an authority.
pub(super) struct Chain {
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    key: PublicKey,
    valid: Times,
    signs_code: bool,
    claims: CertificateClaims,
}

impl Chain {
    /// Reads a chain in DER, the leaf first.
    pub(super) fn new(certificates: Vec<Vec<u8>>) -> Result<Chain, Problem> {
        if certificates.len() > MAX_CHAIN {
            let text = format!(
                "It comes with more than {MAX_CHAIN} certificates: send the chain of the signer alone."
            );
            return Err(problem(ProblemCode::TooLarge, text));
        }
        let mut certificates = certificates.into_iter().map(CertificateDer::from);
        let leaf =
            certificates.next().ok_or_else(|| malformed("It comes with an empty chain of certificates."))?;
        let parsed =
            Certificate::from_der(&leaf).map_err(|_| malformed("Its certificate cannot be read."))?;
        let spki = parsed.tbs_certificate.subject_public_key_info.to_der().ok();
        let key = spki.and_then(|spki| PublicKey::from_spki(&spki).ok()).ok_or_else(|| {
            problem(
                ProblemCode::UnsupportedVersion,
                "The key in its certificate is of a kind that is not taken: sign with ECDSA P-256, Ed25519, or RSA of 2,048 bits or more.",
            )
        })?;
        let (valid, claims) = (validity(&parsed), claims_of(&parsed)?);
        let signs_code = signs_code(&parsed);
        Ok(Chain { leaf, others: certificates.collect(), key, valid, signs_code, claims })
    }

    /// The key of the leaf.
    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Who signed, by the authorities of the policy; or why that counts for nothing.
    pub(super) fn signers(
        &self,
        keys: &TrustedKeys,
        asked: &Asked<'_>,
        now: UnixMs,
    ) -> Result<Vec<SignerId>, Untrusted> {
        if asked.signatures.is_empty() {
            return Err(Untrusted::Unsigned);
        }
        // The chain is looked at while the leaf is valid: whether that is now is asked below, so that a certificate
        // which is only old is not taken for a stranger's.
        let at = now.max(self.valid.from).min(self.valid.until);
        let found = keys
            .authorities()
            .iter()
            .map(|authority| (authority, authority.issued(&self.leaf, &self.others, at)));
        let found: Vec<_> = found.filter(|(_, issued)| *issued != Issued::No).collect();
        if found.is_empty() || !self.signs_code {
            return Err(Untrusted::Stranger);
        }
        if !asked.signatures.iter().any(|signature| self.key.made(asked.message, &signature.bytes)) {
            return Err(Untrusted::Mismatch);
        }
        let may =
            |authority: &Authority| asked.purpose.is_none_or(|purpose| authority.signs.contains(&purpose));
        let found: Vec<_> = found.into_iter().filter(|(authority, _)| may(authority)).collect();
        if found.is_empty() {
            return Err(Untrusted::Stranger);
        }
        let skewed = Times {
            from: UnixMs(self.valid.from.0.saturating_sub(CLOCK_SKEW.0)),
            until: self.valid.until.plus(CLOCK_SKEW),
        };
        let in_time = |(authority, issued): &(&Authority, Issued)| {
            *issued == Issued::Yes
                && skewed.hold(now)
                && authority.times.hold(now)
                && authority.valid.hold(now)
        };
        let signers: Vec<_> =
            found.into_iter().filter(in_time).map(|(authority, _)| self.signer(authority)).collect();
        if signers.is_empty() { Err(Untrusted::OutOfTime) } else { Ok(signers) }
    }

    fn signer(&self, authority: &Authority) -> SignerId {
        let (name, key) = (authority.name.clone(), self.key.digest());
        SignerId { name, key, certificate: Some(self.claims.clone()) }
    }
}

/// Whether a certificate is for signing code.
fn signs_code(certificate: &Certificate) -> bool {
    let usages = certificate.tbs_certificate.get::<ExtendedKeyUsage>().ok().flatten();
    usages.is_some_and(|(_, usages)| usages.0.iter().any(|usage| usage.as_bytes() == CODE_SIGNING))
}

/// When a certificate is valid, to the end of its last second.
fn validity(certificate: &Certificate) -> Times {
    let ms = |time: Time| u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX);
    let validity = &certificate.tbs_certificate.validity;
    Times { from: UnixMs(ms(validity.not_before)), until: UnixMs(ms(validity.not_after)) }
}

/// What a certificate says of who signs. Worth nothing before the chain was checked.
fn claims_of(certificate: &Certificate) -> Result<CertificateClaims, Problem> {
    let mut claims =
        CertificateClaims { identity: identity_of(certificate)?, ..CertificateClaims::default() };
    let mut seen = BTreeSet::new();
    let mut first_issuer = None;
    for extension in certificate.tbs_certificate.extensions.iter().flatten() {
        let id = extension.extn_id.to_string();
        if !seen.insert(id.clone()) {
            return Err(malformed("Its certificate has an extension twice."));
        }
        let Some(number) = id.strip_prefix(FULCIO) else { continue };
        let bytes = extension.extn_value.as_bytes();
        if number == "1" {
            first_issuer = Some(short(std::str::from_utf8(bytes).ok())?);
            continue;
        }
        let text = || short(Utf8StringRef::from_der(bytes).ok().map(|text| text.as_str()));
        match number {
            "8" => claims.issuer = text()?,
            "9" => claims.signer_workflow = Some(text()?),
            "12" => claims.repository = Some(text()?),
            "13" => claims.commit = Some(text()?),
            "14" => claims.git_ref = Some(text()?),
            "15" => claims.repository_id = Some(text()?),
            "17" => claims.owner_id = Some(text()?),
            "20" => claims.trigger = Some(text()?),
            _ => {}
        }
    }
    match first_issuer {
        Some(first) if claims.issuer.is_empty() => claims.issuer = first,
        Some(first) if claims.issuer != first => return Err(malformed("Its certificate names two issuers.")),
        _ => {}
    }
    Ok(claims)
}

/// The one name that the certificate is for.
fn identity_of(certificate: &Certificate) -> Result<String, Problem> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>();
    let names = names.map_err(|_| malformed("The name in its certificate cannot be read."))?;
    match names.as_ref().map(|(_, names)| names.0.as_slice()) {
        Some([GeneralName::UniformResourceIdentifier(uri)]) => short(Some(uri.as_str())),
        Some([GeneralName::Rfc822Name(mail)]) => short(Some(mail.as_str())),
        _ => Err(malformed("Its certificate has to name one workflow or mail address, and nothing else.")),
    }
}

fn short(text: Option<&str>) -> Result<String, Problem> {
    let text = text.ok_or_else(|| malformed("A text in its certificate cannot be read."))?;
    if text.len() > MAX_FACT_BYTES {
        let words = format!("A text in its certificate is longer than {MAX_FACT_BYTES} bytes.");
        return Err(problem(ProblemCode::TooLarge, words));
    }
    Ok(text.to_owned())
}
