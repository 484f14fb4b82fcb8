//! Effects: what is to be done outside is in the log before anybody does it, and one node does it.

use alloc::string::ToString as _;

use serde_json::Value;

use super::validate::{check_text, invalid, too_many};
use super::{Case, Decided, PREVIEW_ENDED, Refusal, What};
use crate::change::Change;
use crate::ids::{NodeId, Revision};
use crate::snapshot::{MAX_OPEN_EFFECTS, OpenEffect};
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
        node: &NodeId,
        lease_until: UnixMs,
    ) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let effect = self.effect(request)?;
        if lease_until <= self.now || lease_until > self.now.plus(MAX_LEASE) {
            return Err(invalid("lease_until", "use a moment within the next ten minutes"));
        }
        match &effect.claim {
            Some(held) if !held.allows(node, self.now) => {
                Err(Refusal::EffectClaimed { until: held.lease_until })
            }
            _ => Ok(Decided::Change(Change::EffectClaimed { request, node: node.clone(), lease_until })),
        }
    }

    pub(super) fn finish_effect(
        &self,
        request: Revision,
        node: &NodeId,
        succeeded: bool,
        outcome: &str,
    ) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let effect = self.effect(request)?;
        check_text("outcome", outcome)?;
        match &effect.claim {
            Some(claim) if claim.node == *node => {
                let outcome = outcome.to_string();
                Ok(Decided::Change(Change::EffectDone { request, succeeded, outcome }))
            }
            Some(claim) => Err(Refusal::EffectClaimed { until: claim.lease_until }),
            None => Err(Refusal::NotAllowed { who_may: "the node that claimed the effect" }),
        }
    }

    fn effect(&self, request: Revision) -> Result<&'a OpenEffect, Refusal> {
        let what = || What::Other("open effect", request.to_string());
        self.snapshot.effect(request).ok_or_else(|| Refusal::NotFound { what: what() })
    }
}
