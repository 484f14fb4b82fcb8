//! What the gate judges by: the policy, what apps may be built from, who has which role, and waivers.

use actix_web::http::Method;
use rollout_rules::gate::decision::{CheckName, Verdict};
use rollout_rules::gate::policy::{Policy, RoleGrant};
use rollout_rules::gate::trust::Source;
use rollout_rules::gate::waiver::{Waiver, WaiverState};
use rollout_rules::ids::{AppKey, DecisionId, Digest, EnvKey, FlagKey, Revision};
use rollout_rules::release::ArtifactDigest;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::gate::{ARTIFACT, DIGEST};
use super::operation::{ADMINS, CHANGERS, OPERATORS, Operation, READERS, SHAPERS};
use super::views::{OrNull, Page};
use crate::http::gate::policy::{NewPolicy, TriedPolicy};
use crate::http::gate::roles::NewGrant;
use crate::http::gate::source::NewSource;
use crate::http::gate::waivers::{NewWaiver, WaiverApprovalGiven, WaiverEnd};
use crate::http::problem;

const POLICY: &str = "/v1/gate/policy";
const ROLES: &str = "/v1/gate/roles";
const SOURCE: &str = "/v1/apps/{app}/source";
const WAIVERS: &str = "/v1/apps/{app}/waivers";
const WAIVER: &str = "/v1/apps/{app}/waivers/{waiver}";

/// The policy in effect.
#[derive(JsonSchema)]
#[schemars(rename = "GatePolicy")]
#[allow(dead_code, reason = "only its schema is used")]
struct PolicyView {
    policy: Policy,
    /// Names it in decisions and receipts.
    digest: Digest,
    /// For `If-Match`; 0: it is the one that the server came with.
    revision: Revision,
}

/// What is wrong with a policy.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct PolicyProblem {
    /// The member.
    field: String,
    problem: String,
}

/// What another policy would make of a build that runs.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct PolicyTestBuild {
    app: AppKey,
    environment: EnvKey,
    artifact: ArtifactDigest,
    /// The decision it has.
    decision: DecisionId,
    before: Verdict,
    /// Null: it could not be judged.
    after: OrNull<Verdict>,
    /// Why it could not be judged.
    problem: OrNull<String>,
    /// The checks that would deny it, and do not now.
    checks: Vec<CheckName>,
    /// The flags that it would take down.
    flags: Vec<FlagKey>,
}

/// What another policy would do.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct PolicyTest {
    /// Its digest.
    digest: Digest,
    /// Everything that is wrong with it: it would not be taken.
    problems: Vec<PolicyProblem>,
    /// The builds that run and were judged.
    builds: Vec<PolicyTestBuild>,
}

/// Who has which role.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct RoleGrants {
    items: Vec<RoleGrant>,
}

/// What an app may be built from.
#[derive(JsonSchema)]
#[schemars(rename = "SourceOfApp")]
#[allow(dead_code, reason = "only its schema is used")]
struct SourceView {
    app: AppKey,
    /// Null: nobody has said.
    source: OrNull<Source>,
    digest: OrNull<Digest>,
}

/// A waiver, and how it stands.
#[derive(JsonSchema)]
#[schemars(rename = "WaiverStanding")]
#[allow(dead_code, reason = "only its schema is used")]
struct WaiverView {
    waiver: Waiver,
    state: WaiverState,
    /// After breaking the glass: what becomes of the owner's notice.
    notice: Option<NoticeView>,
}

/// Whom a notice goes to, or why it reaches nobody.
#[derive(JsonSchema)]
#[schemars(rename = "GlassNotice")]
#[allow(dead_code, reason = "only its schema is used")]
struct NoticeView {
    /// Whom, in words.
    to: Option<String>,
    /// Why it reaches nobody as things are set up, and what to do.
    problem: Option<String>,
}

/// A policy as an example: its checklist is all that differs from the one that the server comes with.
fn example() -> Value {
    json!({ "checklist": ["I know which data the change touches"] })
}

/// The policy, roles, and what apps may be built from.
pub(super) fn rules() -> Vec<Operation> {
    let mut all = policy();
    all.extend(roles());
    all.extend(source());
    all
}

fn policy() -> Vec<Operation> {
    let shown = json!({ "policy": example(), "digest": DIGEST, "revision": 12 });
    vec![
        Operation::new(Method::GET, POLICY, "get_gate_policy")
            .title("Show what the gate asks of each tier")
            .by(READERS)
            .answers::<PolicyView>(200, "The policy in effect.", shown.clone())
            .with_header("ETag"),
        Operation::new(Method::PUT, POLICY, "set_gate_policy")
            .title("Put another policy in its place")
            .about(
                "All of it; what is left out is as the server comes with. `If-Match` says which one was seen. It holds at once: \
                 builds that run are judged again, and flags of those that it denies are taken to their off variant. Try it first \
                 with `/v1/gate/policy/test`.",
            )
            .by(OPERATORS)
            .change()
            .body::<NewPolicy>(json!({ "policy": example(), "reason": "A shorter checklist" }))
            .refused(&[problem::REASON_REQUIRED])
            .answers::<PolicyView>(200, "The policy in effect now.", shown)
            .with_header("ETag"),
        Operation::new(Method::POST, "/v1/gate/policy/test", "test_gate_policy")
            .title("Try a policy, or another tier or source of an app: what it would make of the builds that run")
            .about(
                "Nothing is changed. `flags` of each build are those that it would take down. With `app` only its builds are tried, and \
                 whoever reads the app may ask; `tier` and `source` are tried by the policy in effect, if none is given.",
            )
            .by(READERS)
            .body::<TriedPolicy>(json!({ "app": "shop", "tier": 2 }))
            .refused(&[problem::INVALID, problem::GATE_CLOSED, problem::NOT_FOUND])
            .answers::<PolicyTest>(200, "What it would do.", json!({
                "digest": DIGEST, "problems": [],
                "builds": [{
                    "app": "shop", "environment": "production", "artifact": ARTIFACT, "decision": "d7m2x9k4q3va",
                    "before": "pass", "after": "deny", "problem": null, "checks": ["vulnerabilities"],
                    "flags": ["checkout"],
                }],
            })),
    ]
}

