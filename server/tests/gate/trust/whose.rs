//! Whose certificates count for an app: signed for real, read, and judged by its source.

use rcgen::CertificateParams;
use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::gate::decision::CheckName::{Provenance, Sbom, Signature, Vulnerabilities};
use rollout_rules::gate::decision::{Check, CheckName, CheckState, Excuse};
use rollout_rules::gate::facts::{
    Attestation, Exploitability, ExploitabilityStatus, Facts, Finding, Format, Proof, Sbom as Components,
    Scan, ScanKind, Severity, Tool,
};
use rollout_rules::gate::policy::{Level, Policy};
use rollout_rules::gate::trust::{BuilderOf, IssuerShape, Jwks, Source, TokenAlgorithm, TrustedIssuer};
use rollout_rules::gate::{Subject, judge};
use rollout_rules::ids::{AppKey, Digest, EnvKey};
use serde_json::{Value, json};

use super::certificates::{Ca, bundle_of, fulcio, leaf_params};
use super::fixtures::{authority, clean_artifact, compiled, fixture, handed_in, look, trust};
use super::signing::{Own, base64, statement};

const REPOSITORY: &str = "https://github.com/example/discount";
const COMMIT: &str = "1f0c2d3e4b5a69788796a5b4c3d2e1f001234567";
/// The platform team's own, which the app's pipeline calls.
const PLATFORM: &str = "https://github.com/example/platform/.github/workflows/build.yml@refs/heads/main";
/// What a developer pushes on a branch of their own.
const OWN: &str = "https://github.com/example/discount/.github/workflows/mine.yml@refs/heads/try";
const RUNNER: &str = "https://github.com/actions/runner/github-hosted";
const BUILD_TYPE: &str = "https://actions.github.io/buildtypes/workflow/v1";

fn source() -> Source {
    Source {
        repository: Some(REPOSITORY.to_owned()),
        repository_id: Some("7".to_owned()),
        owner_id: Some("8".to_owned()),
        builders: vec![RUNNER.to_owned(), PLATFORM.to_owned()],
        build_types: vec![BUILD_TYPE.to_owned()],
        signers: vec!["own".to_owned()],
        workflows: vec!["example/platform/.github/workflows/build.yml".to_owned()],
        refs: vec!["main".to_owned()],
        ..Source::default()
    }
}

/// What a certificate says, by Fulcio's numbers.
type Claims = Vec<(u64, &'static str)>;

fn honest() -> Claims {
    vec![
        (8, "https://token.actions.githubusercontent.com"),
        (9, PLATFORM),
        (12, REPOSITORY),
        (13, COMMIT),
        (14, "refs/heads/main"),
        (15, "7"),
        (17, "8"),
        (20, "push"),
    ]
}

fn with(number: u64, text: &'static str) -> Claims {
    let others = honest().into_iter().filter(|(known, _)| *known != number);
    others.chain((!text.is_empty()).then_some((number, text))).collect()
}

fn leaf(claims: &Claims) -> CertificateParams {
    let utf8 = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        let length = if length < 128 { vec![length] } else { vec![0x81, length] };
        [vec![0x0c], length, text.as_bytes().to_vec()].concat()
    };
    let mut params = leaf_params();
    params.custom_extensions = claims.iter().map(|(number, text)| fulcio(*number, &utf8(text))).collect();
    params
}

fn built_by(builder: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"workflow": {"repository": REPOSITORY, "ref": "refs/heads/main", "path": "ci.yml"}},
            "internalParameters": {"github": {"event_name": "push"}},
            "resolvedDependencies": [{"uri": format!("git+{REPOSITORY}@refs/heads/main"), "digest": {"gitCommit": COMMIT}}],
        },
        "runDetails": {"builder": {"id": builder}},
    })
}

/// An app in the strictest tier, and an authority whose certificates may sign anything.
struct Gate {
    ca: Ca,
    policy: Policy,
    source: Source,
    kind: EnvironmentKind,
}

impl Gate {
    fn new() -> Gate {
        let ca = Ca::new();
        let mut policy = Policy::default();
        policy.trust.authorities = vec![authority("own", &ca.pem)];
        Gate { ca, policy, source: source(), kind: EnvironmentKind::Production }
    }

    fn read(&self, format: Format, bytes: &str) -> Attestation {
        look(format, bytes.as_bytes(), &compiled(&self.policy.trust), handed_in())
            .expect("a bundle")
            .attestation
    }

