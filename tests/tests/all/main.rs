//! Tidegate as a whole from the outside, each test in a process of its own: one program, since each is linked with the whole server.
//! What needs a program of its own, for how it is run or shown, lies beside this one.

mod crash;
mod crash_binary;
mod crash_guardrails;
mod crash_rollout;
mod dependencies;
mod exposures;
mod flagd_testbed;
mod full_disk;
mod gate_story;
mod guardrails;
mod hung_disk;
mod no_std;
mod ofrep_node;
mod ofrep_python;
mod ofrep_rust;
mod ofrep_spec;
mod ofrep_web;
mod outcomes;
mod overloaded;
mod peer_rows;
mod receipts;
mod receiver;
mod rego;
mod sdk_server;
mod simulation;
mod takes_back;
