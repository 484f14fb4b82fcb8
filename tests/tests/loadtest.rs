//! That `loadtest` works, from its servers to its charts. What it finds is no test's to judge: that takes an optimised
//! build and a quiet machine.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::{Ended, Shop, eventually, loadtest};

/// The scenarios that come with the program, in their order.
const NAMES: [&str; 13] = [
    "single",
    "bulk",
    "unchanged",
    "changes",
    "reports",
    "sdk",
    "scale",
    "feed",
    "pages",
    "page-values",
    "restart",
    "overload",
    "soak",
];
/// Measures that may be nothing, or less.
const MAY_BE_NOTHING: [&str; 8] = [
    "recovery_s",
    "told_when",
    "kib_per_minute",
    "kib_taken",
    "growth_kib",
    "least_growth_kib",
    "kib_per_token",
    "kib_per_client",
];
/// Those that have rounds and latency by rates.
const OF_CHECKS: [&str; 3] = ["single", "bulk", "unchanged"];
/// Those whose times are drawn in one chart, and what their panels are called.
const OF_KILLS: [(&str, &str); 3] = [
    ("feed", "A kill reaches SDKs"),
    ("pages", "A kill reaches pages"),
    ("page-values", "A changed flag reaches pages"),
];
/// What it says on a machine with one core, where it measures nothing.
const NEEDS_CORES: &str = "loadtest needs two cores";
/// A flag of the shop.
const FLAG: &str = "checkout";

/// Runs it in a folder of its own, with nothing of the environment of whoever runs the tests.
fn run(folder: &Path, words: &[&str]) -> Ended {
    let mut command = Command::new(loadtest());
    command.args(words).current_dir(folder).env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).env("TMPDIR", folder);
    // No peers are here, whoever has brought some.
    command.env("LOADTEST_PEERS", folder.join("peers"));
    let ended = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = ended.status.code().expect("nobody kills it");
    Ended { code, out: text(&ended.stdout), err: text(&ended.stderr) }
}

/// Whether the machine has too few cores for it to measure anything; says then what was not tested.
fn is_refused(ended: &Ended) -> bool {
    let is_refused = ended.code == 2 && ended.err.contains(NEEDS_CORES);
    if is_refused {
        println!("NOT TESTED: {}", ended.err.trim());
    }
    is_refused
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("it is JSON")
}

fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value[member].as_array().unwrap_or_else(|| panic!("`{member}` is a list: {value}"))
}

#[test]
fn every_scenario_runs_in_its_short_form_and_what_it_finds_is_written() {
    let folder = folder();
    let words = ["all", "--short", "--json", "found.json", "--charts", "charts"];
    let ended = run(folder.path(), &words);
    if is_refused(&ended) {
        return;
    }
    assert_eq!(ended.code, 0, "{ended:?}");
    let found = json(&folder.path().join("found.json"));
    assert_eq!((&found["format"], &found["good"]), (&Value::from(1), &Value::from(true)));
    assert_eq!(list(&found, "to_come"), [] as [Value; 0]);
    assert!(found["took_s"].as_f64() > Some(0.0), "{}", found["took_s"]);
    assert!(
        found["machine"]["cores"].as_u64() >= Some(2) && found["rustc"].is_string(),
        "{}",
        found["machine"]
    );
    let scenarios = list(&found, "scenarios");
    let names: Vec<&str> = scenarios.iter().filter_map(|scenario| scenario["name"].as_str()).collect();
    assert_eq!(names, NAMES);
    for scenario in scenarios {
        has_figures(scenario);
        let name = scenario["name"].as_str().expect("a name");
        if OF_CHECKS.contains(&name) {
            has_all_rounds(scenario);
        }
        assert!(ended.out.contains(&format!("\n{name}: ")), "the table has {name}: {}", ended.out);
    }
    for chart in ["latency.svg", "throughput.svg"] {
        let svg = std::fs::read_to_string(folder.path().join("charts").join(chart)).expect("it was written");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        for scenario in scenarios.iter().filter(|one| OF_CHECKS.contains(&one["name"].as_str().unwrap_or("")))
        {
            let title = scenario["title"].as_str().expect("a title");
            assert!(svg.contains(&format!(">{title}</text>")), "{chart} has a panel for {title}");
        }
    }
    let is_measured = |name: &str| {
        let mut of_name = scenarios.iter().filter(|scenario| scenario["name"] == name);
        of_name.any(|scenario| !list(scenario, "charts").is_empty() || list(scenario, "missing").is_empty())
    };
    let kills = std::fs::read_to_string(folder.path().join("charts/kill.svg")).unwrap_or_default();
    for (name, title) in OF_KILLS.into_iter().filter(|(name, _)| is_measured(name)) {
        for who in [title, "raw writes"] {
            assert!(kills.contains(&format!(">{who}</text>")), "kill.svg has {who} of {name}: {kills}");
        }
    }
}

