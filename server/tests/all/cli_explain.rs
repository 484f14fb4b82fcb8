//! `flag explain`, `history`, `diff` and `revert` as people run them.

use crate::running;

use std::io::Write as _;

use running::Server;
use serde_json::Value;

/// A server with the flag `checkout` of `shop`, on for 30 % in the sandbox, with a rule and a prerequisite.
fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0);
    server.tool("flag create base -a shop").ends(0);
    server.tool("flag on base -a shop -e sandbox").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server
        .tool("flag on checkout -a shop -e sandbox --exposure 30% --require base=on --target zoe=on")
        .ends(0);
    server
        .tool("flag set checkout -a shop -e sandbox --rule 'staff: plan in pro and not age num_gt 30 -> on'")
        .ends(0);
    server
}

fn revision(server: &Server) -> u64 {
    let flag: Value = server.tool("flag show checkout -a shop --json").ends(0).json();
    flag["revision"].as_u64().expect("a revision")
}

#[test]
fn explain_shows_every_step_with_what_it_found() {
    let server = shop();
    let said = server
        .tool("flag explain checkout -a shop -e sandbox --unit joe --attr plan=pro --attr age:=31")
        .ends(0);
    let said = said
        .says("checkout in sandbox answers ")
        .says(" 1. kill of everything: none\n")
        .says("expiry: lives until 20")
        .says("prerequisite base: answers on (default), wanted on: satisfied")
        .says("target lists: joe is not among the 1 on them")
        .says("rule staff: does not hold")
        .says("yes: plan in \"pro\"; it is \"pro\"")
        .says("yes: age num_gt 30; it is 31")
        .says("exposure 30%: bucket of joe is ");
    assert_eq!(said.out.matches("<- decides").count(), 2, "its own and the prerequisite's: {said:?}");
    let said = server.tool("flag explain checkout -a shop -e sandbox --unit joe --attr plan=pro").ends(0);
    said.says("answers on = true").says("because: rule staff").says("age num_gt 30; it is missing");
    let said = server
        .tool("flag explain checkout -a shop -e sandbox --context '{\"targetingKey\":\"zoe\"}'")
        .ends(0);
    said.says("target lists: zoe gets on  <- decides");
    let said = server.tool("flag explain checkout -a shop -e production --json").ends(0).json();
    assert_eq!(said["explanation"]["reason"], "off");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"{\"targetingKey\":\"ann\",\"plan\":\"pro\"}").expect("written");
    let path = file.path().display();
    server
        .tool(&format!("flag explain checkout -a shop -e sandbox --context-file {path}"))
        .ends(0)
        .says("because: rule staff");
    server
        .tool("flag explain checkout -a shop --context x -e sandbox")
        .ends(2)
        .complains("has to be a JSON object");
    server.tool("flag explain checkout -a shop").ends(2).complains("say where with --env");
    server.tool("flag explain none -a shop -e sandbox").ends(3);
    server.tool("flag kill base -a shop --kill-id pager-7 --json").ends(0);
    let said = server.tool("flag explain checkout -a shop -e sandbox --unit joe").ends(0);
    said.says("because: prerequisite failed").says("kill of the flag: pager-7 since 20");
}

#[test]
fn what_was_can_be_explained_compared_and_brought_back() {
    let server = shop();
    let good = revision(&server);
    server.tool("flag set checkout -a shop -e sandbox --exposure 100% --remove-rule staff").ends(0);
    let bad = revision(&server);
    server.tool("flag kill checkout -a shop --json").ends(0);
    server.tool("flag explain checkout -a shop -e sandbox --unit joe").ends(0).says("because: killed flag");
    let then =
        format!("flag explain checkout -a shop -e sandbox --unit joe --attr plan=pro --revision {good}");
    server.tool(&then).ends(0).says("because: rule staff").says(&format!("log revision {good};"));
    server.tool("flag explain checkout -a shop -e sandbox --at 9h").ends(3).complains("there is no app");
    server.tool("flag explain checkout -a shop -e sandbox --revision 1 --at 9h").ends(2);
    let said = server.tool(&format!("flag diff checkout -a shop --from {good} --to {bad}")).ends(0);
    said.says("environments.sandbox.exposure: 30 -> 100").says("environments.sandbox.rules[staff]: - {");
    server.tool(&format!("flag diff checkout -a shop --from 1 --to {good}")).ends(0).says("  the flag: + {");
    server
        .tool(&format!("flag diff checkout -a shop --from {bad} --to {bad}"))
        .ends(0)
        .says("is the same at");
    let said = server.tool("flag history checkout -a shop").ends(0);
    let said = said
        .says("KILLED the flag")
        .says("sandbox: exposure 30% -> 100%; rule staff removed")
        .says("created");
    assert!(said.out.lines().nth(1).is_some_and(|line| line.contains("KILLED")), "newest first: {said:?}");
    let said = server.tool("flag history checkout -a shop --last 1").ends(0);
    assert_eq!(said.out.lines().count(), 2, "{said:?}");
    let items = server.tool("flag history checkout -a shop --json").ends(0).json();
    assert_eq!(items["items"].as_array().map(Vec::len), Some(5), "{items}");

    server.tool(&format!("flag revert checkout -a shop -e sandbox --to {good}")).ends(1).complains("kill");
    server.tool("flag revive checkout -a shop --reason fixed").ends(0);
    let said = server.tool(&format!("flag revert checkout -a shop -e sandbox --to {good} --propose")).ends(0);
    said.says("proposed: set checkout of shop in sandbox: on, exposure 30%").says("tidegate proposal apply");
    let said =
        server.tool(&format!("flag revert checkout -a shop -e sandbox --to {good} --reason better")).ends(0);
    said.says(&format!("checkout in sandbox is set as at revision {good}: on for 30%"));
    server.tool(&format!("flag revert checkout -a shop -e sandbox --to {good}")).ends(0).says("already");
    server.tool("flag history checkout -a shop --last 1").ends(0).says("better");
    let stale = format!("flag revert checkout -a shop -e sandbox --to {bad} --if-revision {bad}");
    server.tool(&stale).ends(5);
}
