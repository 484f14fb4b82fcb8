//! Does the guardrail find what is broken, and leave alone what is not? Made-up rollouts, from seeds, against the fold
//! that the server runs, beside rules that others use:
//! `cargo run --release -p tidegate-tests --bin guardrail-sim [-- --short] [--runs N] [--only B3] [--svg FILE]`.
//! `--no-rivals` leaves out the rules of others, `--threads N` uses so many cores, `--seed N` is the first seed (the next
//! runs take the next), `--like TEXT` picks rows by their names, `--cost` measures what the fold costs (B11).

mod apps;
mod dice;
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
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "guardrail-sim [--short] [--runs N] [--only B3] [--like TEXT] [--svg FILE] [--no-rivals] [--threads N] [--seed N] [--cost]"
        );
        return ExitCode::from(2);
    };
    if options.cost {
        let (median, quiet) = special::cost();
        println!(
            "B11  {median} ns for each test of a flag's slot, {quiet} ns in the quickest quarter of the rounds"
        );
        return ExitCode::SUCCESS;
    }
    let runs = options.runs.unwrap_or(if options.short { 60 } else { 1_000 });
    let wanted = |id: &str| options.only.as_deref().is_none_or(|only| only == id);
    let mut rows = Vec::new();
    let mut failures = 0;
    for scenario in scenario::all() {
        let like = options.like.as_deref().is_none_or(|like| scenario.name.contains(like));
        if !wanted(scenario.id) || !like || (options.short && !scenario.short) {
            continue;
        }
        let rivals = options.rivals && scenario.traffic.slow.is_none();
        let outcome = run::run(&scenario, options.seed..options.seed + runs, rivals, options.threads);
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
        eprintln!("{file}: {error}");
        return ExitCode::FAILURE;
    }
    println!("{failures} bars missed");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
