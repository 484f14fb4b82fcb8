//! On what it was measured, and what.

use std::fs::read_to_string;

use serde_json::{Value, json};

/// The machine and the build.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    commit: Option<String>,
}

impl Machine {
    /// Looks.
    pub(crate) fn look() -> Machine {
        let cpus = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: model.map_or("unknown", |(_, model)| model).trim().to_owned(),
            kernel: kernel.trim().to_owned(),
            commit: commit(),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Machine { cores, cpu, kernel, commit } = self;
        let commit = commit.as_ref().map_or(String::new(), |commit| format!(", commit {commit}"));
        format!("{cores} cores, {cpu}, Linux {kernel}{commit}")
    }

    pub(crate) fn json(&self) -> Value {
        json!({"cores": self.cores, "cpu": self.cpu, "kernel": self.kernel})
    }

    pub(crate) fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// Whether figures of this build mean anything.
    pub(crate) fn is_optimised() -> bool {
        !cfg!(debug_assertions)
    }
}

/// The commit of which this program was built; with `+` if its sources differed from it.
fn commit() -> Option<String> {
    Some(env!("LOADTEST_COMMIT")).filter(|commit| !commit.is_empty()).map(str::to_owned)
}
