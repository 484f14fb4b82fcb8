//! Scheduled steps that the gate bars: they wait for it, and lapse.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Case, Decided, Refusal};
use crate::change::{Change, Command};
use crate::flag::FlagState;
use crate::ids::{ChannelName, EnvKey};
use crate::runbook::{Act, Cause, OWNER};
use crate::sli::guardrail::Action;
use crate::snapshot::FlagView;

impl Case<'_> {
    /// The gate bars a step that is due: the app's owner is told once of each schedule, and the step waits.
    pub(super) fn step_waits(
        &self,
        view: FlagView<'_>,
        environment: &EnvKey,
        state: &FlagState,
        barred: Refusal,
    ) -> Result<Decided, Refusal> {
        let info = view.app().info();
        let (flag, measured) = (&view.record().flag().key, state.targeting_revision);
        let told = view.app().runbook().is_some_and(|runbook| {
            let place = (Some(flag), Some(environment));
            runbook.acted(place, Some(measured), Cause::StepWaits, None, (self.now, None)).is_some()
        });
        let Ok(owner) = ChannelName::new(OWNER) else { return Err(barred) };
        if told {
            return Err(barred);
        }
        let act = Act {
            app: info.key.clone(),
            flag: Some(flag.clone()),
            environment: Some(environment.clone()),
            guardrail: None,
            variant: None,
            cause: Cause::StepWaits,
            measured: Some(measured),
            evidence: None,
            lowered: Vec::new(),
            effects: vec![Action::Notify(owner)],
            release: None,
        };
        Ok(Decided::Change(Change::GuardrailActed { act: Box::new(act) }))
    }

    /// Why an entry of a step is there: where it waits, for what, and until when.
    pub(super) fn reason_of_step(&self, step: &Command, decided: &Decided) -> String {
        let told = || {
            let Command::ApplySchedule { app, flag, environment, .. } = step else { return None };
            let Decided::Change(Change::GuardrailActed { .. }) = decided else { return None };
            let barred = self.gate_stands(app, environment).err()?;
            let view = self.snapshot.flag(app, flag)?;
            let lapses = view.record().state(environment)?.state().targeting.step_lapses_at(self.now)?;
            Some(format!(
                "a scheduled step of `{flag}` waits: {barred}; it is made once that is so, and lapses at {lapses}"
            ))
        };
        told().unwrap_or_else(|| self.reason.into())
    }
}
