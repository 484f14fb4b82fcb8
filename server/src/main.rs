//! The `tidegate` binary: the server, and the tool that operates it.

use std::io::Write as _;
use std::process::ExitCode;

use tidegate::cli::{self, Cli, Command, ServeOptions};
use tidegate::clock::Clock;
use tidegate::config::{Loaded, show};
use tidegate::first_token::Occasion;
use tidegate::offline;
use tidegate::serve::{ServeError, serve};
use tidegate::telemetry;
use tokio::signal::unix::{SignalKind, signal};

/// What shells make of an end by Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let command = match Cli::from_command_line(std::env::args_os()) {
        Ok(cli) => cli.command,
        Err(code) => return ExitCode::from(code as u8),
    };
    match command {
        Some(Command::Client(command)) => {
            let code = match command.receipt() {
                Some(wanted) => offline::verify_receipt(&wanted, Clock::system().now()),
                None => cli::run(command),
            };
            ExitCode::from(code as u8)
        }
        Some(Command::Verify(options)) => ExitCode::from(offline::verify(&options) as u8),
        Some(Command::Restore(options)) => ExitCode::from(offline::restore(&options) as u8),
        Some(Command::Demo(options)) => ExitCode::from(cli::demo(&options) as u8),
        Some(Command::Completions(options)) => ExitCode::from(cli::completions(&options) as u8),
        Some(Command::Man(options)) => ExitCode::from(cli::man(&options) as u8),
        Some(Command::Serve(options)) => start(&options),
        None => start(&ServeOptions::default()),
    }
}

fn start(options: &ServeOptions) -> ExitCode {
    let loaded = match options.sources().load() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(cli::ExitCode::Usage as u8);
        }
    };
    if options.print_config {
        // Whoever stops reading has seen enough.
        let _ = std::io::stdout().write_all(show::as_toml(&loaded.typed).as_bytes());
        return ExitCode::SUCCESS;
    }
    let occasion = if options.new_admin_token { Occasion::Asked } else { Occasion::FirstStart };
    match run(&loaded, occasion) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(loaded: &Loaded, occasion: Occasion) -> Result<(), ServeError> {
    let config = &loaded.config;
    telemetry::start_log(config.log_level, config.log_format);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Http)?;
    runtime.block_on(async {
        // The handlers are in place before anybody is told where the server is.
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Http)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Http)?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("asked to stop"),
                _ = interrupt.recv() => tracing::info!("interrupted; stopping (once more stops at once)"),
            }
            // It loses nothing that log or journal have: a crash may come at any moment too.
            tokio::spawn(async move {
                interrupt.recv().await;
                std::process::exit(INTERRUPTED);
            });
        };
        serve(config, occasion, &mut std::io::stdout(), shutdown).await
    })
}
