//! What shells and `man` want to know of the tool, made from the commands themselves.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueEnum};

use super::output::note;
use super::{Cli, ExitCode, Failure};

/// Which shell's completions are printed.
#[derive(Args, Clone, Debug)]
pub struct CompletionsOptions {
    /// The shell: put what is printed where it looks, such as ~/.local/share/bash-completion/completions/tidegate,
    /// ~/.zfunc/_tidegate or ~/.config/fish/completions/tidegate.fish
    shell: Shell,
}

/// A shell with completions.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Where man pages go.
#[derive(Args, Clone, Debug)]
pub struct ManOptions {
    /// A folder, made if absent, for a page for each command: tidegate.1, tidegate-flag-kill.1 and so on. Without it
    /// the first page is printed, for `tidegate man | man -l -`
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub fn completions(options: &CompletionsOptions) -> ExitCode {
    let generator = match options.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "tidegate", &mut text);
    done(print(&text))
}

/// Writes the man pages, or prints the first.
pub fn man(options: &ManOptions) -> ExitCode {
    let written = match &options.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text).and_then(|()| print(&text))
        }
    };
    done(written)
}

fn print(text: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text)?;
    // What is still held back at the end of a program is lost without a word if it cannot be written.
    out.flush()
}

fn done(written: std::io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::Done,
        // Whoever stops reading has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::Done,
        Err(error) => {
            let failure = Failure::Output(error);
            note(format_args!("error: {failure}"));
            failure.exit_code()
        }
    }
}