/// Nothing went wrong, every figure is a number, and every bar has one; but for what this machine lacks, which is said.
fn has_figures(scenario: &Value) {
    assert_eq!(list(scenario, "errors"), [] as [Value; 0], "{scenario}");
    let (figures, missing) = (list(scenario, "figures"), list(scenario, "missing"));
    if !missing.is_empty() {
        println!("NOT TESTED: of {}: {missing:?}", scenario["name"]);
    }
    assert!(!figures.is_empty() || !missing.is_empty(), "{scenario}");
    let may_be_nothing =
        |one: &Value| one["measure"].as_str().is_some_and(|measure| MAY_BE_NOTHING.contains(&measure));
    for figure in figures {
        assert!(figure["value"].is_number() && figure["label"].is_string(), "{figure}");
        if may_be_nothing(figure) {
            continue;
        }
        assert!(figure["value"].as_f64() > Some(0.0), "{figure}");
        for beside in list(figure, "beside") {
            assert!(beside["value"].as_f64() > Some(0.0) && beside["times"].as_f64() > Some(0.0), "{figure}");
        }
    }
    let verdicts = list(scenario, "verdicts");
    assert!(!verdicts.is_empty(), "{scenario}");
    for verdict in verdicts {
        let is_missing =
            missing.iter().any(|one| one["who"] == verdict["who"] || one["who"] == verdict["of"]);
        let expected = if is_missing { "not measured" } else { "unsure" };
        assert_eq!(verdict["verdict"], expected, "the short form judges nothing: {verdict}");
        let is_there = verdict["value"].as_f64() > Some(0.0);
        assert!(is_missing || is_there || may_be_nothing(verdict), "{verdict}");
        assert!(verdict["why"].as_str().is_some_and(|why| !why.is_empty()), "{verdict}");
    }
}

/// Everybody was measured in every round and at every rate.
fn has_all_rounds(scenario: &Value) {
    let standings = list(scenario, "standings");
    let (rounds, points) = (list(scenario, "rounds"), list(scenario, "latency"));
    for standing in standings {
        let who = &standing["who"];
        assert_eq!(rounds.iter().filter(|round| round["who"] == *who).count(), 2, "{who}: {rounds:?}");
        for figure in ["rate", "cpu_us", "rss_kib"] {
            assert!(standing[figure].as_f64() > Some(0.0), "{figure} of {standing}");
        }
    }
    // The second round is turned round: whatever drifts meets all alike.
    let order = |at: u64| {
        let of_round = rounds.iter().filter(move |round| round["round"].as_u64() == Some(at));
        of_round.map(|round| round["who"].to_string()).collect::<Vec<String>>()
    };
    assert!(order(0).iter().eq(order(1).iter().rev()), "{rounds:?}");
    assert!(!points.is_empty() && points.len() % 2 == 0, "{points:?}");
    for point in points {
        let curve = list(point, "all_us");
        assert!(curve.iter().all(|at| at[1].as_u64() > Some(0)), "{point}");
        assert!(curve.is_sorted_by_key(|at| at[1].as_u64()), "{point}");
    }
}

