//! The gate: evidence in, decisions out, and what is kept of them.

use actix_web::http::Method;
use rollout_rules::gate::decision::{Answer, Decision};
use rollout_rules::gate::facts::MAX_PIECES;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, EnvKey, Revision};
use rollout_rules::release::ArtifactDigest;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{CHANGERS, Files, Operation, READERS};
use super::views::{OrNull, Page, Time};
use crate::http::gate::GateRequest;
use crate::http::problem;

const GATE: &str = "/v1/apps/{app}/environments/{environment}/gate";
const DECISIONS: &str = "/v1/apps/{app}/decisions";
const DECISION: &str = "/v1/apps/{app}/decisions/{decision}";

/// A decision with its place in the log, without what was found.
#[derive(JsonSchema)]
#[schemars(rename = "GateDecision")]
#[allow(dead_code, reason = "only its schema is used")]
struct DecidedView {
    decision: Decision,
    /// Its entry.
    revision: Revision,
    /// When it was made.
    at: Time,
    /// Who asked.
    by: Actor,
    /// Why what it was made from is not there any more, such as that retention removed it and when; null: it is there.
    evidence_gone: OrNull<String>,
}

/// How what runs in an environment stands before the gate.
#[derive(JsonSchema)]
#[schemars(rename = "GateStanding")]
#[allow(dead_code, reason = "only its schema is used")]
struct StandingView {
    app: AppKey,
    environment: EnvKey,
    /// Whether raising takes a build that passed: in production, unless the gate only reports.
    required: bool,
    /// Until when what runs may be raised; null: it may not, or nothing is asked.
    passing_until: OrNull<Time>,
    /// What is missing, in sentences that say what to do.
    missing: Vec<String>,
    /// What runs.
    artifact: OrNull<ArtifactDigest>,
    /// The last decision on it.
    decision: OrNull<DecidedView>,
}

/// A receipt: an in-toto statement in a DSSE envelope. The statement is a SLSA verification summary.
#[derive(JsonSchema)]
#[schemars(rename = "GateReceipt", rename_all = "camelCase")]
#[allow(dead_code, reason = "only its schema is used")]
struct ReceiptView {
    /// The statement, in base64.
    payload: String,
    /// `application/vnd.in-toto+json`.
    payload_type: String,
    signatures: Vec<ReceiptSignature>,
}

/// A signature of a receipt.
#[derive(JsonSchema)]
#[schemars(rename = "GateReceiptSignature")]
#[allow(dead_code, reason = "only its schema is used")]
struct ReceiptSignature {
    /// Names the key, as `/v1/gate/key` does.
    keyid: String,
    /// In base64.
    sig: String,
}

/// The public key of the gate.
#[derive(JsonSchema)]
#[schemars(rename = "GateKey")]
#[allow(dead_code, reason = "only its schema is used")]
struct KeyView {
    /// Names the key.
    key_id: String,
    /// The key: ECDSA P-256, `-----BEGIN PUBLIC KEY-----`.
    pem: String,
}

pub(super) const ARTIFACT: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
pub(super) const DIGEST: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";
const AT: &str = "2027-01-17T18:00:00.000Z";

fn decision() -> Value {
    json!({
        "id": "d7m2x9k4q3va", "app": "shop", "environment": "production", "artifact": ARTIFACT, "version": "1.4.2",
        "verdict": "deny", "occasion": "asked", "tier": 0, "policy": DIGEST,
        "checks": [{ "name": "secrets", "state": "failed", "level": "deny", "total": 1 }],
        "valid_until": "2027-01-31T18:00:00.000Z",
        "evidence": [{ "digest": DIGEST, "name": "gitleaks.json", "format": "gitleaks", "kept": DIGEST }],
        "facts": DIGEST, "judgement": DIGEST, "receipt": DIGEST,
    })
}

fn decided() -> Value {
    let mut decided = made();
    decided["evidence_gone"] = Value::Null;
    decided
}

fn made() -> Value {
    json!({ "decision": decision(), "revision": 48, "at": AT, "by": { "type": "service", "name": "ci" } })
}

fn answer() -> Value {
    let finding = json!({
        "rule": "aws-access-token", "fingerprint": DIGEST, "title": "An AWS access key", "severity": "high",
        "file": "src/config.py", "line": 4,
    });
    let check = json!({
        "name": "secrets", "state": "failed", "level": "deny", "found": "1 secret was found in the code.",
        "why": "Whoever can read the code can use it.", "fix": "Take it out of the code and revoke it.", "total": 1,
        "findings": [{ "finding": finding, "level": "deny" }],
    });
    let judgement =
        json!({ "verdict": "deny", "checks": [check], "valid_until": "2027-01-31T18:00:00.000Z" });
    let mut answer = made();
    answer["judgement"] = judgement;
    answer["lacks_only_evidence"] = false.into();
    answer
}

