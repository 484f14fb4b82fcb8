//! Asking for exceptions, approving and ending them, and breaking the glass.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString as _;

use super::authority::{Envs, Right};
use super::validate::{invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::Change;
use crate::flag::MAX_TEXT_BYTES;
use crate::gate::policy::{MAX_BREAK_GLASS, Role};
use crate::gate::waiver::{
    MAX_WAIVERS, MIN_REASON_CHARS, Waiver, WaiverApproval, WaiverRevoked, WaiverState, is_waivable,
};
use crate::governance::{Actor, Scope};
use crate::ids::{AppKey, WaiverId};
use crate::proposal::same_person;
use crate::snapshot::App;

impl<'a> Case<'a> {
    /// Asks for an exception. Who breaks the glass takes it upon themselves: it counts at once, and for hours at most.
    pub(super) fn request_waiver(&self, asked: &Waiver) -> Result<Decided, Refusal> {
        let app = &asked.app;
        self.may(Right::Flags, Some(app), asked.environment.as_ref().into())?;
        let found = self.app(app)?;
        if let Some(environment) = &asked.environment {
            self.environment(found, environment)?;
        }
        if found.waiver(&asked.id).is_some() {
            return Err(Refusal::AlreadyExists { what: What::Other("waiver", asked.id.to_string()) });
        }
        let open = found.waivers().filter(|it| it.state(self.now).is_open()).count();
        // Whoever breaks the glass is not kept from it by what others ask for.
        if !asked.break_glass {
            too_many("waivers of one app", open + 1, MAX_WAIVERS)?;
        }
        let tier = found.info().tier;
        if !is_waivable(asked.check, tier) {
            let problem =
                format!("`{}` is never waived in tier {}: mend what it found", asked.check, tier as u8);
            return Err(invalid("check", problem));
        }
        self.check_words(asked)?;
        let longest = if asked.break_glass {
            self.may_break_glass(found)?;
            MAX_BREAK_GLASS
        } else {
            if asked.fingerprint.is_none() {
                let problem =
                    "a waiver is for one finding: give its fingerprint, as `tidegate gate explain` shows it";
                return Err(invalid("fingerprint", problem));
            }
            self.snapshot.policy().of(tier).waivers.longest_ms
        };
        if asked.expires_at <= self.now {
            return Err(invalid(
                "expires_at",
                "a waiver ends in the future: give the date on which the risk is gone",
            ));
        }
        let cap = self.now.plus(longest);
        if asked.expires_at > cap {
            return Err(Refusal::ExpiryBeyondCap { asked: asked.expires_at, cap });
        }
        let waiver = Waiver {
            requested_by: self.caller.actor.clone(),
            token: self.caller.token.clone(),
            requested_at: self.now,
            approval: None,
            revoked: None,
            ..asked.clone()
        };
        Ok(Decided::Change(Change::WaiverPut(Box::new(waiver))))
    }

    fn check_words(&self, asked: &Waiver) -> Result<(), Refusal> {
        let reason = asked.reason.trim();
        if reason.chars().count() < MIN_REASON_CHARS || asked.reason.len() > MAX_TEXT_BYTES {
            let problem =
                format!("say in at least {MIN_REASON_CHARS} characters why the risk can be taken until then");
            return Err(invalid("reason", problem));
        }
        let risk = asked.risk.trim();
        if risk.is_empty() || risk.len() > MAX_TEXT_BYTES || risk.contains('*') {
            return Err(invalid(
                "risk",
                "name the one risk that is taken, as the finding does: `CVE-2020-14343`",
            ));
        }
        Ok(())
    }

    /// A person who answers for the platform or for security, or who operates everything.
    fn may_break_glass(&self, app: &App) -> Result<(), Refusal> {
        let actor = &self.caller.actor;
        let has = |role| self.snapshot.has_role(actor, role, app);
        let operates = matches!(self.caller.scope, Scope::Admin | Scope::Operator);
        let is_person = matches!(actor, Actor::Human { .. });
        if is_person && (operates || has(Role::Platform) || has(Role::Security)) {
            return Ok(());
        }
        Err(Refusal::NotAllowed {
            who_may: "a person with an admin's or operator's token, or with the role platform or security",
        })
    }

    pub(super) fn approve_waiver(&self, app: &AppKey, id: &WaiverId, role: Role) -> Result<Decided, Refusal> {
        let (found, waiver) = self.waiver_of(app, id)?;
        self.may(Right::Structure, Some(app), Envs::All)?;
        if !matches!(self.caller.actor, Actor::Human { .. }) {
            return Err(Refusal::NotAllowed { who_may: "a human" });
        }
        match waiver.state(self.now) {
            WaiverState::Requested => {}
            WaiverState::Active => return Ok(Decided::Already(self.snapshot.revision())),
            state => return Err(Refusal::WaiverOver { id: id.clone(), state }),
        }
        let own_token = waiver.token.is_some() && waiver.token == self.caller.token;
        if own_token || same_person(&waiver.requested_by, &self.caller.actor) {
            return Err(Refusal::OwnApproval);
        }
        let needed = self.snapshot.policy().of(found.info().tier).waivers.approver;
        if role != needed || !self.snapshot.has_role(&self.caller.actor, role, found) {
            return Err(Refusal::RoleNeeded { role: needed });
        }
        // The policy may have become stricter since it was asked for.
        if !is_waivable(waiver.check, found.info().tier) {
            return Err(invalid("check", format!("`{}` is not waived in this tier any more", waiver.check)));
        }
        let longest = self.snapshot.policy().of(found.info().tier).waivers.longest_ms;
        let expires_at = waiver.expires_at.min(self.now.plus(longest));
        let approval = WaiverApproval { actor: self.caller.actor.clone(), at: self.now, role };
        let approved = Waiver { approval: Some(approval), expires_at, ..waiver.clone() };
        Ok(Decided::Change(Change::WaiverPut(Box::new(approved))))
    }

    /// Whoever may ask for one may end it: that only makes the gate stricter.
    pub(super) fn revoke_waiver(&self, app: &AppKey, id: &WaiverId) -> Result<Decided, Refusal> {
        let (_, waiver) = self.waiver_of(app, id)?;
        self.may(Right::Flags, Some(app), waiver.environment.as_ref().into())?;
        match waiver.state(self.now) {
            WaiverState::Revoked => return Ok(Decided::Already(self.snapshot.revision())),
            state @ WaiverState::Lapsed => return Err(Refusal::WaiverOver { id: id.clone(), state }),
            WaiverState::Requested | WaiverState::Active => {}
        }
        let revoked = WaiverRevoked { actor: self.caller.actor.clone(), at: self.now };
        let ended = Waiver { revoked: Some(revoked), ..waiver.clone() };
        Ok(Decided::Change(Change::WaiverPut(Box::new(ended))))
    }

    fn waiver_of(&self, app: &AppKey, id: &WaiverId) -> Result<(&'a App, &'a Waiver), Refusal> {
        let found = self.app(app)?;
        let what = || What::Other("waiver", id.to_string());
        let waiver = found.waiver(id).ok_or_else(|| Refusal::NotFound { what: what() })?;
        Ok((found, waiver))
    }
}
