//! The options of the commands that work on files where no server runs. What they do is in `offline`: this
//! side speaks only HTTP.

use std::path::PathBuf;

use clap::Args;

use rollout_rules::ids::{AppKey, EnvKey};

use super::session::Given;
use super::when::When;

/// What to check.
#[derive(Args, Clone, Debug)]
pub struct VerifyOptions {
    /// A backup's file, or the data directory of a server that is stopped
    pub path: PathBuf,
    /// Print the verdict as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to restore, and where.
#[derive(Args, Clone, Debug)]
pub struct RestoreOptions {
    /// The backup's file
    pub file: PathBuf,
    /// The directory to make; it must not be there, or be empty
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Restore also where evidence, receipts or the key of the gate are damaged in the backup: all that is whole. The log has to be
    #[arg(long)]
    pub accept_loss: bool,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// A receipt of the gate, and what to check it with.
#[derive(Args, Clone, Debug)]
pub struct ReceiptOptions {
    /// The receipt's file
    pub receipt: PathBuf,
    /// The gate's public key, as `tidegate gate key` prints it (PEM)
    // The commands around it have an option of this name, for another key. Of the same id, this one stands in its place.
    #[arg(id = "client_key", long = "key", value_name = "FILE", required = true)]
    pub(super) key: Option<Given<PathBuf>>,
    /// What it has to be for: the artifact's file, or sha256: and 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub artifact: Option<String>,
    /// The environment that it has to be for (and the app, with --app); without them, look at what it says
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    pub environment: Option<EnvKey>,
    /// Whether it was good then, and not whether it is now: 2026-12-01T18:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<When>,
}

/// What a receipt is checked for.
#[derive(Clone, Debug)]
pub struct ReceiptWanted<'o> {
    /// What was typed.
    pub options: &'o ReceiptOptions,
    /// The app that it has to be for; none: any.
    pub app: Option<AppKey>,
    /// Whether JSON is wanted.
    pub json: bool,
}

impl ReceiptOptions {
    /// The file of the key; empty if an empty name was given.
    pub fn key(&self) -> PathBuf {
        Given::named(self.key.clone()).unwrap_or_default()
    }
}
