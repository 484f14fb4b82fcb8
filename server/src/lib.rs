//! The server of Tidegate and its operator's tool. The binary is thin: it reads the settings
//! ([`config`]), starts the parts and waits; or it speaks HTTP to a running server ([`cli`]).
#![deny(missing_docs)]

pub mod allocator;
pub mod backup;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod duration;
pub mod effects;
pub mod entry_json;
pub mod evaluator;
pub mod exposures;
pub mod first_token;
pub mod gate;
pub mod http;
pub mod log;
pub mod offline;
pub mod secret;
pub mod serve;
pub mod sli;
pub mod state;
pub mod telemetry;
pub mod tls;
