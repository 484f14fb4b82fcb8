//! in-toto statements: what is said of which artifacts.
//!
//! Format: in-toto Statement v1: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.

use std::collections::BTreeMap;

use rollout_rules::gate::facts::{Claim, Format, MAX_FACT_BYTES, Problem, ProblemCode};
use rollout_rules::gate::trust::Signs;
use rollout_rules::release::ArtifactDigest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{malformed, problem, provenance, unreadable};
use crate::gate::json::{self, Fold, Folded};
use crate::gate::read::{Audit, read_audit};

/// The statements that are read.
pub(super) const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// What gates say of artifacts.
pub(super) const VSA_V1: &str = "https://slsa.dev/verification_summary/v1";
const STATEMENT_V0_1: &str = "https://in-toto.io/Statement/v0.1";
const PROVENANCE_V1: &str = "https://slsa.dev/provenance/v1";
const SECRET_AUDIT: &str = "tidegate:secret-audit/1";
const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// Most artifacts that one statement is about.
const MAX_SUBJECTS: usize = 1_000;

/// What a statement says.
pub(super) struct Statement {
    /// Its words.
    pub(super) claim: Claim,
    /// The artifacts that it names by SHA-256.
    pub(super) subjects: Vec<ArtifactDigest>,
    /// The document in it that has a reader of its own.
    pub(super) predicate: Option<(Format, Vec<u8>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Folded<Subjects>,
    predicate_type: String,
    #[serde(borrow)]
    predicate: Option<&'a RawValue>,
}

/// At most [`MAX_SUBJECTS`]; a statement about more is refused.
#[derive(Default)]
struct Subjects(Vec<Subject>);

impl Fold for Subjects {
    type Item<'de> = Subject;

