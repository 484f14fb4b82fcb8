//! The module itself: how large it is, what is in it and what is not, and that its bytes hang on its sources alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::connector;
use tidegate_tests::prerequisites::repository;

use crate::node::{Node, built, module, quick_module};

/// The module and the script of pages together, as they travel.
const MOST_GZIPPED_BYTES: u64 = 120 * 1024;
/// How much more memory many changes may take than the first thousand took.
const PAGES_TO_SPARE: u64 = 4 * 64 * 1024;

fn manifest() -> Value {
    let text = std::fs::read_to_string(built().join("manifest.json")).expect("make wasm was run");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn the_module_and_the_script_of_a_page_travel_in_120_kib() {
    let manifest = manifest();
    let files = manifest["files"].as_array().expect("files");
    let is_of_a_page = |file: &&Value| {
        let name = file["name"].as_str().unwrap_or_default();
        name == "tidegate.js" || (name.starts_with("tidegate-") && name.ends_with(".wasm"))
    };
    let of_a_page: Vec<&Value> = files.iter().filter(is_of_a_page).collect();
    assert_eq!(of_a_page.len(), 2, "{files:?}");
    let bytes: u64 = of_a_page.iter().filter_map(|file| file["gzip_bytes"].as_u64()).sum();
    println!("{bytes} of {MOST_GZIPPED_BYTES} bytes");
    assert!(bytes <= MOST_GZIPPED_BYTES, "{bytes} bytes");
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn the_module_for_node_is_packed_and_not_among_what_servers_hand_out() {
    let manifest = manifest();
    let names = |list: &str| -> Vec<String> {
        let files = manifest[list].as_array().expect("files").iter();
        files.map(|file| file["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("only_packed"), ["tidegate-node.wasm"]);
    assert!(!names("files").contains(&"tidegate-node.wasm".to_owned()), "{:?}", names("files"));
    let script = std::fs::read_to_string(built().join("tidegate-node.js")).expect("a script");
    assert!(script.contains("tidegate-node.wasm"), "Node reads another module");
}

/// Runs a script of JavaScript.
fn node(script: &str, args: &[&Path]) -> String {
    let out = Command::new("node").args(["--input-type=module", "-e", script, "--"]).args(args).output();
    let out = out.expect("node runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn the_module_asks_for_nothing_but_a_way_to_throw_and_has_no_way_to_fail_on_purpose() {
    let script = "import { readFileSync } from 'node:fs';
        const module = new WebAssembly.Module(readFileSync(process.argv.at(-1)));
        const names = (list) => list.map(({ name }) => name);
        console.log(JSON.stringify([names(WebAssembly.Module.imports(module)), names(WebAssembly.Module.exports(module))]));";
    for module in [module(), quick_module()] {
        let said: [Vec<String>; 2] = serde_json::from_str(&node(script, &[&module])).expect("two lists");
        let [imports, exports] = said;
        let others: Vec<&String> = imports
            .iter()
            .filter(|name| !name.contains("wbindgen_throw") && !name.contains("init_externref"))
            .collect();
        assert!(others.is_empty(), "it asks for {others:?}");
        assert!(exports.iter().any(|name| name == "core_check"), "{exports:?}");
        let odd: Vec<&String> = exports
            .iter()
            // What begins with two underscores is what connects it.
            .filter(|name| !name.starts_with("core_") && !name.starts_with("__") && *name != "memory")
            .collect();
        assert!(odd.is_empty(), "it gives {odd:?}");
    }
}

/// Words of the names of functions that no page needs: who may change what, what the log folds to, hashes of entries,
/// and parsers that the module has its own of.
const ABSENT: [&str; 7] = [
    "13rollout_rules6decide",
    "13rollout_rules4gate",
    "13rollout_rules7runbook",
    "13rollout_rules8snapshot5apply",
    "4sha26sha256",
    "10serde_json2de",
    "4time7parsing",
];

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn nothing_that_decides_is_in_the_module() {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let compiled =
        ["", "wasm"].map(|folder| target.join(folder).join("wasm32-unknown-unknown/wasm/tidegate_wasm.wasm"));
    let compiled = compiled.iter().find(|path| path.exists()).expect("what make wasm compiled");
    let bytes = std::fs::read(compiled).expect("a module");
    let has = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(has("13rollout_rules8evaluate"), "the names of functions are gone, so that nothing can be said");
    for word in ABSENT {
        assert!(!has(word), "{word} is in it");
    }
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn ten_thousand_changes_take_no_more_memory_than_a_thousand() {
    let flag = |revision: &str| {
        format!(
            r#"{{"key":"f","type":"boolean","variants":[{{"key":"on","value":true}},{{"key":"off","value":false}}],
            "off_variant":"off","targeting":{{"on":true,"exposure":100,"serve":{{"variant":"on"}},"rules":[{{"id":"r",
            "when":{{"attribute":"plan","op":"in","values":["a","b"]}},"serve":{{"variant":"off"}}}}]}},
            "expires_at":9000000000000,"revision":{revision}}}"#
        )
        .replace('\n', "")
    };
    let snapshot = format!(
        r#"{{"v":1,"log":"l","revision":4710,"body":{{"snapshot":{{"app":"shop","environment":"production","flags":[{}]}}}}}}"#,
        flag("1")
    );
    let change = format!(
        r#"{{"v":1,"log":"l","revision":4711,"body":{{"change":{{"follows":0,"ops":[{{"put_flag":{}}}]}}}}}}"#,
        flag("4711")
    );
    let mut node = Node::start();
    let _: Vec<u32> = node.ask(&json!({"frames": [snapshot], "picks": []}));
    let said: Value = node.ask(&json!({"changes": 10_000, "frame": change}));
    assert_eq!(said["version"], 10_001, "every change was folded");
    let sizes: Vec<u64> = serde_json::from_value(said["sizes"].clone()).expect("sizes");
    assert!(sizes[9] <= sizes[0] + PAGES_TO_SPARE, "{sizes:?}");
}

/// The sources in another folder, with what npm brought.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let out = Command::new("git").current_dir(repository()).args(list).output().expect("git runs");
    for name in String::from_utf8(out.stdout).expect("text").split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (repository().join(name), folder.path().join(name));
        if from.is_file() {
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            std::fs::copy(from, to).expect("a copy");
        }
    }
    let modules = repository().join("sdk-wasm/node_modules");
    std::os::unix::fs::symlink(modules, folder.path().join("sdk-wasm/node_modules")).expect("a link");
    folder
}

/// Compiles modules in a folder. What connects them is the program that `make wasm` made: it is told where they lie.
fn build(folder: &Path, more: &[&str]) {
    let out = Command::new("node")
        .arg(folder.join("sdk-wasm/build.mjs"))
        .arg("--connector")
        .arg(connector())
        .args(more)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .expect("node runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn two_builds_in_two_folders_give_the_same_modules_and_one_that_fails_is_begun_anew() {
    let folder = copied();
    build(folder.path(), &["--module-only"]);
    for module in [module(), quick_module()] {
        let name = module.file_name().expect("a name");
        let other = folder.path().join("sdk-wasm/dist").join(name);
        assert!(other.exists(), "another module than {}", name.display());
        let [one, other] = [&module, &other].map(|path| std::fs::read(path).expect("a module"));
        assert!(one == other, "{} is another one", name.display());
    }
    build(folder.path(), &["--small-module-only", "--features", "fault"]);
    let frames = include_str!("../../../rollout-rules/golden/frames-v2.jsonl");
    let script = "import { readFileSync, readdirSync } from 'node:fs';
        const [folder, frame] = process.argv.slice(-2);
        const core = await import(`${folder}/generated/core.js`);
        const file = readdirSync(`${folder}/dist`).find((name) => name.endsWith('.wasm'));
        core.initSync({ module: readFileSync(`${folder}/dist/${file}`) });
        let client = new core.Core(readFileSync(frame, 'utf8').split('\\n')[0], 45000, 0);
        const before = client.flags(0);
        const said = [];
        for (const kind of [0, 1]) {
          const kept = client.export_state();
          try { core.panic_now(kind); } catch (error) { said.push(`${error.constructor.name}: ${error.message}`); }
          core.__wbg_reset_state();
          client = new core.Core(kept, 45000, 0);
          said.push(client.flags(0) === before);
        }
        console.log(JSON.stringify(said));";
    let frame = folder.path().join("frames.jsonl");
    std::fs::write(&frame, frames).expect("a file");
    let said: Vec<Value> =
        serde_json::from_str(&node(script, &[&folder.path().join("sdk-wasm"), &frame])).expect("a list");
    let place = said[0].as_str().expect("a place");
    assert!(place.starts_with("Error: ") && place.contains("sdk-wasm/src/fault.rs:"), "{place}");
    let overflow = said[2].as_str().expect("a trap");
    assert!(overflow.starts_with("RangeError") || overflow.starts_with("RuntimeError"), "{overflow}");
    assert_eq!((&said[1], &said[3]), (&json!(true), &json!(true)));
}
