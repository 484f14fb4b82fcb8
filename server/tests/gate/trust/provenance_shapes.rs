//! From what something was built, in the words of several builders.

use rollout_rules::gate::facts::{Claim, Format};
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
