//! `loadtest` shows what Tidegate does under load, beside floors in the same run, and lets anyone check it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    tidegate_loadtest::command_line::run(&arguments)
}
