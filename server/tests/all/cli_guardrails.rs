//! Guardrails of the real binary: written, tried out, and whom they call.

use crate::mailbox;
use crate::receiver;
use crate::running;

use mailbox::{Mail, Mailbox};
use receiver::{Does, Message, Receiver};
use running::{Server, folder, run};
use serde_json::Value;

const ALLOWED: &[&str] = &["--webhooks-allow-private"];

/// A server with an app `shop` and its flag `checkout`, which is on for everyone in production.
fn shop(more: &[&str]) -> Server {
    let mut server = Server::start(folder(), more);
    server.read_greeting();
    server.tool("app create shop").ends(0);
    server.tool("flag create checkout --app shop").ends(0);
    server.tool("flag on checkout --app shop --env production --exposure 100%").ends(0);
    server
}

#[track_caller]
fn secret_of(server: &Server, line: &str) -> String {
    let made = server.tool(&format!("{line} --app shop --json")).ends(0).json();
    made["secret"].as_str().expect("shown once").to_owned()
}

/// Asks until it holds: what is awaited is announced to nobody.
#[track_caller]
fn until(server: &Server, line: &str, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..400 {
        let answer = server.tool(&format!("{line} --json")).ends(0).json();
        if holds(&answer) {
            return answer;
        }
        std::thread::yield_now();
    }
    panic!("it never holds: {:?}", server.tool(&format!("{line} --json")));
}

fn all_are(state: &'static str, count: usize) -> impl Fn(&Value) -> bool {
    move |list| {
        let items = list["items"].as_array().expect("a list");
        items.len() == count && items.iter().all(|item| item["state"] == state)
    }
}

#[test]
fn a_drill_turns_the_flag_off_calls_the_job_signed_and_tells_the_chat() {
    let server = shop(ALLOWED);
    let (job, chat) = (Receiver::start(), Receiver::start());
    let secret = secret_of(&server, &format!("job create rollback {}", job.url));
    server.tool(&format!("channel create on-call --app shop --chat {}", chat.url)).ends(0);
    let rule = "error_rate > 3% for 5m -> flag off, run rollback, notify on-call";
    server.tool(&format!("guardrail set --app shop --flag checkout '{rule}'")).ends(0).says(rule);

    let dry = server.tool("guardrail drill checkout --app shop --env production --dry-run").ends(0);
    let dry = dry.says("held at its off variant").says("job rollback at http://127.0.0.1");
    assert!(!dry.out.contains("PROBLEM"), "{dry:?}");
    job.hears_nothing();
    server.tool("flag show checkout --app shop --json").ends(0).says("on for everyone");

    let drill = "guardrail drill checkout --app shop --env production --yes --reason 'do we wake up'";
    server.tool(drill).ends(0).says("done, as revision");
    let called: Message = job.next();
    assert!(called.is_signed_with(&secret), "{called:?}");
    let told = called.json();
    assert_eq!((&told["type"], &told["data"]["flag"]), (&"run_job".into(), &"checkout".into()));
    assert_eq!((&told["data"]["drill"], &told["data"]["guardrail"]), (&true.into(), &rule.into()));
    assert_eq!(told["data"]["reason"], "drill: do we wake up");
    let said = chat.next().json();
    let said = said["text"].as_str().expect("a text");
    assert!(said.contains("checkout of shop in production") && said.contains("drill"), "{said}");
    server.tool("flag show checkout --app shop --json").ends(0).says("\"serving\": \"held\"");
    until(&server, "effect list --app shop", all_are("done", 2));
    server
        .tool("log --app shop")
        .ends(0)
        .says("drill of guardrail error_rate > 3% for 5m: held, run rollback");
}

#[test]
fn a_receiver_that_fails_twice_is_called_until_it_takes_it_under_one_id() {
    let server = shop(ALLOWED);
    let job = Receiver::start();
    job.then(&[Does::Answers(500), Does::Closes], Does::Answers(204));
    secret_of(&server, &format!("job create revert-release {}", job.url));
    let rule = "error_rate > 3% for 5m -> revert release";
    server.tool(&format!("guardrail set --app shop --flag checkout '{rule}'")).ends(0);
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    let calls: Vec<Message> = (0..3).map(|_| job.next()).collect();
    assert!(calls.iter().all(|call| call.id == calls[0].id && call.body == calls[0].body), "{calls:?}");
    assert_eq!(calls[0].json()["type"], "revert_release");
    let list = until(&server, "effect list --app shop", all_are("done", 1));
    let id = list["items"][0]["id"].as_str().expect("an id");
    assert!(calls[0].id.ends_with(&format!(":{id}")), "{} {id}", calls[0].id);
    job.hears_nothing();
    // A second drill finds nothing lower to do, and is a new act with a new id.
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    assert_ne!(job.next().id, calls[0].id);
}

