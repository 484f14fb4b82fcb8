//! Whether the control does much worse than it usually does: then something is wrong that no variant can be blamed for.

use super::comparison::Rate;
use super::guardrail::Sli;
use super::lately::Lately;
use super::watch::LEAST_REQUESTS;

/// The last slots in which the control may look worse than it usually does: two minutes.
const NOW_SLOTS: usize = 12;
/// So many times as many errors as usual are too many for the control.
const UNUSUAL_ERRORS: u128 = 3;
/// So many times its usual latency is too much.
const UNUSUAL_LATENCY: u64 = 2;
/// Of fewer bad requests nothing is said about the control.
const LEAST_UNUSUAL: u64 = 10;

/// Whether the control does much worse than it usually does, just now.
pub(super) fn is_unusual(sli: Sli, control: &Lately) -> bool {
    match sli {
        Sli::LatencyP95 | Sli::LatencyP99 => {
            let per_mille = if sli == Sli::LatencyP99 { 990 } else { 950 };
            let (now, usual) = (control.last(NOW_SLOTS).latency, control.hour().latency);
            let (Some(now_us), Some(usual_us)) = (now.quantile_us(per_mille), usual.quantile_us(per_mille))
            else {
                return false;
            };
            now.count() >= LEAST_REQUESTS && now_us >= usual_us.saturating_mul(UNUSUAL_LATENCY)
        }
        _ => {
            let now = control.last_rate(NOW_SLOTS);
            let hour = control.earlier().rate.plus(control.recent().rate);
            let before = hour.since(now);
            now.bad >= LEAST_UNUSUAL && before.requests >= LEAST_REQUESTS && is_more(now, before)
        }
    }
}

fn is_more(recent: Rate, before: Rate) -> bool {
    let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
    cross(recent.bad, before.requests) >= UNUSUAL_ERRORS.saturating_mul(cross(before.bad, recent.requests))
}
