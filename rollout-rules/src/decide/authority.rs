//! Who may lower and who may raise: law 9 in one table, and the checks that it leads to.

use alloc::vec::Vec;

use super::awaited::gate_first;
use super::{Case, Mode, Refusal, Roles, What};
use crate::flag::{EnvironmentKind, Tier};
use crate::gate::policy::Role;
use crate::governance::{Actor, Caller, Scope};
use crate::ids::{AppKey, EnvKey};
use crate::snapshot::App;

/// A row of the table: what kind of caller asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A human, or a service with a human's scope: admin, operator, editor. Tidegate itself.
    Person,
    /// A service or human with a CI token.
    Pipeline,
    /// Tidegate's clock.
    Timer,
    /// Tidegate's watch over SLIs.
    Evaluator,
    /// A language model, whatever its token may do.
    Agent,
    /// A token that changes nothing: viewers and SDKs.
    Nobody,
}

/// What a change does to what is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Fewer units get something else than the off variant; none get more.
    Lower,
    /// Nobody is served anything else by it.
    Neutral,
    /// Somebody may be served what they were not, now or later.
    Raise,
}

/// Where a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// Previews and sandboxes.
    Trial,
    /// Production.
    Production,
}

/// A cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Yes.
    Yes,
    /// With the gate standing and the approvals that the tier asks.
    GateAndApprovals,
    /// The same, and within what the tier leaves to pipelines.
    GateApprovalsAndLimits,
    /// Only what a human or a pipeline wrote for later, decided again; in production with the gate standing.
    AsWritten,
    /// Only as a proposal that a human applies.
    OnlyPropose,
    /// No.
    No,
}

/// The table of law 9. `Neutral` is what it leaves open: who may raise at will may; an agent may not touch
/// production even so, since what it writes while a flag is off is served once a human turns it on.
pub fn authority(row: Row, direction: Direction, ground: Ground) -> Authority {
    use Direction::{Lower, Neutral, Raise};
    use Ground::{Production, Trial};
    match (row, direction, ground) {
        (Row::Nobody, _, _) | (Row::Evaluator, Neutral, _) => Authority::No,
        (_, Lower, _) => Authority::Yes,
        (Row::Person | Row::Pipeline | Row::Agent, Neutral | Raise, Trial)
        | (Row::Person | Row::Pipeline, Neutral, Production) => Authority::Yes,
        (Row::Person, Raise, Production) => Authority::GateAndApprovals,
        (Row::Pipeline, Raise, Production) => Authority::GateApprovalsAndLimits,
        (Row::Timer, Neutral | Raise, _) | (Row::Evaluator, Raise, _) => Authority::AsWritten,
        (Row::Agent, Neutral | Raise, Production) => Authority::OnlyPropose,
    }
}

impl Row {
    /// The row of a caller.
    pub fn of(caller: &Caller) -> Row {
        match (&caller.actor, caller.scope) {
            (Actor::Evaluator, _) => Row::Evaluator,
            (Actor::Timer, _) => Row::Timer,
            (Actor::Tidegate, _) => Row::Person,
            (_, Scope::Viewer | Scope::SdkServer | Scope::SdkBrowser) => Row::Nobody,
            (Actor::Agent { .. }, _) => Row::Agent,
            (Actor::Human { .. } | Actor::Service { .. }, Scope::Ci) => Row::Pipeline,
            (Actor::Human { .. } | Actor::Service { .. }, _) => Row::Person,
        }
    }

    fn is_tidegate(self) -> bool {
        matches!(self, Row::Timer | Row::Evaluator)
    }
}

impl Ground {
    /// The ground of an environment.
    pub fn of(kind: EnvironmentKind) -> Ground {
        match kind {
            EnvironmentKind::Production => Ground::Production,
            EnvironmentKind::Preview | EnvironmentKind::Sandbox => Ground::Trial,
        }
    }
}

/// What a token must be good for, besides its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Flags of an app: make, change, kill, archive; its previews.
    Flags,
    /// What an app is made of: description, environments, segments; taking kills back.
    Structure,
    /// The tier of an app.
    Governance,
    /// What is above apps: new apps, shared segments, everything.
    Whole,
    /// Tokens.
    Tokens,
    /// Webhooks, of an app or of everything.
    Webhooks,
}

impl Right {
    fn scopes(self) -> &'static [Scope] {
        match self {
            Right::Flags => &[Scope::Admin, Scope::Operator, Scope::Editor, Scope::Ci],
            Right::Structure => &[Scope::Admin, Scope::Operator, Scope::Editor],
            Right::Governance | Right::Whole | Right::Webhooks => &[Scope::Admin, Scope::Operator],
            Right::Tokens => &[Scope::Admin],
        }
    }

    fn who(self) -> &'static str {
        match self {
            Right::Flags => {
                "an admin, operator, editor or CI token of the app (and of the environment, if it is bound to one)"
            }
            Right::Structure => "an admin, operator or editor of the app",
            Right::Governance => "an admin or operator of the app",
            Right::Whole => "an admin or operator that is bound to no app",
            Right::Tokens => "a human admin that is bound to no app",
            Right::Webhooks => "an admin or operator, of the app if it is bound to one",
        }
    }
}

/// The environments that a command reaches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Envs<'a> {
    /// One.
    One(&'a EnvKey),
    /// All of the app, or none in particular.
    All,
}

