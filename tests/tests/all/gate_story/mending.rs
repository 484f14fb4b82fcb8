//! The faulty app is mended, one check after the other.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_tests::{Discount, Ended};

/// One thing to mend.
struct Step {
    /// The check that it is for.
    check: &'static str,
    /// What the text says of it: what is wrong, and what to do.
    told: &'static [&'static str],
    /// Does so.
    mend: fn(&Discount),
}

const STEPS: [Step; 8] = [
    Step {
        check: "secrets",
        told: &["src/config.py:3: AWS Access Key in the code", "Take the secret out of the code"],
        mend: |app| {
            app.remove("src/config.py");
            app.report("detect-secrets.json");
        },
    },
    Step {
        check: "tests_pass",
        told: &[
            "test_rounds_up: assert 899 == 900",
            "Mend the code, or the test if it asks for what is no longer wanted",
        ],
        mend: |app| {
            app.mend("tests/test_discount.py");
            app.report("junit.xml");
        },
    },
    Step {
        check: "tests_present",
        told: &[
            "src/app.py: no test uses it and asserts something",
            "src/loyalty.py: no test uses it and asserts something",
            "Write a test for each named file that calls what is in it and checks the result",
        ],
        mend: |app| {
            app.mend("tests/test_app.py");
            app.remove("src/loyalty.py");
        },
    },
    Step {
        check: "coverage",
        told: &["tests run 7.69 % of 52 lines; 40 % are asked", "hand in the report of coverage"],
        mend: |app| app.report("coverage.cobertura.xml"),
    },
    Step {
        check: "infrastructure",
        told: &[
            "aws_s3_bucket_acl.receipts: Everybody on the internet can get at what is in this bucket",
            "Set `acl = \"private\"`",
            "Set `publicly_accessible = false`",
            "It may do everything to everything",
            "12 virtual CPUs; this app may have 2",
            "it lacks app, owner",
            "make the plan anew",
        ],
        mend: |app| {
            app.mend("infra/main.tf");
            app.report("tfplan.json");
        },
    },
    Step {
        check: "licences",
        told: &["Unidecode: GPL", "Replace the named libraries by others"],
        mend: |app| {
            app.mend("requirements.txt");
            app.report("sbom.cdx1.6.json");
        },
    },
    Step {
        check: "vulnerabilities",
        told: &["pyyaml 5.3.1 has CVE-2020-14343", "upgrade pyyaml to 5.4"],
        mend: |app| app.report("grype.json"),
    },
    // What is only warned of bars nothing, and can be mended too.
    Step {
        check: "code",
        told: &[
            "src/loyalty.py:26: A shell runs a string built from input",
            "Pass a list of arguments and drop shell=True",
        ],
        mend: |app| app.report("semgrep.sarif"),
    },
];

/// Asks the gate: what it tells people, and how each check ended.
pub(crate) fn ask(app: &Discount) -> (Ended, BTreeMap<String, String>) {
    let ended = app.pipeline.run(&app.check(&["--format", "json", "--output", "gate.json"]));
    let text = std::fs::read_to_string(app.folder().join("gate.json")).expect("the answer");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let checks = answer["judgement"]["checks"].as_array().expect("checks");
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let ends = checks.iter().map(|check| (word(&check["name"]), word(&check["level"]))).collect();
    (ended, ends)
}

fn at<'a>(ends: &'a BTreeMap<String, String>, level: &str) -> Vec<&'a str> {
    ends.iter().filter(|(_, is)| *is == level).map(|(name, _)| name.as_str()).collect()
}

pub(crate) fn mend(app: &Discount) {
    let (mut said, mut before) = ask(app);
    let all: Vec<&str> = STEPS.iter().map(|step| step.check).filter(|check| *check != "code").collect();
    let mut denied = at(&before, "deny");
    denied.sort_by_key(|check| all.iter().position(|known| known == check));
    assert_eq!(denied, all, "everything that is wrong with it is found at once");
    for step in &STEPS {
        let code = i32::from(before.values().any(|level| level == "deny"));
        assert_eq!(said.code, code, "{}", said.out);
        said.says("Paste this to your LLM assistant");
        step.told.iter().for_each(|told| said.says(told));
        (step.mend)(app);
        app.pack();
        let (again, after) = ask(app);
        let level = after[step.check].as_str();
        assert!(["off", "note"].contains(&level), "{} is still at {level}: {}", step.check, again.out);
        let changed: Vec<&String> =
            before.iter().filter(|(name, is)| after[*name] != **is).map(|(name, _)| name).collect();
        assert_eq!(changed, [step.check], "the others are as they were");
        for told in step.told {
            assert!(!again.out.contains(told), "{}: it still says `{told}`", step.check);
        }
        (said, before) = (again, after);
    }
    said.expect(0).says("PASSED WITH WARNINGS: discount for production");
    assert_eq!(
        at(&before, "warn"),
        ["provenance", "signature"],
        "nobody signed it, which a team is only warned of"
    );
}
