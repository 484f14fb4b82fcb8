//! Who signed, how it was built, which pipeline asks, and evidence that cannot be read.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{Evidence, Identity, Provenance, Signature};
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, NotAsked, Passed};
use rollout_rules::gate::facts::{
    CertificateClaims, Claim, PipelineIdentity, Problem, ProblemCode, Provenance as Built, Untrusted,
};
use rollout_rules::gate::policy::Level::{Deny, Note, Off, Warn};
use rollout_rules::gate::policy::Policy;
use rollout_rules::gate::trust::Source;

use super::build::{Build, TIERS, attests, digest, provenance, signer, source};
use crate::world::artifact_of;

#[test]
fn a_signature_that_does_not_count_says_why() {
    let reasons = [
        (Untrusted::Unsigned, "it is not signed"),
        (Untrusted::Mismatch, "it was changed after it was signed"),
        (Untrusted::Stranger, "signed by somebody whom the policy does not name"),
        (Untrusted::OutOfTime, "was not valid any more"),
    ];
    for (why, told) in reasons {
        for check in [Signature, Provenance] {
            let build =
                Build::with(Tier::Two, |it| it.attestations.iter_mut().for_each(|it| it.signer = Err(why)));
            assert_eq!(build.ends(check), (NoProof, Deny), "{why:?}");
            assert!(build.check(check).found.contains(told), "{}", build.check(check).found);
            assert!(build.judge().signers.is_empty());
        }
    }
    let other = |it: &mut rollout_rules::gate::facts::Facts| {
        it.attestations.iter_mut().for_each(|it| it.subjects = vec![artifact_of('b')]);
    };
    for check in [Signature, Provenance] {
        assert_eq!(Build::with(Tier::Two, other).ends(check), (NoProof, Deny), "about another artifact");
    }
}

#[test]
fn a_signer_that_the_app_does_not_name_signs_nothing_for_it() {
    for check in [Signature, Provenance] {
        let mut build = Build::clean(Tier::Two);
        build.source = Some(Source { signers: vec!["another".into()], ..source() });
        assert_eq!(build.ends(check), (NoProof, Deny));
        assert!(build.check(check).found.contains("not one of the app's"));
    }
}

#[test]
fn where_no_signer_is_named_a_key_signs_nothing_for_a_tier_that_denies_and_others_are_told_what_to_set() {
    for source in [Some(Source { signers: Vec::new(), ..source() }), None] {
        for (tier, ends) in TIERS.into_iter().zip([(Failed, Note), (Failed, Warn), (NoProof, Deny)]) {
            let build = Build { source: source.clone(), ..Build::clean(tier) };
            assert_eq!(build.ends(Signature), ends, "{tier:?}");
            let told = build.check(Signature);
            assert!(told.found.contains("tidegate app source set APP --signer"), "{}", told.found);
            assert_eq!(told.found.starts_with("signed by ci"), tier != Tier::Two, "{}", told.found);
            assert_eq!(build.judge().signers.is_empty(), tier == Tier::Two);
        }
    }
    for (tier, ends) in TIERS.into_iter().zip([(Failed, Note), (Failed, Warn), (NoProof, Deny)]) {
        let source = Some(Source { signers: Vec::new(), ..source() });
        assert_eq!(Build { source, ..Build::clean(tier) }.ends(Provenance), ends, "{tier:?}");
    }
    let mut off =
        Build { source: Some(Source { signers: Vec::new(), ..source() }), ..Build::clean(Tier::One) };
    off.policy.tiers.tier1.signature = Off;
    assert_eq!(off.ends(Signature), (Passed, Off), "what is not asked for is not told");
}

