//! `tidegate release` of the real binary.

use crate::running;

use running::{Server, folder, run};

fn artifact(first: &str) -> String {
    format!("sha256:{first}{}", "0".repeat(64 - first.len()))
}

/// A server with an app `shop`.
fn shop() -> Server {
    let mut server = Server::start(folder(), &[]);
    server.read_greeting();
    server.tool("app create shop").ends(0);
    server
}

fn deploy(server: &Server, first: &str, more: &str) -> running::Said {
    let digest = artifact(first);
    server.tool(&format!("release deployed {digest} --app shop --env production {more}"))
}

#[test]
fn a_pipeline_tells_what_runs_and_scripts_read_what_to_go_back_to() {
    let server = shop();
    let release = |line: &str| server.tool(&format!("release {line} --app shop --env production"));
    release("list").ends(0).says("nobody told of a deployment");
    release("current").ends(3).complains("nobody told what runs in production of shop");
    let told = deploy(&server, "aa01", "--version 1.4.1").ends(0);
    told.says(&format!("1.4.1 ({}) runs in production of shop", artifact("aa01")));
    release("previous-good").ends(3).complains("no earlier release is known");
    deploy(&server, "aa02", "--reason 'merged at last'").ends(0);
    deploy(&server, "aa02", "").ends(0).says("runs already");
    assert_eq!(release("current").ends(0).out.trim_end(), artifact("aa02"), "alone, for scripts");
    assert_eq!(release("previous-good").ends(0).out.trim_end(), artifact("aa01"));
    let list = release("list").ends(0);
    let lines: Vec<&str> = list.out.lines().collect();
    assert!(lines[1].contains("sha256:aa0200000000") && lines[1].ends_with("current"), "{list:?}");
    assert!(lines[2].contains("1.4.1") && lines[2].ends_with("previous good"), "{list:?}");
    // By as much of the digest as names one.
    release("show aa01").ends(0).says(&artifact("aa01")).says("1.4.1").says("previous good");
    release(&format!("show {}", artifact("aa02"))).ends(0).says("current");
    let shown = release("show sha256:AA01 --json").ends(0).json();
    assert_eq!((&shown["version"], &shown["previous_good"]), (&"1.4.1".into(), &true.into()));
    let json = release("current --json").ends(0).json();
    assert_eq!((&json["artifact"], &json["current"]), (&artifact("aa02").into(), &true.into()));
    let all = release("list --json").ends(0).json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
    let log = server.tool("log --app shop").ends(0);
    log.says(&format!("1.4.1 {} of shop runs in production", artifact("aa01"))).says("merged at last");
}

#[test]
fn what_goes_wrong_is_said_with_the_code_that_scripts_look_at() {
    let server = shop();
    deploy(&server, "aa01", "").ends(0);
    deploy(&server, "aa02", "").ends(0);
    let release = |line: &str| server.tool(&format!("release {line}"));
    // Not a digest, no environment, too little or too much of a digest: not a command.
    release("deployed 1.4.2 --app shop --env production")
        .ends(2)
        .complains("64 hexadecimal digits in lower case");
    release("deployed aa01 --app shop").ends(2).complains("--env");
    release("show aa --app shop --env production").ends(2).complains("at least 4");
    release("show aa0g --app shop --env production").ends(2).complains("no part of a digest");
    release("show 0000 --app shop --env production").ends(3).complains("no release `0000` is remembered");
    let digest = artifact("aa03");
    release(&format!("deployed {digest} --app shop --env nowhere")).ends(3);
    release("list --app other --env production").ends(3);
    release(&format!("deployed {digest} --app shop --env production --version {}", "v".repeat(101)))
        .ends(1)
        .complains("100 bytes");
    deploy(&server, "aa03", "--as-agent m,t,ada").ends(7).complains("previews and sandboxes");
    let viewer = server.tool("token create --scope viewer --app shop --json").ends(0).json();
    let secret = viewer["secret"].as_str().expect("shown once").to_owned();
    let line = format!("release deployed {digest} --app shop --env production --json");
    let refused = run(server.command().env("TIDEGATE_TOKEN", secret).args(line.split(' '))).ends(7);
    let refused: serde_json::Value = serde_json::from_str(&refused.err).expect("JSON");
    assert_eq!((&refused["code"], &refused["exit_code"]), (&"not_allowed".into(), &7.into()));
}

#[test]
fn as_much_of_a_digest_as_names_two_names_none() {
    let server = shop();
    deploy(&server, "aa01", "").ends(0);
    deploy(&server, "aa010", "").ends(0);
    deploy(&server, "aa011", "").ends(0);
    let said = server.tool("release show aa01 --app shop --env production").ends(2);
    said.complains("`aa01` begins more than one digest");
    server.tool("release show aa011 --app shop --env production").ends(0).says(&artifact("aa011"));
}

#[test]
fn without_an_environment_all_are_listed_and_the_only_one_for_production_is_looked_at() {
    let server = shop();
    deploy(&server, "aa01", "").ends(0);
    let digest = artifact("bb01");
    server.tool(&format!("release deployed {digest} --app shop --env sandbox")).ends(0);
    let list = server.tool("release list --app shop").ends(0);
    let lines: Vec<&str> = list.out.lines().collect();
    assert!(lines[0].starts_with("ENVIRONMENT"), "{list:?}");
    assert!(list.out.contains("production  ") && list.out.contains("sandbox  "), "{list:?}");
    let json = server.tool("release list --app shop --json").ends(0).json();
    assert_eq!(json["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["items"][0]["environment"], "production");
    let current = server.tool("release current --app shop").ends(0);
    assert_eq!(current.out.trim_end(), artifact("aa01"));
    server.tool("release show aa01 --app shop").ends(0).says("current");
    server.tool("env create eu --app shop --kind production").ends(0);
    let several = server.tool("release current --app shop").ends(2);
    several.complains("say which environment of shop").complains("--env production");
}