fn roles() -> Vec<Operation> {
    let grant = json!({ "role": "platform", "person": "bo", "app": "shop" });
    let shown = json!({ "items": [grant] });
    vec![
        Operation::new(Method::GET, ROLES, "list_roles")
            .title("List who may approve in which role")
            .by(READERS)
            .answers::<RoleGrants>(200, "All of them that the token may see.", shown.clone()),
        Operation::new(Method::POST, ROLES, "grant_role")
            .title("Give somebody a role")
            .about("For an app, or for the apps of a tier. Only a human admin that is bound to no app.")
            .by(ADMINS)
            .change()
            .body::<NewGrant>(grant.clone())
            .answers::<RoleGrants>(200, "All of them now.", shown.clone()),
        Operation::new(Method::POST, "/v1/gate/roles/revoke", "revoke_role")
            .title("Take a role from somebody")
            .about("Approvals that they gave in it count no more.")
            .by(ADMINS)
            .change()
            .body::<NewGrant>(grant)
            .answers::<RoleGrants>(200, "All of them now.", shown),
    ]
}

fn source() -> Vec<Operation> {
    let source = json!({
        "repository": "https://github.com/example/shop", "builders": ["https://github.com/actions/runner"],
        "workflows": ["example/shop/.github/workflows/build.yml@refs/heads/main"],
    });
    let shown = json!({ "app": "shop", "source": source, "digest": DIGEST });
    vec![
        Operation::new(Method::GET, SOURCE, "get_source")
            .title("Show what an app may be built from, and by whom")
            .by(READERS)
            .answers::<SourceView>(200, "What was said.", shown.clone()),
        Operation::new(Method::PUT, SOURCE, "set_source")
            .title("Say what an app may be built from, and by whom")
            .about("Builds of it are judged again by that.")
            .by(OPERATORS)
            .change()
            .body::<NewSource>(json!({ "source": source, "reason": "It moved" }))
            .answers::<SourceView>(200, "What holds now.", shown),
    ]
}

/// Waivers.
pub(super) fn waivers() -> Vec<Operation> {
    let asked = json!({
        "check": "vulnerabilities", "fingerprint": DIGEST, "risk": "CVE-2020-14343",
        "reason": "The parser never sees what users send", "expires_at": "2027-01-20T18:00:00.000Z",
    });
    let waiver = json!({
        "id": "v7m2x9k4q3va", "app": "shop", "check": "vulnerabilities", "fingerprint": DIGEST, "risk": "CVE-2020-14343",
        "reason": "The parser never sees what users send", "requested_by": { "type": "human", "name": "ada" },
        "requested_at": "2027-01-17T18:00:00.000Z", "expires_at": "2027-01-20T18:00:00.000Z", "break_glass": false,
    });
    let shown = json!({ "waiver": waiver, "state": "requested" });
    vec![
        Operation::new(Method::GET, WAIVERS, "list_waivers")
            .title("List waivers of an app")
            .by(READERS)
            .page()
            .query::<WaiverState>("state", "Only in this state.")
            .answers::<Page<WaiverView>>(200, "A page of waivers, by id.", json!({ "items": [shown] })),
        Operation::new(Method::POST, WAIVERS, "request_waiver")
            .title("Ask for one finding to be waived until a date")
            .about(
                "It counts once somebody with the role that the policy names has approved it. With `break_glass` a person takes it \
                 upon themselves: it counts at once, for an hour if nothing is said, for eight at most and no longer within any 24, and the \
                 owner is told; `notice` says whom that reaches, or why nobody. Secrets, evidence that cannot be read and rights to \
                 everything are never waived, nor a vulnerability with a fix: what could never count is refused, as far as the last \
                 decisions list what it is for.",
            )
            .by(CHANGERS)
            .change()
            .body::<NewWaiver>(asked)
            .refused(&[problem::EXPIRY_BEYOND_CAP, problem::ALREADY_EXISTS, problem::GLASS_SPENT])
            .answers::<WaiverView>(201, "The waiver.", shown.clone())
            .with_header("Location")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::GET, WAIVER, "get_waiver")
            .title("Show a waiver")
            .by(READERS)
            .answers::<WaiverView>(200, "The waiver.", shown.clone()),
        ending("approve", "Approve a waiver")
            .about("Only a human other than who asked, with the role that the policy names for the app's tier.")
            .by(SHAPERS)
            .body::<WaiverApprovalGiven>(json!({ "role": "platform" }))
            .refused(&[problem::OWN_APPROVAL, problem::ROLE_NEEDED])
            .answers::<WaiverView>(200, "The waiver as it is now.", shown.clone()),
        ending("revoke", "End a waiver early")
            .about("Whoever may ask for one may end it. The build is judged again without it.")
            .by(CHANGERS)
            .optional_body::<WaiverEnd>(json!({ "reason": "It is mended" }))
            .answers::<WaiverView>(200, "The waiver as it is now.", shown),
    ]
}

fn ending(what: &str, title: &str) -> Operation {
    Operation::new(Method::POST, format!("{WAIVER}/{what}"), format!("{what}_waiver"))
        .title(title)
        .change()
        .refused(&[problem::WAIVER_OVER])
}
