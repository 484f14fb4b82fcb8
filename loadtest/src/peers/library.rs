//! Engines of other flag services in process: a program of its own with one of them and the flags and people that
//! `loadtest sdk` has. What it measures it measures as that does, on the core that it is started on.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::folder;
use crate::scenario::Who;

/// The program, in the folder of peers.
const PROGRAM: &str = "bin/in-process-peers";

/// Those that it knows, by its names for them, which are those of the command line.
pub(crate) const LIBRARIES: &[(&str, Who)] = &[
    ("unleash-rust", Who::UnleashRust),
    ("eppo", Who::Eppo),
    ("launchdarkly", Who::LaunchDarkly),
    ("growthbook", Who::GrowthBook),
    ("statsig", Who::Statsig),
    ("flagsmith", Who::Flagsmith),
    ("flagd", Who::Flagd),
];

/// Why one cannot be measured.
#[derive(Debug)]
pub(crate) enum LibraryError {
    /// It was not built.
    Absent { path: PathBuf },
    /// The system does not let it run.
    System(io::Error),
    /// It has ended.
    Ended,
    /// It says something else than it should.
    Wrong { said: String },
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LibraryError::Absent { path } => {
                write!(f, "the engines of others are not here ({} is absent): make peers", path.display())
            }
            LibraryError::System(source) => write!(f, "the engines of others do not run: {source}"),
            LibraryError::Ended => write!(f, "it has ended"),
            LibraryError::Wrong { said } => write!(f, "it says no time of a check: {said}"),
        }
    }
}

impl std::error::Error for LibraryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LibraryError::System(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for LibraryError {
    fn from(error: io::Error) -> LibraryError {
        LibraryError::System(error)
    }
}

/// One that runs; ended when dropped.
pub(crate) struct Library {
    who: Who,
    /// Its name and version.
    pub(crate) label: String,
    /// What it does otherwise than ours.
    pub(crate) says: String,
    /// The shares of people whom each flag is on for.
    pub(crate) shares: [f64; 5],
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Library {
    /// Looks whether it was built.
    pub(crate) fn find() -> Result<PathBuf, LibraryError> {
        let path = folder().join(PROGRAM);
        if path.is_file() { Ok(path) } else { Err(LibraryError::Absent { path }) }
    }

    /// Starts one, on the cores that this thread has.
    pub(crate) fn start(who: Who) -> Result<Library, LibraryError> {
        let mut program = Command::new(Library::find()?);
        program.arg(who.name()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = program.spawn()?;
        let (questions, answers) = match (process.stdin.take(), process.stdout.take()) {
            (Some(questions), Some(answers)) => (questions, BufReader::new(answers)),
            _ => return Err(LibraryError::Ended),
        };
        let (label, says) = (who.name().to_owned(), String::new());
        let mut library = Library { who, label, says, shares: [f64::NAN; 5], process, questions, answers };
        let said = library.line()?;
        let told: Value = serde_json::from_str(&said).unwrap_or_default();
        let shares: Vec<f64> =
            told["shares"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let (Some(name), Some(says), Ok(shares)) =
            (told["name"].as_str(), told["says"].as_str(), shares.try_into())
        else {
            return Err(LibraryError::Wrong { said });
        };
        (library.label, library.says, library.shares) = (name.to_owned(), says.to_owned(), shares);
        Ok(library)
    }

    /// Who it is.
    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// What a check takes of its thread's CPU time, in nanoseconds, in one sample.
    pub(crate) fn sample(&mut self, check: &str) -> Result<f64, LibraryError> {
        writeln!(self.questions, "{check}")?;
        let said = self.line()?;
        let ns = said.parse().ok().filter(|ns: &f64| ns.is_finite() && *ns > 0.0);
        ns.ok_or(LibraryError::Wrong { said })
    }

    fn line(&mut self) -> Result<String, LibraryError> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(LibraryError::Ended),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
