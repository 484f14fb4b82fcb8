//! Whether the control does much worse than it usually does: then something is wrong that no variant can be blamed for.

use super::comparison::Rate;
use super::guardrail::Sli;
use super::lately::Lately;
use super::watch::LEAST_REQUESTS;

/// The last slots in which the control may look worse than it usually does, with the bad requests that it takes to say so: 20
/// seconds show an outage at once, two minutes show it where there are fewer requests.
const NOW_SLOTS: [(usize, u64); 3] = [(2, 10), (6, 10), (12, 10)];
/// In a single slot so many are enough for a rule to wait: whoever acts in the first slot of an outage does not know of it yet.
const ONE_SLOT: [(usize, u64); 1] = [(1, 3)];
/// So many times as many errors as usual are too many for the control.
const UNUSUAL_ERRORS: u128 = 3;
/// What is usual is known from so many times as many requests; less would take a quiet minute for it.
const USUAL_TIMES: u64 = 6;
/// So many times its usual latency is too much.
const UNUSUAL_LATENCY: u64 = 2;
/// The slots in which latencies are measured for it: two minutes.
const LATENCY_SLOTS: usize = 12;

/// Whether the control does much worse than it usually does, just now.
pub(super) fn is_unusual(sli: Sli, control: &Lately) -> bool {
    match sli {
        Sli::LatencyP95 | Sli::LatencyP99 => {
            let per_mille = if sli == Sli::LatencyP99 { 990 } else { 950 };
            let (now, usual) = (control.last(LATENCY_SLOTS).latency, control.hour().latency);
            let (Some(now_us), Some(usual_us)) = (now.quantile_us(per_mille), usual.quantile_us(per_mille))
            else {
                return false;
            };
            now.count() >= LEAST_REQUESTS && now_us >= usual_us.saturating_mul(UNUSUAL_LATENCY)
        }
        _ => are_more(control, &NOW_SLOTS),
    }
}

/// Whether the control looks so in the last slot alone, which may be chance.
pub(super) fn looks_unusual(sli: Sli, control: &Lately) -> bool {
    !matches!(sli, Sli::LatencyP95 | Sli::LatencyP99) && are_more(control, &ONE_SLOT)
}

fn are_more(control: &Lately, windows: &[(usize, u64)]) -> bool {
    // Most of the time there are too few in ten minutes.
    let least = windows.iter().map(|(_, least)| *least).min().unwrap_or(0);
    if control.recent().rate.bad < least {
        return false;
    }
    let hour = control.earlier_rate().plus(control.recent().rate);
    windows.iter().any(|(slots, least)| {
        let now = control.last_rate(*slots);
        let before = hour.since(now);
        let known = before.requests >= LEAST_REQUESTS.max(now.requests.saturating_mul(USUAL_TIMES));
        known && now.bad >= *least && is_more(now, before)
    })
}

fn is_more(recent: Rate, before: Rate) -> bool {
    let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
    cross(recent.bad, before.requests) >= UNUSUAL_ERRORS.saturating_mul(cross(before.bad, recent.requests))
}