#[test]
fn a_crash_in_the_middle_of_retries_loses_nothing_and_changes_no_id() {
    let server = shop(ALLOWED);
    let job = Receiver::that(Does::Answers(503));
    secret_of(&server, &format!("job create rollback {}", job.url));
    let rule = "error_rate > 3% for 5m -> flag off, run rollback";
    server.tool(&format!("guardrail set --app shop --flag checkout '{rule}'")).ends(0);
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    let first = job.next();
    let token = server.token.clone();
    let here = server.kill();
    job.then(&[Does::Answers(503)], Does::Answers(200));
    let mut server = Server::start(here, ALLOWED);
    server.token = token;
    let (again, taken) = (job.next(), job.next());
    assert_eq!((&again.id, &taken.id, &taken.body), (&first.id, &first.id, &first.body));
    until(&server, "effect list --app shop", all_are("done", 1));
    job.hears_nothing();
    server.tool("flag show checkout --app shop --json").ends(0).says("\"serving\": \"held\"");
}

#[test]
fn a_mistake_in_a_rule_is_shown_at_its_place() {
    let here = folder();
    let file = here.path().join("rules");
    std::fs::write(&file, "# of the shop\nerror_rate > 3% for 5m -> flag off\nerror_rate > 3 -> flag on\n")
        .expect("written");
    let said = run(running::tidegate().args(["guardrail", "check"]).arg(&file)).ends(1);
    let said = said.says("error_rate > 3% for 5m -> flag off").complains("rules:3:");
    let lines: Vec<&str> = said.err.lines().collect();
    let caret = lines.iter().position(|line| line.contains('^')).expect("a mark");
    let at = lines[caret].find('^').expect("a mark");
    assert!(lines[caret - 1][at..].starts_with("on") || lines[caret - 1][at..].starts_with('3'), "{lines:?}");
}

/// A server that sends mail by a mailbox.
fn shop_with_mail(mailbox: &Mailbox) -> Server {
    let mail = format!("--mail-server={}", mailbox.server);
    let more = [ALLOWED[0], &mail, "--mail-encryption=none", "--mail-from=tidegate@example.org"];
    let server = shop(&more);
    server.tool("app update shop --owner ann@example.org").ends(0);
    server
}

#[test]
fn the_owner_and_channels_of_mail_are_told_and_told_again_until_the_mail_is_taken() {
    let mailbox = Mailbox::open();
    mailbox.then(&["451 not now", "451 not now"]);
    let server = shop_with_mail(&mailbox);
    let rule = "error_rate > 3% for 5m -> flag off, notify owner";
    server.tool(&format!("guardrail set --app shop --flag checkout '{rule}'")).ends(0);
    let dry = server.tool("guardrail drill checkout --app shop --env production --dry-run").ends(0);
    let dry = dry.says("notify owner: mail to ann@example.org");
    assert!(!dry.out.contains("PROBLEM"), "{dry:?}");
    server.tool("guardrail drill checkout --app shop --env production --yes --reason 'one & <all>'").ends(0);
    let mails: Vec<Mail> = (0..3).map(|_| mailbox.next()).collect();
    for mail in &mails {
        assert_eq!(
            (mail.from.as_str(), &mail.to[..]),
            ("tidegate@example.org", &["ann@example.org".to_owned()][..])
        );
        assert_eq!(mail.header("Message-ID"), mails[0].header("Message-ID"), "it is one mail");
        let subject = mail.header("Subject");
        assert_eq!(subject, "[tidegate] drill: checkout of shop in production: turned off");
        assert!(mail.data.contains(rule) && mail.data.contains("one & <all>"), "{mail:?}");
    }
    until(&server, "effect list --app shop", all_are("done", 1));
    mailbox.hears_nothing();
    // What a mail server refuses for good is given up at once, and can be tried again.
    mailbox.then(&["550 no such user"]);
    server.tool("channel create team --app shop --mail bob@example.org --mail cid@example.org").ends(0);
    server.tool("guardrail set --app shop --flag checkout 'error_rate > 4% -> notify team'").ends(0);
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    assert_eq!(mailbox.next().to, ["bob@example.org", "cid@example.org"]);
    let dead = until(&server, "effect list --app shop --state dead", all_are("dead", 1));
    assert!(dead["items"][0]["outcome"].as_str().expect("why").contains("no such user"), "{dead}");
    server.tool("effect replay --app shop").ends(0).says("1 are tried again");
    mailbox.next();
    until(&server, "effect list --app shop", all_are("done", 2));
    server.tool("channel test owner --app shop").ends(0).says("delivered");
    assert!(mailbox.next().data.contains("Nothing is wrong"));
}

