//! What apps tell of their requests, and what variants did to them.

use actix_web::http::Method;
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, SplitId, VariantKey};
use rollout_rules::sli::GRACE;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde_json::json;

use super::operation::{Operation, READERS};
use super::views::Time;
use crate::http::problem;
use crate::sli::{Batch, MAX_SERIES, MAX_SERIES_OF_APP};

/// Those that say what became of requests: SDKs on servers, and whoever changes things.
const TELLERS: &[Scope] = &[Scope::Admin, Scope::Operator, Scope::Editor, Scope::Ci, Scope::SdkServer];

/// A summary that was not taken.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct RefusedSummary {
    /// Its place in the batch, from 0.
    index: u64,
    /// `malformed`, `too_many` or `more_than_whole` for what cannot be; `from_the_future` or `too_late` for what comes at the wrong
    /// time; `unknown_flag` or `unknown_variant`; `too_many_parts`, `too_many_splits` or `too_many_batches` for more than a
    /// flag has; `no_room`.
    code: String,
    /// The same in words.
    detail: String,
}

/// What became of all of a process's requests, not taken.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct RefusedAll {
    /// As for a summary.
    code: String,
    /// The same in words.
    detail: String,
}

/// What became of a batch.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct OutcomesTaken {
    /// Summaries that were added.
    added: u64,
    /// Summaries that this very batch had told before; they were not added again.
    repeated: u64,
    /// Summaries that were not taken. It is of no use to send them again.
    refused: Vec<RefusedSummary>,
    /// Why `all` was not taken; absent if it was, or was not told.
    all_refused: Option<RefusedAll>,
    /// The time here: slots are judged by it.
    now: Time,
}

/// What a variant did.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct VariantOutcomes {
    /// The split that chose it; `.exposure` where a rollout without a split of its own has reached some units and not the rest.
    split: SplitId,
    variant: VariantKey,
    requests: u64,
    /// Those that failed.
    bad_requests: u64,
    /// 31250 for 3.125 %. Null without requests.
    error_rate_millionths: Option<u64>,
    /// Half of the requests were as quick as this, to within 6.25 %; so are the two that follow. Null if none was measured.
    p50_us: Option<u64>,
    p95_us: Option<u64>,
    p99_us: Option<u64>,
    /// In millionths of the app's currency.
    cost_micros: u64,
}

/// What the variants of a flag did.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct FlagOutcomes {
    app: AppKey,
    flag: FlagKey,
    environment: EnvKey,
    /// The beginning of the first slot that is summed.
    since: Time,
    /// The end of the last one: that of the last slot that is closed.
    until: Time,
    /// By split and variant; only those with requests.
    variants: Vec<VariantOutcomes>,
}

