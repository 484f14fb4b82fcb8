//! The watch over one app in one environment: what is told to it, and what it asks for.

use std::io;
use std::path::Path;

use rollout_rules::ids::{AppKey, EnvKey, EvidenceId, FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::runbook::MAX_AUTOMATIC_A_DAY;
use rollout_rules::sli::{
    AppSlot, AppWatch, Input, News, Objectives, Part, Proposed, Recording, Slot, SlowUnits, Standing,
    UnitList,
};
use rollout_rules::time::{DurationMs, UnixMs};
use serde::{Deserialize, Serialize};

use super::asks::{self, Ask};
use super::evidence::{self, Evidence};
use super::kept::{Base, Kept};
use super::told::Told;
use super::wanted::{Wanted, WantedSplit};

/// Every so many slots what is known is kept anew, and the inputs before are forgotten: half an hour.
const REBASED_SLOTS: u32 = 180;
/// Most acts that wait for the log, or for a flag that has just changed.
const MAX_PENDING: usize = 64;
/// Most people to be told of something that wait for the log.
const MAX_NOTICES: usize = 64;
/// Most pieces of evidence that are stored of one slot: of more acts automation does not do more anyway.
const MAX_STORED: usize = MAX_AUTOMATIC_A_DAY;
/// Clients have so long to hear of an act, before requests of what it took back are a reason to wake somebody.
const HEARD: DurationMs = DurationMs(30_000);
/// For so long after an act it is looked whether anything of it is still served.
const LOOKED_AFTER: DurationMs = DurationMs(600_000);

/// What a rule says should be done, until it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    pub(super) proposed: Proposed,
    pub(super) evidence: Option<EvidenceId>,
}

/// What was taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    pub(super) flag: FlagKey,
    pub(super) split: SplitId,
    pub(super) variant: VariantKey,
    /// The entry that took it back: what the flag serves since is another matter.
    pub(super) taken_back: Revision,
    pub(super) at: UnixMs,
}

/// What is still served although it was taken back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StillServed {
    pub(super) done: Done,
    pub(super) requests: u64,
}

/// One app environment that is watched.
pub(super) struct Watching {
    pub(super) app: AppKey,
    pub(super) environment: EnvKey,
    watch: AppWatch,
    told: Told,
    pub(super) pending: Vec<Pending>,
    done: Vec<Done>,
    /// Who is to be told what, until the log takes it.
    notices: Vec<Ask>,
    kept: Option<Kept>,
    /// What is known is kept anew in slots of this place among [`REBASED_SLOTS`], so that not all apps are at once.
    place: u32,
    /// Something has to outlive a crash at once.
    keeps_now: bool,
}

impl Watching {
    /// Begins to watch with a slot.
    pub(super) fn new(folder: Option<&Path>, app: &AppKey, environment: &EnvKey, began: Slot) -> Watching {
        let kept = folder.map(|folder| Kept::new(folder, app, environment));
        let mut new = Watching {
            app: app.clone(),
            environment: environment.clone(),
            watch: AppWatch::new(Vec::new(), Objectives::default(), began),
            told: Told::default(),
            pending: Vec::new(),
            done: Vec::new(),
            notices: Vec::new(),
            kept,
            place: place_of(app, environment),
            keeps_now: false,
        };
        new.rebase();
        new
    }

    /// Goes on where one was.
    pub(super) fn restored(kept: Kept, base: Base, inputs: &[Input]) -> Watching {
        let mut told = Told::default();
        base.told.iter().for_each(|input| told.note(input));
        let mut restored = Watching {
            place: place_of(&base.app, &base.environment),
            app: base.app,
            environment: base.environment,
            watch: base.watch,
            told,
            pending: base.pending,
            done: base.done,
            notices: base.notices,
            kept: Some(kept),
            keeps_now: false,
        };
        for input in inputs {
            let news = restored.watch.fold(input);
            restored.note(input);
            // It may have been asked for already; then it is found done.
            restored.propose(&news, None);
            restored.tell(asks::notices(&restored, &news));
        }
        restored
    }

    /// The first slot that it was not told of.
    pub(super) fn next(&self) -> Slot {
        self.watch.next()
    }

