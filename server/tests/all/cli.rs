//! The operator's tool against a real server: what people type, what they see, what scripts get.

use crate::running;

use running::{Following, Server};

/// A server with the app `shop` (tier 0) and its flag `checkout`.
fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0).says("production and sandbox");
    server.tool("flag create checkout -a shop").ends(0).says("off everywhere");
    server
}

/// A server with the app `team` (tier 1, so that production asks for an approval) and its flag `beta`.
fn team() -> Server {
    let server = Server::first_start();
    server.tool("app create team --tier 1 --env prod=production --env try=sandbox").ends(0);
    server.tool("flag create beta -a team").ends(0);
    server
}

#[test]
fn an_app_is_made_shown_changed_and_listed() {
    let server = Server::first_start();
    server.tool("app list").ends(0).says("no apps yet");
    server.tool("app create shop --name 'The shop' --monthly-budget 49.90 --currency EUR").ends(0);
    server.tool("app update shop --owner ben --tier 2").ends(0);
    server.tool("app show shop").ends(0).says("49.90 EUR a month").says("ben").says("production");
    server.tool("app list").ends(0).says("KEY   NAME      TIER  OWNER  FLAGS  ENVIRONMENTS         STATE");
    server.tool("app create shop").ends(1).complains("exists already");
    server.tool("app show nope").ends(3).complains("no app `nope`");
    server.tool("app update shop").ends(2).complains("say what to change");
    server.tool("app create Shop").ends(2).complains("not a valid app key");
}

#[test]
fn a_preview_is_made_extended_and_removed() {
    let server = shop();
    server.tool("env create pr-7 -a shop --ttl 36h").ends(0).says("(in 1d12h)");
    server.tool("env create pr-8 -a shop").ends(2).complains("--kind");
    server.tool("env extend pr-7 -a shop --ends 3d --reason 'review takes longer'").ends(0).says("(in 3d)");
    server.tool("env list -a shop").ends(0).says("pr-7        preview");
    server.tool("flag list -a shop").ends(0).says("PR-7");
    server
        .tool("env remove pr-7 -a shop --reason merged")
        .ends(2)
        .complains("preview environment pr-7")
        .complains("asked to destroy it")
        .complains("--yes");
    server.tool("env remove pr-7 -a shop --reason merged --yes").ends(0);
    server.tool("env remove pr-7 -a shop --yes").ends(3);
    let said = server.tool("env remove pr-7 -a shop").ends(3).complains("pr-7");
    assert!(!said.err.contains("--yes"), "{said:?}");
    server.tool("env create x -a shop --kind preview --ends 90d").ends(1).complains("too far");
    server.tool("env create pr-8 -a shop --ttl 48h").ends(0).says("(in 2d)");
    server.tool("env list -a shop").ends(0).says("pr-8        preview");
    server.tool("env create pr-9 -a shop").ends(2).complains("--kind");
    server.tool("env list").ends(2).complains("TIDEGATE_APP");
    server.tool("log").ends(0).says("review takes longer").says("merged");
}

#[test]
fn a_flag_is_rolled_out_step_by_step() {
    let server = shop();
    server.tool("flag on checkout -a shop").ends(2).complains("say where with --env: production, sandbox");
    server
        .tool("flag on checkout -a shop -e production --exposure 10%")
        .ends(0)
        .says("on for 10% (was: off,");
    server.tool("flag set checkout -a shop -e production --exposure 12.5%").ends(0).says("on for 12.5%");
    server.tool("flag set checkout -a shop -e production --exposure 120%").ends(2).complains("0 to 100");
    server.tool("flag set checkout -a shop -e production").ends(2).complains("say what to change");
    server.tool("flag off checkout -a shop -e nowhere").ends(3).complains("no environment nowhere");
    server.tool("flag off checkout -a shop -e production").ends(0).says("production: off (was: on for 12.5%");
    server.tool("flag show nope -a shop").ends(3);
}

