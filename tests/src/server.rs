//! A real server under test: its own process, port and folder.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tempfile::TempDir;

use crate::{Api, PATIENCE, eventually, tidegate};

/// A running `tidegate serve`. Killed when dropped; what it said is printed if the test failed.
pub struct Server {
    process: Child,
    folder: Arc<TempDir>,
    url: String,
    admin_token: String,
    said: Arc<Mutex<String>>,
    settings: Vec<(String, String)>,
    /// What runs it: a program, and arguments before those of the server.
    program: Vec<OsString>,
}

impl Server {
    /// Starts one in a new folder on a free port, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    /// The same, with settings as environment variables (`("TIDEGATE_…", value)`).
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_with(settings: &[(&str, &str)]) -> Server {
        Server::start_by(vec![tidegate().into()], settings)
    }

    /// The same by another program: a binary of ours, or one that runs it, with arguments before those of the server.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_by(program: Vec<OsString>, settings: &[(&str, &str)]) -> Server {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Server::launch(folder, "127.0.0.1:0", owned(settings), None, program)
    }

    /// Kills the server without warning and starts it again in its folder, on its port.
    ///
    /// # Panics
    /// When it does not come up again.
    #[must_use]
    pub fn crash_and_restart(mut self) -> Server {
        self.kill();
        self.restart()
    }

    /// Kills the server without warning. What it acknowledged is in its folder.
    pub fn kill(&mut self) {
        self.process.kill().expect("our own process takes a signal");
        self.process.wait().expect("our own process ends");
    }

    /// Asks the server to end, as an operator's machine would, and waits until it has.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let id = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        assert!(asked.is_ok_and(|status| status.success()), "kill -TERM {id} failed");
        eventually("the server has ended", || self.process.try_wait().expect("our own process"))
    }

    /// Starts a killed or stopped server again in its folder, on its port.
    ///
    /// # Panics
    /// When it does not come up again.
    #[must_use]
    pub fn restart(self) -> Server {
        let listen = self.address().to_owned();
        Server::launch(
            Arc::clone(&self.folder),
            &listen,
            self.settings.clone(),
            Some(self.admin_token.clone()),
            self.program.clone(),
        )
    }

    /// Starts a killed or stopped server again in its folder, by another program and with other settings.
    ///
    /// # Panics
    /// When it does not come up again.
    #[must_use]
    pub fn restart_by(self, program: Vec<OsString>, settings: &[(&str, &str)]) -> Server {
        let token = Some(self.admin_token.clone());
        Server::launch(Arc::clone(&self.folder), "127.0.0.1:0", owned(settings), token, program)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Where it keeps its log.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.folder)
    }

    /// The token that it printed on its first start.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The id of its process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its API with all rights.
    #[must_use]
    pub fn admin(&self) -> Api {
        self.with_token(&self.admin_token)
    }

    /// Its API with the rights of a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Api {
        Api::new(&self.url, token)
    }

    /// All that it has said so far.
    ///
    /// # Panics
    /// When a reader of its output has panicked.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().expect("the readers do not panic").clone()
    }

    fn launch(
        folder: Arc<TempDir>,
        listen: &str,
        settings: Vec<(String, String)>,
        admin_token: Option<String>,
        program: Vec<OsString>,
    ) -> Server {
        let (name, before) = program.split_first().expect("a program has a name");
        let mut command = Command::new(name);
        command
            .args(before)
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(data_dir(&folder))
            .current_dir(folder.path());
        // Settings of whoever runs the tests are none of the server's business.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_"))
        {
            command.env_remove(name);
        }
        // Tests of everything else need no build that passed; those of the gate set it anew.
        command.env("TIDEGATE_GATE_ENFORCEMENT", "report");
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the server's binary runs");
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        listen_to(process.stdout.take().expect("piped"), &said, sender.clone());
        listen_to(process.stderr.take().expect("piped"), &said, sender);
        let (url, token) = (String::new(), String::new());
        let mut server = Server { process, folder, url, admin_token: token, said, settings, program };
        server.await_start(&lines, admin_token);
        server
    }

    fn await_start(&mut self, lines: &Receiver<String>, admin_token: Option<String>) {
        let give_up = Instant::now() + PATIENCE;
        let mut token = admin_token;
        while self.url.is_empty() || token.is_none() {
            let left = give_up.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                panic!("the server did not start; it said:\n{}", self.said());
            };
            if let Some(url) = after(&line, "listening on ") {
                url.clone_into(&mut self.url);
            } else if let Some(shown) = after(&line, "admin token: ") {
                token = Some(shown.to_owned());
            }
        }
        self.admin_token = token.expect("the loop ends when it is there");
        let api = self.admin();
        eventually("the server is ready", || (api.get("/readyz").status == 200).then_some(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, as some tests ask of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the server said:\n{}", self.said());
        }
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn data_dir(folder: &TempDir) -> PathBuf {
    Path::join(folder.path(), "data")
}

fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(mark)?;
    rest.split_whitespace().next()
}

fn listen_to(pipe: impl Read + Send + 'static, said: &Arc<Mutex<String>>, lines: Sender<String>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut all = said.lock().expect("nobody panics with the lock");
            all.push_str(&line);
            all.push('\n');
            drop(all);
            // Nobody listens any more once the server is up.
            let _ = lines.send(line);
        }
    });
}
