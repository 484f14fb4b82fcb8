//! Modules of operators: what they can say, what they cannot, and how they are stopped.

use rollout_rules::gate::facts::{Concern, PolicyEffect, Severity};
use serde_json::json;
use tidegate::gate::infrastructure::{
    Limits, MAX_MODULE_BYTES, MAX_MODULES, MAX_RESOURCES, MAX_RULES, PolicyError, compile,
};

use super::{limits, plan_of};

const PACKAGE: &str = "package tidegate.infrastructure.custom\n";

fn module(rules: &str) -> Vec<(String, String)> {
    vec![("ours.rego".to_owned(), format!("{PACKAGE}{rules}"))]
}

/// What comes of a module whose `x` is asked for.
fn error_of_x(rules: &str) -> PolicyError {
    error(&format!("{rules}\ndeny contains {{\"rule\": \"a\", \"title\": \"b\"}} if x\n"))
}

/// What comes of a module, at the latest when it is run over a plan.
fn error(rules: &str) -> PolicyError {
    let judged = compile(&module(rules)).and_then(|policies| {
        policies.judge(&plan_of(&[("aws_s3_bucket.a", json!({ "bucket": "a" }))]), &limits(2))
    });
    judged.expect_err(rules)
}

#[test]
fn modules_of_operators_are_heard_beside_our_own() {
    let rules = r#"
import data.tidegate.infrastructure.custom.names

deny contains {"rule": "name", "title": sprintf("%s is a short name", [bucket.values.bucket]), "resource": bucket.address,
    "concern": "encryption", "severity": "critical", "fix": "Call it more."} if {
    some bucket in names.buckets
    count(bucket.values.bucket) < 2
}

note contains {"rule": "where", "title": input.environment} if input.tier == 2
"#;
    let mut modules = module(rules);
    let library = "package tidegate.infrastructure.custom.names\nbuckets := [b | some b in input.resources; b.type == \"aws_s3_bucket\"]\n";
    modules.push(("names.rego".to_owned(), library.to_owned()));
    let policies = compile(&modules).expect("it compiles");
    let plan = plan_of(&[(
        "aws_s3_bucket.a",
        json!({ "bucket": "a", "acl": "public-read", "tags": { "app": "a", "owner": "b" } }),
    )]);
    let findings = policies.judge(&plan, &limits(2)).expect("a judgement");
    let [name, public, place] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(
        (name.effect, name.concern, name.finding.severity),
        (PolicyEffect::Deny, Concern::Encryption, Severity::Critical)
    );
    assert_eq!(name.finding.title, "a is a short name");
    assert_eq!(name.finding.fix.as_deref(), Some("Call it more."));
    assert_eq!(public.finding.rule, "bucket-acl-public");
    assert_eq!(
        (place.effect, place.concern, place.finding.severity),
        (PolicyEffect::Note, Concern::Custom, Severity::Low)
    );
    assert_eq!(place.finding.title, "production");
}

#[test]
fn what_is_wrong_with_a_module_is_named_with_its_line() {
    let cases = [
        ("deny contains {", 2, "Rego"),
        ("x := 1\ny := http.send({})", 3, "`http.send` cannot be called"),
        ("x := opa.runtime()", 2, "`opa.runtime` cannot be called"),
        ("x := time.now_ns()", 2, "`time.now_ns` cannot be called"),
        ("x := rand.intn(\"a\", 5)", 2, "`rand.intn` cannot be called"),
        ("x := net.lookup_ip_addr(\"a\")", 2, "`net.lookup_ip_addr` cannot be called"),
        ("x := y if walk(input, y)", 2, "`walk` cannot be called"),
        ("x := [1 |\n some a in [f(1)]\n]", 3, "`f` cannot be called"),
        ("x := y if y := count([]) with count as sum", 2, "`with` can stand in"),
        ("x := y if y := x\nnote contains x", 2, "cyclic"),
    ];
    for (rules, at, expected) in cases {
        let PolicyError::Module { module, line: Some(line), problem } = error(rules) else {
            panic!("{rules}: {:?}", error(rules));
        };
        assert_eq!((module.as_str(), line), ("ours.rego", at), "{rules}: {problem}");
        assert!(problem.contains(expected), "{rules}: {problem}");
    }
}

