//! Everything that is watched of one app in one environment, folded from its slots: what its flags' variants do, and what
//! the app itself does. This is what an evaluator holds.
//!
//! It says what is new ([`News`]) and proposes what to do; it does nothing. Whoever does keeps count: one action for a
//! flag, revision and cause, so many for an app and day. The fold holds integers only and reads no clock: the same slots
//! make the same news to the bit, and a fold that was stored goes on where it was.

mod releases;
mod slots;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::advice::Needed;
use super::app_rule::{AppRule, AppSeen};
use super::burn::ErrorBudget;
use super::comparison::Rate;
use super::guardrail::Guardrail;
use super::lately::{Lately, RECENT_SLOTS, Sums};
use super::news::{Measurand, News, Page, Proposed};
use super::parked::Parked;
use super::running::Side;
use super::slot::Slot;
use super::spend::{Estimate, Spend, month_of};
use super::standing::{Held, Standing};
use super::verdict::{Reason, State, Verdict};
use super::watch::{Peers, Plan, Watch};
use super::week::Week;
use crate::ids::{FlagKey, SplitId};
use crate::release::ArtifactDigest;

pub(super) use self::slots::most_asked;
pub use self::slots::{AppSlot, SplitSlot};

/// Most splits of an app that are watched at once; further ones are not.
pub const MAX_SPLITS: usize = 1_000;
/// Most rules of an app itself; further ones are not judged.
pub const MAX_APP_RULES: usize = 16;
/// Flags that alarm within so many slots do so at the same time: a minute.
const SAME_TIME_SLOTS: u32 = 6;
/// After so many slots in which nothing was wrong an incident is over, and the next is paged anew: an hour.
const INCIDENT_SLOTS: u32 = 360;
/// What a month is going to cost is estimated every so many slots: a minute.
const ESTIMATED_SLOTS: u32 = 6;
const SLOTS_OF_AN_HOUR: u32 = 360;

/// What an app promises and may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// The part of requests that should be good, in millionths; absent: nothing is promised.
    pub good_millionths: Option<u64>,
    /// What a month may cost, in millionths of the app's currency.
    pub budget_micros: Option<u64>,
}

/// The watch over an app in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppWatch {
    began: Slot,
    next: Slot,
    objectives: Objectives,
    splits: Vec<Split>,
    rules: Vec<AppRule>,
    lately: Lately,
    week: Week,
    /// The hour, and what was usual at it.
    hour: u32,
    usual: Option<Sums>,
    errors: Option<ErrorBudget>,
    spend: Spend,
    estimate: Estimate,
    /// What the month costs in other environments.
    #[serde(default)]
    elsewhere: Estimate,
    silent: u32,
    /// When something was last wrong that somebody was woken for.
    incident: Option<Slot>,
    /// What runs, if that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact: Option<ArtifactDigest>,
    #[serde(default, skip_serializing_if = "Parked::is_empty")]
    parked: Parked,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Split {
    flag: FlagKey,
    split: SplitId,
    rules: Vec<Guardrail>,
    watch: Watch,
    alarmed: Option<Slot>,
}

impl AppWatch {
    /// Begins to watch an app at a slot, with the rules of the app itself.
    pub fn new(mut rules: Vec<Guardrail>, objectives: Objectives, began: Slot) -> AppWatch {
        rules.truncate(MAX_APP_RULES);
        AppWatch {
            began,
            next: began,
            objectives,
            splits: Vec::new(),
            rules: rules.into_iter().map(|rule| AppRule::new(rule, began)).collect(),
            lately: Lately::default(),
            week: Week::default(),
            hour: 0,
            usual: None,
            errors: objectives.good_millionths.map(ErrorBudget::new),
            spend: Spend::default(),
            estimate: Estimate::default(),
            elsewhere: Estimate::default(),
            silent: 0,
            incident: None,
            artifact: None,
            parked: Parked::default(),
        }
    }

