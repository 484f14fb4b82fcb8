//! From the log to pages, where everyone can read what arrives: of flags that are marked for them, values for the page's
//! context or, where they tell nothing of anybody, rules. Segments, lists, sensitive values and unmarked flags stay here.
//!
//! A page folds its frames as a server does. What is the same for all pages of an environment, kills before all, is made
//! once; only values are found for each.

mod change;
mod guarded;
mod travels;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

pub use self::change::{BrowserChange, browser_change};
pub use self::travels::{KeptBack, Travels, browser_form, travels};
use super::{View, concerns, frame, with_dfas};
use crate::change::Reach;
use crate::context::Context;
use crate::evaluate::{Told, tell};
use crate::feed::{ChangeFrame, Frame, FrameBody, Op, Overlay, Served, ServedFlag, ServedKills};
use crate::flag::{Kill, Serve, Targeting, Variant};
use crate::ids::{AppKey, EnvKey, FlagKey, KillId, LogId, Revision, RuleId, ScheduleId};
use crate::percent::Exposure;
use crate::snapshot::Snapshot;
use crate::time::UnixMs;

/// The pages of one app environment, as things stand.
#[derive(Clone, Copy)]
pub struct Pages<'a> {
    /// The log.
    pub log: &'a LogId,
    /// The app.
    pub app: &'a AppKey,
    /// The environment.
    pub environment: &'a EnvKey,
    /// What the log says.
    pub folded: &'a Snapshot,
    /// The same with kills on top that the log has not taken yet: what answers are found with.
    pub live: &'a Snapshot,
}

impl<'a> Pages<'a> {
    /// How a flag travels to them; `None` if they do not get it.
    pub fn travels(&self, flag: &FlagKey) -> Option<Travels> {
        browser_form(self.folded, self.app, self.environment, flag)
    }

    /// All that a page with this context gets first; `None` if the environment does not exist. `overlays` are the kills
    /// that the log has not taken yet.
    pub fn snapshot(&self, context: &Context, overlays: &[Overlay], now: UnixMs) -> Option<Frame> {
        let view = self.view()?;
        let keys = view.app.flags(None).map(|record| &record.flag().key);
        let flags = keys.filter_map(|key| match self.travels(key)? {
            Travels::Rules => view.rules_for_pages(key, self.log, now),
            Travels::Values { .. } => self.told_flag(key, self.told(key, context, now)?, now),
        });
        let served = Served {
            app: self.app.clone(),
            environment: self.environment.clone(),
            gone: false,
            ends_at: view.ends_at(),
            everything: hashed(self.log, view.everything()),
            app_kills: hashed(self.log, view.app_kills()),
            flags: flags.map(Arc::new).collect(),
            segments: Vec::new(),
            overlays: overlays.iter().filter_map(|overlay| self.overlay_for_pages(overlay)).collect(),
        };
        Some(frame(self.log, self.folded.revision(), FrameBody::Snapshot(served.into())))
    }

    /// What a page with this context is told of a flag. `None` if values of it do not travel.
    pub fn told(&self, flag: &FlagKey, context: &Context, now: UnixMs) -> Option<Told> {
        let Travels::Values { .. } = self.travels(flag)? else { return None };
        let set = self.live.flag_set(self.app, self.environment)?;
        tell(&set, set.environment.flags.get(flag.as_str())?, context, now)
    }

    /// A flag as those pages get it that are told this of it. `None` if it is not served here.
    pub fn told_flag(&self, flag: &FlagKey, told: Told, now: UnixMs) -> Option<ServedFlag> {
        let view = self.view()?;
        let served = view.flag_of(flag)?;
        let serve = told.variant.as_ref().unwrap_or(&served.off_variant);
        let travels = |variant: &&Variant| variant.key == *serve || variant.key == served.off_variant;
        let variants = served.variants.iter().filter(travels).cloned().collect();
        let targeting = Targeting {
            on: served.targeting.on,
            exposure: Exposure::ALL,
            serve: Serve::Variant(serve.clone()),
            targets: Vec::new(),
            rules: Vec::new(),
            prerequisites: Vec::new(),
            schedule: Vec::new(),
        };
        Some(ServedFlag {
            variants,
            targeting,
            kills: hashed(self.log, served.kills),
            told: Some(Arc::new(told)),
            guarded_until: guarded::guarded_until(self.folded, self.app, self.environment, flag, now),
            ..served
        })
    }

    /// Flags of one page, as a change of it.
    pub fn values_frame(&self, flags: Vec<ServedFlag>) -> Frame {
        let ops = flags.into_iter().map(|flag| Op::PutFlag(Arc::new(flag))).collect();
        page_frame(self.log, self.folded.revision(), None, ops)
    }

    /// All of a change for a page with this context in one frame. `None` if it does not concern the page, or the page
    /// needs a snapshot.
    pub fn change_for(&self, change: &BrowserChange, context: &Context, now: UnixMs) -> Option<Frame> {
        let BrowserChange::Ops { shared, values } = change else { return None };
        let told = |key| self.told_flag(key, self.told(key, context, now)?, now);
        let values: Vec<ServedFlag> = values.iter().filter_map(told).collect();
        let mut whole = match shared {
            Some(shared) if values.is_empty() => return Some(shared.clone()),
            // A kill ahead of the log is a frame of its own.
            Some(Frame { body: FrameBody::Overlay(_), .. }) | None if values.is_empty() => return None,
            Some(Frame { body: FrameBody::Change(change), .. }) => change.clone(),
            _ => ChangeFrame { follows: Revision::ZERO, kill_id: None, ops: Vec::new() },
        };
        whole.ops.extend(values.into_iter().map(|flag| Op::PutFlag(Arc::new(flag))));
        Some(frame(self.log, self.folded.revision(), FrameBody::Change(whole)))
    }

