//! The promises of a node's state, through its public face.

mod commands;
mod follow;
mod kills;
mod node;
mod timers;
