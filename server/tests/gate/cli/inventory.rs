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
        "declared": [{ "path": "infra/main.tf", "names": [
            "aws_iam_policy.web", "aws_instance.web", "aws_s3_bucket.receipts", "aws_s3_bucket_public_access_block.receipts"] }],
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
        ("docker-compose.yml", "services: {}\n", false),
        ("deploy/app.yaml", k8s, true),
        ("deploy/app.yml", "---\nkind: Service\napiVersion: v1\n", true),
        ("deploy/app.json", r#"{"apiVersion":"v1","kind":"Pod"}"#, true),
        ("stack.yaml", "AWSTemplateFormatVersion: '2010-09-09'\nResources: {}\n", true),
        ("stack.template", r#"{ "AWSTemplateFormatVersion": "2010-09-09" }"#, true),
        ("sam.yaml", "Transform: AWS::Serverless-2016-10-31\n", true),
        ("openapi.yaml", "openapi: 3.0.0\npaths: {}\n", false),
        ("settings.yaml", "spec:\n  apiVersion: v1\n  kind: x\n", false),
        ("data.json", r#"{"kind":"x"}"#, false),
        ("books.json", r#"{"kind":"books#volumes","apiVersion":"v1"}"#, false),
        ("saved.json", r#"{"a":{"kind":"Pod","apiVersion":"v1"}}"#, false),
        ("catalog-info.yaml", "apiVersion: backstage.io/v1alpha1\nkind: Component\n", false),
        ("k8s/list.json", "{\n \"kind\": \"List\",\n \"apiVersion\": \"v1\",\n \"items\": [", true),
        ("chart/templates/app.yaml", "apiVersion: {{ template \"v\" . }}\nkind: Deployment\n", true),
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

#[test]
fn settings_of_tools_are_no_sources_and_a_notebook_is_one() {
    let app = tempfile::tempdir().expect("as it is written");
    for (name, sources) in [
        ("index.html", 0),
        ("vite.config.js", 0),
        ("setup.py", 0),
        ("env.d.mts", 0),
        ("test_app.py", 0),
        ("app.py", 1),
        ("model.ipynb", 2),
    ] {
        fs::write(app.path().join(name), "").expect("as it is written");
        assert_eq!(inventory(app.path()).expect("as it is written").sources, sources, "{name}");
    }
}

#[test]
fn what_terraform_declares_is_told_as_plans_name_it() {
    let app = tempfile::tempdir().expect("as it is written");
    let text = "# resource \"aws_a\" \"off\" {\n/*\nresource \"aws_a\" \"off\" {}\n*/\nresource \"aws_s3_bucket\" \"data\" {\n  module = 1\n}\nmodule \"net\" { source = \"./net\" }\ndata \"aws_x\" \"y\" {}\n";
    let json = r#"{"resource":{"aws_vpc":{"main":{}}},"module":[{"db":{}}],"output":{"x":{}}}"#;
    for (name, text) in [("main.tf", text), ("net.tf.json", json), ("names.tf", "variable \"x\" {}\n")] {
        fs::write(app.path().join(name), text).expect("as it is written");
    }
    let declared = inventory(app.path()).expect("as it is written").declared;
    let told: Vec<(&str, Vec<&str>)> = declared
        .iter()
        .map(|file| (file.path.as_str(), file.names.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        told,
        [
            ("main.tf", vec!["aws_s3_bucket.data", "module.net"]),
            ("net.tf.json", vec!["aws_vpc.main", "module.db"])
        ]
    );
}

#[test]
fn what_git_tracks_is_the_apps_whatever_ignore_files_and_marks_say() {
    let app = tempfile::tempdir().expect("as it is written");
    let write = |path: &str, text: &str| {
        let path = app.path().join(path);
        fs::create_dir_all(path.parent().expect("as it is written")).expect("as it is written");
        fs::write(path, text).expect("as it is written");
    };
    write("main.py", "");
    write("src/app.py", "");
    write("src/pyvenv.cfg", "");
    write("env/lib/other.py", "");
    write("env/pyvenv.cfg", "home = /usr\n");
    let sources = || inventory(app.path()).expect("as it is written").sources;
    assert_eq!(sources(), 2, "an empty mark makes no virtual environment");
    write(".gitignore", "src/\nmade.py\n");
    write("made.py", "");
    assert_eq!(sources(), 1);
    for arguments in [&["init", "--quiet"][..], &["add", "--force", "main.py", "src", "env"]] {
        let done = std::process::Command::new("git").arg("-C").arg(app.path()).args(arguments).output();
        assert!(done.expect("Git is there").status.success(), "{arguments:?}");
    }
    assert_eq!(sources(), 2, "it is tracked");
}
