//! The options of the commands that work on files where no server runs. What they do is in `offline`: this
//! side speaks only HTTP.

use std::path::PathBuf;

use clap::Args;

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
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}
