//! Does the guardrail find what is broken, and leave alone what is not? Made-up rollouts, from seeds, against the fold
//! that the server runs, beside rules that others use:
//! `cargo run --release -p tidegate-tests --bin guardrail-sim [-- --short] [--runs N] [--only B3] [--svg FILE]`.
//! `--no-rivals` leaves out the rules of others, `--threads N` uses so many cores, `--seed N` is the first seed (the next
//! runs take the next), `--like TEXT` picks rows by their names, `--cost` measures what the fold costs (B11). `--keep FILE` keeps
//! what came of each thousand runs of a harmless row, and does not run it again: 10,000 runs of all take hours, and can be run in
//! pieces so (with `--no-rivals`, one more thousand each time).

mod apps;
mod dice;
mod kept;
mod report;
mod rivals;
mod run;
mod scenario;
mod special;
mod traffic;

use std::process::ExitCode;

struct Options {
    short: bool,
    runs: Option<u64>,
    only: Option<String>,
    svg: Option<String>,
    like: Option<String>,
    rivals: bool,
    threads: usize,
    seed: u64,
    cost: bool,
    keep: Option<String>,
}

fn options() -> Option<Options> {
    let mut options = Options {
        short: false,
        runs: None,
        only: None,
        svg: None,
        like: None,
        rivals: true,
        threads: 1,
        seed: 0,
        cost: false,
        keep: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => options.short = true,
            "--runs" => options.runs = Some(arguments.next()?.parse().ok()?),
            "--only" => options.only = Some(arguments.next()?),
            "--svg" => options.svg = Some(arguments.next()?),
            "--like" => options.like = Some(arguments.next()?),
            "--threads" => options.threads = arguments.next()?.parse().ok().filter(|threads| *threads > 0)?,
            "--seed" => options.seed = arguments.next()?.parse().ok()?,
            "--no-rivals" => options.rivals = false,
            "--cost" => options.cost = true,
            "--keep" => options.keep = Some(arguments.next()?),
            _ => return None,
        }
    }
    Some(options)
}

fn failed(file: Option<&str>, error: &std::io::Error) -> ExitCode {
    eprintln!("{}: {error}", file.unwrap_or_default());
    ExitCode::FAILURE
}

/// At the bar, ten thousand flags with three tests each take 30 ms of every ten seconds of a core.
fn cost() -> ExitCode {
    const MOST_NS: u64 = 1_000;
    let (worked, passed) = special::cost();
    let counts = worked.unwrap_or(passed);
    println!(
        "B11  {counts} ns of a core for each test of a flag's slot, 10,000 flags with 3 tests each; {passed} ns by the clock{}",
        if counts < MOST_NS { "" } else { "\n     MISSED" }
    );
    if counts < MOST_NS { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "guardrail-sim [--short] [--runs N] [--only B3] [--like TEXT] [--svg FILE] [--no-rivals] [--threads N] [--seed N] [--cost] [--keep FILE]"
        );
        return ExitCode::from(2);
    };
    if options.cost {
        return cost();
    }
    let runs = options.runs.unwrap_or(if options.short { 60 } else { 1_000 });
    let wanted = |id: &str| options.only.as_deref().is_none_or(|only| only == id);
    let mut rows = Vec::new();
    let mut failures = 0;
    let mut kept = match options.keep.as_deref().map(kept::Kept::open).transpose() {
        Ok(kept) => kept,
        Err(error) => return failed(options.keep.as_deref(), &error),
    };
    for scenario in scenario::all() {
        let like = options.like.as_deref().is_none_or(|like| scenario.name.contains(like));
        if !wanted(scenario.id) || !like || (options.short && !scenario.short) {
            continue;
        }
        let rivals = options.rivals && scenario.traffic.slow.is_none();
        let seeds = options.seed..options.seed + runs;
        let outcome = match &mut kept {
            Some(kept) if scenario.bar.harmless && !rivals => kept.run(&scenario, seeds, options.threads),
            _ => Ok(run::run(&scenario, seeds, rivals, options.threads)),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return failed(options.keep.as_deref(), &error),
        };
        let row = report::Row::new(&scenario, outcome);
        println!("{row}");
        failures += row.missed.len();
        rows.push(row);
    }
    for told in
        special::IDS.into_iter().filter(|id| wanted(id)).flat_map(|id| special::run(id, runs, options.seed))
    {
        println!("{:4} {}{}", told.id, told.said, if told.missed { "\n     MISSED" } else { "" });
        failures += usize::from(told.missed);
    }
    if let Some(file) = options.svg
        && let Err(error) = std::fs::write(&file, report::svg(&rows))
    {
        return failed(Some(&file), &error);
    }
    println!("{failures} bars missed");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
