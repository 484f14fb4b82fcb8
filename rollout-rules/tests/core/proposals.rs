//! Proposals: what waits for approvals, or for a human. Approvals bind what was shown.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::decide::{Refusal, Verdict};
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{Digest, ProposalId};
use rollout_rules::proposal::{MAX_OPEN_PROPOSALS, ProposalState};
use serde_json::json;
use world::{World, admin, agent, caller, ci, command, human, set};

fn id(text: &str) -> ProposalId {
    ProposalId::new(text).expect("an id")
}

fn propose(text: &str, command: Command) -> Command {
    Command::Propose { id: id(text), command: Box::new(command) }
}

fn raise() -> Command {
    set("production", json!({"on": true}))
}

fn hash(world: &World, text: &str) -> Digest {
    world.snapshot.proposal(&id(text)).expect("the proposal").hash
}

fn approve(world: &World, text: &str) -> Command {
    world::approve(id(text), hash(world, text))
}

fn apply(world: &World, text: &str) -> Command {
    Command::ApplyProposal { id: id(text), hash: hash(world, text) }
}

fn state(world: &World, text: &str) -> ProposalState {
    world.snapshot.proposal(&id(text)).expect("the proposal").state(world.now)
}

#[test]
fn a_raise_is_applied_once_enough_other_people_approved() {
    let mut world = World::with_people(2);
    world.done(&human("ann"), propose("p", raise()));
    assert_eq!(world.refused(&human("ann"), apply(&world, "p")), "approvals_needed");
    assert_eq!(world.refused(&human("ann"), approve(&world, "p")), "own_approval");
    world.done(&human("bob"), approve(&world, "p"));
    let twice = world.ask(&human("bob"), approve(&world, "p"));
    assert!(matches!(twice, Ok(Verdict::AlreadyDone { .. })), "a person counts once");
    let same_person = caller(Actor::Human { name: "Bob ".into() }, Scope::Admin, "bobs-other-token");
    assert!(matches!(world.ask(&same_person, approve(&world, "p")), Ok(Verdict::AlreadyDone { .. })));
    let needed = world.ask(&human("ann"), apply(&world, "p"));
    assert_eq!(needed, Err(Refusal::ApprovalsNeeded { needed: 2, have: 1, roles: Vec::new() }));
    world.done(&human("cid"), approve(&world, "p"));
    world.done(&human("ann"), apply(&world, "p"));
    assert!(world.is_on("production"));
    assert_eq!(state(&world, "p"), ProposalState::Applied);
    assert_eq!(world.refused(&human("ann"), apply(&world, "p")), "proposal_closed");
    let entry = world.entries.last().expect("an entry");
    assert_eq!(entry.proposal, Some(id("p")), "the log ties the change to what was approved");
}

#[test]
fn an_agents_proposal_needs_a_human_also_where_no_approvals_are_asked() {
    let mut world = World::with_people(0);
    world.done(&agent(), propose("p", raise()));
    assert_eq!(world.refused(&agent(), apply(&world, "p")), "not_allowed");
    assert_eq!(world.refused(&ci(), apply(&world, "p")), "not_allowed");
    assert!(!world.is_on("production"));
    world.done(&human("bob"), apply(&world, "p"));
    assert!(world.is_on("production"));
}

#[test]
fn whoever_an_agent_acts_for_does_not_approve_what_it_proposes() {
    let mut world = World::with_people(1);
    world.done(&agent(), propose("p", raise()));
    assert_eq!(world.refused(&human("ann"), approve(&world, "p")), "own_approval");
    assert_eq!(world.refused(&agent(), approve(&world, "p")), "not_allowed");
    assert_eq!(world.refused(&ci(), approve(&world, "p")), "not_allowed");
    let same_token = Caller { token: agent().token, ..human("bob") };
    assert_eq!(world.refused(&same_token, approve(&world, "p")), "own_approval");
    world.done(&human("bob"), approve(&world, "p"));
    world.done(&human("ann"), apply(&world, "p"));
}

#[test]
fn a_proposal_is_decided_again_against_what_its_proposer_saw() {
    let mut world = World::with_people(0);
    world.done(&agent(), propose("p", raise()));
    world.done(&human("bob"), world::kill("k", world::the_flag(), None));
    world.done(&human("bob"), world::revive(world::the_flag(), None));
    assert_eq!(
        world.refused(&human("bob"), apply(&world, "p")),
        "stale",
        "it would undo a kill that came since"
    );
    assert_eq!(state(&world, "p"), ProposalState::Open);
    world.done(&human("bob"), propose("q", raise()));
    world.gated();
    assert_eq!(world.refused(&human("bob"), apply(&world, "q")), "gate_missing");
}

