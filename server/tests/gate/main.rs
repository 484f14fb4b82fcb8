//! Tests of what the gate reads and checks, each over its public functions.

mod cli;
mod files;
mod infrastructure;
mod read;
mod same_json;
mod trust;
