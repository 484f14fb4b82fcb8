//! The `tidegate` binary: the server, and the tool that operates it.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::cli::{self, Cli, Command, ServeOptions};
use tidegate::config::show;

fn main() -> ExitCode {
    match Cli::parse().command {
        Some(Command::Client(command)) => ExitCode::from(cli::run(command) as u8),
        Some(Command::Serve(options)) => serve(&options),
        None => serve(&ServeOptions::default()),
    }
}

fn serve(options: &ServeOptions) -> ExitCode {
    let loaded = match options.sources().load() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(cli::ExitCode::Usage as u8);
        }
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    if options.print_config {
        print!("{}", show::as_toml(&loaded.typed));
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
