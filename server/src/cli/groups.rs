//! What commands of the tool have in common: the app, the server, and what is below them.

use clap::{Args, Subcommand};
use rollout_rules::ids::{AppKey, EnvKey};

use super::kill::KillOptions;
use super::session::{CallOptions, Given};

/// Commands about one kind of thing.
#[derive(Args, Clone, Debug)]
pub struct Group<C: Subcommand> {
    #[command(flatten)]
    pub(super) call: CallOptions,
    #[command(subcommand)]
    pub(super) command: C,
}

/// Commands about things of an app.
#[derive(Args, Clone, Debug)]
pub struct InApp<C: Subcommand> {
    /// The app
    #[arg(long, short = 'a', env = "TIDEGATE_APP", global = true, value_name = "APP")]
    pub(super) app: Option<Given<AppKey>>,
    #[command(flatten)]
    pub(super) call: CallOptions,
    #[command(subcommand)]
    pub(super) command: C,
}

/// Commands about things of an app, or of all.
#[derive(Args, Clone, Debug)]
pub struct MaybeInApp<C: Subcommand> {
    /// The app; without it, what all apps share
    #[arg(long, short = 'a', env = "TIDEGATE_APP", global = true, value_name = "APP")]
    pub(super) app: Option<Given<AppKey>>,
    /// What all apps share, even if TIDEGATE_APP names one
    #[arg(long, global = true)]
    pub(super) shared: bool,
    #[command(flatten)]
    pub(super) call: CallOptions,
    #[command(subcommand)]
    pub(super) command: C,
}

/// Commands about things of any app, or of one.
#[derive(Args, Clone, Debug)]
pub struct OfApps<C: Subcommand> {
    /// Only of this app
    #[arg(long, short = 'a', env = "TIDEGATE_APP", global = true, value_name = "APP")]
    pub(super) app: Option<Given<AppKey>>,
    /// Of every app, even if TIDEGATE_APP names one
    #[arg(long, global = true)]
    pub(super) all_apps: bool,
    #[command(flatten)]
    pub(super) call: CallOptions,
    #[command(subcommand)]
    pub(super) command: C,
}

/// A command about one app, with nothing below it.
#[derive(Args, Clone, Debug)]
pub struct ForApp<O: Args> {
    /// The app
    #[arg(long, short = 'a', env = "TIDEGATE_APP", value_name = "APP")]
    pub(super) app: Option<Given<AppKey>>,
    #[command(flatten)]
    pub(super) options: O,
    #[command(flatten)]
    pub(super) call: CallOptions,
}

/// A command with nothing below it.
#[derive(Args, Clone, Debug)]
pub struct WithOptions<O: Args> {
    #[command(flatten)]
    pub(super) options: O,
    #[command(flatten)]
    pub(super) call: CallOptions,
}

/// Says that everything is meant, since it is too much to mean by accident.
#[derive(Args, Clone, Debug)]
pub struct Everything {
    /// Yes, every flag of every app
    #[arg(long, required = true)]
    pub(super) everything: bool,
    /// Only in environments of this name
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    pub(super) environment: Option<EnvKey>,
}

/// The kill of everything.
#[derive(Args, Clone, Debug)]
pub struct KillEverything {
    #[command(flatten)]
    pub(super) everything: Everything,
    #[command(flatten)]
    pub(super) options: KillOptions,
}

/// No options.
#[derive(Args, Clone, Debug)]
pub struct Nothing {}
