//! The operator's tool on a terminal: it asks before what cannot be undone, and colours what it shows.

use crate::running;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use running::Server;
use running::feed::Feed;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal: what a person sees and types, and what the tool has.
fn terminal() -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&person).expect("it is ours");
    unlockpt(&person).expect("it opens");
    let path = ptsname(&person, Vec::new()).expect("it has a name");
    let path = path.to_str().expect("a path").to_owned();
    let tool = File::options().read(true).write(true).open(path).expect("its other end");
    (File::from(person), tool)
}

fn end(tool: &File) -> Stdio {
    Stdio::from(tool.try_clone().expect("one more handle"))
}

/// Runs the tool, types an answer to its question, and tells the exit code and the question.
fn asked(mut command: Command, typed: &str) -> (i32, String) {
    let (mut person, tool) = terminal();
    let mut child =
        command.stdin(end(&tool)).stderr(end(&tool)).stdout(Stdio::null()).spawn().expect("the tool runs");
    drop((command, tool));
    let mut seen = String::new();
    while !seen.contains("[y/N]") {
        let mut byte = [0];
        // A terminal whose other end is gone says so with an error.
        let Ok(1) = person.read(&mut byte) else { break };
        seen.push(char::from(byte[0]));
    }
    if seen.contains("[y/N]") {
        person.write_all(typed.as_bytes()).expect("the tool reads");
    }
    (child.wait().expect("our own process").code().unwrap_or(-1), seen)
}

#[test]
fn a_person_is_asked_before_what_cannot_be_undone() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server.tool("segment put beta -a shop").ends(0);
    for (line, question) in [
        ("segment delete beta", "segment beta of shop goes"),
        ("flag archive checkout", "checkout of shop is no flag any more"),
        ("env remove production", "the production environment production of shop goes"),
    ] {
        let command = |more: &str| {
            let mut command = server.command();
            command.args(line.split(' ')).args(["-a", "shop"]).args(more.split_whitespace());
            command
        };
        let (code, seen) = asked(command(""), "\n");
        assert!(code == 2 && seen.contains(question), "{code}: {seen}");
        let (code, seen) = asked(command(""), "y\n");
        assert!(code == 0 && seen.contains(question), "{code}: {seen}");
        // It is gone by now, and with --yes nobody was asked.
        let (code, seen) = asked(command("--yes"), "");
        assert!(code == 3 && !seen.contains("[y/N]"), "{code}: {seen}");
    }
    // What has to be quick never asks.
    server.tool("app create two").ends(0);
    let mut command = server.command();
    command.args(["kill", "--everything"]);
    let (code, seen) = asked(command, "");
    assert!(code == 0 && seen.is_empty(), "{code}: {seen}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    for (name, value, coloured) in
        [("TERM", "xterm", true), ("TERM", "dumb", false), ("NO_COLOR", "1", false)]
    {
        let (mut person, tool) = terminal();
        let mut command = server.command();
        command.env_remove("NO_COLOR").env("TERM", "xterm").env(name, value).args(["app", "list"]);
        let mut child = command.stdout(end(&tool)).spawn().expect("the tool runs");
        drop((command, tool));
        let mut seen = Vec::new();
        // It ends with an error once the tool is gone.
        let _ = person.read_to_end(&mut seen);
        child.wait().expect("our own process");
        let seen = String::from_utf8(seen).expect("text");
        assert!(seen.contains("shop"), "{seen}");
        assert_eq!(seen.contains('\u{1b}'), coloured, "{name}={value}: {seen:?}");
    }
}

#[test]
fn a_person_watches_a_kill_on_its_way() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    let token = server.token("--scope sdk-server -a shop -e production");
    let mut feed = Feed::open(&server, &token, "one");
    let (mut person, tool) = terminal();
    let mut command = server.command();
    command.env("TERM", "xterm").args(["app", "kill", "shop", "--wait", "1m"]);
    let mut child = command.stdout(end(&tool)).spawn().expect("the tool runs");
    drop((command, tool));
    let mut seen = String::new();
    let mut waiting = true;
    let mut byte = [0];
    // It ends with an error once the tool is gone.
    while let Ok(1) = person.read(&mut byte) {
        seen.push(char::from(byte[0]));
        if waiting && seen.ends_with("0 of 1 client has it; waiting for 1") {
            waiting = false;
            feed.change();
            feed.acknowledge();
        }
    }
    assert!(child.wait().expect("our own process").success());
    assert!(!waiting && seen.contains("\r\u{1b}[K"), "{seen:?}");
    let last = seen.trim_end().rsplit('\n').next().expect("a line");
    assert!(last.contains("1 of 1 client has it after") && last.ends_with(" ms"), "{seen:?}");
}

#[test]
fn a_rollout_that_is_watched_is_drawn_over_what_was_drawn() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server.tool("rollout start checkout -a shop -e production --plan 5%/1h,100%").ends(0);
    let (mut person, tool) = terminal();
    let mut command = server.command();
    command.args(["rollout", "watch", "checkout", "-a", "shop", "-e", "production"]).env("TERM", "xterm");
    let mut child = command.stdout(end(&tool)).stderr(Stdio::null()).spawn().expect("the tool runs");
    drop((command, tool));
    let mut seen = String::new();
    let mut read_until = |part: &str| {
        while !seen.contains(part) {
            let mut byte = [0];
            let Ok(1) = person.read(&mut byte) else { panic!("it ended without `{part}`: {seen}") };
            seen.push(char::from(byte[0]));
        }
        seen.clone()
    };
    let first = read_until("if nothing keeps it waiting");
    assert!(first.contains("stage 1 of 2 (5%)") && first.contains("left"), "{first}");
    // A line is a row, and is counted as one.
    assert!(first.contains("\u{1b}[?7lcheckout in production"), "{first}");
    assert!(!first.contains("\u{1b}[?7h"), "{first}");
    server.tool("rollout abort checkout -a shop -e production").ends(0);
    // Six lines up, and what is there goes.
    let last = read_until("\u{1b}[6A\u{1b}[J");
    assert!(!last.contains("aborted") && last.contains("\u{1b}[?7h"), "{last}");
    read_until("was aborted");
    assert_eq!(child.wait().expect("our own process").code(), Some(1));
}
