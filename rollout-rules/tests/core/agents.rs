//! What an act of a language model came from: kept with who acted, bounded, shown, and nothing is decided by it.

use crate::world;

use rollout_rules::change::{Change, Command, Entry};
use rollout_rules::decide::Refusal;
use rollout_rules::gate::facts::AgentWork;
use rollout_rules::governance::{Actor, Caller, MAX_WORK_FILES, MAX_WORK_NAME_BYTES, Work, WorkFault};
use rollout_rules::ids::{Digest, ProposalId};
use rollout_rules::proposal::Hands;
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use serde_json::json;
use world::{World, admin, agent, command, human, set};

fn said() -> Work {
    Work {
        prompt: Some(Digest([0x8b; 32])),
        files: vec!["src/cart.py".into(), "src/ü.py".into()],
        more_files: 3,
        reviewer: Some("grace".into()),
    }
}

fn agent_that_says(work: Work) -> Caller {
    let mut caller = agent();
    let Actor::Agent { work: place, .. } = &mut caller.actor else { panic!("an agent") };
    *place = Some(Box::new(work));
    caller
}

fn propose() -> Command {
    let id = ProposalId::new("p").expect("an id");
    Command::Propose { id, command: Box::new(set("production", json!({"on": true}))) }
}

#[test]
fn what_an_act_came_from_is_kept_in_the_entry_the_proposal_and_the_checkpoint() {
    let mut world = World::with_people(1);
    let caller = agent_that_says(said());
    world.done(&caller, propose());
    let bytes = world.entries.last().expect("an entry").encode();
    let text = String::from_utf8(bytes.clone()).expect("text");
    let digits = "8b".repeat(32);
    let written = format!(
        r#""actor":{{"type":"agent","model":"m","tool":"t","on_behalf_of":"ann","work":{{"prompt":"{digits}","files":["src/cart.py","src/ü.py"],"more_files":3,"reviewer":"grace"}}}}"#
    );
    assert!(text.contains(&written), "{text}");
    let entry = Entry::decode(&bytes).expect("an entry");
    assert_eq!(entry.actor, caller.actor);
    assert!(matches!(entry.change, Change::Proposed { .. }));
    let id = ProposalId::new("p").expect("an id");
    let of = |snapshot: &Snapshot| snapshot.proposal(&id).expect("it is open").proposed_by.clone();
    assert_eq!(of(&world.snapshot), caller.actor);
    let stored = world.snapshot.to_checkpoint().encode();
    let loaded = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("a checkpoint"));
    assert_eq!(of(&loaded), caller.actor);
}

#[test]
fn an_agent_that_says_nothing_is_written_as_ever() {
    let mut world = World::with_people(1);
    world.done(&agent(), propose());
    let text = String::from_utf8(world.entries.last().expect("an entry").encode()).expect("text");
    let written = r#""actor":{"type":"agent","model":"m","tool":"t","on_behalf_of":"ann"}"#;
    assert!(text.contains(written), "{text}");
}

#[test]
fn what_an_agent_says_of_its_act_changes_nothing_of_what_it_may_do() {
    let mut world = World::with_people(1);
    let caller = agent_that_says(said());
    let raise = set("production", json!({"on": true}));
    assert_eq!(world.refused(&caller, raise), "agents_only_propose");
    world.done(&caller, propose());
    let proposal = world.snapshot.proposal(&ProposalId::new("p").expect("an id")).expect("it is open");
    assert!(
        proposal.is_own(Hands { actor: &human("ann").actor, token: None }, &world.snapshot),
        "it is still for ann"
    );
    let approve = world::approve(proposal.id.clone(), proposal.hash);
    assert_eq!(world.refused(&human("ann"), approve), "own_approval");
}

#[test]
fn what_is_said_has_bounds_and_stays_on_its_line() {
    let good = Work {
        prompt: None,
        files: vec!["f".repeat(MAX_WORK_NAME_BYTES); MAX_WORK_FILES],
        more_files: u32::MAX,
        reviewer: Some("r".repeat(MAX_WORK_NAME_BYTES)),
    };
    assert_eq!(good.check(), Ok(()));
    assert_eq!(Work::default().check(), Ok(()));
    let too_many = Work { files: vec!["f".into(); MAX_WORK_FILES + 1], ..Work::default() };
    assert_eq!(too_many.check(), Err(WorkFault::TooManyFiles { files: MAX_WORK_FILES + 1 }));
    let long = "f".repeat(MAX_WORK_NAME_BYTES + 1);
    for bad in ["", " ", "a\nb", "a\u{85}b", "a\"b", "a\\b", &long] {
        let file = Work { files: vec!["a".into(), bad.into()], ..Work::default() };
        assert_eq!(file.check(), Err(WorkFault::File { nth: 2 }), "{bad:?}");
        let reviewer = Work { reviewer: Some(bad.into()), ..Work::default() };
        assert_eq!(reviewer.check(), Err(WorkFault::Reviewer), "{bad:?}");
    }
    let world = World::with_people(1);
    match world.ask(&agent_that_says(too_many), propose()) {
        Err(Refusal::Invalid { field, problem }) => {
            assert_eq!(field, "actor.work");
            assert!(problem.contains("21 files are named and 20 are taken"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_says_who_acts_and_not_what_an_act_came_from() {
    let world = World::with_people(1);
    let token = |actor: serde_json::Value| {
        command(json!({"do": "create_token", "token": {
            "id": "new", "hash": Digest::default(), "scope": "operator", "actor": actor,
            "created_at": "2026-01-01T00:00:00.000Z",
        }}))
    };
    let mut actor = json!({"type": "agent", "model": "m", "tool": "t", "on_behalf_of": "ann"});
    assert!(world.ask(&admin(), token(actor.clone())).is_ok());
    actor["work"] = json!({"reviewer": "grace"});
    assert_eq!(world.refused(&admin(), token(actor)), "invalid");
}

#[test]
fn it_is_told_in_one_line_and_that_nobody_reviewed_it_too() {
    let digits = "8b".repeat(32);
    let short = &digits[..12];
    assert_eq!(
        said().to_string(),
        format!("prompt sha256:{short}…, 5 files (src/cart.py, src/ü.py and 3 more), reviewed by grace")
    );
    assert!(format!("{:#}", said()).starts_with(&format!("prompt sha256:{digits}, 5 files")));
    assert_eq!(Work::default().to_string(), "no prompt named, no files named, nobody reviewed it");
    let files = vec!["a".into(), "b".into(), "c".into(), "d".into()];
    let four = Work { files, ..Work::default() };
    assert_eq!(four.to_string(), "no prompt named, 4 files (a, b, c and 1 more), nobody reviewed it");
    let unnamed = Work { more_files: 7, ..Work::default() };
    assert_eq!(unnamed.to_string(), "no prompt named, 7 files, nobody reviewed it");
    let in_a_decision = AgentWork {
        agent: "editor".into(),
        model: "m-1".into(),
        on_behalf_of: Some("ada".into()),
        files: vec!["a.py".into()],
        ..AgentWork::default()
    };
    assert_eq!(
        in_a_decision.to_string(),
        "editor (m-1) for ada: no prompt named, 1 file (a.py), nobody reviewed it"
    );
}
