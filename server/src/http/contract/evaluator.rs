//! What the evaluator knows of variants and apps, and the evidence that it keeps of what it acted on.

use actix_web::http::Method;
use rollout_rules::ids::{AppKey, EnvKey, EvidenceId, FlagKey, SplitId, VariantKey};
use rollout_rules::sli::BURN_RULES;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{Operation, READERS};
use super::views::{OrNull, Page, Time};
use crate::evaluator::evidence::{MAX_BYTES, MAX_BYTES_OF_APP, MAX_KEPT, MAX_KEPT_OF_APP};
use crate::http::problem;
use crate::http::recording::MAX_RECORDINGS;

const VERDICTS: &str = "/v1/apps/{app}/flags/{flag}/environments/{environment}/verdicts";
const SLO: &str = "/v1/apps/{app}/environments/{environment}/slo";
const RECORDING: &str = "/v1/apps/{app}/environments/{environment}/recording";
const ALL_EVIDENCE: &str = "/v1/apps/{app}/evidence";
const EVIDENCE: &str = "/v1/apps/{app}/evidence/{evidence}";

/// What a variant is held to be.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum VerdictState {
    /// Too little was seen to say anything.
    Warming,
    /// Nothing speaks against it.
    Ok,
    /// Much speaks against it: the rollout is held, and people are told.
    Suspect,
    /// It is worse, and by so much that a rule acts.
    Regressed,
    /// The app runs, and nobody asks for the flag, or it is not told which units failed or were slow.
    NoData,
    /// The app reports nothing any more.
    Stale,
    /// The split does not serve what was planned, so that nothing can be compared.
    Invalid,
    /// It is worse, but something else is wrong at the same time that it cannot be blamed for.
    CommonMode,
}

/// What is known of a variant.
#[derive(JsonSchema)]
#[schemars(rename = "Verdict")]
#[allow(dead_code, reason = "only its schema is used")]
struct VerdictView {
    variant: VariantKey,
    state: VerdictState,
    /// The rule that says so; null if none does.
    test: OrNull<String>,
    /// Whether it was shown to be no worse than the size that matters.
    shown_good: bool,
    /// The numbers, in words; empty if there are none.
    why: String,
    /// The numbers, for programs: `nothing`, `unlisted`, or an object of one member, `compared`, `threshold`, `absolute`, `skewed` or
    /// `silence`.
    reason: Value,
}

/// Whether a rollout may go on, once its stage was held for long enough.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum StandingWord {
    /// All variants were shown to be no worse than the size that matters.
    ShownGood,
    /// Nothing speaks against it, and too little was seen to speak for it: the tier decides.
    NotEnoughData,
    /// Something speaks against it.
    Held,
}

/// Whether a rollout may go on, and why.
#[derive(JsonSchema)]
#[schemars(rename = "StandingOfSplit")]
#[allow(dead_code, reason = "only its schema is used")]
struct StandingView {
    is: StandingWord,
    why: String,
}

/// What a comparison still takes on average, if a variant does twice as badly as the control.
#[derive(JsonSchema)]
#[schemars(rename = "NeededToTell")]
#[allow(dead_code, reason = "only its schema is used")]
struct NeededView {
    /// Users that have to come.
    users: u64,
    /// Users that have to turn bad.
    bad_users: u64,
    /// How long that takes.
    time_ms: u64,
}

/// A split that is watched.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct WatchedSplit {
    /// `.exposure` where a rollout without a split of its own has reached some units and not the rest.
    split: SplitId,
    standing: StandingView,
    /// Null if nothing is compared, or nobody comes.
    needed: OrNull<NeededView>,
    /// All but the control's.
    verdicts: Vec<VerdictView>,
}

/// What is known of a flag's variants.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct FlagVerdicts {
    app: AppKey,
    flag: FlagKey,
    environment: EnvKey,
    /// The end of the last slot that is folded in; null if the app never reported anything.
    slot: OrNull<Time>,
    /// Only those that are watched: while the flag is on, divides units and has rules.
    splits: Vec<WatchedSplit>,
    /// Where the app never reported anything: what does.
    note: Option<String>,
}

/// How fast errors were used up lately.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct BurnOfMinutes {
    /// In the last so many minutes.
    minutes: u64,
    /// How many times as fast as would use up all within the thirty days; null without requests.
    thousandths: OrNull<u64>,
}

/// A pair of windows in which errors may be used up at most so fast.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct BrokenBurnRule {
    long_minutes: u64,
    short_minutes: u64,
    burn_thousandths: u64,
}

/// Where what a month is expected to cost stands against the budget.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum SpendState {
    /// Below 80 %.
    Within,
    /// From 80 % on.
    Near,
    /// From 100 % on.
    Over,
}

