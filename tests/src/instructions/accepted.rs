//! The counts that were accepted, in `loadtest/instructions.toml`, and what is said of others.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::Measured;
use crate::callgrind::Count;
use crate::prerequisites::{ACCEPTED_INSTRUCTIONS, Counters, repository};

/// How far a count may be from the accepted one.
pub const TOLERANCE: f64 = 0.05;
/// A count that is so near the accepted one stays as it was accepted, and the diff shows what changed.
const SAME: f64 = 0.02;
/// A function is kept if it takes such a share of the whole by itself.
const KEPT_SHARE: f64 = 0.01;
/// Functions that are named at most, where a count grew.
const NAMED_FUNCTIONS: usize = 10;
/// What to do where a count is another on purpose.
const HOW_TO_ACCEPT: &str = "make accept-instructions";
/// What to do where it is over [`TOLERANCE`] more on purpose.
const HOW_TO_ACCEPT_MORE: &str = "make accept-instructions FORCE=1";
/// What the file begins with.
const HEAD: &str = "\
# Instructions that hot paths take, as callgrind counts them in an optimised build (profile `guard`), for each request,
# client or check, and the functions that take 1 % of them or more by themselves. A test fails where a path takes over
# 5 % more. Written by `make accept-instructions`: what is accepted is in the diff. With other tools, or on another kind
# of machine, than named here, nothing is compared.
";

/// The accepted counts.
#[derive(Debug, Default)]
pub struct Accepted {
    counts: BTreeMap<String, Count>,
}

impl Accepted {
    /// Those in the repository; none if there is no such file yet.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn read() -> Accepted {
        match std::fs::read_to_string(path()) {
            Ok(text) => Accepted::parse(&text),
            Err(_) => Accepted::default(),
        }
    }

    fn parse(text: &str) -> Accepted {
        let table: toml::Table = text.parse().expect("the accepted counts are TOML");
        let number = |value: &toml::Value| value.as_integer().and_then(|count| u64::try_from(count).ok());
        let count = |value: &toml::Value| {
            let instructions = number(value.get("instructions")?)?;
            let functions = value.get("functions")?.as_table()?.iter();
            let by_function =
                functions.filter_map(|(name, count)| Some((name.clone(), number(count)?))).collect();
            Some(Count { instructions, by_function })
        };
        Accepted {
            counts: table.iter().filter_map(|(name, value)| Some((name.clone(), count(value)?))).collect(),
        }
    }

    /// What is accepted of one.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<u64> {
        self.counts.get(name).map(|count| count.instructions)
    }

    /// The names of those of which a count was accepted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.counts.keys().map(String::as_str)
    }

    /// What there is to say of counts, a line or more for each.
    ///
    /// # Errors
    /// The same, if one of them has grown too much or was never accepted.
    pub fn judge(&self, measured: &[Measured]) -> Result<String, NotAccepted> {
        let (mut said, mut is_good) = (String::new(), true);
        for Measured { name, count } in measured {
            let now = count.instructions;
            let Some(accepted) = self.counts.get(*name) else {
                let _ = writeln!(said, "{name}: {now}, and none was accepted yet: {HOW_TO_ACCEPT}");
                is_good = false;
                continue;
            };
            let change = change(accepted.instructions, now);
            let percent = change * 100.0;
            let _ = writeln!(said, "{name}: {now} ({percent:+.2} % of {})", accepted.instructions);
            if change > TOLERANCE {
                is_good = false;
                said.push_str(&growth(accepted, count));
                let _ = writeln!(
                    said,
                    "  It takes too much: make it cheaper, or, if that is its price: {HOW_TO_ACCEPT_MORE}"
                );
            } else if change < -TOLERANCE {
                let _ = writeln!(
                    said,
                    "  It has become cheaper. Accept it, so that it stays so: {HOW_TO_ACCEPT}"
                );
            }
        }
        if is_good { Ok(said) } else { Err(NotAccepted(said)) }
    }

    /// Accepts these in their place; those of which nothing was measured are no more. `is_forced` accepts what has grown too
    /// much as well.
    ///
    /// # Errors
    /// When something has grown too much. Then nothing is accepted.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn accept(self, measured: &[Measured], is_forced: bool) -> Result<(), Grown> {
        let before = Counters::of_accepted();
        let text = self.accepting(measured, &before, &Counters::here(), is_forced)?;
        std::fs::write(path(), text).expect("the file of accepted counts can be written");
        Ok(())
    }

    /// The file, once these are accepted that were measured with other counters or the same.
    fn accepting(
        self,
        measured: &[Measured],
        before: &Counters,
        here: &Counters,
        is_forced: bool,
    ) -> Result<String, Grown> {
        let mut grown = String::new();
        for Measured { name, count: now } in measured {
            let accepted = self.counts.get(*name);
            let Some(accepted) =
                accepted.filter(|old| change(old.instructions, now.instructions) > TOLERANCE)
            else {
                continue;
            };
            let percent = change(accepted.instructions, now.instructions) * 100.0;
            let (old, new) = (accepted.instructions, now.instructions);
            let _ = writeln!(grown, "{name}: {old} -> {new} ({percent:+.2} %)\n{}", growth(accepted, now));
        }
        if !grown.is_empty() && !is_forced {
            return Err(Grown(grown));
        }
        // What other tools counted is not to stand beside what these did.
        let kept = if before == here { self } else { Accepted::default() };
        Ok(kept.text_with(measured, here))
    }

    fn text_with(&self, measured: &[Measured], counters: &Counters) -> String {
        let mut text = format!(
            "{HEAD}rustc = \"{}\"\nvalgrind = \"{}\"\nmachine = \"{}\"\n",
            counters.rustc, counters.valgrind, counters.machine
        );
        for Measured { name, count } in measured {
            let before = self.counts.get(*name);
            let same = before.filter(|old| change(old.instructions, count.instructions).abs() <= SAME);
            let count = same.unwrap_or(count);
            let _ = write!(text, "\n[{name}]\ninstructions = {}\n[{name}.functions]\n", count.instructions);
            for (function, instructions) in most(count) {
                let quoted = toml::Value::String(function.to_owned());
                let _ = writeln!(text, "{quoted} = {instructions}");
            }
        }
        text
    }
}

