//! Reading what is sent to the gate: a form with the request as JSON, and then the evidence, file by file. One file at a time is
//! held; what is read of it is kept.

use actix_multipart::{Field, Multipart};
use actix_web::{FromRequest as _, HttpRequest, web};
use futures_util::{StreamExt as _, TryStreamExt as _};
use rollout_rules::gate::facts::{AgentWork, MAX_PIECES};
use rollout_rules::release::{ArtifactDigest, MAX_VERSION_BYTES};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::gate::Gate;
use crate::gate::desk::Piece;
use crate::gate::files::Batch;
use crate::gate::read::MAX_PIECE_BYTES;
use crate::http::Shared;
use crate::http::body;
use crate::http::problem::{self, Problem};

/// Longest request part, in bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Most bytes of all pieces together.
const MAX_ALL_BYTES: usize = 64 * 1024 * 1024;
/// Most entries of language models, and files that each names.
const MAX_AGENTS: usize = 20;
const MAX_AGENT_FILES: usize = 100;
/// Longest text of such an entry, in bytes.
const MAX_AGENT_BYTES: usize = 200;

/// Most of a name that an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// What the gate is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRequest {
    /// What was built: `sha256:` and 64 hexadecimal digits in lower case.
    pub artifact: ArtifactDigest,
    /// What people call it: one line of at most 100 bytes.
    #[serde(default)]
    pub version: Option<String>,
    /// Why, for the log.
    #[serde(default)]
    pub reason: String,
    /// The language models that had a part in it, at most 20.
    #[serde(default)]
    pub agents: Vec<AgentWork>,
    /// Whether the evidence is joined with what the last decision on the artifact was made from.
    #[serde(default)]
    pub add: bool,
}

/// What was sent.
pub(super) struct Upload {
    pub(super) asked: GateRequest,
    pub(super) pieces: Vec<Piece>,
    /// What is to be kept of them.
    pub(super) batch: Batch,
}

/// Reads the form within bounds and the time that a request may take.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared,
    gate: &Gate,
) -> Result<Upload, Problem> {
    let mut payload = payload.into_inner();
    let form = Multipart::from_request(request, &mut payload);
    let form = form.await.map_err(|error| not_a_form(&error))?;
    let mut form = Form { parts: form, is_over: false };
    let longest = shared.settings.request_timeout * TIMES_AS_LONG;
    let read = tokio::time::timeout(longest, parts(&mut form, shared, gate)).await.map_err(|_| {
        let detail = format!("the evidence did not arrive within {} s", longest.as_secs());
        Problem::new(problem::REQUEST_TIMEOUT, detail)
    })?;
    if read.is_err() {
        // Who still sends does not hear the answer.
        let _ = tokio::time::timeout(shared.settings.request_timeout, pass_over(&mut form)).await;
    }
    read
}

/// A form whose parts come one by one.
struct Form {
    parts: Multipart,
    /// Nothing more can be read of it: that was all, or it is broken.
    is_over: bool,
}

impl Form {
    async fn next(&mut self) -> Result<Option<Field>, Problem> {
        if self.is_over {
            return Ok(None);
        }
        let next = self.parts.try_next().await;
        self.is_over = !matches!(next, Ok(Some(_)));
        next.map_err(|error| not_a_form(&error))
    }
}

/// Reads what is left of a form that is refused, up to as much as one may have.
async fn pass_over(form: &mut Form) {
    let mut bytes = 0;
    while let Ok(Some(mut part)) = form.next().await {
        while let Some(Ok(chunk)) = part.next().await {
            bytes += chunk.len();
            if bytes > MAX_ALL_BYTES {
                return;
            }
        }
    }
}

/// Evidence is larger than other bodies, and may take longer by that much.
const TIMES_AS_LONG: u32 = 12;

fn not_a_form(error: &dyn std::fmt::Display) -> Problem {
    let detail = format!(
        "send a form (multipart/form-data): the part `request` as JSON, then a part `evidence` for each file: {error}"
    );
    Problem::new(problem::INVALID_BODY, detail)
}

