//! Who takes part, and what there is at the start: two apps, one of which asks for approvals, flags that are on, and
//! everybody's tokens.

use rollout_rules::change::{Command, NewEnvironment, TargetingPatch};
use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::governance::{Actor, Caller, Scope, Token};
use rollout_rules::ids::{AppKey, Digest, EnvKey, FlagKey, NodeId, TokenId};
use rollout_rules::percent::Exposure;

use super::builds;
use super::outside::START;
use crate::ask::create_flag;

/// A caller, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// An operator.
    Ada,
    /// Another operator.
    Bob,
    /// An editor of the first app.
    Eve,
    /// A pipeline of the first app.
    Pipeline,
    /// A language model that acts for Ada.
    Agent,
    /// Tidegate's clock.
    Timer,
    /// Tidegate's watch, and its runner of effects.
    Evaluator,
}

impl Who {
    /// All who are not Tidegate itself.
    pub(super) const OUTSIDE: &[Who] = &[Who::Ada, Who::Bob, Who::Eve, Who::Pipeline, Who::Agent];

    /// Whether it is a person.
    pub(super) fn is_human(self) -> bool {
        matches!(self, Who::Ada | Who::Bob | Who::Eve)
    }

    /// The person behind it: an agent is whom it acts for.
    pub(super) fn person(self) -> Who {
        if self == Who::Agent { Who::Ada } else { self }
    }

    /// As `decide` is told of it.
    pub(super) fn caller(self) -> Caller {
        let human = |name: &str| Actor::Human { name: name.to_owned() };
        let (actor, scope, app) = match self {
            Who::Ada => (human("ada"), Scope::Operator, None),
            Who::Bob => (human("bob"), Scope::Operator, None),
            Who::Eve => (human("eve"), Scope::Editor, Some(shop())),
            Who::Pipeline => (Actor::Service { name: "ci".to_owned() }, Scope::Ci, Some(shop())),
            Who::Agent => {
                let (model, tool) = ("model".to_owned(), "tool".to_owned());
                (
                    Actor::Agent { model, tool, on_behalf_of: "ada".to_owned(), work: None },
                    Scope::Operator,
                    None,
                )
            }
            Who::Timer => (Actor::Timer, Scope::Admin, None),
            Who::Evaluator => (Actor::Evaluator, Scope::Admin, None),
        };
        let own = |name: &str| Some(TokenId::new(name).expect("a name of letters"));
        let token = match self {
            Who::Ada => own("t-ada"),
            Who::Bob => own("t-bob"),
            Who::Eve => own("t-eve"),
            Who::Pipeline => own("t-ci"),
            Who::Agent => own("t-agent"),
            Who::Timer | Who::Evaluator => None,
        };
        Caller { actor, scope, app, environment: None, token }
    }
}

/// The app of tier 0.
pub(super) fn shop() -> AppKey {
    AppKey::new("shop").expect("a key of letters")
}

/// The app of tier 1: raising in production takes an approval.
pub(super) fn bank() -> AppKey {
    AppKey::new("bank").expect("a key of letters")
}

/// Both.
pub(super) fn apps() -> [AppKey; 2] {
    [shop(), bank()]
}

pub(super) fn production() -> EnvKey {
    EnvKey::new("production").expect("a key of letters")
}

pub(super) fn sandbox() -> EnvKey {
    EnvKey::new("sandbox").expect("a key of letters")
}

/// Both.
pub(super) fn environments() -> [EnvKey; 2] {
    [production(), sandbox()]
}

pub(super) fn flag_key(name: &str) -> FlagKey {
    FlagKey::new(name).expect("a key of letters")
}

pub(super) fn node_name(index: usize) -> NodeId {
    NodeId::new(&format!("node-{index}")).expect("a name of letters and digits")
}

/// What Ada does before anything goes wrong.
pub(super) fn prologue() -> Vec<Command> {
    let environment = |key, kind| NewEnvironment { key, kind, ends_at: None };
    let app = |key, tier| Command::CreateApp {
        key,
        name: String::new(),
        owner: "ada".to_owned(),
        tier,
        monthly_budget_micros: None,
        currency: None,
        environments: Some(vec![
            environment(production(), EnvironmentKind::Production),
            environment(sandbox(), EnvironmentKind::Sandbox),
        ]),
        sensitive: Vec::new(),
    };
    let mut prologue = vec![
        app(shop(), Tier::Zero),
        app(bank(), Tier::One),
        create_flag(shop(), flag_key("cart")),
        create_flag(shop(), flag_key("search")),
        create_flag(bank(), flag_key("loan")),
        turn_on(flag_key("cart")),
        turn_on(flag_key("search")),
    ];
    prologue.extend(Who::OUTSIDE.iter().filter_map(|who| token_of(&who.caller())));
    prologue.extend(builds::grants());
    prologue
}

/// Serves a flag of the first app to everybody. (One of the other is for people to turn on, with approvals.)
fn turn_on(flag: FlagKey) -> Command {
    let patch = TargetingPatch { on: Some(true), exposure: Some(Exposure::ALL), ..TargetingPatch::default() };
    Command::SetTargeting { app: shop(), flag, environment: production(), patch: Box::new(patch) }
}

fn token_of(caller: &Caller) -> Option<Command> {
    let token = Token {
        id: caller.token.clone()?,
        hash: Digest::default(),
        scope: caller.scope,
        app: caller.app.clone(),
        environment: caller.environment.clone(),
        actor: caller.actor.clone(),
        created_at: START,
        expires_at: None,
        revoked_at: None,
        origins: Vec::new(),
        outcomes: None,
    };
    Some(Command::CreateToken { token })
}