    /// The artifact, a provenance and a list of components, signed with one certificate.
    fn facts(&self, claims: &Claims, provenance: Value) -> Facts {
        let own = Own::p256();
        let chain =
            [leaf(claims).signed_by(&own.0, &self.ca.issuer()).expect("a certificate").der().to_vec()];
        let provenance = bundle_of(&own, &chain, &statement("https://slsa.dev/provenance/v1", provenance));
        let sbom = json!({"bomFormat": "CycloneDX", "components": []});
        let sbom = bundle_of(&own, &chain, &statement("https://cyclonedx.org/bom", sbom));
        let artifact = fixture("clean/artifact/discount-1.0.0.tar.gz");
        let artifact = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2",
            "verificationMaterial": {
                "x509CertificateChain": {"certificates": [{"rawBytes": base64(&chain[0])}]}, "tlogEntries": [],
            },
            "messageSignature": {"signature": base64(&own.sign(&artifact))},
        });
        let bundles = [artifact.to_string(), provenance, sbom];
        let attestations: Vec<Attestation> =
            bundles.iter().map(|bundle| self.read(Format::SigstoreBundle, bundle)).collect();
        let listed = Components {
            piece: attestations[2].piece,
            format: "CycloneDX 1.6".to_owned(),
            total: 1,
            subjects: vec![clean_artifact()],
            components: Vec::new(),
        };
        Facts { attestations, sboms: vec![listed], ..Facts::default() }
    }

    fn check(&self, tier: Tier, facts: &Facts, name: CheckName) -> Check {
        let (app, environment) =
            (AppKey::new("discount").expect("a key"), EnvKey::new("live").expect("a key"));
        let subject = Subject {
            app: &app,
            environment: &environment,
            kind: self.kind,
            tier,
            artifact: clean_artifact(),
            source: Some(&self.source),
            waivers: &[],
        };
        let checks = judge(&self.policy, &subject, facts, handed_in()).checks;
        checks.into_iter().find(|check| check.name == name).expect("every check is told")
    }

    fn ends(&self, claims: &Claims, builder: &str, name: CheckName) -> (CheckState, Level, String) {
        let check = self.check(Tier::Two, &self.facts(claims, built_by(builder)), name);
        (check.state, check.level, check.found)
    }

    fn passes(&self, claims: &Claims, builder: &str) -> [bool; 3] {
        [Signature, Provenance, Sbom].map(|name| self.ends(claims, builder, name).0 == CheckState::Passed)
    }
}

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];
const ALL_BUT_PROVENANCE: [bool; 3] = [true, false, true];

#[test]
fn the_platforms_workflow_signs_for_the_app_and_a_workflow_on_somebodys_branch_signs_nothing() {
    let gate = Gate::new();
    assert_eq!(gate.passes(&honest(), PLATFORM), ALL);
    let (state, level, told) = gate.ends(&with(9, OWN), PLATFORM, Signature);
    assert_eq!((state, level), (CheckState::NoProof, Level::Deny));
    assert!(told.contains("mine.yml@refs/heads/try`, which the app's source does not name"), "{told}");
    for (claims, what) in [
        (with(9, OWN), "another workflow of the repository"),
        (
            with(
                9,
                "https://github.com/example/platform/.github/workflows/build.yml@evil.yml@refs/heads/main",
            ),
            "a file called so",
        ),
        (
            with(9, "https://evil.example/example/platform/.github/workflows/build.yml@refs/heads/main"),
            "another host",
        ),
        (with(9, ""), "its name alone, which is another's"),
        (with(14, "refs/heads/try"), "another branch"),
        (with(14, ""), "no branch"),
        (with(20, "pull_request"), "a pull request"),
        (with(20, "pull_request_target"), "a pull request with the rights of the repository"),
        (with(20, "workflow_run"), "what hides behind another"),
        (with(20, ""), "no event"),
        (with(15, "9"), "another repository of that name"),
        (with(15, ""), "no number"),
        (with(17, "9"), "another owner"),
        (with(12, "https://github.com/evil/discount"), "another repository"),
    ] {
        assert_eq!(gate.passes(&claims, PLATFORM), NONE, "{what}");
    }
}

#[test]
fn a_preview_takes_what_other_branches_and_requests_build() {
    let gate = Gate { kind: EnvironmentKind::Preview, ..Gate::new() };
    let request = with(20, "pull_request");
    let request: Claims = request
        .into_iter()
        .map(|(number, text)| (number, if number == 14 { "refs/pull/3/merge" } else { text }))
        .collect();
    assert_eq!(gate.passes(&request, PLATFORM), ALL);
    assert_eq!(gate.passes(&with(9, OWN), PLATFORM), NONE);
}

