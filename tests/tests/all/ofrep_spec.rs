//! The server against OFREP's own specification: schemathesis makes good and bad requests from it, and
//! holds every answer against it.

use std::path::PathBuf;
use std::process::Command;

use tidegate_tests::prerequisites::{repository, shared};
use tidegate_tests::{Server, Shop};

/// Requests per endpoint: enough for every shape of the schema, few enough for a minute.
const EXAMPLES: &str = "60";

fn tool(name: &str) -> Command {
    Command::new(repository().join("target/clients/python/bin").join(name))
}

fn mended_specification(folder: &std::path::Path) -> PathBuf {
    let mended = folder.join("ofrep.yaml");
    let done = tool("python")
        .arg(repository().join("tests/clients/python/ofrep_spec.py"))
        .arg(shared().join("data/ofrep/openapi.yaml"))
        .arg(&mended)
        .args(["checkout", "dark", "banner", "limit", "factor", "theme", "colour"])
        .output()
        .expect("python runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    mended
}

#[test]
#[cfg_attr(not(all(has_python, has_shared)), ignore = "needs the Python client and the shared data")]
fn every_answer_is_as_the_specification_says() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = tool("schemathesis")
        .current_dir(folder.path())
        .arg("run")
        .arg(mended_specification(folder.path()))
        .args(["--url", shop.server.url()])
        .args(["--header", &format!("Authorization: Bearer {}", shop.server_token)])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing"])
        // The same requests every time: a failure can be run again.
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--no-color"])
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("Tested: 2"), "not every operation was tested: {said}");
    let alive: &Server = &shop.server;
    assert_eq!(alive.admin().get("/readyz").status, 200);
}
