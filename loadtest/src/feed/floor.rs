//! What floors of a feed have in common: how they are started, followed, told to send an event and to forget.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Child;

use super::{Feed, FeedError, MAX_CLIENTS, SPARE_FILES, channels, patient, raw};
use crate::problem::Problem;
use crate::server::start_floor;

/// Connections for which files are asked of the system.
pub(super) const CONNECTIONS: usize = MAX_CLIENTS + SPARE_FILES;
/// What a client hears at once.
pub(super) const BEGUN: &[u8] = b": hb\n\n";

/// The floor in a process of its own; killed when dropped.
pub(crate) struct FeedFloor {
    process: Child,
    address: SocketAddr,
    event_bytes: usize,
}

impl FeedFloor {
    /// Starts the one that writes to every socket; it will send events of this length.
    pub(crate) fn raw(event_bytes: usize) -> Result<FeedFloor, Problem> {
        FeedFloor::start(raw::MODE, event_bytes)
    }

    /// Starts the one with a channel for each client.
    pub(crate) fn channels(event_bytes: usize) -> Result<FeedFloor, Problem> {
        FeedFloor::start(channels::MODE, event_bytes)
    }

    fn start(mode: &str, event_bytes: usize) -> Result<FeedFloor, Problem> {
        let (process, address) = start_floor(&[mode])?;
        Ok(FeedFloor { process, address, event_bytes })
    }
}

impl Feed for FeedFloor {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> u32 {
        self.process.id()
    }

    fn subscribe(&self, _client: usize) -> Result<Vec<u8>, FeedError> {
        Ok(subscription())
    }

    fn first_event(&self) -> Option<&'static [u8]> {
        Some(BEGUN)
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        publication(marker, self.event_bytes)
    }

    fn settle(&mut self) -> Result<(), FeedError> {
        let_go(self.address)
    }
}

impl Drop for FeedFloor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a client of a floor sends.
fn subscription() -> Vec<u8> {
    b"GET /feed HTTP/1.1\r\nhost: floor\r\naccept: text/event-stream\r\n\r\n".to_vec()
}

/// What makes a floor send an event of this length.
fn publication(marker: &str, event_bytes: usize) -> Vec<u8> {
    let mut event = format!("event: change\ndata: {marker}");
    while event.len() + 2 < event_bytes {
        event.push('x');
    }
    event.push_str("\n\n");
    let length = event.len();
    format!(
        "POST /publish HTTP/1.1\r\nhost: floor\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{event}"
    )
    .into()
}

/// Tells a floor that its clients have gone.
fn let_go(floor: SocketAddr) -> Result<(), FeedError> {
    let mut socket = patient(floor)?;
    socket.write_all(b"DELETE /clients HTTP/1.1\r\nhost: floor\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(())
}
