//! Scenario files. Each mistake of a file is named at once, with its key.

use std::fmt;
use std::path::Path;

use toml::Table;

use super::table::{Notes, Reading};
use super::{Bar, MAX_SCENARIO, Measure, Quoted, Scenario, Threshold, Who};
use crate::kinds::KINDS;

/// No bar asks for more, in whatever unit.
const MAX_BAR: f64 = 1e9;
/// Longest scenario file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

const BUILT_IN: [(&str, &str); 13] = [
    ("single.toml", include_str!("../../scenarios/single.toml")),
    ("bulk.toml", include_str!("../../scenarios/bulk.toml")),
    ("unchanged.toml", include_str!("../../scenarios/unchanged.toml")),
    ("changes.toml", include_str!("../../scenarios/changes.toml")),
    ("reports.toml", include_str!("../../scenarios/reports.toml")),
    ("sdk.toml", include_str!("../../scenarios/sdk.toml")),
    ("scale.toml", include_str!("../../scenarios/scale.toml")),
    ("feed.toml", include_str!("../../scenarios/feed.toml")),
    ("pages.toml", include_str!("../../scenarios/pages.toml")),
    ("page-values.toml", include_str!("../../scenarios/page-values.toml")),
    ("restart.toml", include_str!("../../scenarios/restart.toml")),
    ("overload.toml", include_str!("../../scenarios/overload.toml")),
    ("soak.toml", include_str!("../../scenarios/soak.toml")),
];