#[test]
fn who_could_sign_for_the_app_may_say_what_is_wrong_whatever_its_source_leaves_open() {
    let failed = Claim::Verification { verifier: "https://gate.example.org".into(), passed: false };
    let claims = CertificateClaims {
        repository: Some("https://git.example.org/team/shop".into()),
        repository_id: Some("1".into()),
        owner_id: Some("2".into()),
        ..CertificateClaims::default()
    };
    for (certificate, told) in [
        (None, true),
        (Some(claims.clone()), true),
        (Some(CertificateClaims { repository_id: Some("9".into()), ..claims }), false),
    ] {
        let mut build = Build::with(Tier::Two, |facts| {
            let mut denial = attests(failed.clone());
            denial.signer.as_mut().expect("a signer").certificate = certificate;
            facts.attestations.push(denial);
        });
        build.source = Some(Source { signers: Vec::new(), ..source() });
        assert_eq!(build.check(Provenance).found.contains("signed that it failed verification"), told);
    }
}

#[test]
fn a_certificate_counts_if_it_was_given_to_the_apps_repository() {
    let ours = CertificateClaims {
        repository: Some("https://git.example.org/team/shop".into()),
        repository_id: Some("1".into()),
        owner_id: Some("2".into()),
        signer_workflow: Some("https://git.example.org/platform/ci/build.yml@refs/heads/main".into()),
        git_ref: Some("refs/heads/main".into()),
        trigger: Some("push".into()),
        ..CertificateClaims::default()
    };
    let source = || Source { refs: vec!["main".into()], ..source() };
    let ends = |claims: CertificateClaims, source: Option<Source>| {
        let mut build = Build::with(Tier::Two, |facts| {
            for attestation in &mut facts.attestations {
                let mut signer = signer();
                signer.certificate = Some(claims.clone());
                attestation.signer = Ok(signer);
            }
        });
        build.source = source;
        build.ends(Signature)
    };
    assert_eq!(ends(ours.clone(), Some(source())), (Passed, Off));
    let foreign = |change: fn(&mut CertificateClaims)| {
        let mut claims = ours.clone();
        change(&mut claims);
        claims
    };
    for claims in [
        foreign(|it| it.repository = Some("https://git.example.org/evil/shop".into())),
        foreign(|it| it.repository = None),
        foreign(|it| it.repository_id = Some("9".into())),
        foreign(|it| it.repository_id = None),
        foreign(|it| it.owner_id = Some("9".into())),
    ] {
        assert_eq!(ends(claims.clone(), Some(source())), (NoProof, Deny), "{claims:?}");
    }
    assert_eq!(ends(ours, None), (NoProof, Deny), "nobody said what the app may be built from");
}

fn built(change: impl FnOnce(&mut Built)) -> Build {
    let mut provenance = provenance();
    change(&mut provenance);
    Build::with(Tier::Two, |facts| facts.attestations[1] = attests(Claim::Provenance(provenance)))
}