#[test]
fn a_workflow_speaks_for_itself_and_for_builders_that_its_authority_lets_it_name() {
    let mut gate = Gate::new();
    assert_eq!(gate.passes(&honest(), RUNNER), ALL_BUT_PROVENANCE);
    let (_, level, told) = gate.ends(&honest(), RUNNER, Provenance);
    assert!(level == Level::Deny && told.contains("may not speak for its builder"), "{told}");
    let of = |workflow: &str| BuilderOf { workflow: workflow.to_owned(), builders: vec![RUNNER.to_owned()] };
    for workflow in [PLATFORM, "https://github.com/example/platform/.github/workflows/build.yml"] {
        gate.policy.trust.authorities[0].builders = vec![of(OWN), of(workflow)];
        assert_eq!(gate.passes(&honest(), RUNNER), ALL, "{workflow}");
    }
    gate.policy.trust.authorities[0].builders = vec![of(OWN)];
    assert_eq!(gate.passes(&honest(), RUNNER), ALL_BUT_PROVENANCE);
    assert!(gate.policy.check().is_empty());
    gate.policy.trust.authorities[0].builders = vec![BuilderOf { builders: vec![String::new()], ..of(OWN) }];
    assert_eq!(gate.policy.check()[0].field, "trust.authorities[0].builders");
}

#[test]
fn a_provenance_is_of_the_commit_branch_and_event_that_it_was_signed_for() {
    let gate = Gate::new();
    let judged = |change: &dyn Fn(&mut Value)| {
        let mut provenance = built_by(PLATFORM);
        change(&mut provenance);
        let check = gate.check(Tier::Two, &gate.facts(&honest(), provenance), Provenance);
        (check.state == CheckState::Passed, check.found)
    };
    assert!(judged(&|_| ()).0);
    let definition = "/buildDefinition";
    let rows: [(&str, &str, &str); 5] = [
        (
            "/resolvedDependencies/0/digest/gitCommit",
            "abc",
            "the commit of the certificate that signed it is 1f0c",
        ),
        ("/externalParameters/workflow/ref", "refs/heads/try", "ran for `refs/heads/try`"),
        ("/externalParameters/workflow/ref", "refs/pull/3/merge", "ran for a pull or merge request"),
        ("/internalParameters/github/event_name", "pull_request_target", "ran for a pull or merge request"),
        ("/internalParameters/github/event_name", "workflow_run", "was started by `workflow_run`"),
    ];
    for (pointer, text, told) in rows {
        let (passed, found) =
            judged(&|it| *it.pointer_mut(&format!("{definition}{pointer}")).expect("a member") = json!(text));
        assert!(!passed && found.contains(told), "{pointer}: {found}");
    }
    let unsaid = judged(&|it| it["buildDefinition"]["internalParameters"] = Value::Null);
    assert!(unsaid.0, "other builders do not say what started them: {}", unsaid.1);
    assert_eq!(
        gate.passes(&with(13, "abc"), PLATFORM),
        ALL_BUT_PROVENANCE,
        "a certificate of another commit"
    );
    assert_eq!(gate.passes(&with(13, ""), PLATFORM), ALL_BUT_PROVENANCE, "or of none that it says");
}

#[test]
fn a_source_that_names_no_number_takes_no_certificate() {
    let mut gate = Gate::new();
    gate.source.repository_id = None;
    assert_eq!(gate.passes(&honest(), PLATFORM), NONE);
    assert!(gate.ends(&honest(), PLATFORM, Signature).2.contains("--repository-id"));
}

#[test]
fn where_the_tier_denies_a_source_has_to_say_which_workflow_signs_on_which_branch() {
    let mut gate = Gate::new();
    gate.source.workflows.clear();
    let facts = |gate: &Gate| gate.facts(&honest(), built_by(PLATFORM));
    assert_eq!(gate.passes(&honest(), PLATFORM), NONE);
    assert!(gate.ends(&honest(), PLATFORM, Signature).2.contains("--workflow"));
    let warned = gate.check(Tier::One, &facts(&gate), Signature);
    assert_eq!((warned.state, warned.level), (CheckState::Failed, Level::Warn));
    assert!(warned.found.contains("signed by own; the app's source names no workflow"), "{}", warned.found);
    assert!(warned.fix.contains("tidegate app source set"), "{}", warned.fix);

    gate.source = Source { refs: Vec::new(), ..source() };
    assert_eq!(gate.passes(&honest(), PLATFORM), NONE);
    assert!(gate.ends(&honest(), PLATFORM, Provenance).2.contains("--ref main"));
    for whole in [&PLATFORM["https://github.com/".len()..], &PLATFORM["https://".len()..], PLATFORM] {
        gate.source.workflows = vec![whole.to_owned()];
        assert_eq!(gate.passes(&honest(), PLATFORM), ALL, "{whole}: its version says the branch");
    }
}

