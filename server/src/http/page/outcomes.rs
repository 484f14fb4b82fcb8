//! `POST /v1/page/outcomes`: what became of a page's requests. Anybody can read a page's key, so a page is believed
//! little: whom it counts for was said when it was opened, what it was served is what the server itself evaluates, the
//! slot is that of its arrival, and it tells of few requests a slot. What is told counts as what
//! servers tell, so keys have to be made for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use rollout_rules::evaluate::evaluate;
use rollout_rules::ids::{FlagKey, IdempotencyKey, InstanceId, Revision, SplitId, VariantKey};
use rollout_rules::sli::{Bucket, Histogram, Outcomes, Slot, SlowUnits, Summary, UnitList};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::sessions::{Page, not_in_this_slot};
use super::{page_of, valid};
use crate::http::Shared;
use crate::http::audience::Query;
use crate::http::body::Beacon;
use crate::http::origin::Source;
use crate::http::problem::{self, Problem};
use crate::secret;

/// Most requests that a page tells of in one slot.
const MAX_ENDED: u32 = 64;
/// Most flags of one request.
const MAX_FLAGS: usize = 64;
/// Most faults in one report.
const MAX_FAULTS: usize = 8;
/// Most reports of one page in a slot: one of the slot before, and one as the page is left. So the pages that are open at
/// once can name fewer batches for a flag than are taken in a slot. Further ones are refused with 429.
const MAX_REPORTS: u32 = 2;
/// All pages report as one process: which of them there are says nothing of an app's health.
const INSTANCE: &str = "pages";

/// What a page tells.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PageOutcomes")]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Requests that ended, at most 64 a slot of ten seconds.
    #[serde(default)]
    #[schemars(length(max = 64))]
    ended: Vec<Ended>,
    /// Errors inside the SDK, at most 8.
    #[serde(default)]
    #[schemars(length(max = 8))]
    faults: Vec<Fault>,
}

/// One request of a page.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PageRequest")]
#[serde(deny_unknown_fields)]
struct Ended {
    /// What the app calls it. It is not kept.
    #[serde(default)]
    #[schemars(with = "String")]
    #[allow(dead_code, reason = "taken for the same form as elsewhere")]
    name: IgnoredAny,
    /// Whether it failed.
    #[serde(default)]
    bad: bool,
    /// How long it took, in microseconds; left out if that was not measured.
    #[serde(default)]
    latency_us: Option<u64>,
    /// Not taken: what a page says of costs could use up an app's budget.
    #[serde(default)]
    #[allow(dead_code, reason = "taken for the same form as elsewhere")]
    cost_micros: u64,
    /// The flags that were checked in it and whose variants a split or an exposure chose, at most 64.
    #[schemars(length(max = 64))]
    flags: Vec<Checked>,
}

/// What a page was served.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PageFlag")]
#[serde(deny_unknown_fields)]
struct Checked {
    /// The flag.
    key: FlagKey,
    /// Its revision, as the page had it.
    revision: Revision,
    /// Its answer.
    variant: VariantKey,
    /// The split that chose the answer.
    #[serde(default)]
    split: Option<SplitId>,
}

/// An error inside the SDK.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PageFault")]
#[serde(deny_unknown_fields)]
struct Fault {
    /// Where in its source.
    #[serde(rename = "where")]
    place: String,
    /// Its name and version.
    #[serde(default)]
    sdk: String,
    /// How often.
    #[serde(default = "once")]
    count: u32,
}

fn once() -> u32 {
    1
}

/// What was taken of a report.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PageOutcomesTaken")]
pub struct Taken {
    /// Flags of requests that were counted.
    added: u64,
    /// Those that were not. It is of no use to send them again.
    refused: Vec<Refused>,
}

