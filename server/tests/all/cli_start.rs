//! Starting: what a newcomer sees, what is said about mistakes, and that stopping loses nothing.

use crate::running;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use running::{Server, data, folder, run, tidegate};

#[test]
fn what_the_first_start_prints_can_be_typed_as_it_is() {
    let server = Server::first_start();
    let typed: Vec<&str> = server.greeting.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(typed.len() >= 7, "{}", server.greeting);
    assert!(typed.iter().any(|line| line.starts_with("export TIDEGATE_TOKEN=tg_admin_")), "{typed:?}");
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &typed.join("\n")]);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        shell.env_remove(name);
    }
    let said = run(shell.stdin(Stdio::null())).ends(0);
    let said = said.says("created app hello").says("greeting in sandbox: on for 30%").says("tg_sdk-server_");
    said.says("is killed in all environments");
}

#[test]
fn the_admin_token_is_shown_once_and_a_lost_one_is_replaced_on_request() {
    let first = Server::first_start();
    first.tool("app create shop").ends(0);
    let old = first.token.clone();
    let (folder, _) = first.stop();

    let mut second = Server::start(folder, &[]);
    second.token = old.clone();
    second.tool("app list").ends(0).says("shop");
    let (folder, said) = second.stop();
    assert!(!said.contains("admin token"), "{said}");

    let mut third = Server::start(folder, &["--new-admin-token"]);
    third.read_greeting();
    assert_ne!(third.token, old);
    third.tool("app list").ends(0).says("shop");
    third.tool_as(&old, "whoami").ends(0);
    third.tool("log").ends(0).says("asked for at start");
}

#[test]
fn one_data_directory_takes_one_server() {
    let server = Server::first_start();
    let mut second = tidegate();
    second.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir());
    run(&mut second).ends(1).complains("another server uses the data directory").complains("--data-dir");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = folder();
    let mut server = tidegate();
    server.args(["serve", "--listen", &address, "--data-dir"]).arg(data(&folder));
    run(&mut server).ends(1).complains(&format!("cannot listen on {address}")).complains("--listen");
}

#[test]
fn all_mistakes_in_settings_are_said_before_anything_starts() {
    let folder = folder();
    let mut server = tidegate();
    server.args(["serve", "--listen", "0.0.0.0:80", "--log-level", "loud"]).env("TIDEGATE_LIMITS_BODY", "1");
    let said = run(server.arg("--data-dir").arg(data(&folder))).ends(2);
    let said = said.complains("the settings have 3 mistakes").complains("insecure_http = true");
    said.complains("flag --log-level: `log.level` cannot be `loud`").complains("TIDEGATE_LIMITS_BODY");
    assert!(!data(&folder).exists());
}

#[test]
fn the_settings_in_effect_can_be_printed_with_where_they_stand() {
    let folder = folder();
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, "[log]\nformat = \"json\"\n").expect("a file");
    let mut server = tidegate();
    server.args(["serve", "--print-config", "--insecure-http"]).env("TIDEGATE_CONFIG", &file);
    let said = run(&mut server).ends(0).says("insecure_http = true").says("# From flag --insecure-http.");
    said.says("tidegate.toml line 2.\nformat = \"json\"");
}

#[test]
fn settings_may_follow_the_name_of_the_program_since_no_command_means_serve() {
    let mut server = tidegate();
    server.args(["--insecure-http", "--listen=0.0.0.0:1", "--print-config"]);
    run(&mut server).ends(0).says("listen = \"0.0.0.0:1\"").says("# From flag --insecure-http.");
    let mut tool = tidegate();
    run(tool.args(["--json", "app", "list"])).ends(2).complains("--json");
}

#[test]
fn a_mistake_on_the_command_line_is_said_to_a_program_as_json_and_help_stays_text() {
    let failure = |arguments: &[&str]| {
        let said = run(tidegate().args(arguments)).ends(2);
        assert!(said.out.is_empty(), "{said:?}");
        serde_json::from_str::<serde_json::Value>(&said.err)
            .unwrap_or_else(|error| panic!("{error}: {said:?}"))
    };
    let said = failure(&["flag", "on", "--json"]);
    assert_eq!((&said["code"], &said["exit_code"]), (&"usage".into(), &2.into()));
    let detail = said["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("the following required arguments") && detail.contains("<KEY>"), "{said}");
    assert!(!detail.contains("Usage:"), "{said}");
    let said = failure(&["--json", "app", "lost"]);
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("--json")), "{said}");
    // After `--` it is a member's name.
    let said = run(tidegate().args(["segment", "add", "--loud", "--", "--json"])).ends(2);
    said.complains("error: unexpected argument '--loud'").complains("Usage:");
    run(tidegate().args(["flag", "on", "--json", "--help"])).ends(0).says("Usage:");
    run(tidegate().args(["--version"])).ends(0).says("tidegate ");
}

#[test]
fn whoever_interrupts_a_second_time_does_not_wait_for_requests_in_progress() {
    let folder = folder();
    let mut server = tidegate();
    server.args(["--listen", "127.0.0.1:0", "--shutdown-grace", "1m", "--data-dir"]).arg(data(&folder));
    let mut server = server.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server runs");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut seen = |start: &str| lines.find_map(|line| Some(line.strip_prefix(start)?.to_owned()));
    let address = seen("listening on http://").expect("its address");
    let token = seen("admin token: ").expect("a token");
    // It has begun, since it asks for the rest, and will not end by itself.
    let mut request = TcpStream::connect(&address).expect("a connection");
    let head =
        "POST /v1/apps HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99\r\n";
    write!(request, "{head}authorization: Bearer {token}\r\nexpect: 100-continue\r\n\r\n").expect("sent");
    let mut answer = [0; 12];
    request.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 100");
    let mut log = BufReader::new(server.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let id = server.id().to_string();
    let interrupt =
        || assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    interrupt();
    assert!(log.any(|line| line.contains("interrupted; stopping")), "the first one is heard");
    interrupt();
    assert_eq!(server.wait().expect("our own process").code(), Some(130));
}
