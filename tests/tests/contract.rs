//! The server's own description, as those read it who did not write it: a validator, a generator of clients, and
//! schemathesis, which makes good and bad requests from it and holds every answer against it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tidegate_tests::Server;
use tidegate_tests::prerequisites::repository;

fn tool(name: &str) -> Command {
    Command::new(repository().join("target/clients/python/bin").join(name))
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let run = command.output().expect("the tool runs: make clients brings it");
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    said
}

/// The description of a server, in a file.
fn described(server: &Server, folder: &Path) -> PathBuf {
    let file = folder.join("openapi.json");
    let document = server.admin().get("/openapi.json").expect(200);
    std::fs::write(&file, document.to_string()).expect("a written file");
    file
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn the_description_is_valid_openapi() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = done(tool("openapi-spec-validator").arg(described(&server, folder.path())));
    assert!(said.contains("OK"), "{said}");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn a_generated_client_makes_an_app_and_a_flag_has_a_build_judged_and_kills_it() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    // It knows no module without a name of its own in front.
    let module = repository().join("target/generated/tidegate_client");
    std::fs::create_dir_all(repository().join("target/generated")).expect("a folder");
    let settings = folder.path().join("settings.yaml");
    std::fs::write(&settings, "post_hooks: []\n").expect("a written file");
    let said = done(
        tool("openapi-python-client")
            .args(["generate", "--meta", "none", "--overwrite", "--fail-on-warning", "--path"])
            .arg(described(&server, folder.path()))
            .arg("--config")
            .arg(&settings)
            .arg("--output-path")
            .arg(&module),
    );
    assert!(module.join("api").is_dir(), "{said}");
    let script = repository().join("tests/clients/python/generated.py");
    let said = done(
        tool("python")
            .arg(script)
            .env("PYTHONPATH", repository().join("target/generated"))
            .env("BASE_URL", server.url())
            .env("TOKEN", server.admin().token()),
    );
    assert_eq!(said.trim(), "killed");
    let flag = server.admin().get("/v1/apps/shop/flags/checkout").expect(200);
    assert_eq!(flag["environments"]["production"]["serving"], "killed");
}

/// Requests for each operation: enough for the forms of the schemas, few enough for a minute.
const EXAMPLES: &str = "6";

/// How what is not as described may be turned away: as the tool takes it, and by 410 before a page's body is read, since its
/// address has no page's token.
const TURNED_AWAY: &str = r#"[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "410", "415", "422", "428", "429", "5xx"]
"#;

/// Runs schemathesis as a role, in an app of its own.
#[track_caller]
fn every_answer_is_as_described(role: &str, phases: &str) {
    let server = Server::start_with(&[("TIDEGATE_LIMITS_FAILED_LOGINS_PER_MINUTE", "100000")]);
    let admin = server.admin();
    admin.create_app("shop", &[("production", "production"), ("sandbox", "sandbox")]);
    admin.create_flag("shop", &json!({ "key": "checkout" }));
    let wanted = match role {
        "operator" => json!({ "scope": role }),
        "editor" | "viewer" => json!({ "scope": role, "app": "shop" }),
        "sdk-browser" => {
            json!({ "scope": role, "app": "shop", "environment": "production", "origins": ["*"] })
        }
        _ => json!({ "scope": role, "app": "shop", "environment": "production" }),
    };
    let token = match role {
        "admin" => admin.token().to_owned(),
        _ => {
            let made = admin.post("/v1/tokens", &wanted).expect(201);
            made["secret"].as_str().expect("a secret").to_owned()
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("schemathesis.toml"), TURNED_AWAY).expect("a file");
    let mut run = tool("schemathesis");
    run.current_dir(folder.path())
        .arg("run")
        .arg(described(&server, folder.path()))
        .args(["--url", server.url()])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // What is of the right form may be wrong all the same: a key that is taken, a flag that is not there.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", phases])
        // Streams have no end, and a token that revokes itself can do no more.
        .args([
            "--exclude-path-regex",
            "/v1/(feed|log/stream|events)$",
            "--exclude-operation-id",
            "revoke_token",
        ])
        // The same requests every time: a failure can be run again.
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--no-color"]);
    let document = admin.get("/openapi.json").expect(200);
    let paths = document["paths"].as_object().expect("paths").values();
    let operations = paths.flat_map(|methods| methods.as_object().expect("methods").keys()).count();
    let said = done(&mut run);
    let left_out = 4;
    let all = format!("Tested: {}", operations - left_out);
    assert!(said.contains(&all), "not every operation was tested ({all}): {said}");
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_an_admin_is_as_described() {
    every_answer_is_as_described("admin", "coverage,stateful");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_an_editor_is_as_described() {
    every_answer_is_as_described("editor", "fuzzing,stateful");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_an_operator_is_as_described() {
    every_answer_is_as_described("operator", "fuzzing,stateful");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_a_viewer_is_as_described() {
    every_answer_is_as_described("viewer", "fuzzing,stateful");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_a_pipeline_is_as_described() {
    every_answer_is_as_described("ci", "fuzzing,stateful");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_an_sdk_is_as_described() {
    every_answer_is_as_described("sdk-server", "fuzzing");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client")]
fn every_answer_to_a_browser_is_as_described() {
    every_answer_is_as_described("sdk-browser", "fuzzing");
}
