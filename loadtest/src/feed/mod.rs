//! Feeds and those who follow them: servers that send an event to everybody who listens, ours and floors, and crowds
//! of clients.

mod acks;
mod channels;
mod crowd;
mod floor;
mod node;
mod pages;
mod raw;
mod sdks;
mod watch;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::client::ClientError;
use crate::server::end_with_parent;

pub(crate) use floor::FeedFloor;
pub(crate) use node::Node;
pub(crate) use pages::{Pages, What};
pub(crate) use sdks::{Sdks, Told};
pub(crate) use watch::Watchers;

/// No connection of an operator takes longer, to be made or between two pieces of an answer.
const OPERATOR_PATIENCE: Duration = Duration::from_secs(30);
/// Most clients of a scenario. All come from one address to one port, for which Linux has 28,232 ports unless it is told
/// otherwise (`net.ipv4.ip_local_port_range`); the rest are for whoever else connects.
pub(crate) const MAX_CLIENTS: usize = 25_000;
/// Files and sockets that are no client's.
const SPARE_FILES: usize = 128;

/// A server that sends events to everybody who listens.
pub(crate) trait Feed {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// The process.
    fn process(&self) -> u32;
    /// What one client sends to follow.
    fn subscribe(&self, client: usize) -> Result<Vec<u8>, FeedError>;
    /// How many may prepare what they send before they connect.
    fn at_once(&self) -> usize {
        usize::MAX
    }
    /// How the event begins with which a client has everything; none if it has it before it connects.
    fn first_event(&self) -> Option<&'static [u8]>;
    /// The request that makes it send an event which holds the marker, once.
    fn publish(&mut self, marker: &str) -> Vec<u8>;
    /// How the event that was asked for last is seen.
    fn seen_as(&self, marker: &str) -> String {
        marker.to_owned()
    }
    /// Waits until it has noticed that its clients are gone.
    fn settle(&mut self) -> Result<(), FeedError>;
}

/// Why a crowd cannot go on.
#[derive(Debug)]
pub(crate) enum FeedError {
    /// The system refused.
    System(io::Error),
    /// Not everybody came to it in time.
    Late { left: usize, of: usize, what: &'static str, after: Duration },
    /// A client lost its stream, or got none.
    Lost { what: &'static str, why: String },
    /// A server does not grant what is asked for.
    Refused { what: &'static str, status: u16 },
    /// A server does not do what an operator asks for.
    Operator(ClientError),
    /// A server keeps clients that have gone.
    KeepsClients { left: u64, after: Duration },
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedError::System(source) => write!(f, "the system refused: {source}"),
            FeedError::Late { left, of, what, after } => {
                write!(f, "{left} of {of} clients {what} after {} s", after.as_secs())
            }
            FeedError::Lost { what, why } => write!(f, "{what}: {why}"),
            FeedError::Refused { what, status } => write!(f, "asked for {what}, the server answers {status}"),
            FeedError::Operator(source) => source.fmt(f),
            FeedError::KeepsClients { left, after } => {
                write!(f, "the server still counts {left} clients {} s after they have gone", after.as_secs())
            }
        }
    }
}

impl std::error::Error for FeedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FeedError::System(source) => Some(source),
            FeedError::Operator(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for FeedError {
    fn from(error: io::Error) -> FeedError {
        FeedError::System(error)
    }
}

impl From<rustix::io::Errno> for FeedError {
    fn from(error: rustix::io::Errno) -> FeedError {
        FeedError::System(error.into())
    }
}

impl From<ClientError> for FeedError {
    fn from(error: ClientError) -> FeedError {
        FeedError::Operator(error)
    }
}

/// A connection on which nothing is waited for for ever.
fn patient(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, OPERATOR_PATIENCE)?;
    socket.set_read_timeout(Some(OPERATOR_PATIENCE))?;
    socket.set_write_timeout(Some(OPERATOR_PATIENCE))?;
    Ok(socket)
}

/// Runs a floor until it is killed, if that is what the arguments ask for; to be called first.
pub(crate) fn serve_if_asked(arguments: &[String]) -> Option<ExitCode> {
    match arguments {
        [mode] if mode == raw::MODE => {
            end_with_parent(|| {});
            Some(raw::serve())
        }
        [mode] if mode == channels::MODE => {
            end_with_parent(|| {});
            Some(channels::serve())
        }
        _ => None,
    }
}

/// Whether so many clients fit: each takes a file here and one in the server. The limit on open files is raised as far
/// as the system allows; if that is too little, says so.
pub(crate) fn has_room(clients: usize) -> Result<(), NoRoom> {
    // The server keeps a quarter of its connections for requests.
    let needed = clients + clients / 3 + SPARE_FILES;
    let room = tidegate::descriptors::make_room(needed);
    if room >= needed {
        return Ok(());
    }
    Err(NoRoom { clients, needed, room })
}

/// The system allows too few open files for so many clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRoom {
    clients: usize,
    needed: usize,
    room: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoRoom { clients, needed, room } = self;
        write!(
            f,
            "{clients} clients need {needed} open files here and in the server, and the system allows {room} besides \
             those of the server itself (ulimit -Hn)"
        )
    }
}

impl std::error::Error for NoRoom {}
