//! The digest of an artifact.

use std::fs;

use tidegate::cli::gate::artifact::digest_of;

const OF_ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_digest_passes_through_and_a_file_gets_its_own() {
    assert_eq!(digest_of(OF_ABC).expect("as it is written").to_string(), OF_ABC);
    let folder = tempfile::tempdir().expect("as it is written");
    let file = folder.path().join("app.tar.gz");
    fs::write(&file, "abc").expect("as it is written");
    assert_eq!(
        digest_of(file.to_str().expect("as it is written")).expect("as it is written").to_string(),
        OF_ABC
    );
    fs::write(&file, "a".repeat(1_000_000)).expect("as it is written");
    let of_a_million = "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    assert_eq!(
        digest_of(file.to_str().expect("as it is written")).expect("as it is written").to_string(),
        of_a_million
    );
}

#[test]
fn what_is_no_artifact_is_refused_in_words() {
    let folder = tempfile::tempdir().expect("as it is written");
    let path = folder.path().to_str().expect("as it is written");
    for (given, told) in [
        ("sha256:abc", "not a valid artifact digest"),
        (path, "is not a file; pack what you deploy into one"),
        ("dist/missing.tar.gz", "the artifact dist/missing.tar.gz cannot be read; build it first"),
    ] {
        let refused = digest_of(given).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}
