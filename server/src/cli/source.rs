//! `tidegate app source`: what an app may be built from, and by whom.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollout_rules::gate::trust::Source;
use rollout_rules::ids::AppKey;
use serde::Deserialize as _;
use serde_json::{Value, json};
use ureq::http::Method;

use super::app;
use super::failure::Failure;
use super::output::fields;
use super::reading::{text, typed_file};
use super::session::Session;

/// What can be done with an app's source.
#[derive(Subcommand, Clone, Debug)]
pub enum SourceCommand {
    /// Show what an app may be built from, by whom
    Show {
        /// The app
        key: AppKey,
    },
    /// Say what an app may be built from; what is not named stays as it is (an admin's or operator's token)
    ///
    /// What runs is judged again by it: `policy test --app APP --source FILE` says before what that would take down.
    Set(Box<SetSource>),
}

/// What is said of a source.
#[derive(Args, Clone, Debug)]
pub struct SetSource {
    /// The app
    key: AppKey,
    /// The repository's address, such as https://github.com/example/discount
    #[arg(long, value_name = "URI")]
    repository: Option<String>,
    /// The issuer of the policy whose tokens of pipelines count: each counts its repositories on its own
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// The repository's number at its host; names can be taken over, numbers cannot
    #[arg(long, value_name = "NUMBER")]
    repository_id: Option<String>,
    /// The number of the repository's owner
    #[arg(long, value_name = "NUMBER")]
    owner_id: Option<String>,
    /// A builder by its URI, exactly; may be repeated
    #[arg(long = "builder", value_name = "URI")]
    builders: Vec<String>,
    /// A build type by its URI, exactly; may be repeated
    #[arg(long = "build-type", value_name = "URI")]
    build_types: Vec<String>,
    /// A key or authority of the policy that may sign for this app; may be repeated. Where the tier denies, keys count only if named
    #[arg(long = "signer", value_name = "NAME")]
    signers: Vec<String>,
    /// A workflow that may ask the gate and sign by certificate, such as example/platform/.github/workflows/gate.yml, with its version
    /// (@refs/heads/main) or beside --ref; may be repeated
    #[arg(long = "workflow", value_name = "REF")]
    workflows: Vec<String>,
    /// A branch or tag whose pipelines may ask for production, and whose builds may go there: main, refs/tags/v1, or refs/heads/release/*; may
    /// be repeated; any if none is said
    #[arg(long = "ref", value_name = "REF")]
    refs: Vec<String>,
    /// The most virtual CPUs of its infrastructure
    #[arg(long, value_name = "N")]
    max_vcpus: Option<u32>,
    /// All of it from this JSON file, as `app source show --json` prints it, before what is named; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl SetSource {
    fn says_nothing(&self) -> bool {
        let texts = [&self.repository, &self.issuer, &self.repository_id, &self.owner_id];
        let lists = [&self.builders, &self.build_types, &self.signers, &self.workflows, &self.refs];
        texts.iter().all(|text| text.is_none())
            && lists.iter().all(|list| list.is_empty())
            && self.max_vcpus.is_none()
            && self.file.is_none()
    }

    /// What was said before, with what is named in its place.
    fn over(&self, before: Source) -> Source {
        let list = |named: &Vec<String>, before| if named.is_empty() { before } else { named.clone() };
        Source {
            repository: self.repository.clone().or(before.repository),
            issuer: self.issuer.clone().or(before.issuer),
            repository_id: self.repository_id.clone().or(before.repository_id),
            owner_id: self.owner_id.clone().or(before.owner_id),
            builders: list(&self.builders, before.builders),
            build_types: list(&self.build_types, before.build_types),
            signers: list(&self.signers, before.signers),
            workflows: list(&self.workflows, before.workflows),
            refs: list(&self.refs, before.refs),
            max_vcpus: self.max_vcpus.or(before.max_vcpus),
        }
    }
}

