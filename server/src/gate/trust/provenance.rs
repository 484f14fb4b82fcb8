//! SLSA provenance 1: by whom, how and from what something was built.
//!
//! Where the source stands depends on the build type. Known are GitHub's workflows, SLSA's generic generator and container
//! builders (`source`), Google Cloud Build (`buildConfigSource`) and GitLab's runner (`source` as a text). If they name
//! different repositories, or the repository in different commits, it is not known from what it was built.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Problem, ProblemCode, Provenance};
use serde::Deserialize;
use serde_json::Value;

use super::problem;
use super::statement::{Named, shaped, short};

/// Most dependencies of a build that are looked at.
const MAX_DEPENDENCIES: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    build_definition: Definition,
    run_details: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    build_type: String,
    #[serde(default)]
    external_parameters: Value,
    #[serde(default)]
    resolved_dependencies: Vec<Dependency>,
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
    if definition.resolved_dependencies.len() > MAX_DEPENDENCIES {
        let text = format!("The provenance lists more than {MAX_DEPENDENCIES} dependencies.");
        return Err(problem(ProblemCode::TooLarge, text));
    }
    let (repository, commit) = source_of(&definition);
    Ok(Provenance {
        builder: short(run_details.builder.id)?,
        build_type: short(definition.build_type)?,
        repository: repository.map(short).transpose()?,
        commit: commit.map(short).transpose()?,
    })
}

fn source_of(definition: &Definition) -> (Option<String>, Option<String>) {
    let parameters = &definition.external_parameters;
    let text = |pointer: &str| parameters.pointer(pointer).and_then(Value::as_str);
    let named =
        ["/workflow/repository", "/buildConfigSource/repository", "/source", "/source/uri", "/repository"];
    let named = named.into_iter().filter_map(text).map(repository_of);
    let mut repositories: BTreeSet<&str> = named.collect();
    if repositories.is_empty() {
        let with_commit =
            definition.resolved_dependencies.iter().filter(|dependency| commit_of(dependency).is_some());
        repositories =
            with_commit.filter_map(|dependency| dependency.uri.as_deref()).map(repository_of).collect();
    }
    let Some(repository) = only(repositories) else { return (None, None) };
    let is_source =
        |dependency: &&Dependency| dependency.uri.as_deref().map(repository_of) == Some(repository);
    let mut commits: BTreeSet<&str> =
        definition.resolved_dependencies.iter().filter(is_source).filter_map(commit_of).collect();
    let source_commit = |name: &str| text(&format!("/source/digest/{name}"));
    commits.extend(["gitCommit", "sha1"].into_iter().filter_map(source_commit));
    (Some(repository.to_owned()), only(commits).map(str::to_owned))
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