#[test]
fn a_certificate_goes_back_to_the_issuer_that_the_source_names() {
    let mut gate = Gate::new();
    gate.source.issuer = Some("github".to_owned());
    assert_eq!(gate.passes(&honest(), PLATFORM), NONE, "the policy names no such issuer");
    gate.policy.trust.issuers = vec![TrustedIssuer {
        name: "github".to_owned(),
        shape: IssuerShape::Github,
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        audience: "tidegate".to_owned(),
        algorithms: vec![TokenAlgorithm::RS256],
        jwks: Jwks::File("keys.json".to_owned()),
    }];
    assert_eq!(gate.passes(&honest(), PLATFORM), ALL);
    assert_eq!(gate.passes(&with(8, "https://git.example"), PLATFORM), NONE);
}

#[test]
fn a_pipelines_certificate_is_not_the_security_role() {
    let gate = Gate::new();
    let own = Own::p256();
    let chain = [leaf(&honest()).signed_by(&own.0, &gate.ca.issuer()).expect("a certificate").der().to_vec()];
    let vex = statement("https://openvex.dev/ns/v0.2.0", json!({"statements": []}));
    let signed = gate.read(Format::SigstoreBundle, &bundle_of(&own, &chain, &vex));
    let signer = signed.signer.clone().expect("a signer");
    let mut key_signed = signed.clone();
    key_signed.signer.as_mut().expect("a signer").certificate = None;
    let judged = |attestation: Attestation| {
        let finding = Finding {
            rule: "CVE-1".to_owned(),
            subject: Some("pkg:pypi/flask@1.0".to_owned()),
            severity: Severity::Critical,
            ..Finding::default()
        };
        let said = Exploitability {
            piece: attestation.piece,
            vulnerability: "CVE-1".to_owned(),
            products: vec!["pkg:pypi/flask@1.0".to_owned()],
            status: ExploitabilityStatus::NotAffected,
            justification: Some("code_not_reachable".to_owned()),
            signer: attestation.signer.clone().ok(),
        };
        let scan = Scan {
            piece: Digest::of(b"scan"),
            kind: ScanKind::Vulnerabilities,
            tool: Tool { name: "grype".to_owned(), version: None },
            proof: Proof::Given("it looked".to_owned()),
            total: 1,
            findings: vec![finding],
        };
        let facts = Facts {
            scans: vec![scan],
            exploitability: vec![said],
            attestations: vec![attestation],
            ..Facts::default()
        };
        gate.check(Tier::Two, &facts, Vulnerabilities).findings[0].excused.clone()
    };
    assert_eq!(judged(signed), None);
    assert_eq!(judged(key_signed), Some(Excuse::Signed(signer.name)));
}

#[test]
fn the_certificate_of_the_fixtures_signs_where_source_and_policy_name_its_workflow_and_builder() {
    let bundle = fixture("clean/attest/provenance.private-ca.sigstore.json");
    let mut gate = Gate::new();
    gate.policy.trust = trust();
    let facts = Facts {
        attestations: vec![gate.read(Format::SigstoreBundle, &String::from_utf8(bundle).expect("text"))],
        ..Facts::default()
    };
    gate.source = Source {
        repository: Some("https://github.com/example-org/discount".to_owned()),
        repository_id: Some("100200300".to_owned()),
        owner_id: Some("400500".to_owned()),
        signers: vec!["private-ca".to_owned()],
        workflows: vec!["example-org/discount/.github/workflows/ci.yml".to_owned()],
        ..source()
    };
    let ends = |gate: &Gate| gate.check(Tier::Two, &facts, Provenance).level;
    assert_eq!(ends(&gate), Level::Deny, "nobody said that it may speak for GitHub's runners");
    let workflow =
        "https://github.com/example-org/discount/.github/workflows/ci.yml@refs/heads/main".to_owned();
    gate.policy.trust.authorities[0].builders =
        vec![BuilderOf { workflow, builders: vec![RUNNER.to_owned()] }];
    assert_eq!(ends(&gate), Level::Off);
    gate.source.refs = vec!["release/*".to_owned()];
    assert_eq!(ends(&gate), Level::Deny);
}
