//! An app as a file: written, read into another server, changed, and read again.

use crate::running;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use running::{Said, Server, folder, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server with an app that has something of everything.
fn shop() -> Server {
    let server = Server::first_start();
    for line in [
        "app create shop --name 'The shop' --owner ada@example.org --monthly-budget 49.90 --currency EUR",
        "env create pr-7 -a shop --kind preview",
        "segment put beta -a shop --description 'who tries things' --when 'plan in pro,team'",
        "segment add beta -a shop zoe alice bob",
        "flag create base -a shop --expires 3d --description 'what others need'",
        "flag create checkout -a shop --critical",
        "flag create color -a shop --type string --variant red=red --variant blue=blue --variant none= --off-variant none",
        "flag create gone -a shop",
        "flag archive gone -a shop --yes",
        "flag create limits -a shop --type object --variant 'big={\"n\":10,\"deep\":{\"b\":null,\"a\":[1,2.5]}}' --variant 'small={}'",
        "flag on base -a shop -e sandbox",
        "flag on checkout -a shop -e production --exposure 12.5%",
        "flag extend base -a shop --env sandbox --expires 20d --reason 'still needed'",
        "flag set checkout -a shop -e sandbox --rule 'staff: email ends_with @example.org and not segment beta -> on' \
         --rule 'plan in pro -> on' --target carol,alice=on --target bob=off --require base=on --schedule 48h=on@50%",
        "flag set color -a shop -e production --serve red=50,blue=50 --control red",
    ] {
        server.tool(line).ends(0);
    }
    server
}

fn export(server: &Server) -> String {
    server.tool("export --app shop").ends(0).out
}

fn import(server: &Server, file: &Path, options: &str) -> Said {
    run(server.command().arg("import").arg(file).args(options.split_whitespace()))
}

fn written(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

/// The file with something changed.
fn edited(text: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut file: Value = serde_json::from_str(text).expect("an export is JSON");
    edit(&mut file);
    file.to_string()
}

/// The last entry of the log that is meant.
fn log_line(server: &Server, is_meant: impl Fn(&Value) -> bool) -> Value {
    let said = server.tool("log --after 0 --json").ends(0);
    let entries = said.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("an entry a line"));
    entries.rev().find(is_meant).expect("one is meant")
}

/// How many entries the log has.
fn entries(server: &Server) -> usize {
    server.tool("log --after 0 --json").ends(0).out.lines().count()
}

#[test]
fn an_app_is_the_same_on_another_server_to_the_byte() {
    let server = shop();
    let text = export(&server);
    assert_eq!(export(&server), text, "nothing in it changes by itself");
    for absent in ["revision", "created_at", "pr-7", "gone", "killed", "at\": \"20"] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(absent)).collect();
        let planned =
            lines.iter().all(|line| line.contains("expires_at") || line.trim().starts_with("\"at\""));
        assert!(planned, "{absent}: {lines:?}");
    }
    let here = folder();
    let file = here.path().join("shop.json");
    run(server.command().args(["export", "-a", "shop"]).arg(&file)).ends(0).says("4 flags and 1 segment");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), text);

    let other = Server::first_start();
    let before = entries(&other);
    let dry = import(&other, &file, "--dry-run --exit-code").ends(8);
    let dry = dry.says("app shop").says("create").says("exposure 100% -> 12.5%").says("3 members come");
    assert!(dry.out.contains("rules: add r1 staff"), "{}", dry.out);
    import(&other, &file, "").ends(2).complains("--yes");
    assert_eq!(entries(&other), before, "a look changes nothing");

    import(&other, &file, "--yes").ends(0).says("13 to change").says("13 changes are made");
    assert_eq!(export(&other), text);
    let plans: Vec<Value> = (other.tool("log --after 0 --json").ends(0).out.lines().skip(before))
        .map(|line| serde_json::from_str::<Value>(line).expect("an entry")["plan"].clone())
        .collect();
    assert!(plans.len() > 10 && plans.iter().all(|plan| *plan == plans[0]), "{plans:?}");
    assert!(plans[0].as_str().is_some_and(|plan| plan.starts_with("import-")), "{plans:?}");
    other.tool("log").ends(0).says("[import-").says("imported from");

    let after = entries(&other);
    import(&other, &file, "--yes").ends(0).says(" 0 to change");
    import(&other, &file, "--dry-run --exit-code").ends(0);
    assert_eq!(entries(&other), after, "what is so already is not done again");
}

