//! Feature flags from Tidegate.
//!
//! A check is a local look-up: it takes nanoseconds, never fails and never blocks. It allocates nothing, but
//! once in the life of a thread that checks, or twice where there are many flags, for room to count answers in. A
//! thread of the SDK's own follows the server's feed and swaps in what changes; a kill is in effect
//! milliseconds after the operator's call. While the server is down, checks go on with what was known
//! last, from the disk if the program has restarted meanwhile, and expiry dates are still honoured.
//!
//! ```no_run
//! use tidegate_sdk::{Client, Context};
//!
//! # fn main() -> Result<(), tidegate_sdk::BuildError> {
//! let client = Client::builder("http://127.0.0.1:8080", "tg_sdk-server_…").start()?;
//! if client.bool("checkout", &Context::new("user-17"), false) {
//!     // The new checkout.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Programs without an async runtime need none for this, and programs that have one can start and drop
//! a client inside it. Clones of a [`Client`] share one connection; dropping the last one ends it.
//!
//! Requests whose checks go through a [scope](Client::scope) tell the server how they ended, under exactly the variants that they
//! were served: from that it knows that a variant fails, and takes it back.
//!
//! Which answers were given how often is counted, for a few nanoseconds a check, and told to the server about
//! once a minute and at the end: see [`Builder::exposures_every`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod acks;
mod builder;
mod cache;
mod client;
mod clock;
mod detail;
mod driver;
mod endpoint;
mod exposures;
mod lanes;
#[cfg(any(feature = "actix", feature = "tower"))]
pub mod middleware;
#[cfg(feature = "openfeature")]
pub mod openfeature;
mod outcomes;
mod shared;
mod status;

pub use rollout_rules::context::{Attribute, Context, ContextError};
pub use rollout_rules::evaluate::{Height, Reason};
pub use rollout_rules::ids::{AppKey, EnvKey, FlagKey, InstanceId, KillId, Revision, RuleId, VariantKey};
pub use rollout_rules::time::UnixMs;

pub use crate::builder::{BuildError, Builder};
pub use crate::client::Client;
pub use crate::detail::{Detail, ErrorKind, Json, Text};
pub use crate::outcomes::{MAX_FLAGS, Outcome, OutcomeCounts, Scope};
pub use crate::shared::Change;
pub use crate::status::{NotReady, Problem, Status};
