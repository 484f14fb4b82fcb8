//! Bundles with a certificate of a private authority.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType, date_time_ymd,
};
use rollout_rules::gate::facts::{CertificateClaims, Claim, Format, Problem, SignerId, Untrusted};
use rollout_rules::gate::trust::{Signs, Trust};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use super::fixtures::{at, authority, compiled, fixture, handed_in, look, trust};
use super::signing::{IN_TOTO, Own, base64, envelope, tests_passed};

const BUNDLE: &str = "clean/attest/provenance.private-ca.sigstore.json";
const WORKFLOW: &str = "https://github.com/example-org/discount/.github/workflows/ci.yml@refs/heads/main";

fn signer_at(trust: &Trust, now: UnixMs) -> Result<SignerId, Untrusted> {
    let signed = look(Format::SigstoreBundle, &fixture(BUNDLE), &compiled(trust), now).expect("a bundle");
    assert!(matches!(signed.attestation.claim, Claim::Provenance(_)));
    signed.attestation.signer
}

#[test]
fn a_certificate_says_who_signed_in_which_repository() {
    let signer = signer_at(&trust(), handed_in()).expect("as it is written");
    assert_eq!(signer.name, "private-ca");
    let some = |text: &str| Some(text.to_owned());
    let expected = CertificateClaims {
        identity: WORKFLOW.to_owned(),
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        repository: some("https://github.com/example-org/discount"),
        repository_id: some("100200300"),
        owner_id: some("400500"),
        commit: some("1f0c2d3e4b5a69788796a5b4c3d2e1f001234567"),
        git_ref: some("refs/heads/main"),
        signer_workflow: some(WORKFLOW),
        trigger: some("push"),
    };
    assert_eq!(signer.certificate, Some(expected));
}

#[test]
fn a_certificate_counts_while_it_is_valid_and_a_minute_of_wrong_clocks_around() {
    let late = Err(Untrusted::OutOfTime);
    for (now, counts) in [
        ("2026-01-15T09:58:59Z", false),
        ("2026-01-15T09:59:00Z", true),
        ("2026-01-15T10:05:00Z", true),
        ("2026-01-15T10:11:00Z", true),
        ("2026-01-15T10:11:01Z", false),
        ("2026-01-16T10:05:00Z", false),
    ] {
        let signer = signer_at(&trust(), at(now)).map(|signer| signer.name);
        assert_eq!(signer, if counts { Ok("private-ca".to_owned()) } else { late.clone() }, "{now}");
    }
}

#[test]
fn an_authority_counts_for_what_it_may_sign_and_while_the_policy_says() {
    let changed = |change: &dyn Fn(&mut Trust)| {
        let mut trust = trust();
        change(&mut trust);
        signer_at(&trust, handed_in()).map(|signer| signer.name)
    };
    assert_eq!(changed(&|trust| trust.authorities.clear()), Err(Untrusted::Stranger));
    let sboms = |trust: &mut Trust| trust.authorities[0].signs = vec![Signs::Sbom];
    assert_eq!(changed(&sboms), Err(Untrusted::Stranger));
    let (before, after) = (Some(at("2026-01-15T10:04:00Z")), Some(at("2026-01-15T10:06:00Z")));
    assert_eq!(changed(&|trust| trust.authorities[0].not_after = before), Err(Untrusted::OutOfTime));
    assert_eq!(changed(&|trust| trust.authorities[0].not_before = after), Err(Untrusted::OutOfTime));
    let now_alone = |trust: &mut Trust| {
        (trust.authorities[0].not_before, trust.authorities[0].not_after) = (before, after)
    };
    assert_eq!(changed(&now_alone), Ok("private-ca".to_owned()));
}

#[test]
fn the_key_of_a_certificate_has_to_have_signed_what_is_said() {
    let mut bundle: Value = serde_json::from_slice(&fixture(BUNDLE)).expect("as it is written");
    bundle["dsseEnvelope"]["payload"] = json!(base64(tests_passed().to_string().as_bytes()));
    let bytes = bundle.to_string();
    let signed = look(Format::SigstoreBundle, bytes.as_bytes(), &compiled(&trust()), handed_in())
        .expect("as it is written");
    assert_eq!(signed.attestation.signer, Err(Untrusted::Mismatch));
}

/// An authority of our own.
pub(super) struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pub(super) pem: String,
}

fn in_2026(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    in_2026(&mut params);
    params
}

impl Ca {
    pub(super) fn new() -> Ca {
        let (params, key) = (ca_params("root"), KeyPair::generate().expect("a key"));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Ca { params, key, pem }
    }

    pub(super) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// A leaf as the sigstore authority makes it, for ten minutes.
pub(super) fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2026, 1, 15) + Duration::from_secs(36_000);
    params.not_after = params.not_before + Duration::from_secs(600);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.subject_alt_names = vec![SanType::URI("https://ci.example/job".try_into().expect("ASCII"))];
    params.custom_extensions = vec![fulcio(8, b"\x0c\x0ahttps://ci")];
    params
}

pub(super) fn fulcio(number: u64, content: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57_264, 1, number], content.to_vec())
}

fn bundle(own: &Own, chain: &[Vec<u8>]) -> String {
    bundle_of(own, chain, &tests_passed())
}

/// A statement, signed, with the certificates of who signed.
pub(super) fn bundle_of(own: &Own, chain: &[Vec<u8>], statement: &Value) -> String {
    let payload = statement.to_string();
    let certificates: Vec<_> = chain.iter().map(|der| json!({"rawBytes": base64(der)})).collect();
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "verificationMaterial": {"x509CertificateChain": {"certificates": certificates}, "tlogEntries": []},
        "dsseEnvelope": envelope(IN_TOTO, payload.as_bytes(), &[own.signature(IN_TOTO, payload.as_bytes(), "")]),
    });
    bundle.to_string()
}

