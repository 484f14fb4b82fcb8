//! What is remembered of the gate, for how long, and that it fits.

use rollout_rules::change::{Change, Entry, GateCommand, MAX_ENTRY_BYTES};
use rollout_rules::gate::decision::{CheckName, CheckState, CheckSummary, Decision, EvidenceRef, Verdict};
use rollout_rules::gate::facts::{
    AgentWork, CertificateClaims, Format, MAX_ADDED, MAX_FACT_BYTES, MAX_PIECES, PipelineIdentity, SignerId,
};
use rollout_rules::gate::policy::{Level, Role, RoleGrant};
use rollout_rules::gate::waiver::MAX_WAIVERS;
use rollout_rules::governance::{Actor, MAX_WORK_FILES, MAX_WORK_NAME_BYTES, Work};
use rollout_rules::ids::{DecisionId, Digest, WaiverId};
use rollout_rules::release::{ArtifactDigest, Deployed};
use rollout_rules::snapshot::{KEPT_DECISIONS, MAX_GRANTS, Snapshot};
use rollout_rules::time::DAY;

use super::decisions::{decide, gate, grant, set_policy, stricter};
use crate::world::{World, admin, app, ci, env};

fn artifact(nth: u64) -> ArtifactDigest {
    format!("sha256:{nth:064x}").parse().expect("a digest")
}

fn judged(world: &mut World, nth: u64) {
    let id = DecisionId::new(&format!("d{nth}")).expect("an id");
    let decision =
        Decision { id, artifact: artifact(nth), ..world.decision('a', Verdict::Pass, world.now.plus(DAY)) };
    world.done(&ci(), decide(decision));
}

fn deploy(world: &mut World, nth: u64) {
    let (app, environment) = (app("shop"), env("production"));
    let deployed = Deployed { app, environment, artifact: artifact(nth), version: None };
    world.done(&ci(), rollout_rules::change::Command::ReportRelease(deployed));
}

#[test]
fn the_decisions_on_what_runs_and_on_what_to_go_back_to_are_never_dropped() {
    let mut world = World::shop(0);
    for nth in [0, 1] {
        judged(&mut world, nth);
        deploy(&mut world, nth);
    }
    let many = KEPT_DECISIONS as u64 * 2;
    for nth in 2..many {
        judged(&mut world, nth);
    }
    let (shop, production) = (app("shop"), env("production"));
    let kept = |nth| world.snapshot.decision(&shop, &production, &artifact(nth)).is_some();
    assert_eq!(world.snapshot.decisions(&shop, &production).count(), KEPT_DECISIONS);
    assert!(kept(0) && kept(1), "the current one and the one before it");
    assert!(!kept(2) && kept(many - 1) && kept(many - (KEPT_DECISIONS as u64 - 2)), "else the oldest goes");
    assert!(!kept(many - (KEPT_DECISIONS as u64 - 1)));
}

#[test]
fn of_a_build_the_last_decision_counts_and_the_earlier_ones_are_kept() {
    let mut world = World::shop(0);
    judged(&mut world, 0);
    judged(&mut world, 1);
    let denied =
        Decision { artifact: artifact(0), ..world.decision('a', Verdict::Deny, world.now.plus(DAY)) };
    let revision = world.done(&ci(), decide(denied));
    let (shop, production) = (app("shop"), env("production"));
    let kept: Vec<_> = world.snapshot.decisions(&shop, &production).collect();
    assert_eq!((kept.len(), kept[0].revision, kept[0].decision.verdict), (3, revision, Verdict::Deny));
    let counts = world.snapshot.decision(&shop, &production, &artifact(0)).expect("it was judged");
    assert_eq!(counts.revision, revision);
    assert_eq!((&kept[0].by, kept[0].at), (&ci().actor, world.now));
}

