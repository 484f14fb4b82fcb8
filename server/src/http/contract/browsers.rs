//! Web pages, and the SDK that is handed out to them.

use actix_web::http::Method;
use schemars::JsonSchema;
use serde_json::json;

use super::operation::{BROWSERS, Operation};
use crate::http::page::outcomes::{Report, Taken};
use crate::http::page::{OpenBody, Opened};
use crate::http::problem;

/// One file of the SDK.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct SdkFile {
    name: String,
    /// Where it is as it is now.
    path: String,
    /// Where this very file is, until the server is upgraded.
    immutable_path: String,
    media_type: String,
    bytes: u64,
    /// Packed, as browsers are sent it.
    gzip_bytes: u64,
    /// For the attribute of this name: SHA-384 in Base64.
    integrity: String,
}

/// The SDK that this server was built with.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct SdkView {
    /// Names the build.
    release: String,
    files: Vec<SdkFile>,
    /// What to write into a page: the SDK as the server has it, today and after an upgrade.
    snippet: String,
    /// The same with an address and a digest of this build, which stop working when the server is upgraded.
    pinned_snippet: String,
}

/// Pages.
pub(super) fn pages() -> Vec<Operation> {
    let frame = "{\"v\":2,\"log\":\"main\",\"revision\":42,\"body\":{\"snapshot\":{\"app\":\"shop\",\"environment\":\"production\"}}}";
    let change = "event: change\nid: main:43\ndata: {\"v\":2,\"log\":\"main\",\"revision\":43,\"body\":{\"change\":{\"follows\":0}}}\n\n";
    vec![
        Operation::new(Method::POST, "/v1/page", "open_page")
            .title("Open a page: what the flags marked for browsers answer for its context")
            .about(
                "For the browser SDK. A flag that is marked `values` is evaluated here; one that is marked `rules`, with no list and \
                 no sensitive attribute, arrives as rules. No other flag does. The page is kept while its stream is open and a minute \
                 more; its context is in memory alone. With the `tag` of an earlier answer for the same context, `frame` is null if \
                 nothing changed. A key names the origins whose pages may use it, which binds browsers and nobody else.",
            )
            .by(BROWSERS)
            .without_agents()
            .body::<OpenBody>(json!({ "context": { "targetingKey": "user-17", "plan": "free" } }))
            .refused(&[problem::INVALID_CONTEXT, problem::NOT_FOUND, problem::TOO_MANY_STREAMS])
            .answers::<Opened>(200, "The page is open.", json!({
                "stream": "/v1/page/stream?token=…", "outcomes": "/v1/page/outcomes?token=…", "takes_outcomes": true,
                "renew_in_ms": 180_000, "now": "2027-01-17T18:00:00.000Z", "tag": "8f1b2c3d4e5f60718f1b2c3d4e5f6071", "frame": frame,
            })),
        Operation::new(Method::GET, "/v1/page/stream", "follow_page")
            .title("Hear what changes for an open page")
            .about(
                "Server-sent events: `change` and `overlay` frames, a `snapshot` where the page lacks something, and `token` with new \
                 addresses a minute before those stop working that the page has. A page has at most 8 streams at a time and opens at most 16 in ten seconds. A comment comes at least every 15 s. 410 `page_gone`: open the page anew.",
            )
            .of_page()
            .query_needed::<String>("token", "As the page was given it.")
            .query::<String>("seen", "What the page has: the log's name and its revision, as in `main:42`.")
            .refused(&[problem::TOO_MANY_STREAMS, problem::NOT_FOUND, problem::RATE_LIMITED])
            .answers_text("Events.", "text/event-stream", change),
        Operation::new(Method::POST, "/v1/page/outcomes", "take_page_outcomes")
            .title("Say what became of a page's requests")
            .about(
                "JSON, which may be marked as plain text, as a beacon is. Any page may tell of errors inside the SDK \
                 (`faults`), only pages of a key that was made for it (`outcomes`) what became of requests; what they tell counts as what servers tell. Each flag counts if this server evaluates the page's context as the \
                 page says, and by the slot of its arrival; a page tells of at most 64 requests a slot of ten seconds, \
                 each with at most 64 flags, in at most two reports.",
            )
            .of_page()
            .query_needed::<String>("token", "As the page was given it.")
            .body::<Report>(json!({ "ended": [{
                "name": "load", "bad": false, "latency_us": 812_000,
                "flags": [{ "key": "checkout", "revision": 42, "variant": "on", "split": ".exposure" }],
            }] }))
            .refused(&[problem::NOT_ALLOWED, problem::TOO_MANY, problem::RATE_LIMITED])
            .answers::<Taken>(202, "Taken, as far as it counts.", json!({ "added": 1, "refused": [] })),
    ]
}

/// The SDK's files.
pub(super) fn sdk() -> Vec<Operation> {
    let file = |path: &str, id: &str, title: &str| {
        Operation::new(Method::GET, path, id)
            .title(title)
            .open()
            .header("If-None-Match", false, "The ETag of what is held")
            .refused(&[problem::NOT_FOUND, problem::SDK_NOT_BUILT])
            .answers_text("The file, packed with gzip for those who take it so.", "text/javascript", "…")
            .also_as("application/wasm")
            .with_header("ETag")
            .answers_nothing(304, "What is held is still right.")
            .with_header("ETag")
    };
    vec![
        Operation::new(Method::GET, "/sdk", "get_sdk")
            .title("The browser SDK that this server was built with")
            .about("HTML for browsers, JSON otherwise.")
            .open()
            .refused(&[problem::SDK_NOT_BUILT])
            .answers::<SdkView>(200, "Its files, and what to write into a page.", json!({
                "release": "8f1b2c3d4e5f6071",
                "files": [{
                    "name": "tidegate.js", "path": "/sdk/tidegate.js", "immutable_path": "/sdk/8f1b2c3d4e5f6071/tidegate.js",
                    "media_type": "text/javascript; charset=utf-8", "bytes": 40_000, "gzip_bytes": 12_000, "integrity": "sha384-…",
                }],
                "snippet": "<script type=\"module\">…</script>",
                "pinned_snippet": "<script type=\"module\" … integrity=\"sha384-…\" …></script>",
            }))
            .also_as("text/html"),
        file("/sdk/{file}", "get_sdk_file", "A file of the browser SDK, as it is now"),
        file("/sdk/{release}/{file}", "get_sdk_file_of_release", "A file of one build of the browser SDK, for ever"),
    ]
}
