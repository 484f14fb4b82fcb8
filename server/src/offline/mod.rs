//! Commands that work on files where no server runs: `tidegate verify`, `tidegate restore` and `tidegate gate verify`. Besides
//! `serve`, the first two alone open a log by its engine.

mod audit;
mod kept;
mod receipt;
mod restore;
mod target;
mod verify;

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rollout_rules::change::UnknownEntry;
use rollout_rules::ids::Revision;
use serde_json::{Value, json};

use self::receipt::ReceiptFault;
use crate::backup::{BackupError, LostFile};
use crate::cli::ExitCode;
use crate::log::{AppendError, OpenError};

pub use self::receipt::verify_receipt;
pub use self::restore::restore;
pub use self::verify::verify;

/// Why something was not checked, not found sound, or not restored.
#[derive(Debug)]
pub enum OfflineError {
    /// It is not there.
    NotThere(PathBuf),
    /// It is neither a backup nor a data directory.
    NotOurs(PathBuf),
    /// The backup is none, or not whole.
    Backup(BackupError),
    /// The log does not open, or is damaged.
    Log(OpenError),
    /// What is in the log is not sound; one line for each thing.
    Unsound(Vec<Fault>),
    /// The directory to make is there and not empty.
    NotEmpty(PathBuf),
    /// An entry could not be written.
    Append(AppendError),
    /// A receipt is not good, or not good for this.
    Receipt(ReceiptFault),
    /// The log that was written ends elsewhere than the backup: the file changed meanwhile.
    Changed,
    /// A file or directory cannot be read or written.
    Files {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// One thing that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An entry that this program does not know, or that is no entry.
    Unknown(Revision, UnknownEntry),
    /// An entry names an earlier one that is not so.
    Anchor(Revision),
    /// A checkpoint is not what was written.
    DamagedCheckpoint(Revision),
    /// A checkpoint is of another log, or of other entries.
    ForeignCheckpoint(Revision),
    /// A checkpoint holds something else than what its entries make.
    WrongCheckpoint(Revision),
    /// A file of the gate is not what its name says.
    TornFile(LostFile),
}

impl Fault {
    /// Whether it only says that this program is too old to judge.
    fn is_too_new(&self) -> bool {
        matches!(self, Fault::Unknown(_, UnknownEntry::Version { .. }))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unknown(revision, error) => write!(f, "revision {revision}: {error}"),
            Fault::Anchor(revision) => {
                write!(f, "revision {revision}: the earlier entry that it names (its anchor) is not so")
            }
            Fault::DamagedCheckpoint(revision) => {
                write!(
                    f,
                    "the checkpoint at revision {revision} is not what was written; a start passes over it"
                )
            }
            Fault::ForeignCheckpoint(revision) => {
                write!(f, "the checkpoint at revision {revision} is of other entries; a start passes over it")
            }
            Fault::WrongCheckpoint(revision) => write!(
                f,
                "the checkpoint at revision {revision} holds something else than its entries make: remove it, and \
                 the next start makes another from them"
            ),
            Fault::TornFile(LostFile { file, app, decision }) => write!(
                f,
                "the file {file} of the gate, of decision {decision} of {app}, is not what its name says: the server runs without it; ask \
                 the gate about that build again, with all evidence"
            ),
        }
    }
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::NotThere(path) => {
                write!(f, "{}: there is no such file or directory", path.display())
            }
            OfflineError::NotOurs(path) => {
                write!(f, "{}: this is neither a backup nor a data directory of Tidegate", path.display())
            }
            OfflineError::Backup(error @ BackupError::Kept(_)) => write!(
                f,
                "{error}. Take another copy of the file, or an older backup; `tidegate restore --accept-loss` restores the log and what of the \
                 rest is whole"
            ),
            OfflineError::Backup(error) => error.fmt(f),
            OfflineError::Log(OpenError::Locked { directory }) => write!(
                f,
                "a server uses {}: stop it first, or take a backup with `tidegate backup` and check that",
                directory.display()
            ),
            OfflineError::Log(error) => error.fmt(f),
            OfflineError::Unsound(faults) => {
                let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            OfflineError::NotEmpty(path) => write!(
                f,
                "{} is not empty: restore into a new directory, and start the server with that",
                path.display()
            ),
            OfflineError::Append(error) => write!(f, "the log could not be written: {error}"),
            OfflineError::Receipt(fault) => fault.fmt(f),
            OfflineError::Changed => {
                f.write_str("the backup changed while it was read: nothing was restored")
            }
            OfflineError::Files { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for OfflineError {}

impl From<BackupError> for OfflineError {
    fn from(error: BackupError) -> OfflineError {
        OfflineError::Backup(error)
    }
}

impl From<OpenError> for OfflineError {
    fn from(error: OpenError) -> OfflineError {
        OfflineError::Log(error)
    }
}

impl OfflineError {
    fn files(path: &Path, source: std::io::Error) -> OfflineError {
        match source.kind() {
            std::io::ErrorKind::NotFound => OfflineError::NotThere(path.to_owned()),
            _ => OfflineError::Files { path: path.to_owned(), source },
        }
    }

    /// What a shell sees.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            OfflineError::NotThere(_) => ExitCode::NotFound,
            OfflineError::Receipt(fault) => fault.exit_code(),
            OfflineError::NotOurs(_) | OfflineError::Backup(BackupError::NotABackup) => ExitCode::Usage,
            OfflineError::Unsound(faults) if faults.iter().all(Fault::is_too_new) => ExitCode::Unreachable,
            OfflineError::Log(OpenError::Locked { .. } | OpenError::Storage { .. })
            | OfflineError::Backup(BackupError::Format { .. } | BackupError::Read(_))
            | OfflineError::Files { .. } => ExitCode::Unreachable,
            OfflineError::Log(OpenError::Broken { .. })
            | OfflineError::Backup(
                BackupError::Truncated { .. } | BackupError::Damaged { .. } | BackupError::Kept(_),
            )
            | OfflineError::Unsound(_)
            | OfflineError::NotEmpty(_)
            | OfflineError::Append(_)
            | OfflineError::Changed => ExitCode::Refused,
        }
    }

    /// The kind's stable name.
    fn code(&self) -> &'static str {
        match self {
            OfflineError::NotThere(_) => "not_found",
            OfflineError::Receipt(fault) => fault.code(),
            OfflineError::NotOurs(_) | OfflineError::Backup(BackupError::NotABackup) => "not_a_backup",
            OfflineError::Backup(BackupError::Read(_)) | OfflineError::Files { .. } => "files",
            OfflineError::Backup(BackupError::Format { .. }) => "unknown_format",
            OfflineError::Log(OpenError::Locked { .. }) => "in_use",
            OfflineError::Log(OpenError::Storage { .. }) | OfflineError::Append(_) => "storage",
            OfflineError::Log(OpenError::Broken { .. })
            | OfflineError::Backup(_)
            | OfflineError::Unsound(_)
            | OfflineError::Changed => "unsound",
            OfflineError::NotEmpty(_) => "not_empty",
        }
    }