#[test]
fn a_server_that_runs_already_is_measured_by_what_it_answers() {
    let (shop, folder) = (Shop::open(), folder());
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{}\n", shop.server_token)).expect("a file");
    let with_token = |more: &[&str]| {
        let words = ["single", "unchanged", "--short", "--target", shop.server.url(), "--flag", FLAG];
        run(folder.path(), &[&words, more].concat())
    };
    let ended = with_token(&["--token-file", "token", "--json", "found.json", "--against", "floor"]);
    if is_refused(&ended) {
        return;
    }
    assert_eq!(ended.code, 0, "{ended:?}");
    let written = std::fs::read_to_string(folder.path().join("found.json")).expect("it was written");
    for text in [&ended.out, &ended.err, &written] {
        assert!(!text.contains(&shop.server_token), "the token is nobody's to read");
    }
    let found = json(&folder.path().join("found.json"));
    for scenario in list(&found, "scenarios") {
        let whos: Vec<&str> =
            list(scenario, "standings").iter().filter_map(|one| one["who"].as_str()).collect();
        assert_eq!(whos, ["tidegate", "floor"]);
        assert_eq!(scenario["standings"][0]["cpu_us"], Value::Null, "nobody sees into its process");
        let verdict = &scenario["verdicts"][0];
        assert_eq!(
            (&verdict["by"], &verdict["measure"]),
            (&"throughput".into(), &"checks_per_cpu_second".into())
        );
    }
    let note = "a target that has more is not like it";
    assert!(ended.out.contains(note), "the floor has one core: {}", ended.out);
    let process = shop.server.process_id().to_string();
    let more = ["--token-file", "token", "--json", "found.json", "--against", "floor", "--pid", &process];
    let ended = with_token(&more);
    assert_eq!(ended.code, 0, "{ended:?}");
    for scenario in list(&json(&folder.path().join("found.json")), "scenarios") {
        assert!(scenario["standings"][0]["cpu_us"].as_f64() > Some(0.0), "its process is known: {scenario}");
        assert_eq!(scenario["verdicts"][0]["by"], "checks_per_cpu_second");
    }
    let refused = with_token(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("answers 401: it wants another token"), "{refused:?}");
}

#[test]
fn load_goes_to_this_machine_alone() {
    let folder = folder();
    // An address that nobody has, and one of every network card: neither is asked anything.
    for target in ["http://192.0.2.1:8016", "http://0.0.0.0:8016", "http://[2001:db8::1]"] {
        let ended = run(folder.path(), &["single", "--short", "--target", target, "--flag", "a"]);
        assert_eq!(ended.code, 2, "{target}: {ended:?}");
        assert!(ended.err.contains("load goes to loopback only"), "{target}: {ended:?}");
        assert_eq!(ended.out, "");
    }
}