    /// The rules of the app itself and what it promises, from now on. Of a rule that stays it is known what was known; of a
    /// promise that is another nothing is.
    pub(super) fn obey(&mut self, rules: &[Guardrail], objectives: Objectives) {
        let mut before = core::mem::take(&mut self.rules);
        for rule in rules.iter().take(MAX_APP_RULES) {
            let known = before.iter().position(|known| known.rule == *rule);
            let known = known.map(|at| before.swap_remove(at));
            self.rules.push(known.unwrap_or_else(|| AppRule::new(rule.clone(), self.next)));
        }
        if self.objectives.budget_micros != objectives.budget_micros {
            // Against another budget nothing was done yet.
            self.rules.iter_mut().for_each(|rule| rule.arm(true));
        }
        if self.objectives.good_millionths != objectives.good_millionths {
            self.errors = objectives.good_millionths.map(ErrorBudget::new);
        }
        self.objectives = objectives;
    }

    /// What was usual at this hour in the days before, if that is known.
    pub(super) fn usual(&self) -> Option<&Sums> {
        self.usual.as_ref()
    }

    /// Since when a split is watched.
    pub fn began(&self, flag: &FlagKey, split: &SplitId) -> Option<Slot> {
        Some(self.splits[self.place(flag, split).ok()?].watch.began())
    }

    /// The first slot that was not folded in.
    pub fn next(&self) -> Slot {
        self.next
    }

    /// What the app promises and may cost.
    pub fn objectives(&self) -> Objectives {
        self.objectives
    }

    /// What the comparison of a split still takes on average, if a variant does twice as badly as the control.
    pub fn needed(&self, flag: &FlagKey, split: &SplitId) -> Option<Needed> {
        self.splits[self.place(flag, split).ok()?].watch.needed()
    }

    /// Begins to watch a split, with the rules of its flag; one that is watched already is begun anew. With its first plan it goes
    /// on where it was, if the same was asked before while the same artifact ran. `usual` is what the flag's
    /// requests were like at these hours before, for relative bounds without a control.
    pub fn watch(&mut self, flag: FlagKey, split: SplitId, rules: Vec<Guardrail>, usual: Option<Sums>) {
        let tests = rules.iter().map(Guardrail::when).collect();
        let watch = Watch::new(tests, usual, self.next);
        let new = Split { flag, split, rules, watch, alarmed: None };
        match self.place(&new.flag, &new.split) {
            Ok(at) => {
                let split = &mut self.splits[at];
                split.begin(new.watch, self.artifact, &mut self.parked);
                split.rules = new.rules;
            }
            Err(at) if self.splits.len() < MAX_SPLITS => self.splits.insert(at, new),
            Err(_) => {}
        }
    }

    /// The rules of a split do something else when they hold.
    pub(super) fn act_by(&mut self, flag: &FlagKey, split: &SplitId, rules: Vec<Guardrail>) {
        if let Ok(at) = self.place(flag, split) {
            self.splits[at].rules = rules;
        }
    }

    /// Ends the watch over a split.
    pub fn unwatch(&mut self, flag: &FlagKey, split: &SplitId) {
        if let Ok(at) = self.place(flag, split) {
            let Split { flag, split, watch, .. } = self.splits.remove(at);
            self.parked.put(self.artifact, &flag, &split, watch);
        }
    }

    /// Ends the watch over a split and forgets what was found of it while the current artifact ran.
    pub(super) fn forget(&mut self, flag: &FlagKey, split: &SplitId) {
        if let Ok(at) = self.place(flag, split) {
            self.splits.remove(at);
        }
        self.parked.take(self.artifact, flag, split);
    }

    /// The watch over a split, to say what is served.
    pub fn plan(&mut self, flag: &FlagKey, split: &SplitId, plan: Plan) {
        if let Ok(at) = self.place(flag, split) {
            let begins = self.splits[at].watch.revision().is_none();
            self.splits[at].watch.plan(plan);
            if begins {
                self.splits[at].inherit(self.artifact, &mut self.parked);
            }
        }
    }

    /// Says whether a rollout of the split runs. Written thresholds act while it does and for a day after the share was raised
    /// last; afterwards they hold and notify.
    pub fn rollout_runs(&mut self, flag: &FlagKey, split: &SplitId, runs: bool) {
        if let Ok(at) = self.place(flag, split) {
            self.splits[at].watch.rollout_runs(runs);
        }
    }

    fn place(&self, flag: &FlagKey, split: &SplitId) -> Result<usize, usize> {
        self.splits.binary_search_by(|known| (&known.flag, &known.split).cmp(&(flag, split)))
    }

