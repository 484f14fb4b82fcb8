//! The operator's tool at three in the morning: what it says unasked, what it does with what others wrote,
//! and what scripts rely on.

use crate::running;

use std::io::Write as _;
use std::process::Stdio;

use running::{Following, Said, Server};

/// A server with the app `shop` (tier 0) and its flag `checkout`.
fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server
}

/// Runs the tool with a text on its standard input.
fn tool_reading(server: &Server, arguments: &[&str], input: &str) -> Said {
    let mut command = server.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the tool reads");
    let output = child.wait_with_output().expect("our own process");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the tool writes text");
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn what_others_wrote_cannot_forge_a_line_or_steer_the_terminal() {
    let server = shop();
    let forged = "slow\n      99  2026-11-25 03:00:00  admin  revived everything\u{1b}[2J";
    let mut command = server.command();
    command.args(["flag", "on", "checkout", "-a", "shop", "-e", "sandbox", "--reason", forged]);
    running::run(&mut command).ends(0);
    let line = Following::start(server.command().args(["log", "-f", "--last", "1"])).next().expect("a line");
    for shown in [server.tool("log --last 1").ends(0).out, line] {
        assert!(shown.contains("slow\\n") && shown.contains("\\u{1b}[2J"), "{shown}");
        assert!(
            !shown.contains('\u{1b}') && !shown.lines().any(|line| line.starts_with("      99")),
            "{shown}"
        );
    }
    // Programs get it as it is.
    let entry = server.tool("log --last 1 --json").ends(0).json();
    assert_eq!(entry["reason"], forged);
}

#[test]
fn the_newest_entries_of_an_app_are_found_however_far_back_they_are() {
    let server = shop();
    server.tool("app create busy").ends(0);
    for n in 0..12 {
        server.tool(&format!("app update busy --name n{n}")).ends(0);
    }
    let said = server.tool("log --app shop --last 2").ends(0);
    let said = said.says("created app shop").says("created flag checkout of shop");
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    let said = server.tool("log --app shop --last 1").ends(0).says("created flag checkout of shop");
    assert_eq!(said.out.lines().count(), 2, "{said:?}");
    server.tool("log --last 0").ends(0).says("nothing yet");
}

#[test]
fn a_flag_that_dies_sooner_than_asked_says_so_where_it_does() {
    let server = shop();
    // A tier 0 app allows 14 days in production and 30 in a sandbox.
    let said = server.tool("flag create slow -a shop --expires 20d").ends(0);
    let line = |environment: &str| {
        let start = format!("  {environment}:");
        said.out.lines().find(|line| line.starts_with(&start)).unwrap_or_default().to_owned()
    };
    assert!(line("production").contains("(in 14d): sooner than asked"), "{said:?}");
    assert!(line("sandbox").ends_with("(in 20d)"), "{said:?}");
    let made = server.tool("flag create slower -a shop --expires 20d --json").ends(0).json();
    let cut = &made["expiry_cut"];
    assert_eq!(
        cut.as_object().map(|cuts| cuts.keys().map(String::as_str).collect()),
        Some(vec!["production"])
    );
    assert_eq!(cut["production"]["expires_at"], made["environments"]["production"]["expires_at"]);
    assert!(cut["production"]["asked"].as_str() > cut["production"]["expires_at"].as_str(), "{cut}");
    let made = server.tool("flag create quick -a shop --expires 3d --json").ends(0).json();
    assert!(made.get("expiry_cut").is_none(), "{made}");
    // The same where a life is extended.
    server.tool("flag create short -a shop --expires 2d").ends(0);
    let said = server.tool("flag extend short -a shop --expires 20d --reason slow").ends(0);
    assert_eq!(said.out.matches("sooner than asked").count(), 1, "{said:?}");
}

#[test]
fn a_list_that_an_environment_variable_narrows_says_so() {
    let server = shop();
    server.tool("app create other").ends(0);
    let narrowed = |line: &str| {
        let mut command = server.command();
        running::run(command.env("TIDEGATE_APP", "other").args(line.split(' ')))
    };
    narrowed("proposal list").ends(0).says("no proposals for other").complains("--all-apps");
    narrowed("segment list").ends(0).says("no segments of other");
    narrowed("segment put beta").ends(0).says("segment beta of other is stored");
    narrowed("segment put beta --shared").ends(0).says("segment beta shared by all apps is stored");
    let said = narrowed("proposal list --all-apps").ends(0);
    assert!(said.err.is_empty(), "{said:?}");
    assert!(narrowed("proposal list --json").ends(0).err.is_empty());
}

#[test]
fn an_empty_variable_names_nothing() {
    let server = shop();
    let mut command = server.command();
    for name in ["TIDEGATE_APP", "TIDEGATE_AGENT", "TIDEGATE_CACERT"] {
        command.env(name, "");
    }
    running::run(command.args(["proposal", "list"])).ends(0);
    running::run(command.args(["--app", "shop"])).ends(0).complains("only proposals for shop");
    let mut command = server.command();
    let padded = format!(" {}\n", server.token);
    running::run(command.env("TIDEGATE_TOKEN", padded).args(["whoami"])).ends(0);
    let mut command = running::tidegate();
    running::run(command.env("TIDEGATE_URL", "").args(["whoami", "--json"])).complains("exit_code");
}

#[test]
fn members_and_rules_can_come_from_standard_input() {
    let server = shop();
    server.tool("segment put beta -a shop").ends(0);
    let add = ["segment", "add", "beta", "-a", "shop", "--file", "-"];
    tool_reading(&server, &add, "ada\r\n\nben\n").ends(0).says("2 members added to segment beta of shop");
    tool_reading(&server, &add, "").ends(2).complains("at least one member");
    let set = ["flag", "set", "checkout", "-a", "shop", "-e", "sandbox", "--rules-file", "-"];
    let rules = r#"[{"id":"x","when":{"segment":"beta"},"serve":{"variant":"on"}}]"#;
    tool_reading(&server, &set, rules).ends(0);
    tool_reading(&server, &set, "x").ends(2).complains("no list of rules");
}

#[test]
fn whoever_stops_reading_has_seen_enough() {
    let server = shop();
    for (line, code) in
        [("log", 0), ("log --json", 0), ("app list", 0), ("app show nope", 3), ("env list", 2)]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = server.command();
        command.args(line.split(' ')).stdout(writer.try_clone().expect("one more end")).stderr(writer);
        assert_eq!(command.status().expect("the tool runs").code(), Some(code), "{line}");
    }
}

#[test]
fn help_puts_what_a_command_has_of_its_own_first() {
    for command in ["log", "kill"] {
        let said = running::run(running::tidegate().args([command, "--help"])).ends(0);
        let at = |part: &str| said.out.find(part).unwrap_or_else(|| panic!("{part} is missing: {said:?}"));
        let own = if command == "log" { "--follow" } else { "--everything  " };
        assert!(at(own) < at("Server and output:"), "{said:?}");
        assert!(at("--cacert") > at("Server and output:"), "{said:?}");
        assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{said:?}");
    }
}