#[test]
fn an_import_that_was_cut_off_does_the_rest_when_it_is_repeated() {
    let server = shop();
    let here = folder();
    let text = export(&server);
    let file = written(&here, "shop.json", &text);
    let other = Server::first_start();
    let token = other.token.clone();
    let begun = entries(&other);
    // So few requests are answered that the import ends in the middle.
    let (kept, _) = other.stop();
    let mut other = Server::start(kept, &["--limits-burst", "8", "--limits-requests-per-second", "1"]);
    other.token.clone_from(&token);
    import(&other, &file, "--yes").ends(1).complains("stopped at: ").complains("try again in");
    let (kept, _) = other.stop();
    let mut other = Server::start(kept, &[]);
    other.token = token;
    let halfway = entries(&other);
    assert!(halfway > begun, "something was done");
    assert_ne!(export(&other), text, "and not everything");
    import(&other, &file, "--yes").ends(0);
    assert_eq!(export(&other), text);
    let whole = Server::first_start();
    import(&whole, &file, "--yes").ends(0);
    assert_eq!(entries(&other) - begun, entries(&whole) - begun, "nothing was done twice");
}

#[test]
fn an_import_that_was_killed_in_the_middle_goes_on_where_it_was() {
    const FLAGS: usize = 80;
    let here = folder();
    let flags: serde_json::Map<String, Value> = (0..FLAGS)
        .map(|number| {
            let states = json!({"production": {"exposure": 10}, "sandbox": {"on": true}});
            (format!("flag-{number}"), json!({"type": "boolean", "environments": states}))
        })
        .collect();
    let environments = json!({"production": {"kind": "production"}, "sandbox": {"kind": "sandbox"}});
    let file = json!({
        "format": "tidegate-app-1", "app": {"key": "shop"}, "environments": environments, "flags": flags,
    });
    let file = written(&here, "many.json", &file.to_string());
    let server = Server::first_start();
    let begun = entries(&server);
    let mut following = server.command();
    following.args(["log", "--follow", "--json", "--after", "0"]).stdout(Stdio::piped());
    let mut following = following.spawn().expect("the tool runs");
    let mut log = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut import_all = server.command();
    import_all.arg("import").arg(&file).arg("--yes").stdout(Stdio::null()).stderr(Stdio::null());
    let mut cut_off = import_all.spawn().expect("the tool runs");
    // The app, half of the flags, and no state of any.
    for _ in 0..begun + FLAGS / 2 {
        log.next().expect("the log goes on").expect("readable");
    }
    cut_off.kill().expect("our own process");
    cut_off.wait().expect("our own process ends");
    following.kill().expect("our own process");
    following.wait().expect("our own process ends");
    let halfway = entries(&server) - begun;
    assert!((FLAGS / 2..3 * FLAGS).contains(&halfway), "it was in the middle: {halfway}");

    import(&server, &file, "--yes").ends(0);
    import(&server, &file, "--dry-run --exit-code").ends(0);
    let whole = Server::first_start();
    let before = entries(&whole);
    import(&whole, &file, "--yes").ends(0);
    assert_eq!(entries(&server) - begun, entries(&whole) - before, "nothing was done twice");
}

#[test]
fn a_prerequisite_is_turned_round_though_the_flags_stand_in_each_others_way() {
    let server = shop();
    let here = folder();
    let turned = edited(&export(&server), |file| {
        let of = |key: &str| format!("/flags/{key}/environments/sandbox/prerequisites");
        let mut needs = file.pointer(&of("checkout")).expect("it needs `base`").clone();
        needs[0]["flag"] = "checkout".into();
        *file.pointer_mut(&of("checkout")).expect("a list") = json!([]);
        *file.pointer_mut(&of("base")).expect("a list") = needs;
    });
    let file = written(&here, "turned.json", &turned);
    // `base` comes first, while `checkout` still needs it.
    import(&server, &file, "--yes").ends(0).says("2 changes are made");
    import(&server, &file, "--dry-run --exit-code").ends(0);
}

