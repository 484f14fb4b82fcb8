//! All that happened, as nobody inside the simulated world knows it.

use std::collections::BTreeMap;

use rollout_rules::decide::{Refusal, Request};
use rollout_rules::ids::{AppKey, Digest, EnvKey, FlagKey, Revision};
use rollout_rules::runbook::{Cause, EffectId};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::time::UnixMs;

use super::cast::Who;
use super::mutation::Law;

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) who: Who,
    /// As it was asked; what a mutated node makes of it is not in here.
    pub(super) request: Request,
    /// The hash of the proposal that the caller was shown.
    pub(super) shown: Option<Digest>,
    pub(super) answer: Option<Answer>,
    /// The harm that automation acts on.
    pub(super) breach: Option<usize>,
    /// What a guardrail found, that this act answers.
    pub(super) harm: Option<usize>,
    /// The request that this one repeats.
    pub(super) repeats: Option<usize>,
    /// The node that has it.
    pub(super) node: Option<usize>,
}

/// What a caller is told.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Done {
        revision: Revision,
        already: bool,
        durable: bool,
    },
    Refused(Refusal),
    Unavailable,
    Busy,
    /// It may or may not have been done.
    Unknown,
}

/// Harm that every node's evaluator sees at one revision of a flag.
#[derive(Clone, Debug)]
pub(super) struct Breach {
    pub(super) app: AppKey,
    pub(super) flag: FlagKey,
    pub(super) environment: EnvKey,
    pub(super) revision: Revision,
}

/// What a rule found, on every node that looks: it holds for a flag as one of its revisions serves it, or for a
/// whole app.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Harm {
    pub(super) app: AppKey,
    /// The flag and the revision that was measured; none: the app itself.
    pub(super) measured: Option<(FlagKey, Revision)>,
    pub(super) environment: EnvKey,
    pub(super) cause: Cause,
    pub(super) rule: Guardrail,
}

/// That a node called for what an act asks to be done outside.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: EffectId,
    /// The idempotency key that the receiver was shown.
    pub(super) key: String,
    /// Whether the receiver did it; its answer may have been lost.
    pub(super) done: bool,
    /// How many requests there were before.
    pub(super) after_asks: usize,
}

/// That a node ran an effect.
#[derive(Clone, Debug)]
pub(super) struct EffectRun {
    pub(super) node: usize,
    pub(super) request: Revision,
    /// The claim it runs under; none: it just ran it.
    pub(super) claim: Option<(Revision, UnixMs)>,
    /// The harm that it is to mend.
    pub(super) breach: Option<usize>,
}

/// A law that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How.
    pub what: String,
}

/// What the laws are checked on.
#[derive(Default)]
pub(super) struct History {
    pub(super) asks: Vec<Ask>,
    pub(super) breaches: Vec<Breach>,
    pub(super) runs: Vec<EffectRun>,
    pub(super) harms: Vec<Harm>,
    pub(super) calls: Vec<Call>,
    /// Kills that a node said are in effect, before the log had them.
    pub(super) promises: Vec<usize>,
    pub(super) violations: Vec<Violation>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) trace: Option<Vec<String>>,
}

impl History {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn violate(&mut self, law: Law, what: String) {
        self.note(|| format!("!! {law}: {what}"));
        if self.violations.len() < 100 {
            self.violations.push(Violation { law, what });
        }
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// The first of the requests that this one repeats.
    pub(super) fn origin(&self, mut ask: usize) -> usize {
        while let Some(earlier) = self.asks[ask].repeats {
            ask = earlier;
        }
        ask
    }
}
