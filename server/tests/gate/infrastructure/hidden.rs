//! What a plan does not show: values marked as secret, or known only after it is applied, and policies made of them.

use rollout_rules::gate::facts::Plan;
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::infrastructure::read;

use super::{limits, own_rules, plan_text, said};

fn read_text(plan: &Value) -> Plan {
    read(Digest([7; 32]), plan.to_string().as_bytes()).expect("a plan")
}

fn found(plan: &Plan) -> Vec<String> {
    let limits = tidegate::gate::infrastructure::Limits { required_tags: Vec::new(), ..limits(0) };
    said(&own_rules().judge(plan, &limits).expect("a judgement"))
}

/// A plan of one resource of which something is marked.
fn with_marks(address: &str, values: Value, member: &str, marks: Value) -> Plan {
    let mut plan = plan_text(&[(address, values)]);
    plan["resource_changes"][0]["change"][member] = marks;
    read_text(&plan)
}

/// A plan whose policy is known only later, made of what is referred to, with what else stands in it.
fn policy_of(references: &[&str], also: &[(&str, Value)]) -> Plan {
    let mut resources = vec![("aws_iam_policy.p", json!({ "name": "p" }))];
    resources.extend_from_slice(also);
    let mut plan = plan_text(&resources);
    plan["resource_changes"][0]["change"]["after_unknown"] = json!({ "policy": true, "arn": true });
    let expressions = json!({ "name": { "constant_value": "p" }, "policy": { "references": references } });
    let resource = json!({ "address": "aws_iam_policy.p", "mode": "managed", "expressions": expressions });
    plan["configuration"] = json!({ "root_module": { "resources": [resource] } });
    read_text(&plan)
}

#[test]
fn what_is_marked_as_secret_does_not_hide_who_may_get_at_data_or_how_large_it_is() {
    let secret = |address, values, marks| found(&with_marks(address, values, "after_sensitive", marks));
    let table = [
        ("aws_s3_bucket_acl.b", json!({ "acl": "public-read" }), json!({ "acl": true })),
        (
            "aws_db_instance.b",
            json!({ "instance_class": "db.t3.micro", "publicly_accessible": true, "storage_encrypted": true }),
            json!({ "publicly_accessible": true }),
        ),
        (
            "aws_security_group.b",
            json!({ "ingress": [{ "cidr_blocks": ["0.0.0.0/0"], "protocol": "-1" }] }),
            json!({ "ingress": [{ "cidr_blocks": [true] }] }),
        ),
        (
            "azurerm_storage_container.b",
            json!({ "container_access_type": "blob" }),
            json!({ "container_access_type": true }),
        ),
        (
            "google_storage_bucket_iam_member.b",
            json!({ "role": "r", "member": "allUsers" }),
            json!({ "member": true }),
        ),
    ];
    for (address, values, marks) in table {
        assert_eq!(secret(address, values, marks), [format!("deny value-hidden {address}")]);
    }
    let group = secret("aws_autoscaling_group.g", json!({ "max_size": 500 }), json!({ "max_size": true }));
    assert!(group.contains(&"deny value-hidden aws_autoscaling_group.g".to_owned()), "{group:?}");
    let password = secret(
        "aws_db_instance.d",
        json!({ "instance_class": "db.t3.micro", "storage_encrypted": true, "password": "x" }),
        json!({ "password": true }),
    );
    assert_eq!(password, Vec::<String>::new(), "a password is a secret");
}

#[test]
fn what_somebody_wrote_and_nobody_knows_yet_is_warned_of_and_what_the_cloud_answers_is_not() {
    let unknown = |plan: &mut Value| {
        plan["resource_changes"][0]["change"]["after_unknown"] = json!({ "acl": true, "grant": true })
    };
    let mut plan = plan_text(&[("aws_s3_bucket.b", json!({ "bucket": "b" }))]);
    unknown(&mut plan);
    let configured = |expressions: Value| {
        json!({ "root_module": { "module_calls": { "m": { "module": { "resources": [
            { "address": "aws_s3_bucket.b", "mode": "managed", "expressions": expressions }] } } } } })
    };
    for place in ["planned_values", "resource_changes"] {
        let entry = if place == "planned_values" {
            &mut plan[place]["root_module"]["resources"][0]
        } else {
            &mut plan[place][0]
        };
        entry["address"] = json!("module.m[\"a]b\"].aws_s3_bucket.b[0]");
    }
    plan["configuration"] = configured(json!({ "bucket": { "constant_value": "b" } }));
    assert_eq!(found(&read_text(&plan)), Vec::<String>::new(), "nobody wrote an ACL");
    plan["configuration"] = configured(json!({ "acl": { "references": ["random_id.r.hex"] } }));
    assert_eq!(found(&read_text(&plan)), ["warn value-unknown module.m[\"a]b\"].aws_s3_bucket.b[0]"]);
    plan.as_object_mut().expect("an object").remove("configuration");
    assert_eq!(found(&read_text(&plan)).len(), 2, "what nobody can look up counts as written");
}

#[test]
fn a_policy_that_is_not_known_yet_is_denied_unless_the_plan_shows_the_document() {
    let denied = ["deny policy-unknown aws_iam_policy.p"];
    assert_eq!(found(&policy_of(&["aws_s3_bucket.b.arn", "aws_s3_bucket.b"], &[])), denied);
    let document = |action: &str| {
        let statement = json!({ "effect": null, "actions": [action], "resources": [null] });
        ("data.aws_iam_policy_document.d", json!({ "statement": [statement] }))
    };
    let of_document = ["data.aws_iam_policy_document.d.json", "data.aws_iam_policy_document.d"];
    assert_eq!(found(&policy_of(&of_document, &[document("s3:GetObject")])), Vec::<String>::new());
    assert_eq!(found(&policy_of(&of_document, &[])), denied, "it is not there");
    assert_eq!(
        found(&policy_of(&["aws_s3_bucket.b.arn"], &[document("s3:GetObject")])),
        denied,
        "made of something else"
    );
    assert_eq!(
        found(&policy_of(&["var.policy"], &[document("s3:GetObject")])),
        ["warn policy-unknown aws_iam_policy.p"]
    );
}

#[test]
fn commands_that_a_plan_does_not_show_are_warned_of() {
    let mut plan = plan_text(&[("terraform_data.x", json!({}))]);
    let resource = json!({ "address": "terraform_data.x", "provisioners": [{ "type": "local-exec" }] });
    plan["configuration"] = json!({ "root_module": { "resources": [resource] } });
    assert_eq!(found(&read_text(&plan)), ["warn commands-run terraform_data.x"]);
}

#[test]
fn what_terraform_leaves_out_where_nothing_is_known_yet_is_no_contradiction() {
    let mut plan = plan_text(&[("aws_s3_bucket.a", json!({})), ("data.aws_region.r", json!({}))]);
    for at in 0..2 {
        let resource = &mut plan["planned_values"]["root_module"]["resources"][at];
        resource.as_object_mut().expect("an object").remove("values");
    }
    assert_eq!(read_text(&plan).resources, 1);
}

#[test]
fn what_terraform_forgets_may_stand_in_the_plan_and_is_not_judged() {
    let mut plan = plan_text(&[("aws_s3_bucket.a", json!({})), ("aws_s3_bucket.gone", Value::Null)]);
    plan["resource_changes"][1]["change"]["actions"] = json!(["forget"]);
    let read = read_text(&plan);
    assert_eq!((read.resources, read.input["resources"].as_array().map(Vec::len)), (1, Some(1)));
}