/// What is wrong with a scenario file, all of it.
#[derive(Debug)]
pub(crate) struct Mistakes {
    file: String,
    mistakes: Vec<String>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mistake) in self.mistakes.iter().enumerate() {
            let end = if place == 0 { "" } else { "\n" };
            write!(f, "{end}{}: {mistake}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The scenarios that come with the program.
pub(crate) fn built_in() -> Vec<Scenario> {
    let read = |(file, text): &(&str, &str)| from_text(file, text);
    BUILT_IN.iter().map(read).collect::<Result<_, _>>().expect("what comes with the program is tested")
}

/// A scenario of somebody's own.
///
/// # Errors
/// When the file cannot be read or has mistakes.
pub(crate) fn from_file(path: &Path) -> Result<Scenario, Mistakes> {
    let file = path.display().to_string();
    let one = |mistake: String| Mistakes { file: file.clone(), mistakes: vec![mistake] };
    let size = std::fs::metadata(path).map_err(|error| one(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(one(format!("is {size} bytes long; a scenario has at most {MAX_FILE_BYTES}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| one(error.to_string()))?;
    from_text(&file, &text)
}

fn from_text(file: &str, text: &str) -> Result<Scenario, Mistakes> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| Mistakes {
        file: file.to_owned(),
        mistakes: vec![error.to_string()],
    })?;
    let notes = Notes::default();
    let scenario = scenario(Reading::new("", table, &notes), &notes);
    match scenario {
        Some(scenario) if notes.is_empty() => Ok(scenario),
        _ => Err(Mistakes { file: file.to_owned(), mistakes: notes.taken() }),
    }
}

fn scenario(mut top: Reading<'_>, notes: &Notes) -> Option<Scenario> {
    let (name, title) = (top.text("name"), top.text("title"));
    // Without a kind nobody knows what the rest of the file is to be.
    let (section, read) = top.named("kind", KINDS)?;
    let kind = top.table(section, read);
    let thresholds = top.tables("threshold", threshold);
    let quoted = top.tables("quoted", |one| Quoted { text: one.text("text"), source: one.text("source") });
    let says = top.tables("says", |one| one.text("text"));
    top.end();
    let scenario = Scenario { name, title, kind: kind?, thresholds, quoted, says };
    check_whole(&scenario, notes);
    Some(scenario)
}

fn threshold(table: &mut Reading<'_>) -> Threshold {
    let measure = table.one_of("measure", Measure::ALL);
    let who = table.one_of_if_there("who", Who::ALL).unwrap_or(Who::Tidegate);
    let of = match table.flag_if_there("absolute") {
        true => None,
        false => Some(table.one_of("of", Who::ALL)),
    };
    let bars = [
        table.ratio_if_there("at_least", MAX_BAR).map(Bar::AtLeast),
        table.most_if_there("at_most", MAX_BAR).map(Bar::AtMost),
    ];
    let bar = match bars {
        [Some(bar), None] | [None, Some(bar)] => bar,
        _ => {
            table.note("at_least", "or `at_most` is needed, and not both");
            Bar::AtLeast(MAX_BAR)
        }
    };
    Threshold { measure, who, of, bar }
}

/// What is right by itself has to fit together, too.
fn check_whole(scenario: &Scenario, notes: &Notes) {
    for (form, is_short) in [("full", false), ("short", true)] {
        if scenario.kind.planned(is_short, None) > MAX_SCENARIO {
            notes.add(format!("`{form}` takes more than {} minutes", MAX_SCENARIO.as_secs() / 60));
        }
    }
    for Threshold { measure, who, of, .. } in &scenario.thresholds {
        if !scenario.kind.gives(*measure, *who, *of) {
            let of = of.map_or(String::new(), |of| format!(" of `{}`", of.name()));
            let (measure, who) = (measure.name(), who.name());
            notes.add(format!(
                "`threshold` is about `{measure}` of `{who}`{of}, which is not measured by this"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SINGLE: &str = BUILT_IN[0].1;

    /// What is said about a built-in file in which a text was put in another's place.
    fn mistakes(was: &str, is: &str) -> String {
        assert!(SINGLE.contains(was), "`{was}` is in the file");
        from_text("my.toml", &SINGLE.replacen(was, is, 1)).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_comes_with_the_program_is_in_order_and_short_when_short() {
        let scenarios = built_in();
        assert_eq!(scenarios.len(), BUILT_IN.len());
        let short: Duration = scenarios.iter().map(|scenario| scenario.kind.planned(true, None)).sum();
        // Starts and set-ups take some seconds more, and all of it is to end within a minute.
        assert!(short <= Duration::from_secs(52), "{short:?}");
        assert!(
            scenarios.iter().all(|scenario| !scenario.thresholds.is_empty() && !scenario.says.is_empty())
        );
    }

    #[test]
    fn every_mistake_of_a_file_is_named_with_its_key() {
        let said = mistakes("name = \"single\"", "nam = \"single\"");
        assert_eq!(said, "my.toml: `name` is missing\nmy.toml: `nam` is not known");
        for (was, is, expected) in [
            ("kind = \"checks\"", "kind = \"chess\"", "`kind` is `chess`, which is none of: checks"),
            ("[checks]", "[chekcs]", "`checks` is missing"),
            ("[checks]", "[chekcs]", "`chekcs` is not known"),
            (
                "connections = 64",
                "connections = 0",
                "`checks.connections` has to be a whole number from 1 to",
            ),
            ("connections = 64", "connections = \"64\"", "`checks.connections` has to be a whole number"),
            ("flags = 100", "flags = 1_000_000", "`checks.flags` has to be a whole number from 1 to 10000"),
            ("measure = \"checks_per_cpu_second\"", "measure = \"luck\"", "`threshold.measure` is `luck`"),
            ("at_least = 0.8", "at_least = -1", "`threshold.at_least` has to be a number above 0"),
            ("at_least = 0.8", "at_most = -1", "`threshold.at_most` has to be a number from 0 to"),
            ("at_least = 0.8", "", "`threshold.at_least` or `at_most` is needed"),
            ("at_least = 0.8", "at_least = 0.8\nat_most = 1", "and not both"),
            ("of = \"floor\"", "", "`threshold.of` is missing"),
            ("of = \"floor\"", "absolute = 1", "`threshold.absolute` has to be true or false"),
            ("of = \"floor\"", "of = \"floor\"\nabsolute = true", "`threshold.of` is not known"),
            ("of = \"floor\"", "of = \"tidegate-many\"", "of `tidegate-many`, which is not measured"),
            ("of = \"floor\"", "of = \"floor\"\nwho = \"floor-get\"", "of `floor-get` of `floor`, which is"),
            ("beside = [\"floor\", ", "beside = [", "has no `floor`"),
            ("beside = [\"floor\", ", "beside = [\"floor-get\", ", "`checks.beside` names `floor-get` twice"),
            ("rounds = 16", "rounds = 16, ruonds = 2", "`checks.full.ruonds` is not known"),
            ("rounds = 16", "rounds = 64, many_flags = 5", "`checks.full.many_flags` and `tidegate-many`"),
            ("saturate_ms = 1000", "saturate_ms = 60000", "`full` takes more than 30 minutes"),
            ("at = [", "at = [2, ", "`checks.full.at` has to be a number above 0, at most 1.5"),
            ("title = ", "title ", "my.toml: TOML parse error"),
        ] {
            let said = mistakes(was, is);
            assert!(said.contains(expected), "{is}: {said}");
        }
    }

    #[test]
    fn every_key_of_every_kind_is_needed_and_no_other_is_taken() {
        for (file, text) in BUILT_IN {
            let section = from_text(file, text).unwrap().name;
            let keys = text.lines().skip_while(|line| !line.starts_with('[')).skip(1);
            let keys = keys.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(" = "));
            let mut count = 0;
            for (key, _) in keys {
                let own = text.replacen(&format!("\n{key} = "), &format!("\nx_{key} = "), 1);
                let said = from_text(file, &own).map(|_| ()).unwrap_err().to_string();
                assert!(said.contains(&format!(".{key}` is missing")), "{section}: {said}");
                assert!(said.contains(&format!(".x_{key}` is not known")), "{section}: {said}");
                count += 1;
            }
            assert!(count >= 2, "{file} has a section with keys");
        }
    }

    #[test]
    fn a_bar_may_be_in_the_unit_of_its_measure() {
        let own = SINGLE.replacen("of = \"floor\"\nat_least = 0.8", "absolute = true\nat_most = 9", 1);
        let bar = from_text("my.toml", &own).unwrap().thresholds[0];
        assert_eq!((bar.of, bar.bar), (None, Bar::AtMost(9.0)));
    }
}
