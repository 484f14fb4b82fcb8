//! Targeting cases from other projects' own suites, run through the real evaluator.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Evaluator {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Evaluator {
    fn start() -> Evaluator {
        let mut process = Command::new(env!("CARGO_BIN_EXE_eval-lines"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("eval-lines starts");
        let questions = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Evaluator { process, questions, answers }
    }

    fn ask(&mut self, row: &Value) -> Value {
        let mut asked = row.clone();
        asked.as_object_mut().expect("a row is an object").remove("expect");
        writeln!(self.questions, "{asked}").expect("eval-lines reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("eval-lines answers");
        let mut answer: Value = serde_json::from_str(&line).expect("the answer is JSON");
        answer["value"].take()
    }

    fn stop(mut self) {
        drop(self.questions);
        assert!(self.process.wait().expect("eval-lines ends").success());
    }
}

/// Runs the portable rows of a file and says how many there are.
fn run(file: &Path) -> usize {
    let rows = std::fs::read_to_string(file).expect("the rows are readable");
    let rows = rows.lines().map(|line| serde_json::from_str(line).expect("a row is JSON"));
    let rows: Vec<Value> = rows.filter(|row: &Value| row["portable"] == true).collect();
    let mut evaluator = Evaluator::start();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let found = evaluator.ask(row);
            (found != row["expect"]).then(|| format!("{}: {found}, not {}", row["id"], row["expect"]))
        })
        .collect();
    evaluator.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rows.len()
}

#[test]
#[cfg_attr(not(has_shared), ignore = "the shared data is absent")]
fn portable_cases_of_unleash_and_flagd_answer_as_there() {
    let folder = tidegate_tests::prerequisites::shared().join("data/derived");
    assert_eq!(run(&folder.join("unleash.jsonl")), 159);
    assert_eq!(run(&folder.join("flagd.jsonl")), 29);
}

#[test]
fn the_protocol_serves_the_first_rule_that_holds_and_the_default_while_disabled() {
    let mut evaluator = Evaluator::start();
    let rules = json!([
        {"when": {"attr": "n", "op": "num_gt", "values": [5]}, "serve": "large"},
        {"when": {"not": {"attr": ["a", "b"], "op": "in", "values": ["x"], "ci": true}}, "serve": 7},
    ]);
    let mut ask = |enabled: bool, context: Value| {
        evaluator.ask(&json!({"rules": rules, "default": null, "enabled": enabled, "context": context}))
    };
    assert_eq!(ask(true, json!({"n": 6})), json!("large"));
    assert_eq!(ask(true, json!({"n": 5})), json!(7));
    assert_eq!(ask(true, json!({"n": 5, "a": {"b": "X"}})), json!(null));
    assert_eq!(ask(false, json!({"n": 6})), json!(null));
    evaluator.stop();
}
