//! SLSA provenance 1: by whom, how and from what something was built.
//!
//! Where the source stands depends on the build type. Known are GitHub's workflows, SLSA's generic generator and container
//! builders (`source`), Google Cloud Build (`buildConfigSource`) and GitLab's runner (`source` as a text). If they name
//! different repositories, or the repository in different commits, it is not known from what it was built. Where no such parameter is, the only
//! dependency is the source; of several none is, since what is built may be one that names no commit.
//!
//! Format: SLSA provenance v1: <https://slsa.dev/spec/v1.0/provenance>.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Problem, ProblemCode, Provenance};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::statement::{Named, shaped, short};
use super::{problem, unreadable};
use crate::gate::json::{Fold, Folded, members};

/// Most dependencies of a build that are looked at.
const MAX_DEPENDENCIES: usize = 10_000;
/// The parameters of builds in which their source stands.
const WITH_SOURCE: [&str; 4] = ["workflow", "buildConfigSource", "source", "repository"];
/// The parameters of GitHub's builders in which stands what started the build.
const WITH_EVENT: [&str; 2] = ["github", "GITHUB_EVENT_NAME"];
/// Most branches and tags that one provenance can name as those it was built from.
const MAX_REFS: usize = 8;
/// Most values in those parameters, and parameters besides.
const MAX_PARAMETERS: usize = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(borrow)]
    build_definition: Definition<'a>,
    run_details: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition<'a> {
    build_type: String,
    #[serde(borrow)]
    external_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    internal_parameters: Option<&'a RawValue>,
    #[serde(default)]
    resolved_dependencies: Folded<Dependencies>,
}

/// At most [`MAX_DEPENDENCIES`]; a provenance with more is refused.
#[derive(Default)]
struct Dependencies(Vec<Dependency>);

impl Fold for Dependencies {
    type Item<'de> = Dependency;

    fn add(&mut self, dependency: Dependency) -> bool {
        let has_room = self.0.len() < MAX_DEPENDENCIES;
        if has_room {
            self.0.push(dependency);
        }
        has_room
    }
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(default)]
    uri: Option<String>,
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Details {
    builder: Named,
}

/// Reads the predicate.
pub(super) fn read(predicate: &str) -> Result<Provenance, Problem> {
    let Written { build_definition: definition, run_details } = shaped(predicate)?;
    let parameters =
        parameters_of(definition.external_parameters, &WITH_SOURCE, "The provenance's `externalParameters`")?;
    let (repository, commit) = source_of(&definition, &parameters);
    let git_refs = refs_of(&definition, &parameters, repository.as_deref())?;
    let event = event_of(&definition)?;
    Ok(Provenance {
        builder: short(run_details.builder.id)?,
        build_type: short(definition.build_type)?,
        repository: repository.map(short).transpose()?,
        commit: commit.map(short).transpose()?,
        git_refs,
        event,
    })
}

