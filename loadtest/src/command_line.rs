//! The command line of `loadtest`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::bounds::Target;
use crate::checks::Origin;
use crate::cores::Cores;
use crate::kinds::checks::BASELINES;
use crate::kinds::{named, scale};
use crate::peers::{LIBRARIES, Library};
use crate::process::resident_kib;
use crate::report::are_good;
use crate::results::Results;
use crate::run::Runner;
use crate::scenario::{Scenario, Who, built_in, from_file};
use crate::show::{self, Machine, Progress};
use crate::{counted, feed, floor, peers, server};

const USAGE: &str = "\
usage: loadtest SCENARIO...|all [OPTION...]

A scenario is one by name (--list), or a file that ends with .toml.

  --short            as short as it can be, to see that it works; no bar is judged
  --target URL       another OFREP server on this machine instead of one that is started
  --token-file FILE  its token; or the variable LOADTEST_TOKEN
  --flag KEY         a flag that it has
  --pid N            its process, to see its CPU time and memory
  --against NAMES    whom to measure beside it, by comma: floor, floor-get, floor-same-length,
                     and peers that `make peers` brought: edge, unleash; in process, for sdk: unleash-rust,
                     eppo, launchdarkly, growthbook, statsig, flagsmith, flagd
  --json FILE        where to write everything that was measured, anew after each scenario
  --charts DIR       where to write latency.svg, throughput.svg and kill.svg, as often
  --seed N           what chance begins with
  --list             the scenarios

Ends with 0 if every bar is met, 1 if one is missed, is unsure or was not measured, something went wrong, or nothing was
measured at all, 2 if it is used wrongly. With --short no bar counts; with --target those do not that cannot be measured
of it.";
const TOKEN_VARIABLE: &str = "LOADTEST_TOKEN";
/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 4_096;
/// What chance begins with if nobody says.
const SEED: u64 = 1;

/// How the program is used.
#[derive(Debug, Default)]
struct Wanted {
    names: Vec<String>,
    is_short: bool,
    target: Option<String>,
    token_file: Option<PathBuf>,
    flag: Option<String>,
    pid: Option<u32>,
    against: Option<Vec<Who>>,
    results: Results,
    seed: Option<u64>,
    is_list: bool,
}

/// Why it cannot be used so.
#[derive(Debug)]
struct Misuse(String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the program: as one of the servers that it starts, or what the arguments ask for.
pub fn run(arguments: &[String]) -> ExitCode {
    let served = server::serve_if_asked(arguments)
        .or_else(|| floor::serve_if_asked(arguments))
        .or_else(|| feed::serve_if_asked(arguments))
        .or_else(|| scale::fill_if_asked(arguments))
        .or_else(|| peers::sweep_if_asked(arguments));
    if let Some(code) = served.or_else(|| counted::run_if_asked(arguments)) {
        return code;
    }
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let prepared = read(arguments).and_then(|wanted| {
        let scenarios = scenarios(&wanted)?;
        let target = target(&wanted)?;
        Ok((wanted, scenarios, target))
    });
    match prepared {
        Ok((wanted, scenarios, _)) if wanted.is_list => list(&scenarios),
        Ok((wanted, scenarios, target)) => measure(&wanted, scenarios, target),
        Err(misuse) => {
            eprintln!("{misuse}\n(loadtest --help says how it is used)");
            ExitCode::from(2)
        }
    }
}

fn read(arguments: &[String]) -> Result<Wanted, Misuse> {
    let mut wanted = Wanted::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments.next().cloned().ok_or_else(|| Misuse(format!("`{argument}` needs a value behind it")))
        };
        match argument.as_str() {
            "--short" => wanted.is_short = true,
            "--list" => wanted.is_list = true,
            "--target" => wanted.target = Some(value()?),
            "--token-file" => wanted.token_file = Some(value()?.into()),
            "--flag" => wanted.flag = Some(value()?),
            "--pid" => wanted.pid = Some(process(&value()?)?),
            "--against" => wanted.against = Some(against(&value()?)?),
            "--json" => wanted.results.json = Some(value()?.into()),
            "--charts" => wanted.results.charts = Some(value()?.into()),
            "--seed" => {
                let seed =
                    value()?.parse().map_err(|_| Misuse("`--seed` needs a whole number".to_owned()))?;
                wanted.seed = Some(seed);
            }
            _ if argument.starts_with('-') => return Err(Misuse(format!("`{argument}` is not known"))),
            _ => wanted.names.push(argument.clone()),
        }
    }
    if wanted.names.is_empty() && !wanted.is_list {
        return Err(Misuse("which scenario? A name, a file, or all".to_owned()));
    }
    let is_of_target = wanted.token_file.is_some() || wanted.flag.is_some() || wanted.pid.is_some();
    if wanted.target.is_none() && is_of_target {
        return Err(Misuse("`--token-file`, `--flag` and `--pid` say something of a `--target`".to_owned()));
    }
    look_for_peers(&wanted)?;
    Ok(wanted)
}

/// A process that can be looked at.
fn process(text: &str) -> Result<u32, Misuse> {
    let process = text.parse().map_err(|_| Misuse("`--pid` needs the number of a process".to_owned()))?;
    match resident_kib(process) {
        0 => Err(Misuse(format!("`--pid {process}`: there is no such process"))),
        _ => Ok(process),
    }
}