fn outcome(ca: &Ca, bundle: &str) -> Result<Result<SignerId, Untrusted>, Problem> {
    let trust = Trust { authorities: vec![authority("own", &ca.pem)], ..Trust::default() };
    let signed = look(Format::SigstoreBundle, bundle.as_bytes(), &compiled(&trust), handed_in())?;
    Ok(signed.attestation.signer)
}

#[test]
fn a_chain_may_lead_over_another_authority() {
    let (ca, middle_key, own) = (Ca::new(), KeyPair::generate().expect("as it is written"), Own::p256());
    let middle_params = ca_params("middle");
    assert!(middle_params.extended_key_usages.is_empty(), "what it may issue is left open");
    let middle = middle_params.signed_by(&middle_key, &ca.issuer()).expect("as it is written");
    let leaf = leaf_params()
        .signed_by(&own.0, &Issuer::from_params(&middle_params, &middle_key))
        .expect("as it is written");
    let whole = bundle(&own, &[leaf.der().to_vec(), middle.der().to_vec()]);
    let signer = outcome(&ca, &whole).expect("as it is written").expect("as it is written");
    assert_eq!((signer.name.as_str(), signer.key), ("own", own.id()));
    let claims = signer.certificate.expect("as it is written");
    assert_eq!((claims.identity.as_str(), claims.issuer.as_str()), ("https://ci.example/job", "https://ci"));
    let without = bundle(&own, &[leaf.der().to_vec()]);
    assert_eq!(outcome(&ca, &without).expect("as it is written"), Err(Untrusted::Stranger));
    assert_eq!(
        outcome(&Ca::new(), &whole).expect("as it is written"),
        Err(Untrusted::Stranger),
        "another authority of that name"
    );
}

#[test]
fn an_authority_that_is_not_valid_any_more_vouches_for_nobody() {
    let ended = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 1, 14);
    let (own, key) = (Own::p256(), KeyPair::generate().expect("as it is written"));
    let leaf_of = |params: &CertificateParams, key: &KeyPair| {
        leaf_params()
            .signed_by(&own.0, &Issuer::from_params(params, key))
            .expect("as it is written")
            .der()
            .to_vec()
    };
    let mut params = ca_params("root");
    ended(&mut params);
    let pem = params.self_signed(&key).expect("as it is written").pem();
    let leaf = leaf_of(&params, &key);
    let root = Ca { params, key, pem };
    assert_eq!(outcome(&root, &bundle(&own, &[leaf])).expect("as it is written"), Err(Untrusted::OutOfTime));

    let (ca, middle_key, mut middle_params) =
        (Ca::new(), KeyPair::generate().expect("as it is written"), ca_params("middle"));
    ended(&mut middle_params);
    let middle = middle_params.signed_by(&middle_key, &ca.issuer()).expect("as it is written").der().to_vec();
    let chain = [leaf_of(&middle_params, &middle_key), middle];
    assert_eq!(outcome(&ca, &bundle(&own, &chain)).expect("as it is written"), Err(Untrusted::OutOfTime));
}

#[test]
fn a_certificate_for_something_else_than_signing_code_signs_nothing() {
    let (ca, own) = (Ca::new(), Own::p256());
    for (usages, signs) in [
        (vec![], false),
        (vec![ExtendedKeyUsagePurpose::ServerAuth], false),
        (vec![ExtendedKeyUsagePurpose::CodeSigning], true),
    ] {
        let mut params = leaf_params();
        params.extended_key_usages = usages;
        let leaf = params.signed_by(&own.0, &ca.issuer()).expect("as it is written");
        let signer = outcome(&ca, &bundle(&own, &[leaf.der().to_vec()])).expect("as it is written");
        assert_eq!(
            signer.map(|signer| signer.name),
            if signs { Ok("own".to_owned()) } else { Err(Untrusted::Stranger) }
        );
    }
}

#[test]
fn a_leaf_cannot_issue_certificates() {
    let (ca, first, own) = (Ca::new(), KeyPair::generate().expect("as it is written"), Own::p256());
    let mut params = leaf_params();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    let issuing = params.signed_by(&first, &ca.issuer()).expect("as it is written");
    let leaf =
        leaf_params().signed_by(&own.0, &Issuer::from_params(&params, &first)).expect("as it is written");
    let chain = [leaf.der().to_vec(), issuing.der().to_vec()];
    assert_eq!(outcome(&ca, &bundle(&own, &chain)).expect("as it is written"), Err(Untrusted::Stranger));
}

#[test]
fn a_certificate_that_says_two_things_or_nothing_is_refused() {
    let (ca, own) = (Ca::new(), Own::p256());
    let changes: [fn(&mut CertificateParams); 5] = [
        |params| params.custom_extensions.push(fulcio(8, b"\x0c\x05other")),
        |params| params.custom_extensions.push(fulcio(1, b"https://other")),
        |params| params.custom_extensions.push(fulcio(12, b"no DER")),
        |params| params.subject_alt_names.clear(),
        |params| {
            params
                .subject_alt_names
                .push(SanType::Rfc822Name("a@ci.example".try_into().expect("as it is written")))
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut params = leaf_params();
        change(&mut params);
        let leaf = params.signed_by(&own.0, &ca.issuer()).expect("as it is written");
        assert!(outcome(&ca, &bundle(&own, &[leaf.der().to_vec()])).is_err(), "change {at}");
    }
    let nine =
        vec![leaf_params().signed_by(&own.0, &ca.issuer()).expect("as it is written").der().to_vec(); 9];
    assert!(outcome(&ca, &bundle(&own, &nine)).is_err());
}