    /// What a kill that the log has not taken yet means to the pages. `in_environment`: only there.
    pub fn overlay(&self, overlay: &Overlay, in_environment: Option<&EnvKey>) -> BrowserChange {
        let Some(view) = self.view() else { return BrowserChange::Nothing };
        if !concerns(&overlay.reach, in_environment, self.app, self.environment) {
            return BrowserChange::Nothing;
        }
        let shared = self.overlay_for_pages(overlay);
        let shared =
            shared.map(|overlay| frame(self.log, self.folded.revision(), FrameBody::Overlay(overlay)));
        let values = match &overlay.reach {
            Reach::Flag { flag, .. } => change::told_of_dependents(&view, flag),
            // Whatever depends on what is killed is killed too.
            Reach::Everything | Reach::App { .. } => Default::default(),
        };
        BrowserChange::of(shared, values)
    }

    fn view(&self) -> Option<View<'a>> {
        View::of(self.folded, self.app, self.environment)
    }

    /// A kill as pages may know of it; `None` if they do not get what it kills.
    fn overlay_for_pages(&self, overlay: &Overlay) -> Option<Overlay> {
        if let Reach::Flag { flag, .. } = &overlay.reach {
            self.travels(flag)?;
        }
        Some(Overlay { kill_id: hashed_kill_id(self.log, &overlay.kill_id), ..overlay.clone() })
    }
}

impl View<'_> {
    /// A flag that travels as rules, as all pages get it.
    fn rules_for_pages(&self, key: &FlagKey, log: &LogId, now: UnixMs) -> Option<ServedFlag> {
        let mut served = self.flag_of(key)?;
        forget_names_and_plans(&mut served.targeting);
        let kills = hashed(log, served.kills.clone());
        let (app, environment) = (self.app_key(), self.environment);
        let guarded_until = guarded::guarded_until(self.snapshot, app, environment, key, now);
        Some(ServedFlag { kills, guarded_until, ..with_dfas(served) })
    }
}

/// Takes out what answers do not hang on and what tells of people's plans: the names of rules and scheduled steps become
/// their places, and of the steps only what lowers stays. Splits keep their names, by which outcomes are counted.
fn forget_names_and_plans(targeting: &mut Targeting) {
    for (place, rule) in targeting.rules.iter_mut().enumerate() {
        rule.id = RuleId::new(&format!("r{place}")).expect("a letter and digits are a name");
    }
    let exposure = targeting.exposure;
    targeting.schedule.retain_mut(|step| {
        step.on = step.on.filter(|on| !on);
        step.exposure = step.exposure.filter(|lower| *lower < exposure);
        step.on.is_some() || step.exposure.is_some()
    });
    for (place, step) in targeting.schedule.iter_mut().enumerate() {
        step.id = ScheduleId::new(&format!("s{place}")).expect("a letter and digits are a name");
    }
}

/// A change for pages: they get every frame of a connection, in order.
fn page_frame(log: &LogId, revision: Revision, kill_id: Option<KillId>, ops: Vec<Op>) -> Frame {
    frame(log, revision, FrameBody::Change(ChangeFrame { follows: Revision::ZERO, kill_id, ops }))
}

/// The name by which pages know a kill: people's names for their acts may tell what happened. It is another one in each
/// log, so that no list of likely names, hashed once, serves for all of them.
pub fn hashed_kill_id(log: &LogId, id: &KillId) -> KillId {
    const KEPT: usize = 8;
    let mut hasher = Sha256::new();
    hasher.update(log.as_str());
    hasher.update([0]);
    hasher.update(id.as_str());
    let digest = hasher.finalize();
    let hex = digest.iter().take(KEPT).fold(alloc::string::String::new(), |mut hex, byte| {
        use core::fmt::Write as _;
        write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        hex
    });
    KillId::new(&hex).expect("hexadecimal digits are an id")
}

fn hashed(log: &LogId, kills: ServedKills) -> ServedKills {
    let killed = kills.killed.map(|kill| Kill { id: hashed_kill_id(log, &kill.id), at: kill.at });
    ServedKills { killed, ..kills }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_known_to_pages_by_sixteen_digits_that_do_not_tell_its_name() {
        let id = KillId::new("checkout-leaks-cards").expect("an id");
        let log = |name: &str| LogId::new(name).expect("a log");
        let hashed = hashed_kill_id(&log("main"), &id);
        assert_eq!(hashed.as_str().len(), 16);
        assert_eq!(hashed, hashed_kill_id(&log("main"), &id));
        assert_ne!(hashed, hashed_kill_id(&log("main"), &KillId::new("other").expect("an id")));
        assert_ne!(hashed, hashed_kill_id(&log("other"), &id), "each log has its own names");
    }
}
