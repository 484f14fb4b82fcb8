//! The claims of tokens, by the names that issuers have for them.
//!
//! Format: JSON web tokens, RFC 7519: <https://www.rfc-editor.org/rfc/rfc7519>.

use rollout_rules::gate::facts::{MAX_FACT_BYTES, PipelineIdentity};
use serde::{Deserialize, Deserializer};

/// The claims that RFC 7519 registers, which every token has to have. Moments are whole seconds since 1970.
#[derive(Deserialize)]
pub(super) struct Registered {
    /// Who issued it.
    pub(super) iss: String,
    /// About whom.
    pub(super) sub: String,
    /// For whom.
    pub(super) aud: Audience,
    /// Until when it counts.
    pub(super) exp: u64,
    /// When it was issued.
    pub(super) iat: u64,
    /// From when on it counts.
    pub(super) nbf: Option<u64>,
    /// Its own name.
    pub(super) jti: Option<String>,
}

/// For whom a token is.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    /// For one.
    One(String),
    /// For any of them.
    Several(Vec<String>),
}

impl Audience {
    /// Whether it is for them, to the letter.
    pub(super) fn names(&self, audience: &str) -> bool {
        match self {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// A number that some issuers write as one, and others as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(u64),
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let number = Option::<Number>::deserialize(deserializer)?;
    Ok(number.map(|number| match number {
        Number::Text(text) => text,
        Number::Number(number) => number.to_string(),
    }))
}

/// What GitHub Actions says.
#[derive(Deserialize)]
pub(super) struct Github {
    repository: Option<String>,
    #[serde(default, deserialize_with = "number")]
    repository_id: Option<String>,
    #[serde(default, deserialize_with = "number")]
    repository_owner_id: Option<String>,
    sha: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    job_workflow_ref: Option<String>,
    #[serde(default, deserialize_with = "number")]
    run_id: Option<String>,
    event_name: Option<String>,
}

impl Github {
    /// Who asks.
    pub(super) fn identity(self) -> PipelineIdentity {
        PipelineIdentity {
            repository: self.repository,
            repository_id: self.repository_id,
            owner_id: self.repository_owner_id,
            commit: self.sha,
            git_ref: self.git_ref,
            workflow: self.job_workflow_ref,
            run_id: self.run_id,
            event: self.event_name,
            ..PipelineIdentity::default()
        }
    }
}

/// What GitLab CI says.
#[derive(Deserialize)]
pub(super) struct Gitlab {
    project_path: Option<String>,
    #[serde(default, deserialize_with = "number")]
    project_id: Option<String>,
    #[serde(default, deserialize_with = "number")]
    namespace_id: Option<String>,
    sha: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    ref_type: Option<String>,
    ref_path: Option<String>,
    ci_config_ref_uri: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pipeline_id: Option<String>,
    pipeline_source: Option<String>,
}

impl Gitlab {
    /// Who asks.
    pub(super) fn identity(self) -> PipelineIdentity {
        // Whole, as GitHub writes it: a tag may be called like a branch.
        let git_ref = self.ref_path.or_else(|| match (self.ref_type.as_deref(), &self.git_ref) {
            (Some("branch"), Some(name)) => Some(format!("refs/heads/{name}")),
            (Some("tag"), Some(name)) => Some(format!("refs/tags/{name}")),
            _ => self.git_ref,
        });
        PipelineIdentity {
            repository: self.project_path,
            repository_id: self.project_id,
            owner_id: self.namespace_id,
            commit: self.sha,
            git_ref,
            workflow: self.ci_config_ref_uri,
            run_id: self.pipeline_id,
            event: self.pipeline_source,
            ..PipelineIdentity::default()
        }
    }
}

/// Whether a claim is longer than facts may be.
pub(super) fn too_long(identity: &PipelineIdentity) -> bool {
    let optional = [
        &identity.repository,
        &identity.repository_id,
        &identity.owner_id,
        &identity.commit,
        &identity.git_ref,
        &identity.workflow,
        &identity.run_id,
        &identity.event,
    ];
    let mut texts = optional.into_iter().flatten().chain([&identity.subject]);
    texts.any(|text| text.len() > MAX_FACT_BYTES)
}
