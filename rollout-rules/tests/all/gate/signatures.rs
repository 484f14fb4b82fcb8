//! Who signed, how it was built, which pipeline asks, and evidence that cannot be read.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{Evidence, Identity, Provenance, Signature};
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::facts::{
    CertificateClaims, Claim, PipelineIdentity, Problem, ProblemCode, Provenance as Built, Untrusted,
};
use rollout_rules::gate::policy::Level::{Deny, Note, Off, Warn};
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
        build.source = Some(Source { signers: Vec::new(), ..source() });
        assert_eq!(build.ends(check), (Passed, Off), "none is named: all that the policy trusts");
    }
}

#[test]
fn a_certificate_counts_if_it_was_given_to_the_apps_repository() {
    let ours = CertificateClaims {
        repository: Some("https://git.example.org/team/shop".into()),
        repository_id: Some("1".into()),
        owner_id: Some("2".into()),
        ..CertificateClaims::default()
    };
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
    let foreign: [Foreign<PipelineIdentity>; 6] = [
        (|it| it.repository_id = Some("9".into()), "the repository's number is 9"),
        (|it| it.repository_id = None, "the repository's number is not said"),
        (|it| it.owner_id = Some("9".into()), "the owner's number is 9"),
        (|it| it.workflow = Some("team/shop/mine.yml@refs/heads/main".into()), "the workflow is"),
        (|it| it.workflow = None, "the workflow is"),
        (|it| it.workflow = Some("platform/ci/build.yml.evil@main".into()), "the workflow is"),
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
