//! Evidence is found by what is in it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rollout_rules::gate::facts::{Format, MAX_PIECES};
use tidegate::cli::gate::discover::{WhyLeftOut, discover, given};

use super::fixture;

/// Enough of an eye for these tests: the first word that tells.
fn recognise(bytes: &[u8]) -> Option<Format> {
    let text = String::from_utf8_lossy(bytes);
    let known = [
        ("<testsuite", Format::Junit),
        ("\"runs\"", Format::Sarif),
        ("TN:", Format::Lcov),
        ("tidegate.inventory/", Format::Inventory),
        ("MEUC", Format::CosignSignature),
    ];
    known.into_iter().find(|(word, _)| text.contains(word)).map(|(_, format)| format)
}

fn write(folder: &Path, path: &str, bytes: &[u8], age_s: u64) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("as it is written")).expect("as it is written");
    let mut file = File::create(path).expect("as it is written");
    file.write_all(bytes).expect("as it is written");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - age_s))
        .expect("as it is written");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).expect("as it is written");
    packed.finish().expect("as it is written")
}

/// A signature as cosign writes it: base64 of 70 bytes.
const SIGNATURE: &str =
    "MEUCAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

#[test]
fn reports_are_found_wherever_they_lie_and_whatever_they_are_called() {
    let app = tempfile::tempdir().expect("as it is written");
    let at = app.path();
    fs::write(at.join(".gitignore"), "reports/\n").expect("as it is written");
    write(at, "reports/result.txt", b"\xef\xbb\xbf <?xml version='1.0'?>\n<testsuites/>", 1);
    write(at, "reports/node/again.xml", b"<testsuite name='node'/>", 2);
    write(at, "coverage", b"TN:\nSF:src/a.py\n", 3);
    write(at, ".scan/x", &gzip(br#"{"runs":[]}"#), 4);
    // None of these is evidence, or anybody's business.
    write(at, "package.json", br#"{"name":"x"}"#, 1);
    write(at, "page.html", b"<html><testsuite/></html>", 1);
    write(at, "node_modules/x/report.xml", b"<testsuite name='theirs'/>", 1);
    write(at, "target/report.xml", b"<testsuite name='old'/>", 1);
    write(at, "a/b/c/d/e/f/g/h/deep.xml", b"<testsuite name='deep'/>", 1);
    let found = discover(at, None, &recognise).expect("as it is written");
    let taken: Vec<(&str, Format)> =
        found.taken.iter().map(|found| (found.name.as_str(), found.format)).collect();
    let expected = [
        (".scan/x", Format::Sarif),
        ("coverage", Format::Lcov),
        ("reports/node/again.xml", Format::Junit),
        ("reports/result.txt", Format::Junit),
    ];
    assert_eq!(taken, expected);
    assert_eq!(found.left_out, []);
    assert_eq!(found.taken[0].read().expect("as it is written"), gzip(br#"{"runs":[]}"#));
}

#[test]
fn a_list_without_items_is_taken_only_if_it_is_called_after_gitleaks() {
    let app = tempfile::tempdir().expect("as it is written");
    write(app.path(), "data/todos.json", b"[]", 1);
    write(app.path(), "gitleaks/notes.json", b"[ ]", 1);
    let recognise = tidegate::gate::read::recognise;
    assert_eq!(discover(app.path(), None, &recognise).expect("as it is written").taken, []);
    write(app.path(), "out/Gitleaks.json", b"[\n]\n", 1);
    let found = discover(app.path(), None, &recognise).expect("as it is written");
    let names: Vec<&str> = found.taken.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["out/Gitleaks.json"]);
    let named = given(&[app.path().join("data/todos.json")], &recognise).expect("as it is written");
    assert_eq!(named.len(), 1, "what is named is sent, and the gate says what it makes of it");
}

#[test]
fn the_same_content_is_taken_once_and_links_are_not_followed() {
    let outside = tempfile::tempdir().expect("as it is written");
    write(outside.path(), "far.xml", b"<testsuite name='far'/>", 0);
    let app = tempfile::tempdir().expect("as it is written");
    write(app.path(), "new.xml", b"<testsuite/>", 1);
    write(app.path(), "old.xml", b"<testsuite/>", 2);
    write(app.path(), "packed.gz", &gzip(b"<testsuite/>"), 3);
    std::os::unix::fs::symlink(outside.path().join("far.xml"), app.path().join("far.xml"))
        .expect("as it is written");
    let found = discover(app.path(), None, &recognise).expect("as it is written");
    let names: Vec<&str> = found.taken.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["new.xml"]);
}

#[test]
fn the_newest_fifty_are_taken_and_the_rest_is_told() {
    let app = tempfile::tempdir().expect("as it is written");
    for n in 0..60 {
        write(app.path(), &format!("{n:02}.xml"), format!("<testsuite name='{n}'/>").as_bytes(), n);
    }
    let found = discover(app.path(), None, &recognise).expect("as it is written");
    assert_eq!(found.taken.len(), MAX_PIECES);
    assert_eq!(found.taken.last().expect("as it is written").name, "49.xml");
    assert_eq!((found.left_out.len(), found.left_out[0].why), (10, WhyLeftOut::TooMany));
    let told = found.left_out[0].to_string();
    assert!(told.starts_with("50.xml is left out: there are 50 newer reports. Delete old ones"), "{told}");
    let mine = app.path().join("59.xml");
    let with = found.with(given(&[mine], &recognise).expect("as it is written"));
    assert_eq!((with.taken.len(), with.taken[0].name.as_str()), (MAX_PIECES, "59.xml"));
    assert_eq!(with.left_out.last().expect("as it is written").name, "49.xml");
}

#[test]
fn the_artifact_is_never_taken_and_a_signature_only_beside_it() {
    let app = tempfile::tempdir().expect("as it is written");
    // An artifact that looks like a report.
    write(app.path(), "build/app.json", br#"{"runs":[]}"#, 1);
    write(app.path(), "build/app.json.sig", SIGNATURE.as_bytes(), 1);
    write(app.path(), "elsewhere/app.json.sig", SIGNATURE.replace("==", "A=").as_bytes(), 1);
    write(app.path(), "target/app.tar.gz", b"\x1f\x8b\x08rest", 1);
    write(app.path(), "target/app.tar.gz.sig", SIGNATURE.as_bytes(), 1);
    write(app.path(), "target/other.sig", SIGNATURE.as_bytes(), 1);
    for (artifact, expected) in
        [("build/app.json", "build/app.json.sig"), ("target/app.tar.gz", "app.tar.gz.sig")]
    {
        let found =
            discover(app.path(), Some(&app.path().join(artifact)), &recognise).expect("as it is written");
        let mut names: Vec<&str> = found.taken.iter().map(|found| found.name.as_str()).collect();
        names.retain(|name| *name != "build/app.json" || artifact == "build/app.json");
        assert_eq!(names, [expected]);
    }
}

#[test]
fn what_the_gate_wrote_itself_what_is_too_large_and_what_is_broken_is_left_out() {
    let app = tempfile::tempdir().expect("as it is written");
    write(
        app.path(),
        "a.sarif",
        br#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"tidegate gate"}}}]}"#,
        1,
    );
    write(app.path(), "b.json", br#"{"format":"tidegate.inventory/1"}"#, 2);
    let mut large = b"<testsuite/>".to_vec();
    large.resize(10 * 1024 * 1024 + 1, b' ');
    write(app.path(), "c.xml", &large, 3);
    write(app.path(), "d.gz", &gzip(&large), 4);
    let mut cut = gzip(b"<testsuite name='a long enough one'/>");
    cut.truncate(cut.len() - 6);
    write(app.path(), "e.gz", &cut, 5);
    let found = discover(app.path(), None, &recognise).expect("as it is written");
    let left: Vec<(&str, WhyLeftOut)> =
        found.left_out.iter().map(|left| (left.name.as_str(), left.why)).collect();
    let expected = [
        ("a.sarif", WhyLeftOut::OwnOutput),
        ("b.json", WhyLeftOut::OwnOutput),
        ("c.xml", WhyLeftOut::TooLarge),
        ("d.gz", WhyLeftOut::TooLarge),
        ("e.gz", WhyLeftOut::Unreadable),
    ];
    assert_eq!((found.taken.len(), left.as_slice()), (0, expected.as_slice()));
}

#[test]
fn what_is_given_by_hand_has_to_be_something_that_is_known() {
    let app = tempfile::tempdir().expect("as it is written");
    write(app.path(), "a.xml", b"<testsuite/>", 1);
    write(app.path(), "b.txt", b"all is well", 1);
    let one =
        given(&[app.path().join("a.xml"), app.path().join("a.xml")], &recognise).expect("as it is written");
    assert_eq!((one.len(), one[0].name.as_str()), (1, "a.xml"));
    for (name, told) in [("b.txt", "is no report that the gate knows"), ("c.xml", "cannot be read")] {
        let refused = given(&[app.path().join(name)], &recognise).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn the_evidence_of_the_clean_build_is_found_whatever_it_is() {
    let artifact = fixture("clean/artifact/discount-1.0.0.tar.gz");
    let found = discover(&fixture("clean"), Some(&artifact), &tidegate::gate::read::recognise)
        .expect("as it is written");
    let mut count = std::collections::BTreeMap::new();
    for found in &found.taken {
        *count.entry(found.format).or_insert(0) += 1;
    }
    for (format, least) in [
        (Format::Junit, 2),
        (Format::Cobertura, 1),
        (Format::Lcov, 1),
        (Format::Sarif, 3),
        (Format::DetectSecrets, 1),
        (Format::Gitleaks, 1),
        (Format::Checkov, 1),
        (Format::TerraformPlan, 1),
        (Format::Cyclonedx, 7),
        (Format::Spdx, 2),
        (Format::Grype, 1),
        (Format::Trivy, 1),
        (Format::Osv, 1),
        (Format::CosignSignature, 1),
        (Format::SigstoreBundle, 2),
        (Format::Dsse, 5),
    ] {
        assert!(count.get(&format).is_some_and(|count| *count >= least), "{format:?}: {count:?}");
    }
    assert!(found.taken.iter().all(|found| !found.name.ends_with(".tar.gz")), "the artifact is no evidence");
    assert_eq!(found.left_out, []);
}