/// How an app stands against what it promises and may cost.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct SloView {
    app: AppKey,
    environment: EnvKey,
    /// The end of the last slot that is folded in; null if the app never reported anything.
    slot: OrNull<Time>,
    /// For how many slots in a row no process has reported anything.
    silent_slots: OrNull<u64>,
    /// The target, the part of requests that should be good: 999000 for 99.9 %. It is that of the strictest guardrail on
    /// availability of the app, or else of its tier.
    good_millionths: OrNull<u64>,
    /// How much of the errors that the target allows within thirty days was used.
    spent_thousandths: OrNull<u64>,
    /// How fast, over some windows.
    burn: Vec<BurnOfMinutes>,
    /// The rule that is broken, if one is: people are told.
    broken: OrNull<BrokenBurnRule>,
    /// What a month may cost, in millionths of `currency`; null: no budget is watched.
    budget_micros: OrNull<u64>,
    /// What this month has cost in all environments of the app, over all requests that were reported.
    spent_micros: OrNull<u64>,
    /// What it will have cost by its end, if it goes on as in the last days.
    expected_micros: OrNull<u64>,
    /// ISO 4217 code of the budget's currency.
    currency: OrNull<String>,
    state: OrNull<SpendState>,
    /// Where the app never reported anything: what does.
    note: Option<String>,
}

/// What a guardrail acted on.
#[derive(JsonSchema)]
#[schemars(rename = "Evidence")]
#[allow(dead_code, reason = "only its schema is used")]
struct EvidenceView {
    /// Names it: the first half of the hash of what it was found from.
    id: EvidenceId,
    /// The end of the slot that it was found in.
    at: Time,
    app: AppKey,
    environment: EnvKey,
    /// Absent: the app itself.
    flag: Option<FlagKey>,
    split: Option<SplitId>,
    variant: Option<VariantKey>,
    /// The rule, as people write it.
    rule: String,
    /// What was found, in words.
    found: String,
}

/// The watch as it was some time before, and all that it was told since.
#[derive(JsonSchema)]
#[schemars(rename = "RecordingOfWatch")]
#[allow(dead_code, reason = "only its schema is used")]
struct RecordingView {
    /// The watch as it was.
    base: Value,
    /// What it was told since, in order: what to watch, and slots.
    inputs: Vec<Value>,
}

/// What evidence was found from.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct EvidenceRecording {
    /// What was to be done, one of the news.
    proposed: Value,
    /// What was new at the last input.
    news: Vec<Value>,
    recording: RecordingView,
}

const FOUND: &str = "error_rate 50% past 3% for 300 s, in 6000 requests (3000 bad)";

fn evidence_example() -> Value {
    json!({
        "id": "8f1b2c3d4e5f60718f1b2c3d4e5f6071", "at": "2027-01-17T18:05:00.000Z", "app": "shop",
        "environment": "production", "flag": "checkout", "split": ".exposure", "variant": "on",
        "rule": "error_rate > 3% for 5m -> flag off", "found": FOUND,
    })
}

/// What is known of a flag's variants.
pub(super) fn verdicts() -> Vec<Operation> {
    let reason = json!({ "compared": {
        "sli": "error_rate",
        "evidence": {
            "log": 13_000_000_000_u64, "occasion": 1, "bad_units": 14, "of_variant": 9, "expected_thousandths": 1_400,
            "variant": { "requests": 400, "bad": 12 }, "control": { "requests": 3_600, "bad": 36 },
            "since": 180_000_000,
        },
        "variant": 30_000, "control": 10_000,
    } });
    let why = "error_rate 3% against 1%; evidence 20.6 (acts at 100): of 14 new bad units 9 are the variant's where 1.40 \
               would be, in 400 and 3600 requests since 2027-01-15T08:00:00.000Z";
    vec![
        Operation::new(Method::GET, VERDICTS, "get_verdicts")
            .title("Show what is known of a flag's variants")
            .about(
                "What each variant is held to be, by which rule and from which numbers, as of the last slot of ten seconds; whether \
                 a rollout may go on; and how much more has to be seen before a comparison can tell. The control has no verdict.",
            )
            .by(READERS)
            .refused(&[problem::INVALID_PARAMETER, problem::NOT_FOUND])
            .answers::<FlagVerdicts>(200, "What is known.", json!({
                "app": "shop", "flag": "checkout", "environment": "production", "slot": "2027-01-17T18:00:10.000Z",
                "splits": [{
                    "split": ".exposure",
                    "standing": { "is": "held", "why": "on is suspect" },
                    "needed": { "users": 2_400, "bad_users": 31, "time_ms": 1_860_000 },
                    "verdicts": [{
                        "variant": "on", "state": "suspect", "test": "error_rate worse than control -> flag off",
                        "shown_good": false, "why": why, "reason": reason,
                    }],
                }],
            })),
    ]
}