#[test]
fn approvals_and_application_name_what_was_shown() {
    let mut world = World::with_people(1);
    world.done(&human("ann"), propose("p", raise()));
    let other = Digest::of(b"something else");
    assert_eq!(world.refused(&human("bob"), world::approve(id("p"), other)), "proposal_changed");
    assert_eq!(
        world.refused(&human("bob"), Command::ApplyProposal { id: id("p"), hash: other }),
        "proposal_changed"
    );
    assert_eq!(world.refused(&human("bob"), world::approve(id("nope"), other)), "not_found");
}

#[test]
fn proposals_lapse_and_so_do_approvals_of_revoked_tokens() {
    let mut world = World::with_people(1);
    world.done(&human("ann"), propose("p", raise()));
    world.done(&human("bob"), approve(&world, "p"));
    world.done(&admin(), command(json!({"do": "revoke_token", "token": "bob"})));
    assert_eq!(world.refused(&human("ann"), apply(&world, "p")), "approvals_needed");
    world.done(&human("cid"), approve(&world, "p"));
    assert!(world.ask(&human("ann"), apply(&world, "p")).is_ok());
    world.wait_days(7);
    assert_eq!(state(&world, "p"), ProposalState::Lapsed);
    assert_eq!(world.refused(&human("ann"), apply(&world, "p")), "proposal_closed");
    assert_eq!(world.refused(&human("dan"), approve(&world, "p")), "proposal_closed");
}

#[test]
fn a_proposal_is_withdrawn_by_its_proposer_or_turned_down_by_a_human() {
    let mut world = World::with_people(0);
    for name in ["p", "q"] {
        world.done(&agent(), propose(name, raise()));
    }
    world.done(&agent(), Command::RejectProposal { id: id("p") });
    let other_agent = Caller {
        actor: Actor::Agent { model: "m".into(), tool: "t".into(), on_behalf_of: "zoe".into(), work: None },
        token: human("zoe").token,
        ..agent()
    };
    assert_eq!(world.refused(&other_agent, Command::RejectProposal { id: id("q") }), "agents_only_propose");
    world.done(&human("bob"), Command::RejectProposal { id: id("q") });
    for name in ["p", "q"] {
        assert_eq!(state(&world, name), ProposalState::Rejected);
        assert_eq!(world.refused(&human("bob"), apply(&world, name)), "proposal_closed");
    }
}

#[test]
fn what_could_not_be_done_cannot_be_proposed() {
    let world = World::with_people(0);
    let nonsense = set("production", json!({"serve": {"variant": "nope"}}));
    assert_eq!(world.refused(&agent(), propose("p", nonsense)), "invalid");
    let kill = world::kill("k", world::the_flag(), None);
    assert_eq!(world.refused(&agent(), propose("p", kill)), "not_proposable", "a kill waits for nobody");
    let nested = propose("p", propose("q", raise()));
    assert_eq!(world.refused(&agent(), nested), "not_proposable");
    let stale = world.ask_seen(&agent(), propose("p", raise()), Some(rollout_rules::ids::Revision(1)));
    assert_eq!(stale.expect_err("stale").code(), "stale");
    let bare = world.ask_seen(&agent(), propose("p", raise()), None);
    assert_eq!(bare.expect_err("bare").code(), "revision_required");
    let elsewhere = Caller { app: Some(world::app("other")), ..human("ann") };
    assert_eq!(world.refused(&elsewhere, propose("p", raise())), "not_allowed");
    let viewer = caller(Actor::Human { name: "vic".into() }, Scope::Viewer, "vic");
    assert_eq!(world.refused(&viewer, propose("p", raise())), "not_allowed");
}

#[test]
fn open_proposals_are_bounded_and_lapsed_ones_make_room() {
    let mut world = World::with_people(0);
    for nth in 0..MAX_OPEN_PROPOSALS {
        world.done(&agent(), propose(&format!("p{nth}"), raise()));
    }
    assert_eq!(world.refused(&agent(), propose("one-more", raise())), "too_many");
    world.wait_days(8);
    world.done(&agent(), propose("one-more", raise()));
    assert_eq!(world.snapshot.open_proposals(Some(&world::app("shop"))), 1);
    assert_eq!(world.snapshot.proposals(None).count(), 101, "the last closed ones are kept to look at");
}
