//! What our own rules say of resources on AWS.

use serde_json::{Value, json};

use super::check_table;

fn policy(action: &str, resource: &str) -> Value {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    json!({ "policy": json!({ "Statement": [statement] }).to_string() })
}

fn access(statement: &Value) -> Value {
    json!({ "policy": json!({ "Statement": statement }).to_string() })
}

#[test]
fn data_on_aws_that_everybody_can_read_is_denied() {
    let everybody = json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*" });
    let mut nobody = everybody.clone();
    nobody["Effect"] = json!("Deny");
    let mut some = everybody.clone();
    some["Principal"] = json!({ "AWS": ["arn:aws:iam::1:role/a", "*"] });
    let mut service = everybody.clone();
    service["Principal"] = json!({ "Service": "cloudfront.amazonaws.com" });
    let mut conditions = everybody.clone();
    conditions["Condition"] = json!({ "StringEquals": { "aws:SourceVpce": "vpce-1" } });
    let grant =
        |uri: &str| json!({ "access_control_policy": [{ "grant": [{ "grantee": [{ "uri": uri }] }] }] });
    let block = |on: Value| {
        json!({ "block_public_acls": true, "block_public_policy": on, "ignore_public_acls": true,
                "restrict_public_buckets": true })
    };
    check_table(&[
        ("aws_s3_bucket.b", json!({ "bucket": "b", "tags": null }), &[]),
        ("aws_s3_bucket.b", json!({ "acl": "public-read" }), &["deny bucket-acl-public"]),
        ("aws_s3_bucket_acl.b", json!({ "acl": "private" }), &[]),
        ("aws_s3_bucket_acl.b", json!({ "acl": "authenticated-read" }), &["deny bucket-acl-public"]),
        (
            "aws_s3_bucket_acl.b",
            grant("http://acs.amazonaws.com/groups/global/AllUsers"),
            &["deny bucket-acl-public"],
        ),
        ("aws_s3_bucket_acl.b", grant("http://acs.amazonaws.com/groups/s3/LogDelivery"), &[]),
        ("aws_s3_bucket_public_access_block.b", block(json!(true)), &[]),
        ("aws_s3_bucket_public_access_block.b", block(json!(false)), &["deny bucket-block-off"]),
        ("aws_s3_bucket_public_access_block.b", block(Value::Null), &["deny bucket-block-off"]),
        ("aws_s3_bucket_policy.b", access(&json!([everybody])), &["deny policy-public"]),
        ("aws_s3_bucket_policy.b", access(&everybody), &["deny policy-public"]),
        ("aws_s3_bucket_policy.b", access(&json!([nobody])), &[]),
        ("aws_s3_bucket_policy.b", access(&json!([some])), &["deny policy-public"]),
        ("aws_s3_bucket_policy.b", access(&json!([service])), &[]),
        ("aws_s3_bucket_policy.b", access(&json!([conditions])), &["warn policy-public-with-conditions"]),
        ("aws_sqs_queue_policy.q", access(&json!([everybody])), &["deny policy-public"]),
        ("aws_s3_bucket_policy.b", json!({ "policy": "{" }), &["deny policy-unreadable"]),
        (
            "aws_db_instance.d",
            json!({ "instance_class": "db.t3.micro", "publicly_accessible": true, "storage_encrypted": true }),
            &["deny database-public"],
        ),
        (
            "aws_db_instance.d",
            json!({ "instance_class": "db.t3.micro", "publicly_accessible": false, "storage_encrypted": true }),
            &[],
        ),
        ("aws_ami_launch_permission.i", json!({ "group": "all" }), &["deny image-public"]),
        ("aws_lambda_function_url.f", json!({ "authorization_type": "NONE" }), &["warn function-public"]),
        ("aws_lambda_function_url.f", json!({ "authorization_type": "AWS_IAM" }), &[]),
    ]);
}