#[test]
fn there_are_only_so_many_grants_of_roles() {
    let mut world = World::shop(0);
    for nth in 0..MAX_GRANTS {
        let (person, app) = (format!("p{nth}"), Some(app("shop")));
        world.append_change(Change::RoleGranted(RoleGrant { role: Role::Platform, person, app, tier: None }));
    }
    assert_eq!(world.refused(&admin(), grant(Role::Platform, "bob")), "too_many");
    let more = RoleGrant { role: Role::Platform, person: "bob".into(), app: Some(app("shop")), tier: None };
    world.append_change(Change::RoleGranted(more));
    assert_eq!(world.snapshot.grants().len(), MAX_GRANTS, "whoever wrote it");
}

/// A decision with as much in it as anybody can hand in.
fn largest(world: &World, text: &str) -> Decision {
    let long = text.repeat(MAX_FACT_BYTES / text.len());
    let said = || Some(long.clone());
    let certificate = CertificateClaims {
        identity: long.clone(),
        issuer: long.clone(),
        repository: said(),
        repository_id: said(),
        owner_id: said(),
        commit: said(),
        git_ref: said(),
        signer_workflow: said(),
        trigger: said(),
    };
    let signer = SignerId { name: long.clone(), key: Digest::of(b"k"), certificate: Some(certificate) };
    let agent = AgentWork {
        agent: long.clone(),
        model: long.clone(),
        on_behalf_of: said(),
        prompt: Some(Digest::of(b"p")),
        files: vec![long.clone(); 100],
        more_files: u32::MAX,
        reviewer: said(),
    };
    let identity = PipelineIdentity {
        issuer: long.clone(),
        subject: long.clone(),
        repository: said(),
        repository_id: said(),
        owner_id: said(),
        commit: said(),
        git_ref: said(),
        workflow: said(),
        run_id: said(),
        event: said(),
        ..PipelineIdentity::default()
    };
    let evidence = EvidenceRef {
        digest: Digest::of(b"e"),
        name: long.clone(),
        format: Some(Format::CosignSignature),
        kept: Digest::of(b"e"),
    };
    let check =
        |name| CheckSummary { name, state: CheckState::NotAsked, level: Level::Deny, total: u64::MAX };
    Decision {
        id: DecisionId::new(&"d".repeat(64)).expect("an id"),
        version: said(),
        checks: CheckName::ALL.map(check).to_vec(),
        waivers: (0..MAX_WAIVERS).map(|nth| WaiverId::new(&format!("{nth:064}")).expect("an id")).collect(),
        signers: vec![signer; 50],
        evidence: vec![evidence; MAX_PIECES + MAX_ADDED],
        identity: Some(identity),
        agents: vec![agent; 50],
        source: Some(Digest::of(b"s")),
        ..world.decision('a', Verdict::Deny, world.now)
    }
}

/// An agent that says all that it may.
fn wordy_agent() -> Actor {
    let work = Work {
        prompt: Some(Digest::of(b"p")),
        files: vec!["f".repeat(MAX_WORK_NAME_BYTES); MAX_WORK_FILES],
        more_files: u32::MAX,
        reviewer: Some("r".repeat(MAX_WORK_NAME_BYTES)),
    };
    assert_eq!(work.check(), Ok(()));
    let name = || "m".repeat(128);
    Actor::Agent { model: name(), tool: name(), on_behalf_of: name(), work: Some(Box::new(work)) }
}