/// What there is to say of counts, of which one has grown too much or was never accepted.
#[derive(Debug)]
pub struct NotAccepted(String);

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAccepted {}

/// What takes too much more than was accepted, and which functions of it do.
#[derive(Debug)]
pub struct Grown(String);

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = TOLERANCE * 100.0;
        writeln!(f, "{}Nothing was accepted: this takes over {percent} % more than it did.", self.0)?;
        write!(f, "Make it cheaper, or, if that is its price: {HOW_TO_ACCEPT_MORE}")
    }
}

impl std::error::Error for Grown {}

/// By which share of the first the second is more.
fn change(before: u64, now: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let [before, now] = [before, now].map(|count| count as f64);
    (now - before) / before
}

fn path() -> PathBuf {
    repository().join(ACCEPTED_INSTRUCTIONS)
}

/// The functions that are kept, the greatest first.
fn most(count: &Count) -> Vec<(&str, u64)> {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let is_kept = |instructions: u64| instructions as f64 >= KEPT_SHARE * count.instructions as f64;
    let all = count.by_function.iter().map(|(name, instructions)| (name.as_str(), *instructions));
    let mut kept: Vec<(&str, u64)> = all.filter(|(_, instructions)| is_kept(*instructions)).collect();
    kept.sort_by_key(|(name, instructions)| (std::cmp::Reverse(*instructions), *name));
    kept
}

