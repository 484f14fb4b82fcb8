//! Asking before what cannot be undone. Killing and turning off never ask: they have to be quick, and can be
//! taken back. Nor does revoking a token: that cannot be taken back, but one that leaked has to stop at once.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use super::failure::Failure;
use super::output::harmless;

/// Whether the caller is sure.
#[derive(Args, Clone, Copy, Debug)]
pub struct Sure {
    /// Do not ask; without a terminal to ask on, it has to be said
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Sure {
    /// Goes on if the caller said so before, or says so now.
    pub(super) fn or_ask(self, what: &str) -> Result<(), Failure> {
        self.or_hear(what, ", and that cannot be undone")
    }

    /// The same for many changes that are shown, of which none is final by itself.
    pub(super) fn or_confirm(self, what: &str) -> Result<(), Failure> {
        self.or_hear(what, "")
    }

    fn or_hear(self, what: &str, more: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let (mut stderr, stdin) = (std::io::stderr(), std::io::stdin());
        if !(stdin.is_terminal() && stderr.is_terminal()) {
            return Err(Failure::usage(format!("{what}{more}: add --yes if you mean it")));
        }
        write!(stderr, "{}{more}. Go on? [y/N] ", harmless(what))?;
        stderr.flush()?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::usage("nothing was done"))
    }
}