#[test]
fn rules_targets_and_schedules_add_to_what_is_there() {
    let server = shop();
    let set = |options: &str| server.tool(&format!("flag set checkout -a shop -e sandbox {options}"));
    set("--rule 'staff: email ends_with @example.org -> on' --rule 'plan in pro,team -> on'").ends(0);
    set("--rule 'staff: email ends_with:ci @example.com -> on' --target alice,bob=on").ends(0);
    set("--target bob=off --schedule 48h=off --schedule 24h=50%").ends(0);
    let state = server.tool("flag show checkout -a shop --json").ends(0).json();
    let state = &state["environments"]["sandbox"];
    let rules = state["rules"].as_array().expect("rules");
    let ids: Vec<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids, ["staff", "r1"]);
    assert_eq!(rules[0]["when"]["values"][0], "@example.com");
    assert_eq!(state["targets"][0]["units"], serde_json::json!(["alice"]));
    assert_eq!(state["targets"][1]["units"], serde_json::json!(["bob"]));
    assert_eq!(state["schedule"][0]["exposure"], 50);
    let first = state["schedule"][0]["id"].as_str().expect("an id").to_owned();

    server.tool("flag show checkout -a shop").ends(0).says("rule staff:").says("target alice -> on");
    set(&format!("--remove-rule r1 --untarget alice,bob --unschedule {first}")).ends(0);
    set("--remove-rule r1").ends(2).complains("there is no rule r1; there are: staff");
    let state = server.tool("flag show checkout -a shop --json").ends(0).json();
    assert_eq!(state["environments"]["sandbox"]["targets"], serde_json::json!([]));
    assert_eq!(state["environments"]["sandbox"]["schedule"].as_array().map(Vec::len), Some(1));
    set("--rule 'plan is pro -> on'").ends(2).complains("an operator");
    set("--rule 'segment nope -> on'").ends(1).complains("nope");
}

#[test]
fn a_split_names_its_control_and_keeps_what_was_said_of_it() {
    let server = shop();
    let variants = "--variant red=red --variant blue=blue --variant none= --off-variant none";
    server.tool(&format!("flag create color -a shop --type string {variants}")).ends(0);
    let set = |options: &str| server.tool(&format!("flag set color -a shop -e sandbox {options} --json"));
    set("--serve red=50,blue=50 --control red --split-id test-1").ends(0);
    let split = set("--serve red=90,blue=10").ends(0).json();
    let split = &split["environments"]["sandbox"]["serve"]["split"];
    assert_eq!((&split["id"], &split["control"]), (&"test-1".into(), &"red".into()));
    assert_eq!(split["weights"][1]["weight"], 10);
    set("--serve red --control blue").ends(2).complains("belong to shares");
    set("--serve red=1,green=1").ends(1).complains("green");
    server.tool("flag edit color -a shop --remove-variant blue").ends(1).complains("still uses it");
    server.tool("flag create n -a shop --type number --variant a=x").ends(2).complains("no JSON");
    server
        .tool("flag create n -a shop --type number --variant a=\"x\"")
        .ends(2)
        .complains("not of the flag's type");
}

#[test]
fn a_change_based_on_an_old_state_is_refused_with_what_changed() {
    let server = shop();
    let seen = server.tool("flag show checkout -a shop --json").json()["revision"].to_string();
    server.tool("flag on checkout -a shop -e sandbox --reason 'someone else'").ends(0);
    let command = format!("flag on checkout -a shop -e production --if-revision {seen}");
    let said = server.tool(&command).ends(5).complains("targeting changed by admin");
    assert!(said.out.is_empty());
    let refused = server.tool(&format!("{command} --json")).ends(5);
    let problem: serde_json::Value = serde_json::from_str(&refused.err).expect("JSON");
    assert_eq!((&problem["code"], &problem["exit_code"]), (&"stale".into(), &5.into()));
}

