//! What approvals bind besides the command: the build that runs, the policy, and the waivers that it passed on.

use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{Moved, Refusal, Verdict as Decided};
use rollout_rules::gate::decision::{CheckName, Decision, Verdict};
use rollout_rules::gate::facts::Severity;
use rollout_rules::governance::Enforcement;
use rollout_rules::ids::{Digest, ProposalId, WaiverId};
use rollout_rules::proposal::Proposal;
use rollout_rules::time::{DAY, HOUR};
use serde_json::json;

use super::decisions::{decide, set_policy};
use crate::world::{World, admin, artifact_of, ci, deployed, env, human, set};

fn id() -> ProposalId {
    ProposalId::new("p").expect("an id")
}

fn hash(world: &World) -> Digest {
    world.snapshot.proposal(&id()).expect("the proposal").hash
}

fn approve(world: &World) -> Command {
    crate::world::approve(id(), hash(world))
}

fn apply(world: &World) -> Command {
    Command::ApplyProposal { id: id(), hash: hash(world) }
}

/// Ann proposes this where build `a` runs and passed, and Bob approves it.
fn approved(patch: serde_json::Value) -> World {
    let mut world = World::with_people(1);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    let mut policy = rollout_rules::gate::policy::Policy::clone(world.snapshot.policy());
    policy.tiers.tier1.approvers.clear();
    world.done(&admin(), set_policy(policy));
    passes(&mut world, 'a', &[]);
    let command = Box::new(set("production", patch));
    world.done(&human("ann"), Command::Propose { id: id(), command });
    world.done(&human("bob"), approve(&world));
    world
}

fn passes(world: &mut World, artifact: char, waivers: &[WaiverId]) {
    let passing = world.decision(artifact, Verdict::Pass, world.now.plus(DAY));
    world.done(&ci(), decide(Decision { waivers: waivers.to_vec(), ..passing }));
}

/// What moved, as whoever applies it and whoever would approve it are told.
fn moved(world: &World) -> Moved {
    let told = world.ask(&human("cid"), approve(world));
    let Err(Refusal::ProposalOutdated { moved, .. }) = world.ask(&human("ann"), apply(world)) else {
        panic!("it is applied: {:?}", world.ask(&human("ann"), apply(world)));
    };
    let refusal = Refusal::ProposalOutdated { id: id(), moved: moved.clone() };
    assert!(refusal.to_string().ends_with("propose it again"), "{refusal}");
    assert_eq!(told, Err(refusal));
    moved
}

#[test]
fn an_approval_of_one_build_lets_no_other_be_raised() {
    let mut world = approved(json!({"on": true}));
    assert!(matches!(world.ask(&human("ann"), apply(&world)), Ok(Decided::Change(_))));
    world.done(&ci(), deployed('b'));
    let other = Moved::Build {
        environment: env("production"),
        then: Some(artifact_of('a')),
        now: Some(artifact_of('b')),
    };
    assert_eq!(moved(&world), other, "also before the gate was asked of it");
    passes(&mut world, 'b', &[]);
    assert_eq!(moved(&world), other);
    // Back to what was approved, and it counts again.
    world.done(&ci(), deployed('a'));
    world.done(&human("ann"), apply(&world));
    assert!(world.is_on("production"));
}

#[test]
fn another_policy_voids_approvals_though_the_build_passes_by_it_too() {
    let mut world = approved(json!({"on": true}));
    let mut policy = rollout_rules::gate::policy::Policy::clone(world.snapshot.policy());
    policy.checklist.push("one point more".into());
    world.done(&admin(), set_policy(policy));
    passes(&mut world, 'a', &[]);
    assert_eq!(moved(&world), Moved::Policy);
}

#[test]
fn waivers_that_nobody_saw_void_approvals_and_one_that_is_gone_does_not() {
    let mut world = approved(json!({"on": true}));
    let finding = super::build::vulnerability("CVE-1", Severity::Critical);
    let waiver = super::waivers::waiver(CheckName::Vulnerabilities, &finding, world.now.plus(HOUR));
    let new = vec![waiver.id.clone()];
    world.append_change(Change::WaiverPut(Box::new(waiver)));
    passes(&mut world, 'a', &new);
    assert_eq!(moved(&world), Moved::Waivers { environment: env("production"), new });
    passes(&mut world, 'a', &[]);
    world.done(&human("ann"), apply(&world));
}

#[test]
fn what_lowers_is_applied_whatever_runs() {
    let mut world = World::with_people(0);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    world.done(&human("ann"), set("production", json!({"on": true})));
    let command = Box::new(set("production", json!({"on": false})));
    world.done(&human("ann"), Command::Propose { id: id(), command });
    world.done(&ci(), deployed('b'));
    world.done(&human("ann"), apply(&world));
    assert!(!world.is_on("production"));
}

#[test]
fn where_the_gate_only_reports_a_proposal_outlives_a_deployment() {
    let mut world = approved(json!({"on": true}));
    world.done(&ci(), deployed('b'));
    world.rules.gate = Enforcement::Report;
    world.done(&human("ann"), apply(&world));
}

#[test]
fn what_an_older_log_holds_is_made_anew() {
    let mut world = World::with_people(1);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    let command = set("production", json!({"on": true}));
    let seen = world.revision_of(&command);
    let hash = Proposal::hash_of(&command, seen, None);
    let expires_at = world.now.plus(DAY);
    // As it was written then: nothing of a build.
    let line = json!({
        "kind": "proposed", "id": "p", "command": command, "hash": hash, "seen": seen, "expires_at": expires_at,
    });
    let change: Change = serde_json::from_value(line).expect("an entry of then");
    world.append_change(change);
    assert_eq!(world.snapshot.proposal(&id()).expect("folded").stood_on, None);
    assert_eq!(moved(&world), Moved::Unbound);
}

#[test]
fn what_is_shown_is_what_is_bound() {
    let world = approved(json!({"on": true}));
    let proposal = world.snapshot.proposal(&id()).expect("the proposal");
    let stood_on = proposal.stood_on.as_ref().expect("it raises production");
    assert_eq!(stood_on.policy, world.snapshot.policy_digest());
    assert_eq!(stood_on.builds[0].artifact, Some(artifact_of('a')));
    assert_eq!(proposal.hash, Proposal::hash_of(&proposal.command, proposal.seen, Some(stood_on)));
    let mut other = stood_on.clone();
    other.builds[0].artifact = Some(artifact_of('b'));
    assert_ne!(proposal.hash, Proposal::hash_of(&proposal.command, proposal.seen, Some(&other)));
}
