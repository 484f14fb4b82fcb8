//! Our own server, whole, in a process of its own: log on disk, HTTP, feed. The process is the bench's own
//! program, run again.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::cli::ServeOptions;
use tidegate::config::setting;
use tidegate::first_token::Occasion;
use tidegate::serve::serve as run_server;

use crate::client::Client;
use crate::problem::Problem;
use crate::process::resident_kib;

/// The argument that makes a bench the server: a directory for its data and settings as `name=value` follow.
const MODE: &str = "--be-tidegate";
/// The settings of a server that is measured: one worker, which has one core. Requests count against a rate, as they do
/// where people run it, which no token comes near.
pub(crate) const MEASURED: [&str; 3] =
    ["workers=1", "limits.requests_per_second=10000000", "limits.burst=10000000"];
/// What the server says before its address.
const LISTENING: &str = "listening on http://";
/// How long it is tried to remove the data of a server whose threads still write.
const REMOVE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const REMOVE_AGAIN: Duration = Duration::from_millis(5);
/// A process that has not said what is waited for so long after its start says nothing more.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the server until it is killed, if that is what the arguments ask for; to be called first.
pub fn serve_if_asked(arguments: &[String]) -> Option<ExitCode> {
    let [mode, directory, settings @ ..] = arguments else { return None };
    if mode != MODE {
        return None;
    }
    let data = PathBuf::from(directory);
    end_with_parent(move || remove(&data));
    let mut given = vec![("data_dir", directory.clone())];
    for text in settings {
        let (name, value) = text.split_once('=').expect("a setting is `name=value`");
        given.push((setting::find(name).expect("a setting of the server").path, value.to_owned()));
    }
    if given.iter().all(|(name, _)| *name != "listen") {
        given.push(("listen", "127.0.0.1:0".to_owned()));
    }
    let options = ServeOptions { settings: given, ..ServeOptions::default() };
    let loaded = options.sources().load().expect("the settings are in order");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    let never = std::future::pending();
    let ended =
        runtime.block_on(run_server(&loaded.config, Occasion::FirstStart, &mut std::io::stdout(), never));
    ended.expect("the server runs until it is killed");
    Some(ExitCode::SUCCESS)
}

/// Ends this process once the one that started it has ended, in whatever way: its end of the pipe is closed then.
/// Does something before.
pub fn end_with_parent(before: impl FnOnce() + Send + 'static) {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        before();
        std::process::exit(0);
    });
}

/// Removes the data of a server that nobody will start again, and the folder around it if nothing else is in it. The
/// server's threads may still make files in it: it is tried again then, for [`REMOVE_PATIENCE`] at most. What cannot be
/// removed stays behind in the folder for what is temporary.
pub(crate) fn remove(data: &Path) {
    let give_up = Instant::now() + REMOVE_PATIENCE;
    loop {
        let _ = std::fs::remove_dir_all(data);
        let _ = data.parent().map(std::fs::remove_dir);
        if !data.exists() || Instant::now() > give_up {
            return;
        }
        std::thread::sleep(REMOVE_AGAIN);
    }
}

/// Starts this program again with other arguments, and gives its lines of the first minute. Its input stays open as
/// long as this process lives.
pub fn start_self(arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    start_self_with(START_PATIENCE, arguments)
}

/// The same with the lines of so long a time.
pub(crate) fn start_self_with(
    patience: Duration,
    arguments: &[&str],
) -> (Child, impl Iterator<Item = String> + use<>) {
    let program = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    // Ctrl-C is for this process alone: the other ends with it, and has to remove what it wrote before.
    command.process_group(0);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    // What is measured needs no build that passed.
    command.env("TIDEGATE_GATE_ENFORCEMENT", "report");
    let mut process = command.spawn().expect("this program runs again");
    let lines = lines_in_time(process.stdout.take().expect("it is piped"), patience);
    (process, lines)
}

/// The lines that come within so long from now. Whoever reads waits no longer, whether the other end is still there or
/// not.
fn lines_in_time<R: Read + Send + 'static>(
    from: R,
    patience: Duration,
) -> impl Iterator<Item = String> + use<R> {
    let (lines, taken) = mpsc::channel();
    std::thread::spawn(move || {
        let mut read = BufReader::new(from).lines().map_while(Result::ok);
        while read.next().is_some_and(|line| lines.send(line).is_ok()) {}
    });
    let deadline = Instant::now() + patience;
    std::iter::from_fn(move || taken.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok())
}