fn path(app: &AppKey) -> String {
    format!("{}/source", app::path(app))
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, command: SourceCommand) -> Result<(), Failure> {
    match command {
        SourceCommand::Show { key } => {
            let body = session.client.get(&path(&key))?.body;
            if session.json { session.print_json(&body) } else { show(session, &key, &body) }
        }
        SourceCommand::Set(set) => change(session, &set),
    }
}

/// A source out of a file, itself or as the server answers it.
pub(super) fn written(text: &str) -> Result<Source, Failure> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Failure::misread(format!("the source is no JSON: {error}")))?;
    let inner = value.get("source").unwrap_or(&value);
    serde_path_to_error::deserialize(inner).map_err(|error| {
        Failure::misread(format!("the source cannot be read at `{}`: {}", error.path(), error.inner()))
    })
}

fn change(session: &mut Session, set: &SetSource) -> Result<(), Failure> {
    if set.says_nothing() {
        return Err(Failure::usage(
            "say what the app may be built from: --repository, --builder, --workflow, --ref, or --file",
        ));
    }
    let path = path(&set.key);
    let before = match &set.file {
        Some(file) => written(&typed_file(file)?)?,
        None => {
            let body = session.client.get(&path)?.body;
            let source = Option::<Source>::deserialize(&body["source"])
                .map_err(|error| session.client.strange(&format!("a source that is none ({error})")))?;
            source.unwrap_or_default()
        }
    };
    let body = session.with_reason(json!({ "source": set.over(before) }));
    let answer = session.client.change(Method::PUT, &path, &body, None)?.body;
    if session.json { session.print_json(&answer) } else { show(session, &set.key, &answer) }
}

fn show(session: &mut Session, app: &AppKey, body: &Value) -> Result<(), Failure> {
    let source = &body["source"];
    if source.is_null() {
        return session.say(format_args!(
            "nobody said what {app} may be built from: tidegate app source set {app} --repository URL --repository-id N \
             --builder URI --build-type URI"
        ));
    }
    let list = |name: &str| {
        let parts = source[name].as_array().map(Vec::as_slice).unwrap_or_default();
        parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let facts = [
        ("app", app.to_string()),
        ("repository", text(source, "repository")),
        ("issuer", text(source, "issuer")),
        ("repository id", text(source, "repository_id")),
        ("owner id", text(source, "owner_id")),
        ("builders", list("builders")),
        ("build types", list("build_types")),
        ("signers", list("signers")),
        ("workflows", list("workflows")),
        ("production from", list("refs")),
        ("most vCPUs", text(source, "max_vcpus")),
        ("digest", text(body, "digest")),
    ];
    Ok(fields(&mut *session.out, session.style, &facts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> SetSource {
        SetSource {
            key: AppKey::new("discount").expect("a key"),
            repository: None,
            issuer: None,
            repository_id: None,
            owner_id: None,
            builders: Vec::new(),
            build_types: Vec::new(),
            signers: Vec::new(),
            workflows: Vec::new(),
            refs: Vec::new(),
            max_vcpus: None,
            file: None,
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let before = Source {
            repository: Some("https://example.org/a".to_owned()),
            builders: vec!["b1".to_owned(), "b2".to_owned()],
            ..Source::default()
        };
        let named = SetSource { builders: vec!["b3".to_owned()], max_vcpus: Some(4), ..set() };
        let after = named.over(before.clone());
        assert_eq!(after, Source { builders: vec!["b3".to_owned()], max_vcpus: Some(4), ..before });
        assert!(set().says_nothing() && !named.says_nothing());
    }

    #[test]
    fn what_show_prints_is_a_file_to_set() {
        let source = Source { repository: Some("https://example.org/a".to_owned()), ..Source::default() };
        let shown = json!({ "source": source, "digest": source.digest() });
        assert_eq!(written(&shown.to_string()).expect("a source"), source);
        assert_eq!(written(&json!(source).to_string()).expect("a source"), source);
        assert!(written(r#"{"repo": "x"}"#).expect_err("unknown").to_string().contains("cannot be read"));
    }
}
