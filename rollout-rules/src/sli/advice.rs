//! How much more has to be seen before a test can tell, and what would make it quicker.

use serde::{Deserialize, Serialize};

use super::stakes::Share;
use super::watch::ACT_ODDS;
use crate::time::DurationMs;

/// What a comparison still takes on average, if the variant is so many times as bad as the control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needed {
    /// Users that have to turn bad, of both variants.
    pub bad_users: u64,
    /// Users that have to come, of both variants.
    pub users: u64,
    /// How long that takes.
    pub time: DurationMs,
}

/// What goes on in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Users that come in an hour, of the variant and the control together.
    pub users_an_hour: u64,
    /// The part of them that turns bad with the control, in millionths.
    pub bad_millionths: u64,
}

/// Below so many requests a second a stage at 50 % is offered.
pub const FEW_REQUESTS_A_SECOND: u64 = 5;
/// Below so many users, too.
pub const FEW_USERS: u64 = 300;

/// How much has to be seen at a share to find an effect, in thousandths of the control's rate, above 1,000. `None`
/// if it will never be found: nobody comes, nobody turns bad, or there is nothing to compare.
pub fn needed(traffic: Traffic, share: Share, effect_thousandths: u64) -> Option<Needed> {
    if !share.compares() || effect_thousandths <= 1_000 {
        return None;
    }
    let (part, effect) = (share.probability(), to_f64(effect_thousandths) / 1_000.0);
    let worse = 1.0 - part + part * effect;
    let labelled = part * effect / worse;
    // What one bad unit says on average, with the bet on this effect.
    let each = labelled * libm::log(effect) - libm::log(worse);
    // The bet on one effect has about a third of its epoch's stake.
    let asked = libm::log(f64::from(ACT_ODDS) * 3.0 / 0.627);
    let bad_users = libm::ceil(asked / each);
    let bad_part = to_f64(traffic.bad_millionths) / 1_000_000.0 * worse;
    let users = bad_users / bad_part.min(1.0);
    let hours = users / to_f64(traffic.users_an_hour);
    if !hours.is_finite() {
        return None;
    }
    Some(Needed { bad_users: up(bad_users), users: up(users), time: DurationMs(up(hours * 3_600_000.0)) })
}

/// Whether a stage at 50 % should be offered: with so few, a small share takes days to tell.
pub fn is_little(requests_a_second: u64, users: u64) -> bool {
    requests_a_second < FEW_REQUESTS_A_SECOND || users < FEW_USERS
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts stop at the ends")]
fn up(number: f64) -> u64 {
    libm::ceil(number) as u64
}
