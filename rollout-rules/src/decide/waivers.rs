//! Asking for waivers, approving and ending them, and breaking the glass.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::authority::{Envs, Right};
use super::validate::{invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::Change;
use crate::flag::{MAX_TEXT_BYTES, Tier};
use crate::gate::decision::Judged;
use crate::gate::glass::{Broken, GLASS_WINDOW, MAX_GLASSES};
use crate::gate::policy::{MAX_BREAK_GLASS, Role};
use crate::gate::waiver::{
    Barred, Found, MAX_WAIVERS, MIN_REASON_CHARS, Waiver, WaiverApproval, WaiverRevoked, WaiverState,
};
use crate::governance::{Actor, Scope};
use crate::ids::{AppKey, WaiverId};
use crate::proposal::Hands;
use crate::snapshot::App;

impl<'a> Case<'a> {
    /// Asks for a waiver. Who breaks the glass takes it upon themselves: it counts at once, and for hours at most.
    pub(super) fn request_waiver(&self, asked: &Waiver, listed: Option<&Judged>) -> Result<Decided, Refusal> {
        let app = &asked.app;
        self.may(Right::Flags, Some(app), asked.environment.as_ref().into())?;
        let found = self.app(app)?;
        if let Some(environment) = &asked.environment {
            self.environment(found, environment)?;
        }
        if found.waiver(&asked.id).is_some() {
            return Err(Refusal::AlreadyExists { what: What::Other("waiver", asked.id.to_string()) });
        }
        let open = found.waivers().filter(|it| !it.break_glass && it.state(self.now).is_open()).count();
        // Whoever breaks the glass is not kept from it by what others ask for.
        if !asked.break_glass {
            too_many("waivers of one app", open + 1, MAX_WAIVERS)?;
        }
        let tier = found.info().tier;
        self.check_words(asked)?;
        // As findings write it.
        let asked = &Waiver { risk: asked.risk.trim().to_string(), ..asked.clone() };
        may_count(asked, tier, listed)?;
        let longest = if asked.break_glass {
            // A token for pipelines is not a person at the keyboard, whoever's name is on it.
            self.may(Right::Structure, Some(app), asked.environment.as_ref().into())?;
            self.may_break_glass(found)?;
            MAX_BREAK_GLASS
        } else {
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
        if asked.break_glass {
            self.glass_is_left(found, asked)?;
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

    /// Whether the glass was not broken for long enough already, in any of the environments that are meant.
    fn glass_is_left(&self, app: &App, asked: &Waiver) -> Result<(), Refusal> {
        let recent: Vec<&Waiver> = app.waivers().filter(|kept| kept.is_recent_glass(self.now)).collect();
        if recent.len() >= MAX_GLASSES {
            let ends =
                recent.into_iter().filter_map(Waiver::glass).map(|(_, until)| until.plus(GLASS_WINDOW));
            return Err(Refusal::GlassSpent { again: ends.min().unwrap_or(self.now) });
        }
        let all = app.environments().map(|record| Some(&record.environment().key)).chain([None]);
        let meant = all.filter(|key| asked.environment.is_none() || asked.environment.as_ref() == *key);
        let spent = meant.filter_map(|environment| {
            Broken::of(app.waivers(), environment).may_break(asked.expires_at, self.now).err()
        });
        spent.max().map_or(Ok(()), |again| Err(Refusal::GlassSpent { again }))
    }

    pub(super) fn approve_waiver(
        &self,
        app: &AppKey,
        id: &WaiverId,
        role: Role,
        listed: Option<&Judged>,
    ) -> Result<Decided, Refusal> {
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
        let asked = Hands { actor: &waiver.requested_by, token: waiver.token.as_ref() };
        if asked.are_of(self.hands(), self.snapshot) {
            return Err(Refusal::OwnApproval);
        }
        let needed = self.snapshot.policy().of(found.info().tier).waivers.approver;
        if role != needed || !self.snapshot.has_role(&self.caller.actor, role, found) {
            return Err(Refusal::RoleNeeded { role: needed });
        }
        // The app may matter more, or a fix may be known, since it was asked for.
        may_count(waiver, found.info().tier, listed)?;
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

/// Whether a waiver can count for anything, by what is known of what it is for; else why not, and what to do instead.
fn may_count(waiver: &Waiver, tier: Tier, listed: Option<&Judged>) -> Result<(), Refusal> {
    let is_it = |listed: &&Judged| {
        let names = core::iter::once(&listed.finding.fingerprint).chain(&listed.also);
        names.into_iter().any(|name| Some(*name) == waiver.fingerprint)
    };
    let named = listed.filter(is_it);
    let found = named.map(|listed| Found { finding: &listed.finding, hard_stop: listed.hard_stop });
    let Some(barred) = waiver.barred(tier, found) else { return Ok(()) };
    let (check, risk) = (waiver.check, waiver.risk.trim());
    let glass = format!("in an emergency, `tidegate waiver break-glass --check {check} --reason TEXT`");
    Err(match barred {
        Barred::Check => {
            invalid("check", format!("`{check}` is never waived in tier {}: mend what it found", tier as u8))
        }
        Barred::Whole => {
            let problem = format!("`{check}` is judged as a whole, not by single findings: mend it; {glass}");
            invalid("check", problem)
        }
        Barred::NoFinding => {
            let problem =
                "a waiver is for one finding: give its fingerprint, as `tidegate gate explain` shows it";
            invalid("fingerprint", problem)
        }
        Barred::HardStop => {
            invalid("fingerprint", format!("`{risk}` is never waived, in no tier and by nobody: mend it"))
        }
        Barred::Mended { fix } => {
            let problem = format!(
                "`{risk}` can be mended, and a waiver for it would not count: {fix}; then ask the gate again; {glass}"
            );
            invalid("fingerprint", problem)
        }
        Barred::Risk { rule } => {
            invalid("risk", format!("the risk of this finding is called `{rule}`: take it by that name"))
        }
    })
}
