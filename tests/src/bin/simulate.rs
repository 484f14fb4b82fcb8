//! Replays one seed of the simulation, with a readable trace:
//! `cargo run -p tidegate-tests --bin simulate -- SEED [MUTATION]`, or many with `FROM..TO`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tidegate_tests::simulation::{self, Mutation};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seeds = arguments.next();
    let mutation = arguments.next();
    let mutation = match mutation.as_deref().map(named) {
        Some(None) => return usage(),
        Some(found) => found,
        None => None,
    };
    match seeds.as_deref().map(|seeds| seeds.split_once("..").ok_or(seeds)) {
        Some(Ok((from, to))) => match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) => many(from, to, mutation),
            _ => usage(),
        },
        Some(Err(seed)) => seed.parse().map_or_else(|_| usage(), |seed| one(seed, mutation)),
        None => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("simulate SEED|FROM..TO [MUTATION]\n\nMutations: {:?}", Mutation::ALL);
    ExitCode::from(2)
}

fn named(name: &str) -> Option<Mutation> {
    Mutation::ALL.iter().copied().find(|mutation| format!("{mutation:?}").eq_ignore_ascii_case(name))
}

fn one(seed: u64, mutation: Option<Mutation>) -> ExitCode {
    let outcome = simulation::run_traced(seed, mutation);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    println!("\nseed {seed}: {} violation(s)", outcome.violations.len());
    outcome.violations.iter().for_each(|broken| println!("{}: {}", broken.law, broken.what));
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(from: u64, to: u64, mutation: Option<Mutation>) -> ExitCode {
    let mut broken = BTreeMap::new();
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in from..to {
        let outcome = simulation::run(seed, mutation);
        for (what, times) in outcome.counts {
            *counts.entry(what).or_default() += times;
        }
        let mut laws: Vec<_> = outcome.violations.iter().collect();
        laws.sort_by_key(|broken| broken.law);
        laws.dedup_by_key(|broken| broken.law);
        for violation in laws {
            let (seeds, example) =
                broken.entry(violation.law).or_insert((0u64, format!("seed {seed}: {}", violation.what)));
            *seeds += 1;
            example.truncate(200);
        }
    }
    counts.iter().for_each(|(what, times)| println!("{times:>9} {what}"));
    println!("\n{} seeds; laws broken, in how many seeds:", to.saturating_sub(from));
    broken.iter().for_each(|(law, (seeds, example))| println!("{seeds:>9} {law} ({example})"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
