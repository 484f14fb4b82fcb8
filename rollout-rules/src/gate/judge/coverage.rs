//! Line coverage: how much of the app its tests run. What no report has lines of counts as lines that no test runs.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::code::{NAMED, source_files};
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::facts::{Coverage, OfApp};
use crate::gate::policy::Level;

/// How to have a report.
const WRITE_ONE: &str = "Have the tests write one: `pytest --cov=src --cov-report=xml`, or `node --test --experimental-test-coverage \
                         --test-reporter=lcov --test-reporter-destination=lcov.info`.";
/// How to have a report of all files.
const WRITE_ALL: &str = "Have the tests measure every source file, and not only those that they load: `pytest --cov=. --cov-report=xml`, or \
                         `npx c8 --all --reporter=lcov npm test`. Test them, or delete what nobody uses.";

/// What a report comes to.
struct Measured {
    lines: u64,
    covered: u64,
    what: &'static str,
    /// Of the lines, those of files that no report has.
    left_out: u64,
}

impl Measured {
    fn of(report: &Coverage) -> Measured {
        let of_app = report.of_app.as_ref();
        let changed_left_out = of_app.map_or(0, |it| it.changed_lines);
        let changed = report.changed.filter(|changed| changed.lines > 0 || changed_left_out > 0);
        // A diff that touches no line of the report says nothing of it.
        let (lines, covered, what, left_out) = match changed {
            Some(changed) => (changed.lines, changed.covered, "changed lines", changed_left_out),
            None => (report.lines, report.covered, "lines", of_app.map_or(0, |it| it.lines)),
        };
        Measured { lines: lines.saturating_add(left_out), covered, what, left_out }
    }

    /// Hundredths of a percent, rounded down: what is below a bound by anything is below it.
    fn share(&self) -> u64 {
        self.covered.min(self.lines).saturating_mul(10_000) / self.lines.max(1)
    }
}

impl Bench<'_> {
    /// The worst report counts: that another one is added never makes it better.
    pub(super) fn coverage(&mut self) -> Outcome {
        let asked = self.policy.coverage;
        let worst_level = if asked.deny_below_percent.is_some() {
            Level::Deny
        } else if asked.warn_below_percent.is_some() {
            Level::Warn
        } else {
            Level::Note
        };
        let reports = &self.facts.coverage;
        if reports.is_empty() {
            if asked.missing == Level::Off {
                return Outcome::not_asked();
            }
            return Outcome::no_proof(asked.missing, "no report of coverage was handed in").fix(WRITE_ONE);
        }
        let nothing = asked.missing.max(worst_level);
        if reports.iter().all(|report| report.of_app.as_ref().is_some_and(|it| it.is_foreign)) {
            return Outcome::no_proof(nothing, foreign(reports)).fix(WRITE_ALL);
        }
        let judged =
            reports.iter().map(Measured::of).filter(|it| it.lines >= u64::from(asked.ignored_below_lines));
        let Some(worst) = judged.min_by_key(|it| (it.share(), it.what, it.lines, it.covered)) else {
            if reports.iter().all(|report| report.lines == 0) {
                return Outcome::no_proof(nothing, "the report of coverage lists no line");
            }
            let text = format!("fewer than {} lines: too few to judge", asked.ignored_below_lines);
            return Outcome::passed(text);
        };
        let share = worst.share();
        let mut text =
            format!("tests run {}.{:02} % of {} {}", share / 100, share % 100, worst.lines, worst.what);
        if worst.left_out > 0 {
            text.push_str(&said_of(&worst, reports));
        }
        let below = |percent: Option<u8>| percent.is_some_and(|percent| share < u64::from(percent) * 100);
        let level = match (below(asked.deny_below_percent), below(asked.warn_below_percent)) {
            (true, _) => Level::Deny,
            (false, true) => Level::Warn,
            (false, false) if worst_level == Level::Note => Level::Note,
            (false, false) => return Outcome::passed(text),
        };
        if level == Level::Note {
            return Outcome { level, ..Outcome::passed(text) };
        }
        let asks = if level == Level::Deny { asked.deny_below_percent } else { asked.warn_below_percent };
        let outcome = Outcome::failed(level, format!("{text}; {} % are asked", asks.unwrap_or(0)));
        if worst.left_out > 0 { outcome.fix(WRITE_ALL) } else { outcome }
    }
}

/// The files that no report has lines of, each once.
fn left_out(reports: &[Coverage]) -> (Vec<&str>, u64) {
    let fits: Vec<&OfApp> = reports.iter().filter_map(|report| report.of_app.as_ref()).collect();
    let named: BTreeSet<&str> = fits.iter().flat_map(|it| &it.named).map(String::as_str).collect();
    let most = fits.iter().map(|it| it.left_out).max().unwrap_or(0);
    (named.into_iter().take(NAMED).collect(), most)
}

fn foreign(reports: &[Coverage]) -> String {
    let (named, _) = left_out(reports);
    format!(
        "the report of coverage lists no line of any source file of the app, such as {}",
        named.join(", ")
    )
}

/// Which lines were counted that no report lists.
fn said_of(worst: &Measured, reports: &[Coverage]) -> String {
    let (named, files) = left_out(reports);
    let lines = counted(worst.left_out, "line", "lines");
    format!(
        ", counting {lines} of {} that no report lists, such as {}",
        source_files(files),
        named.join(", ")
    )
}