    /// Folds a slot in and says what is new then. Slots come in order; one that comes again is passed over, and for those that
    /// are missing nothing was reported.
    pub fn step(&mut self, entry: &AppSlot) -> Vec<News> {
        if entry.slot < self.next {
            return Vec::new();
        }
        let missing = entry.slot.since(self.next);
        for _ in 0..missing.min(u32::try_from(RECENT_SLOTS).unwrap_or(60)) {
            self.lately.push([]);
        }
        if let Some(errors) = &mut self.errors {
            errors.pass(missing);
        }
        self.next = entry.slot.plus(1);
        self.silent =
            if entry.sources == 0 { self.silent.saturating_add(missing).saturating_add(1) } else { 0 };
        let mut news = Vec::new();
        let own = self.step_own(entry, &mut news);
        let common = self.step_splits(entry, &mut news);
        if let Some(page) = own.or(common) {
            let new = self.incident.is_none_or(|last| entry.slot.since(last) > INCIDENT_SLOTS);
            self.incident = Some(entry.slot);
            if new {
                news.push(News::Page(page));
            }
        }
        news
    }

    /// All splits are folded before any is judged: who alarms at the same time is known then.
    fn step_splits(&mut self, entry: &AppSlot, news: &mut Vec<News>) -> Option<Page> {
        let nothing = Vec::new();
        for split in &mut self.splits {
            let mine = |told: &SplitSlot| (&told.flag, &told.split).cmp(&(&split.flag, &split.split));
            let parts = entry.splits.binary_search_by(mine).map_or(&nothing, |at| &entry.splits[at].parts);
            split.watch.take(entry.slot, entry.sources, parts);
            // What goes on where it was alarms for what was seen at another time.
            if split.watch.alarms() && !split.watch.resumed_within(SAME_TIME_SLOTS) {
                split.alarmed = Some(entry.slot);
            }
        }
        let at_once = |split: &&Split| split.alarmed.is_some_and(|at| entry.slot.since(at) < SAME_TIME_SLOTS);
        let count = |splits: usize| u32::try_from(splits).unwrap_or(u32::MAX);
        let alarmed = count(self.splits.iter().filter(at_once).count());
        // While the app itself does badly no variant is to blame, however many of them there are.
        let own = self.rules.iter().any(AppRule::blames_the_app);
        let peers = if own { Peers::COMMON } else { Peers { watched: count(self.splits.len()), alarmed } };
        let mut common = false;
        for split in &mut self.splits {
            for verdict in split.watch.tell(peers) {
                common |= verdict.state == State::CommonMode;
                let act = split.proposed(&verdict);
                news.push(News::Known { flag: split.flag.clone(), split: split.split.clone(), verdict });
                news.extend(act.map(News::Act));
            }
        }
        common.then_some(Page::CommonMode { alarmed })
    }

    /// What the app itself does.
    fn step_own(&mut self, entry: &AppSlot, news: &mut Vec<News>) -> Option<Page> {
        let all = entry.whole();
        self.spend.add(all.cost_micros, entry.slot.starts_at());
        let (slots, at) = (entry.slot.since(self.began), entry.slot.ends_at());
        if slots.is_multiple_of(ESTIMATED_SLOTS) {
            self.estimate = self.spend.estimate(at);
        }
        let hour = entry.slot.0 / SLOTS_OF_AN_HOUR;
        if self.hour != hour {
            // An hour into another month all environments have said what it costs.
            let month = |hour: u32| month_of(Slot(hour.saturating_sub(1) * SLOTS_OF_AN_HOUR).starts_at());
            if month(self.hour) != month(hour) {
                self.rules.iter_mut().for_each(|rule| rule.arm(true));
            }
            self.hour = hour;
            self.usual = self.week.usual(entry.slot);
            let usual = &self.usual;
            self.splits.iter_mut().for_each(|split| split.watch.usual(usual.clone()));
        }
        self.week.add(entry.slot, &all);
        let seen = AppSeen {
            slot: entry.slot,
            outcomes: &all,
            gauges: entry.gauges,
            before: Side { variant: &self.lately, control: None, now: entry.slot },
            expected_micros: self.estimate.plus(self.elsewhere).expected_micros,
            budget_micros: self.objectives.budget_micros,
        };
        self.rules.iter_mut().for_each(|rule| rule.count(&seen));
        self.lately.push([&all]);
        let side = Side { variant: &self.lately, control: None, now: self.next };
        let mut acts = false;
        for (at, rule) in (0..).zip(&mut self.rules) {
            let before = rule.state;
            let act = rule.end(&side, self.usual.as_ref());
            if rule.state != before {
                news.push(News::App { rule: at, state: rule.state, reason: rule.reason(&side) });
            }
            if act {
                acts |= rule.blames_the_app();
                let (sli, reason) = (rule.sli(), rule.reason(&side));
                let (slot, rule) = (entry.slot, rule.rule.clone());
                news.push(News::Act(Proposed { slot, measured: None, sli, rule, reason }));
            }
        }
        let burning = self.errors.as_mut().and_then(|errors| {
            errors.push(Rate { requests: all.requests, bad: all.bad_requests });
            errors.broken()
        });
        if acts { Some(Page::App) } else { burning.map(Page::Burning) }
    }