#[test]
fn a_scenario_of_ones_own_is_a_file_whose_mistakes_are_named() {
    let folder = folder();
    let single = include_str!("../../loadtest/scenarios/single.toml");
    let own = single.replace("name = \"single\"", "name = \"own\"").replace("flags = 100", "flags = 3");
    let own = own.replace("connections = 64", "connections = 64\narrivals = \"poisson\"");
    std::fs::write(folder.path().join("own.toml"), &own).expect("a file");
    let ended = run(folder.path(), &["own.toml", "--short", "--against", "floor", "--seed", "7"]);
    if is_refused(&ended) {
        return;
    }
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("own: One flag over OFREP (3 flags, 64 connections"), "{ended:?}");
    let wrong =
        own.replace("connections = 64", "connectoins = 64").replace("\"checks_per_cpu_second\"", "\"luck\"");
    std::fs::write(folder.path().join("own.toml"), wrong).expect("a file");
    let ended = run(folder.path(), &["own.toml", "--short"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    for mistake in [
        "`checks.connections` is missing",
        "`checks.connectoins` is not known",
        "`threshold.measure` is `luck`",
    ] {
        assert!(ended.err.contains(&format!("own.toml: {mistake}")), "{mistake}: {ended:?}");
    }
}

#[test]
fn wrong_use_is_said_before_anything_is_measured() {
    let folder = folder();
    for (words, said) in [
        (&[][..], "which scenario?"),
        (&["sinlge"], "`sinlge` is no scenario"),
        (&["single", "--shrot"], "`--shrot` is not known"),
        (&["single", "--seed"], "`--seed` needs a value"),
        (&["single", "--against", "floor,floor"], "`--against` names `floor` twice"),
        (&["single", "--pid", "1"], "say something of a `--target`"),
        (&["single", "--target", "http://127.0.0.1:1", "--pid", "0"], "`--pid 0`: there is no such process"),
        (
            &["single", "--against", "edgy"],
            "none of floor, floor-get, floor-same-length, edge, unleash, unleash-rust, eppo",
        ),
        (&["single", "--against", "floor,edge"], "peers/bin/unleash-edge is absent): make peers"),
        (&["single", "--against", "unleash"], "Unleash is not here"),
        (&["sdk", "--against", "flagd"], "peers/bin/in-process-peers is absent): make peers"),
        (&["single", "--target", "http://127.0.0.1:1"], "`--target` needs `--flag KEY`"),
        (&["single", "--token-file", "token"], "say something of a `--target`"),
        (&["single", "--json", "no/such/folder.json"], "no/such/folder.json: "),
    ] {
        let ended = run(folder.path(), words);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{words:?}: {ended:?}");
        assert!(ended.err.contains(said), "{words:?}: {ended:?}");
    }
    let list = run(folder.path(), &["--list"]);
    assert_eq!((list.code, list.out.lines().count()), (0, NAMES.len()), "{list:?}");
}

/// Where the system shows the processes that a process has started.
fn children_of(parent: u32) -> Vec<PathBuf> {
    let parent = format!("PPid:\t{parent}");
    let processes = std::fs::read_dir("/proc").expect("the system shows its processes").flatten();
    let is_child = |folder: &PathBuf| {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        status.lines().any(|line| line == parent)
    };
    processes.map(|process| process.path()).filter(is_child).collect()
}

/// Starts it with its data in a folder, and waits until it says that something is under way so often. None where it
/// measures nothing.
fn started(words: &[&str], temporary: &Path, under_way: &str, times: usize) -> Option<Child> {
    let mut command = Command::new(loadtest());
    command.args(words).env_clear().env("TMPDIR", temporary).stdout(Stdio::null()).stderr(Stdio::piped());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let mut process = command.spawn().expect("it runs");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let mut said = lines.by_ref().filter(|line| line.contains(under_way) || line.contains(NEEDS_CORES));
    let line = said.nth(times - 1).expect("it says what it does");
    // It goes on to say so, and somebody has to hear it.
    std::thread::spawn(move || lines.for_each(drop));
    if line.contains(NEEDS_CORES) {
        println!("NOT TESTED: {line}");
        process.wait().expect("our own process ends");
        return None;
    }
    Some(process)
}

/// Ends it at once, and waits until what it had started has ended too.
fn end(mut process: Child, started: &[PathBuf]) {
    process.kill().expect("our own process takes a signal");
    process.wait().expect("our own process ends");
    for folder in started {
        // Who has ended runs no program, even if nobody has asked for its end yet.
        eventually("its server has ended", || (!folder.join("exe").exists()).then_some(()));
    }
}

#[test]
fn what_it_started_ends_with_it_even_if_it_is_killed() {
    let temporary = folder();
    // Once something is measured, its servers are there.
    let Some(process) = started(&["single", "--short"], temporary.path(), "warm-up", 1) else { return };
    let started = children_of(process.id());
    assert_eq!(started.len(), 2, "a server and a floor: {started:?}");
    end(process, &started);
    let left: Vec<_> = std::fs::read_dir(temporary.path()).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "no data stays behind: {left:?}");
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn node_ends_with_it_even_if_it_is_killed() {
    let temporary = folder();
    let Some(process) = started(&["sdk", "--short"], temporary.path(), "Node", 1) else { return };
    let is_node = |folder: &PathBuf| {
        std::fs::read_link(folder.join("exe")).is_ok_and(|program| program.ends_with("node"))
    };
    // One that is stopped does not end by itself.
    let stopped = || {
        let node = children_of(process.id()).into_iter().find(is_node)?;
        let id = node.file_name().expect("the id of a process");
        let stopped = Command::new("kill").arg("-STOP").arg(id).status();
        stopped.is_ok_and(|status| status.success()).then_some(node)
    };
    let node = eventually("Node runs", stopped);
    end(process, &[node]);
}

#[test]
fn data_that_is_written_to_when_it_is_killed_is_removed_wherever_it_lies() {
    let temporary = folder();
    // The first server with changes has its data here, and the next in memory, where there is a place for it.
    for (times, place) in [(2, temporary.path()), (4, Path::new("/dev/shm"))] {
        if !place.exists() {
            println!("NOT TESTED: there is no {}", place.display());
            continue;
        }
        let Some(process) = started(&["changes", "--short"], temporary.path(), "round", times) else {
            return;
        };
        let started = children_of(process.id());
        let words = |folder: &PathBuf| std::fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
        let data: Vec<PathBuf> =
            started.iter().filter_map(|folder| words(folder).split('\0').nth(2).map(PathBuf::from)).collect();
        let is_there = data.iter().any(|data| data.starts_with(place) && data.exists());
        assert!(is_there, "a server writes in {}: {data:?}", place.display());
        end(process, &started);
        for data in data {
            let folder = data.parent().expect("a folder around it");
            assert!(!folder.exists(), "{} stays behind", folder.display());
        }
    }
}
