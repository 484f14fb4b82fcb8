//! Tokens that were revoked: the last ones are kept, and those before are as if they had never been.

mod world;

use rollout_rules::change::Command;
use rollout_rules::ids::{ProposalId, TokenId};
use rollout_rules::snapshot::{Checkpoint, KEPT_REVOKED_TOKENS, Snapshot};
use serde_json::json;
use world::{World, admin, command, human, make_token, set};

fn id(name: &str) -> TokenId {
    TokenId::new(name).expect("an id")
}

fn revoke(world: &mut World, name: &str) {
    world.done(&admin(), command(json!({"do": "revoke_token", "token": name})));
}

/// Makes as many tokens as are kept, and revokes them.
fn revoke_as_many_as_are_kept(world: &mut World) {
    for number in 0..KEPT_REVOKED_TOKENS {
        let name = format!("t-{number:04}");
        world.done(&admin(), make_token(&name));
        revoke(world, &name);
    }
}

#[test]
fn the_last_that_were_revoked_are_kept_and_go_on_from_a_checkpoint() {
    let mut world = World::with_people(1);
    revoke(&mut world, "ann");
    world.wait_days(1);
    revoke_as_many_as_are_kept(&mut world);
    let is_known = |world: &World, name: &str| world.snapshot.token(&id(name)).is_some();
    assert!(!is_known(&world, "ann") && is_known(&world, "bob") && is_known(&world, "t-0000"));
    let others = ["bob", "cid", "dan", "zoe"];
    assert_eq!(world.snapshot.token_count(), KEPT_REVOKED_TOKENS + others.len());
    let stored = world.snapshot.to_checkpoint().encode();
    world.snapshot = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("a checkpoint"));
    world.wait_days(1);
    revoke(&mut world, "bob");
    assert!(is_known(&world, "bob") && !is_known(&world, "t-0000") && is_known(&world, "t-0001"));
}

#[test]
fn what_was_approved_with_a_token_that_is_not_kept_any_more_is_not_approved() {
    let mut world = World::with_people(1);
    let proposal = ProposalId::new("p").expect("an id");
    let raise = set("production", json!({"on": true}));
    world.done(&human("ann"), Command::Propose { id: proposal.clone(), command: Box::new(raise) });
    let hash = world.snapshot.proposal(&proposal).expect("it is open").hash;
    world.done(&human("bob"), Command::ApproveProposal { id: proposal.clone(), hash });
    let apply = Command::ApplyProposal { id: proposal, hash };
    assert!(world.ask(&human("ann"), apply.clone()).is_ok());
    revoke(&mut world, "bob");
    world.wait_days(1);
    revoke_as_many_as_are_kept(&mut world);
    assert_eq!(world.snapshot.token(&id("bob")), None);
    assert_eq!(world.refused(&human("ann"), apply), "approvals_needed");
}
