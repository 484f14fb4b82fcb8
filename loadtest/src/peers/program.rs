//! A program that somebody else made: it ends with this one, in whatever way that ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::PeerError;
use crate::process::{ended_within, kill};
use crate::sender::ask;

/// No program takes longer to come up, or to do what it is started for.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks whether it is up.
const BETWEEN: Duration = Duration::from_millis(50);
/// A program that was interrupted and has not ended after this is killed.
const TIME_TO_END: Duration = Duration::from_secs(10);
/// Bytes of what it said that are shown if it does not come up.
const MAX_SAID_BYTES: usize = 400;

/// How a program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// It has nothing to put in order.
    Kill,
    /// It has, and does so when it is interrupted.
    Interrupt,
}

/// A running one; ended when dropped.
#[derive(Debug)]
pub(super) struct Program {
    what: &'static str,
    process: Child,
    end: End,
    log: PathBuf,
}

/// How one is started.
pub(super) struct Start<'s> {
    /// What it is, for people.
    pub(super) what: &'static str,
    pub(super) words: Vec<OsString>,
    /// The user that it runs as, if that is not ours.
    pub(super) user: Option<&'s str>,
    pub(super) settings: &'s [(&'s str, &'s OsStr)],
    /// Where its log goes.
    pub(super) folder: &'s Path,
    pub(super) end: End,
}

impl Program {
    /// Starts one, with nothing of our environment but the path of programs.
    pub(super) fn start(start: Start<'_>) -> Result<Program, PeerError> {
        let Start { what, words, user, settings, folder, end } = start;
        let failed = |source| PeerError::System { what, source };
        let log = folder.join(format!("{}.log", what.replace(' ', "-")));
        let said = File::create(&log).map_err(failed)?;
        let signal = if end == End::Kill { "KILL" } else { "INT" };
        let mut command = as_user(user);
        command.args(["--pdeathsig", signal, "--"]).args(words).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(settings.iter().copied()).current_dir(folder);
        command.stdin(Stdio::null()).stdout(said.try_clone().map_err(failed)?).stderr(said);
        let process = command.spawn().map_err(failed)?;
        Ok(Program { what, process, end, log })
    }

    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Waits until a look at it finds it up.
    pub(super) fn await_up(&mut self, mut is_up: impl FnMut() -> bool) -> Result<(), PeerError> {
        let give_up = Instant::now() + PATIENCE;
        while !is_up() {
            let has_ended = self.process.try_wait().is_ok_and(|ended| ended.is_some());
            if has_ended || Instant::now() > give_up {
                return Err(PeerError::NotUp { what: self.what, said: self.last_said() });
            }
            std::thread::sleep(BETWEEN);
        }
        Ok(())
    }

    /// Waits until it answers a request with 200.
    pub(super) fn await_answer(&mut self, address: SocketAddr, path: &str) -> Result<(), PeerError> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        self.await_up(|| ask(address, request.as_bytes()).is_ok_and(|answer| answer.status == 200))
    }

    fn last_said(&self) -> String {
        last_of(&std::fs::read(&self.log).unwrap_or_default())
    }

    /// Ends it: one that is interrupted has so long to put things in order.
    fn end(&mut self, time_to_end: Duration) {
        // One that has ended may have left its number to another.
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let id = self.process.id().to_string();
        let is_asked = self.end == End::Interrupt
            && Command::new("kill").args(["-INT", &id]).status().is_ok_and(|status| status.success());
        let has_ended =
            is_asked && ended_within(&mut self.process, time_to_end).is_ok_and(|ended| ended.is_some());
        if !has_ended {
            kill(&mut self.process);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end(TIME_TO_END);
    }
}

/// Runs what ends by itself; after the limit it is killed, and that is an error.
pub(super) fn run(what: &'static str, command: &mut Command, limit: Duration) -> Result<(), PeerError> {
    let failed = |source| PeerError::System { what, source };
    let mut log = tempfile::tempfile().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone().map_err(failed)?);
    let mut process = command.spawn().map_err(failed)?;
    let ended = ended_within(&mut process, limit);
    if !matches!(ended, Ok(Some(_))) {
        kill(&mut process);
    }
    let said = match ended.map_err(failed)? {
        Some(status) if status.success() => return Ok(()),
        Some(_) => {
            let mut said = Vec::new();
            log.rewind().and_then(|()| log.read_to_end(&mut said)).map_err(failed)?;
            last_of(&said)
        }
        None => format!("nothing, and it was killed after {} s", limit.as_secs()),
    };
    Err(PeerError::NotUp { what, said })
}

/// The end of what a program said.
fn last_of(said: &[u8]) -> String {
    let last = &said[said.len().saturating_sub(MAX_SAID_BYTES)..];
    String::from_utf8_lossy(last).trim().to_owned()
}

/// What runs the words behind it as another user.
pub(super) fn as_user(user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command
}

/// An address that nobody has. Somebody could take it before it is used; then what was to have it does not come up.
pub(super) fn free_address() -> Result<SocketAddr, PeerError> {
    let failed = |source| PeerError::System { what: "a free port", source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    listener.local_addr().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    #[test]
    fn a_program_that_does_not_heed_an_interrupt_is_killed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = "trap '' INT; echo up; while :; do sleep 0.1; done";
        let mut program = Program::start(Start {
            what: "a stubborn program",
            words: ["sh", "-c", script].map(OsString::from).into(),
            user: None,
            settings: &[],
            folder: folder.path(),
            end: End::Interrupt,
        })
        .expect("a shell runs");
        let log = program.log.clone();
        program
            .await_up(|| std::fs::read_to_string(&log).is_ok_and(|said| said.contains("up")))
            .expect("it says so");
        let process = PathBuf::from(format!("/proc/{}", program.process()));
        assert!(process.exists());
        program.end(SOON);
        assert!(!process.exists());
    }

    #[test]
    fn what_does_not_end_is_killed_and_what_fails_is_told() {
        let said = |script: &str, limit| {
            let run = run("a shell", Command::new("sh").args(["-c", script]), limit);
            run.map_err(|error| error.to_string())
        };
        assert_eq!(said("exit 0", PATIENCE), Ok(()));
        let error = said("echo no room >&2; exit 3", PATIENCE).expect_err("it fails");
        assert!(error.ends_with("it said: no room"), "{error}");
        let error = said("exec sleep 600", SOON).expect_err("it is killed");
        assert!(error.contains("killed after 0 s"), "{error}");
    }
}
