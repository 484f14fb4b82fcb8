//! `tidegate gate check`: collects the evidence of a build, asks the gate, and shows what it says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use rollout_rules::gate::decision::{Answer, Verdict};
use rollout_rules::gate::facts::AgentWork;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::release::ArtifactDigest;
use serde_json::{Value, json};

use super::artifact::{ArtifactError, digest_of};
use super::collect::{EvidenceOptions, Piece, collect};
use super::decisions::{gate_path, read};
use super::pipeline::{self, Pipeline};
use super::render::{self, Shown};
use crate::cli::failure::{Failure, Judged};
use crate::cli::form::Form;
use crate::cli::output::{harmless, note};
use crate::cli::reading::{actor, typed_file};
use crate::cli::session::Session;
use crate::cli::whole_file::{Readers, can_be_written, write_whole};

/// How long sending all evidence and the judgement may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(300);
/// Most entries of the list of language models; the server takes no more.
const MAX_AGENTS: usize = 20;

/// What is checked.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// Where it is to go
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: EnvKey,
    /// What is deployed: its file, or sha256: and 64 hexadecimal digits as the registry names it
    #[arg(long, value_name = "FILE")]
    artifact: String,
    /// What people call it: 1.4.2
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    #[command(flatten)]
    evidence: EvidenceOptions,
    /// Join the evidence with what the newest decision on this artifact was made from, as a new report of vulnerabilities
    #[arg(long)]
    add: bool,
    /// The language models that had a part in it: a JSON list of agent, model, on_behalf_of, prompt (SHA-256), files, more_files and reviewer
    #[arg(long, value_name = "FILE")]
    agents: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write what --format says into this file; people read the text on standard output all the same
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// End with 2 if it passes with warnings
    #[arg(long)]
    fail_on_warn: bool,
    #[command(flatten)]
    identity: pipeline::IdentityOptions,
}

/// How a decision is shown.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// As the server answered it.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
    /// JUnit XML, a test for each check.
    Junit,
}

/// Asks the gate.
pub(super) fn run(session: &mut Session, app: &AppKey, options: &CheckOptions) -> Result<(), Failure> {
    // What the gate says may not get lost for want of a folder, nor be taken for a denial.
    options.output.as_deref().map_or(Ok(()), can_be_written)?;
    let artifact = digest_of(&options.artifact).map_err(not_an_artifact)?;
    let agents = options.agents.as_deref().map(agents_of).transpose()?;
    let file = Some(Path::new(&options.artifact)).filter(|_| !options.artifact.starts_with("sha256:"));
    let collected = collect(&options.evidence, file, options.add)?;
    collected.notes.iter().for_each(note);
    let pipeline = Pipeline::of_environment();
    let identity = pipeline::identity(&options.identity, &|name| std::env::var(name).ok())?;
    let request = request(session, options, artifact, agents.as_deref());
    let form = form(&request, collected.pieces);
    let path = gate_path(app, &options.environment);
    let body = session.client.upload(&path, form, identity.as_deref(), CHECK_TIMEOUT)?.body;
    let answer = read(session, &body)?;
    show(session, options, &answer, &body, &pipeline)?;
    let written = write_output(session, options, &answer, &body);
    // A denial is told before a file that could not be written.
    ends(&answer, options.fail_on_warn).and(written)
}

/// Writes what `--format` says into the file that is named.
fn write_output(
    session: &Session,
    options: &CheckOptions,
    answer: &Answer,
    body: &Value,
) -> Result<(), Failure> {
    let Some(file) = &options.output else { return Ok(()) };
    let text = rendered(answer, body, if session.json { Format::Json } else { options.format });
    let written = write_whole(file, Readers::AsBefore, |out| Ok(out.write_all(text.as_bytes())?));
    written.map_err(|failure| {
        note(&failure);
        Failure::no_evidence(format!("{} was not written", file.display()))
    })
}

fn not_an_artifact(error: ArtifactError) -> Failure {
    match error {
        ArtifactError::NoDigest(_) => Failure::usage(error.to_string()),
        other => Failure::no_evidence(other.to_string()),
    }
}

