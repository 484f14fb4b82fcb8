//! Engines of other flag services in process: a program of its own with one of them and the flags and people that
//! `loadtest sdk` has. What it measures it measures as that does, on the core that it is started on.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::folder;
use crate::process::kill;
use crate::scenario::Who;

/// The program, in the folder of peers.
const PROGRAM: &str = "bin/in-process-peers";

/// Longest that one is waited for; then it is killed. It has all its flags in some seconds, and a sample in some milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of a line that one says.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Of a line that is wrong, so much is shown.
const SHOWN_CHARS: usize = 200;

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
    /// It said nothing for so long, and was killed.
    Hangs { who: Who, patience: Duration },
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
            LibraryError::Hangs { who, patience } => {
                write!(f, "{} said nothing for {} s, and was killed", who.name(), patience.as_secs())
            }
            LibraryError::Wrong { said } => {
                let start: String = said.chars().take(SHOWN_CHARS).collect();
                write!(f, "it says no time of a check: {start}")
            }
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
    patience: Duration,
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
        program.arg(who.name());
        Library::run(who, program, PATIENCE)
    }

    fn run(who: Who, mut program: Command, patience: Duration) -> Result<Library, LibraryError> {
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = program.spawn()?;
        let (questions, answers) = match (process.stdin.take(), process.stdout.take()) {
            (Some(questions), Some(answers)) => (questions, BufReader::new(answers)),
            _ => return Err(LibraryError::Ended),
        };
        let (label, says) = (who.name().to_owned(), String::new());
        let shares = [f64::NAN; 5];
        let mut library = Library { who, label, says, shares, process, patience, questions, answers };
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
        let give_up = Instant::now() + self.patience;
        let mut line = Vec::new();
        while !line.ends_with(b"\n") && line.len() < MAX_LINE_BYTES {
            if self.answers.buffer().is_empty() && !says_something_until(self.answers.get_ref(), give_up)? {
                kill(&mut self.process);
                return Err(LibraryError::Hangs { who: self.who, patience: self.patience });
            }
            let said = self.answers.fill_buf()?;
            if said.is_empty() {
                return Err(LibraryError::Ended);
            }
            let of_line = said.iter().position(|byte| *byte == b'\n').map_or(said.len(), |end| end + 1);
            line.extend_from_slice(&said[..of_line]);
            self.answers.consume(of_line);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// Waits until a program has said something or has ended; whether it has by then.
fn says_something_until(answers: &ChildStdout, give_up: Instant) -> io::Result<bool> {
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(answers, PollFlags::IN)], Some(&limit)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn refused(who: Who, words: [&str; 2]) -> String {
        let mut program = Command::new("sh");
        program.args(["-c", words[0], words[1]]);
        Library::run(who, program, SOON).err().expect("it is no engine").to_string()
    }

    #[test]
    fn one_that_hangs_is_named_and_waited_for_no_longer_than_it_may_take() {
        let said = refused(Who::Eppo, ["printf half; exec cat", "hangs"]);
        assert_eq!(said, "eppo said nothing for 0 s, and was killed");
    }

    #[test]
    fn one_that_talks_without_end_is_heard_no_further_than_a_line() {
        let said = refused(Who::Flagd, ["exec cat /dev/zero", "talks"]);
        assert!(said.starts_with("it says no time of a check: "), "{said}");
    }

    #[test]
    fn one_that_ends_is_not_waited_for() {
        assert_eq!(refused(Who::Statsig, ["exit 0", "ends"]), "it has ended");
    }
}
