//! `tidegate rollout` against a real server: what people type, what they see, what scripts get.

use crate::running;

use running::{Following, Server};

/// A server with the app `shop` (tier 0) and its flag `checkout`.
fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server
}

const THERE: &str = "checkout -a shop -e production";

#[test]
fn a_rollout_is_started_shown_and_stopped() {
    let server = shop();
    server.tool(&format!("rollout show {THERE}")).ends(0).says("no rollout").says("10%/30m,50%/2h,100%");
    server.tool("rollout list -a shop").ends(0).says("no rollout runs");
    let started =
        server.tool(&format!("rollout start {THERE} --plan 5%/1h,approve,50%/4h,100% --holdback 2%"));
    let started = started
        .ends(0)
        .says("running, stage 1 of 3 (5%)")
        .says("after approval")
        .says(">  5%  #.........")
        .says("98%");
    assert!(started.out.contains("1h left") && started.out.contains("by admin"), "{started:?}");
    server
        .tool("rollout list -a shop")
        .ends(0)
        .says("checkout")
        .says("stage 1 of 3 (5%)")
        .says("5%/1h,approve");
    server.tool("flag show checkout -a shop").ends(0).says("rollout: running, stage 1 of 3 (5%)");
    server.tool("flag explain checkout -a shop -e production --unit u").ends(0).says("rollout: running");
    server.tool(&format!("rollout start {THERE}")).ends(1).complains("advance or resume it, or abort it");
    server.tool(&format!("rollout pause {THERE} --reason lunch")).ends(0).says("paused").says("clock stands");
    server.tool(&format!("rollout resume {THERE}")).ends(0).says("running");
    // Whoever started it approves nothing alone: another person does it, or approves it.
    server.tool(&format!("rollout advance {THERE}")).ends(6).complains("propose");
    let bob = server.token("--scope operator --human bob");
    server.tool_as(&bob, &format!("rollout advance {THERE}")).ends(0).says("stage 2 of 3 (50%)");
    server.tool(&format!("rollout abort {THERE} --reason complaints")).ends(0).says("aborted");
    server.tool(&format!("rollout abort {THERE}")).ends(0).says("aborted");
    server.tool(&format!("rollout resume {THERE}")).ends(1).complains("was aborted; start another one");
    server.tool("rollout list -a shop --all").ends(0).says("aborted");
    server.tool("flag show checkout -a shop").ends(0).says("production   off");
    server
        .tool("log")
        .ends(0)
        .says("started a rollout of checkout of shop in production: 5%/1h,approve,50%/4h,98%")
        .says("aborted: stage 2 of 3 (50%), exposure 0%")
        .says("lunch");
    let shown = server.tool(&format!("rollout show {THERE} --json")).ends(0).json();
    assert_eq!((&shown["rollout"]["status"], &shown["rollout"]["stage"]), (&"aborted".into(), &1.into()));
}

#[test]
fn a_mistake_says_what_to_do() {
    let server = shop();
    let start = |options: &str| server.tool(&format!("rollout start {THERE} {options}"));
    start("--plan 5%/1h,x,100%")
        .ends(2)
        .complains("5%/1h,x,100%\n      ^")
        .complains("write a stage such as 25%/4h");
    start("--plan 5%/1h,50%").ends(2).complains("100%, or 95% to 99%");
    start("--plan 100% --default").ends(2).complains("cannot be used with");
    start("--holdback 10%").ends(2).complains("from 1% to 5%");
    start("--plan 5%/20d,100%").ends(1).complains("extend the flag first");
    server
        .tool("rollout start checkout -a shop")
        .ends(2)
        .complains("say where with --env: production, sandbox");
    server.tool("rollout show nope -a shop -e production").ends(3).complains("no flag `nope`");
    server.tool(&format!("rollout advance {THERE}")).ends(1).complains("none ever did: start one");
    server.tool(&format!("rollout watch {THERE}")).ends(1).complains("no rollout to watch");
    server.tool("flag on checkout -a shop -e production --exposure 30%").ends(0);
    start("").ends(1).complains("begin above, or turn the flag off first");
    let seen = server.tool("flag show checkout -a shop --json").json()["revision"].to_string();
    server.tool("flag set checkout -a shop -e production --exposure 5%").ends(0);
    start(&format!("--if-revision {seen}")).ends(5);
    let refused = start("--plan x --json").ends(2);
    let problem: serde_json::Value = serde_json::from_str(&refused.err).expect("one object and nothing else");
    assert_eq!(problem["code"], "usage");
}

