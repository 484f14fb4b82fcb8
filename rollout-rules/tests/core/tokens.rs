//! Tokens that were revoked are kept for a while; after that it is as if they had never been.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::ids::{ProposalId, TokenId};
use rollout_rules::snapshot::{Checkpoint, REVOKED_TOKENS_KEPT, Snapshot};
use rollout_rules::time::DAY;
use serde_json::json;
use world::{World, admin, command, human, set};

/// In days.
const KEPT: u64 = REVOKED_TOKENS_KEPT.0 / DAY.0;

fn is_known(world: &World, token: &str) -> bool {
    world.snapshot.token(&TokenId::new(token).expect("an id")).is_some()
}

fn revoke(world: &mut World, token: &str) {
    world.done(&admin(), command(json!({"do": "revoke_token", "token": token})));
}

#[test]
fn a_revoked_token_is_forgotten_when_another_is_revoked_after_a_while() {
    let mut world = World::with_people(1);
    revoke(&mut world, "ann");
    world.wait_days(KEPT - 1);
    revoke(&mut world, "bob");
    assert!(is_known(&world, "ann"));
    world.wait_days(1);
    let stored = world.snapshot.to_checkpoint().encode();
    let mut loaded = World::with_people(1);
    loaded.snapshot = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("a checkpoint"));
    loaded.now = world.now;
    for world in [&mut world, &mut loaded] {
        revoke(world, "cid");
        assert!(!is_known(world, "ann"));
        assert!(["bob", "cid", "dan"].iter().all(|token| is_known(world, token)));
    }
    assert_eq!(loaded.snapshot.to_checkpoint().encode(), world.snapshot.to_checkpoint().encode());
    // A clock that was set back makes nobody forget what was just revoked.
    world.now = world::START;
    revoke(&mut world, "dan");
    assert!(is_known(&world, "dan"));
}

#[test]
fn what_was_approved_with_a_token_that_is_forgotten_is_not_approved() {
    let mut world = World::with_people(1);
    let proposal = ProposalId::new("p").expect("an id");
    let raise = set("production", json!({"on": true}));
    world.done(&human("ann"), Command::Propose { id: proposal.clone(), command: Box::new(raise) });
    let hash = world.snapshot.proposal(&proposal).expect("it is open").hash;
    world.done(&human("bob"), crate::world::approve(proposal.clone(), hash));
    let apply = Command::ApplyProposal { id: proposal, hash };
    assert!(world.ask(&human("ann"), apply.clone()).is_ok());
    revoke(&mut world, "bob");
    // By a clock that was ahead for a while, so that neither flag nor approval has ended.
    let now = world.now;
    world.wait_days(KEPT);
    revoke(&mut world, "cid");
    world.now = now;
    assert!(!is_known(&world, "bob"));
    assert_eq!(world.refused(&human("ann"), apply), "approvals_needed");
}
