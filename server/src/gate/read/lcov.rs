//! LCOV traces, as coverage.py, Node, Jest, c8 and others write them.
//!
//! Format: trace files of LCOV, as geninfo(1) lists them under FILES: <https://github.com/linux-test-project/lcov>.

use rollout_rules::gate::facts::{Facts, Problem, ProblemCode};
use rollout_rules::ids::Digest;

use super::coverage::{CoveredFile, Lines, settle};
use super::problem;

/// Reads a trace: its facts, and its lines by file.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<(Facts, Vec<CoveredFile>), Problem> {
    let mut lines = Lines::default();
    let mut record: Option<Record> = None;
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(raw);
        let text = text.trim();
        let at = index + 1;
        if text == "end_of_record" {
            let mut ended = record.take().ok_or_else(|| malformed(at, "ends a file that was not begun"))?;
            ended.compare(at)?;
            lines.file(&ended.file)?.append(&mut ended.lines);
        } else if let Some(file) = text.strip_prefix("SF:") {
            if record.is_some() || file.trim().is_empty() {
                return Err(malformed(at, "begins a file within another, or one without a name"));
            }
            record = Some(Record { file: file.to_owned(), ..Record::default() });
        } else if let Some(record) = &mut record {
            record.take(at, text)?;
        } else if text.starts_with("DA:") {
            return Err(malformed(at, "counts a line of no file"));
        }
    }
    match record {
        Some(_) => Err(problem(
            ProblemCode::Malformed,
            "It is cut off: its last file does not end. Run the tests with coverage again.",
        )),
        None => Ok(lines.finish(piece, "")),
    }
}

#[derive(Default)]
struct Record {
    file: String,
    lines: Vec<(u32, bool)>,
    found: Option<u64>,
    hit: Option<u64>,
}

impl Record {
    fn take(&mut self, at: usize, text: &str) -> Result<(), Problem> {
        let Some((kind, rest)) = text.split_once(':') else { return Ok(()) };
        match kind {
            "DA" => {
                // A checksum of the line may follow.
                let mut parts = rest.split(',').map(str::trim);
                let line = parts.next().and_then(|line| line.parse().ok());
                let hits = parts.next().and_then(times);
                let (Some(line), Some(ran)) = (line, hits) else {
                    return Err(malformed(
                        at,
                        "does not say how often which line ran, with numbers from 0 up",
                    ));
                };
                self.lines.push((line, ran));
            }
            "LF" | "LH" => {
                let claim: u64 = rest.trim().parse().map_err(|_| malformed(at, "is no number from 0 up"))?;
                *(if kind == "LF" { &mut self.found } else { &mut self.hit }) = Some(claim);
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(&mut self, at: usize) -> Result<(), Problem> {
        let (all, covered) = settle(&mut self.lines);
        let found = self.found.unwrap_or(all);
        let hit = self.hit.unwrap_or(covered);
        // Lines that a comment takes out of the count Node does not list, and counts as found and run all the same.
        let unlisted = found
            .checked_sub(all)
            .filter(|unlisted| *unlisted <= all && hit.checked_sub(covered) == Some(*unlisted));
        if hit <= found && unlisted.is_some() {
            return Ok(());
        }
        let detail = format!(
            "Line {at}: `LF` and `LH` are not the lines that the file lists ({covered} of {all} ran). Run \
            the tests with coverage again, and send the report as the tool writes it."
        );
        Err(problem(ProblemCode::Contradictory, detail))
    }
}

/// Whether a line ran at all, by how often. More often than fits a number is often.
fn times(text: &str) -> Option<bool> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.bytes().any(|byte| byte != b'0'))
}

fn malformed(at: usize, what: &str) -> Problem {
    problem(
        ProblemCode::Malformed,
        format!(
            "Line {at} {what}. Run the tests with coverage again, and send the report as the tool writes it."
        ),
    )
}