#[test]
fn operators_cannot_write_into_our_own_packages() {
    for package in
        ["tidegate.infrastructure.tags", "tidegate.verdict", "tidegate.infrastructure.customs", "shop"]
    {
        let text = format!("package {package}\ndeny contains {{\"rule\": \"a\", \"title\": \"b\"}}\n");
        let error = compile(&[("ours.rego".to_owned(), text)]).expect_err(package);
        assert!(error.to_string().starts_with("ours.rego, line 1: the package has to be"), "{error}");
    }
}

#[test]
fn a_finding_in_a_shape_that_is_not_known_is_an_error_and_not_a_pass() {
    let cases = [
        ("deny := true", "not a set"),
        ("deny contains \"public\"", "not an object"),
        ("deny contains {\"title\": \"a\"}", "no `rule`"),
        ("deny contains {\"rule\": \"a\", \"title\": \"\"}", "no `title`"),
        ("deny contains {\"rule\": \"a\", \"title\": 7}", "`title` of a finding is not a text"),
        ("warn contains {\"rule\": \"a\", \"title\": \"b\", \"severty\": \"high\"}", "severty"),
        ("warn contains {\"rule\": \"a\", \"title\": \"b\", \"severity\": \"bad\"}", "`severity` is one of"),
        ("note contains {\"rule\": \"a\", \"title\": \"b\", \"concern\": \"money\"}", "`concern` is one of"),
    ];
    for (rules, expected) in cases {
        let error = error(rules);
        assert!(matches!(error, PolicyError::Finding { .. }), "{rules}: {error:?}");
        assert!(error.to_string().contains(expected), "{rules}: {error}");
    }
}

#[test]
fn modules_are_bounded_in_number_and_size() {
    let (name, text) = ("ours.rego".to_owned(), format!("{PACKAGE}x := 1\n"));
    let many: Vec<_> = (0..=MAX_MODULES).map(|n| (format!("{n}.rego"), text.clone())).collect();
    assert!(matches!(compile(&many), Err(PolicyError::TooMany { what: "modules", .. })));
    let long = format!("{text}# {}", "a".repeat(MAX_MODULE_BYTES));
    assert!(matches!(compile(&[(name.clone(), long)]), Err(PolicyError::Module { line: None, .. })));
    let rules: String = (0..=MAX_RULES).map(|n| format!("r{n} := {n}\n")).collect();
    assert!(matches!(
        compile(&[(name, format!("{PACKAGE}{rules}"))]),
        Err(PolicyError::TooMany { what: "rules", .. })
    ));
}

#[test]
fn rules_that_all_wait_for_each_other_fit_on_the_stack() {
    let mut rules: String = (1..MAX_RULES - 1).map(|n| format!("f{n}(x) := [f{}(x)]\n", n - 1)).collect();
    rules += "f0(x) := [x]\ndeny contains {\"rule\": \"a\", \"title\": f498(1)}\n";
    assert!(matches!(error(&rules), PolicyError::Finding { .. }), "{:?}", error(&rules));
}

#[test]
fn a_module_that_takes_too_long_is_stopped() {
    let every_pair =
        "xs := numbers.range(1, 20000)\nx if count([1 | some a in xs; some b in xs; a == b]) > 0";
    let error = error_of_x(every_pair);
    assert_eq!(error, PolicyError::OutOfTime);
    let error = error.to_string();
    assert!(error.contains("longer than 250 ms"), "{error}");
}