/// Starts a floor: this program again with other arguments, which says first of all where it listens. One that does not
/// in time is killed.
pub(crate) fn start_floor(arguments: &[&str]) -> Result<(Child, SocketAddr), Problem> {
    let (mut process, mut lines) = start_self(arguments);
    let line = lines.next().unwrap_or_default();
    if let Some(address) = word_after(&line, LISTENING).and_then(|address| address.parse().ok()) {
        return Ok((process, address));
    }
    // It may have ended already.
    let _ = process.kill();
    let _ = process.wait();
    Err(Problem::ended_early())
}

/// A running server; killed when dropped.
pub struct Server {
    process: Child,
    address: String,
    admin: String,
    settings: Vec<String>,
    directory: TempDir,
}

/// When a server went and came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarted {
    pub(crate) killed: Instant,
    pub(crate) listening: Instant,
}

impl Server {
    /// Starts one in a new directory, with settings as `name=value`.
    pub fn start(settings: &[&str]) -> Server {
        Server::start_in(tempfile::tempdir().expect("a temporary directory"), settings)
    }

    /// The same in a directory, with the data that is in its `data`. One that ends instead of listening, or does not
    /// listen within a minute, has no address.
    pub fn start_in(directory: TempDir, settings: &[&str]) -> Server {
        let settings: Vec<String> = settings.iter().copied().map(str::to_owned).collect();
        let (process, mut lines) = run(&directory, &settings);
        let (mut address, mut admin) = (String::new(), String::new());
        for line in &mut lines {
            address = word_after(&line, LISTENING).unwrap_or(address);
            admin = word_after(&line, "admin token: ").unwrap_or(admin);
            if !address.is_empty() && !admin.is_empty() {
                break;
            }
        }
        Server { process, address, admin, settings, directory }
    }

    /// Kills it as a machine that fails does, and starts it again with the same data at the same address.
    ///
    /// # Errors
    /// When it ends instead of listening, or does not listen within a minute.
    pub(crate) fn restart(&mut self) -> Result<Restarted, Problem> {
        let ended = |source| Problem::Start(source);
        let killed = Instant::now();
        self.process.kill().map_err(ended)?;
        self.process.wait().map_err(ended)?;
        let mut settings = self.settings.clone();
        settings.push(format!("listen={}", self.address));
        let (process, mut lines) = run(&self.directory, &settings);
        self.process = process;
        let is_there = lines.any(|line| word_after(&line, LISTENING).is_some());
        if is_there {
            return Ok(Restarted { killed, listening: Instant::now() });
        }
        Err(Problem::ended_early())
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token that may do everything.
    pub fn admin_token(&self) -> &str {
        &self.admin
    }

    /// A client that may do everything.
    pub fn admin(&self) -> Client {
        Client::new(&self.address, &self.admin)
    }

    /// The process.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The memory that it holds, in KiB.
    pub fn resident_kib(&self) -> u64 {
        resident_kib(self.process())
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process())).map_or(0, Iterator::count)
    }
}

fn run(directory: &TempDir, settings: &[String]) -> (Child, impl Iterator<Item = String> + use<>) {
    let path = directory.path().join("data");
    let mut arguments = vec![MODE, path.to_str().expect("a plain path")];
    arguments.extend(settings.iter().map(String::as_str));
    start_self(&arguments)
}

fn word_after(line: &str, mark: &str) -> Option<String> {
    Some(line.split_once(mark)?.1.split_whitespace().next()?.to_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn who_says_nothing_is_not_waited_for_for_ever() {
        let (silent, mut other) = UnixStream::pair().expect("two sockets");
        other.write_all(b"starting\nlisten").expect("room for a few bytes");
        let said: Vec<String> = lines_in_time(silent, Duration::from_millis(50)).collect();
        // The other end is still open.
        assert!(said.iter().all(|line| line == "starting"), "{said:?}");
        other.write_all(b"ing").expect("room for a few bytes");
    }

    #[test]
    fn data_is_removed_while_somebody_still_writes_more_of_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("server/data");
        std::fs::create_dir_all(&data).expect("a folder");
        let (is_ended, written) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                // As a server does: into the folder that it made at its start.
                while !is_ended.load(Ordering::Relaxed) {
                    let next = written.fetch_add(1, Ordering::Relaxed);
                    let _ = std::fs::write(data.join(next.to_string()), b"more");
                }
            });
            while written.load(Ordering::Relaxed) < 1_000 {
                std::thread::yield_now();
            }
            remove(&data);
            is_ended.store(true, Ordering::Relaxed);
        });
        assert!(!folder.path().join("server").exists(), "nothing of it is left");
    }

    #[test]
    fn what_is_said_in_time_is_there_to_its_end() {
        let said: Vec<String> = lines_in_time(&b"one\ntwo\n"[..], START_PATIENCE).collect();
        assert_eq!(said, ["one", "two"]);
    }
}
