//! Our own server, whole, in a process of its own: log on disk, HTTP, feed.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rollout_rules::feed::{ChangeFrame, FRAME_VERSION, Frame, FrameBody, Op, ServedKills};
use rollout_rules::flag::Kill;
use rollout_rules::ids::{FlagKey, KillId, LogId, Revision};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::cli::ServeOptions;
use tidegate::first_token::Occasion;
use tidegate::serve::serve as run_server;

use crate::Server;

/// The argument that makes this program the server.
pub(crate) const MODE: &str = "--be-node";

/// How long the server may take to notice that all clients have gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the server with its own defaults, until it is killed.
pub(crate) fn serve(directory: &str) -> ExitCode {
    let given = vec![("listen", "127.0.0.1:0".to_owned()), ("data_dir", directory.to_owned())];
    let options = ServeOptions { settings: given, ..ServeOptions::default() };
    let loaded = options.sources().load().expect("the defaults are in order");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    let never = std::future::pending();
    let ended =
        runtime.block_on(run_server(&loaded.config, Occasion::FirstStart, &mut std::io::stdout(), never));
    ended.expect("the server runs until it is killed");
    ExitCode::SUCCESS
}

/// Starts this program in another mode, and gives its lines.
pub(crate) fn start_self(arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let program = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    let mut process = command.spawn().expect("this program runs again");
    let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    (process, lines.map_while(Result::ok))
}

/// Our server with an app, and a flag for each kill.
pub(crate) struct Node {
    process: Child,
    address: String,
    admin: String,
    key: String,
    flags_left: usize,
    _directory: TempDir,
}

impl Node {
    /// Starts it and makes so many flags.
    pub(crate) fn start(flags: usize) -> Node {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("data");
        let (process, lines) = start_self(&[MODE, path.to_str().expect("a plain path")]);
        let (mut address, mut admin) = (String::new(), String::new());
        for line in lines {
            let word = |mark: &str| Some(line.split_once(mark)?.1.split_whitespace().next()?.to_owned());
            address = word("listening on http://").unwrap_or(address);
            admin = word("admin token: ").unwrap_or(admin);
            if !address.is_empty() && !admin.is_empty() {
                break;
            }
        }
        let mut node =
            Node { process, address, admin, key: String::new(), flags_left: flags, _directory: directory };
        node.call(
            "POST",
            "/v1/apps",
            &json!({"key": "shop", "environments": [{"key": "live", "kind": "production"}]}),
        );
        for flag in 0..flags {
            node.call("POST", "/v1/apps/shop/flags", &json!({"key": format!("flag-{flag}")}));
        }
        let token = node.call(
            "POST",
            "/v1/tokens",
            &json!({"scope": "sdk-server", "app": "shop", "environment": "live"}),
        );
        node.key = token["secret"].as_str().expect("a new token shows its secret").to_owned();
        node
    }

    /// The length of the event that a kill is to an SDK, in bytes.
    pub(crate) fn typical_event(&self) -> usize {
        let kill = Kill { id: KillId::new("evt-0-10-").expect("an id"), at: UnixMs(0) };
        let frame = Frame {
            version: FRAME_VERSION,
            log: LogId::new(&"x".repeat(26)).expect("an id"),
            revision: Revision(100),
            body: FrameBody::Change(ChangeFrame {
                follows: Revision(99),
                kill_id: Some(kill.id.clone()),
                ops: vec![Op::FlagKills {
                    flag: FlagKey::new("flag-10").expect("a key"),
                    kills: ServedKills { killed: Some(kill), off_before: Revision::ZERO },
                    revision: Revision(100),
                }],
            }),
        };
        frame.encode_event().expect("a small frame").len()
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut text = String::new();
        let _ = write!(text, "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        let _ = write!(text, "authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.admin);
        let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
        text.into()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut socket = TcpStream::connect(&self.address).expect("the server takes connections");
        socket.write_all(&self.request(method, path, body)).expect("the server reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("the server answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.starts_with("HTTP/1.1 2"), "{path} was refused: {answer}");
        serde_json::from_str(body).expect("every answer is JSON")
    }
}

impl Server for Node {
    fn address(&self) -> &str {
        &self.address
    }

    fn subscribe(&self, client: usize) -> String {
        format!(
            "GET /v1/feed?instance=fan-{client}&sdk=fan-bench/1 HTTP/1.1\r\nhost: {}\r\n\
             authorization: Bearer {}\r\naccept: text/event-stream\r\n\r\n",
            self.address, self.key
        )
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        self.flags_left -= 1;
        let path = format!("/v1/apps/shop/flags/flag-{}/kill", self.flags_left);
        self.request("POST", &path, &json!({"kill_id": marker}))
    }

    fn process(&self) -> u32 {
        self.process.id()
    }

    fn settle(&mut self) {
        let start = Instant::now();
        while self.call("GET", "/v1/clients?limit=1", &Value::Null)["counts"]["connected"] != 0 {
            assert!(start.elapsed() < PATIENCE, "the server keeps clients that have gone");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
