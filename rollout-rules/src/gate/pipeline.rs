//! Which pipelines may ask for an app, and which of them for production.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use super::facts::PipelineIdentity;
use super::trust::{Source, Trust};

/// What may start a pipeline that asks for production, as GitHub (`event_name`) and GitLab (`pipeline_source`) call it. Each takes the right to
/// write to the repository, and runs what is in it. Not among them is what strangers can start (pull and merge requests, comments), and what
/// hides behind another pipeline what started that (`workflow_run`, `pipeline`, `parent_pipeline`).
pub const PRODUCTION_EVENTS: [&str; 10] = [
    "push",
    "merge_group",
    "release",
    "schedule",
    "workflow_dispatch",
    "repository_dispatch",
    "web",
    "webide",
    "api",
    "trigger",
];

/// Why a pipeline may not ask for production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotForProduction {
    /// It runs for a pull or merge request, whose code nobody has taken in, or does not say what it runs for.
    PullRequest,
    /// It was started by something that is none of [`PRODUCTION_EVENTS`].
    Event {
        /// By what.
        event: String,
    },
    /// It runs for a branch or tag that is none of [`Source::refs`].
    Ref {
        /// For which; none: it does not say.
        git_ref: Option<String>,
    },
}

impl NotForProduction {
    /// What kind, for programs. Never changes.
    pub fn code(&self) -> &'static str {
        match self {
            NotForProduction::PullRequest => "pull_request",
            NotForProduction::Event { .. } => "event",
            NotForProduction::Ref { .. } => "ref",
        }
    }
}

impl fmt::Display for NotForProduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotForProduction::PullRequest => f.write_str(
                "the pipeline runs for a pull or merge request, or does not say what it runs for: ask for production from the branch that it \
                 was merged into",
            ),
            NotForProduction::Event { event } => write!(
                f,
                "the pipeline was started by `{event}`, and for production only those ask that were started by one of {}: ask from the \
                 pipeline of the branch itself",
                PRODUCTION_EVENTS.join(", ")
            ),
            NotForProduction::Ref { git_ref } => write!(
                f,
                "the pipeline runs for {}, and the app's source takes production from other branches and tags: ask from one of those, or name \
                 it beside them with `tidegate app source set APP --ref REF`, one `--ref` for each",
                git_ref.as_ref().map_or_else(|| "no branch that it names".to_owned(), |git_ref| format!("`{git_ref}`"))
            ),
        }
    }
}

impl core::error::Error for NotForProduction {}

/// Whether a pipeline may ask for production.
pub fn may_ask_for_production(
    source: Option<&Source>,
    identity: &PipelineIdentity,
) -> Result<(), NotForProduction> {
    let refs = source.map(|source| source.refs.as_slice()).unwrap_or_default();
    let event = identity.event.as_deref().unwrap_or_default();
    runs_for_production(refs, event, identity.git_ref.as_deref().unwrap_or_default())
}

/// Whether what a run brings forth is for production. An empty event or branch is one that nobody said.
pub(super) fn runs_for_production(
    refs: &[String],
    event: &str,
    git_ref: &str,
) -> Result<(), NotForProduction> {
    let of_request = matches!(event, "" | "merge_request_event" | "external_pull_request_event")
        || event.starts_with("pull_request")
        || git_ref.starts_with("refs/pull/")
        || git_ref.starts_with("refs/merge-requests/");
    if of_request {
        return Err(NotForProduction::PullRequest);
    }
    if !PRODUCTION_EVENTS.contains(&event) {
        return Err(NotForProduction::Event { event: event.to_owned() });
    }
    if refs.is_empty() || refs.iter().any(|may| is_ref(may, git_ref)) {
        return Ok(());
    }
    Err(NotForProduction::Ref { git_ref: (!git_ref.is_empty()).then(|| git_ref.to_owned()) })
}

/// Whether a workflow is the one that was written, with its version or without. What it is versioned by holds no second `@`: a file could be
/// called `build.yml@main.yml`.
pub(super) fn is_workflow(may: &str, is: &str) -> bool {
    let version = || is.strip_prefix(may).and_then(|rest| rest.strip_prefix('@'));
    !may.is_empty() && (is == may || version().is_some_and(|version| !version.contains('@')))
}

/// Whether a branch or tag is one that was written so: whole (`refs/tags/v1`), a branch by its name (`main`), or all that begin so
/// (`refs/heads/release/*`).
fn is_ref(may: &str, is: &str) -> bool {
    let same = |is: &str| match may.strip_suffix('*') {
        Some(beginning) => is.starts_with(beginning),
        None => is == may,
    };
    if may.starts_with("refs/") { same(is) } else { is.strip_prefix("refs/heads/").is_some_and(same) }
}

/// Why a pipeline is not the one of an app with this source; none: it is. A strange one may not even ask: a denial of what runs would
/// take the app's flags down.
pub fn not_its_pipeline(source: Option<&Source>, identity: &PipelineIdentity) -> Option<String> {
    let Some(source) = source else {
        return Some("nobody said what the app may be built from".to_string());
    };
    let mut wrong = Vec::new();
    let mut same = |what: &str, may: Option<&String>, is: Option<&String>| {
        if may.is_some() && may != is {
            wrong.push(format!("the {what} is {}", is.map_or("not said", String::as_str)));
        }
    };
    same("issuer", source.issuer.as_ref(), Some(&identity.issuer));
    same("repository's number", source.repository_id.as_ref(), identity.repository_id.as_ref());
    same("owner's number", source.owner_id.as_ref(), identity.owner_id.as_ref());
    if source.repository_id.is_none() {
        wrong.push("the app's source names no repository number, and names can be taken over".to_string());
    }
    let workflow = identity.workflow.as_deref().unwrap_or("");
    if !source.workflows.is_empty() && !source.workflows.iter().any(|may| is_workflow(may, workflow)) {
        wrong.push(format!("the workflow is `{workflow}`"));
    }
    (!wrong.is_empty()).then(|| format!("not the app's pipeline: {}", wrong.join(", ")))
}

/// Why it cannot be told whether a pipeline is an app's: each issuer counts its repositories on its own, so the same number names
/// different ones. None: it can.
pub fn unclear_issuer(source: Option<&Source>, trust: &Trust, identity: &PipelineIdentity) -> Option<String> {
    let mut addresses = trust.issuers.iter().map(|issuer| &issuer.issuer);
    let first = addresses.next();
    let several = addresses.any(|address| Some(address) != first);
    let named = source.is_some_and(|source| source.issuer.is_some());
    (several && !named).then(|| {
        format!(
            "the policy trusts several issuers, and the app's source does not say whose numbers it means: say so with `tidegate app source set APP \
             --issuer {}`",
            identity.issuer
        )
    })
}
