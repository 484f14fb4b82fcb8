//! Our own gate judges our own release: the server's binary, with evidence about this repository. What it says is printed, and kept in
//! `gate/own-release.txt` of the target folder.
//!
//! The app's folder is what Git keeps of the repository without `tests/fixtures`: that holds other people's faulty apps. The evidence
//! is a report of the tests of the gate's core, a scan for secrets, a list of what the binary is built from, and what the tool sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};
use tidegate_tests::prerequisites::repository;
use tidegate_tests::{Api, Server, Tool, cargo, tidegate};

const APP: &str = "tidegate";
/// Other people's apps, which are no part of ours.
const FIXTURES: &str = "tests/fixtures/";
/// What the scanner found before and somebody looked at: public examples, hashes and alphabets. The scanner keeps what is said of them
/// there, and adds what is new, which then denies. It holds nothing but hashes, of which each looks like a secret.
///
/// The gate does not take the marks for true, since whoever changes the code can write them: what counts is that the security team signs
/// this file. Here the test is the security team, with a key that the policy trusts with audits and with nothing else.
///
/// Something new that is no secret is marked by the scanner too, at the top of the repository:
/// `git ls-files | grep -v -e ^tests/fixtures/ -e audited.json | xargs detect-secrets scan --all-files --baseline` this file, then
/// `detect-secrets audit` this file.
const AUDITED: &str = "tests/clients/secrets/audited.json";
/// The profile of nextest that writes a report, and where.
const PROFILE: &str = "own-release";

fn succeeds(command: &mut Command) -> Vec<u8> {
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    ended.stdout
}

/// Copies what Git keeps, but for the fixtures.
fn copy_sources(to: &Path) {
    let listed = succeeds(Command::new("git").args(["ls-files", "-z"]).current_dir(repository()));
    let listed = String::from_utf8(listed).expect("our names are text");
    let is_ours = |file: &&str| !file.starts_with(FIXTURES) && *file != AUDITED;
    let files: Vec<&str> = listed.split_terminator('\0').filter(is_ours).collect();
    assert!(files.len() > 500, "only {} files", files.len());
    for file in files {
        let (from, to) = (repository().join(file), to.join(file));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        // What was deleted just now is still known to Git.
        if from.exists() {
            std::fs::copy(from, to).expect("a file is copied");
        }
    }
}

/// Looks for secrets with every detector and whole filters; gives the report.
fn scan_for_secrets(sources: &Path) -> PathBuf {
    let report = sources.with_file_name("secrets.json");
    std::fs::copy(repository().join(AUDITED), &report).expect("a file is copied");
    let scanner = repository().join("target/clients/gate/bin/detect-secrets");
    let filter = "detect_secrets.filters.allowlist.is_line_allowlisted";
    let words = ["scan", "--all-files", "--disable-filter", filter, "--baseline", "../secrets.json", "."];
    succeeds(Command::new(scanner).args(words).current_dir(sources));
    report
}

/// The security team's audit, signed for our app.
fn sign_audit(key: &KeyPair, folder: &Path) -> PathBuf {
    let baseline = std::fs::read(repository().join(AUDITED)).expect("a file of the repository");
    let baseline: Value = serde_json::from_slice(&baseline).expect("JSON");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "tidegate:secret-audit/1",
        "predicate": { "app": APP, "baseline": baseline },
    });
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = key.sign(signed.as_bytes()).expect("it is signed");
    let envelope = json!({
        "payloadType": kind, "payload": STANDARD.encode(payload), "signatures": [{ "sig": STANDARD.encode(signature) }],
    });
    let audit = folder.join("audit.dsse.json");
    std::fs::write(&audit, envelope.to_string()).expect("a file");
    audit
}

/// Has the policy trust the security team's key with audits.
fn trust_audits(admin: &Api, key: &KeyPair) {
    let seen = admin.get("/v1/gate/policy");
    let etag = seen.header("etag").to_owned();
    let mut policy = seen.expect(200)["policy"].clone();
    policy["trust"]["keys"] =
        json!([{ "name": "security", "pem": key.public_key_pem(), "signs": ["secret_audit"] }]);
    let body = json!({ "policy": policy, "reason": "the security team signs audits" });
    admin.send("PUT", "/v1/gate/policy", &[("If-Match", &etag)], &body).expect(200);
}