/// The list of language models that a file holds. A prompt's text is no member of it.
fn agents_of(file: &Path) -> Result<Vec<AgentWork>, Failure> {
    let text = typed_file(file).map_err(|failure| Failure::no_evidence(failure.to_string()))?;
    let wrong = |problem: String| Failure::no_evidence(format!("{}: {problem}", file.display()));
    let agents: Vec<AgentWork> = serde_json::from_str(&text).map_err(|error| {
        wrong(format!(
            "this is no list of language models ({error}): write [{{\"agent\": …, \"model\": …, \"on_behalf_of\": …, \
             \"prompt\": the SHA-256 of the prompt, \"files\": […], \"reviewer\": …}}]"
        ))
    })?;
    match agents.len() {
        0..=MAX_AGENTS => Ok(agents),
        more => Err(wrong(format!("it lists {more} language models, at most {MAX_AGENTS} are taken"))),
    }
}

fn request(
    session: &Session,
    options: &CheckOptions,
    artifact: ArtifactDigest,
    agents: Option<&[AgentWork]>,
) -> Value {
    let mut request = session.with_reason(json!({ "artifact": artifact }));
    if let Some(version) = &options.version {
        request["version"] = version.as_str().into();
    }
    if let Some(agents) = agents {
        request["agents"] = json!(agents);
    }
    if options.add {
        request["add"] = true.into();
    }
    request
}

fn form(request: &Value, pieces: Vec<Piece>) -> Form {
    let mut form = Form::new();
    form.json("request", request);
    for piece in pieces {
        form.file("evidence", &piece.name, piece.bytes);
    }
    form.ended()
}

fn show(
    session: &mut Session,
    options: &CheckOptions,
    answer: &Answer,
    body: &Value,
    pipeline: &Pipeline,
) -> Result<(), Failure> {
    let shown = Shown { decision: &answer.decision, judgement: &answer.judgement };
    let format = if session.json { Format::Json } else { options.format };
    // Standard output is people's where the file is a program's.
    let format = if options.output.is_some() && !session.json { Format::Text } else { format };
    let text = on_stdout(answer, body, format);
    session.out.write_all(text.as_bytes())?;
    if format == Format::Text && pipeline.is_github {
        session.out.write_all(render::annotations(&shown).as_bytes())?;
    }
    if matches!(format, Format::Text | Format::Github) {
        pipeline.summarise(&render::summary(&shown));
    }
    Ok(())
}

/// A decision as text for standard output: in colour where that is a terminal.
pub(super) fn on_stdout(answer: &Answer, body: &Value, format: Format) -> String {
    match format {
        Format::Text => {
            let shown = Shown { decision: &answer.decision, judgement: &answer.judgement };
            format!("{}{}", render::people_on_stdout(&shown), asked_by(answer))
        }
        other => rendered(answer, body, other),
    }
}

/// A decision as text.
fn rendered(answer: &Answer, body: &Value, format: Format) -> String {
    let shown = Shown { decision: &answer.decision, judgement: &answer.judgement };
    match format {
        Format::Text => format!("{}{}", render::people(&shown), asked_by(answer)),
        Format::Json => format!("{body:#}\n"),
        Format::Sarif => format!("{:#}\n", render::sarif(&shown)),
        Format::Github => render::annotations(&shown),
        Format::Junit => render::junit(&shown),
    }
}

/// Who asked, where that was a language model; who else did is in `gate list`.
fn asked_by(answer: &Answer) -> String {
    match answer.by {
        Actor::Agent { .. } => format!("\nAsked by {}\n", harmless(&actor(&json!(answer.by)))),
        _ => String::new(),
    }
}

