//! Which pipelines may ask for an app, and which of them for production.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::Identity;
use rollout_rules::gate::decision::CheckState::{Failed, Passed};
use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::policy::Level::{Deny, Off, Warn};
use rollout_rules::gate::trust::{IssuerShape, Jwks, Source, TokenAlgorithm, TrustedIssuer};
use rollout_rules::gate::{may_ask_for_production, not_its_pipeline, unclear_issuer};

use super::build::{Build, source};
use super::signatures::identity;

fn by(event: Option<&str>, git_ref: Option<&str>) -> PipelineIdentity {
    PipelineIdentity { event: event.map(Into::into), git_ref: git_ref.map(Into::into), ..identity() }
}

fn bar(source: Option<&Source>, identity: &PipelineIdentity) -> Option<&'static str> {
    may_ask_for_production(source, identity).err().map(|bar| bar.code())
}

#[test]
fn production_is_for_what_is_known_to_run_what_the_repository_holds_and_nothing_else() {
    let main = Some("refs/heads/main");
    for event in [
        "push",
        "workflow_dispatch",
        "release",
        "schedule",
        "merge_group",
        "web",
        "api",
        "trigger",
        "repository_dispatch",
    ] {
        assert_eq!(bar(None, &by(Some(event), main)), None, "{event}");
    }
    for event in [
        "pull_request",
        "pull_request_target",
        "pull_request_review",
        "merge_request_event",
        "external_pull_request_event",
        "",
    ] {
        assert_eq!(bar(None, &by(Some(event), main)), Some("pull_request"), "{event}");
    }
    for event in [
        "workflow_run",
        "issue_comment",
        "pipeline",
        "parent_pipeline",
        "fork",
        "PUSH",
        "push ",
        "what comes next year",
    ] {
        assert_eq!(bar(None, &by(Some(event), main)), Some("event"), "{event}");
    }
    assert_eq!(bar(None, &by(None, main)), Some("pull_request"));
    assert_eq!(bar(None, &by(Some("push"), Some("refs/pull/7/merge"))), Some("pull_request"));
    assert_eq!(bar(None, &by(Some("push"), Some("refs/merge-requests/7/head"))), Some("pull_request"));
}

#[test]
fn production_comes_from_any_branch_until_somebody_says_from_which() {
    let asks = |refs: &[&str], git_ref: Option<&str>| {
        let source = Source { refs: refs.iter().map(|it| (*it).into()).collect(), ..source() };
        bar(Some(&source), &by(Some("push"), git_ref)).is_none()
    };
    assert!(asks(&[], Some("refs/heads/try")) && asks(&[], None), "nobody said");
    let bound = ["main", "refs/tags/v*", "release/*"];
    for git_ref in ["refs/heads/main", "refs/tags/v1.2", "refs/heads/release/7"] {
        assert!(asks(&bound, Some(git_ref)), "{git_ref}");
    }
    for git_ref in [
        "refs/heads/try",
        "refs/tags/main",
        "main",
        "refs/heads/main2",
        "refs/tags/release/7",
        "refs/heads/refs/tags/v1",
        "",
    ] {
        assert!(!asks(&bound, Some(git_ref)), "{git_ref}");
    }
    assert!(!asks(&bound, None), "it does not say");
}

fn issuer(name: &str, address: &str) -> TrustedIssuer {
    TrustedIssuer {
        name: name.into(),
        shape: IssuerShape::Github,
        issuer: address.into(),
        audience: "https://tidegate.example".into(),
        algorithms: vec![TokenAlgorithm::RS256],
        jwks: Jwks::File("keys.json".into()),
    }
}

#[test]
fn the_same_number_of_another_issuer_names_another_repository() {
    let bound = Source { issuer: Some("github".into()), ..source() };
    assert_eq!(not_its_pipeline(Some(&bound), &identity()), None);
    let elsewhere = PipelineIdentity { issuer: "gitlab".into(), ..identity() };
    let wrong = not_its_pipeline(Some(&bound), &elsewhere).expect("it is another's");
    assert!(wrong.contains("the issuer is gitlab"), "{wrong}");
    let mut build = Build::with(Tier::Zero, |facts| facts.identity = Some(elsewhere));
    build.source = Some(bound);
    assert_eq!(build.ends(Identity), (Failed, Deny));
}

#[test]
fn where_several_issuers_are_trusted_a_source_has_to_say_whose_numbers_it_means() {
    let mut build = Build::with(Tier::Zero, |facts| facts.identity = Some(identity()));
    let github = issuer("github", "https://token.actions.githubusercontent.com");
    build.policy.trust.issuers = vec![github.clone(), TrustedIssuer { name: "second".into(), ..github }];
    assert_eq!(build.ends(Identity), (Passed, Off), "both are one");
    build.policy.trust.issuers.push(issuer("gitlab", "https://gitlab.example"));
    let unclear = |source: &Source| unclear_issuer(Some(source), &build.policy.trust, &identity());
    assert!(unclear(&source()).is_some_and(|text| text.contains("--issuer github")));
    assert_eq!(unclear(&Source { issuer: Some("github".into()), ..source() }), None);
    assert_eq!(build.ends(Identity), (Failed, Warn), "what runs goes on");
}

#[test]
fn a_build_from_a_branch_that_is_none_of_production_any_more_is_denied_there() {
    let mut build = Build::with(Tier::Zero, |facts| facts.identity = Some(identity()));
    build.source = Some(Source { refs: vec!["release/*".into()], ..source() });
    assert_eq!(build.ends(Identity), (Failed, Deny));
    assert!(build.check(Identity).found.contains("`refs/heads/main`"));
    build.source = Some(Source { refs: vec!["main".into()], ..source() });
    assert_eq!(build.ends(Identity), (Passed, Off));
}

#[test]
fn what_a_source_did_not_say_before_is_no_part_of_its_name() {
    let before = r#"{"repository":null,"repository_id":"1","owner_id":null,"builders":[],"build_types":[],"signers":[],"workflows":[],"max_vcpus":null}"#;
    let source = Source { repository_id: Some("1".into()), ..Source::default() };
    assert_eq!(source.digest(), rollout_rules::ids::Digest::of(before.as_bytes()));
    assert_ne!(Source { refs: vec!["main".into()], ..source.clone() }.digest(), source.digest());
}