#[test]
fn a_module_that_makes_too_much_is_stopped_before_it_does() {
    let doubled = |last: &str| {
        let chain: String = (1..60).map(|n| format!("x{n} := [x{}, x{}]\n", n - 1, n - 1)).collect();
        format!("x0 := \"a\"\n{chain}{last}\n")
    };
    let text = |last: &str| {
        let chain: String =
            (1..60).map(|n| format!("x{n} := concat(\"\", [x{}, x{}])\n", n - 1, n - 1)).collect();
        format!("x0 := \"a\"\n{chain}{last}\n")
    };
    let lists: String = (1..60).map(|n| format!("x{n} := array.concat(x{}, x{})\n", n - 1, n - 1)).collect();
    let cases = [
        "x := count(numbers.range(1, 1000000000))".to_owned(),
        "x := count(numbers.range(1, 9223372036854775807))".to_owned(),
        "x := [a | some a in numbers.range(1, 1000000000)]".to_owned(),
        "x if not numbers.range(1, 1000000000)".to_owned(),
        "x := sprintf(\"%1000000000d\", [1])".to_owned(),
        "x := bits.lsh(1, 1000000000)".to_owned(),
        doubled("x := json.marshal(x59)"),
        doubled("x := sprintf(\"%v\", [x59])"),
        text("x := x59"),
        format!("x0 := [1]\n{lists}x := x59"),
        "x := [concat(\"\", [y, sprintf(\"%d\", [a])]) | y := concat(\"\", [\"a\" | some b in numbers.range(1, 30000)]); some a in numbers.range(1, 30000)]"
            .to_owned(),
    ];
    for rules in cases {
        let error = error_of_x(&rules);
        assert!(
            matches!(&error, PolicyError::TooMuch { place: Some((module, _)) } if module == "ours.rego"),
            "{rules}: {error:?}"
        );
        assert!(error.to_string().contains("makes more than a policy may"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_module_that_takes_too_much_memory_is_stopped() {
    let every_pair = "xs := numbers.range(1, 20000)\ny := [{\"a\": a, \"b\": b, \"c\": [a, b], \"d\": {\"e\": [a]}} | \
                      input.tier == 2; some a in xs; some b in xs]\ndeny contains {\"rule\": \"a\", \"title\": \"b\"} if count(y) > 0";
    let policies = compile(&module(every_pair)).expect("nothing is wrong with it in tier 0");
    // A plan of many resources has much time.
    let names: Vec<String> = (0..MAX_RESOURCES).map(|n| format!("shop_shelf.s{n}")).collect();
    let resources: Vec<_> = names.iter().map(|name| (name.as_str(), json!({}))).collect();
    let limits = Limits { tier: 2, ..Limits::default() };
    assert_eq!(policies.judge(&plan_of(&resources), &limits), Err(PolicyError::TooMuch { place: None }));
}

#[test]
fn a_judgement_that_is_caught_in_one_step_keeps_nobody_waiting() {
    let chain = |name: &str| -> String {
        (1..40)
            .map(|n| format!("{name}{n} := [{name}{}, {name}{}] if input.tier == 2\n", n - 1, n - 1))
            .collect()
    };
    let rules = format!("a0 := \"a\"\nb0 := \"a\"\n{}{}x if a39 == b39\n", chain("a"), chain("b"));
    let rules = format!("{rules}deny contains {{\"rule\": \"a\", \"title\": \"b\"}} if x\n");
    let policies = compile(&module(&rules)).expect("nothing is wrong with it in tier 0");
    let plan = plan_of(&[("aws_s3_bucket.a", json!({ "bucket": "a" }))]);
    assert_eq!(policies.judge(&plan, &limits(2)), Err(PolicyError::OutOfTime));
    assert_eq!(policies.clone().judge(&plan, &limits(2)), Err(PolicyError::Caught));
}

#[test]
fn rights_to_everything_are_listed_first_and_what_is_not_listed_is_told_of() {
    let many = "package tidegate.infrastructure.custom\n\ndeny contains {\"rule\": \"a\", \"title\": format_int(n, 10)} if {\n\tcount(input.resources) > 0\n\tsome n in numbers.range(1, 1200)\n}\n";
    let policies = compile(&[("ours.rego".to_owned(), many.to_owned())]).expect("a policy");
    let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let policy = json!({ "policy": json!({ "Statement": statement }).to_string() });
    let findings =
        policies.judge(&plan_of(&[("aws_iam_policy.p", policy)]), &limits(0)).expect("a judgement");
    assert_eq!(findings[0].finding.rule, "privileges-wildcard");
    assert!(findings.len() <= 1_000, "{}", findings.len());
    let last = findings.last().expect("one");
    assert_eq!((last.finding.rule.as_str(), last.effect), ("not-listed", PolicyEffect::Deny));
    assert!(last.finding.title.starts_with("207 more"), "{}", last.finding.title);
}