#[test]
fn without_a_mail_server_mail_is_a_dead_letter_that_says_what_to_do() {
    let server = shop(ALLOWED);
    server.tool("app update shop --owner ann@example.org").ends(0);
    server.tool("guardrail set --app shop --flag checkout 'error_rate > 4% -> notify owner'").ends(0);
    let dry = server.tool("guardrail drill checkout --app shop --env production --dry-run").ends(0);
    dry.says("PROBLEM: the server sends no mail");
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    let dead = until(&server, "effect list --app shop", all_are("dead", 1));
    assert!(dead["items"][0]["outcome"].as_str().expect("why").contains("mail.server"), "{dead}");
}

#[test]
fn a_copy_made_of_a_backup_runs_nothing_that_was_asked_for_before_unless_somebody_says_so() {
    let server = shop(ALLOWED);
    let job = Receiver::that(Does::Answers(503));
    secret_of(&server, &format!("job create rollback {}", job.url));
    server.tool("guardrail set --app shop --flag checkout 'error_rate > 3% -> run rollback'").ends(0);
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    job.next();
    let here = folder();
    let file = here.path().join("night.backup");
    run(server.command().arg("backup").arg(&file)).ends(0);
    let token = server.token.clone();
    drop(server);
    job.then(&[], Does::Answers(204));
    let to = folder();
    run(running::tidegate().arg("restore").arg(&file).arg("--data-dir").arg(running::data(&to))).ends(0);
    // An attempt of the server that is gone may still have been on its way.
    job.forgets();
    let mut copy = Server::start(to, ALLOWED);
    copy.token = token;
    let dead = until(&copy, "effect list --app shop", all_are("dead", 1));
    assert!(dead["items"][0]["outcome"].as_str().expect("why").contains("restored"), "{dead}");
    job.hears_nothing();
    copy.tool("effect replay --app shop").ends(0);
    job.next();
    until(&copy, "effect list --app shop", all_are("done", 1));
}

#[test]
fn pipelines_are_called_in_the_form_that_their_makers_take() {
    let server = shop(ALLOWED);
    let (github, gitlab) = (Receiver::start(), Receiver::start());
    let here = folder();
    let credential = here.path().join("credential");
    std::fs::write(&credential, "s3cr3t\n").expect("written");
    let credential = credential.display();
    let dispatch = format!("--github-dispatch rollback --credential-file {credential}");
    secret_of(&server, &format!("job create revert-release {} {dispatch}", github.url));
    let trigger = format!("--gitlab-trigger main --credential-file {credential}");
    secret_of(&server, &format!("job create rollback {} {trigger}", gitlab.url));
    let rule = "error_rate > 3% for 5m -> revert release, run rollback";
    server.tool(&format!("guardrail set --app shop --flag checkout '{rule}'")).ends(0);
    server.tool("guardrail drill checkout --app shop --env production --yes").ends(0);
    let dispatched = github.next();
    assert_eq!(dispatched.authorization, "Bearer s3cr3t");
    let told = dispatched.json();
    assert_eq!(told["event_type"], "rollback");
    let payload = told["client_payload"].as_object().expect("an object");
    assert!(payload.len() <= 10, "more than GitHub takes: {payload:?}");
    assert_eq!((&payload["action"], &payload["flag"]), (&"revert_release".into(), &"checkout".into()));
    let triggered = gitlab.next();
    assert_eq!(triggered.authorization, "");
    let told = triggered.json();
    assert_eq!((&told["token"], &told["ref"]), (&"s3cr3t".into(), &"main".into()));
    let variables = told["variables"].as_object().expect("an object");
    assert!(variables.values().all(Value::is_string), "{variables:?}");
    assert_eq!(
        (&variables["TIDEGATE_FLAG"], &variables["TIDEGATE_DRILL"]),
        (&"checkout".into(), &"true".into())
    );
    for shown in ["log --app shop --json", "job list --app shop --json", "effect list --app shop --json"] {
        let said = server.tool(shown).ends(0);
        assert!(!said.out.contains("s3cr3t") && !said.out.contains("whsec_"), "{shown}: {said:?}");
    }
}
