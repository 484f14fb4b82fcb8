//! The same rights and openings on AWS, written in other ways.

use serde_json::{Value, json};

use super::check_table;

fn allowed(actions: &[&str], resources: &[&str]) -> Value {
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
    json!({ "policy": json!({ "Statement": statement }).to_string() })
}

fn access(statement: &Value) -> Value {
    json!({ "policy": json!({ "Statement": statement }).to_string() })
}

#[test]
fn rights_to_everything_are_found_however_they_are_written() {
    let everything = &["deny privileges-wildcard"];
    let wide = &["deny privileges-wide"];
    let letters: Vec<String> = ('a'..='z').map(|letter| format!("{letter}*")).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    let own = "aws_iam_policy.p";
    check_table(&[
        (own, allowed(&["*"], &["arn:aws:*:*:123456789012:*"]), everything),
        (own, allowed(&["*"], &["arn:aws:iam::123456789012:*"]), everything),
        (own, allowed(&["iam:*"], &["arn:aws:iam::*:*"]), everything),
        (own, allowed(&["iam:**"], &["*"]), everything),
        (own, allowed(&["iam:?*"], &["*"]), everything),
        (own, allowed(&["iam:Put*"], &["*"]), everything),
        (own, allowed(&["iam:AttachRolePolicy"], &["arn:aws:iam::123456789012:role/*"]), everything),
        (own, allowed(&letters, &["*"]), everything),
        (own, allowed(&["*"], &["arn:aws:s3:::*"]), wide),
        (own, allowed(&["s3:*"], &["arn:aws:s3:::*"]), wide),
        (own, allowed(&["s3:?*"], &["*"]), wide),
        (own, allowed(&["logs:*"], &["*"]), &["warn privileges-wide"]),
        (own, allowed(&["iam:PassRole"], &["*"]), &["warn privileges-wide"]),
        (own, allowed(&["iam:PassRole"], &["arn:aws:iam::123456789012:role/app"]), &[]),
        (own, allowed(&["iam:Get*", "iam:List*"], &["*"]), &[]),
        (own, allowed(&["logs:CreateLogGroup", "logs:PutLogEvents"], &["arn:aws:logs:*:*:*"]), &[]),
        (own, allowed(&["dynamodb:*"], &["arn:aws:dynamodb:eu-west-1:123456789012:table/a"]), &[]),
    ]);
    let attached = |name: &str| json!({ "policy_arn": format!("arn:aws:iam::aws:policy/{name}") });
    let role = "aws_iam_role_policy_attachment.a";
    check_table(&[
        (role, attached("AmazonS3FullAccess"), wide),
        (role, attached("CloudWatchLogsFullAccess"), &["warn privileges-wide"]),
        (role, attached("service-role/AWSLambdaBasicExecutionRole"), &[]),
        (
            "aws_iam_role_policy_attachments_exclusive.a",
            json!({ "policy_arns": ["arn:aws:iam::aws:policy/AdministratorAccess"] }),
            everything,
        ),
    ]);
}

#[test]
fn a_policy_of_one_thing_is_not_about_every_resource() {
    let root = json!({ "AWS": "arn:aws:iam::123456789012:root" });
    let own =
        |action: &str| json!({ "Effect": "Allow", "Principal": root, "Action": action, "Resource": "*" });
    let document = json!({ "statement": [{ "effect": "Allow", "actions": ["kms:*"], "resources": ["*"],
        "principals": [{ "type": "AWS", "identifiers": ["arn:aws:iam::123456789012:root"] }] }] });
    check_table(&[
        ("aws_kms_key.k", access(&own("kms:*")), &[]),
        ("aws_secretsmanager_secret_policy.s", access(&own("secretsmanager:*")), &[]),
        (
            "aws_opensearch_domain_policy.d",
            json!({ "access_policies": json!({ "Statement": own("es:*") }).to_string() }),
            &[],
        ),
        ("data.aws_iam_policy_document.d", document, &[]),
    ]);
}

#[test]
fn only_conditions_that_say_who_or_from_where_make_an_opening_smaller() {
    let opened = |conditions: Value| {
        access(
            &json!({ "Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": "*", "Condition": conditions }),
        )
    };
    let topic = "aws_sns_topic_policy.t";
    let public = &["deny policy-public"];
    let warned = &["warn policy-public-with-conditions"];
    check_table(&[
        (topic, opened(json!({ "Bool": { "aws:SecureTransport": "true" } })), public),
        (topic, opened(json!({ "StringEqualsIfExists": { "aws:SourceAccount": "123456789012" } })), public),
        (topic, opened(json!({ "StringNotEquals": { "aws:SourceAccount": "123456789012" } })), public),
        (topic, opened(json!({ "ArnLike": { "aws:SourceArn": "arn:aws:s3:*:*:*" } })), public),
        (topic, opened(json!({ "IpAddress": { "aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/0"] } })), public),
        (topic, opened(json!({ "IpAddress": { "aws:SourceIp": ["192.0.2.0/24"] } })), warned),
        (topic, opened(json!({ "StringEquals": { "AWS:SourceOwner": "123456789012" } })), warned),
        (topic, opened(json!({ "ArnLike": { "aws:SourceArn": "arn:aws:s3:::shop" } })), warned),
    ]);
    let trust = |conditions: Value| {
        let statement = json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": "*" },
            "Condition": conditions });
        json!({ "assume_role_policy": json!({ "Statement": statement }).to_string() })
    };
    check_table(&[
        (
            "aws_iam_role.r",
            trust(json!({ "Bool": { "aws:SecureTransport": "true" } })),
            &["deny role-for-everybody"],
        ),
        ("aws_iam_role.r", trust(json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } })), &[]),
    ]);
}

#[test]
fn data_on_aws_that_is_public_by_other_names_is_denied_too() {
    let everybody = json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" });
    let others = json!({ "Effect": "Allow", "NotPrincipal": { "AWS": "arn:aws:iam::1:root" }, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*" });
    let grant = json!([{ "uri": "http://acs.amazonaws.com/groups/global/AllUsers" }]);
    let brokers = json!([{ "instance_type": "kafka.t3.small",
        "connectivity_info": [{ "public_access": [{ "type": "SERVICE_PROVIDED_EIPS" }] }] }]);
    let policy = &["deny policy-public"];
    check_table(&[
        ("aws_s3_bucket.b", json!({ "grant": grant }), &["deny bucket-acl-public"]),
        ("aws_s3_object_copy.o", json!({ "acl": "public-read" }), &["deny bucket-acl-public"]),
        ("aws_db_snapshot.s", json!({ "shared_accounts": ["all"] }), &["deny snapshot-public"]),
        ("aws_lambda_permission.p", json!({ "principal": "*" }), &["deny function-public"]),
        ("aws_lambda_permission.p", json!({ "principal": "*", "source_arn": "arn:aws:s3:::b" }), &[]),
        ("aws_lambda_permission.p", json!({ "principal": "s3.amazonaws.com" }), &[]),
        ("aws_kms_key_policy.k", access(&everybody), policy),
        ("aws_dynamodb_resource_policy.d", access(&everybody), policy),
        (
            "aws_glacier_vault.v",
            json!({ "access_policy": json!({ "Statement": everybody }).to_string() }),
            policy,
        ),
        ("aws_s3_bucket_policy.b", access(&others), policy),
        ("aws_lightsail_database.d", json!({ "publicly_accessible": true }), &["deny database-public"]),
        ("aws_msk_cluster.m", json!({ "broker_node_group_info": brokers }), &["deny database-public"]),
    ]);
}