    pub(super) fn watch(&self) -> &AppWatch {
        &self.watch
    }

    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    /// Who is to be told what.
    pub(super) fn notices(&self) -> &[Ask] {
        &self.notices
    }

    /// Somebody is to be told something.
    pub(super) fn tell(&mut self, asks: impl IntoIterator<Item = Ask>) {
        for ask in asks {
            if self.notices.len() < MAX_NOTICES {
                self.notices.push(ask);
            } else {
                tracing::error!(app = %self.app, environment = %self.environment, reason = ask.reason,
                    "too many people are to be told of something: this is told to nobody");
            }
        }
    }

    /// Somebody was told, or nobody will be.
    pub(super) fn was_told(&mut self, ask: &Ask) {
        self.notices.retain(|one| one != ask);
    }

    /// Tells what is new to be watched, then the slot. Gives what is still served although it was taken back.
    pub(super) fn step(
        &mut self,
        wanted: &Wanted,
        mut slot: AppSlot,
        store: Option<&evidence::Store>,
    ) -> Vec<StillServed> {
        if slot.slot < self.watch.next() {
            return Vec::new();
        }
        if self.kept.as_ref().is_some_and(|kept| !kept.is_whole()) {
            self.rebase();
        }
        let at = slot.slot;
        let mut inputs = self.told.missing(wanted);
        let still_served = self.look_after(&slot);
        leave_out(&mut slot, wanted);
        inputs.push(Input::Slot(slot));
        let mut news = Vec::new();
        for input in &inputs {
            news = self.watch.fold(input);
            self.note(input);
        }
        if let Some(kept) = &mut self.kept
            && let Err(error) = kept.append(&inputs)
        {
            tracing::error!(app = %self.app, environment = %self.environment,
                "what is known of an app is not kept: {error}");
        }
        self.propose(&news, store);
        // Before what is known is kept anew: what it was found from is forgotten then.
        let alarms: Vec<Ask> = still_served.iter().filter_map(|still| asks::alarm(self, still)).collect();
        self.tell(asks::notices(self, &news).into_iter().chain(alarms));
        let is_long = self.kept.as_ref().is_some_and(Kept::is_long);
        if std::mem::take(&mut self.keeps_now) || is_long || at.0 % REBASED_SLOTS == self.place {
            self.rebase();
        }
        still_served
    }

    /// A split is watched anew from the next slot on: what was found was of something that changed meanwhile.
    pub(super) fn begin_anew(&mut self, flag: &FlagKey, split: &SplitId) {
        self.told.forget(flag, split);
    }

    /// What was found of a split is not held against what it serves after it was turned off, or begun anew; nor what was found of
    /// one release against another.
    fn note(&mut self, input: &Input) {
        self.told.note(input);
        if let Input::Released { .. } = input {
            self.pending.clear();
        }
        if let Input::Watch { flag, split, .. }
        | Input::Unwatch { flag, split }
        | Input::Forget { flag, split } = input
        {
            self.pending.retain(|pending| {
                let measured = pending.proposed.measured.as_ref();
                measured.is_none_or(|measured| measured.flag != *flag || measured.split != *split)
            });
        }
    }

    /// Whether a rollout of a split may go on.
    pub(super) fn standing(&self, flag: &FlagKey, split: &SplitId) -> Standing {
        self.watch.standing(flag, split)
    }

    /// Something was taken back: it is looked whether it is.
    pub(super) fn look_for(&mut self, done: Done) {
        self.done.push(done);
        self.keeps_now = true;
    }

    fn look_after(&mut self, slot: &AppSlot) -> Vec<StillServed> {
        let begins = slot.slot.starts_at();
        self.done.retain(|done| begins <= done.at.plus(LOOKED_AFTER));
        let requests = |done: &Done| {
            let splits = slot.splits.iter().filter(|told| told.flag == done.flag && told.split == done.split);
            // Of what was measured, or of a stage that came before it was taken back; not what somebody turned on since.
            let is_it = |part: &&Part| part.variant == done.variant && part.revision < done.taken_back;
            let parts = splits.flat_map(|told| &told.parts).filter(is_it);
            parts.fold(0, |sum: u64, part| sum.saturating_add(part.outcomes.requests))
        };
        // Told of once.
        let is_due = |done: &mut Done| begins >= done.at.plus(HEARD) && requests(done) > 0;
        let found: Vec<Done> = self.done.extract_if(.., is_due).collect();
        found.into_iter().map(|done| StillServed { requests: requests(&done), done }).collect()
    }

