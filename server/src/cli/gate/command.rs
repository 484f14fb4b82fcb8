//! `tidegate gate`: whether a build may be where users are, and why.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollout_rules::ids::{AppKey, EnvKey};

use super::check::{self, CheckOptions, Format};
use super::decisions;
use crate::cli::ReceiptOptions;
use crate::cli::failure::Failure;
use crate::cli::session::{Given, Session};

/// What can be asked of the gate.
#[derive(Subcommand, Clone, Debug)]
pub enum GateCommand {
    /// Ask whether a build may be where users are: run it in the app's folder, after the build, with its reports
    ///
    /// Finds the reports of tests, scanners and builds by what they hold, looks itself which source files have tests, sends all of it
    /// and shows what passed, what did not, why that matters and how to mend it.
    ///
    /// Exit codes: 0 it may (also with warnings), 1 denied, 2 warnings with --fail-on-warn (or not a command), 3 evidence is
    /// missing or cannot be read (or what was named does not exist), 4 no answer from the gate, 7 not authorised.
    #[command(disable_version_flag = true)]
    Check(Box<CheckOptions>),
    /// Show a decision again, whole: what was found, why it matters and how to mend it
    Explain {
        /// Which, as `gate list` shows it; `latest` is the newest
        id: String,
        /// Where, and of which artifact
        #[command(flatten)]
        of: Which,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// List decisions, the newest first
    List {
        /// Where, and of which artifact
        #[command(flatten)]
        of: Which,
    },
    /// Show how what runs in an environment stands with the gate; ends with 6 if it may not be raised
    #[command(alias = "status")]
    Show {
        /// The environment
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: EnvKey,
    },
    /// Print a decision's signed receipt (SLSA verification summary), or write it into a file
    Receipt {
        /// Which, as `gate list` shows it; `latest` is the newest
        id: String,
        /// Where, and of which artifact
        #[command(flatten)]
        of: Which,
        /// The file
        #[arg(long, short = 'o', value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the public key that receipts are checked with
    Key,
    /// Check a receipt with the gate's public key; asks no server
    ///
    /// Exit codes: 0 the key signed it and the gate let it pass, 1 it is none, was changed, has lapsed or is for another artifact, app or
    /// environment, or the gate denied, 2 not a command, 3 a file is not there, 4 one cannot be read.
    Verify(ReceiptOptions),
}

/// Which decisions.
#[derive(Args, Clone, Debug)]
pub struct Which {
    /// Only for this environment
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    pub(super) environment: Option<EnvKey>,
    /// Only of this artifact: its file, or sha256: and 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub(super) artifact: Option<String>,
}

/// Carries a command out.
pub(in crate::cli) fn run(
    session: &mut Session,
    app: Option<Given<AppKey>>,
    command: GateCommand,
) -> Result<(), Failure> {
    // The key is of the gate, not of an app.
    if matches!(command, GateCommand::Key) {
        return decisions::key(session);
    }
    let app = &crate::cli::named(app)?;
    match command {
        GateCommand::Check(options) => check::run(session, app, &options),
        GateCommand::Explain { id, of, format } => decisions::explain(session, app, &id, &of, format),
        GateCommand::List { of } => decisions::list(session, app, &of),
        GateCommand::Show { environment } => decisions::standing(session, app, &environment),
        GateCommand::Receipt { id, of, output } => {
            decisions::receipt(session, app, &id, &of, output.as_deref())
        }
        GateCommand::Key => decisions::key(session),
        // The binary hands it to what works on files alone.
        GateCommand::Verify(_) => Err(Failure::usage("a receipt is checked without a server")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use rollout_rules::ids::{AppKey, EnvKey};

    use crate::cli::{Cli, ClientCommand, Command, ExitCode, ReceiptWanted};

    fn read(line: &str) -> Result<ClientCommand, ExitCode> {
        let words = ["tidegate"].into_iter().chain(line.split(' ')).map(Into::into);
        match Cli::from_command_line(words)?.command {
            Some(Command::Client(command)) => Ok(*command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_two_options_of_a_command_have_the_same_name() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_receipt_is_checked_with_the_gates_key_and_not_with_that_of_a_certificate() {
        let command =
            read("gate verify receipt.json --key gate.pem --artifact app.tar.gz --json").expect("a command");
        let ReceiptWanted { options, app, json } = command.receipt().expect("a receipt");
        assert_eq!(app, None);
        assert_eq!(options.key().to_str(), Some("gate.pem"));
        assert_eq!(
            (options.receipt.to_str(), options.artifact.as_deref(), json),
            (Some("receipt.json"), Some("app.tar.gz"), true)
        );
        assert_eq!(
            read("gate verify receipt.json").err(),
            Some(ExitCode::Usage),
            "a receipt alone proves nothing"
        );
        let placed = read("gate verify r.json --key k --app discount --env production --at 2026-12-01")
            .expect("a command");
        let wanted = placed.receipt().expect("a receipt");
        assert_eq!(wanted.app.as_ref().map(AppKey::as_str), Some("discount"));
        assert_eq!(wanted.options.environment.as_ref().map(EnvKey::as_str), Some("production"));
        assert!(wanted.options.at.is_some());
        assert!(read("gate key").expect("a command").receipt().is_none());
    }

    #[test]
    fn a_check_is_told_what_and_where_and_the_version_is_the_builds() {
        let check = "gate check --app discount --env production --artifact app.tar.gz";
        read(&format!("{check} --version 1.4.2 --evidence a.xml b.json --evidence c.json --fail-on-warn"))
            .expect("a command");
        read(&format!("{check} --diff-base origin/main --format sarif --output gate.sarif --audience gate"))
            .expect("a command");
        for wrong in [
            "gate check --app discount --env production",
            "gate check --app discount --artifact app.tar.gz",
            &format!("{check} --diff a.diff --diff-base main"),
            &format!("{check} --format yaml"),
        ] {
            assert_eq!(read(wrong).err(), Some(ExitCode::Usage), "{wrong}");
        }
    }

    #[test]
    fn a_role_is_given_for_an_app_or_a_tier_and_a_tick_is_made_in_a_role() {
        let grant = "role grant --role platform --person ada";
        read(&format!("{grant} --tier 1")).expect("a command");
        read(&format!("{grant} --app shop")).expect("a command");
        read("proposal approve p1 --role security --tick data --tick waivers").expect("a command");
        read("waiver request --app a --check vulnerabilities --finding CVE-1 --risk CVE-1 --expires 30d --reason r").expect("a command");
        for wrong in [
            grant,
            &format!("{grant} --app shop --tier 1"),
            "role grant --role admin --person ada --tier 1",
            "proposal approve p1 --tick data",
            "proposal approve p1 --role security --tick data --tick-all",
            "waiver request --app a --check vulnerabilities --finding CVE-1 --risk CVE-1 --reason r",
        ] {
            assert_eq!(read(wrong).err(), Some(ExitCode::Usage), "{wrong}");
        }
    }
}
