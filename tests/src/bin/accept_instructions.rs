//! Counts the instructions of the hot paths anew and accepts them: `make accept-instructions`.

use std::process::ExitCode;

use tidegate_tests::instructions::{Accepted, all};
use tidegate_tests::prerequisites::Counters;

/// The variable that accepts what takes too much more as well, if it is 1.
const FORCE: &str = "FORCE";

fn main() -> ExitCode {
    let before = Accepted::read();
    let measured = all();
    let (then, here) = (Counters::of_accepted(), Counters::here());
    if then != here {
        println!("accepted with {then}\ncounted with  {here}");
    }
    for now in &measured {
        let was = before.of(now.name).map_or("none".to_owned(), |count| count.to_string());
        println!("{:<16} {was:>9} -> {:>9}", now.name, now.count.instructions);
    }
    match before.accept(&measured, std::env::var_os(FORCE).is_some_and(|force| force == "1")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(grown) => {
            eprintln!("{grown}");
            ExitCode::FAILURE
        }
    }
}
