//! Proposals: storing a command, approving it, and doing it.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::authority::{Envs, Right, Row};
use super::validate::{invalid, too_many};
use super::{Case, Decided, Mode, Refusal, Roles, What};
use crate::change::{Change, Command};
use crate::gate::policy::Role;
use crate::governance::{Actor, Rules};
use crate::ids::{Digest, ProposalId};
use crate::proposal::{
    Approval, Approving, Hands, MAX_APPROVALS, MAX_OPEN_PROPOSALS, Proposal, ProposalState, StoodOn,
};
use crate::snapshot::Snapshot;
use crate::time::UnixMs;

impl<'a> Case<'a> {
    pub(super) fn propose(&self, id: &ProposalId, command: &Command) -> Result<Decided, Refusal> {
        if !is_proposable(command) {
            return Err(Refusal::NotProposable);
        }
        if matches!(self.row(), Row::Nobody | Row::Timer | Row::Evaluator) {
            return Err(Refusal::NotAllowed { who_may: "a human, a pipeline or an agent" });
        }
        if self.snapshot.proposal(id).is_some() {
            return Err(Refusal::AlreadyExists { what: What::Other("proposal", id.to_string()) });
        }
        let open = self.snapshot.open_proposals(command.app());
        // Lapsed ones make room when the next one is folded in.
        if open >= MAX_OPEN_PROPOSALS && !self.any_lapsed(command) {
            too_many("open proposals of one app", open + 1, MAX_OPEN_PROPOSALS)?;
        }
        // A proposal that could not be done now, were it approved, helps nobody.
        let case = Case { mode: Mode::Proposing, ..*self };
        if let Decided::Already(revision) = case.decide_one(command)? {
            return Ok(Decided::Already(revision));
        }
        let stood_on = StoodOn::of(command, self.snapshot);
        Ok(Decided::Change(Change::Proposed {
            id: id.clone(),
            command: Box::new(command.clone()),
            hash: Proposal::hash_of(command, self.seen, stood_on.as_ref()),
            seen: self.seen,
            stood_on,
            expires_at: self.now.plus(self.rules.proposal_life),
        }))
    }

    /// Who asks, and with which token.
    pub(super) fn hands(&self) -> Hands<'_> {
        Hands { actor: &self.caller.actor, token: self.caller.token.as_ref() }
    }

    fn any_lapsed(&self, command: &Command) -> bool {
        let mut of_app = self.snapshot.proposals(None).filter(|it| it.app.as_ref() == command.app());
        of_app.any(|it| it.state(self.now) == ProposalState::Lapsed)
    }

    pub(super) fn approve_proposal(&self, approving: &Approving) -> Result<Decided, Refusal> {
        let Approving { id, hash, role, checked } = approving;
        let proposal = self.open_proposal(id)?;
        self.may_settle(proposal)?;
        if !matches!(self.caller.actor, Actor::Human { .. }) {
            return Err(Refusal::NotAllowed { who_may: "a human" });
        }
        if proposal.hash != *hash {
            return Err(Refusal::ProposalChanged { id: id.clone() });
        }
        if proposal.is_own(self.hands(), self.snapshot) {
            return Err(Refusal::OwnApproval);
        }
        self.still_stands(proposal)?;
        if let Some(role) = role {
            self.in_role(proposal, *role, checked)?;
        }
        let mine = |approval: &&Approval| approval.hands().are_of(self.hands(), self.snapshot);
        // Who approved as anybody may do so again in a role.
        let standing = proposal.approvals.iter().filter(mine).filter(|it| role.is_none() || it.role == *role);
        if standing.filter(|it| stands(it, self.rules, self.snapshot, self.now)).count() > 0 {
            return Ok(Decided::Already(self.snapshot.revision()));
        }
        too_many("approvals of one proposal", proposal.approvals.len() + 1, MAX_APPROVALS)?;
        Ok(Decided::Change(Change::ProposalApproved(approving.clone())))
    }

    /// Whether the caller has the role for the app, and security ticked all that the policy asks it to.
    fn in_role(&self, proposal: &Proposal, role: Role, checked: &[String]) -> Result<(), Refusal> {
        let app = proposal.app.as_ref().and_then(|app| self.snapshot.app(app));
        if !app.is_some_and(|app| self.snapshot.has_role(&self.caller.actor, role, app)) {
            return Err(Refusal::RoleNeeded { role });
        }
        let checklist = &self.snapshot.policy().checklist;
        too_many("points of a checklist", checked.len(), checklist.len())?;
        if role == Role::Security
            && let Some(open) = checklist.iter().find(|point| !checked.contains(*point))
        {
            return Err(invalid("checked", alloc::format!("the policy asks security to tick `{open}`")));
        }
        Ok(())
    }

    pub(super) fn reject_proposal(&self, id: &ProposalId) -> Result<Decided, Refusal> {
        let proposal = self.open_proposal(id)?;
        // Its proposer may withdraw it; else a human who could apply it turns it down.
        if !proposal.is_own(self.hands(), self.snapshot) {
            self.may_settle(proposal)?;
            self.no_agent()?;
        }
        Ok(Decided::Change(Change::ProposalRejected { id: id.clone() }))
    }

    pub(super) fn apply_proposal(
        &self,
        id: &ProposalId,
        hash: Digest,
    ) -> Result<(Decided, Option<ProposalId>, String), Refusal> {
        let proposal = self.open_proposal(id)?;
        if !matches!(self.caller.actor, Actor::Human { .. }) {
            return Err(Refusal::NotAllowed { who_may: "a human with the rights that the command takes" });
        }
        let bound = Proposal::hash_of(&proposal.command, proposal.seen, proposal.stood_on.as_ref());
        if proposal.hash != hash || bound != hash {
            return Err(Refusal::ProposalChanged { id: id.clone() });
        }
        let approvals = proposal.standing_approvals(self.rules, self.snapshot, self.now);
        let reason = if self.reason.trim().is_empty() { &proposal.reason } else { self.reason };
        let mode = Mode::Applying {
            proposal,
            approvals: u8::try_from(approvals.len()).unwrap_or(u8::MAX),
            roles: approvals.iter().filter_map(|approval| approval.role).fold(Roles::default(), Roles::with),
        };
        let case = Case { mode, seen: proposal.seen, reason, ..*self };
        let decided = case.decide_one(&proposal.command)?;
        Ok((decided, Some(id.clone()), reason.to_string()))
    }

    fn open_proposal(&self, id: &ProposalId) -> Result<&'a Proposal, Refusal> {
        let what = || What::Other("proposal", id.to_string());
        let proposal = self.snapshot.proposal(id).ok_or_else(|| Refusal::NotFound { what: what() })?;
        match proposal.state(self.now) {
            ProposalState::Open => Ok(proposal),
            state => Err(Refusal::ProposalClosed { id: id.clone(), state }),
        }
    }

    /// Whether the caller's rights reach what the proposal is about.
    fn may_settle(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let right = if proposal.app.is_some() { Right::Structure } else { Right::Whole };
        let environment = proposal.command.environment();
        self.may(right, proposal.app.as_ref(), environment.map_or(Envs::All, Envs::One))
    }
}