/// A flag of a request that was not counted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageFlagRefused")]
struct Refused {
    /// The request's place, from 0.
    index: usize,
    /// The flag; absent if the whole request was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<FlagKey>,
    /// `unknown_flag`; `other_revision`: it has changed since; `other_answer`: the page's context does not get this
    /// answer, or no split chose it; `repeated`: the request names the flag twice; `too_many`: the page told of enough in
    /// this slot; or as for `/v1/outcomes`.
    code: &'static str,
}

/// Takes a page's report. The page is looked at before the body is read.
pub async fn take(
    request: HttpRequest,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let now = shared.clock.now();
    let (page, takes_outcomes) = may_tell(&request, &shared, now)?;
    let Beacon(report) = Beacon::<Report>::from_request(&request, &mut payload.into_inner()).await?;
    bounded("ended", report.ended.len(), MAX_ENDED as usize)?;
    bounded("faults", report.faults.len(), MAX_FAULTS)?;
    if !takes_outcomes && !report.ended.is_empty() {
        let detail = "pages with this key tell no outcomes: that takes a key that allows it and whose origins are named";
        return Err(Problem::new(problem::NOT_ALLOWED, detail));
    }
    let slot = Slot::at(now);
    for fault in &report.faults {
        shared.pages.faults.tell(&fault.place, &fault.sdk, fault.count, slot);
    }
    let published = shared.published_full();
    let (counted, mut refused) = counted(&report.ended, &page, &shared, &published.snapshot, now);
    let mut added = 0;
    for Counted { summary, indices } in counted {
        match shared.sli.take_one(&page.of.app, &page.of.environment, &instance(), &batch(), &summary, now) {
            Ok(()) => added += summary.outcomes.requests,
            Err(refusal) => {
                let refuse =
                    |index| Refused { index, flag: Some(summary.flag.clone()), code: refusal.code() };
                refused.extend(indices.into_iter().map(refuse));
            }
        }
    }
    refused.sort_by_key(|one| one.index);
    Ok(HttpResponse::Accepted().json(Taken { added, refused }))
}

/// The page that a report comes from, if it may tell anything now, and whether that may be outcomes. Errors inside the SDK
/// are taken from all.
fn may_tell(request: &HttpRequest, shared: &Shared, now: UnixMs) -> Result<(Arc<Page>, bool), Problem> {
    let query = Query::of(request)?;
    query.only(&["token"])?;
    let page = page_of(shared, request, &query, shared.clock.coarse())?.page;
    let published = shared.published();
    let token = valid(&published.snapshot, &page, now)?;
    let takes_outcomes = token.takes_outcomes_of_pages();
    // Of a page of this server itself the browser names no origin when it reads; this is a POST, which names it always.
    if Source::of(request).origin.is_none() {
        return Err(Problem::new(
            problem::ORIGIN_NOT_ALLOWED,
            "the request does not say which page it comes from",
        ));
    }
    if !page.reports.take(Slot::at(now), MAX_REPORTS) {
        let detail = "the page told of enough in this slot of ten seconds; tell of the rest in the next";
        return Err(not_in_this_slot(detail, now));
    }
    Ok((page, takes_outcomes))
}

fn bounded(field: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count <= most {
        return Ok(());
    }
    let detail = format!("`{field}` may have at most {most} items");
    Err(Problem::new(problem::TOO_MANY, detail).with("field", field).with("limit", most))
}

fn instance() -> InstanceId {
    InstanceId::new(INSTANCE).expect("it is a name")
}

/// A name that no report had before: that a page tells the same twice is not noticed, only how much it tells.
fn batch() -> IdempotencyKey {
    IdempotencyKey::new(&secret::random_id()).expect("it is a name")
}

/// What became of all requests of a report in which a flag was checked.
struct Counted {
    summary: Summary,
    /// Their places.
    indices: Vec<usize>,
}