    fn propose(&mut self, news: &[News], store: Option<&evidence::Store>) {
        let acts = news.iter().filter_map(|one| match one {
            News::Act(proposed) => Some(proposed),
            _ => None,
        });
        // What they were found from is the same for all.
        let mut recording = None;
        for (nth, proposed) in acts.enumerate() {
            if self.pending.len() >= MAX_PENDING {
                tracing::error!(app = %self.app, environment = %self.environment,
                    "too much waits to be done: what a rule asks for is left out");
                return;
            }
            let evidence = store.filter(|_| nth < MAX_STORED).and_then(|store| {
                let read = recording.take().map_or_else(|| self.recorded(), |read| Some(Ok(read)))?;
                let stored = read.and_then(|read| self.stored(store, news, proposed, read));
                match stored {
                    Ok((id, read)) => {
                        recording = Some(read);
                        Some(id)
                    }
                    // What does harm is taken back all the same.
                    Err(error) => {
                        tracing::error!(app = %self.app, "evidence is not kept: {error}");
                        None
                    }
                }
            });
            self.pending.push(Pending { proposed: proposed.clone(), evidence });
        }
    }

    /// What is known, and what it was found from. None: that is not kept whole.
    fn recorded(&self) -> Option<io::Result<Recording>> {
        let kept = self.kept.as_ref().filter(|kept| kept.is_whole())?;
        Some(kept.read().map(|(base, inputs)| Recording { base: base.watch, inputs }))
    }

    /// Stores evidence of an act. Gives back what it was found from.
    fn stored(
        &self,
        store: &evidence::Store,
        news: &[News],
        proposed: &Proposed,
        recording: Recording,
    ) -> io::Result<(EvidenceId, Recording)> {
        let measured = proposed.measured.as_ref();
        let evidence = Evidence { proposed: proposed.clone(), news: news.to_vec(), recording };
        let id = store.put(&evidence, |id| evidence::Summary {
            id,
            at: proposed.slot.ends_at(),
            app: self.app.clone(),
            environment: self.environment.clone(),
            flag: measured.map(|measured| measured.flag.clone()),
            split: measured.map(|measured| measured.split.clone()),
            variant: measured.map(|measured| measured.variant.clone()),
            rule: proposed.rule.to_string(),
            found: proposed.reason.to_string().trim_start_matches(": ").to_owned(),
        })?;
        Ok((id, evidence.recording))
    }

    fn rebase(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        let mut base = Base::new(&self.app, &self.environment, self.watch.clone());
        base.told = self.told.inputs();
        base.pending.clone_from(&self.pending);
        base.done.clone_from(&self.done);
        base.notices.clone_from(&self.notices);
        if let Err(error) = kept.rebase(base) {
            tracing::error!(app = %self.app, environment = %self.environment,
                "what is known of an app is not kept: {error}");
        }
    }

    /// Keeps all that is known, when the server stops in order.
    pub(super) fn close(&mut self) {
        self.rebase();
    }

    /// The app or its environment is gone.
    pub(super) fn forget(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.remove();
        }
    }
}

/// Leaves out who was served and who was slow where nobody compares them. Who was bad counts for the app itself, whatever is
/// watched.
fn leave_out(slot: &mut AppSlot, wanted: &Wanted) {
    for told in &mut slot.splits {
        let place = |one: &WantedSplit| (&one.flag, &one.split).cmp(&(&told.flag, &told.split));
        if wanted.splits.binary_search_by(place).is_err() {
            for part in &mut told.parts {
                part.outcomes.served = UnitList::unknown();
                part.outcomes.slow = SlowUnits::unknown();
            }
        }
    }
}

/// Which of [`REBASED_SLOTS`] places an app environment has.
fn place_of(app: &AppKey, environment: &EnvKey) -> u32 {
    let bytes = app.as_str().bytes().chain(environment.as_str().bytes());
    bytes.fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % REBASED_SLOTS
}
