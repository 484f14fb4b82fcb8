//! The promises of a node's state, through its public face.

mod commands;
mod doubts;
mod follow;
mod kills;
mod node;
mod past;
mod promises;
mod rollouts;
mod scripted;
mod timers;
