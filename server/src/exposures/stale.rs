//! Which flags have become stale, and why: what to look at before flags rot in code.

use rollout_rules::ids::{EnvKey, VariantKey};
use rollout_rules::snapshot::{App, FlagRecord, StateRecord};
use rollout_rules::time::{DurationMs, UnixMs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answers::FlagSums;
use super::place;
use super::sums::Sums;

/// Flags that expire within this time are told of.
pub const EXPIRES_SOON: DurationMs = DurationMs::days(14);
/// A flag that has expired is told of for as long as it was asked for within this time.
pub const STILL_ASKED: DurationMs = DurationMs::days(7);
/// A flag that is at least so old, and was not asked for since it was made, is told of.
pub const NEVER_ASKED: DurationMs = DurationMs::days(14);
/// A flag that was asked for and gave one answer for so long is told of.
pub const ONE_VARIANT: DurationMs = DurationMs::days(30);

/// Why a flag is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It expires within 14 days, and serves its off variant from then on.
    ExpiresSoon,
    /// It has expired, and was asked for since, within the last 7 days: it is still in somebody's code.
    ExpiredButAsked,
    /// Nobody asked for it by its name, in any environment, since it was made 14 days ago or more, all that was asked
    /// for was counted in these 14 days, and no flag has it as a prerequisite. To fetch all flags of an environment is
    /// to ask for none.
    NeverAsked,
    /// It was asked for, and gave the same answer for 30 days or more: the code needs no flag any more.
    OneVariantOnly,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 4] =
        [Reason::ExpiresSoon, Reason::ExpiredButAsked, Reason::NeverAsked, Reason::OneVariantOnly];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::ExpiresSoon => "expires_soon",
            Reason::ExpiredButAsked => "expired_but_asked",
            Reason::NeverAsked => "never_asked",
            Reason::OneVariantOnly => "one_variant_only",
        }
    }
}

impl std::str::FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Reason, UnknownReason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// A text that is no reason.
#[derive(Clone, Copy, Debug)]
pub struct UnknownReason;

impl std::fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = Reason::ALL.map(Reason::as_str).join(", ");
        write!(f, "use one of {names}")
    }
}

/// One reason why a flag is stale, with what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Why.
    pub reason: Reason,
    /// Where; none: everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvKey>,
    /// When it expires or has expired, for reasons about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMs>,
    /// Since when it is so: no other answer was given, or the flag and the counting are both there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixMs>,
    /// The only answer; none if checks got none of the flag's variants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
    /// When it was asked for last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_asked_at: Option<UnixMs>,
}

impl Finding {
    fn of(reason: Reason) -> Finding {
        let environment = None;
        Finding { reason, environment, expires_at: None, since: None, variant: None, last_asked_at: None }
    }
}

/// What is stale about a flag, in the environments of `only` or all.
pub(super) fn findings(
    app: &App,
    record: &FlagRecord,
    sums: &Sums,
    only: impl Fn(&EnvKey) -> bool,
    now: UnixMs,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if record.is_archived() {
        return found;
    }
    let of = |environment: &EnvKey| sums.get(&place(&app.info().key, environment, &record.flag().key));
    let gap_at = sums.gap_at(&app.info().key);
    let begun = record.flag().created_at.max(sums.counting_since());
    let begun = gap_at.map_or(begun, |at| at.max(begun));
    let asked = sums.was_asked(&app.info().key, &record.flag().key);
    // Whoever checks a flag that has this one as a prerequisite needs it, and does not name it.
    let mut dependents = app.dependents(&record.flag().key).filter_map(|key| app.flag(key));
    let is_needed = dependents.any(|dependent| !dependent.is_archived());
    if !asked && !is_needed && now.since(begun) >= NEVER_ASKED {
        found.push(Finding { since: Some(begun), ..Finding::of(Reason::NeverAsked) });
    }
    for (environment, state) in record.states().filter(|(environment, _)| only(environment)) {
        let ended = app.environment(environment).is_none_or(|environment| environment.ended(now));
        if !ended {
            let reasons = in_environment(state, of(environment), gap_at, now);
            found.extend(reasons.map(|one| Finding { environment: Some(environment.clone()), ..one }));
        }
    }
    found
}

fn in_environment(
    state: &StateRecord,
    sums: Option<&FlagSums>,
    gap_at: Option<UnixMs>,
    now: UnixMs,
) -> impl Iterator<Item = Finding> {
    let expires_at = state.state().expires_at;
    let last_asked_at = sums.and_then(FlagSums::last_asked_at);
    let is_expired = expires_at <= now;
    let by_date = if is_expired {
        let asked = last_asked_at.is_some_and(|at| at > expires_at && now.since(at) <= STILL_ASKED);
        asked.then_some(Reason::ExpiredButAsked)
    } else {
        (expires_at.since(now) <= EXPIRES_SOON).then_some(Reason::ExpiresSoon)
    };
    let by_date =
        by_date.map(|reason| Finding { expires_at: Some(expires_at), last_asked_at, ..Finding::of(reason) });
    // An expired flag gives its off variant, whatever it was made for.
    let only = sums.filter(|_| !is_expired).and_then(FlagSums::only_answer);
    // Another answer may be among those that were not counted.
    let only = only.map(|(answer, since)| (answer, gap_at.map_or(since, |at| at.max(since))));
    let only = only.filter(|(answer, since)| {
        now.since(*since) >= ONE_VARIANT && now.since(answer.last_at) < ONE_VARIANT
    });
    let by_answer = only.map(|(answer, since)| Finding {
        since: Some(since),
        variant: answer.variant.clone(),
        last_asked_at,
        ..Finding::of(Reason::OneVariantOnly)
    });
    by_date.into_iter().chain(by_answer)
}

/// How many flags are stale, by reason; one that is so in several environments counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleCounts([u64; Reason::ALL.len()]);

impl StaleCounts {
    /// Counts one more flag, with what is stale about it.
    pub fn add(&mut self, found: &[Finding]) {
        for (reason, count) in Reason::ALL.iter().zip(&mut self.0) {
            *count += u64::from(found.iter().any(|one| one.reason == *reason));
        }
    }

    /// Every reason with its count.
    pub fn each(self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.0)
    }
}
