//! `loadtest`, and what it shares with the benches: our own server in a process of its own, requests over bare
//! sockets, cores, and what a series of figures says.

mod bounds;
mod chance;
mod checks;
pub mod client;
pub mod command_line;
pub mod cores;
mod counted;
pub mod driver;
pub mod evidence;
mod feed;
pub mod figures;
mod floor;
pub mod gate;
pub mod in_process;
mod judge;
mod kinds;
pub mod outcomes;
mod peers;
mod problem;
pub mod process;
mod ratio;
mod report;
mod results;
mod rounds;
mod run;
mod scenario;
mod sender;
pub mod server;
mod show;