/// How an app stands.
pub(super) fn slo() -> Vec<Operation> {
    let rules = BURN_RULES.map(|rule| {
        let times = rule.burn_thousandths / 100;
        let times = format!("{}.{}", times / 10, times % 10);
        format!("{times} times in {} and in {} minutes", rule.long_minutes, rule.short_minutes)
    });
    vec![
        Operation::new(Method::GET, SLO, "get_slo")
            .title("Show how an app stands against what it promises and may cost")
            .about(format!(
                "Its target and how fast the errors are used up that it allows within thirty days; what the month has cost and is \
                 going to cost against the budget. People are told where errors are used up too fast: {}. What is not known yet \
                 is null. What became of all of the app's requests is what its processes told as `all`; where none did, or fewer \
                 requests than one flag had, the flag that was asked for most in a slot stands for them.",
                rules.join("; "),
            ))
            .by(READERS)
            .refused(&[problem::INVALID_PARAMETER, problem::NOT_FOUND])
            .answers::<SloView>(200, "How it stands.", json!({
                "app": "shop", "environment": "production", "slot": "2027-01-17T18:00:10.000Z", "silent_slots": 0,
                "good_millionths": 999_000, "spent_thousandths": 120,
                "burn": [
                    { "minutes": 5, "thousandths": 900 }, { "minutes": 30, "thousandths": 1_100 },
                    { "minutes": 60, "thousandths": 1_000 }, { "minutes": 360, "thousandths": null },
                ],
                "broken": null,
                "budget_micros": 500_000_000, "spent_micros": 210_000_000, "expected_micros": 410_000_000,
                "currency": "EUR", "state": "near",
            })),
    ]
}

/// What guardrails acted on.
pub(super) fn evidence() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, ALL_EVIDENCE, "list_evidence")
            .title("List what guardrails acted on")
            .about(format!(
                "The newest first. Evidence is stored with each act of a guardrail, of an app at most three pieces a slot; the server keeps \
                 {MAX_KEPT} pieces and {} MiB of them, {MAX_KEPT_OF_APP} and {} MiB of one app, and the oldest go when there \
                 are more. An entry of the log that a guardrail caused names its evidence.",
                MAX_BYTES >> 20,
                MAX_BYTES_OF_APP >> 20,
            ))
            .by(READERS)
            .query::<EnvKey>("environment", "Only of this environment.")
            .query::<FlagKey>("flag", "Only of this flag.")
            .page()
            .refused(&[problem::NOT_FOUND])
            .answers::<Page<EvidenceView>>(200, "A page of evidence.", json!({ "items": [evidence_example()] })),
        Operation::new(Method::GET, EVIDENCE, "get_evidence")
            .title("Show what a guardrail acted on")
            .about("The rule, what it was found to hold for, and what was found.")
            .by(READERS)
            .refused(&[problem::INVALID_PARAMETER, problem::NOT_FOUND])
            .answers::<EvidenceView>(200, "The evidence.", evidence_example()),
        Operation::new(Method::GET, format!("{EVIDENCE}/recording"), "get_evidence_recording")
            .title("Get what evidence was found from")
            .about(
                "The watch over the app as it was up to half an hour before, and all that it was told until a rule acted, as they are \
                 stored. Whoever folds them again comes to the same news, to the bit: `tidegate evidence replay ID` does. It has \
                 counts and hashes of units, and no unit's key.",
            )
            .by(READERS)
            .refused(&[problem::INVALID_PARAMETER, problem::NOT_FOUND])
            .answers::<EvidenceRecording>(200, "What is stored; the example is shortened.", json!({
                "proposed": { "slot": 180_000_000, "rule": { "when": {}, "then": ["flag_off"] } },
                "news": [{ "act": { "slot": 180_000_000, "rule": { "when": {}, "then": ["flag_off"] } } }],
                "recording": { "base": { "next": 179_999_970 }, "inputs": [{ "slot": { "slot": 179_999_970 } }] },
            })),
        Operation::new(Method::GET, RECORDING, "get_recording")
            .title("Get what was recorded of an app in an environment")
            .about(format!(
                "What rules are tried on: `tidegate guardrail backtest` reads it. JSON lines in the order of time, each an object of one \
                 member: `recording` is the first, with the rules in force; `app` says what the app promises, `serves` what a split \
                 serves from a slot on, `ends` that it serves nobody any more; `slot` is what was reported for ten seconds, `sum` for \
                 five minutes where no slots are kept, without units; `acted` is what a guardrail did; `end` is the last, and a \
                 recording without it is not whole. Slots are kept for two days while a flag divides units, sums for 31. At most \
                 {MAX_RECORDINGS} are sent at once. It has counts and hashes of units, and no unit's key.",
            ))
            .by(READERS)
            .query::<UnixMs>("since", "From when on: a moment of the last 31 days; a day ago if not said.")
            .query::<FlagKey>("flag", "Only of this flag; what the app does as a whole is not known then.")
            .refused(&[
                problem::INVALID_PARAMETER,
                problem::NOT_FOUND,
                problem::PAST_TOO_FAR,
                problem::LOG_UNAVAILABLE,
            ])
            .answers_text(
                "The lines.",
                "text/plain",
                "{\"recording\":{\"version\":1,\"app\":\"shop\",\"environment\":\"production\",…}}\n\
                 {\"end\":{\"until\":\"2027-01-17T18:00:10.000Z\"}}\n",
            ),
    ]
}