/// Asking the gate, and what it said.
pub(super) fn gate() -> Vec<Operation> {
    let mut all = vec![checking(), standing(), decisions()];
    all.extend(kept());
    all.push(
        Operation::new(Method::GET, "/v1/gate/key", "get_gate_key")
            .title("Show the key that receipts are checked with")
            .by(READERS)
            .refused(&[problem::GATE_CLOSED])
            .answers::<KeyView>(
                200,
                "The public key.",
                json!({
                    "key_id": DIGEST, "pem": "-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n",
                }),
            ),
    );
    all
}

fn checking() -> Operation {
    Operation::new(Method::POST, GATE, "check_build")
        .title("Ask whether a build may go to an environment")
        .about(
            "A form: first the part `request`, as JSON; then a part `evidence` for each file, at most 50, each of at most \
             10 MiB and 64 MiB together, packed with gzip or not. What a file is, is told by its content. The answer comes with \
             200 whether the build passes or not: look at `decision.verdict`, and at `judgement.checks` for what to mend. With \
             `add`, the evidence is joined with what the last decision on the artifact was made from. Instead of a token of the \
             server, a pipeline may send the token of its own issuer, if the policy trusts that: each is taken once, and \
             `token_problem` says why one is not. Agents ask for previews and sandboxes only.",
        )
        .by(CHANGERS)
        .form::<GateRequest>(
            json!({ "artifact": ARTIFACT, "version": "1.4.2", "reason": "merged" }),
            Files { part: "evidence", most: MAX_PIECES },
        )
        .refused(&[problem::INVALID, problem::TOO_MANY, problem::GATE_CLOSED, problem::LOG_UNAVAILABLE])
        .refused(&[problem::OUTCOME_UNKNOWN, problem::LOG_FULL])
        .answers::<Answer>(200, "The decision, with all that was found.", answer())
}

fn standing() -> Operation {
    let missing =
        format!("{ARTIFACT} runs and the gate denied it: secrets. See `tidegate gate explain d7m2x9k4q3va`");
    Operation::new(Method::GET, GATE, "get_gate_standing")
        .title("Show how what runs in an environment stands")
        .about("In production, nothing is raised unless what runs passed the gate, and did so by what holds now.")
        .by(READERS)
        .answers::<StandingView>(200, "How it stands.", json!({
            "app": "shop", "environment": "production", "required": true, "passing_until": null,
            "missing": [missing], "artifact": ARTIFACT, "decision": decided(),
        }))
}

fn decisions() -> Operation {
    Operation::new(Method::GET, DECISIONS, "list_decisions")
        .title("List decisions on builds, the newest first; of several on one build the first counts")
        .by(READERS)
        .page()
        .query::<EnvKey>("environment", "Only for this environment.")
        .query::<ArtifactDigest>("artifact", "Only on this artifact.")
        .answers::<Page<DecidedView>>(200, "A page of decisions.", json!({ "items": [decided()] }))
}

/// What is kept of a decision.
fn kept() -> [Operation; 3] {
    let reading = |below: &str, id: &str| {
        Operation::new(Method::GET, format!("{DECISION}{below}"), id)
            .by(READERS)
            .refused(&[problem::GATE_CLOSED])
    };
    [
        reading("", "get_decision")
            .title("Show a decision with all that was found")
            .about("With all that was found. The last 64 of an environment are kept, and always the last one on what runs and on what to go back to. What \
                    it was made from is kept for as long as the setting `gate.keep_evidence` says, and of what runs or is gone back to always: \
                    after that, 404 says when it was removed, and the decision itself is still listed.")
            .answers::<Answer>(200, "The decision, with all that was found.", answer()),
        reading("/receipt", "get_receipt")
            .title("Show the signed receipt of a decision")
            .about(
                "A SLSA verification summary in a DSSE envelope. It can be checked without the server, with the key of \
                 `/v1/gate/key`.",
            )
            .answers::<ReceiptView>(200, "The receipt.", json!({
                "payload": "eyJfdHlwZSI6…", "payloadType": "application/vnd.in-toto+json",
                "signatures": [{ "keyid": DIGEST, "sig": "MEUCIQ…" }],
            })),
        reading("/evidence/{digest}", "get_decision_evidence")
            .title("Get a file that a decision was made from")
            .about(
                "As it is kept: what scanners say of secrets is there, the secrets are not. Of plans of infrastructure and of \
                 what could not be read nothing is kept.",
            )
            .answers_text("The file.", "application/octet-stream", "…"),
    ]
}
