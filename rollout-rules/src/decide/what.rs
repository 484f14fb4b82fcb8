//! What commands name, in the words of refusals.

use alloc::string::String;
use core::fmt;

use crate::ids::{AppKey, EnvKey, FlagKey};

/// What a command named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An app.
    App(AppKey),
    /// An environment of an app.
    Environment(AppKey, EnvKey),
    /// A flag of an app.
    Flag(AppKey, FlagKey),
    /// Something else: its kind in words, and its name.
    Other(&'static str, String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::App(app) => write!(f, "app `{app}`"),
            What::Environment(app, environment) => write!(f, "environment `{environment}` of app `{app}`"),
            What::Flag(app, flag) => write!(f, "flag `{flag}` of app `{app}`"),
            What::Other(kind, name) => write!(f, "{kind} `{name}`"),
        }
    }
}
