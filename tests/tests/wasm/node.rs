//! The module in Node, asked line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tidegate_tests::prerequisites::repository;

/// Where `make wasm` puts what it builds.
pub(crate) fn built() -> PathBuf {
    repository().join("sdk-wasm/dist")
}

/// The file of the module for Node.
pub(crate) fn quick_module() -> PathBuf {
    built().join("tidegate-node.wasm")
}

/// The file of the module for pages, named by its hash.
pub(crate) fn module() -> PathBuf {
    let names = std::fs::read_dir(built()).expect("make wasm was run").filter_map(Result::ok);
    let mut modules: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
    modules.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("tidegate-") && name.ends_with(".wasm")
    });
    modules.retain(|path| *path != quick_module());
    modules.into_iter().next().expect("make wasm made a module")
}

pub(crate) struct Node {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// With the module for pages.
    pub(crate) fn start() -> Node {
        Node::with(&module())
    }

    /// One with either module.
    pub(crate) fn both() -> [Node; 2] {
        [module(), quick_module()].map(|module| Node::with(&module))
    }

    fn with(module: &Path) -> Node {
        let mut child = Command::new("node")
            .arg(repository().join("tests/clients/wasm/answers.mjs"))
            .arg(repository().join("sdk-wasm/generated/core.js"))
            .arg(module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let asks = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Node { child, asks, answers }
    }

    pub(crate) fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> T {
        // At once: written as it is made, every brace and comma is a call of the system.
        self.asks.write_all(format!("{request}\n").as_bytes()).expect("node listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("node answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:.200}"))
    }

    /// Sets the contexts, and answers with the code of each.
    pub(crate) fn contexts(&mut self, contexts: &[Vec<u8>]) -> Vec<i32> {
        let all: Vec<String> = contexts.iter().map(|bytes| STANDARD.encode(bytes)).collect();
        self.ask(&json!({ "contexts": all }))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It ends when nobody asks any more.
        drop(std::mem::replace(&mut self.asks, stdin_of_nobody()));
        let _ = self.child.wait();
    }
}

fn stdin_of_nobody() -> ChildStdin {
    let mut nobody = Command::new("true").stdin(Stdio::piped()).spawn().expect("true runs");
    let stdin = nobody.stdin.take().expect("piped");
    let _ = nobody.wait();
    stdin
}

/// A context in the form in which JavaScript hands it over.
pub(crate) fn encoded(context: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u16::try_from(context.len()).expect("few").to_le_bytes());
    for (name, value) in context {
        put_name(name, &mut bytes);
        put_value(value, &mut bytes);
    }
    bytes
}

fn put_name(name: &str, bytes: &mut Vec<u8>) {
    bytes.extend(u16::try_from(name.len()).expect("short").to_le_bytes());
    bytes.extend(name.as_bytes());
}

fn put_count(count: usize, bytes: &mut Vec<u8>) {
    bytes.extend(u32::try_from(count).expect("few").to_le_bytes());
}

fn put_value(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(0),
        Value::Bool(flag) => bytes.push(1 + u8::from(*flag)),
        Value::Number(number) => {
            bytes.push(3);
            bytes.extend(number.as_f64().expect("a double").to_le_bytes());
        }
        Value::String(text) => {
            bytes.push(4);
            put_count(text.len(), bytes);
            bytes.extend(text.as_bytes());
        }
        Value::Array(items) => {
            bytes.push(5);
            put_count(items.len(), bytes);
            items.iter().for_each(|item| put_value(item, bytes));
        }
        Value::Object(fields) => {
            bytes.push(6);
            put_count(fields.len(), bytes);
            for (name, field) in fields {
                put_name(name, bytes);
                put_value(field, bytes);
            }
        }
    }
}
