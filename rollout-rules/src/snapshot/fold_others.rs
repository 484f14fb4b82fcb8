//! The fold of segments, proposals, revoked tokens, effects and webhooks.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rpds::RedBlackTreeSetSync;
use serde_json::Value;

use super::app::SegmentRecord;
use super::apply::Stamp;
use super::{Claim, OpenEffect, REVOKED_TOKENS_KEPT, Snapshot};
use crate::change::{Change, Entry};
use crate::decide::{PREVIEW_ENDED, preview_in};
use crate::flag::{MAX_SEGMENT_MEMBERS, Segment, SegmentScope};
use crate::governance::Token;
use crate::ids::{AppKey, NodeId, ProposalId, Revision, SegmentKey, TokenId};
use crate::proposal::{
    Approval, Approving, KEPT_CLOSED_PROPOSALS, MAX_APPROVALS, Outcome, Proposal, ProposalState,
};
use crate::segment::SegmentTable;
use crate::time::UnixMs;
use crate::webhook::{Webhook, WebhookRecord};

impl Snapshot {
    pub(super) fn segment_put(&mut self, scope: &SegmentScope, segment: &Segment, stamp: &Stamp<'_>) {
        let members = match self.segment(scope, &segment.key) {
            Some(before) => before.members.clone(),
            None => RedBlackTreeSetSync::new_sync(),
        };
        let record = SegmentRecord { segment: segment.clone(), members, revision: stamp.revision() };
        self.replace_segment(scope, &segment.key, Some(record), stamp, |table| table.put(segment.clone()));
    }

    pub(super) fn segment_members_changed(
        &mut self,
        scope: &SegmentScope,
        key: &SegmentKey,
        add: &[Arc<str>],
        remove: &[Arc<str>],
        stamp: &Stamp<'_>,
    ) {
        let Some(before) = self.segment(scope, key) else { return };
        let mut record = before.clone();
        record.revision = stamp.revision();
        for unit in remove {
            record.members.remove_mut(&**unit);
        }
        let mut come = Vec::with_capacity(add.len());
        for unit in add {
            if record.members.size() < MAX_SEGMENT_MEMBERS && !record.members.contains(&**unit) {
                record.members.insert_mut(Arc::clone(unit));
                come.push(Arc::clone(unit));
            }
        }
        let change = |table: &SegmentTable| table.change_members(key, &come, remove);
        self.replace_segment(scope, key, Some(record), stamp, change);
    }

    pub(super) fn segment_removed(&mut self, scope: &SegmentScope, key: &SegmentKey, stamp: &Stamp<'_>) {
        if self.segment(scope, key).is_some() {
            self.replace_segment(scope, key, None, stamp, |table| table.remove(key));
        }
    }

    fn replace_segment(
        &mut self,
        scope: &SegmentScope,
        key: &SegmentKey,
        record: Option<SegmentRecord>,
        stamp: &Stamp<'_>,
        change: impl FnOnce(&SegmentTable) -> SegmentTable,
    ) {
        let record = record.map(Arc::new);
        let (segments, table) = match scope {
            SegmentScope::Shared => {
                let whole = Arc::make_mut(&mut self.whole);
                whole.served_revision = stamp.revision();
                (&mut whole.segments, &mut whole.rules.segments)
            }
            SegmentScope::App(app) => {
                let Some(app) = self.apps.get_mut(app) else { return };
                let app = Arc::make_mut(app);
                app.served_revision = stamp.revision();
                (&mut app.segments, &mut app.rules.segments)
            }
        };
        *table = change(table);
        match record {
            Some(record) => segments.insert_mut(key.clone(), record),
            None => {
                segments.remove_mut(key);
            }
        }
    }

    pub(super) fn proposed(&mut self, entry: &Entry) {
        let Change::Proposed { id, command, hash, seen, stood_on, expires_at } = &entry.change else {
            return;
        };
        if self.proposals.contains_key(id) {
            return;
        }
        let app = command.app().cloned();
        self.sweep_lapsed(app.as_ref(), entry.at);
        let proposal = Proposal {
            id: id.clone(),
            command: (**command).clone(),
            hash: *hash,
            seen: *seen,
            stood_on: stood_on.clone(),
            app: app.clone(),
            proposed_by: entry.actor.clone(),
            token: entry.token.clone(),
            at: entry.at,
            reason: entry.reason.clone(),
            expires_at: *expires_at,
            outcome: Outcome::Open,
            approvals: Vec::new(),
        };
        self.proposals.insert_mut(id.clone(), Arc::new(proposal));
        match self.open_proposals.get_mut(&app) {
            Some(open) => open.insert_mut(id.clone()),
            None => {
                let mut open = RedBlackTreeSetSync::new_sync();
                open.insert_mut(id.clone());
                self.open_proposals.insert_mut(app, open);
            }
        }
    }

