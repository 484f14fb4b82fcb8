//! Changing a flag's definition. What is served changes with it, so it may raise.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::authority::{Direction, Envs, Right};
use super::flags::NAMED_USERS;
use super::validate::{check_flag, check_variants};
use super::{Case, Decided, Refusal, What};
use crate::change::{BrowserMark, Change, Command};
use crate::flag::{BrowserForm, Flag};
use crate::ids::{AppKey, FlagKey, VariantKey};
use crate::snapshot::FlagView;

impl<'a> Case<'a> {
    pub(super) fn update_flag(
        &self,
        app: &AppKey,
        key: &FlagKey,
        command: &Command,
    ) -> Result<Decided, Refusal> {
        let Command::UpdateFlag { variants, off_variant, description, owner, critical, browser, .. } =
            command
        else {
            return Err(Refusal::NotProposable);
        };
        self.may(Right::Flags, Some(app), Envs::All)?;
        let view = self.flag(app, key)?;
        self.not_stale(view)?;
        let before = view.record().flag();
        let mut after = Flag::clone(before);
        if let Some(variants) = variants {
            after.variants.clone_from(variants);
        }
        if let Some(off_variant) = off_variant {
            after.off_variant = off_variant.clone();
        }
        if let Some(description) = description {
            after.description.clone_from(description);
        }
        if let Some(owner) = owner {
            after.owner.clone_from(owner);
        }
        after.critical = critical.unwrap_or(after.critical);
        after.browser = browser.map_or(after.browser, BrowserMark::form);
        if after == **before {
            return Ok(self.nothing_left(view));
        }
        self.revision_named(view, Direction::Neutral)?;
        check_flag(&after)?;
        self.check_users(view, &after)?;
        // Pages that get it no more serve what stands in their code, which is not what it was killed or held at.
        let is_unmarked = before.browser.is_some() && after.browser.is_none();
        for (environment, record) in view.record().states() {
            let is_stopped = || record.state().hold.is_some() || self.killed(view, environment).is_some();
            let direction = match served_change(before, &after) {
                ServedChange::Off => Direction::Raise,
                _ if is_unmarked && is_stopped() => Direction::Raise,
                ServedChange::On if self.is_live(view, environment) => Direction::Raise,
                ServedChange::On | ServedChange::None => Direction::Neutral,
            };
            self.authorise_at(direction, (view.app(), environment), false)?;
        }
        Ok(Decided::Change(Change::FlagUpdated { app: app.clone(), flag: after }))
    }

    /// Variants that a state or another flag names stay.
    fn check_users(&self, view: FlagView<'a>, after: &Flag) -> Result<(), Refusal> {
        for (environment, record) in view.record().states() {
            check_variants(after, &record.state().targeting).map_err(|refusal| match refusal {
                Refusal::Invalid { field, problem } => Refusal::Invalid {
                    field: "variants".into(),
                    problem: format!("environment `{environment}` still uses it: {field}: {problem}"),
                },
                other => other,
            })?;
        }
        let kept: BTreeSet<&VariantKey> = after.variants.iter().map(|variant| &variant.key).collect();
        let names_lost = |user: &FlagKey| {
            let states = view.app().flag(user).into_iter().flat_map(|record| record.states());
            let mut named = states.flat_map(|(_, record)| &record.state().targeting.prerequisites);
            named.any(|it| it.flag == after.key && it.variants.iter().any(|key| !kept.contains(key)))
        };
        let users = view.app().dependents(&after.key).filter(|user| names_lost(user));
        let by: Vec<FlagKey> = users.take(NAMED_USERS).cloned().collect();
        if by.is_empty() {
            return Ok(());
        }
        let app = view.app().info().key.clone();
        Err(Refusal::InUse { what: What::Flag(app, after.key.clone()), by })
    }
}

/// What a new definition changes of what is served.
enum ServedChange {
    /// Nothing.
    None,
    /// What an exposed unit receives.
    On,
    /// What everybody receives while the flag is off.
    Off,
}

fn served_change(before: &Flag, after: &Flag) -> ServedChange {
    let value = |flag: &Flag, key: &VariantKey| {
        flag.variants.iter().find(|variant| variant.key == *key).map(|variant| variant.value.clone())
    };
    if before.off_variant != after.off_variant
        || value(before, &before.off_variant) != value(after, &after.off_variant)
    {
        return ServedChange::Off;
    }
    let same =
        before.variants.iter().all(|variant| value(after, &variant.key).as_ref() == Some(&variant.value));
    // A page that got nothing, and served what stands in its code, gets the flag from now on; and rules tell everyone what
    // values do not.
    let opens = match after.browser {
        None => false,
        Some(BrowserForm::Values) => before.browser.is_none(),
        Some(BrowserForm::Rules) => before.browser != Some(BrowserForm::Rules),
    };
    let same = same && !opens;
    if same { ServedChange::None } else { ServedChange::On }
}
