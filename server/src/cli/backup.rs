//! `tidegate backup`: the whole log of a running server in one file, checked while it is written.

use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use clap::Args;
use rollout_rules::ids::Digest;
use serde_json::json;

use super::failure::Failure;
use super::output::note;
use super::session::Session;
use super::whole_file::{Readers, write_whole};
use crate::backup::{BackupError, BackupReader, Encoder, Header};

/// A server that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes read from the network at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that wait to be checked and written.
const BLOCKS_AHEAD: usize = 8;
/// How often a terminal is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Where the backup goes.
#[derive(Args, Clone, Debug)]
pub struct BackupOptions {
    /// The file, which is replaced once the backup is whole; - is standard output. Without it:
    /// tidegate-LOG-REVISION.backup in this directory
    file: Option<PathBuf>,
}

/// What was written.
struct Written {
    header: Header,
    entries: u64,
    /// Kills that the log had not taken.
    kills: usize,
    bytes: u64,
    checksum: Digest,
}

/// Takes a backup.
pub(super) fn run(session: &mut Session, options: &BackupOptions) -> Result<(), Failure> {
    let to_stdout = options.file.as_deref() == Some(Path::new("-"));
    if to_stdout && session.json {
        return Err(Failure::usage("both the backup and the JSON want standard output: name a file"));
    }
    let stream = session.client.stream("/v1/backup")?;
    let source = BufReader::with_capacity(BLOCK_BYTES, Steady::over(stream));
    let mut reader = BackupReader::open(source).map_err(no_backup)?;
    if to_stdout {
        let written = copy(&mut reader, &mut session.out)?;
        note(said(&written, "standard output"));
        return Ok(());
    }
    let path = options.file.clone().unwrap_or_else(|| {
        let Header { log, last, .. } = reader.header();
        PathBuf::from(format!("tidegate-{log}-{last}.backup"))
    });
    let written = write_whole(&path, Readers::Owner, |file| copy(&mut reader, file))?;
    let answer = json!({
        "file": path.to_string_lossy(),
        "log": written.header.log,
        "first": written.header.first,
        "last": written.header.last,
        "hash": written.header.hash,
        "at": written.header.at,
        "entries": written.entries,
        "kills_ahead": written.kills,
        "bytes": written.bytes,
        "sha256": written.checksum,
    });
    session.answer(&answer, said(&written, &path.display().to_string()))
}

fn no_backup(error: BackupError) -> Failure {
    Failure::BrokeOff { problem: format!("no backup was taken: {error}") }
}

fn said(written: &Written, place: &str) -> String {
    let Written { header, entries, kills, bytes, .. } = written;
    let noun = if *entries == 1 { "entry" } else { "entries" };
    let ahead = match kills {
        0 => "",
        1 => ", and a kill that the log has not taken",
        _ => ", and kills that the log has not taken",
    };
    format!(
        "{entries} {noun} ({bytes} bytes), up to revision {} of log {}{ahead}, are in {place}; the chain holds",
        header.last, header.log
    )
}

/// Copies a backup entry by entry: what is written is what was found to be as the server has it.
fn copy<R: BufRead>(reader: &mut BackupReader<R>, out: &mut dyn Write) -> Result<Written, Failure> {
    let header = reader.header().clone();
    let mut piece = Vec::new();
    let mut encoder = Encoder::begin(&header, &mut piece);
    let mut progress = Progress::of(header.last.0);
    let (mut entries, mut bytes) = (0, 0);
    loop {
        let Some(item) = reader.next_entry().map_err(no_backup)? else { break };
        encoder.entry(item.revision, item.hash, &item.bytes, &mut piece);
        entries += 1;
        if piece.len() >= BLOCK_BYTES {
            out.write_all(&piece)?;
            bytes += piece.len() as u64;
            piece.clear();
        }
        progress.tell(item.revision.0);
    }
    progress.done();
    let kills = reader.kills();
    kills.iter().for_each(|kill| encoder.kill(kill, &mut piece));
    let checksum = encoder.end(&mut piece);
    out.write_all(&piece)?;
    bytes += piece.len() as u64;
    out.flush()?;
    Ok(Written { header, entries, kills: kills.len(), bytes, checksum })
}

/// How far it is, where a person watches.
struct Progress {
    last: u64,
    told: Option<Instant>,
}

impl Progress {
    fn of(last: u64) -> Progress {
        Progress { last, told: std::io::stderr().is_terminal().then(Instant::now) }
    }

    fn tell(&mut self, revision: u64) {
        let Some(told) = &mut self.told else { return };
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            // Nobody may be listening there, and that is no reason to stop.
            let _ = write!(io::stderr(), "\r{revision} of {} entries", self.last);
        }
    }

    fn done(&self) {
        if self.told.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// A stream that fails when it has said nothing for a while: reads of the network have no bound of their own.
pub(super) struct Steady {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: io::Cursor<Vec<u8>>,
}

impl Steady {
    pub(super) fn over(mut stream: impl Read + Send + 'static) -> Steady {
        let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
        // A read that hangs can only be left behind.
        std::thread::spawn(move || {
            loop {
                let mut block = vec![0; BLOCK_BYTES];
                let read = match stream.read(&mut block) {
                    Ok(0) => return,
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        // Whoever asked may have gone.
                        let _ = sender.send(Err(error));
                        return;
                    }
                };
                block.truncate(read);
                if sender.send(Ok(block)).is_err() {
                    return;
                }
            }
        });
        Steady { blocks, block: io::Cursor::default() }
    }
}

impl Read for Steady {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            match self.blocks.recv_timeout(SILENCE) {
                Ok(block) => self.block = io::Cursor::new(block?),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => {
                    let silent = format!("the server has sent nothing for {} s", SILENCE.as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, silent));
                }
            }
        }
    }
}
