//! From what something was built, in the words of several builders.

use rollout_rules::gate::facts::{Claim, Format, ProblemCode};
use rollout_rules::gate::trust::Trust;
use serde_json::{Value, json};

use super::fixtures::{compiled, handed_in, look};
use super::signing::statement;

fn source(parameters: Value, dependencies: Value) -> (Option<String>, Option<String>) {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://builder.example/type",
            "externalParameters": parameters,
            "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": {"id": "https://builder.example"}},
    });
    let bytes = statement("https://slsa.dev/provenance/v1", predicate).to_string();
    let signed =
        look(Format::Dsse, bytes.as_bytes(), &compiled(&Trust::default()), handed_in()).expect("a statement");
    let Claim::Provenance(provenance) = signed.attestation.claim else { panic!("no provenance") };
    (provenance.repository, provenance.commit)
}

fn known(repository: &str, commit: &str) -> (Option<String>, Option<String>) {
    (Some(repository.to_owned()), Some(commit.to_owned()))
}

#[test]
fn the_source_is_found_where_each_builder_writes_it() {
    let git = |uri: &str, commit: &str| json!([{"uri": uri, "digest": {"gitCommit": commit}}]);
    let it = known("https://host.example/o/r", "abc");
    let (at_main, plain) = ("git+https://host.example/o/r@refs/heads/main", "https://host.example/o/r");
    for (parameters, dependencies) in [
        (json!({"workflow": {"repository": plain, "ref": "refs/heads/main"}}), git(at_main, "abc")),
        (json!({"source": {"uri": at_main, "digest": {"sha1": "abc"}}}), json!([])),
        (json!({"buildConfigSource": {"repository": plain}}), git("git+https://host.example/o/r.git", "abc")),
        (json!({"source": plain}), json!([{"uri": plain, "digest": {"sha1": "abc"}}])),
        (json!({}), git(at_main, "abc")),
        (json!({"source": {"uri": "git+https://host.example/o/r.git/"}}), git(at_main, "abc")),
    ] {
        assert_eq!(source(parameters.clone(), dependencies), it, "{parameters}");
    }
    let over_ssh = "git+ssh://git@host.example/o/r@refs/heads/main";
    assert_eq!(source(json!({}), git(over_ssh, "abc")), known("ssh://git@host.example/o/r", "abc"));
}

#[test]
fn a_source_that_is_told_in_two_ways_is_not_known() {
    let it = "https://host.example/o/r";
    let one = |uri: &str, commit: &str| json!({"uri": uri, "digest": {"gitCommit": commit}});
    let named = json!({"workflow": {"repository": it}});
    let other_commit = json!([one(it, "abc"), one(it, "def")]);
    assert_eq!(source(named.clone(), other_commit), (Some(it.to_owned()), None));
    let other_repository = json!([one("https://host.example/x/y", "abc")]);
    assert_eq!(source(named, other_repository), (Some(it.to_owned()), None));
    let both = json!({"workflow": {"repository": it}, "source": "https://host.example/x/y"});
    assert_eq!(source(both, json!([one(it, "abc")])), (None, None));
    let several = json!([one(it, "abc"), one("https://host.example/x/y", "def")]);
    assert_eq!(source(json!({}), several), (None, None));
}

#[test]
fn a_dependency_is_the_source_only_where_it_is_the_only_one() {
    let library = json!({"uri": "git+https://host.example/o/r", "digest": {"gitCommit": "abc"}});
    let built = json!({"uri": "gs://uploads/evil.tgz", "digest": {"sha256": "0".repeat(64)}});
    assert_eq!(source(json!({}), json!([library.clone()])), known("https://host.example/o/r", "abc"));
    for dependencies in [
        json!([built, library]),
        json!([library, built]),
        json!([library, {"digest": {"sha256": "0".repeat(64)}}]),
        json!([library, library]),
        json!([built]),
    ] {
        assert_eq!(source(json!({}), dependencies.clone()), (None, None), "{dependencies}");
    }
}

#[test]
fn every_branch_that_a_provenance_names_is_told_and_what_started_the_build() {
    let read = |external: Value, internal: Value, uri: &str| {
        let predicate = json!({
            "buildDefinition": {
                "buildType": "https://builder.example/type",
                "externalParameters": external,
                "internalParameters": internal,
                "resolvedDependencies": [{"uri": uri, "digest": {"gitCommit": "abc"}}],
            },
            "runDetails": {"builder": {"id": "https://builder.example"}},
        });
        let bytes = statement("https://slsa.dev/provenance/v1", predicate).to_string();
        let signed = look(Format::Dsse, bytes.as_bytes(), &compiled(&Trust::default()), handed_in());
        signed.map(|signed| match signed.attestation.claim {
            Claim::Provenance(provenance) => (provenance.git_refs, provenance.event),
            other => panic!("no provenance: {other:?}"),
        })
    };
    let refs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let plain = "https://host.example/o/r";
    let github = json!({"github": {"event_name": "push"}});
    let generic = json!({"GITHUB_EVENT_NAME": "release"});
    for (external, internal, uri, expected) in [
        (
            json!({"workflow": {"repository": plain, "ref": "refs/tags/v1"}}),
            github.clone(),
            plain,
            (refs(&["refs/tags/v1"]), Some("push")),
        ),
        (
            json!({"source": {"uri": format!("git+{plain}@refs/heads/a")}}),
            generic,
            plain,
            (refs(&["refs/heads/a"]), Some("release")),
        ),
        (
            json!({"buildConfigSource": {"repository": plain, "ref": "refs/heads/b"}}),
            Value::Null,
            plain,
            (refs(&["refs/heads/b"]), None),
        ),
        (json!({}), json!("none"), &format!("git+{plain}@refs/heads/c"), (refs(&["refs/heads/c"]), None)),
        (
            json!({"workflow": {"repository": plain, "ref": "refs/heads/main"}}),
            Value::Null,
            &format!("git+{plain}@refs/heads/try"),
            (refs(&["refs/heads/main", "refs/heads/try"]), None),
        ),
        (json!({"source": plain}), Value::Null, plain, (Vec::new(), None)),
    ] {
        let (names, event) = read(external.clone(), internal, uri).expect("a provenance");
        assert_eq!((names, event.as_deref()), expected, "{external}");
    }
    let two = json!({"github": {"event_name": "push"}, "GITHUB_EVENT_NAME": "pull_request"});
    assert_eq!(read(json!({}), two, plain).expect_err("it is refused").code, ProblemCode::Contradictory);
}
