//! What is read from a plan, and what is refused.

use rollout_rules::gate::facts::{Problem, ProblemCode};
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::infrastructure::{MAX_PLAN_BYTES, MAX_RESOURCES, read};

use super::{fixture, limits, own_rules, plan_text, said};

fn read_text(plan: &Value) -> Result<rollout_rules::gate::facts::Plan, Problem> {
    read(Digest([7; 32]), plan.to_string().as_bytes())
}

fn refused(bytes: &[u8]) -> ProblemCode {
    let problem = read(Digest([7; 32]), bytes).expect_err("refused");
    assert!(problem.detail.ends_with('.') && problem.detail.len() > 40, "{problem:?}");
    problem.code
}

fn bucket() -> Value {
    plan_text(&[("aws_s3_bucket.a", json!({ "bucket": "a" }))])
}

#[test]
fn the_clean_plan_has_four_resources_and_nothing_is_wrong_with_it() {
    let plan = read(Digest([1; 32]), &fixture("clean/evidence/tfplan.json")).expect("a plan");
    assert_eq!((plan.piece, plan.resources), (Digest([1; 32]), 4));
    assert_eq!(plan.input["resources"][1]["values"]["instance_type"], "t2.micro");
    assert_eq!(plan.input["resources"][1]["unknown"], json!(["arn", "id"]));
    assert_eq!(plan.input["resources"][1]["actions"], json!(["create"]));
    for tier in 0..=2 {
        assert_eq!(
            said(&own_rules().judge(&plan, &limits(tier)).expect("a judgement")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn the_faulty_plan_is_found_out_fault_by_fault() {
    let plan = read(Digest([1; 32]), &fixture("faulty/evidence/tfplan.json")).expect("a plan");
    assert_eq!(plan.resources, 6);
    let findings = own_rules().judge(&plan, &limits(1)).expect("a judgement");
    assert_eq!(
        said(&findings),
        [
            "deny bucket-acl-public aws_s3_bucket_acl.receipts",
            "deny bucket-block-off aws_s3_bucket_public_access_block.receipts",
            "deny database-public aws_db_instance.orders",
            "deny privileges-wildcard aws_iam_policy.web",
            "deny size-cap -",
            "deny tags-missing aws_db_instance.orders",
            "deny tags-missing aws_iam_policy.web",
            "deny tags-missing aws_instance.web",
            "deny tags-missing aws_s3_bucket.receipts",
            "warn encryption-off aws_db_instance.orders",
        ]
    );
}

#[test]
fn resources_of_modules_within_modules_are_read() {
    let mut plan = bucket();
    let module = plan["planned_values"]["root_module"].take();
    plan["planned_values"]["root_module"] = json!({ "child_modules": [{ "child_modules": [module] }] });
    let read = read_text(&plan).expect("a plan");
    assert_eq!((read.resources, &read.input["resources"][0]["address"]), (1, &json!("aws_s3_bucket.a")));
}

#[test]
fn what_is_deleted_is_not_counted() {
    let mut plan = bucket();
    let mut gone = plan["resource_changes"][0].clone();
    gone["address"] = json!("aws_s3_bucket.gone");
    gone["change"]["actions"] = json!(["delete"]);
    plan["resource_changes"].as_array_mut().expect("a list").push(gone);
    assert_eq!(read_text(&plan).expect("a plan").resources, 1);
}

#[test]
fn values_marked_as_secret_are_gone_from_what_is_kept() {
    let values =
        json!({ "engine": "postgres", "password": "hunter2", "users": [{ "name": "a", "key": "hunter3" }] });
    let mut plan = plan_text(&[("aws_db_instance.a", values)]);
    plan["planned_values"]["root_module"]["resources"][0]["sensitive_values"] = json!({ "password": true });
    plan["resource_changes"][0]["change"]["after_sensitive"] = json!({ "users": [{ "key": true }] });
    plan["variables"] = json!({ "password": { "value": "hunter4" } });
    plan["prior_state"] = json!({ "values": "hunter5" });
    let plan = read_text(&plan).expect("a plan");
    let kept = plan.input.to_string();
    assert!(!kept.contains("hunter"), "{kept}");
    assert_eq!(
        plan.input["resources"][0]["values"],
        json!({ "engine": "postgres", "users": [{ "name": "a" }] })
    );
    assert_eq!(plan.input["resources"][0]["sensitive"], json!(["password", "users"]));
}

#[test]
fn a_policy_that_is_hidden_is_denied_and_so_is_one_that_is_not_known_yet() {
    let mut plan = plan_text(&[("aws_iam_policy.p", json!({ "policy": "{}" }))]);
    plan["planned_values"]["root_module"]["resources"][0]["sensitive_values"] = json!({ "policy": true });
    let hidden = own_rules().judge(&read_text(&plan).expect("a plan"), &limits(0)).expect("a judgement");
    assert_eq!(said(&hidden), ["deny policy-hidden aws_iam_policy.p"]);
    let mut plan = plan_text(&[("aws_iam_policy.p", json!({ "name": "p" }))]);
    plan["resource_changes"][0]["change"]["after_unknown"] = json!({ "policy": true });
    let unknown = own_rules().judge(&read_text(&plan).expect("a plan"), &limits(0)).expect("a judgement");
    assert_eq!(said(&unknown), ["deny policy-unknown aws_iam_policy.p"]);
}

#[test]
fn a_plan_without_resources_or_that_is_not_whole_proves_nothing() {
    let empty = json!({ "format_version": "1.2", "planned_values": { "root_module": {} }, "complete": true });
    assert_eq!(read_text(&empty).expect("a plan").resources, 0);
    for (name, value) in [("errored", true), ("complete", false)] {
        let mut plan = bucket();
        plan[name] = json!(value);
        let plan = read_text(&plan).expect("a plan");
        assert_eq!(plan.resources, 0, "{name}");
        let findings = said(&own_rules().judge(&plan, &limits(0)).expect("a judgement"));
        assert_eq!(findings, ["note plan-not-whole -"]);
    }
    let read_only = plan_text(&[("data.aws_iam_policy_document.a", json!({}))]);
    assert_eq!(read_text(&read_only).expect("a plan").resources, 0);
}

#[test]
fn plans_of_versions_that_are_not_known_are_refused() {
    for version in ["0.2", "2.0", "", "x"] {
        let mut plan = bucket();
        plan["format_version"] = json!(version);
        assert_eq!(refused(plan.to_string().as_bytes()), ProblemCode::UnsupportedVersion, "{version}");
    }
    let mut later = bucket();
    later["format_version"] = json!("1.9");
    assert!(read_text(&later).is_ok());
}

#[test]
fn a_plan_from_which_a_resource_was_cut_out_is_refused() {
    let two = [
        ("aws_s3_bucket.a", json!({ "bucket": "a" })),
        ("aws_s3_bucket_acl.a", json!({ "acl": "public-read" })),
    ];
    let mut cut = plan_text(&two);
    cut["planned_values"]["root_module"]["resources"].as_array_mut().expect("a list").pop();
    assert_eq!(refused(cut.to_string().as_bytes()), ProblemCode::Contradictory);
    let mut softened = plan_text(&two);
    softened["planned_values"]["root_module"]["resources"][1]["values"]["acl"] = json!("private");
    assert_eq!(refused(softened.to_string().as_bytes()), ProblemCode::Contradictory);
    let mut deleted = plan_text(&two);
    deleted["resource_changes"][1]["change"]["actions"] = json!(["delete"]);
    assert_eq!(refused(deleted.to_string().as_bytes()), ProblemCode::Contradictory);
}

#[test]
fn broken_and_hostile_plans_are_refused() {
    assert_eq!(refused(b""), ProblemCode::Malformed);
    assert_eq!(refused(b"[]"), ProblemCode::Malformed);
    assert_eq!(refused(b"{}"), ProblemCode::Malformed);
    assert_eq!(refused(b"{\"format_version\": \"1.2\"} {}"), ProblemCode::Malformed);
    let text = bucket().to_string();
    assert_eq!(refused(&text.as_bytes()[..text.len() - 1]), ProblemCode::Malformed);
    let twice = text.replacen("\"bucket\":\"a\"", "\"bucket\":\"a\",\"bucket\":\"b\"", 1);
    assert_eq!(refused(twice.as_bytes()), ProblemCode::Hostile);
    let top_twice = text.replacen('{', "{\"complete\":true,", 1);
    assert_eq!(refused(top_twice.as_bytes()), ProblemCode::Hostile);
    let mut two = bucket();
    let again = two["resource_changes"][0].clone();
    two["resource_changes"].as_array_mut().expect("a list").push(again);
    assert_eq!(refused(two.to_string().as_bytes()), ProblemCode::Hostile);
    let deep = |levels: usize| {
        let nest = "[".repeat(levels) + &"]".repeat(levels);
        text.replacen("\"bucket\":\"a\"", &format!("\"bucket\":{nest}"), 2)
    };
    assert_eq!(refused(deep(62).as_bytes()), ProblemCode::TooLarge);
    assert_eq!(refused(deep(3_000).as_bytes()), ProblemCode::TooLarge);
    assert!(read(Digest([7; 32]), deep(50).as_bytes()).is_ok());
}

#[test]
fn plans_that_are_too_large_are_refused() {
    let long = vec![b' '; MAX_PLAN_BYTES + 1];
    assert_eq!(refused(&long), ProblemCode::TooLarge);
    let many = format!("{{\"format_version\":\"1.2\",\"planned_values\":[{}0]}}", "0,".repeat(600_000));
    assert_eq!(refused(many.as_bytes()), ProblemCode::TooLarge);
    let names: Vec<String> = (0..=MAX_RESOURCES).map(|n| format!("aws_s3_bucket.b{n}")).collect();
    let mut resources: Vec<(&str, Value)> = names.iter().map(|name| (name.as_str(), json!({}))).collect();
    assert_eq!(refused(plan_text(&resources).to_string().as_bytes()), ProblemCode::TooLarge);
    resources.pop();
    assert!(read_text(&plan_text(&resources)).is_ok());
}

#[test]
fn a_plan_of_as_many_resources_as_there_may_be_is_judged_in_time() {
    let names: Vec<String> = (0..MAX_RESOURCES).map(|n| format!("aws_security_group.g{n}")).collect();
    let values = json!({ "ingress": [{ "from_port": 443, "to_port": 443, "protocol": "tcp", "cidr_blocks": ["0.0.0.0/0"] }],
        "tags": { "app": "a", "owner": "b" } });
    let resources: Vec<(&str, Value)> = names.iter().map(|name| (name.as_str(), values.clone())).collect();
    let plan = read_text(&plan_text(&resources)).expect("a plan");
    assert_eq!(said(&own_rules().judge(&plan, &limits(2)).expect("a judgement")), Vec::<String>::new());
}