#[test]
fn what_a_tier_asks_for_is_proposed() {
    let server = Server::first_start();
    server.tool("app create team --tier 1 --env prod=production --env try=sandbox").ends(0);
    server.tool("flag create beta -a team").ends(0);
    server.tool("rollout start beta -a team -e try").ends(0).says("10%");
    server.tool("rollout start beta -a team -e prod").ends(6).complains("propose");
    let said = server.tool("rollout start beta -a team -e prod --propose").ends(0);
    said.says("start a rollout of beta of team in prod: 1%/30m,5%/1h,25%/4h,50%/12h,100%").says("1 approval");
    let agent = "--as-agent m,t,ann";
    server.tool(&format!("rollout advance beta -a team -e prod {agent}")).ends(1);
    server.tool(&format!("rollout start beta -a team -e prod {agent}")).ends(6).complains("propose");
    server.tool(&format!("rollout pause beta -a team -e try {agent}")).ends(0).says("paused");
}

#[test]
fn a_rollout_is_watched_until_it_is_over() {
    let server = shop();
    server.tool(&format!("rollout start {THERE} --plan 5%/1h,100%")).ends(0);
    let mut command = server.command();
    command.args(["rollout", "watch", "checkout", "-a", "shop", "-e", "production"]);
    let mut lines = Following::start(&mut command);
    let first = lines.next().expect("a line");
    assert!(first.contains("running, stage 1 of 2 (5%), next in"), "{first}");
    server.tool(&format!("rollout pause {THERE}")).ends(0);
    assert!(lines.next().expect("a line").contains("paused"));
    server.tool(&format!("rollout advance {THERE}")).ends(0);
    assert!(lines.next().expect("a line").contains("completed"));
    assert_eq!(lines.next(), None, "it ends with the rollout");
    server.tool(&format!("rollout watch {THERE} --json")).ends(0).says("\"status\":\"completed\"");
    server.tool("flag off checkout -a shop -e production").ends(0);
    server.tool(&format!("rollout start {THERE} --plan 5%/1h,100%")).ends(0);
    server
        .tool("flag set checkout -a shop -e production --exposure 4%")
        .ends(0)
        .says("is taken over by this");
    server.tool(&format!("rollout start {THERE} --plan 5%/1h,100%")).ends(0);
    server.tool("flag kill checkout -a shop").ends(0);
    server.tool(&format!("rollout watch {THERE}")).ends(1).says("killed").complains("was ended by a kill");
}

/// The shop after these commands, and a file that says so; the folder is the file's.
fn exported_after(lines: &[&str]) -> (Server, tempfile::TempDir, String) {
    let server = shop();
    lines.iter().for_each(|line| {
        server.tool(line).ends(0);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.json").display().to_string();
    server.tool(&format!("export -a shop {file}")).ends(0);
    (server, folder, file)
}

#[test]
fn an_import_leaves_exposure_to_a_rollout_that_runs() {
    let (server, _folder, file) = exported_after(&["flag on checkout -a shop -e production"]);
    server.tool("flag off checkout -a shop -e production").ends(0);
    server.tool(&format!("rollout start {THERE} --plan 5%/1h,100%")).ends(0);
    let left = "exposure 5% is left to the rollout (the file says 100%)";
    server.tool(&format!("import {file} --dry-run --exit-code")).ends(0).says(left).says("1 left alone");
    server.tool(&format!("import {file} --yes")).ends(0).says(left);
    server.tool(&format!("rollout show {THERE}")).ends(0).says("running, stage 1 of 2 (5%)");
}

#[test]
fn an_import_turns_a_flag_off_whose_rollout_runs() {
    let (server, _folder, file) = exported_after(&[]);
    server.tool(&format!("rollout start {THERE} --plan 5%/1h,100%")).ends(0);
    server.tool(&format!("import {file} --yes")).ends(0).says("turn off");
    server.tool(&format!("rollout show {THERE}")).ends(0).says("taken over");
    server.tool("flag show checkout -a shop").ends(0).says("production   off");
}

#[test]
fn an_import_raises_what_a_rollout_was_aborted_from_only_if_that_is_asked_for() {
    let (server, _folder, file) = exported_after(&["flag on checkout -a shop -e production"]);
    server.tool("flag off checkout -a shop -e production").ends(0);
    server.tool(&format!("rollout start {THERE} --plan 5%/1h,100%")).ends(0);
    server.tool(&format!("rollout abort {THERE}")).ends(0);
    let import = |options: &str| server.tool(&format!("import {file} {options}"));
    import("--exit-code --dry-run").ends(0).says("off: its rollout was aborted").says("the file says 100%");
    import("--yes").ends(0).says("1 left alone");
    server.tool("flag show checkout -a shop").ends(0).says("production   off");
    import("--yes --raise-stopped").ends(0).says("turn on, exposure 0% -> 100%");
    server.tool("flag show checkout -a shop").ends(0).says("production   on");
    // What people set since is theirs, and then the file's again.
    server.tool("flag set checkout -a shop -e production --exposure 7%").ends(0);
    import("--yes").ends(0).says("exposure 7% -> 100%");
}
