//! Whether a change of targeting lowers or raises.

use super::authority::Direction;
use crate::flag::{ScheduledChange, Targeting};
use crate::percent::Exposure;
use crate::time::UnixMs;

/// What stands above the targeting, before and after a change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Above {
    /// Automation holds the flag.
    pub(super) held: bool,
    /// The change ends the hold.
    pub(super) releases: bool,
}

/// The direction of a change from what stands to what would; `None` if nothing changes. Both have no
/// scheduled steps behind them.
pub(super) fn direction(before: &Targeting, after: &Targeting, above: Above) -> Option<Direction> {
    [now_served(before, after, above), later_served(before, after), written(before, after)]
        .into_iter()
        .flatten()
        // What lowers in one part and is neutral in another does more than lower: neutral wins.
        .max()
}

/// What the change does to what is served at once.
fn now_served(before: &Targeting, after: &Targeting, above: Above) -> Option<Direction> {
    if above.releases && after.on {
        return Some(Direction::Raise);
    }
    match (before.on, after.on) {
        (true, false) => Some(Direction::Lower),
        (false, true) if above.held => Some(Direction::Neutral),
        (false, true) => Some(Direction::Raise),
        (true, true) if above.held => (before.exposure != after.exposure).then_some(Direction::Neutral),
        (true, true) if !same_content(before, after) => Some(Direction::Raise),
        (true, true) => match after.exposure.cmp(&before.exposure) {
            core::cmp::Ordering::Less => Some(Direction::Lower),
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater => Some(Direction::Raise),
        },
        (false, false) => (before.exposure != after.exposure).then_some(Direction::Neutral),
    }
}

/// What it does to what scheduled steps will serve.
fn later_served(before: &Targeting, after: &Targeting) -> Option<Direction> {
    let raises_later = raising_steps(after).next().is_some();
    if raises_later && !same_content(before, after) {
        return Some(Direction::Raise);
    }
    let added = |step: &ScheduledChange| !before.schedule.contains(step);
    let raised_before = |step: &ScheduledChange| raising_steps(before).any(|raising| raising == step);
    if raising_steps(after).any(|step| !raised_before(step)) {
        return Some(Direction::Raise);
    }
    let served = after.on || raises_later;
    let steps = after.schedule.iter().filter_map(|step| step.exposure);
    let highest = steps.fold(after.exposure, Exposure::max);
    let would_lower = |step: &ScheduledChange| {
        step.on == Some(false) || step.exposure.is_some_and(|exposure| exposure < highest)
    };
    let mut direction = None;
    for step in before.schedule.iter().filter(|step| !after.schedule.contains(step)) {
        let missed = served && would_lower(step) && !raised_before(step);
        let lost = if missed { Direction::Raise } else { Direction::Lower };
        direction = direction.max(Some(lost));
    }
    let come = after.schedule.iter().any(added).then_some(Direction::Lower);
    direction.max(come)
}

/// What it does to what is written and not served, while the flag is off.
fn written(before: &Targeting, after: &Targeting) -> Option<Direction> {
    (!same_content(before, after)).then_some(Direction::Neutral)
}

fn same_content(one: &Targeting, other: &Targeting) -> bool {
    one.serve == other.serve
        && one.targets == other.targets
        && one.rules == other.rules
        && one.prerequisites == other.prerequisites
}

/// The scheduled steps that raise when they fall due, if the ones before them did what they say.
pub(super) fn raising_steps(targeting: &Targeting) -> impl Iterator<Item = &ScheduledChange> {
    let mut standing = (targeting.on, targeting.exposure);
    targeting.schedule.iter().filter(move |step| {
        let next = after_step(standing, step);
        let raises = (next.0 && !standing.0) || next.1 > standing.1;
        standing = next;
        raises
    })
}

/// On and exposure after a step.
pub(super) fn after_step((on, exposure): (bool, Exposure), step: &ScheduledChange) -> (bool, Exposure) {
    (step.on.unwrap_or(on), step.exposure.unwrap_or(exposure))
}

/// Drops the kept steps that would raise from where the flag stands now, and did not from where it
/// stood before: who lowers a flag does not thereby schedule a raise.
pub(super) fn drop_new_raises(before: &Targeting, after: &mut Targeting) {
    loop {
        let raised_before = |step: &ScheduledChange| raising_steps(before).any(|raising| raising == step);
        let kept = |step: &ScheduledChange| before.schedule.contains(step);
        let Some(step) = raising_steps(after).find(|step| kept(step) && !raised_before(step)).cloned() else {
            return;
        };
        after.schedule.retain(|other| *other != step);
    }
}

/// The scheduled steps that are still to come.
pub(super) fn to_come(schedule: &[ScheduledChange], now: UnixMs) -> alloc::vec::Vec<ScheduledChange> {
    schedule.iter().filter(|step| step.at > now).cloned().collect()
}
