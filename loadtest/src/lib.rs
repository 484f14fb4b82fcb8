//! What the benches share: our own server in a process of its own, requests over bare sockets, and what a
//! series of figures says.

pub mod client;
pub mod figures;
pub mod server;
