//! Our engine as WebAssembly in Node, beside a rule written by hand.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{beside, what_beside};
use crate::process::{ended_within, kill};
use crate::report::Findings;
use crate::scenario::{Measure, Who};

/// What Node takes, start and warm-up included.
const IN_NODE: Duration = Duration::from_secs(4);
/// Longest that Node may take; then it is killed.
const MOST_IN_NODE: Duration = Duration::from_secs(120);
/// Rounds in Node for the short form.
const SHORT_ROUNDS: &str = "3";
/// How long those take, start and warm-up included.
const SHORT_IN_NODE: Duration = Duration::from_millis(1_500);
/// Most that Node may say.
const MOST_BYTES: u64 = 1024 * 1024;

/// How long it takes.
pub(super) fn takes(is_short: bool) -> Duration {
    if is_short { SHORT_IN_NODE } else { IN_NODE }
}

/// The same engine as WebAssembly, beside a rule written by hand in JavaScript with the clock that an expiry needs: as data and as code.
pub(super) fn in_node(is_short: bool, findings: &mut Findings) {
    let measured = match ask_node(is_short) {
        Ok(measured) => measured,
        Err(why) => {
            findings.missing.extend([Who::Wasm, Who::WasmAgain].map(|who| (who, why.to_string())));
            return;
        }
    };
    if measured["agrees"] != true {
        findings.errors.push("in Node, ours and the rule by hand differ".to_owned());
    }
    let both =
        [(Who::Wasm, "WebAssembly", "fresh"), (Who::WasmAgain, "WebAssembly, the same again", "again")];
    for (who, label, kind) in both {
        let of = |name: &str| -> Vec<f64> {
            measured["rounds"][name][kind]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect()
        };
        let pairs = |name: &str| -> Vec<(f64, f64)> { of("ours").into_iter().zip(of(name)).collect() };
        let [as_data, as_code] = ["handAsData", "hand"].map(pairs);
        if as_data.is_empty() || as_code.is_empty() {
            findings.missing.push((who, "Node says nothing of it".to_owned()));
            continue;
        }
        let as_code = what_beside((Who::ByHandAsCode, "by hand in JavaScript, a rule as code"), &as_code);
        let by_hand = (Who::ByHand, "by hand in JavaScript, a rule as data");
        findings.figures.push(beside(Measure::NsPerCheck, [(who, label), by_hand], &as_data).beside(as_code));
    }
}

/// What the bench in Node measured, or why there is nothing.
fn ask_node(is_short: bool) -> Result<Value, NotInNode> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !top.join("../sdk-wasm/dist/tidegate-node.js").exists() {
        return Err(NotInNode::NoSdk);
    }
    // It ends with this one, in whatever way that ends.
    let mut node = Command::new("setpriv");
    node.args(["--pdeathsig", "KILL", "--", "node"]).arg(top.join("js/check-bench.mjs")).args([
        "--json",
        "--without-chromium",
        "--only",
        "ours,hand,handAsData",
    ]);
    if is_short {
        node.args(["--rounds", SHORT_ROUNDS]);
    }
    let failed = NotInNode::System;
    let [told, complaints] = [tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?];
    node.stdin(Stdio::null()).stdout(told.try_clone().map_err(failed)?);
    node.stderr(complaints.try_clone().map_err(failed)?);
    let mut node = Node(node.spawn().map_err(NotInNode::NoNode)?);
    let Some(status) = ended_within(&mut node.0, MOST_IN_NODE).map_err(failed)? else {
        return Err(NotInNode::TooLong);
    };
    let [told, complaints] = [start_of(told).map_err(failed)?, start_of(complaints).map_err(failed)?];
    let said = String::from_utf8_lossy(&complaints);
    let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    match serde_json::from_slice(&told) {
        Ok(measured) if status.success() => Ok(measured),
        _ => Err(NotInNode::Failed { status, last: last.to_owned() }),
    }
}

/// One that runs; killed when dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        kill(&mut self.0);
    }
}

/// Why nothing was measured in Node.
#[derive(Debug)]
enum NotInNode {
    /// Our SDK for it is not built.
    NoSdk,
    /// Nothing can be started.
    NoNode(io::Error),
    /// The system does not let it be asked.
    System(io::Error),
    /// It took longer than [`MOST_IN_NODE`], and was killed.
    TooLong,
    /// It ended so, or with no figures; and the last line that it complained in.
    Failed { status: ExitStatus, last: String },
}

impl fmt::Display for NotInNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotInNode::NoSdk => f.write_str("the SDK for Node is not built: make wasm"),
            NotInNode::NoNode(source) => write!(f, "setpriv, which starts Node, does not start: {source}"),
            NotInNode::System(source) => write!(f, "Node could not be asked: {source}"),
            NotInNode::TooLong => {
                write!(f, "the bench in Node took longer than {} s", MOST_IN_NODE.as_secs())
            }
            NotInNode::Failed { status, last } => write!(f, "the bench in Node ended with {status}: {last}"),
        }
    }
}

impl std::error::Error for NotInNode {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NotInNode::NoNode(source) | NotInNode::System(source) => Some(source),
            _ => None,
        }
    }
}

/// What was written to a file, up to what it may say at most.
fn start_of(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
