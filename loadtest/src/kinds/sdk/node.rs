//! Our engine as WebAssembly in Node, beside a rule written by hand.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::beside;
use crate::report::Findings;
use crate::scenario::{Measure, Who};

/// What Node takes, start and warm-up included.
const IN_NODE: Duration = Duration::from_secs(4);
/// Longest that Node may take; then it is killed.
const MOST_IN_NODE: Duration = Duration::from_secs(120);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
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

/// The same engine as WebAssembly, beside a rule written by hand in JavaScript with the clock that an expiry needs.
pub(super) fn in_node(is_short: bool, findings: &mut Findings) {
    let measured = match ask_node(is_short) {
        Ok(measured) => measured,
        Err(why) => {
            findings.missing.extend([Who::Wasm, Who::WasmAgain].map(|who| (who, why.clone())));
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
        let pairs: Vec<(f64, f64)> = of("ours").into_iter().zip(of("hand")).collect();
        if pairs.is_empty() {
            findings.missing.push((who, "Node says nothing of it".to_owned()));
            continue;
        }
        let by_hand = (Who::ByHand, "by hand in JavaScript");
        findings.figures.push(beside(Measure::NsPerCheck, [(who, label), by_hand], &pairs));
    }
}

/// What the bench in Node measured, or why there is nothing.
fn ask_node(is_short: bool) -> Result<Value, String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !top.join("../sdk-wasm/dist/tidegate-node.js").exists() {
        return Err("the SDK for Node is not built: make wasm".to_owned());
    }
    let mut node = Command::new("node");
    node.arg(top.join("js/check-bench.mjs")).args(["--json", "--without-chromium", "--only", "ours,hand"]);
    if is_short {
        node.args(["--rounds", SHORT_ROUNDS]);
    }
    let failed = |error: io::Error| format!("Node could not be asked: {error}");
    let [told, complaints] = [tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?];
    node.stdin(Stdio::null()).stdout(told.try_clone().map_err(failed)?);
    node.stderr(complaints.try_clone().map_err(failed)?);
    let child = node.spawn().map_err(|error| format!("there is no Node: {error}"))?;
    let Some(status) = ended_within(child, MOST_IN_NODE).map_err(failed)? else {
        return Err(format!("the bench in Node took longer than {} s", MOST_IN_NODE.as_secs()));
    };
    let [told, complaints] = [start_of(told).map_err(failed)?, start_of(complaints).map_err(failed)?];
    let said = String::from_utf8_lossy(&complaints);
    let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    match serde_json::from_slice(&told) {
        Ok(measured) if status.success() => Ok(measured),
        _ => Err(format!("the bench in Node ended with {status}: {last}")),
    }
}

/// How a process ended; none if it took longer, and was killed.
fn ended_within(mut process: Child, most: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + most;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            process.kill()?;
            process.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// What was written to a file, up to what it may say at most.
fn start_of(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPELL: Duration = Duration::from_millis(100);

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        // It reads for as long as the other end of its pipe is open.
        let endless =
            || Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a cat");
        let mut child = endless();
        let open = child.stdin.take();
        assert!(ended_within(child, SPELL).expect("it can be waited for").is_none());
        drop(open);
        let mut child = endless();
        drop(child.stdin.take());
        let ended = ended_within(child, Duration::from_secs(60)).expect("it can be waited for");
        assert!(ended.is_some_and(|status| status.success()));
    }
}
