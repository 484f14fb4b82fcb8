//! What an approval binds besides the command: the builds that production would be raised on, and by what the gate let them pass.

use alloc::vec::Vec;
use core::fmt;

use super::{Case, Mode, Refusal};
use crate::change::Command;
use crate::flag::EnvironmentKind;
use crate::governance::Enforcement;
use crate::ids::{AppKey, EnvKey, WaiverId};
use crate::proposal::{Proposal, StandingBuild, StoodOn};
use crate::release::ArtifactDigest;
use crate::snapshot::{App, EnvironmentRecord, Snapshot};

/// What is no longer as it was when something was proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It was proposed before proposals kept what the gate stood on, or where no production was.
    Unbound,
    /// The policy.
    Policy,
    /// What runs.
    Build {
        /// Where.
        environment: EnvKey,
        /// What ran then; none: nobody had told.
        then: Option<ArtifactDigest>,
        /// What runs now.
        now: Option<ArtifactDigest>,
    },
    /// It stands on waivers that it did not stand on.
    Waivers {
        /// Where.
        environment: EnvKey,
        /// Those that are new.
        new: Vec<WaiverId>,
    },
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |artifact: &Option<ArtifactDigest>| match artifact {
            Some(artifact) => alloc::format!("{artifact}"),
            None => "nothing that anybody told of".into(),
        };
        match self {
            Moved::Unbound => f.write_str(
                "it does not say on which build of production it was made, so approvals of it count for none",
            ),
            Moved::Policy => f.write_str("the gate's policy changed since it was made"),
            Moved::Build { environment, then, now } => {
                let (then, now) = (named(then), named(now));
                write!(f, "it was made when {then} ran in {environment}, and {now} runs there now")
            }
            Moved::Waivers { environment, new } => {
                let named: Vec<&str> = new.iter().map(WaiverId::as_str).collect();
                write!(
                    f,
                    "what runs in {environment} stands on waivers that were not there when it was made ({})",
                    named.join(", ")
                )
            }
        }
    }
}

impl StoodOn {
    /// What the gate stands on now wherever a command may raise production. None: it raises none.
    pub fn of(command: &Command, snapshot: &Snapshot) -> Option<StoodOn> {
        if never_raises(command) {
            return None;
        }
        let policy = snapshot.policy_digest();
        // What all apps share is bound by the policy alone: what runs in each of them is not listed.
        let Some(key) = command.app() else { return Some(StoodOn { policy, builds: Vec::new() }) };
        let app = snapshot.app(key)?;
        let is_meant = |record: &&EnvironmentRecord| {
            let environment = record.environment();
            environment.kind == EnvironmentKind::Production
                && command.environment().is_none_or(|only| *only == environment.key)
        };
        let builds: Vec<StandingBuild> =
            app.environments().filter(is_meant).map(|record| build(snapshot, app, record)).collect();
        (!builds.is_empty()).then_some(StoodOn { policy, builds })
    }
}

fn build(snapshot: &Snapshot, app: &App, record: &EnvironmentRecord) -> StandingBuild {
    let environment = record.environment().key.clone();
    let artifact = record.releases().current().map(|release| release.artifact);
    let decided = artifact.and_then(|artifact| snapshot.decision(&app.info().key, &environment, &artifact));
    let passing = decided.filter(|decided| decided.decision.verdict.passes());
    let waivers = passing.map(|decided| decided.decision.waivers.clone()).unwrap_or_default();
    StandingBuild { environment, artifact, waivers }
}

/// Whether a command raises nothing in production, whatever is in it. What is not known to be harmless is bound.
fn never_raises(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateApp { .. }
            | Command::UpdateApp { .. }
            | Command::CreateEnvironment { .. }
            | Command::ExtendEnvironment { .. }
            | Command::RemoveEnvironment { .. }
            | Command::ArchiveFlag { .. }
            | Command::Revive { .. }
            | Command::SetGuardrails { .. }
    )
}

impl Proposal {
    /// What is no longer as it was when this was made, of what its approvals stand on. A waiver that is gone takes nothing from them.
    pub fn moved(&self, snapshot: &Snapshot) -> Option<Moved> {
        self.moved_in(snapshot, None)
    }

    fn moved_in(&self, snapshot: &Snapshot, only: Option<&EnvKey>) -> Option<Moved> {
        let now = StoodOn::of(&self.command, snapshot)?;
        let Some(then) = &self.stood_on else { return Some(Moved::Unbound) };
        if then.policy != now.policy {
            return Some(Moved::Policy);
        }
        let mut builds = now.builds.iter().filter(|build| only.is_none_or(|only| *only == build.environment));
        builds.find_map(|now| {
            let environment = now.environment.clone();
            let then = then.builds.iter().find(|then| then.environment == environment);
            let artifact = then.and_then(|then| then.artifact);
            if artifact != now.artifact {
                return Some(Moved::Build { environment, then: artifact, now: now.artifact });
            }
            let known = |id: &&WaiverId| then.is_some_and(|then| then.waivers.contains(id));
            let new: Vec<WaiverId> = now.waivers.iter().filter(|id| !known(id)).cloned().collect();
            (!new.is_empty()).then_some(Moved::Waivers { environment, new })
        })
    }
}

impl Case<'_> {
    /// Whether a proposal that is approved stands on what it stood on when it was made.
    pub(super) fn still_stands(&self, proposal: &Proposal) -> Result<(), Refusal> {
        refuse_moved(
            proposal,
            proposal.moved(self.snapshot).filter(|_| self.rules.gate == Enforcement::Enforce),
        )
    }

    /// The same of a proposal that is applied, where it raises.
    pub(super) fn still_stands_at(&self, app: &AppKey, environment: &EnvKey) -> Result<(), Refusal> {
        let Mode::Applying { proposal, .. } = self.mode else { return Ok(()) };
        let only = (proposal.app.as_ref() == Some(app)).then_some(environment);
        refuse_moved(proposal, proposal.moved_in(self.snapshot, only))
    }
}

fn refuse_moved(proposal: &Proposal, moved: Option<Moved>) -> Result<(), Refusal> {
    moved.map_or(Ok(()), |moved| Err(Refusal::ProposalOutdated { id: proposal.id.clone(), moved }))
}