/// What is another's, and how it is told.
type Foreign<T> = (fn(&mut T), &'static str);

#[test]
fn each_foreign_part_of_how_it_was_built_denies_and_is_named() {
    let foreign: [Foreign<Built>; 6] = [
        (|it| it.builder = "https://evil.example.org".into(), "the builder is https://evil.example.org"),
        (|it| it.builder.push('/'), "the builder is"),
        (|it| it.build_type = "x".into(), "the build type is x"),
        (|it| it.repository = Some("https://git.example.org/evil/shop".into()), "the repository is"),
        (|it| it.repository = None, "the repository is not said"),
        (|it| it.commit = None, "the commit is not said"),
    ];
    for (change, told) in foreign {
        let build = built(change);
        assert_eq!(build.ends(Provenance), (Failed, Deny), "{told}");
        assert!(build.check(Provenance).found.contains(told), "{}", build.check(Provenance).found);
    }
    for (tier, level) in TIERS.into_iter().zip([Note, Warn, Deny]) {
        let mut build = Build::clean(tier);
        build.source = None;
        assert_eq!(build.ends(Provenance), (Failed, level), "nobody said what it may be built from");
    }
}

#[test]
fn how_a_repositorys_address_is_written_does_not_matter() {
    for same in [
        "git+https://git.example.org/team/shop",
        "https://git.example.org/team/shop.git",
        "git+https://git.example.org/team/shop.git@refs/heads/main",
        "https://GIT.example.org/team/shop/",
        "HTTPS://git.example.org/team/shop",
    ] {
        assert_eq!(built(|it| it.repository = Some(same.into())).ends(Provenance), (Passed, Off), "{same}");
    }
    for other in [
        "https://git.example.org/team/Shop2",
        "http://git.example.org/team/shop",
        "https://git.example.org.evil.org/team/shop",
        "https://evil.org/git.example.org/team/shop",
        "https://user@git.example.org/team/shop",
        "https://git.example.org/team/shop/../other",
        "",
    ] {
        assert_eq!(
            built(|it| it.repository = Some(other.into())).ends(Provenance),
            (Failed, Deny),
            "{other}"
        );
    }
}

#[test]
fn of_several_statements_one_that_is_the_apps_is_enough_whatever_their_order() {
    let mut foreign = provenance();
    foreign.builder = "https://evil.example.org".into();
    for name in ["before", "after", "the third"] {
        let mut other = attests(Claim::Provenance(foreign.clone()));
        other.piece = digest(name);
        let build = Build::with(Tier::Two, |facts| facts.attestations.insert(0, other));
        assert_eq!(build.ends(Provenance), (Passed, Off), "{name}");
    }
}

#[test]
fn that_another_gate_denied_it_counts_if_it_is_signed() {
    let failed = Claim::Verification { verifier: "https://gate.example.org".into(), passed: false };
    for (tier, level) in TIERS.into_iter().zip([Warn, Warn, Deny]) {
        let build = Build::with(tier, |facts| facts.attestations.push(attests(failed.clone())));
        assert_eq!(build.ends(Provenance), (Failed, level), "{tier:?}");
    }
    let unsigned = Build::with(Tier::Two, |facts| {
        let mut it = attests(failed);
        it.signer = Err(Untrusted::Stranger);
        facts.attestations.push(it);
    });
    assert_eq!(unsigned.ends(Provenance), (Passed, Off));
}

pub(super) fn identity() -> PipelineIdentity {
    PipelineIdentity {
        issuer: "github".into(),
        subject: "repo:team/shop".into(),
        repository: Some("team/shop".into()),
        repository_id: Some("1".into()),
        owner_id: Some("2".into()),
        commit: Some("abc".into()),
        git_ref: Some("refs/heads/main".into()),
        workflow: Some("platform/ci/build.yml@refs/heads/main".into()),
        event: Some("push".into()),
        ..PipelineIdentity::default()
    }
}

fn asked(change: impl FnOnce(&mut PipelineIdentity)) -> Build {
    let mut identity = identity();
    change(&mut identity);
    Build::with(Tier::Zero, |facts| facts.identity = Some(identity))
}

#[test]
fn a_pipeline_that_says_who_it_is_has_to_be_the_apps() {
    assert_eq!(Build::clean(Tier::Two).ends(Identity), (Passed, Note), "asked with a token of Tidegate");
    assert_eq!(asked(|_| ()).ends(Identity), (Passed, Off));
    assert_eq!(asked(|it| it.workflow = Some("platform/ci/build.yml".into())).ends(Identity), (Passed, Off));
    assert_eq!(
        asked(|it| it.repository = Some("renamed/shop".into())).ends(Identity),
        (Passed, Off),
        "names change"
    );
    let foreign: [Foreign<PipelineIdentity>; 7] = [
        (|it| it.repository_id = Some("9".into()), "the repository's number is 9"),
        (|it| it.repository_id = None, "the repository's number is not said"),
        (|it| it.owner_id = Some("9".into()), "the owner's number is 9"),
        (|it| it.workflow = Some("team/shop/mine.yml@refs/heads/main".into()), "the workflow is"),
        (|it| it.workflow = None, "the workflow is"),
        (|it| it.workflow = Some("platform/ci/build.yml.evil@main".into()), "the workflow is"),
        (|it| it.workflow = Some("platform/ci/build.yml@evil.yml@main".into()), "the workflow is"),
    ];
    for (change, told) in foreign {
        let build = asked(change);
        assert_eq!(build.ends(Identity), (Failed, Deny), "{told}");
        assert!(build.check(Identity).found.contains(told), "{}", build.check(Identity).found);
    }
    let mut nobody_said = asked(|_| ());
    nobody_said.source = None;
    assert_eq!(nobody_said.ends(Identity), (Failed, Deny));
    let mut unnumbered = asked(|_| ());
    unnumbered.source = Some(Source { repository_id: None, ..source() });
    assert_eq!(unnumbered.ends(Identity), (Failed, Deny), "a name alone can be taken over");
}

#[test]
fn a_tier_may_ask_that_the_pipeline_says_itself_who_it_is() {
    for (level, ends) in
        [(Off, (NotAsked, Off)), (Note, (Passed, Note)), (Warn, (NoProof, Warn)), (Deny, (NoProof, Deny))]
    {
        let mut build = Build::clean(Tier::Two);
        build.policy.tiers.tier2.identity = level;
        assert_eq!(build.ends(Identity), ends);
        if level > Note {
            assert!(build.check(Identity).fix.contains("id-token: write"), "{}", build.check(Identity).fix);
        }
        build.facts.identity = Some(identity());
        assert_eq!(build.ends(Identity), (Passed, Off), "{level:?}");
        build.facts.identity.as_mut().expect("one").repository_id = Some("9".into());
        assert_eq!(build.ends(Identity), (Failed, Deny), "a strange one is one in any case");
    }
    let written = serde_json::to_string(&Policy::default()).expect("JSON");
    assert!(!written.contains("\"identity\""), "the digests of old policies stay: {written}");
    let read: Policy = serde_json::from_str(&written).expect("a policy");
    assert_eq!(read.tiers.tier2.identity, Note);
}

#[test]
fn a_build_of_a_branch_that_nobody_names_is_none_of_those_that_the_source_takes() {
    let with = |git_refs: &[&str], event: Option<&str>, asks: bool| {
        let mut build = built(|it| {
            it.git_refs = git_refs.iter().map(|it| (*it).into()).collect();
            it.event = event.map(Into::into);
        });
        build.facts.identity = asks.then(identity);
        build.source = Some(Source { refs: vec!["main".into()], ..source() });
        build.ends(Provenance)
    };
    assert_eq!(with(&["refs/heads/main"], Some("push"), false), (Passed, Off));
    assert_eq!(with(&[], None, true), (Passed, Off), "the pipeline's own token says it");
    assert_eq!(with(&[], None, false), (Failed, Deny));
    assert_eq!(
        with(&["refs/heads/main", "refs/heads/try"], None, true),
        (Failed, Deny),
        "each has to be its own"
    );
    assert_eq!(with(&["refs/heads/main"], Some("issue_comment"), true), (Failed, Deny));
    assert_eq!(built(|it| it.git_refs = vec!["refs/pull/1/merge".into()]).ends(Provenance), (Failed, Deny));
}

#[test]
fn an_artifact_of_another_commit_than_the_pipeline_runs_is_not_its_own() {
    let mut build = Build::with(Tier::Two, |facts| facts.identity = Some(identity()));
    assert_eq!(build.ends(Provenance), (Passed, Off));
    build.facts.identity.as_mut().expect("one").commit = Some("def".into());
    assert_eq!(build.ends(Provenance), (Failed, Deny));
}

/// A build with a piece of evidence that is broken.
pub(super) fn unreadable() -> Build {
    Build::with(Tier::Zero, |facts| {
        facts.pieces[0].problem =
            Some(Problem { code: ProblemCode::Hostile, detail: "an entity expands".into() });
    })
}

#[test]
fn evidence_that_cannot_be_read_denies_in_every_tier() {
    for tier in TIERS {
        let build = Build { tier, ..unreadable() };
        assert_eq!(build.ends(Evidence), (Failed, Deny));
        let told = &build.check(Evidence).findings[0];
        assert_eq!((&*told.finding.rule, told.finding.file.as_deref()), ("hostile", Some("junit.xml")));
    }
    let nothing = Build::with(Tier::Zero, |facts| facts.pieces.clear());
    assert_eq!(nothing.ends(Evidence), (NoProof, Note));
}