#[test]
fn the_largest_decision_fits_an_entry_whatever_its_texts_hold() {
    let world = World::shop(0);
    for text in ["a", "\"", "\\", "\u{1}", "\n", "ü", "😀", "a\""] {
        let large = largest(&world, text);
        let fitted = large.clone().fitted();
        assert_eq!(fitted.clone().fitted(), fitted, "it is done once");
        assert_eq!(fitted.evidence.len(), MAX_PIECES + MAX_ADDED, "every piece is named");
        assert_eq!(fitted.waivers.len(), MAX_WAIVERS);
        let files_of = |decision: &Decision| {
            decision.agents.iter().map(|it| it.files.len() as u64 + u64::from(it.more_files)).max()
        };
        let mut counted = large.clone();
        counted.agents.iter_mut().for_each(|it| it.more_files = 3);
        assert_eq!(
            files_of(&counted.clone().fitted()),
            files_of(&counted),
            "a file without its name is counted"
        );
        let entry = Entry {
            version: 1,
            at: world.now,
            actor: wordy_agent(),
            token: ci().token,
            reason: "x".repeat(1_000),
            anchor: world.anchor(),
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change: Change::GateDecided(Box::new(fitted)),
        };
        let bytes = entry.encode().len();
        assert!(bytes <= MAX_ENTRY_BYTES - 4 * 1024, "{bytes} bytes of {text:?}");
        assert_eq!(world.refused(&ci(), decide(large)), "too_large");
    }
    let unfitted =
        Decision { version: Some("x".repeat(101)), ..world.decision('a', Verdict::Deny, world.now) };
    assert_eq!(world.refused(&ci(), decide(unfitted)), "invalid");
}

#[test]
fn a_policy_as_long_as_it_may_be_fits_an_entry() {
    let mut policy = stricter();
    let module =
        |nth: usize| rollout_rules::gate::policy::Module { name: nth.to_string(), text: "\n".repeat(6_000) };
    policy.modules = (0..3).map(module).collect();
    assert_eq!(policy.check(), []);
    assert!(World::shop(0).ask(&admin(), set_policy(policy)).is_ok());
}

#[test]
fn everything_of_the_gate_is_in_a_checkpoint() {
    let mut world = World::with_people(0);
    world.done(&admin(), set_policy(stricter()));
    world.done(&admin(), grant(Role::Platform, "bob"));
    let source = rollout_rules::gate::trust::Source { owner_id: Some("2".into()), ..Default::default() };
    world.done(&admin(), gate(GateCommand::SetSource { app: app("shop"), source }));
    let finding = super::build::vulnerability("CVE-1", rollout_rules::gate::facts::Severity::High);
    let waiver = super::waivers::waiver(CheckName::Vulnerabilities, &finding, world.now.plus(DAY));
    world.done(&ci(), gate(GateCommand::RequestWaiver { waiver: Box::new(waiver.clone()), listed: None }));
    let identity = PipelineIdentity {
        token_id: Digest::of(b"jti"),
        expires_at: world.now.plus(DAY),
        ..Default::default()
    };
    world.judged(Verdict::Pass, world.now.plus(DAY));
    let asked =
        Decision { identity: Some(identity), ..world.decision('a', Verdict::Deny, world.now.plus(DAY)) };
    world.done(&ci(), decide(asked));
    let bytes = world.snapshot.to_checkpoint().encode();
    let stored = rollout_rules::snapshot::Checkpoint::decode(&bytes).expect("it is read");
    let back = Snapshot::from_checkpoint(stored);
    assert_eq!(back.to_checkpoint().encode(), bytes);
    let shop = |snapshot: &Snapshot| snapshot.app(&app("shop")).expect("the app").source_digest();
    assert_eq!(shop(&back), shop(&world.snapshot));
    assert_eq!(
        (back.policy(), back.policy_digest(), back.policy_revision()),
        (world.snapshot.policy(), stricter().digest(), world.snapshot.policy_revision(),)
    );
    assert_eq!(back.grants(), world.snapshot.grants());
    assert!(back.pipeline_token_used(&Digest::of(b"jti")));
    assert!(back.app(&app("shop")).expect("the app").waiver(&waiver.id).is_some());
    let standing = |snapshot: &Snapshot| snapshot.gate_standing(&app("shop"), &env("production"), world.now);
    assert_eq!(standing(&back), standing(&world.snapshot));
    let (shop, production) = (app("shop"), env("production"));
    assert_eq!(
        back.decisions(&shop, &production).collect::<Vec<_>>(),
        world.snapshot.decisions(&shop, &production).collect::<Vec<_>>()
    );
}
