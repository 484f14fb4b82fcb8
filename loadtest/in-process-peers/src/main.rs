//! Engines of other flag services in process, with the flags and the people that `loadtest sdk` has: `make peers` builds
//! this, and `loadtest sdk --against NAMES` runs it beside ours.
//!
//! Without arguments it measures all of them and prints what a check takes of this thread's CPU time. With the name of
//! one it prints who that is and whom its flags are on for, and then the time of one sample of checks for each line that
//! it reads: the name of a flag, or `loop` for a hundred.

mod eppo;
#[path = "../../src/figures.rs"]
#[allow(dead_code, reason = "shared with loadtest, which uses more of it")]
mod figures;
mod flagd;
mod flagsmith;
mod growthbook;
mod launchdarkly;
#[path = "../../src/in_process/measure.rs"]
#[allow(dead_code, reason = "shared with loadtest, which uses more of it")]
mod measure;
mod statsig;
mod unleash;
#[path = "../../src/in_process/world.rs"]
#[allow(dead_code, reason = "shared with loadtest, which uses more of it")]
mod world;

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use measure::{Work, sampling};
use serde_json::json;
use world::{Asked, IN_LIST, Kind, OFF, PEOPLE, ROLLOUT, RULES, looped};

/// What is asked for, by its name in lines that are read.
const CHECKS: [(&str, Option<Asked<'static>>); 5] = [
    ("off", Some(OFF)),
    ("rollout30", Some(ROLLOUT)),
    ("rules3", Some(RULES)),
    ("loop", None),
    ("list10k", Some(IN_LIST)),
];

/// Samples of each where all are shown.
const SAMPLES: usize = 51;

/// An engine with all flags and people.
trait Library {
    /// Whose it is, with its version.
    fn name(&self) -> &'static str;
    /// What it does otherwise than ours, if anything.
    fn says(&self) -> &'static str;
    /// 1 if the flag is on for the person, 0 if not; for one with rules, 1 and 2 are the halves.
    fn check(&self, asked: Asked<'_>, person: usize) -> usize;
    /// A hundred flags, one after another.
    fn hundred(&self, all: &[(String, Kind)], person: usize) -> usize {
        all.iter().map(|(flag, kind)| self.check(Asked { flag, kind: *kind }, person)).sum()
    }
}

/// An engine without its type, whose work is nevertheless compiled for it.
trait Shown {
    fn told(&self) -> serde_json::Value;
    fn work(&self, asked: Option<Asked<'static>>) -> Work<'_>;
}

impl<L: Library> Shown for L {
    fn told(&self) -> serde_json::Value {
        let share = |asked: Asked<'static>, wanted: fn(usize) -> bool| {
            let people = (0..PEOPLE).filter(|person| wanted(self.check(asked, *person)));
            people.count() as f64 / PEOPLE as f64
        };
        let on = |answer| answer > 0;
        let first = |answer| answer == 1;
        let shares =
            [share(OFF, on), share(ROLLOUT, on), share(RULES, on), share(RULES, first), share(IN_LIST, on)];
        json!({"name": self.name(), "says": self.says(), "shares": shares})
    }

    fn work(&self, asked: Option<Asked<'static>>) -> Work<'_> {
        match asked {
            Some(asked) => Box::new(move |person| self.check(asked, person)),
            None => {
                let all: Vec<(String, Kind)> = looped().collect();
                Box::new(move |person| self.hundred(&all, person))
            }
        }
    }
}

/// Makes an engine with all flags and people.
type Make = fn() -> Box<dyn Shown>;

/// All of them, by the names that `--against` knows.
const LIBRARIES: [(&str, Make); 7] = [
    ("unleash-rust", || Box::new(unleash::Unleash::new())),
    ("eppo", || Box::new(eppo::Eppo::new())),
    ("launchdarkly", || Box::new(launchdarkly::LaunchDarkly::new())),
    ("growthbook", || Box::new(growthbook::GrowthBook::new())),
    ("statsig", || Box::new(statsig::StatsigGates::new())),
    ("flagsmith", || Box::new(flagsmith::Flagsmith::new())),
    ("flagd", || Box::new(flagd::Flagd::new())),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let served = match &arguments[..] {
        [] => {
            show_all();
            return ExitCode::SUCCESS;
        }
        [name] => LIBRARIES.iter().find(|(known, _)| known == name).map(|(_, make)| serve(&*make())),
        _ => None,
    };
    match served {
        Some(Ok(())) => ExitCode::SUCCESS,
        // Whoever asked has gone.
        Some(Err(_)) => ExitCode::FAILURE,
        None => {
            let names: Vec<&str> = LIBRARIES.iter().map(|(name, _)| *name).collect();
            eprintln!("usage: in-process-peers [{}]", names.join("|"));
            ExitCode::from(2)
        }
    }
}

/// Says who it is, and answers each line with a sample.
fn serve(library: &dyn Shown) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", library.told())?;
    out.flush()?;
    let mut samplings = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Some((name, asked)) = CHECKS.iter().find(|(name, _)| *name == line) else {
            writeln!(out, "there is no `{line}`")?;
            continue;
        };
        // The first is after it is warm.
        let sample = samplings.entry(*name).or_insert_with(|| sampling(library.work(*asked)));
        writeln!(out, "{}", sample())?;
        out.flush()?;
    }
    Ok(())
}

/// Measures all of them by themselves.
fn show_all() {
    for (_, make) in LIBRARIES {
        let library = make();
        println!("{}", library.told());
        for (name, asked) in CHECKS {
            let mut sample = sampling(library.work(asked));
            let ns: Vec<f64> = (0..SAMPLES).map(|_| sample()).collect();
            println!("  {name:<10} {:>12.1} ns", figures::median(&ns));
        }
    }
}