impl<'a> From<Option<&'a EnvKey>> for Envs<'a> {
    fn from(one: Option<&'a EnvKey>) -> Self {
        one.map_or(Envs::All, Envs::One)
    }
}

impl Case<'_> {
    pub(super) fn row(&self) -> Row {
        Row::of(self.caller)
    }

    /// Whether the caller's token is good for this, there.
    pub(super) fn may(&self, right: Right, app: Option<&AppKey>, envs: Envs<'_>) -> Result<(), Refusal> {
        let refused = Err(Refusal::NotAllowed { who_may: right.who() });
        let (caller, row) = (self.caller, self.row());
        if row.is_tidegate() {
            return if right == Right::Flags { Ok(()) } else { refused };
        }
        if caller.actor == Actor::Tidegate {
            return Ok(());
        }
        if row == Row::Nobody || !right.scopes().contains(&caller.scope) {
            return refused;
        }
        let in_app = caller.app.is_none() || (app.is_some() && caller.app.as_ref() == app);
        let in_environment = match (&caller.environment, envs) {
            (None, _) => true,
            (Some(bound), Envs::One(one)) => bound == one,
            (Some(_), Envs::All) => false,
        };
        if in_app && in_environment { Ok(()) } else { refused }
    }

    /// Whether the caller may take what an environment serves in this direction. `written` says that a human or
    /// pipeline wrote it for later.
    pub(super) fn authorise_at(
        &self,
        direction: Direction,
        (app, environment): (&App, &EnvKey),
        written: bool,
    ) -> Result<(), Refusal> {
        let ground = Ground::of(self.environment_of(app, environment)?);
        let may = self.authorise(direction, ground, app.info().tier, written);
        match (direction, ground, self.mode) {
            (_, _, Mode::Proposing)
            | (Direction::Lower | Direction::Neutral, _, _)
            | (_, Ground::Trial, _) => may,
            (Direction::Raise, Ground::Production, _) => {
                gate_first(self.gate_stands(&app.info().key, environment), may)
            }
        }
    }

    fn environment_of(&self, app: &App, environment: &EnvKey) -> Result<EnvironmentKind, Refusal> {
        let what = || What::Environment(app.info().key.clone(), environment.clone());
        let found = app.environment(environment).map(|record| record.environment().kind);
        found.ok_or_else(|| Refusal::NotFound { what: what() })
    }

    /// Whether the caller may go in this direction, but for the gate: whoever may raise production asks
    /// [`authorise_at`](Case::authorise_at), for each environment that is raised.
    pub(super) fn authorise(
        &self,
        direction: Direction,
        ground: Ground,
        tier: Tier,
        written: bool,
    ) -> Result<(), Refusal> {
        if matches!(self.mode, Mode::Proposing) && self.row() != Row::Nobody {
            return Ok(());
        }
        match authority(self.row(), direction, ground) {
            Authority::Yes => Ok(()),
            Authority::GateAndApprovals | Authority::GateApprovalsAndLimits => self.approved(tier),
            Authority::AsWritten if written => Ok(()),
            Authority::OnlyPropose => Err(Refusal::AgentsOnlyPropose),
            Authority::AsWritten | Authority::No => {
                Err(Refusal::NotAllowed { who_may: "a human or pipeline of the app" })
            }
        }
    }

    /// Whether enough other people approved, for a raise in production at this tier.
    pub(super) fn approved(&self, tier: Tier) -> Result<(), Refusal> {
        let needed = self.approved_by(*self.rules.approvals.of(tier));
        let missing = self.roles_missing(tier);
        match needed {
            Err(Refusal::ApprovalsNeeded { needed, have, .. }) => {
                Err(Refusal::ApprovalsNeeded { needed, have, roles: missing })
            }
            _ if missing.is_empty() => Ok(()),
            _ => Err(Refusal::RolesMissing { roles: missing }),
        }
    }

    /// The roles that a tier asks for, and in which nobody approved.
    fn roles_missing(&self, tier: Tier) -> Vec<Role> {
        let have = match self.mode {
            Mode::Applying { roles, .. } => roles,
            Mode::Direct | Mode::Proposing => Roles::default(),
        };
        let asked = self.rules.roles_asked(self.snapshot, tier);
        asked.iter().copied().filter(|role| !have.has(*role)).collect()
    }

    /// Whether so many other people approved.
    pub(super) fn approved_by(&self, needed: u8) -> Result<(), Refusal> {
        let have = match self.mode {
            Mode::Applying { approvals, .. } => approvals,
            Mode::Direct | Mode::Proposing => 0,
        };
        if have >= needed {
            Ok(())
        } else {
            Err(Refusal::ApprovalsNeeded { needed, have, roles: Vec::new() })
        }
    }

    /// Whether Tidegate itself asks.
    pub(super) fn only_tidegate(&self) -> Result<(), Refusal> {
        if self.row().is_tidegate() || self.caller.actor == Actor::Tidegate {
            return Ok(());
        }
        Err(Refusal::NotAllowed { who_may: "Tidegate itself" })
    }

    /// Whether somebody other than an agent asks.
    pub(super) fn no_agent(&self) -> Result<(), Refusal> {
        if self.row() == Row::Agent && !matches!(self.mode, Mode::Proposing) {
            return Err(Refusal::AgentsOnlyPropose);
        }
        Ok(())
    }
}