    /// Lapsed proposals make room for new ones.
    fn sweep_lapsed(&mut self, app: Option<&AppKey>, at: UnixMs) {
        let Some(open) = self.open_proposals.get(&app.cloned()) else { return };
        let lapsed = |id: &&ProposalId| {
            self.proposals.get(*id).is_none_or(|proposal| proposal.state(at) == ProposalState::Lapsed)
        };
        let lapsed: Vec<ProposalId> = open.iter().filter(lapsed).cloned().collect();
        for id in lapsed {
            self.close_proposal(&id);
        }
    }

    pub(super) fn proposal_approved(&mut self, approving: &Approving, entry: &Entry) {
        let Some(proposal) = self.proposals.get_mut(&approving.id) else { return };
        let proposal = Arc::make_mut(proposal);
        if proposal.outcome == Outcome::Open && proposal.approvals.len() < MAX_APPROVALS {
            let (actor, token) = (entry.actor.clone(), entry.token.clone());
            let Approving { hash, role, checked, .. } = approving.clone();
            proposal.approvals.push(Approval { actor, token, at: entry.at, hash, role, checked });
        }
    }

    pub(super) fn proposal_rejected(&mut self, id: &ProposalId) {
        self.settle_proposal(id, Outcome::Rejected);
    }

    pub(super) fn proposal_applied(&mut self, id: &ProposalId, revision: Revision) {
        self.settle_proposal(id, Outcome::Applied { revision });
    }

    fn settle_proposal(&mut self, id: &ProposalId, outcome: Outcome) {
        let Some(proposal) = self.proposals.get_mut(id).filter(|it| it.outcome == Outcome::Open) else {
            return;
        };
        Arc::make_mut(proposal).outcome = outcome;
        self.close_proposal(id);
    }

    /// Moves an open proposal to the closed ones, of which the last few are kept.
    fn close_proposal(&mut self, id: &ProposalId) {
        let Some(app) = self.proposals.get(id).map(|proposal| proposal.app.clone()) else { return };
        let Some(open) = self.open_proposals.get_mut(&app) else { return };
        if !open.remove_mut(id) {
            return;
        }
        if open.is_empty() {
            self.open_proposals.remove_mut(&app);
        }
        self.closed_proposals.enqueue_mut(id.clone());
        while self.closed_proposals.len() > KEPT_CLOSED_PROPOSALS {
            if let Some(oldest) = self.closed_proposals.peek() {
                self.proposals.remove_mut(oldest);
            }
            self.closed_proposals.dequeue_mut();
        }
    }
}

impl Snapshot {
    pub(super) fn token_revoked(&mut self, id: &TokenId, at: UnixMs) {
        let Some(token) = self.tokens.get(id).filter(|token| token.revoked_at.is_none()) else { return };
        let revoked = Token { revoked_at: Some(at), ..Token::clone(token) };
        self.put_token(Arc::new(revoked));
        // By the time of the entry that forgets it: whoever folds the log comes to the same.
        while let Some(oldest) = self.revoked_tokens.first().cloned()
            && oldest.0.plus(REVOKED_TOKENS_KEPT) <= at
        {
            self.revoked_tokens.remove_mut(&oldest);
            self.tokens.remove_mut(&oldest.1);
        }
    }

    pub(super) fn put_token(&mut self, token: Arc<Token>) {
        let id = token.id.clone();
        if let Some(at) = token.revoked_at {
            self.revoked_tokens.insert_mut((at, id.clone()));
        }
        self.tokens.insert_mut(id, token);
    }

    pub(super) fn effect_requested(&mut self, effect: &str, payload: &Value, stamp: &Stamp<'_>) {
        if effect == PREVIEW_ENDED
            && let Some(preview) = preview_in(payload)
            && self.untold_ends.remove_mut(&preview)
        {
            // It was gone before it was told, so nothing waits for it.
            return;
        }
        let effect = OpenEffect {
            effect: effect.into(),
            payload: payload.clone(),
            requested_at: stamp.entry.at,
            claim: None,
        };
        self.effects.insert_mut(stamp.revision(), Arc::new(effect));
    }

    pub(super) fn webhook_put(&mut self, webhook: &Webhook, revision: Revision) {
        let made = self.webhook(&webhook.id).map_or(revision, |record| record.made);
        let record = WebhookRecord { webhook: webhook.clone(), made, revision };
        self.webhooks.insert_mut(webhook.id.clone(), Arc::new(record));
    }
}

impl Claim {
    /// Whether a node may claim what is claimed thus: its own, or one whose lease is over.
    pub fn allows(&self, node: &NodeId, now: UnixMs) -> bool {
        self.node == *node || self.lease_until <= now
    }
}
