//! Whose signatures and tokens count, and what an app may be built from.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::time::UnixMs;

/// Most keys, authorities and issuers each that a policy names.
pub const MAX_TRUSTED: usize = 64;

/// Whose signatures and tokens count at all. What they count for is said by each app's [`Source`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Public keys.
    pub keys: Vec<TrustedKey>,
    /// Private CAs whose short-lived certificates sign.
    pub authorities: Vec<TrustedAuthority>,
    /// Issuers of tokens by which pipelines say who they are.
    pub issuers: Vec<TrustedIssuer>,
}

/// A public key. Two of one purpose may overlap in time: that is how they are rotated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What people call it.
    pub name: String,
    /// The key, `-----BEGIN PUBLIC KEY-----`: ECDSA P-256, Ed25519, or RSA of 2,048 to 8,192 bits.
    pub pem: String,
    /// What it may sign.
    pub signs: Vec<Signs>,
    /// It counts from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixMs>,
    /// It counts until then. What was signed before has to be signed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<UnixMs>,
    /// That it may sign artifacts and statements about them alike. A file can be made so that its signature is one of a statement, too: say
    /// it only of a key that signs nothing but what the pipeline that holds it made. Else use two keys.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub shared: bool,
}

/// What a key or authority may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Signs {
    /// Artifacts themselves.
    Artifact,
    /// How they were built.
    Provenance,
    /// What they are made of.
    Sbom,
    /// What tests found.
    TestResult,
    /// What other gates found.
    Verification,
    /// Which vulnerabilities do not affect them: the security role's key. No certificate counts for it: it shows a pipeline.
    Vex,
    /// Which words that scanners take for secrets are none: the security role's key. No certificate counts for it.
    SecretAudit,
}

/// A private CA, as the sigstore certificate authority is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustedAuthority {
    /// What people call it.
    pub name: String,
    /// The root certificate, `-----BEGIN CERTIFICATE-----`; intermediates come with the bundle.
    pub pem: String,
    /// What its certificates may sign.
    pub signs: Vec<Signs>,
    /// It counts from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixMs>,
    /// It counts until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<UnixMs>,
    /// Which builders workflows may name in what they sign, besides themselves, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builders: Vec<BuilderOf>,
}

/// The builders that a workflow may name. One that is a builder itself, as those of SLSA's generators are, needs none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BuilderOf {
    /// The workflow's address as certificates have it, such as `https://github.com/example/platform/.github/workflows/build.yml`, with or
    /// without its version (`@refs/heads/main`).
    pub workflow: String,
    /// The builders by URI, exactly, at most 64.
    pub builders: Vec<String>,
}

/// An issuer of OIDC tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// What people call it.
    pub name: String,
    /// How its claims are called.
    pub shape: IssuerShape,
    /// `iss`, such as `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// `aud`, which pipelines ask the issuer for; not a default that others use too.
    pub audience: String,
    /// The algorithms that count, whatever a token says.
    #[serde(default = "rs256")]
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where its keys are.
    pub jwks: Jwks,
}

fn rs256() -> Vec<TokenAlgorithm> {
    alloc::vec![TokenAlgorithm::RS256]
}

/// How an issuer calls its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum IssuerShape {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
}

/// Algorithms of tokens. None with a shared secret: a public key would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs, reason = "each is the name in RFC 7518")]
pub enum TokenAlgorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    EdDSA,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Jwks {
    /// At an https address; read again every hour, and when a token names a key that is not known, at most once a minute.
    Url(String),
    /// In a file of the server; read again when it changes.
    File(String),
    /// Here: a JWK set as JSON.
    Keys(serde_json::Value),
}

/// What an app may be built from, by whom. An empty list of builders or build types takes nothing where the tier asks for it; of signers
/// and workflows, all are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// The repository's URI, such as `https://github.com/example/discount`; how it ends (`.git`, `/`) and a `git+` before it do not
    /// matter.
    pub repository: Option<String>,
    /// Whose tokens of pipelines count: the name of an issuer of the policy. Each counts its repositories on its own, so it has to be said where
    /// the policy trusts several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The repository's number at its host: names can be taken over, numbers cannot.
    pub repository_id: Option<String>,
    /// The owner's number.
    pub owner_id: Option<String>,
    /// Builders by URI, exactly.
    pub builders: Vec<String>,
    /// Build types by URI, exactly.
    pub build_types: Vec<String>,
    /// Names of keys and authorities of the policy that may sign for this app; empty: all that the policy names, of keys only where the tier
    /// does not deny.
    pub signers: Vec<String>,
    /// Workflows, with or without their version (`@refs/heads/main`), that may ask the gate, and sign by certificate: `job_workflow_ref` of
    /// GitHub, `ci_config_ref_uri` of GitLab, or their address. Empty: any may ask, and sign where the tier does not deny.
    pub workflows: Vec<String>,
    /// Branches and tags whose pipelines may ask for production, and from which its builds are: `main`, `refs/tags/v1`, or
    /// `refs/heads/release/*` for all that begin so; empty: any. Other environments take all. Where the tier denies, a certificate for
    /// production counts if they are said, or its workflow is named with its version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    /// The most virtual CPUs of its infrastructure; none: what its tier has.
    pub max_vcpus: Option<u32>,
}

impl Source {
    /// Names it by its content. It is hashed as the log writes it: what came later is left out where nobody said it.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a source has no map with keys other than text"))
    }
}