impl Proposal {
    /// The approvals that count, the newest first: of each person the last one, in a role only while they have it; none of the
    /// proposer's own, nor of something else than it is.
    pub fn standing_approvals(&self, rules: &Rules, snapshot: &Snapshot, now: UnixMs) -> Vec<&Approval> {
        let app = self.app.as_ref().and_then(|app| snapshot.app(app));
        let mut counted: Vec<&Approval> = Vec::new();
        for approval in self.approvals.iter().rev() {
            let again = |other: &&Approval| other.hands().are_of(approval.hands(), snapshot);
            let has_role = approval
                .role
                .is_none_or(|role| app.is_some_and(|app| snapshot.has_role(&approval.actor, role, app)));
            let valid = approval.hash == self.hash
                && has_role
                && !self.is_own(approval.hands(), snapshot)
                && stands(approval, rules, snapshot, now);
            if valid && !counted.iter().any(again) {
                counted.push(approval);
            }
        }
        counted
    }
}

/// Whether an approval is young enough, and its token was not revoked since: one that is not there any more was.
fn stands(approval: &Approval, rules: &Rules, snapshot: &Snapshot, now: UnixMs) -> bool {
    let is_revoked = |id| snapshot.token(id).is_none_or(|token| token.revoked_at.is_some());
    let revoked = approval.token.as_ref().is_some_and(is_revoked);
    !revoked && approval.at.plus(rules.proposal_life) > now
}

/// Kills wait for nobody; tokens, holds, schedules and effects are not for others to apply.
fn is_proposable(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateApp { .. }
            | Command::UpdateApp { .. }
            | Command::CreateEnvironment { .. }
            | Command::ExtendEnvironment { .. }
            | Command::RemoveEnvironment { .. }
            | Command::CreateFlag { .. }
            | Command::UpdateFlag { .. }
            | Command::SetTargeting { .. }
            | Command::ExtendFlag { .. }
            | Command::ArchiveFlag { .. }
            | Command::Revive { .. }
            | Command::PutSegment { .. }
            | Command::ChangeSegmentMembers { .. }
            | Command::RemoveSegment { .. }
            | Command::StartRollout { .. }
            | Command::ResumeRollout { .. }
            | Command::AdvanceRollout { .. }
            | Command::SetGuardrails { .. }
    )
}
