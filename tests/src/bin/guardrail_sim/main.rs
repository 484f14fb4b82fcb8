//! Does the guardrail find what is broken, and leave alone what is not? Made-up rollouts, from seeds, against the fold
//! that the server runs, beside rules that others use:
//! `cargo run --release -p tidegate-tests --bin guardrail-sim [-- --short] [--runs N] [--only B3] [--svg FILE]`.
//! `--no-rivals` leaves out the rules of others, `--cost` measures what the fold costs (B11).

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
    rivals: bool,
    cost: bool,
}

fn options() -> Option<Options> {
    let mut options = Options { short: false, runs: None, only: None, svg: None, rivals: true, cost: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => options.short = true,
            "--runs" => options.runs = Some(arguments.next()?.parse().ok()?),
            "--only" => options.only = Some(arguments.next()?),
            "--svg" => options.svg = Some(arguments.next()?),
            "--no-rivals" => options.rivals = false,
            "--cost" => options.cost = true,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("guardrail-sim [--short] [--runs N] [--only B3] [--svg FILE] [--no-rivals] [--cost]");
        return ExitCode::from(2);
    };
    if options.cost {
        println!("B11  {} ns for each test of a flag's slot", special::cost());
        return ExitCode::SUCCESS;
    }
    let runs = options.runs.unwrap_or(if options.short { 60 } else { 1_000 });
    let wanted = |id: &str| options.only.as_deref().is_none_or(|only| only == id);
    let mut rows = Vec::new();
    let mut failures = 0;
    for scenario in scenario::all() {
        if !wanted(scenario.id) || (options.short && !scenario.short) {
            continue;
        }
        let outcome = run::run(&scenario, runs, options.rivals && scenario.traffic.slow.is_none());
        let row = report::Row::new(&scenario, outcome);
        println!("{row}");
        failures += row.missed.len();
        rows.push(row);
    }
    for (id, name, missed) in special::all(runs).into_iter().filter(|(id, ..)| wanted(id)) {
        println!("{id:4} {name}: {}", if missed.is_empty() { "ok" } else { missed.as_str() });
        failures += usize::from(!missed.is_empty());
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