/// Whoever asks for peers has them, and our flags, which they are filled with.
fn look_for_peers(wanted: &Wanted) -> Result<(), Misuse> {
    for peer in wanted.against.iter().flatten().filter_map(|who| who.peer()) {
        if wanted.target.is_some() {
            return Err(Misuse("a peer has no flags of a `--target`: it is measured without one".to_owned()));
        }
        peer.find().map_err(|error| Misuse(error.to_string()))?;
    }
    if wanted.against.iter().flatten().any(|who| who.is_library()) {
        Library::find().map_err(|error| Misuse(error.to_string()))?;
    }
    Ok(())
}

fn against(names: &str) -> Result<Vec<Who>, Misuse> {
    let mut found = Vec::new();
    for name in names.split(',') {
        let all = || BASELINES.iter().chain(LIBRARIES);
        let known = all().find(|(known, _)| *known == name);
        let Some((_, who)) = known else {
            let known: Vec<&str> = all().map(|(name, _)| *name).collect();
            return Err(Misuse(format!("`--against {name}`: it is none of {}", known.join(", "))));
        };
        if found.contains(who) {
            return Err(Misuse(format!("`--against` names `{name}` twice")));
        }
        found.push(*who);
    }
    Ok(found)
}

fn scenarios(wanted: &Wanted) -> Result<Vec<Scenario>, Misuse> {
    let mut found = Vec::new();
    if wanted.is_list || wanted.names.iter().any(|name| name == "all") {
        found.extend(built_in());
    }
    for name in wanted.names.iter().filter(|name| *name != "all") {
        if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            found.push(from_file(Path::new(name)).map_err(|mistakes| Misuse(mistakes.to_string()))?);
        } else if let Some(scenario) = built_in().into_iter().find(|scenario| scenario.name == *name) {
            found.push(scenario);
        } else {
            return Err(Misuse(format!(
                "`{name}` is no scenario (--list), and no file that ends with .toml"
            )));
        }
    }
    let against = wanted.against.as_deref();
    let has_beside = found.iter().any(|scenario| named(against, scenario.kind.baselines()).is_some());
    if against.is_some() && !wanted.is_list && !has_beside {
        return Err(Misuse(format!(
            "`--against` names servers for checks over OFREP, or engines for sdk, and `{}` has none of those beside it",
            wanted.names.join("`, `")
        )));
    }
    Ok(found)
}

fn target(wanted: &Wanted) -> Result<Option<Origin>, Misuse> {
    let Some(url) = &wanted.target else { return Ok(None) };
    let at = Target::of(url).map_err(|error| Misuse(error.to_string()))?;
    let Some(flag) = wanted.flag.clone() else {
        return Err(Misuse("`--target` needs `--flag KEY`: a flag that it has".to_owned()));
    };
    let text = match &wanted.token_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.map_err(|error| Misuse(format!("the token in {}: {error}", path.display())))?)
        }
        None => std::env::var(TOKEN_VARIABLE).ok(),
    };
    let token = text.map(|text| text.trim().to_owned()).filter(|token| !token.is_empty());
    // What is no line of a header would become one.
    let is_plain =
        |text: &str| text.len() <= MAX_TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !token.as_deref().is_none_or(is_plain) {
        return Err(Misuse("the token is not one word of printable letters".to_owned()));
    }
    if !is_plain(&flag) || flag.is_empty() {
        return Err(Misuse("`--flag` has to be a key as it stands in a URL".to_owned()));
    }
    Ok(Some(Origin { at, token, flag, process: wanted.pid, is_ours: false }))
}

fn list(scenarios: &[Scenario]) -> ExitCode {
    for scenario in scenarios {
        println!("{:<12} {}", scenario.name, scenario.title);
    }
    ExitCode::SUCCESS
}

fn measure(wanted: &Wanted, scenarios: Vec<Scenario>, target: Option<Origin>) -> ExitCode {
    let Some(cores) = Cores::find() else {
        eprintln!("loadtest needs two cores: one for the load, which would else take the server's time");
        return ExitCode::from(2);
    };
    // A long run is not to end with a folder that is not there.
    if let Err(unwritten) = wanted.results.look() {
        eprintln!("{unwritten}");
        return ExitCode::from(2);
    }
    // From here on this program has one core.
    let machine = Machine::look();
    cores.take_load();
    let mut runner = Runner {
        is_short: wanted.is_short,
        target,
        against: wanted.against.clone(),
        seed: wanted.seed.unwrap_or(SEED),
        cores,
        progress: Progress::new(),
    };
    let mut is_written = true;
    let reports = runner.run_all(scenarios, &mut |reports, to_come| {
        // Whoever waits for a long run hears of it while something can be done.
        if let Err(unwritten) = wanted.results.write(reports, to_come, &machine) {
            is_written = false;
            eprintln!("\nresults are not written: {unwritten}");
        }
    });
    print!("{}", show::table(&reports, &machine));
    if is_written && are_good(&reports) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_measure_beside_is_not_asked_where_nobody_is_beside() {
        let chosen = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().copied().map(str::to_owned).collect();
            read(&arguments).and_then(|wanted| scenarios(&wanted)).map(|chosen| chosen.len())
        };
        let refused = chosen(&["sdk", "scale", "--against", "floor"]).expect_err("neither has a floor");
        assert!(refused.to_string().contains("`sdk`, `scale` has none"), "{refused}");
        assert_eq!(chosen(&["sdk", "single", "--against", "floor"]).expect("single has one"), 2);
        assert_eq!(chosen(&["sdk", "scale"]).expect("nobody is named"), 2);
        assert!(against("eppo,floor,eppo").is_err(), "one is named twice");
    }
}