async fn parts(form: &mut Form, shared: &Shared, gate: &Gate) -> Result<Upload, Problem> {
    let (mut asked, mut pieces, mut all_bytes) = (None, Vec::new(), 0);
    let mut batch = gate.files().batch();
    while let Some(mut part) = form.next().await? {
        let name = part.name().unwrap_or_default().to_owned();
        let limit = match name.as_str() {
            "request" => MAX_REQUEST_BYTES,
            "evidence" => MAX_PIECE_BYTES,
            _ => return Err(not_a_form(&format!("there is no part `{}`", shown(&name)))),
        };
        let file = part.content_disposition().and_then(|it| it.get_filename()).map(str::to_owned);
        let file = file.filter(|name| !name.trim().is_empty());
        let file = file.unwrap_or_else(|| format!("evidence {}", pieces.len() + 1));
        let mut bytes = web::BytesMut::new();
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|error| not_a_form(&error))?;
            all_bytes += chunk.len();
            if bytes.len() + chunk.len() > limit || all_bytes > MAX_ALL_BYTES {
                return Err(too_large(&name, &file, limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        if name == "request" {
            if asked.is_some() {
                return Err(not_a_form(&"the part `request` is there twice"));
            }
            asked = Some(checked(body::parse(&bytes)?)?);
            continue;
        }
        if pieces.len() == MAX_PIECES {
            let detail = format!("the gate takes at most {MAX_PIECES} files of evidence at a time");
            return Err(Problem::new(problem::TOO_MANY, detail).with("limit", MAX_PIECES));
        }
        let _desk = gate.desk().await;
        let (desk, now) = (gate.clone(), shared.clock.now());
        let (label, packed) = (file.clone(), bytes.len());
        let work = web::block(move || {
            let piece = desk.take(&mut batch, &file, &bytes, now);
            (piece, batch)
        });
        let (piece, filled) = work.await.map_err(Problem::internal)?;
        batch = filled;
        let piece = piece.map_err(Problem::internal)?;
        // Packed files count as what they hold.
        all_bytes += piece.bytes().saturating_sub(packed);
        if all_bytes > MAX_ALL_BYTES {
            return Err(too_large(&name, &label, limit));
        }
        pieces.push(piece);
    }
    let asked = asked.ok_or_else(|| not_a_form(&"the part `request` is missing"))?;
    if asked.add && pieces.is_empty() {
        let detail = "`add` joins new evidence with what is there: send at least one part `evidence`";
        return Err(Problem::new(problem::INVALID, detail).with("field", "add"));
    }
    Ok(Upload { asked, pieces, batch })
}

/// A name that somebody sent, as errors show it: its beginning, on one line.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_CHARS).collect()
}

fn too_large(name: &str, file: &str, limit: usize) -> Problem {
    let what = if name == "evidence" { format!("`{}`", shown(file)) } else { format!("the part `{name}`") };
    let detail = format!("{what} is larger than {limit} bytes, or all files together than {MAX_ALL_BYTES}");
    Problem::new(problem::TOO_LARGE, detail).with("limit", limit)
}

fn checked(asked: GateRequest) -> Result<GateRequest, Problem> {
    let invalid = |field: &'static str, detail: String| {
        Err(Problem::new(problem::INVALID, detail).with("field", field))
    };
    let is_line = |text: &str, most: usize| {
        !text.trim().is_empty() && text.len() <= most && !text.chars().any(char::is_control)
    };
    if asked.version.as_deref().is_some_and(|version| !is_line(version, MAX_VERSION_BYTES)) {
        return invalid("version", format!("use one line of at most {MAX_VERSION_BYTES} bytes"));
    }
    let fits = |work: &AgentWork| {
        let names = [&work.agent, &work.model].into_iter().chain(&work.on_behalf_of).chain(&work.reviewer);
        let texts = names.chain(&work.files);
        work.files.len() <= MAX_AGENT_FILES && texts.into_iter().all(|text| is_line(text, MAX_AGENT_BYTES))
    };
    if asked.agents.len() > MAX_AGENTS || !asked.agents.iter().all(fits) {
        let detail = format!(
            "name at most {MAX_AGENTS} language models, with {MAX_AGENT_FILES} files each (of more, say as `more_files` how many), in lines \
             of at most {MAX_AGENT_BYTES} bytes"
        );
        return invalid("agents", detail);
    }
    Ok(asked)
}
