//! The fixtures, and what they are looked at with.

use rollout_rules::gate::facts::{Format, Problem};
use rollout_rules::gate::trust::{Signs, Trust, TrustedAuthority, TrustedKey};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use rollout_rules::time::UnixMs;
use tidegate::gate::trust::keys::TrustedKeys;
use tidegate::gate::trust::{Signed, read};

/// Everything that can be signed.
pub(super) const ANYTHING: [Signs; 7] = [
    Signs::Artifact,
    Signs::Provenance,
    Signs::Sbom,
    Signs::TestResult,
    Signs::Verification,
    Signs::Vex,
    Signs::SecretAudit,
];

/// The bytes of a fixture.
pub(super) fn fixture(path: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/gate/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A fixture that is text.
pub(super) fn text(path: &str) -> String {
    String::from_utf8(fixture(path)).expect("text")
}

/// A moment.
pub(super) fn at(text: &str) -> UnixMs {
    UnixMs::parse_rfc3339(text).expect("RFC 3339")
}

/// While the certificate of the fixtures is valid.
pub(super) fn handed_in() -> UnixMs {
    at("2026-01-15T10:05:00Z")
}

/// The digest of some bytes, as an artifact.
pub(super) fn artifact(bytes: &[u8]) -> ArtifactDigest {
    format!("sha256:{}", Digest::of(bytes)).parse().expect("a digest")
}

/// What the clean build made.
pub(super) fn clean_artifact() -> ArtifactDigest {
    artifact(&fixture("clean/artifact/discount-1.0.0.tar.gz"))
}

/// What the faulty build made.
pub(super) fn faulty_artifact() -> ArtifactDigest {
    artifact(&fixture("faulty/artifact/discount-1.0.0.tar.gz"))
}

/// A key that may sign anything, at any time.
pub(super) fn key(name: &str, pem: &str) -> TrustedKey {
    TrustedKey {
        name: name.to_owned(),
        pem: pem.to_owned(),
        signs: ANYTHING.to_vec(),
        not_before: None,
        not_after: None,
        shared: true,
    }
}

/// An authority that may sign anything, at any time.
pub(super) fn authority(name: &str, pem: &str) -> TrustedAuthority {
    TrustedAuthority {
        name: name.to_owned(),
        pem: pem.to_owned(),
        signs: ANYTHING.to_vec(),
        not_before: None,
        not_after: None,
        builders: Vec::new(),
    }
}

/// The keys of the fixtures, the stranger's aside, and the private authority.
pub(super) fn trust() -> Trust {
    let names = ["ci-p256", "ci-ed25519", "gate-p256"];
    Trust {
        keys: names.iter().map(|name| key(name, &text(&format!("keys/{name}.pub.pem")))).collect(),
        authorities: vec![authority("private-ca", &text("keys/private-ca.root.pem"))],
        issuers: Vec::new(),
    }
}

/// The same, ready.
pub(super) fn keys() -> TrustedKeys {
    compiled(&trust())
}

/// What a policy trusts, ready.
pub(super) fn compiled(trust: &Trust) -> TrustedKeys {
    TrustedKeys::compile(trust).unwrap_or_else(|bad| panic!("{bad:?}"))
}

/// A piece, looked at as one of the clean build.
pub(super) fn look(format: Format, bytes: &[u8], keys: &TrustedKeys, now: UnixMs) -> Result<Signed, Problem> {
    read(Digest::of(bytes), format, bytes, &clean_artifact(), keys, now)
}
