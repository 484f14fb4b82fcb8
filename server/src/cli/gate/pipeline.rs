//! What a pipeline offers to the tool that runs in it: a token that says which pipeline it is, and a page for its summary.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::http::{Request, Uri};

use crate::cli::client::{agent, with_query};
use crate::cli::failure::Failure;
use crate::cli::output::note;
use crate::cli::trust::TlsOptions;

/// Where a pipeline leaves its token if nobody says otherwise, as GitLab's `id_tokens` does by name.
const TOKEN_VARIABLE: &str = "TIDEGATE_ID_TOKEN";
/// Where GitHub Actions hands tokens out, and with what it is asked.
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// How long GitHub may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer of GitHub that is read.
const MAX_TOKEN_ANSWER_BYTES: u64 = 64 * 1024;

/// How a pipeline says which one it is.
#[derive(Args, Clone, Debug)]
pub(super) struct IdentityOptions {
    /// The variable that holds the pipeline's own OIDC token; if it offers none, the Tidegate token is used
    #[arg(long, value_name = "NAME", default_value = TOKEN_VARIABLE)]
    identity_token_env: String,
    /// For whom GitHub Actions is to make the token out: the audience that the gate's policy names
    #[arg(long, env = "TIDEGATE_AUDIENCE", value_name = "NAME")]
    audience: Option<String>,
}

/// Looks up a variable of the environment.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The pipeline's own token, if it offers one.
pub(super) fn identity(options: &IdentityOptions, variable: Variable<'_>) -> Result<Option<String>, Failure> {
    let set =
        |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if let Some(token) = set(&options.identity_token_env) {
        return Ok(Some(token));
    }
    if options.identity_token_env != TOKEN_VARIABLE {
        let problem = format!(
            "the variable {} holds no token: let the pipeline set it, or leave --identity-token-env out",
            options.identity_token_env
        );
        return Err(Failure::no_evidence(problem));
    }
    // A token without an audience of its own could be used with others too.
    let audience = options.audience.as_deref().map(str::trim).filter(|audience| !audience.is_empty());
    match (audience, set(GITHUB_URL), set(GITHUB_TOKEN)) {
        (Some(audience), Some(url), Some(token)) => {
            fetch(&with_query(&url, "audience", audience), &token).map(Some)
        }
        _ => Ok(None),
    }
}

/// Asks GitHub for the token of this job.
fn fetch(url: &str, token: &str) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::no_evidence(format!(
            "GitHub handed out no identity token: {why}. Give the job `permissions: id-token: write`, or leave --audience out"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| failed(format!("{GITHUB_URL} is no address")))?;
    let request = Request::builder().uri(url).header("authorization", format!("Bearer {token}"));
    let request = request.body(()).map_err(|_| failed(format!("{GITHUB_TOKEN} holds what HTTP forbids")))?;
    let agent = agent(&uri, &TlsOptions::default())?;
    let request = agent.configure_request(request).timeout_global(Some(FETCH_TIMEOUT)).build();
    let response = agent.run(request).map_err(|error| failed(error.to_string()))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(failed(format!("it answered {status}")));
    }
    let mut body = Vec::new();
    let read = response.into_body().into_reader().take(MAX_TOKEN_ANSWER_BYTES).read_to_end(&mut body);
    read.map_err(|error| failed(error.to_string()))?;
    let answer: Value =
        serde_json::from_slice(&body).map_err(|_| failed("its answer is no JSON".to_owned()))?;
    let value = answer["value"].as_str().filter(|value| !value.is_empty());
    value.map(str::to_owned).ok_or_else(|| failed("its answer holds none".to_owned()))
}

/// Where the tool runs.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    /// Whether annotations on standard output are shown beside the code.
    pub(super) is_github: bool,
    /// The page of the job.
    summary: Option<PathBuf>,
}

impl Pipeline {
    /// As the environment says.
    pub(super) fn of_environment() -> Pipeline {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Pipeline {
            is_github: set("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            summary: set("GITHUB_STEP_SUMMARY").map(PathBuf::from),
        }
    }

    /// Adds to the page of the job, if there is one. The answer stands on standard output too, so a page that cannot be written is told
    /// and no reason to fail.
    pub(super) fn summarise(&self, text: &str) {
        let Some(page) = &self.summary else { return };
        let written = File::options()
            .append(true)
            .create(true)
            .open(page)
            .and_then(|mut page| page.write_all(text.as_bytes()));
        if let Err(error) = written {
            note(format_args!("the job's summary {} cannot be written: {error}", page.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, audience: Option<&str>) -> IdentityOptions {
        IdentityOptions { identity_token_env: name.to_owned(), audience: audience.map(str::to_owned) }
    }

    fn offered(options: &IdentityOptions, variables: &[(&str, &str)]) -> Result<Option<String>, u8> {
        let lookup =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        identity(options, &lookup).map_err(|failure| failure.exit_code() as u8)
    }

    #[test]
    fn the_token_that_a_pipeline_leaves_in_a_variable_is_used() {
        let usual = options(TOKEN_VARIABLE, None);
        assert_eq!(offered(&usual, &[(TOKEN_VARIABLE, "a.b.c\n")]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(
            offered(&usual, &[(TOKEN_VARIABLE, "")]),
            Ok(None),
            "GitLab sets it empty where it is not asked for"
        );
        let named = options("OUR_TOKEN", None);
        assert_eq!(offered(&named, &[("OUR_TOKEN", "a.b.c")]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(
            offered(&named, &[(TOKEN_VARIABLE, "a.b.c")]),
            Err(3),
            "the one that is named has to be there"
        );
    }

    #[test]
    fn github_is_asked_for_a_token_only_if_it_is_said_for_whom() {
        let github = [(GITHUB_URL, "no address"), (GITHUB_TOKEN, "t")];
        assert_eq!(offered(&options(TOKEN_VARIABLE, None), &github), Ok(None));
        assert_eq!(offered(&options(TOKEN_VARIABLE, Some("gate")), &github[..1]), Ok(None));
        assert_eq!(offered(&options(TOKEN_VARIABLE, Some("gate")), &github), Err(3), "it was asked");
    }

    #[test]
    fn summaries_of_several_checks_stand_below_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("summary.md");
        let pipeline = Pipeline { is_github: true, summary: Some(page.clone()) };
        pipeline.summarise("one\n");
        pipeline.summarise("two\n");
        assert_eq!(std::fs::read_to_string(page).expect("a page"), "one\ntwo\n");
    }
}