/// All of them.
pub(super) fn outcomes() -> Vec<Operation> {
    vec![
        Operation::new(Method::POST, "/v1/outcomes", "take_outcomes")
            .title("Say what became of an app's requests")
            .about(format!(
                "One summary for each variant that was served, and slot of ten seconds: a slot begins at each ten seconds of the \
                 clock. The SDK's request scopes do this by themselves; an app without the SDK sends the same, every ten seconds and \
                 within {} s of the slot's end, since a slot is closed then:\n\n\
                 ```sh\n\
                 curl -X POST https://tidegate.example.org/v1/outcomes \\\n  \
                   -H \"Authorization: Bearer $TIDEGATE_TOKEN\" -H 'Content-Type: application/json' \\\n  \
                   -d '{{\"instance\": \"web-1\", \"batch\": \"k3f9-17\", \"slot\": \"2027-01-17T18:00:00Z\", \"summaries\": [\n    \
                     {{\"flag\": \"checkout\", \"flag_revision\": 412, \"split\": \".exposure\", \"variant\": \"on\",\n     \
                      \"slot\": \"2027-01-17T18:00:00Z\", \"outcomes\": {{\"units\": 1, \"requests\": 40, \"bad_requests\": 2,\n      \
                      \"cost_micros\": 90000, \"latency\": [[12000, 38], [48000, 2]],\n      \
                      \"served\": {{\"units\": [\"8f1b2c3d4e5f6071\"]}}, \"bad\": {{\"units\": [\"8f1b2c3d4e5f6071\"]}}}}}}]}}'\n\
                 ```\n\n\
                 Only requests whose variant a split or an exposure chose are told of, under the flag revision and the variant that \
                 OFREP's metadata gave. Without the lists of units errors are counted and thresholds work; nothing is compared with the \
                 control, and rollouts whose rules compare are held. `all` tells once for each slot what became of all requests, whether a flag was checked in them or not: rules \
                 of the app itself and its spend go by it. Summaries are taken one by one, so the answer is 202 even if some are refused. They are in memory until \
                 their slot closes: a server that crashes loses those of slots that were open, {} s at most, and senders do not tell \
                 them again. Open slots hold {MAX_SERIES} variants and revisions of flags, {MAX_SERIES_OF_APP} of one app environment.",
                GRACE.0 / 1_000,
                10 + GRACE.0 / 1_000,
            ))
            .by(TELLERS)
            .audience()
            .body::<Batch>(json!({
                "instance": "web-1", "batch": "k3f9-17", "slot": "2027-01-17T18:00:00.000Z",
                "gauges": { "cpu_millionths": 310_000, "memory_millionths": 420_000 },
                "all": {
                    "units": 60, "requests": 90, "bad_requests": 2, "cost_micros": 140_000,
                    "latency": [[12_000, 86], [48_000, 4]],
                },
                "summaries": [{
                    "flag": "checkout", "flag_revision": 412, "split": ".exposure", "variant": "on",
                    "slot": "2027-01-17T18:00:00.000Z",
                    "outcomes": {
                        "units": 1, "requests": 40, "bad_requests": 2, "cost_micros": 90_000,
                        "latency": [[12_000, 38], [48_000, 2]],
                        "served": { "units": ["8f1b2c3d4e5f6071"] },
                        "bad": { "units": ["8f1b2c3d4e5f6071"] },
                        "slow": { "units": [["8f1b2c3d4e5f6071", 48_000]] },
                    },
                }],
            }))
            .refused(&[problem::NOT_FOUND, problem::TOO_MANY])
            .answers::<OutcomesTaken>(202, "What was taken, and what was not.", json!({
                "added": 1, "repeated": 0,
                "refused": [{
                    "index": 1, "code": "unknown_flag", "detail": "there is no flag `chekout` in this environment",
                }],
                "now": "2027-01-17T18:00:11.204Z",
            })),
        Operation::new(
            Method::GET,
            "/v1/apps/{app}/flags/{flag}/environments/{environment}/outcomes",
            "get_outcomes",
        )
        .title("Show what a flag's variants did to requests")
        .about(
            "Requests, errors, latency and cost by split and variant, of the slots that are closed. Each slot is kept for two days \
             while the flag divides units, and for five minutes otherwise; of what is older there are sums of five minutes, for 31 \
             days, which count where they begin.",
        )
        .by(READERS)
        .query::<UnixMs>("since", "From when on: a moment of the last eight days; an hour ago if not said.")
        .refused(&[problem::INVALID_PARAMETER, problem::NOT_FOUND])
        .answers::<FlagOutcomes>(200, "The sums.", json!({
            "app": "shop", "flag": "checkout", "environment": "production",
            "since": "2027-01-17T17:00:00.000Z", "until": "2027-01-17T18:00:10.000Z",
            "variants": [
                {
                    "split": ".exposure", "variant": "off", "requests": 3_600, "bad_requests": 36,
                    "error_rate_millionths": 10_000, "p50_us": 9_000, "p95_us": 41_000, "p99_us": 88_000,
                    "cost_micros": 1_800_000,
                },
                {
                    "split": ".exposure", "variant": "on", "requests": 400, "bad_requests": 12,
                    "error_rate_millionths": 30_000, "p50_us": 9_500, "p95_us": 44_000, "p99_us": 90_000,
                    "cost_micros": 210_000,
                },
            ],
        })),
    ]
}
