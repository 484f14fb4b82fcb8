//! The fold: what an entry makes of a snapshot. Total, as the log is the truth: a change of something
//! that is not there moves the revision and nothing else.

use alloc::sync::Arc;

use super::app::Touch;
use super::fold_flags::KillsOfGone;
use super::recall::{PastKill, PastRequest};
use super::{Claim, Snapshot};
use crate::change::{Change, Entry};
use crate::ids::{Digest, Revision};

/// What every step of the fold needs to know of the entry.
pub(super) struct Stamp<'a> {
    pub(super) entry: &'a Entry,
    pub(super) touch: Touch,
}

impl Stamp<'_> {
    pub(super) fn revision(&self) -> Revision {
        self.touch.revision
    }
}

impl Snapshot {
    /// The snapshot after an entry: its position, the chain hash after it, and itself. Never fails.
    pub fn apply(&self, revision: Revision, hash: Digest, entry: &Entry) -> Snapshot {
        let mut next = self.clone();
        next.revision = revision;
        next.hash = hash;
        let touch = Touch {
            revision,
            at: entry.at,
            actor: Arc::new(entry.actor.clone()),
            change: entry.change.kind(),
        };
        let stamp = Stamp { entry, touch };
        next.recall_request(&stamp);
        next.fold(&stamp);
        if let Some(id) = &entry.proposal {
            next.proposal_applied(id, revision);
        }
        next
    }

    fn recall_request(&mut self, stamp: &Stamp<'_>) {
        let Some(key) = &stamp.entry.idempotency_key else { return };
        let name = (stamp.entry.token.clone(), key.clone());
        let past = PastRequest { revision: stamp.revision(), command: stamp.entry.request };
        self.recalled.requests.remember(name, past);
    }

    fn fold(&mut self, stamp: &Stamp<'_>) {
        match &stamp.entry.change {
            Change::AppCreated { app, environments } => self.app_created(app, environments, stamp),
            Change::AppUpdated { app } => self.app_updated(app, stamp),
            Change::EnvironmentCreated { app, environment, expires_at, replaces, untold } => {
                for ended in replaces {
                    if untold.contains(ended) {
                        self.note_untold_end(app, ended, stamp);
                    }
                    let kills = if *ended == environment.key { KillsOfGone::Stay } else { KillsOfGone::Go };
                    self.environment_removed(app, ended, kills, stamp);
                }
                let replaced = replaces.contains(&environment.key);
                self.environment_created(app, environment, *expires_at, replaced, stamp);
            }
            Change::EnvironmentUpdated { app, environment } => {
                self.environment_updated(app, environment, stamp);
            }
            Change::EnvironmentRemoved { app, environment, untold } => {
                if *untold {
                    self.note_untold_end(app, environment, stamp);
                }
                self.environment_removed(app, environment, KillsOfGone::Go, stamp);
            }
            Change::FlagCreated { app, flag, states } => self.flag_created(app, flag, states, stamp),
            Change::FlagUpdated { app, flag } => self.flag_updated(app, flag, stamp),
            Change::TargetingChanged { app, flag, environment, .. } => {
                self.targeting_changed(app, flag, environment, stamp);
            }
            Change::FlagExtended { app, flag, expires_at } => {
                self.flag_extended(app, flag, expires_at, stamp);
            }
            Change::FlagArchived { app, flag } => self.flag_archived(app, flag, stamp),
            Change::Killed { kill_id, reach, environment } => {
                let past = PastKill {
                    revision: stamp.revision(),
                    reach: reach.clone(),
                    environment: environment.clone(),
                };
                self.killed(kill_id, past, stamp);
            }
            Change::Revived { reach, environment } => self.revived(reach, environment.as_ref(), stamp),
            Change::HoldChanged { app, flag, environment, hold } => {
                self.hold_changed(app, flag, environment, hold.as_ref(), stamp);
            }
            Change::RolloutStarted { app, flag, environment, rollout, .. }
            | Change::RolloutAdvanced { app, flag, environment, rollout, .. }
            | Change::RolloutChanged { app, flag, environment, rollout }
            | Change::RolloutEnded { app, flag, environment, rollout, .. } => {
                self.rollout_changed(app, flag, environment, rollout, stamp);
            }
            Change::SegmentPut { scope, segment } => self.segment_put(scope, segment, stamp),
            Change::SegmentMembersChanged { scope, segment, add, remove } => {
                self.segment_members_changed(scope, segment, add, remove, stamp);
            }
            Change::SegmentRemoved { scope, segment } => self.segment_removed(scope, segment, stamp),
            _ => self.fold_around_flags(stamp),
        }
    }

    /// Tokens, proposals, effects, releases and webhooks.
    fn fold_around_flags(&mut self, stamp: &Stamp<'_>) {
        match &stamp.entry.change {
            Change::TokenCreated { token } if !self.tokens.contains_key(&token.id) => {
                self.put_token(Arc::new(token.clone()));
            }
            Change::TokenRevoked { token } => self.token_revoked(token, stamp.entry.at),
            Change::Proposed { .. } => self.proposed(stamp.entry),
            Change::ProposalApproved(approving) => self.proposal_approved(approving, stamp.entry),
            Change::ProposalRejected { id } => self.proposal_rejected(id),
            Change::EffectRequested { effect, payload } => self.effect_requested(effect, payload, stamp),
            Change::EffectClaimed { request, nth: None, node, lease_until } => {
                let Some(effect) = self.effects.get_mut(request) else { return };
                let claim = Claim { node: node.clone(), lease_until: *lease_until };
                let effect = Arc::make_mut(effect);
                // The first of several claims counts: the others are not alone in the log.
                if effect.claim.as_ref().is_none_or(|held| held.allows(node, stamp.entry.at)) {
                    effect.claim = Some(claim);
                }
            }
            Change::EffectDone { request, nth: None, .. } => {
                self.effects.remove_mut(request);
            }
            Change::ReleaseDeployed { app, environment, artifact, version } => {
                self.release_deployed(app, environment, *artifact, version.as_deref(), stamp);
            }
            Change::WebhookPut { webhook } => self.webhook_put(webhook, stamp.revision()),
            Change::WebhookRemoved { id } => {
                self.webhooks.remove_mut(id);
            }
            Change::GateDecided(_)
            | Change::PolicySet(_)
            | Change::SourceSet(_)
            | Change::WaiverPut(_)
            | Change::RoleGranted(_)
            | Change::RoleRevoked(_) => self.fold_gate(stamp),
            _ => self.fold_runbook(stamp),
        }
    }
}