#[test]
fn what_needs_approval_is_proposed_once_and_so_when_it_is_applied() {
    let server = Server::first_start();
    server.tool("app create team --tier 1 --env prod=production --env try=sandbox").ends(0);
    server.tool("flag create beta -a team").ends(0);
    let here = folder();
    let text = edited(&server.tool("export -a team").ends(0).out, |file| {
        for place in ["prod", "try"] {
            file["flags"]["beta"]["environments"][place]["on"] = true.into();
        }
    });
    let file = written(&here, "team.json", &text);
    import(&server, &file, "--yes").ends(6).complains("--propose stores the rest");
    let open = || {
        let list = server.tool("proposal list --state open --json").ends(0).json();
        list["items"].as_array().expect("a list").clone()
    };
    assert_eq!(open(), [] as [Value; 0]);
    import(&server, &file, "--yes --propose")
        .ends(0)
        .complains("proposed: change flag beta in prod")
        .complains("waits for 1 approval by another person")
        .says("0 changes are made, 1 is proposed");
    let proposals = open();
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    let entry = log_line(&server, |entry| entry["change"]["kind"] == "proposed");
    assert!(entry["plan"].as_str().is_some_and(|plan| plan.starts_with("import-")), "{entry}");
    // A job does the same on every push.
    let again = import(&server, &file, "--yes --propose --json").ends(0).json();
    let rows = again["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["environment"] == "prod").expect("a row");
    assert_eq!((&row["outcome"], &row["proposal"]), (&"proposed".into(), &proposals[0]["id"]));
    assert_eq!(open(), proposals, "what waits is not proposed again");

    let olga = server.token("--scope operator --human olga");
    let id = proposals[0]["id"].as_str().expect("an id");
    server.tool_as(&olga, &format!("proposal approve {id}")).ends(0);
    server.tool(&format!("proposal apply {id}")).ends(0);
    import(&server, &file, "--dry-run --exit-code").ends(0);
    import(&server, &file, "--yes --propose").ends(0).says(" 0 to change");
}

#[test]
fn of_a_flag_one_change_is_proposed_at_a_time() {
    let server = Server::first_start();
    server.tool("app create team --tier 1 --env eu=production --env us=production").ends(0);
    server.tool("flag create beta -a team").ends(0);
    let here = folder();
    let text = edited(&server.tool("export -a team").ends(0).out, |file| {
        for place in ["eu", "us"] {
            file["flags"]["beta"]["environments"][place]["on"] = true.into();
        }
    });
    let file = written(&here, "team.json", &text);
    let olga = server.token("--scope operator --human olga");
    for (place, code) in [("eu", 6), ("us", 0)] {
        // Each names the flag's revision, so the second would be stale once the first is applied.
        let said = import(&server, &file, "--yes --propose").ends(code);
        assert!(said.err.contains(&format!("proposed: change flag beta in {place}")), "{said:?}");
        assert_eq!(said.err.contains("once that is applied, import again"), code == 6, "{said:?}");
        let list = server.tool("proposal list --state open --json").ends(0).json();
        let [proposal] = &list["items"].as_array().expect("a list")[..] else { panic!("{list}") };
        let id = proposal["id"].as_str().expect("an id");
        server.tool_as(&olga, &format!("proposal approve {id}")).ends(0);
        server.tool(&format!("proposal apply {id}")).ends(0);
    }
    import(&server, &file, "--dry-run --exit-code").ends(0);
}

#[test]
fn what_needs_approval_waits_and_the_rest_is_done() {
    let server = Server::first_start();
    server.tool("app create team --tier 1 --env prod=production --env try=sandbox").ends(0);
    server.tool("flag create beta -a team").ends(0);
    let here = folder();
    let text = server.tool("export -a team").ends(0).out;
    let text = edited(&text, |file| {
        for place in ["prod", "try"] {
            file["flags"]["beta"]["environments"][place]["on"] = true.into();
        }
        file["flags"]["beta"]["description"] = "A team's flag".into();
    });
    let file = written(&here, "team.json", &text);
    import(&server, &file, "--yes")
        .ends(6)
        .complains("waits for approval: change flag beta in prod")
        .complains("1 of 3 changes could not be made")
        .says("2 changes are made");
    let rows = import(&server, &file, "--yes --json").ends(6).json()["rows"].clone();
    let of = |place: &str| {
        rows.as_array().expect("rows").iter().find(|row| row["environment"] == place).cloned().expect("a row")
    };
    assert_eq!((&of("try")["act"], &of("prod")["outcome"]), (&"unchanged".into(), &"needs_approval".into()));
    assert!(of("prod")["problem"].as_str().is_some_and(|text| text.contains("approval")), "{rows}");
    let agent =
        run(server.command().env("TIDEGATE_AGENT", "claude-5,cli,ada").arg("import").arg(&file).arg("-y"));
    agent.ends(6);
}

#[test]
fn what_the_file_does_not_have_stays_unless_it_is_pruned() {
    let server = shop();
    let here = folder();
    let text = edited(&export(&server), |file| {
        for key in ["base", "checkout"] {
            file["flags"].as_object_mut().expect("flags").remove(key);
        }
        file["segments"] = json!({});
        file["flags"]["color"]["environments"].as_object_mut().expect("states").remove("sandbox");
    });
    let file = written(&here, "less.json", &text);
    let before = entries(&server);
    let said = import(&server, &file, "--yes").ends(0).says(" 0 to change").says("4 left alone");
    for line in ["flag base", "flag checkout", "segment beta", "environment pr-7"] {
        let found = said.out.lines().find(|row| row.starts_with(line)).unwrap_or_default();
        assert!(found.contains("left alone"), "{line} in {}", said.out);
    }
    assert_eq!(entries(&server), before);
    // `checkout` needs `base`, and its rules name the segment: all three go, in an order that works.
    import(&server, &file, "--yes --prune").ends(0).says("3 changes are made");
    server.tool("segment list -a shop").ends(0).says("no segments");
    assert_eq!(entries(&server), before + 3);
    let text = edited(&text, |file| file["flags"]["base"] = json!({"type": "boolean"}));
    let file = written(&here, "again.json", &text);
    import(&server, &file, "--yes").ends(1).says("it was archived, and its key stays taken");
}

#[test]
fn variants_are_renamed_though_states_use_them_and_what_cannot_be_is_said() {
    let server = shop();
    let here = folder();
    let renamed = edited(&export(&server), |file| {
        let color = &mut file["flags"]["color"];
        color["variants"][1] = json!({"key": "green", "value": "green"});
        color["environments"]["production"]["serve"]["split"]["weights"][1]["variant"] = "green".into();
        file["flags"]["checkout"]["environments"]["sandbox"]["exposure"] = 20.into();
        file["segments"]["beta"]["members"] = json!(["alice", "dan"]);
    });
    let file = written(&here, "renamed.json", &renamed);
    import(&server, &file, "--yes")
        .ends(0)
        .says("variants: add green, remove blue")
        .says("exposure 100% -> 20%")
        .says("1 member comes, 2 members leave");
    import(&server, &file, "--dry-run --exit-code").ends(0);

    let other = edited(&renamed, |file| {
        file["flags"]["color"]["type"] = "number".into();
        file["environments"]["sandbox"]["kind"] = "production".into();
        file["flags"]["base"]["environments"]["nowhere"] = json!({"on": true});
        file["flags"]["base"]["environments"]["sandbox"]["expires_at"] = "2020-01-01T00:00:00Z".into();
    });
    let file = written(&here, "other.json", &other);
    let said = import(&server, &file, "--dry-run").ends(1).says("types stay").says("kinds stay");
    said.says("no such environment").says("lives are never shortened").complains("3 of 3");
    let file =
        written(&here, "typo.json", &edited(&renamed, |file| file["flags"]["base"]["onn"] = true.into()));
    import(&server, &file, "--dry-run").ends(2).complains("flags.base").complains("unknown field `onn`");
    let file = written(&here, "none.json", "{\"format\":\"tidegate-app-9\",\"app\":{\"key\":\"shop\"}}");
    import(&server, &file, "--dry-run").ends(2).complains("this program reads `tidegate-app-1`");
}

#[test]
fn rules_travel_in_their_short_form_and_prune_clears_what_the_file_does_not_have() {
    let server = Server::first_start();
    for line in [
        "app create shop --monthly-budget 49.90 --currency EUR",
        "flag create checkout -a shop",
        "flag create base -a shop",
        "guardrail set -a shop 'monthly_spend > 80% of budget -> notify owner' 'error_rate > 3% for 5m -> flag off'",
        "guardrail set -a shop -f checkout 'error_rate worse than control by 1.5x -> flag off'",
        "guardrail set -a shop -f checkout -e sandbox --none",
    ] {
        server.tool(line).ends(0);
    }
    let text = export(&server);
    assert!(text.contains("\"error_rate > 3% for 5m -> flag off\""), "{text}");
    let here = folder();
    let file = written(&here, "shop.json", &text);
    let other = Server::first_start();
    let dry = import(&other, &file, "--dry-run").ends(0).says("guardrails of the app");
    dry.says("guardrails of flag checkout").says("nothing is watched").says("worse than control by 1.5x");
    import(&other, &file, "--yes").ends(0);
    assert_eq!(export(&other), text);
    import(&other, &file, "--dry-run --exit-code").ends(0);

    // A file that says nothing of rules changes none, whatever else it does.
    let older = edited(&text, |file| {
        file.as_object_mut().expect("an object").remove("guardrails");
        for flag in file["flags"].as_object_mut().expect("flags").values_mut() {
            flag.as_object_mut().expect("an object").remove("guardrails");
        }
    });
    let older = written(&here, "older.json", &older);
    import(&other, &older, "--prune --dry-run --exit-code").ends(0);

    let less = edited(&text, |file| {
        file["guardrails"]["everywhere"] = json!(["error_rate > 5% for 5m -> flag off"]);
        file["flags"]["checkout"]["guardrails"] = json!({});
    });
    let less = written(&here, "less.json", &less);
    let said = import(&other, &less, "--yes").ends(0).says("left alone").says("not in the file");
    said.says("'error_rate > 3% for 5m -> flag off' -> 'error_rate > 5% for 5m -> flag off'");
    other.tool("guardrail list checkout -a shop").ends(0).says("worse than control by 1.5x");
    import(&other, &less, "--yes --prune").ends(0).says("2 to change");
    let listed = other.tool("guardrail list checkout -a shop").ends(0).says("error_rate > 5% for 5m");
    assert!(!listed.out.contains("1.5x") && !listed.out.contains("nothing is watched"), "{listed:?}");
    import(&other, &less, "--prune --dry-run --exit-code").ends(0);

    // What is under review is no part of a file, and its rules are not, either.
    other.tool("env create pr-7 -a shop --kind preview").ends(0);
    other.tool("guardrail set -a shop -f checkout -e pr-7 --none").ends(0);
    import(&other, &less, "--prune --dry-run --exit-code").ends(0).says("previews are no part");
}

#[test]
fn a_rule_that_cannot_be_is_named_with_its_place_and_one_that_calls_a_missing_job_with_what_makes_it() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    let text = export(&server);
    let here = folder();
    let with = |name: &str, rule: &str| {
        let text = edited(&text, |file| {
            file["flags"]["checkout"]["guardrails"] = json!({ "everywhere": [rule] });
            file["flags"]["checkout"]["environments"]["sandbox"]["on"] = json!(true);
        });
        written(&here, name, &text)
    };
    let wrong = with("wrong.json", "error_rate > 3 -> flag off");
    let said = import(&server, &wrong, "--yes").ends(2);
    let said = said.complains("flags.checkout.guardrails.everywhere[0]").complains("at byte 13");
    said.complains("a percentage up to 100%");

    let calls = with("calls.json", "error_rate > 3% for 5m -> flag off, run rollback");
    let makes = "tidegate job create rollback URL --app shop";
    import(&server, &calls, "--dry-run").ends(1).says("cannot be").says(makes);
    import(&server, &calls, "--yes").ends(1).says(makes).complains("its guardrails are not there");
    let shown = server.tool("flag show checkout -a shop --json").ends(0).json();
    assert_eq!(shown["environments"]["sandbox"]["on"], false, "nothing is raised that nobody watches");
    server.tool("job create rollback https://ci.example.org/rollback --app shop").ends(0);
    import(&server, &calls, "--yes").ends(0).says("2 to change");
    let export = server.tool("export --app shop").ends(0).complains("job rollback");
    assert!(!export.out.contains("ci.example.org"), "{}", export.out);
}
