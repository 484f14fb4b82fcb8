//! The server of the demo: this very program, on a port of its own and a data directory that goes with it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::super::failure::Failure;

/// How long it may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A server that ends, with all that it kept, when this is dropped.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    pub(super) url: String,
    pub(super) token: String,
}

impl Server {
    pub(super) fn start() -> Result<Server, Failure> {
        let folder = std::env::temp_dir().join(super::super::client::random_name("tidegate-demo"));
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--webhooks-allow-private=true",
                // The demo shows what happens after the gate.
                "--gate-enforcement=report",
                "--log-level",
                "error",
            ])
            .arg("--data-dir")
            .arg(&folder)
            // Settings of a real server are not meant for this one.
            .env_remove("TIDEGATE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let Some(output) = child.stdout.take() else {
            return Err(Failure::usage("the server's output cannot be read"));
        };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // What comes once the token is known interests nobody.
                let _ = sender.send(line);
            }
        });
        let mut server = Server { child, folder, url: String::new(), token: String::new() };
        while server.url.is_empty() || server.token.is_empty() {
            let line = lines
                .recv_timeout(STARTS_WITHIN)
                .map_err(|_| Failure::usage("the server of the demo did not start; its reason is above"))?;
            if let Some(url) = line.strip_prefix("listening on ") {
                url.clone_into(&mut server.url);
            }
            if let Some(token) = line.strip_prefix("admin token: ") {
                token.clone_into(&mut server.token);
            }
        }
        Ok(server)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is thrown away whole: there is nothing to stop in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