    /// Whether the rollout of a split may go on, once its stage was held for long enough.
    pub fn standing(&self, flag: &FlagKey, split: &SplitId) -> Standing {
        let Ok(at) = self.place(flag, split) else { return Standing::Held(Held::Unwatched) };
        let own = self.rules.iter().any(AppRule::holds_rollouts);
        match self.splits[at].watch.standing() {
            Standing::Held(held) => Standing::Held(held),
            _ if own => Standing::Held(Held::App),
            standing => standing,
        }
    }

    /// What is known of each variant of each split that is watched, as of the last slot.
    pub fn verdicts(&self) -> impl Iterator<Item = (&FlagKey, &SplitId, Verdict)> {
        self.splits
            .iter()
            .flat_map(|split| split.watch.verdicts().map(|verdict| (&split.flag, &split.split, verdict)))
    }

    /// The rules that a split is watched by, in the order in which verdicts name them; none if it is not watched.
    pub fn rules(&self, flag: &FlagKey, split: &SplitId) -> &[Guardrail] {
        self.place(flag, split).map_or(&[], |at| &self.splits[at].rules)
    }

    /// What each rule of the app itself is held to be, in their order, with the numbers.
    pub fn own(&self) -> impl Iterator<Item = (State, Reason)> {
        let side = Side { variant: &self.lately, control: None, now: self.next };
        self.rules.iter().map(move |rule| (rule.state, rule.reason(&side)))
    }

    /// What each split was told: its rules, who serves what, and whether its rollout runs.
    pub(super) fn told(&self) -> impl Iterator<Item = (&FlagKey, &SplitId, &[Guardrail], (&[Plan], bool))> {
        self.splits.iter().map(|split| (&split.flag, &split.split, &split.rules[..], split.watch.told()))
    }

    /// The rules of the app itself.
    pub(super) fn own_rules(&self) -> impl Iterator<Item = &Guardrail> {
        self.rules.iter().map(|rule| &rule.rule)
    }

    /// The errors that the objective allows and what was used of them, if something is promised.
    pub fn errors(&self) -> Option<&ErrorBudget> {
        self.errors.as_ref()
    }

    /// What the month costs here, as of the last minute.
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// What it costs in the app's other environments.
    pub fn elsewhere(&self) -> Estimate {
        self.elsewhere
    }

    pub(super) fn spent_elsewhere(&mut self, spend: Estimate) {
        self.elsewhere = spend;
    }

    /// What the app did in the last hour.
    pub fn lately(&self) -> &Lately {
        &self.lately
    }

    /// For how many slots in a row no process has reported anything.
    pub fn silent_slots(&self) -> u32 {
        self.silent
    }
}

impl Split {
    fn proposed(&self, verdict: &Verdict) -> Option<Proposed> {
        if verdict.state != State::Regressed {
            return None;
        }
        let rule = self.rules.get(usize::from(verdict.test?))?.clone();
        let measured = Measurand {
            flag: self.flag.clone(),
            split: self.split.clone(),
            variant: verdict.variant.clone(),
            revision: self.watch.revision()?,
        };
        let sli = rule.when().sli();
        let (slot, reason) = (verdict.slot, verdict.reason.clone());
        Some(Proposed { slot, measured: Some(measured), sli, rule, reason })
    }
}