/// What the shell is told.
fn ends(answer: &Answer, fail_on_warn: bool) -> Result<(), Failure> {
    match answer.judgement.verdict {
        Verdict::Deny if answer.lacks_only_evidence => Err(Failure::Judged(Judged::Lacking)),
        Verdict::Deny => Err(Failure::Judged(Judged::Denied)),
        Verdict::Warn if fail_on_warn => Err(Failure::Judged(Judged::Warned)),
        Verdict::Warn | Verdict::Pass => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::flag::Tier;
    use rollout_rules::gate::decision::{Decision, Judgement, Occasion};
    use rollout_rules::ids::{DecisionId, Digest, Revision};
    use rollout_rules::time::UnixMs;

    use super::*;

    fn answer(verdict: Verdict, lacks_only_evidence: bool) -> Answer {
        let at = UnixMs(1_800_000_000_000);
        let none = Digest::of(b"");
        let decision = Decision {
            id: DecisionId::new("d1").expect("a name"),
            app: AppKey::new("discount").expect("a key"),
            environment: EnvKey::new("production").expect("a key"),
            artifact: format!("sha256:{none}").parse().expect("a digest"),
            version: None,
            verdict,
            occasion: Occasion::Asked,
            tier: Tier::One,
            policy: none,
            source: None,
            checks: Vec::new(),
            valid_until: at,
            waivers: Vec::new(),
            signers: Vec::new(),
            evidence: Vec::new(),
            facts: none,
            judgement: none,
            receipt: none,
            identity: None,
            agents: Vec::new(),
        };
        let judgement = Judgement {
            verdict,
            checks: Vec::new(),
            valid_until: at,
            waivers: Vec::new(),
            signers: Vec::new(),
        };
        let by = Actor::Human { name: "ada".into() };
        Answer { decision, judgement, revision: Revision(1), at, by, lacks_only_evidence }
    }

    #[test]
    fn the_shell_is_told_by_a_number_what_the_gate_says() {
        for (verdict, lacks, fail_on_warn, code) in [
            (Verdict::Pass, false, false, 0),
            (Verdict::Pass, false, true, 0),
            (Verdict::Warn, false, false, 0),
            (Verdict::Warn, false, true, 2),
            (Verdict::Deny, false, false, 1),
            (Verdict::Deny, false, true, 1),
            (Verdict::Deny, true, false, 3),
            (Verdict::Deny, true, true, 3),
        ] {
            let ended = ends(&answer(verdict, lacks), fail_on_warn);
            let told = ended.map_or_else(|failure| failure.exit_code() as u8, |()| 0);
            assert_eq!(told, code, "{verdict} {lacks} {fail_on_warn}");
        }
    }

    #[test]
    fn an_artifact_that_is_not_there_is_evidence_that_is_missing_and_no_digest_is_a_mistake() {
        let told = |artifact: &str| {
            digest_of(artifact).map_err(not_an_artifact).map_err(|failure| failure.exit_code() as u8)
        };
        assert_eq!(told("/nowhere/app.tar.gz"), Err(3));
        assert_eq!(told("/"), Err(3));
        assert_eq!(told("sha256:12"), Err(2));
    }

    #[test]
    fn the_prompt_itself_has_no_place_in_the_list_of_language_models() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agents.json");
        let read = |text: &str| {
            std::fs::write(&file, text).expect("written");
            agents_of(&file).map_err(|failure| (failure.exit_code() as u8, failure.to_string()))
        };
        let prompt = "b".repeat(64);
        let good =
            read(&format!(r#"[{{"agent":"editor","model":"m-1","prompt":"{prompt}","files":["a.py"]}}]"#));
        assert_eq!(good.expect("a list")[0].model, "m-1");
        for bad in
            [r#"[{"agent":"e","model":"m","prompt":"write me a shop"}]"#, r#"{"agent":"e"}"#, "no JSON"]
        {
            let (code, text) = read(bad).expect_err(bad);
            assert_eq!(code, 3, "{text}");
            assert!(text.contains("SHA-256 of the prompt"), "{text}");
        }
        let many = format!("[{}]", vec![r#"{"agent":"e","model":"m"}"#; MAX_AGENTS + 1].join(","));
        assert!(read(&many).expect_err("too many").1.contains("at most 20"));
    }
}
