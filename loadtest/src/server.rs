//! Our own server, whole, in a process of its own: log on disk, HTTP, feed. The process is the bench's own
//! program, run again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use tempfile::TempDir;
use tidegate::cli::ServeOptions;
use tidegate::config::setting;
use tidegate::first_token::Occasion;
use tidegate::serve::serve as run_server;

use crate::client::Client;

/// The argument that makes a bench the server: a directory for its data and settings as `name=value` follow.
const MODE: &str = "--be-tidegate";

/// Runs the server until it is killed, if that is what the arguments ask for; to be called first.
pub fn serve_if_asked(arguments: &[String]) -> Option<ExitCode> {
    let [mode, directory, settings @ ..] = arguments else { return None };
    if mode != MODE {
        return None;
    }
    let mut given = vec![("listen", "127.0.0.1:0".to_owned()), ("data_dir", directory.clone())];
    for text in settings {
        let (name, value) = text.split_once('=').expect("a setting is `name=value`");
        given.push((setting::find(name).expect("a setting of the server").path, value.to_owned()));
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

/// Starts this program again with other arguments, and gives its lines.
pub fn start_self(arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let program = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    // What is measured needs no build that passed.
    command.env("TIDEGATE_GATE_ENFORCEMENT", "report");
    let mut process = command.spawn().expect("this program runs again");
    let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    (process, lines.map_while(Result::ok))
}

/// A running server; killed when dropped.
pub struct Server {
    process: Child,
    address: String,
    admin: String,
    _directory: TempDir,
}

impl Server {
    /// Starts one in a new directory, with settings as `name=value`.
    pub fn start(settings: &[&str]) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("data");
        let arguments = [&[MODE, path.to_str().expect("a plain path")], settings].concat();
        let (process, lines) = start_self(&arguments);
        let (mut address, mut admin) = (String::new(), String::new());
        for line in lines {
            let word = |mark: &str| Some(line.split_once(mark)?.1.split_whitespace().next()?.to_owned());
            address = word("listening on http://").unwrap_or(address);
            admin = word("admin token: ").unwrap_or(admin);
            if !address.is_empty() && !admin.is_empty() {
                break;
            }
        }
        Server { process, address, admin, _directory: directory }
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

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The memory that a process holds, in KiB.
pub fn resident_kib(process: u32) -> u64 {
    status_kib(process, "VmRSS:")
}

/// The most memory that a process ever held, in KiB.
pub fn peak_kib(process: u32) -> u64 {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}
