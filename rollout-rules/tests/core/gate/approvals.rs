//! Approvals in roles: who has to agree before production is raised.

use rollout_rules::change::Command;
use rollout_rules::decide::{Refusal, Verdict as Decided};
use rollout_rules::gate::decision::Verdict;
use rollout_rules::gate::policy::{Policy, Role};
use rollout_rules::ids::ProposalId;
use rollout_rules::proposal::Approving;
use rollout_rules::time::DAY;
use serde_json::json;

use super::decisions::{decide, grant, revoke};
use crate::world::{World, admin, agent, ci, human, set};

fn id() -> ProposalId {
    ProposalId::new("p").expect("an id")
}

fn approve(world: &World, role: Option<Role>, checked: &[String]) -> Command {
    let hash = world.snapshot.proposal(&id()).expect("the proposal").hash;
    Command::ApproveProposal(Approving { id: id(), hash, role, checked: checked.to_vec() })
}

fn apply(world: &World) -> Command {
    let hash = world.snapshot.proposal(&id()).expect("the proposal").hash;
    Command::ApplyProposal { id: id(), hash }
}

/// What runs passed, people have roles, and Ann proposes to turn the flag on.
fn proposed(tier: u8, roles: &[(Role, &str)]) -> World {
    let mut world = World::with_people(tier);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    for (role, person) in roles {
        world.done(&admin(), grant(*role, person));
    }
    let command = Box::new(set("production", json!({"on": true})));
    world.done(&human("ann"), Command::Propose { id: id(), command });
    world
}

fn roles_missing(world: &World) -> Vec<Role> {
    match world.ask(&human("ann"), apply(world)) {
        Err(Refusal::RolesMissing { roles }) => roles,
        other => panic!("no role is missing: {other:?}"),
    }
}

#[test]
fn tier_1_asks_for_one_from_the_platform() {
    let mut world = proposed(1, &[(Role::Platform, "bob")]);
    assert_eq!(world.refused(&human("ann"), set("production", json!({"on": true}))), "approvals_needed");
    world.done(&human("cid"), approve(&world, None, &[]));
    assert_eq!(roles_missing(&world), [Role::Platform], "anybody's approval is not the platform's");
    assert_eq!(world.refused(&human("dan"), approve(&world, Some(Role::Platform), &[])), "role_needed");
    world.done(&human("bob"), approve(&world, Some(Role::Platform), &[]));
    world.done(&human("ann"), apply(&world));
    assert!(world.is_on("production"));
}

#[test]
fn tier_2_asks_for_security_and_the_business_owner_who_are_two_people() {
    let mut world =
        proposed(2, &[(Role::Security, "bob"), (Role::BusinessOwner, "bob"), (Role::BusinessOwner, "cid")]);
    let all = Policy::default().checklist;
    world.done(&human("bob"), approve(&world, Some(Role::Security), &all));
    world.done(&human("bob"), approve(&world, Some(Role::BusinessOwner), &[]));
    let refusal = world.ask(&human("ann"), apply(&world));
    let roles = vec![Role::Security];
    let needed = Refusal::ApprovalsNeeded { needed: 2, have: 1, roles };
    assert!(needed.to_string().contains("somebody has to approve as security"), "{needed}");
    assert_eq!(refusal, Err(needed), "one person counts once");
    world.done(&human("dan"), approve(&world, None, &[]));
    assert_eq!(roles_missing(&world), [Role::Security], "the last that a person said counts");
    world.done(&human("cid"), approve(&world, Some(Role::BusinessOwner), &[]));
    assert_eq!(roles_missing(&world), [Role::Security]);
    world.done(&admin(), grant(Role::Security, "dan"));
    world.done(&human("dan"), approve(&world, Some(Role::Security), &all));
    world.done(&human("ann"), apply(&world));
    assert!(world.is_on("production"));
}

#[test]
fn no_setting_of_the_server_makes_one_person_two() {
    let mut world = proposed(2, &[(Role::Security, "bob"), (Role::BusinessOwner, "bob")]).without_approvals();
    world.done(&human("bob"), approve(&world, Some(Role::Security), &Policy::default().checklist));
    assert_eq!(roles_missing(&world), [Role::BusinessOwner]);
    world.done(&human("bob"), approve(&world, Some(Role::BusinessOwner), &[]));
    assert_eq!(roles_missing(&world), [Role::Security]);
}

