//! The rules of the house: who may use what, and how long, named and ordered things are.

use crate::source::{Named, Source};

/// Longest file, test modules not counted, in lines.
pub(crate) const LONGEST_FILE: usize = 450;
/// Longest function, in lines.
pub(crate) const LONGEST_FUNCTION: usize = 90;
/// Where tests wait for what nothing announces.
const PATIENCE: &str = "tests/src/patience.rs";
/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "manager", "misc", "stuff"];

/// One row of the table of who may use what.
#[derive(Debug)]
pub(crate) struct Row {
    /// The folders or files it holds for, from the top of the repository.
    pub(crate) within: &'static [&'static str],
    /// Those inside which it does not hold.
    pub(crate) except: &'static [&'static str],
    /// Starts of paths that code there may not name. A trailing `*` stands for the rest of a name.
    pub(crate) forbidden: &'static [&'static str],
    /// Why, for who reads the failure.
    pub(crate) why: &'static str,
}

const LOG_IMPLEMENTATIONS: [&str; 6] = [
    "crate::log::sled",
    "crate::log::jetstream",
    "crate::log::memory",
    "tidegate::log::sled",
    "tidegate::log::jetstream",
    "tidegate::log::memory",
];

/// The table.
pub(crate) const TABLE: &[Row] = &[
    Row {
        within: &["rollout-rules/src/"],
        except: &[],
        forbidden: &["std", "tidegate*", "rand", "rand_*", "getrandom*", "tokio*"],
        why: "the core is no_std, reads no clock, does no I/O, draws no lots and imports nothing of ours",
    },
    Row {
        within: &["rollout-rules/src/bucketing"],
        except: &[],
        forbidden: &["f32", "f64"],
        why: "buckets are the same on every machine: no floats",
    },
    Row {
        within: &["server/src/", "sdk-rust/src/", "sdk-wasm/src/"],
        except: &["server/src/log/", "server/src/log.rs"],
        forbidden: &["sled", "async_nats*"],
        why: "only the log knows its engines",
    },
    Row {
        within: &["server/src/log/", "server/src/log.rs"],
        except: &[],
        forbidden: &["actix*", "arc_swap", "crate::clock", "crate::http", "crate::state"],
        why: "the log is beneath everything else and takes time as a value",
    },
    Row {
        within: &["server/src/"],
        except: &["server/src/http/", "server/src/http.rs"],
        forbidden: &["actix*"],
        why: "only http knows the web framework",
    },
    Row {
        within: &["server/src/state/", "server/src/state.rs"],
        except: &[],
        forbidden: &["crate::http"],
        why: "state is beneath http and sees the log as a trait",
    },
    Row {
        within: &["server/src/state/", "server/src/http/", "server/src/effects/", "server/src/cli/"],
        except: &[],
        forbidden: &LOG_IMPLEMENTATIONS,
        why: "the log is used through its trait",
    },
    Row {
        within: &["server/src/cli/"],
        except: &[],
        forbidden: &[
            "crate::log",
            "crate::state",
            "crate::http",
            "crate::offline",
            "crate::gate::Gate",
            "crate::gate::compiled",
            "crate::gate::desk",
            "crate::gate::files",
            "crate::gate::infrastructure",
            "crate::gate::keeper",
            "crate::gate::key_sets",
            "crate::gate::trust",
            "tidegate::log",
            "tidegate::state",
            "tidegate::http",
        ],
        // What a file is, by content, is the same question on both sides: `crate::gate::read`.
        why: "the command line speaks to a server over HTTP only",
    },
    // Besides `serve`, the one place that opens a log by its engine: where no server runs there is no trait
    // object handed in.
    Row {
        within: &["server/src/offline/"],
        except: &[],
        forbidden: &[
            "crate::http",
            "crate::state",
            "crate::clock",
            "crate::log::memory",
            "crate::gate::Gate",
            "crate::gate::desk",
            "crate::gate::files",
            "crate::gate::keeper",
        ],
        why: "offline commands work on files alone",
    },
    // What is written by http, and read by cli and offline.
    Row {
        within: &["server/src/backup/"],
        except: &[],
        forbidden: &["crate::*"],
        why: "the form of a backup is known to both sides, and knows neither",
    },
    Row {
        within: &["server/src/"],
        except: &["server/src/effects/", "server/src/cli/"],
        forbidden: &["ureq*", "reqwest*", "minreq*", "awc*", "hyper_util::client", "attohttpc*"],
        why: "only effects and the command line call others over HTTP",
    },
    Row {
        within: &["server/src/"],
        except: &["server/src/cli/demo/"],
        forbidden: &["tidegate_sdk*"],
        why: "the server is no client of its own; only the demo plays an app",
    },
    Row {
        within: &["server/src/gate/"],
        except: &[],
        forbidden: &["crate::http", "crate::effects", "crate::cli", "crate::log"],
        why: "the gate judges what it is handed, and asks by commands",
    },
    Row {
        within: &["server/src/evaluator/"],
        except: &[],
        forbidden: &["crate::http", "crate::effects", "crate::cli"],
        why: "the evaluator asks by commands, and knows of no one who asks it",
    },
    Row {
        within: &["server/src/"],
        except: &["server/src/effects/"],
        forbidden: &["lettre*"],
        why: "only effects send mail",
    },
    Row {
        within: &["server/src/"],
        except: &["server/src/clock.rs", "server/src/clock/"],
        forbidden: &[
            "std::time::SystemTime",
            "std::time::UNIX_EPOCH",
            "libc::clock_gettime",
            "time::OffsetDateTime::now_utc",
            "time::UtcDateTime::now",
            "chrono::Utc",
            "chrono::Local",
        ],
        why: "one module reads the system clock; everyone else is handed the time",
    },
    Row {
        within: &["sdk-rust/src/", "sdk-wasm/src/"],
        except: &[],
        forbidden: &["tidegate::*", "tidegate"],
        why: "an SDK is built of the core, not of the server",
    },
    Row {
        within: &["sdk-rust/src/", "sdk-wasm/src/"],
        except: &["sdk-rust/src/middleware/"],
        forbidden: &["actix*"],
        why: "only the middleware for it knows a web framework",
    },
];

