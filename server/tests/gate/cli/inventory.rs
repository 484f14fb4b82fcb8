//! What an app's folder holds.

use std::fs;

use tidegate::cli::gate::inventory::{MAX_NAMED, inventory};

use super::fixture;

#[test]
fn the_clean_app_has_two_sources_with_code_one_plan_and_one_list_of_dependencies() {
    let report = serde_json::to_value(inventory(&fixture("clean/app")).expect("as it is written"))
        .expect("as it is written");
    let expected = serde_json::json!({
        "format": "tidegate.inventory/1",
        "files": 11,
        "sources": 3,
        "infrastructure": ["infra/main.tf"],
        "manifests": ["requirements.txt"],
    });
    assert_eq!(report, expected);
}

#[test]
fn infrastructure_is_known_by_name_or_by_what_is_in_it() {
    let k8s = "# the app\napiVersion: apps/v1\nkind: Deployment\n";
    for (path, text, is_infrastructure) in [
        ("infra/main.tf", "", true),
        ("infra/main.tf.json", "{}", true),
        ("Pulumi.yaml", "name: x\n", true),
        ("docker-compose.yml", "services: {}\n", true),
        ("deploy/app.yaml", k8s, true),
        ("deploy/app.yml", "---\nkind: Service\napiVersion: v1\n", true),
        ("deploy/app.json", r#"{"apiVersion":"v1","kind":"Pod"}"#, true),
        ("stack.yaml", "AWSTemplateFormatVersion: '2010-09-09'\nResources: {}\n", true),
        ("stack.template", r#"{ "AWSTemplateFormatVersion": "2010-09-09" }"#, true),
        ("sam.yaml", "Transform: AWS::Serverless-2016-10-31\n", true),
        ("openapi.yaml", "openapi: 3.0.0\npaths: {}\n", false),
        ("settings.yaml", "spec:\n  apiVersion: v1\n  kind: x\n", false),
        ("data.json", r#"{"kind":"x"}"#, false),
        ("node_modules/x/main.tf", "", false),
        ("README.md", k8s, false),
    ] {
        let app = tempfile::tempdir().expect("as it is written");
        let file = app.path().join(path);
        fs::create_dir_all(file.parent().expect("as it is written")).expect("as it is written");
        fs::write(&file, text).expect("as it is written");
        let named = inventory(app.path()).expect("as it is written").infrastructure;
        let expected: &[&str] = if is_infrastructure { &[path] } else { &[] };
        assert_eq!(named, expected, "{path}: {text}");
    }
}

#[test]
fn files_that_name_dependencies_are_listed_and_no_more_than_a_hundred() {
    let app = tempfile::tempdir().expect("as it is written");
    for name in [
        "requirements-dev.txt",
        "pyproject.toml",
        "package.json",
        "pnpm-lock.yaml",
        "go.mod",
        "pom.xml",
        "notes.txt",
    ] {
        fs::write(app.path().join(name), "").expect("as it is written");
    }
    let expected =
        ["go.mod", "package.json", "pnpm-lock.yaml", "pom.xml", "pyproject.toml", "requirements-dev.txt"];
    assert_eq!(inventory(app.path()).expect("as it is written").manifests, expected);
    for n in 0..150 {
        let folder = app.path().join(format!("crate-{n:03}"));
        fs::create_dir(&folder).expect("as it is written");
        fs::write(folder.join("Cargo.toml"), "").expect("as it is written");
    }
    let manifests = inventory(app.path()).expect("as it is written").manifests;
    assert_eq!((manifests.len(), manifests[0].as_str()), (MAX_NAMED, "crate-000/Cargo.toml"));
}
