//! Effects: what is to be done outside is in the log before anybody does it, and one node does it.

use alloc::string::ToString as _;

use serde_json::Value;

use super::validate::{check_text, invalid, too_many};
use super::{Case, Decided, PREVIEW_ENDED, Refusal, What};
use crate::change::Change;
use crate::ids::{NodeId, Revision};
use crate::runbook::EffectId;
use crate::snapshot::{Claim, MAX_OPEN_EFFECTS};
use crate::time::{DurationMs, UnixMs};

/// Longest lease of a claim. A node that needs longer claims again before it ends.
pub const MAX_LEASE: DurationMs = DurationMs(10 * 60 * 1000);

impl<'a> Case<'a> {
    pub(super) fn request_effect(&self, effect: &str, payload: &Value) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        check_text("effect", effect)?;
        if effect.is_empty() {
            return Err(invalid("effect", "name what is to be done"));
        }
        if effect == PREVIEW_ENDED {
            return Err(invalid("effect", "this one is asked for by the end of a preview, once"));
        }
        too_many("effects that wait or run", self.snapshot.effect_count() + 1, MAX_OPEN_EFFECTS)?;
        Ok(Decided::Change(Change::EffectRequested { effect: effect.to_string(), payload: payload.clone() }))
    }

    pub(super) fn claim_effect(
        &self,
        request: Revision,
        nth: Option<u8>,
        node: &NodeId,
        lease_until: UnixMs,
    ) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let claim = self.claim_of(request, nth)?;
        if lease_until <= self.now || lease_until > self.now.plus(MAX_LEASE) {
            return Err(invalid("lease_until", "use a moment within the next ten minutes"));
        }
        match claim {
            Some(held) if !held.allows(node, self.now) => {
                Err(Refusal::EffectClaimed { until: held.lease_until })
            }
            _ => Ok(Decided::Change(Change::EffectClaimed { request, nth, node: node.clone(), lease_until })),
        }
    }

    pub(super) fn finish_effect(
        &self,
        request: Revision,
        nth: Option<u8>,
        node: &NodeId,
        succeeded: bool,
        outcome: &str,
    ) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let claim = self.claim_of(request, nth)?;
        check_text("outcome", outcome)?;
        match claim {
            Some(claim) if claim.node == *node => {
                let outcome = outcome.to_string();
                Ok(Decided::Change(Change::EffectDone { request, nth, succeeded, outcome }))
            }
            Some(claim) => Err(Refusal::EffectClaimed { until: claim.lease_until }),
            None => Err(Refusal::NotAllowed { who_may: "the node that claimed the effect" }),
        }
    }

    /// Who does an effect that is still to be done, if somebody does.
    fn claim_of(&self, request: Revision, nth: Option<u8>) -> Result<Option<&'a Claim>, Refusal> {
        let claim = match nth {
            None => self.snapshot.effect(request).map(|effect| effect.claim.as_ref()),
            Some(nth) => {
                let run = self.snapshot.run(EffectId { request, nth }).filter(|run| run.is_open());
                run.map(|run| run.claim.as_ref())
            }
        };
        claim.ok_or_else(|| Refusal::NotFound { what: What::Other("open effect", request.to_string()) })
    }
}