/// What is wrong with one file, a line each.
pub(crate) fn judge(path: &str, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for row in TABLE.iter().filter(|row| row.holds_for(path)) {
        for named in source.named.iter().filter(|named| row.forbids(named)) {
            found.push(format!("{path}:{}: {} is not for here: {}", named.line, named.path, row.why));
        }
    }
    if path == "rollout-rules/src/lib.rs" && !source.is_no_std {
        found.push(format!("{path}:1: the core is #![no_std]"));
    }
    found.extend(style(path, source));
    found
}

fn style(path: &str, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |line: usize, what: String| found.push(format!("{path}:{line}: {what}"));
    if source.lines > LONGEST_FILE {
        say(1, format!("{} lines: a file tells one story in at most {LONGEST_FILE}", source.lines));
    }
    for name in path.split(['/', '.']).filter(|name| is_empty_name(name)) {
        say(1, format!("`{name}` says nothing: name it after what it does"));
    }
    for Named { path: name, line, .. } in source.declared.iter().filter(|named| is_empty_name(&named.path)) {
        say(*line, format!("`{name}` says nothing: name it after what it does"));
    }
    for Named { path: name, line, .. } in &source.macros {
        if matches!(name.as_str(), "todo" | "unimplemented" | "dbg") {
            say(*line, format!("{name}! is not for finished code"));
        }
    }
    for function in &source.functions {
        if function.lines > LONGEST_FUNCTION {
            say(
                function.line,
                format!("fn {} has {} lines, at most {LONGEST_FUNCTION}", function.name, function.lines),
            );
        }
        if !function.now_is_last {
            say(function.line, format!("fn {}: `now` is the last argument", function.name));
        }
    }
    if !is_test(path) {
        for named in source.methods.iter().filter(|named| named.path == "unwrap") {
            say(
                named.line,
                "unwrap outside tests: say in an `expect` why it holds, or return the error".to_owned(),
            );
        }
    }
    if is_test(path) && path != PATIENCE {
        let naps =
            |named: &&Named| named.path.ends_with("thread::sleep") || named.path.ends_with("time::sleep");
        for named in source.named.iter().filter(naps) {
            say(named.line, "a test does not sleep: read what is announced, or ask `eventually`".to_owned());
        }
    }
    found
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples") || part == "tests.rs")
}

fn is_empty_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    EMPTY_NAMES.contains(&lower.as_str()) || (name.len() > 7 && name.ends_with("Manager"))
}

impl Row {
    fn holds_for(&self, path: &str) -> bool {
        self.within.iter().any(|start| path.starts_with(start))
            && !self.except.iter().any(|start| path.starts_with(start))
    }

    fn forbids(&self, named: &Named) -> bool {
        let path = named.path.as_str();
        if !named.is_import && !path.contains("::") {
            return matches!(path, "f32" | "f64") && self.forbidden.contains(&path);
        }
        self.forbidden.iter().any(|rule| match rule.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == *rule || path.strip_prefix(rule).is_some_and(|rest| rest.starts_with("::")),
        })
    }
}