/// The functions that take more than when the count was accepted: at least so much more, as those that took little
/// then were not kept.
fn growth(accepted: &Count, now: &Count) -> String {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small"
    )]
    let most_not_kept = (KEPT_SHARE * accepted.instructions as f64) as u64;
    let mut grown: Vec<(u64, &str, u64)> = Vec::new();
    for (name, instructions) in &now.by_function {
        let before = accepted.by_function.get(name).copied().unwrap_or(most_not_kept);
        if *instructions > before {
            grown.push((instructions - before, name, *instructions));
        }
    }
    grown.sort_by_key(|(more, name, _)| (std::cmp::Reverse(*more), *name));
    let mut said = String::from("  What takes more by itself than it did, at least so much more:\n");
    for (more, name, instructions) in grown.into_iter().take(NAMED_FUNCTIONS) {
        let _ = writeln!(said, "  {more:>+10} = {instructions:>9}  {name}");
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::NAMES;

    fn measured(instructions: u64, functions: &[(&str, u64)]) -> Measured {
        let by_function = functions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Measured { name: NAMES[0], count: Count { instructions, by_function } }
    }

    fn accepted() -> Accepted {
        let before = measured(10_000, &[("shop::sell", 8_000), ("shop::<\"a\\b\">", 1_900), ("tiny", 99)]);
        Accepted::parse(&Accepted::default().text_with(&[before], &counters("1.0")))
    }

    fn counters(rustc: &str) -> Counters {
        Counters { rustc: rustc.to_owned(), valgrind: String::new(), machine: String::new() }
    }

    fn accepting(instructions: u64, rustc: &str, is_forced: bool) -> Result<String, Grown> {
        accepted().accepting(&[measured(instructions, &[])], &counters("1.0"), &counters(rustc), is_forced)
    }

    #[test]
    fn what_was_accepted_is_read_as_it_was_written() {
        let accepted = accepted();
        assert_eq!((accepted.of(NAMES[0]), accepted.of("nothing")), (Some(10_000), None));
        let kept: Vec<&String> = accepted.counts[NAMES[0]].by_function.keys().collect();
        assert_eq!(kept, ["shop::<\"a\\b\">", "shop::sell"], "below 1 % nothing is kept");
    }

    #[test]
    fn what_has_hardly_changed_stays_as_it_was_accepted() {
        for (instructions, kept) in [(10_200, 10_000), (10_201, 10_201), (9_700, 9_700)] {
            let text = accepting(instructions, "1.0", false).expect("it has hardly grown");
            assert_eq!(Accepted::parse(&text).of(NAMES[0]), Some(kept), "{text}");
        }
    }

    #[test]
    fn what_has_grown_too_much_is_accepted_only_by_force_whatever_counted_it() {
        for rustc in ["1.0", "1.1"] {
            let said = accepting(10_501, rustc, false).expect_err("it has grown").to_string();
            assert!(said.contains("10000 -> 10501") && said.contains("FORCE=1"), "{said}");
            let text = accepting(10_501, rustc, true).expect("it is forced");
            assert_eq!(Accepted::parse(&text).of(NAMES[0]), Some(10_501));
        }
    }

    #[test]
    fn what_other_tools_counted_is_accepted_as_these_count_it() {
        let text = accepting(10_100, "1.1", false).expect("it has hardly grown");
        assert!(text.contains("rustc = \"1.1\""), "{text}");
        assert_eq!(Accepted::parse(&text).of(NAMES[0]), Some(10_100), "{text}");
    }

    #[test]
    fn five_in_a_hundred_are_borne_and_more_is_not() {
        for (instructions, is_good) in [(9_000, true), (10_500, true), (10_501, false)] {
            let judged = accepted().judge(&[measured(instructions, &[])]);
            assert_eq!(judged.is_ok(), is_good, "{judged:?}");
        }
    }

    #[test]
    fn who_made_a_path_dearer_is_told_which_functions_grew_and_what_to_do() {
        let now = measured(11_200, &[("shop::sell", 8_010), ("shop::weigh", 1_200), ("tiny", 90)]);
        let said = accepted().judge(&[now]).expect_err("it has grown").to_string();
        let lines: Vec<&str> = said.lines().map(str::trim).collect();
        assert!(lines[0].ends_with(": 11200 (+12.00 % of 10000)"), "{said}");
        assert_eq!(lines[2], "+1100 =      1200  shop::weigh", "{said}");
        assert_eq!(lines[3], "+10 =      8010  shop::sell", "{said}");
        assert!(said.contains(HOW_TO_ACCEPT), "{said}");
    }

    #[test]
    fn who_made_it_cheaper_is_told_to_accept_that() {
        let said = accepted().judge(&[measured(9_400, &[])]).expect("cheaper is good");
        assert!(said.contains("cheaper. Accept it") && said.contains(HOW_TO_ACCEPT), "{said}");
        let said = accepted().judge(&[measured(9_600, &[])]).expect("it is as it was");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    #[test]
    fn what_nobody_accepted_is_not_good() {
        let said =
            Accepted::default().judge(&[measured(1, &[])]).expect_err("nothing was accepted").to_string();
        assert!(said.contains("none was accepted yet"), "{said}");
    }
}