/// One summary for each flag that counts; and what does not count.
fn counted(
    ended: &[Ended],
    page: &Page,
    shared: &Shared,
    snapshot: &Snapshot,
    now: UnixMs,
) -> (Vec<Counted>, Vec<Refused>) {
    let (mut counted, mut refused) = (BTreeMap::<&FlagKey, Counted>::new(), Vec::new());
    let slot = Slot::at(now);
    for (index, one) in ended.iter().enumerate() {
        if one.flags.len() > MAX_FLAGS || !page.told.take(slot, MAX_ENDED) {
            refused.push(Refused { index, flag: None, code: "too_many" });
            continue;
        }
        let mut named = BTreeSet::new();
        for checked in &one.flags {
            let known = counted.get_mut(&checked.key);
            let found = match named.insert(&checked.key) {
                true => summary(one, checked, page, (shared, snapshot), known.is_none(), now),
                false => Err("repeated"),
            };
            match (found, known) {
                (Ok(summary), Some(known)) => known.add(&summary, index),
                (Ok(summary), None) => {
                    counted.insert(&checked.key, Counted { summary, indices: vec![index] });
                }
                (Err(code), _) => refused.push(Refused { index, flag: Some(checked.key.clone()), code }),
            }
        }
    }
    (counted.into_values().collect(), refused)
}

impl Counted {
    /// Adds another request, in which the flag answered the same: the context is the same, and so are the flags.
    fn add(&mut self, other: &Summary, index: usize) {
        let outcomes = &mut self.summary.outcomes;
        let units = outcomes.units.max(other.outcomes.units);
        outcomes.merge(&other.outcomes);
        // All requests of a page are of one unit.
        outcomes.units = units;
        self.indices.push(index);
    }
}

/// What a request counts for, if the page was served what it says. That the page asked for the flag counts with the first
/// that a report names it in: what a page notices by itself names all that it was served.
fn summary(
    ended: &Ended,
    checked: &Checked,
    page: &Page,
    (shared, snapshot): (&Shared, &Snapshot),
    is_first: bool,
    now: UnixMs,
) -> Result<Summary, &'static str> {
    let flags = snapshot.flag_set(&page.of.app, &page.of.environment).ok_or("unknown_flag")?;
    let answer = evaluate(&flags, checked.key.as_str(), &page.context, now).ok_or("unknown_flag")?;
    if answer.definition().flag().browser.is_none() {
        return Err("unknown_flag");
    }
    if answer.revision() != checked.revision {
        return Err("other_revision");
    }
    if *answer.variant() != checked.variant {
        return Err("other_answer");
    }
    let assigned = answer.assigned(&page.context).ok_or("other_answer")?;
    if checked.split.as_ref().is_some_and(|split| *split != assigned.split) {
        return Err("other_answer");
    }
    if is_first {
        let counting =
            shared.exposures.counting(&page.of.app, &page.of.environment, &flags.environment.flags);
        counting.count_asked(&answer);
    }
    let unit = assigned.unit;
    let mut latency = Histogram::default();
    if let Some(us) = ended.latency_us {
        latency.add(us, 1);
    }
    let slow = ended.latency_us.and_then(|us| Some((unit?, Bucket::of(us))));
    let outcomes = Outcomes {
        units: u64::from(unit.is_some()),
        requests: 1,
        bad_requests: u64::from(ended.bad),
        cost_micros: 0,
        latency,
        served: unit.map_or_else(UnitList::unknown, |unit| UnitList::from_iter([(unit, ())])),
        bad: match unit {
            None if ended.bad => UnitList::unknown(),
            unit => UnitList::from_iter(unit.filter(|_| ended.bad).map(|unit| (unit, ()))),
        },
        slow: match unit {
            None if ended.latency_us.is_some() => SlowUnits::unknown(),
            _ => SlowUnits::from_iter(slow),
        },
        slow_from_us: 0,
    };
    Ok(Summary {
        flag: checked.key.clone(),
        flag_revision: checked.revision,
        split: assigned.split,
        variant: checked.variant.clone(),
        slot: Slot::at(now),
        outcomes,
    })
}