#[test]
fn security_ticks_all_that_the_policy_asks_and_it_is_kept() {
    let mut world = proposed(2, &[(Role::Security, "bob"), (Role::BusinessOwner, "cid")]);
    let all = Policy::default().checklist;
    for some in [&[][..], &all[..2], &["something else".to_owned(), all[0].clone(), all[1].clone()]] {
        let refusal =
            world.ask(&human("bob"), approve(&world, Some(Role::Security), some)).expect_err("not all");
        assert_eq!(refusal.code(), "invalid");
        assert!(refusal.to_string().contains("the policy asks security to tick"), "{refusal}");
    }
    let more: Vec<String> = all.iter().cloned().chain(["x".to_owned()]).collect();
    assert_eq!(world.refused(&human("bob"), approve(&world, Some(Role::Security), &more)), "too_many");
    world.done(&human("bob"), approve(&world, Some(Role::Security), &all));
    let kept = &world.snapshot.proposal(&id()).expect("the proposal").approvals[0];
    assert_eq!((kept.role, &kept.checked), (Some(Role::Security), &all));
    world.done(&human("cid"), approve(&world, Some(Role::BusinessOwner), &[]));
    assert!(world.ask(&human("ann"), apply(&world)).is_ok());
}

#[test]
fn who_lost_a_role_has_not_approved_in_it() {
    let mut world = proposed(1, &[(Role::Platform, "bob")]);
    world.done(&human("bob"), approve(&world, Some(Role::Platform), &[]));
    world.done(&admin(), revoke(Role::Platform, "bob"));
    assert_eq!(world.refused(&human("ann"), apply(&world)), "approvals_needed");
    world.done(&admin(), grant(Role::Platform, "bob"));
    world.done(&human("ann"), apply(&world));
}

#[test]
fn nobody_approves_their_own_and_no_agent_anything() {
    let world = proposed(1, &[(Role::Platform, "ann")]);
    assert_eq!(world.refused(&human("ann"), approve(&world, Some(Role::Platform), &[])), "own_approval");
    for who in [agent(), ci()] {
        assert_eq!(world.refused(&who, approve(&world, None, &[])), "not_allowed", "{who:?}");
    }
    let mut edited = approve(&world, None, &[]);
    if let Command::ApproveProposal(approving) = &mut edited {
        approving.hash = rollout_rules::ids::Digest::of(b"something else");
    }
    assert_eq!(world.refused(&human("bob"), edited), "proposal_changed");
}

#[test]
fn approvals_do_not_stand_for_the_gate() {
    let mut world = proposed(1, &[(Role::Platform, "bob")]);
    world.done(&human("bob"), approve(&world, Some(Role::Platform), &[]));
    let denied = world.decision('a', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(denied));
    assert_eq!(world.refused(&human("ann"), apply(&world)), "gate_missing");
    let passing = world.decision('a', Verdict::Pass, world.now.plus(DAY));
    world.done(&ci(), decide(passing));
    assert!(matches!(world.ask(&human("ann"), apply(&world)), Ok(Decided::Change(_))));
}

#[test]
fn who_waits_for_the_gate_and_for_people_learns_of_both_at_once() {
    let mut world = proposed(2, &[(Role::Security, "bob")]);
    let denied = world.decision('a', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(denied));
    let turned_on = set("production", json!({"on": true}));
    let refusal = world.ask(&human("ann"), turned_on).expect_err("neither is there");
    let text = refusal.to_string();
    let Refusal::GateMissing { missing, besides: Some(besides) } = refusal else { panic!("{text}") };
    assert!(!missing.is_empty() && text.starts_with("the gate has no passing decision"), "{text}");
    let roles = vec![Role::Security, Role::BusinessOwner];
    assert_eq!(*besides, Refusal::ApprovalsNeeded { needed: 2, have: 0, roles });
    assert!(
        text.contains("takes 2 approvals by other people at this app's tier, and there is none")
            && text.contains("as security and as business_owner, a person each"),
        "{text}"
    );
    // With the approvals there, the gate alone is missing; an agent is told that it may not at all.
    world.done(&human("bob"), approve(&world, Some(Role::Security), &Policy::default().checklist));
    world.done(&admin(), grant(Role::BusinessOwner, "cid"));
    world.done(&human("cid"), approve(&world, Some(Role::BusinessOwner), &[]));
    let refusal = world.ask(&human("ann"), apply(&world)).expect_err("the gate denies");
    assert!(matches!(refusal, Refusal::GateMissing { besides: None, .. }), "{refusal}");
    assert_eq!(world.refused(&agent(), set("production", json!({"on": true}))), "agents_only_propose");
}