/// Runs the tests of the gate's core; gives their report.
fn run_tests(target: &Path) -> PathBuf {
    let report = target.join("nextest").join(PROFILE).join("junit.xml");
    // That of an earlier run is none of this one.
    let _ = std::fs::remove_file(&report);
    let which = ["--locked", "--workspace", "--test", "core", "-E", "test(/^gate::/)"];
    succeeds(cargo().args(["nextest", "run", "--profile", PROFILE]).args(which));
    report
}

/// What the binary is built from, as CycloneDX 1.6 in JSON: every package that the lock file and cargo's features bring to the server on
/// this platform, macros included; what only tests and build scripts need is not in the binary and not in the list. Licences are as each
/// package states them.
fn bill_of_materials(metadata: &Value) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (word(&package["id"]), package)).collect();
    let is_built_in = |dep: &&Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let needs: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| {
            let deps = list(&node["deps"]);
            (word(&node["id"]), deps.iter().filter(is_built_in).map(|dep| word(&dep["pkg"])).collect())
        })
        .collect();
    let is_ours = |package: &Value| package["name"] == APP;
    let root = packages.iter().find(|(_, package)| is_ours(package)).expect("the server").0.clone();
    let (mut reached, mut next) = (BTreeSet::from([root.clone()]), vec![root.clone()]);
    while let Some(id) = next.pop() {
        next.extend(needs[&id].iter().filter(|need| reached.insert((*need).clone())).cloned());
    }
    let name =
        |id: &String| format!("pkg:cargo/{}@{}", word(&packages[id]["name"]), word(&packages[id]["version"]));
    let component = |id: &String| {
        let (package, kind) = (&packages[id], if *id == root { "application" } else { "library" });
        json!({
            "type": kind, "bom-ref": name(id), "purl": name(id), "name": package["name"], "version": package["version"],
            "licenses": [{"expression": word(&package["license"]).replace('/', " OR ")}],
        })
    };
    let dependencies = reached.iter().map(|id| {
        let on: Vec<String> = needs[id].iter().map(name).collect();
        json!({"ref": name(id), "dependsOn": on})
    });
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": component(&root)},
        "components": reached.iter().filter(|id| **id != root).map(component).collect::<Vec<Value>>(),
        "dependencies": dependencies.collect::<Vec<Value>>(),
    })
}

fn metadata() -> Value {
    let version = String::from_utf8(succeeds(Command::new("rustc").arg("-vV"))).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let words = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host];
    serde_json::from_slice(&succeeds(cargo().args(words))).expect("cargo speaks JSON")
}

#[test]
#[cfg_attr(not(has_gate_clients), ignore = "needs the clients of the gate: make clients")]
fn our_own_release_passes_our_own_gate() {
    let metadata = metadata();
    let target = PathBuf::from(metadata["target_directory"].as_str().expect("a folder"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = folder.path().join("sources");
    copy_sources(&sources);
    let materials = folder.path().join("materials.cdx.json");
    std::fs::write(&materials, bill_of_materials(&metadata).to_string()).expect("a file");
    let security = KeyPair::generate().expect("a key");
    let audit = sign_audit(&security, folder.path());
    let evidence = [scan_for_secrets(&sources), run_tests(&target), materials, audit];

    let server = Server::start_with(&[("TIDEGATE_GATE_ENFORCEMENT", "enforce")]);
    server.admin().create_app(APP, &[("production", "production")]);
    trust_audits(&server.admin(), &security);
    let token = server.admin().create_token("ci", APP, "production");
    let pipeline = Tool::new(&server, &token, APP, &sources);
    let artifact = tidegate().to_str().expect("a path");
    let mut check = vec!["gate", "check", "--env", "production", "--artifact", artifact, "--no-discover"];
    for piece in &evidence {
        check.extend(["--evidence", piece.to_str().expect("a path")]);
    }
    let ended = pipeline.run(&check);
    println!("{}", ended.out);
    std::fs::create_dir_all(target.join("gate")).expect("a folder");
    std::fs::write(target.join("gate/own-release.txt"), &ended.out).expect("a file");
    ended.expect(0).says("words that look like one are none, as security signed");
}