#[test]
fn a_kill_takes_effect_is_repeated_harmlessly_and_is_taken_back_to_off() {
    let server = shop();
    server.tool("flag on checkout -a shop -e production").ends(0);
    let kill = "flag kill checkout -a shop --kill-id incident-7";
    server.tool(kill).ends(0).says("is killed in all environments").says("ms").says("in the log at revision");
    server.tool(kill).ends(0).says("was killed already");
    let killed = server.tool(&format!("{kill} --json")).ends(0).json();
    assert_eq!((&killed["already"], &killed["durable"]), (&true.into(), &true.into()));
    assert!(killed["took_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{killed}");
    server.tool("flag list -a shop").ends(0).says("killed");
    server.tool("flag on checkout -a shop -e production").ends(1).complains("revive it first");
    server
        .tool("flag set checkout -a shop -e production --rule 'plan in pro -> on'")
        .ends(1)
        .complains("kill");
    server.tool("flag revive checkout -a shop").ends(2).complains("--reason");
    server.tool("flag revive checkout -a shop --reason fixed").ends(0).says("off until someone turns it on");
    server.tool("flag list -a shop").ends(0).says("checkout  ada@example.org  off         off");
    server.tool(kill).ends(1).complains("is NOT killed").complains("use a new kill id");
    server.tool("flag kill nope -a shop").ends(3);
}

#[test]
fn apps_and_everything_can_be_killed_too() {
    let server = shop();
    server.tool("flag on checkout -a shop -e sandbox").ends(0);
    server.tool("app kill shop -e sandbox").ends(0).says("every flag of shop is killed in sandbox");
    server.tool("app list").ends(0).says("killed in sandbox");
    server.tool("app revive shop -e sandbox --reason drill").ends(0);
    server.tool("kill").ends(2).complains("--everything");
    server.tool("kill --everything").ends(0).says("everything is killed");
    server.tool("flag list -a shop").ends(0).says("killed      killed");
    server.tool("revive --everything --reason 'drill over'").ends(0);
    server.tool("log").ends(0).says("KILLED everything").says("drill over");
}

#[test]
fn a_longer_life_needs_a_reason_and_an_archived_flag_is_gone() {
    let server = shop();
    server.tool("flag extend checkout -a shop").ends(2).complains("--reason");
    server
        .tool("flag extend checkout -a shop -e sandbox --expires 20d --reason 'slow'")
        .ends(0)
        .says("(in 20d)");
    server.tool("flag extend checkout -a shop -e sandbox --expires 99d --reason 'slow'").ends(1);
    server.tool("flag show checkout -a shop").ends(0).says("1 times");
    server.tool("flag edit checkout -a shop --description better --critical true").ends(0);
    server.tool("flag archive checkout -a shop --reason done").ends(2).complains("--yes");
    server.tool("flag archive checkout -a shop --reason done --yes").ends(0);
    server.tool("flag list -a shop").ends(0).says("no flags yet");
    server.tool("flag list -a shop --archived").ends(0).says("archived");
}

#[test]
fn what_needs_approval_is_proposed_approved_by_another_and_applied() {
    let server = team();
    let on = "flag on beta -a team -e prod --exposure 20%";
    server.tool(on).ends(6).complains("--propose");
    server.tool(&format!("{on} --propose --reason 'try it'")).ends(0).says("1 approval by another person");
    let list = server.tool("proposal list --state open --json").ends(0).json();
    let id = list["items"][0]["id"].as_str().expect("a proposal").to_owned();
    server.tool(&format!("proposal show {id}")).ends(0).says("set beta of team in prod: on, exposure 20%");
    server.tool(&format!("proposal approve {id}")).ends(6).complains("own proposal");
    server.tool(&format!("proposal apply {id}")).ends(6);

    let olga = server.token("--scope operator --human olga");
    server
        .tool_as(&olga, &format!("proposal approve {id} --hash 0123456789"))
        .ends(5)
        .complains("not the one given");
    let hash = list["items"][0]["hash"].as_str().expect("a hash");
    server
        .tool_as(&olga, &format!("proposal approve {id} --hash {}", &hash[..12]))
        .ends(0)
        .says("1 of 1 approval");
    server.tool(&format!("proposal apply {id}")).ends(0);
    server.tool("flag list -a team").ends(0).says("on for 20%");
    server.tool(&format!("proposal apply {id}")).ends(1);
    server.tool("proposal list").ends(0).says("applied").says("1 of 1");
    server.tool("proposal show nope").ends(3);
}

#[test]
fn every_change_of_a_flag_can_be_proposed() {
    let server = shop();
    server.tool("flag off checkout -a shop -e sandbox --propose").ends(1).complains("nothing to propose");
    server.tool("flag kill checkout -a shop -e sandbox").ends(0);
    for change in [
        "flag set checkout -e sandbox --exposure 5%",
        "flag revive checkout -e sandbox --reason 'fixed'",
        "flag edit checkout --owner ben",
        "flag extend checkout --reason 'slow' --expires 20d",
        "flag archive checkout",
        "flag create more",
    ] {
        server.tool(&format!("{change} -a shop --propose")).ends(0).says("proposed: ").says("proposal apply");
    }
    let list = server.tool("proposal list -a shop --json").ends(0).json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(6));
    for proposal in list["items"].as_array().expect("items") {
        let id = proposal["id"].as_str().expect("an id");
        server.tool(&format!("proposal reject {id} --reason 'only trying'")).ends(0);
    }
    server.tool("proposal list --state open").ends(0).says("no proposals");
}

#[test]
fn an_agent_is_named_in_the_log_and_only_proposes_in_production() {
    let server = shop();
    let agent = "--as-agent claude-5,my-editor,ada@example.org";
    server.tool(&format!("flag on checkout -a shop -e sandbox {agent}")).ends(0);
    server.tool(&format!("flag on checkout -a shop -e production {agent}")).ends(6).complains("--propose");
    server
        .tool(&format!("flag on checkout -a shop -e production {agent} --propose"))
        .ends(0)
        .says("waits for a human");
    server.tool("log").ends(0).says("agent claude-5 via my-editor for ada@example.org");
    server
        .tool("flag list -a shop --as-agent claude-5")
        .ends(2)
        .complains("claude-5,my-editor,ada@example.org");
}

