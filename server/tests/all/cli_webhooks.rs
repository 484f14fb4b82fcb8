//! Webhooks of the real binary: through the tool, past crashes, and not into the house.

use crate::receiver;
use crate::running;

use std::net::TcpListener;

use receiver::authority::Authority;
use receiver::{Does, Receiver};
use running::{Server, data, folder, run, tidegate};
use serde_json::Value;

const ALLOWED: &[&str] = &["--webhooks-allow-private"];

fn first_start(more: &[&str]) -> Server {
    let mut server = Server::start(running::folder(), more);
    server.read_greeting();
    server
}

/// Starts it again in the folder that another left, with the token that is known.
fn restart(server: Server, more: &[&str]) -> Server {
    let token = server.token.clone();
    let mut server = Server::start(server.kill(), more);
    server.token = token;
    server
}

fn id_of(made: &Value) -> String {
    made["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_copy_made_of_a_backup_tells_nobody_until_it_is_let_and_then_only_of_what_it_did() {
    let server = first_start(ALLOWED);
    let receiver = Receiver::start();
    server.tool(&format!("webhook create {}", receiver.url)).ends(0);
    server.tool("app create shop").ends(0);
    assert_eq!(receiver.next().kind(), "app_created");
    let here = folder();
    let file = here.path().join("night.backup");
    run(server.command().arg("backup").arg(&file)).ends(0);
    let to = folder();
    run(tidegate().arg("restore").arg(&file).arg("--data-dir").arg(data(&to)))
        .ends(0)
        .says("Webhooks that are enabled: 1")
        .says("--webhooks-deliver=false");
    let mut copy = Server::start(to, &["--webhooks-allow-private", "--webhooks-deliver=false"]);
    copy.token.clone_from(&server.token);
    copy.tool("app create drill").ends(0);
    receiver.hears_nothing();
    let _copy = restart(copy, ALLOWED);
    let told = receiver.next();
    assert!(told.kind() == "app_created" && told.body.contains("drill"), "{told:?}");
    receiver.hears_nothing();
}

#[test]
fn whatever_a_crash_interrupts_every_entry_comes_and_in_order() {
    let mut server = first_start(ALLOWED);
    let receiver = Receiver::that(Does::Hangs);
    let made = server.tool(&format!("webhook create --json {}", receiver.url)).ends(0).json();
    let secret = made["secret"].as_str().expect("shown once").to_owned();
    let first = made["revision"].as_u64().expect("a revision") + 1;
    let mut told: Vec<u64> = Vec::new();
    let mut apps = 0;
    for does in [Does::Hangs, Does::Closes, Does::Answers(500), Does::Answers(200), Does::Answers(200)] {
        receiver.then(&[], does);
        for _ in 0..3 {
            server.tool(&format!("app create app-{apps}")).ends(0);
            apps += 1;
        }
        // It dies while it sends, or waits to send again, or after some of it was taken.
        let message = receiver.next();
        assert!(message.is_signed_with(&secret));
        told.push(message.revision());
        server = restart(server, ALLOWED);
    }
    let last = first + apps - 1;
    receiver.then(&[], Does::Answers(200));
    while told.last() != Some(&last) {
        told.push(receiver.next().revision());
    }
    // Some came more than once; but none before all those before it.
    let mut expected = first;
    for revision in told {
        assert!(revision <= expected, "{expected} is missing before {revision}");
        expected = expected.max(revision + 1);
    }
    assert_eq!(expected, last + 1);
}

#[test]
fn a_receiver_is_told_over_https_if_its_certificate_is_trusted() {
    let authority = Authority::new();
    let mut command = tidegate();
    command.env("SSL_CERT_FILE", authority.file());
    let mut server = Server::start_by(command, running::folder(), ALLOWED);
    server.read_greeting();
    let trusted = Receiver::over_tls(authority.certified());
    assert!(trusted.url.starts_with("https://"), "{}", trusted.url);
    let made =
        server.tool(&format!("webhook create --json --kind app_created {}", trusted.url)).ends(0).json();
    server.tool("app create shop").ends(0);
    let message = trusted.next();
    assert_eq!(message.kind(), "app_created");
    assert!(message.is_signed_with(made["secret"].as_str().expect("shown once")));
    server.tool(&format!("webhook test {}", id_of(&made))).ends(0).says("delivered: 204");
    assert_eq!(trusted.next().kind(), "test");

    let stranger = Receiver::over_tls(Authority::new().certified());
    let made = server.tool(&format!("webhook create --json {}", stranger.url)).ends(0).json();
    server.tool(&format!("webhook test {}", id_of(&made))).ends(1).complains("certificate");
    stranger.hears_nothing();
}

#[test]
fn nobody_is_made_to_knock_inside_the_house() {
    let server = first_start(&[]);
    let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = inside.local_addr().expect("an address").port();
    server.tool(&format!("webhook create http://127.0.0.1:{port}/")).ends(1).complains("https");
    server
        .tool("webhook create https://169.254.169.254/latest/meta-data")
        .ends(1)
        .complains("public internet");
    server.tool("webhook create https://[::ffff:10.0.0.1]/").ends(1).complains("public internet");
    // A name tells nothing until somebody is asked where it leads.
    let made = server.tool(&format!("webhook create --json https://localhost:{port}/")).ends(0).json();
    let id = id_of(&made);
    server.tool(&format!("webhook test {id}")).ends(1).complains("public internet");
    inside.set_nonblocking(true).expect("set");
    assert!(inside.accept().is_err(), "nobody knocked");
}

#[test]
fn the_tool_makes_lists_tests_changes_and_removes_webhooks() {
    let server = first_start(ALLOWED);
    let receiver = Receiver::start();
    server.tool("app create shop").ends(0);
    let url = &receiver.url;
    let made =
        server.tool(&format!("webhook create {url} -a shop --kind killed --kind revived --description ci"));
    let made = made.ends(0).says("killed, revived of shop").says("whsec_").says("not shown again");
    let id = made.out.split(' ').nth(1).expect("an id").to_owned();
    server.tool("webhook list").ends(0).says(&id).says(url).says("killed, revived of shop");
    server.tool("log --last 1").ends(0).says(&format!("stored webhook {id}"));
    server.tool(&format!("webhook test {id}")).ends(0).says("delivered: 204");
    assert_eq!(receiver.next().kind(), "test");
    receiver.then(&[Does::Answers(500)], Does::Answers(200));
    server.tool(&format!("webhook test {id}")).ends(1).complains("500");
    receiver.next();
    server.tool("app kill shop --reason slow").ends(0);
    assert_eq!(receiver.next().kind(), "killed");
    server.tool(&format!("webhook deliveries {id}")).ends(0).says("delivered (200)").says("no dead letters");
    server.tool(&format!("webhook rotate {id}")).ends(0).says("whsec_");
    server.tool(&format!("webhook replay {id}")).ends(0).says("0 dead letters");
    server.tool(&format!("webhook update {id} --disable")).ends(0).says("disabled");
    server.tool("webhook list").ends(0).says("disabled");
    server.tool(&format!("webhook update {id}")).ends(2).complains("say what to change");
    server.tool(&format!("webhook update {id} --kind nothing")).ends(2).complains("effect_requested");
    server.tool(&format!("webhook remove {id}")).ends(2).complains("--yes");
    server.tool(&format!("webhook remove {id} --yes")).ends(0).says("removed webhook");
    server.tool(&format!("webhook test {id}")).ends(3);
}
