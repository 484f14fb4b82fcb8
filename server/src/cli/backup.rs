//! `tidegate backup`: the whole log of a running server, and what its gate keeps, in one file, checked while it is written.

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
use crate::backup::{BackupError, BackupReader, Encoder, Header, Kept, LostFile};

/// A server that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes read from the network at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that wait to be checked and written.
const BLOCKS_AHEAD: usize = 8;
/// Most decisions that are named whose files the server did not have.
const LOST_SHOWN: usize = 10;
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
    /// Files of the gate.
    files: u64,
    /// Those that the server did not have.
    lost: Vec<LostFile>,
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
        warn_of(&written);
        return Ok(());
    }
    let path = options.file.clone().unwrap_or_else(|| {
        let Header { log, last, .. } = reader.header();
        PathBuf::from(format!("tidegate-{log}-{last}.backup"))
    });
    let written = write_whole(&path, Readers::Owner, |file| copy(&mut reader, file))?;
    warn_of(&written);
    let answer = json!({
        "file": path.to_string_lossy(),
        "log": written.header.log,
        "first": written.header.first,
        "last": written.header.last,
        "hash": written.header.hash,
        "at": written.header.at,
        "entries": written.entries,
        "kills_ahead": written.kills,
        "gate_files": written.header.gate_files.map(|_| written.files),
        "gate_files_lost": written.lost,
        "bytes": written.bytes,
        "sha256": written.checksum,
    });
    session.answer(&answer, said(&written, &path.display().to_string()))
}

fn no_backup(error: BackupError) -> Failure {
    Failure::BrokeOff { problem: format!("no backup was taken: {error}") }
}

fn said(written: &Written, place: &str) -> String {
    let Written { header, entries, kills, files, bytes, .. } = written;
    let noun = if *entries == 1 { "entry" } else { "entries" };
    let ahead = match kills {
        0 => "",
        1 => ", and a kill that the log has not taken",
        _ => ", and kills that the log has not taken",
    };
    let kept = match (header.gate_files, files) {
        (None, _) => String::new(),
        (Some(_), 0) => ", with the key of the gate".to_owned(),
        (Some(_), 1) => ", with 1 file of the gate and its key".to_owned(),
        (Some(_), files) => format!(", with {files} files of the gate and its key"),
    };
    format!(
        "{entries} {noun} ({bytes} bytes), up to revision {} of log {}{ahead}{kept} are in {place}; the chain holds",
        header.last, header.log
    )
}

/// Says what is not in it that should be.
fn warn_of(written: &Written) {
    if written.header.gate_files.is_none() {
        note(
            "warning: what the gate keeps (evidence, receipts, its key) is not in the backup: the server's gate is closed, as its log says, \
             or the server is of a version that does not copy it"
                .to_owned(),
        );
    }
    let mut decisions: Vec<String> =
        written.lost.iter().map(|lost| format!("{} of {}", lost.decision, lost.app)).collect();
    decisions.dedup();
    let (count, more) = (written.lost.len(), decisions.len().saturating_sub(LOST_SHOWN));
    if count > 0 {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        decisions.truncate(LOST_SHOWN);
        note(format!(
            "warning: files of the gate that are missing or damaged on the server, and so not in the backup: {count}, of decisions {}{more}; \
             ask the gate about those builds again, with all evidence",
            decisions.join(", ")
        ));
    }
}

/// What is written piece by piece.
struct Output<'o> {
    out: &'o mut dyn Write,
    piece: Vec<u8>,
    bytes: u64,
}

impl Output<'_> {
    /// Writes what is there, if it is worth it.
    fn pass_on(&mut self, least: usize) -> io::Result<()> {
        if self.piece.len() >= least {
            self.out.write_all(&self.piece)?;
            self.bytes += self.piece.len() as u64;
            self.piece.clear();
        }
        Ok(())
    }
}

/// Copies a backup entry by entry, and file by file: what is written is what was found to be as the server has it.
fn copy<R: BufRead>(reader: &mut BackupReader<R>, out: &mut dyn Write) -> Result<Written, Failure> {
    let header = reader.header().clone();
    let mut output = Output { out, piece: Vec::new(), bytes: 0 };
    let mut encoder = Encoder::begin(&header, &mut output.piece);
    let mut progress = Progress::of(header.last.0);
    let mut entries = 0;
    while let Some(item) = reader.next_entry().map_err(no_backup)? {
        encoder.entry(item.revision, item.hash, &item.bytes, &mut output.piece);
        entries += 1;
        output.pass_on(BLOCK_BYTES)?;
        progress.tell(item.revision.0);
    }
    progress.done();
    let kills = reader.kills();
    kills.iter().for_each(|kill| encoder.kill(kill, &mut output.piece));
    let kills = kills.len();
    encoder.log_ends(&mut output.piece);
    let lost = copy_kept(reader, &mut encoder, &mut output)?;
    let files = header.gate_files.unwrap_or_default().saturating_sub(lost.len() as u64);
    let checksum = encoder.end(&mut output.piece);
    output.pass_on(0)?;
    output.out.flush()?;
    Ok(Written { header, entries, kills, files, lost, bytes: output.bytes, checksum })
}

/// Copies what the gate keeps. Says what the server did not have.
fn copy_kept<R: BufRead>(
    reader: &mut BackupReader<R>,
    encoder: &mut Encoder,
    output: &mut Output<'_>,
) -> Result<Vec<LostFile>, Failure> {
    let mut lost = Vec::new();
    while let Some(kept) = reader.next_kept().map_err(no_backup)? {
        match kept {
            Kept::Key => {
                let mut key = Vec::new();
                while let Some(piece) = reader.piece().map_err(no_backup)? {
                    key.extend_from_slice(piece);
                }
                encoder.key(&key, &mut output.piece);
            }
            Kept::File { name, bytes } => {
                encoder.file(name, bytes, &mut output.piece);
                while let Some(piece) = reader.piece().map_err(no_backup)? {
                    encoder.file_bytes(piece, &mut output.piece);
                    output.pass_on(BLOCK_BYTES)?;
                }
                encoder.file_ends(&mut output.piece);
            }
            Kept::Lost(file) => {
                encoder.lost(&file, &mut output.piece);
                lost.push(file);
            }
        }
        output.pass_on(BLOCK_BYTES)?;
    }
    Ok(lost)
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