#[test]
fn tokens_are_shown_once_bound_and_revoked() {
    let server = shop();
    let viewer = server.token("--scope viewer --human vic");
    server.tool_as(&viewer, "whoami").ends(0).says("vic").says("viewer for all apps");
    server.tool_as(&viewer, "flag list -a shop").ends(0).says("checkout");
    server.tool_as(&viewer, "flag on checkout -a shop -e sandbox").ends(7);
    server.tool_as(&viewer, "token list").ends(7);
    let secret = server.token("--scope sdk-server -a shop -e production --expires 90d");
    let list = server.tool("token list").ends(0).says("(in 90d)");
    assert!(!list.out.contains(&secret) && !list.out.contains("hash"), "{}", list.out);
    let id = viewer.split('_').nth(2).expect("the id is in the text");
    server.tool(&format!("token revoke {id}")).ends(0);
    server.tool_as(&viewer, "whoami").ends(7);
    server.tool("token list").ends(0).says("revoked");
    server.tool("token revoke nope").ends(3);
    server.tool("token create --scope king").ends(2).complains("admin, operator");
    server.tool("token create --scope sdk-server -e production").ends(2).complains("--app");
    server.tool_as("", "app list").ends(7).complains("TIDEGATE_TOKEN");
    server.tool_as("tg_admin_nonsense", "app list").ends(7);
}

#[test]
fn segments_take_long_lists_in_parts() {
    let server = shop();
    let folder = running::folder();
    let file = folder.path().join("users.txt");
    let users: Vec<String> = (0..4000).map(|n| format!("user-{n:06}-of-the-beta-program")).collect();
    std::fs::write(&file, users.join("\n")).expect("a file");
    server.tool("segment put beta -a shop --when 'plan in pro,team' --description 'Beta people'").ends(0);
    server
        .tool(&format!("segment add beta -a shop --file {}", file.display()))
        .ends(0)
        .says("4000 members added");
    server
        .tool("segment remove beta -a shop user-000001-of-the-beta-program")
        .ends(0)
        .says("1 member removed");
    let shown = server.tool("segment show beta -a shop --json").ends(0).json();
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(3999));
    server.tool("segment put beta -a shop --description Testers").ends(0);
    let shown = server.tool("segment show beta -a shop --json").ends(0).json();
    assert_eq!((&shown["description"], &shown["when"]["attribute"]), (&"Testers".into(), &"plan".into()));
    server.tool("segment put staff --when '{\"attribute\":\"email\",\"op\":\"exists\"}'").ends(0);
    server.tool("segment list").ends(0).says("staff");
    server.tool("flag set checkout -a shop -e sandbox --rule 'segment beta -> on'").ends(0);
    server
        .tool("segment delete beta -a shop")
        .ends(2)
        .complains("segment beta of shop goes")
        .complains("--yes");
    server.tool("segment delete beta -a shop -y").ends(1).complains("checkout");
    server.tool("segment delete staff --yes").ends(0);
    server.tool("segment add beta -a shop").ends(2).complains("--file");
}

#[test]
fn the_log_is_read_followed_and_written_as_json_lines() {
    let server = shop();
    server.tool("log --last 1").ends(0).says("created flag checkout of shop");
    let lines = server.tool("log --after 0 --json").ends(0).out;
    let revisions: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one entry a line"))
        .map(|entry| entry["revision"].as_u64().expect("a revision"))
        .collect();
    assert_eq!(revisions, [1, 2, 3]);

    let mut lines = Following::start(server.command().args(["log", "--follow", "--last", "1"]));
    assert!(lines.any(|line| line.contains("created flag checkout")));
    server.tool("flag kill checkout -a shop --reason incident").ends(0);
    let line = lines.find(|line| line.contains("KILLED")).expect("the kill comes by itself");
    assert!(line.contains("KILLED checkout of shop") && line.contains("incident"), "{line}");
}

#[test]
fn every_list_is_json_on_request_and_never_coloured_in_a_pipe() {
    let server = shop();
    for list in [
        "app list",
        "env list -a shop",
        "flag list -a shop",
        "segment list -a shop",
        "token list",
        "proposal list",
    ] {
        let said = server.tool(&format!("{list} --json")).ends(0);
        assert!(said.json()["items"].is_array(), "{list}: {said:?}");
        let said = server.tool(list).ends(0);
        assert!(!said.out.contains('\u{1b}'), "{list}: {said:?}");
    }
}