    /// As every command tells of a failure.
    fn as_failure(&self) -> Value {
        json!({"code": self.code(), "detail": self.to_string(), "exit_code": self.exit_code() as u8})
    }

    /// As a verdict.
    fn as_verdict(&self, path: &Path) -> Value {
        let faults = match self {
            OfflineError::Unsound(faults) => faults.iter().map(Fault::to_string).collect(),
            other => vec![other.to_string()],
        };
        json!({"path": path.to_string_lossy(), "sound": false, "faults": faults, "exit_code": self.exit_code() as u8})
    }
}

/// What a command has to say once it is done.
struct Said {
    lines: Vec<String>,
    json: Value,
}

/// Says how it went: what was done on standard output, what went wrong on standard error; one object each where
/// JSON is wanted.
fn say(outcome: Result<Said, OfflineError>, json: bool) -> ExitCode {
    let said = match outcome {
        Ok(said) => said,
        Err(error) => {
            let text = match json {
                true => format!("{:#}", error.as_failure()),
                false => format!("error: {}", error.to_string().replace('\n', "\nerror: ")),
            };
            // Nobody may be listening there.
            let _ = writeln!(std::io::stderr(), "{text}");
            return error.exit_code();
        }
    };
    let text = if json { format!("{:#}", said.json) } else { said.lines.join("\n") };
    // Whoever stops reading has seen enough.
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::Done
}

/// The same of something that was checked: that it is not sound is what was asked, so where JSON is wanted it stands
/// on standard output too.
fn say_verdict(path: &Path, outcome: Result<Said, OfflineError>, json: bool) -> ExitCode {
    if let (Err(error), true) = (&outcome, json) {
        let _ = writeln!(std::io::stdout(), "{:#}", error.as_verdict(path));
    }
    say(outcome, json)
}

/// `1 entry`, `2 entries`.
fn counted(entries: u64) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

/// `1 file`, `2 files`.
fn some(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