#[test]
fn rights_to_everything_on_aws_are_denied() {
    let document = |actions: Value, resources: Value| json!({ "statement": [{ "effect": null, "actions": actions, "resources": resources }] });
    let trust = |principal: Value| {
        let statement = json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal });
        json!({ "assume_role_policy": json!({ "Statement": [statement] }).to_string() })
    };
    let everything = &["deny privileges-wildcard"];
    check_table(&[
        ("aws_iam_policy.p", policy("*", "*"), everything),
        ("aws_iam_policy.p", policy("*:*", "*"), everything),
        ("aws_iam_policy.p", policy("iam:*", "arn:aws:*:*:*:*"), everything),
        ("aws_iam_role_policy.p", policy("*", "*"), everything),
        ("aws_iam_policy.p", policy("s3:*", "*"), &["deny privileges-wide"]),
        ("aws_iam_policy.p", policy("s3:GetObject", "*"), &[]),
        ("aws_iam_policy.p", policy("*", "arn:aws:s3:::b/*"), &[]),
        ("aws_iam_policy.p", policy("s3:*", "arn:aws:s3:::b/*"), &[]),
        (
            "aws_iam_policy.p",
            access(&json!([{ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" }])),
            everything,
        ),
        ("aws_iam_policy.p", access(&json!([{ "Effect": "Deny", "Action": "*", "Resource": "*" }])), &[]),
        ("data.aws_iam_policy_document.p", document(json!(["*"]), json!(["*"])), everything),
        ("data.aws_iam_policy_document.p", document(json!(["s3:GetObject"]), json!(["*"])), &[]),
        ("aws_iam_role.r", trust(json!({ "Service": "lambda.amazonaws.com" })), &[]),
        ("aws_iam_role.r", trust(json!({ "AWS": "*" })), &["deny role-for-everybody"]),
        ("aws_iam_role.r", json!({ "inline_policy": [policy("*", "*")] }), everything),
        (
            "aws_iam_role.r",
            json!({ "managed_policy_arns": ["arn:aws:iam::aws:policy/AdministratorAccess"] }),
            everything,
        ),
        (
            "aws_iam_role_policy_attachment.a",
            json!({ "policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess" }),
            everything,
        ),
        (
            "aws_iam_role_policy_attachment.a",
            json!({ "policy_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess" }),
            &[],
        ),
        (
            "aws_iam_role_policy_attachment.a",
            json!({ "policy_arn": "arn:aws:iam::aws:policy/PowerUserAccess" }),
            &["deny privileges-wide"],
        ),
    ]);
}

#[test]
fn ports_for_administration_that_the_world_can_reach_are_denied() {
    let ingress = |from: u32, to: u32, cidr: &str| json!({ "ingress": [{ "from_port": from, "to_port": to, "protocol": "tcp", "cidr_blocks": [cidr] }] });
    let rule = |protocol: &str, kind: &str| json!({ "type": kind, "from_port": 3389, "to_port": 3389, "protocol": protocol, "cidr_blocks": ["0.0.0.0/0"] });
    check_table(&[
        ("aws_security_group.g", ingress(443, 443, "0.0.0.0/0"), &[]),
        ("aws_security_group.g", ingress(22, 22, "10.0.0.0/8"), &[]),
        ("aws_security_group.g", ingress(22, 22, "0.0.0.0/0"), &["deny port-open"]),
        ("aws_security_group.g", ingress(22, 22, "128.0.0.0/1"), &["deny port-open"]),
        ("aws_security_group.g", ingress(5000, 5500, "0.0.0.0/0"), &["deny port-open"]),
        ("aws_security_group_rule.g", rule("tcp", "ingress"), &["deny port-open"]),
        ("aws_security_group_rule.g", rule("tcp", "egress"), &[]),
        ("aws_security_group_rule.g", rule("icmp", "ingress"), &[]),
        (
            "aws_vpc_security_group_ingress_rule.g",
            json!({ "cidr_ipv6": "::/0", "ip_protocol": "tcp", "from_port": 5432, "to_port": 5432 }),
            &["deny port-open"],
        ),
        (
            "aws_vpc_security_group_ingress_rule.g",
            json!({ "cidr_ipv6": "fd00::/8", "ip_protocol": "tcp", "from_port": 5432, "to_port": 5432 }),
            &[],
        ),
    ]);
}

#[test]
fn data_that_is_not_encrypted_is_denied_in_tier_two() {
    check_table(&[
        ("aws_rds_cluster.c", json!({ "storage_encrypted": false }), &["deny encryption-off"]),
        ("aws_rds_cluster.c", json!({ "storage_encrypted": true }), &[]),
        ("aws_ebs_volume.v", json!({ "encrypted": null }), &["deny encryption-off"]),
        ("aws_efs_file_system.f", json!({ "encrypted": true }), &[]),
        (
            "aws_instance.i",
            json!({ "instance_type": "t3.micro", "root_block_device": [{ "encrypted": false }] }),
            &["deny encryption-off"],
        ),
        (
            "aws_opensearch_domain.s",
            json!({ "cluster_config": [{ "instance_type": "t3.small.search" }],
            "encrypt_at_rest": [{ "enabled": false }] }),
            &["deny encryption-off"],
        ),
        (
            "azurerm_storage_account.a",
            json!({ "https_traffic_only_enabled": false }),
            &["deny encryption-off"],
        ),
    ]);
}