    fn add(&mut self, subject: Subject) -> bool {
        let has_room = self.0.len() < MAX_SUBJECTS;
        if has_room {
            self.0.push(subject);
        }
        has_room
    }
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    verifier: Named,
    verification_result: PassedOrFailed,
}

/// Something with an id.
#[derive(Deserialize)]
pub(super) struct Named {
    /// Its URI.
    pub(super) id: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum PassedOrFailed {
    Passed,
    Failed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestResult {
    result: TestOutcome,
    #[serde(default)]
    failed_tests: Vec<serde::de::IgnoredAny>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum TestOutcome {
    Passed,
    Warned,
    Failed,
}

/// Reads a statement.
pub(super) fn read(bytes: &[u8]) -> Result<Statement, Problem> {
    let written: Written<'_> = json::parse_whole(bytes).map_err(unreadable("The statement"))?;
    match written.kind.as_str() {
        STATEMENT_V1 => {}
        STATEMENT_V0_1 => {
            return Err(problem(
                ProblemCode::UnsupportedVersion,
                "It is an in-toto statement of version 0.1: let the tool that makes it write version 1 (for provenance, SLSA 1.0).",
            ));
        }
        _ => {
            let text =
                format!("It is not an in-toto statement of version 1: `_type` has to be `{STATEMENT_V1}`.");
            return Err(problem(ProblemCode::UnsupportedVersion, text));
        }
    }
    let subjects = subjects_of(&written.subject.0.0)?;
    let predicate = written.predicate.map_or("null", RawValue::get);
    let (claim, inner) = claim_of(short(written.predicate_type)?, predicate)?;
    Ok(Statement { claim, subjects, predicate: inner.map(|format| (format, predicate.as_bytes().to_vec())) })
}

/// What a key has to be allowed to sign for a claim to count. None for what counts for nothing anyway.
pub(super) fn purpose(claim: &Claim) -> Option<Signs> {
    match claim {
        Claim::Artifact => Some(Signs::Artifact),
        Claim::Provenance(_) => Some(Signs::Provenance),
        Claim::Verification { .. } => Some(Signs::Verification),
        Claim::TestResult { .. } => Some(Signs::TestResult),
        Claim::Sbom => Some(Signs::Sbom),
        Claim::Vex => Some(Signs::Vex),
        Claim::SecretAudit { .. } => Some(Signs::SecretAudit),
        Claim::Other { .. } => None,
    }
}

/// The SHA-256 digests of what it is about. What is named by another digest alone cannot be the artifact.
fn subjects_of(written: &[Subject]) -> Result<Vec<ArtifactDigest>, Problem> {
    let digests = written.iter().filter_map(|subject| subject.digest.get("sha256"));
    let read = |digits: &String| format!("sha256:{}", digits.to_ascii_lowercase()).parse();
    let digests: Result<Vec<ArtifactDigest>, _> = digests.map(read).collect();
    digests.map_err(|_| {
        malformed("A subject of the statement has a `sha256` that is not 64 hexadecimal digits.")
    })
}

/// What a predicate says, and what reads the document in it.
fn claim_of(predicate_type: String, predicate: &str) -> Result<(Claim, Option<Format>), Problem> {
    Ok(match predicate_type.as_str() {
        PROVENANCE_V1 => (Claim::Provenance(provenance::read(predicate)?), None),
        VSA_V1 => {
            let said: Verification = shaped(predicate)?;
            let passed = said.verification_result == PassedOrFailed::Passed;
            (Claim::Verification { verifier: short(said.verifier.id)?, passed }, None)
        }
        TEST_RESULT => (Claim::TestResult { passed: tests_passed(&shaped(predicate)?)? }, None),
        SECRET_AUDIT => {
            let Audit { app, harmless } = read_audit(predicate)?;
            (Claim::SecretAudit { app: short(app)?, harmless }, None)
        }
        "https://cyclonedx.org/vex" => (Claim::Vex, Some(Format::CyclonedxVex)),
        cyclonedx if is_or_under(cyclonedx, "https://cyclonedx.org/bom") => {
            // One type is used for both: a list of components, and what is said of vulnerabilities of another list.
            if lists_components(predicate) {
                (Claim::Sbom, Some(Format::Cyclonedx))
            } else {
                (Claim::Vex, Some(Format::CyclonedxVex))
            }
        }
        spdx if is_or_under(spdx, "https://spdx.dev/Document") => (Claim::Sbom, Some(Format::Spdx)),
        vex if is_or_under(vex, "https://openvex.dev/ns") => (Claim::Vex, Some(Format::Openvex)),
        _ => (Claim::Other { predicate_type }, None),
    })
}

fn is_or_under(predicate_type: &str, base: &str) -> bool {
    let rest = predicate_type.strip_prefix(base);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a CycloneDX document lists components, or at least says nothing of vulnerabilities.
fn lists_components(document: &str) -> bool {
    #[derive(Deserialize)]
    struct Outline {
        components: Option<serde::de::IgnoredAny>,
        vulnerabilities: Option<serde::de::IgnoredAny>,
    }
    let outline: Result<Outline, _> = json::parse(document.as_bytes());
    outline.map_or(true, |outline| outline.components.is_some() || outline.vulnerabilities.is_none())
}

/// Warnings are no failures, unless tests that failed are listed beside them.
fn tests_passed(said: &TestResult) -> Result<bool, Problem> {
    let lists_failures = !said.failed_tests.is_empty();
    match said.result {
        TestOutcome::Passed if lists_failures => Err(problem(
            ProblemCode::Contradictory,
            "The statement says that tests passed, and lists tests that failed.",
        )),
        TestOutcome::Passed => Ok(true),
        TestOutcome::Warned => Ok(!lists_failures),
        TestOutcome::Failed => Ok(false),
    }
}

/// Reads a predicate, whose keys were looked at with the statement.
pub(super) fn shaped<'a, T: Deserialize<'a>>(predicate: &'a str) -> Result<T, Problem> {
    json::parse(predicate.as_bytes()).map_err(unreadable("The statement's predicate"))
}

/// A text that is compared with what the policy says: cut, it could pass for another.
pub(super) fn short(text: String) -> Result<String, Problem> {
    if text.len() > MAX_FACT_BYTES {
        let words = format!("A name in the statement is longer than {MAX_FACT_BYTES} bytes.");
        return Err(problem(ProblemCode::TooLarge, words));
    }
    Ok(text)
}
