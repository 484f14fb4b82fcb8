//! What somebody signed, and who: statements about builds, certificates, the pipeline's own token, and the language models that had a
//! part in it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::governance::{is_none, write_work};
use crate::ids::Digest;
use crate::release::ArtifactDigest;
use crate::time::UnixMs;

/// A signed statement, or a signature of the artifact itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The piece it was read from.
    pub piece: Digest,
    /// What it says.
    pub claim: Claim,
    /// The digests that it is about. A signature of the artifact names the digest that it was checked with.
    pub subjects: Vec<ArtifactDigest>,
    /// Who signed it, if somebody did who is trusted.
    pub signer: Result<SignerId, Untrusted>,
}

/// Who signed something, as the policy knows them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignerId {
    /// The name of the key or authority in the policy.
    pub name: String,
    /// SHA-256 of the public key that the signature was checked with.
    pub key: Digest,
    /// What a certificate says of the signer: identity and source; none for a bare key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateClaims>,
}

/// What a certificate says of a signer, by the extensions of Fulcio.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CertificateClaims {
    /// The subject's alternative name: the workflow, or a mail address.
    pub identity: String,
    /// Who vouched for it.
    pub issuer: String,
    /// The repository's URI.
    pub repository: Option<String>,
    /// The repository's number.
    pub repository_id: Option<String>,
    /// The owner's number.
    pub owner_id: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The branch or tag.
    pub git_ref: Option<String>,
    /// The workflow that signed, with its version.
    pub signer_workflow: Option<String>,
    /// What started it, such as `push`.
    pub trigger: Option<String>,
}

/// Why nobody trusted signed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Untrusted {
    /// There is no signature.
    Unsigned,
    /// A trusted key is meant, and the signature does not match: it was changed after signing.
    Mismatch,
    /// It is signed, by nobody whom the policy names.
    Stranger,
    /// The key or certificate was not valid when it was used.
    OutOfTime,
}

/// What a signed statement says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Claim {
    /// The artifact is signed.
    Artifact,
    /// How it was built.
    Provenance(Provenance),
    /// What another gate found.
    Verification {
        /// Who verified.
        verifier: String,
        /// Whether it passed.
        passed: bool,
    },
    /// What tests found.
    TestResult {
        /// Whether they passed.
        passed: bool,
    },
    /// What it is made of; the list itself is among [`Facts::sboms`](super::Facts::sboms).
    Sbom,
    /// What somebody says of vulnerabilities; the statements are among [`Facts::exploitability`](super::Facts::exploitability).
    Vex,
    /// Which words that a scanner takes for secrets are none. It is about an app's code, and not about one artifact.
    SecretAudit {
        /// The key of the app.
        app: String,
        /// The fingerprints of the findings that are none, at most [`MAX_AUDITED`](super::MAX_AUDITED).
        harmless: Vec<Digest>,
    },
    /// Something else.
    Other {
        /// Its predicate type.
        predicate_type: String,
    },
}

/// How an artifact was built, after SLSA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The builder's URI.
    pub builder: String,
    /// The build type's URI.
    pub build_type: String,
    /// The repository's URI.
    pub repository: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The branches and tags that it names as those it was built from; more than one contradict each other, and each has to be the app's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub git_refs: Vec<String>,
    /// What started the build, such as `push`; none: the builder does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// Which pipeline asks, by a token of its own that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PipelineIdentity {
    /// The issuer's name in the policy.
    pub issuer: String,
    /// The subject of the token.
    pub subject: String,
    /// The repository, by name.
    pub repository: Option<String>,
    /// The repository's number.
    pub repository_id: Option<String>,
    /// The owner's number.
    pub owner_id: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The branch or tag.
    pub git_ref: Option<String>,
    /// The workflow that the job runs, with its version.
    pub workflow: Option<String>,
    /// The run, for people to look at.
    pub run_id: Option<String>,
    /// What started it, such as `push` or `pull_request`; none: it is not said, and then it asks for no production.
    pub event: Option<String>,
    /// SHA-256 of the token's own name: it counts once.
    pub token_id: Digest,
    /// When the token ends.
    pub expires_at: UnixMs,
}

/// What a language model did to the build.
///
/// As text it is one line: `aider (m-1) for ada: prompt sha256:888888888888…, 2 files (a.py, b.py), reviewed by grace`. The alternate form
/// (`{:#}`) has the whole digest. That nobody reviewed it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentWork {
    /// The program, such as `aider`.
    pub agent: String,
    /// The model.
    pub model: String,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// SHA-256 of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Digest>,
    /// The files it wrote, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How many more it wrote than are named.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_files: u32,
    /// Who looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
}

impl fmt::Display for AgentWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AgentWork { agent, model, on_behalf_of, prompt, files, more_files, reviewer } = self;
        write!(f, "{agent} ({model})")?;
        if let Some(person) = on_behalf_of {
            write!(f, " for {person}")?;
        }
        f.write_str(": ")?;
        write_work(f, prompt.as_ref(), (files, *more_files), reviewer.as_deref())
    }
}
