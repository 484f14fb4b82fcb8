//! Cobertura XML, as coverage.py, Istanbul, gcovr and others write it.
//!
//! Format: Cobertura's DTD, version 04: <https://cobertura.sourceforge.net/xml/coverage-04.dtd>.

use rollout_rules::gate::facts::{Facts, Problem, ProblemCode};
use rollout_rules::ids::Digest;

use super::coverage::{CoveredFile, Lines, settle};
use super::problem;
use super::xml::{Element, Node, Xml};

/// By how much a claimed rate may differ from the lines: writers round to as little as two digits.
const RATE_TOLERANCE: f64 = 0.01;

/// Longest folder that files are relative to, in bytes: it stands before each. A longer one is left out.
const MAX_ROOT_BYTES: usize = 200;

/// Reads a report: its facts, and its lines by file.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<(Facts, Vec<CoveredFile>), Problem> {
    let mut xml = Xml::new(bytes)?;
    let mut report = Report::default();
    while let Some(node) = xml.next()? {
        match node {
            Node::Open(element) => report.open(&element)?,
            Node::Close(name) => report.close(&name)?,
            Node::Text(text) if report.in_source => report.source.push_str(text.trim()),
            Node::Text(_) => {}
        }
    }
    report.compare()?;
    // Which of several folders a file is in is not said; of one it is.
    let is_known = report.sources == 1 && report.source.len() <= MAX_ROOT_BYTES;
    let root = if is_known { report.source.as_str() } else { "" };
    Ok(report.lines.finish(piece, root))
}

#[derive(Default)]
struct Report {
    lines: Lines,
    class: Option<Class>,
    claims: Claims,
    /// Lines of classes as they are listed: a line of two classes twice, as some writers sum them.
    listed: (u64, u64),
    sources: u32,
    source: String,
    in_source: bool,
    /// How deep it is in `<methods>`, whose lines the class lists again.
    in_methods: u32,
}

#[derive(Default)]
struct Class {
    file: String,
    rate: Option<f64>,
    lines: Vec<(u32, bool)>,
    of_methods: Vec<(u32, bool)>,
}

#[derive(Default)]
struct Claims {
    valid: Option<u64>,
    covered: Option<u64>,
    rate: Option<f64>,
}

impl Report {
    fn open(&mut self, element: &Element) -> Result<(), Problem> {
        match element.name.as_str() {
            "coverage" => {
                self.claims = Claims {
                    valid: element.count("lines-valid")?,
                    covered: element.count("lines-covered")?,
                    rate: rate(element)?,
                };
            }
            "source" => {
                self.sources += 1;
                self.in_source = true;
            }
            "class" => {
                let file = element
                    .get("filename")
                    .filter(|name| !name.is_empty())
                    .ok_or_else(|| malformed("A class does not say in which file it is."))?;
                self.class = Some(Class { file: file.to_owned(), rate: rate(element)?, ..Class::default() });
            }
            "methods" => self.in_methods += 1,
            "line" => {
                let Some(class) = &mut self.class else { return Ok(()) };
                let number = element.count("number")?.and_then(|number| u32::try_from(number).ok());
                let number = number.ok_or_else(|| malformed("A line has no number."))?;
                let hits = element
                    .count("hits")?
                    .ok_or_else(|| malformed("A line does not say how often it ran."))?;
                let lines = if self.in_methods > 0 { &mut class.of_methods } else { &mut class.lines };
                lines.push((number, hits > 0));
            }
            "package" => {
                rate(element)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Problem> {
        match name {
            "source" => self.in_source = false,
            "methods" => self.in_methods = self.in_methods.saturating_sub(1),
            "class" => {
                let Some(mut class) = self.class.take() else { return Ok(()) };
                // Lines that only methods list are lines too.
                if class.lines.is_empty() {
                    class.lines = core::mem::take(&mut class.of_methods);
                }
                let (all, covered) = settle(&mut class.lines);
                agrees(class.rate, all, covered)?;
                self.listed.0 += all;
                self.listed.1 += covered;
                let lines = self.lines.file(&class.file)?;
                lines.append(&mut class.lines);
                lines.append(&mut class.of_methods);
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), Problem> {
        let unique = self.lines.totals();
        let known = |claim: Option<u64>, ways: [u64; 2]| claim.is_none_or(|claim| ways.contains(&claim));
        if !known(self.claims.valid, [unique.0, self.listed.0])
            || !known(self.claims.covered, [unique.1, self.listed.1])
        {
            return Err(contradictory(unique.0, unique.1));
        }
        // The rate may be of either sum.
        agrees(self.claims.rate, unique.0, unique.1)
            .or_else(|_| agrees(self.claims.rate, self.listed.0, self.listed.1))
    }
}

/// A `line-rate`, from 0 to 1.
fn rate(element: &Element) -> Result<Option<f64>, Problem> {
    let Some(text) = element.get("line-rate").map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let rate: Option<f64> = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.map(Some).ok_or_else(|| malformed("A `line-rate` is no number from 0 to 1."))
}

fn agrees(rate: Option<f64>, all: u64, covered: u64) -> Result<(), Problem> {
    // Of no lines writers say 0 as well as 1.
    let Some(rate) = rate.filter(|_| all > 0) else { return Ok(()) };
    #[allow(clippy::cast_precision_loss, reason = "a piece has far fewer lines than 2^52")]
    let counted = covered as f64 / all as f64;
    if (rate - counted).abs() <= RATE_TOLERANCE { Ok(()) } else { Err(contradictory(all, covered)) }
}

fn contradictory(all: u64, covered: u64) -> Problem {
    let detail = format!(
        "Its totals are not the lines that it lists ({covered} of {all} ran). Run the tests with coverage \
        again, and send the report as the tool writes it."
    );
    problem(ProblemCode::Contradictory, detail)
}

fn malformed(what: &str) -> Problem {
    problem(
        ProblemCode::Malformed,
        format!("{what} Run the tests with coverage again, and send the report as the tool writes it."),
    )
}