/// The parameters that are asked for. What builds are given besides is not looked at.
fn parameters_of(
    written: Option<&RawValue>,
    names: &[&'static str],
    what: &'static str,
) -> Result<Value, Problem> {
    let Some(written) = written.filter(|written| written.get().starts_with('{')) else {
        return Ok(Value::Null);
    };
    let members = members(written.get().as_bytes(), names, MAX_PARAMETERS);
    Ok(Value::Object(members.map_err(unreadable(what))?.into_iter().collect()))
}

fn source_of(definition: &Definition<'_>, parameters: &Value) -> (Option<String>, Option<String>) {
    let dependencies = &definition.resolved_dependencies.0.0;
    let text = |pointer: &str| parameters.pointer(pointer).and_then(Value::as_str);
    let named =
        ["/workflow/repository", "/buildConfigSource/repository", "/source", "/source/uri", "/repository"];
    let named = named.into_iter().filter_map(text).map(repository_of);
    let mut repositories: BTreeSet<&str> = named.collect();
    if let ([alone], true) = (dependencies.as_slice(), repositories.is_empty()) {
        repositories = alone
            .uri
            .as_deref()
            .filter(|_| commit_of(alone).is_some())
            .map(repository_of)
            .into_iter()
            .collect();
    }
    let Some(repository) = only(repositories) else { return (None, None) };
    let is_source =
        |dependency: &&Dependency| dependency.uri.as_deref().map(repository_of) == Some(repository);
    let mut commits: BTreeSet<&str> = dependencies.iter().filter(is_source).filter_map(commit_of).collect();
    let source_commit = |name: &str| text(&format!("/source/digest/{name}"));
    commits.extend(["gitCommit", "sha1"].into_iter().filter_map(source_commit));
    (Some(repository.to_owned()), only(commits).map(str::to_owned))
}

/// The branches and tags that it was built from, in every place that names one.
fn refs_of(
    definition: &Definition<'_>,
    parameters: &Value,
    repository: Option<&str>,
) -> Result<Vec<String>, Problem> {
    let text = |pointer: &str| parameters.pointer(pointer).and_then(Value::as_str);
    let named = ["/workflow/ref", "/buildConfigSource/ref"].into_iter().filter_map(text);
    let in_parameters = ["/source", "/source/uri", "/repository"].into_iter().filter_map(text);
    let dependencies = definition.resolved_dependencies.0.0.iter().filter_map(|it| it.uri.as_deref());
    let of_source = dependencies.filter(|uri| Some(repository_of(uri)) == repository);
    let in_addresses = in_parameters.chain(of_source).filter_map(|uri| Some(&uri[uri.find("@refs/")? + 1..]));
    let refs: BTreeSet<&str> = named.chain(in_addresses).filter(|name| !name.is_empty()).collect();
    if refs.len() > MAX_REFS {
        let text = format!(
            "The provenance names more than {MAX_REFS} branches and tags as those it was built from."
        );
        return Err(problem(ProblemCode::Contradictory, text));
    }
    refs.into_iter().map(|name| short(name.to_owned())).collect()
}

/// What started the build, if its builder says so.
fn event_of(definition: &Definition<'_>) -> Result<Option<String>, Problem> {
    let what = "The provenance's `internalParameters`";
    let parameters = parameters_of(definition.internal_parameters, &WITH_EVENT, what)?;
    let text = |pointer: &str| parameters.pointer(pointer).and_then(Value::as_str);
    let said: BTreeSet<&str> =
        ["/github/event_name", "/GITHUB_EVENT_NAME"].into_iter().filter_map(text).collect();
    if said.len() > 1 {
        return Err(problem(
            ProblemCode::Contradictory,
            "The provenance names two events that started the build.",
        ));
    }
    said.into_iter().next().map(|event| short(event.to_owned())).transpose()
}

fn commit_of(dependency: &Dependency) -> Option<&str> {
    let digest = dependency.digest.get("gitCommit").or_else(|| dependency.digest.get("sha1"));
    digest.map(String::as_str)
}

fn only<T: Ord>(mut all: BTreeSet<T>) -> Option<T> {
    let first = all.pop_first();
    if all.is_empty() { first } else { None }
}

/// The repository of `git+https://host/owner/name@refs/heads/main`, without what may stand before and after.
fn repository_of(uri: &str) -> &str {
    let uri = uri.strip_prefix("git+").unwrap_or(uri);
    let host_at = uri.find("://").map_or(0, |at| at + 3);
    // An `@` before the first slash belongs to a user's name at the host.
    let path_at = uri[host_at..].find('/').map_or(uri.len(), |at| host_at + at);
    let end = uri[path_at..].find(['@', '#', '?']).map_or(uri.len(), |at| path_at + at);
    let uri = uri[..end].trim_end_matches('/');
    uri.strip_suffix(".git").unwrap_or(uri)
}
