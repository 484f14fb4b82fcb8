//! Shapes of SBOMs that no fixture has.

use rollout_rules::gate::facts::{Licence, MAX_COMPONENTS, ProblemCode, Proof};
use serde_json::{Value, json};

use super::{CYCLONEDX, SPDX, facts_of, refused};

const HEX: &str = "3bd1574e617a9a6c1f8f8181bd7e841e1f20e4277607ef28945765188d6284d4";

fn bom(more: Value) -> Value {
    let mut bom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6"});
    bom.as_object_mut()
        .expect("as it is written")
        .extend(more.as_object().expect("as it is written").clone());
    bom
}

#[test]
fn other_versions_of_cyclonedx_are_refused_with_a_reason() {
    for (version, why) in
        [("1.3", "too old"), ("2.0", "new layout"), ("1.8", "not known"), ("one", "not known")]
    {
        let (code, detail) = refused(CYCLONEDX, &json!({"bomFormat": "CycloneDX", "specVersion": version}));
        assert_eq!(code, ProblemCode::UnsupportedVersion, "{version}");
        assert!(detail.contains(why) && detail.contains("1.6"), "{detail}");
    }
    // What 2.0 holds is laid out in another way, and that is not what is wrong with it.
    let other_layout = json!({"specFormat": "CycloneDX", "specVersion": "2.0", "components": {"a": 1}});
    assert_eq!(refused(CYCLONEDX, &other_layout).0, ProblemCode::UnsupportedVersion);
    assert_eq!(refused(CYCLONEDX, &json!({"specVersion": "1.6"})).0, ProblemCode::Malformed);
    assert_eq!(refused(CYCLONEDX, &json!({"bomFormat": "CycloneDX"})).0, ProblemCode::Malformed);
}

#[test]
fn components_in_components_count_and_files_and_services_do_not() {
    let facts = facts_of(
        CYCLONEDX,
        &bom(json!({
            "components": [
                {"type": "library", "group": "@angular", "name": "core", "components": [{"type": "library", "name": "inner"}]},
                {"type": "file", "name": "README.md", "components": [{"type": "library", "name": "bundled"}]},
            ],
            "services": [{"name": "payments"}],
        })),
    );
    let names: Vec<_> = facts.sboms[0].components.iter().map(|component| component.name.as_str()).collect();
    assert_eq!(names, ["@angular/core", "inner", "bundled"]);
    assert_eq!(facts.sboms[0].total, 3);
}

#[test]
fn the_digests_of_what_a_cyclonedx_document_is_about_are_its_subjects() {
    let subjects = |component: Value| {
        facts_of(CYCLONEDX, &bom(json!({"metadata": {"component": component}}))).sboms[0].subjects.clone()
    };
    let expected = [format!("sha256:{HEX}").parse().expect("as it is written")];
    assert_eq!(
        subjects(
            json!({"hashes": [{"alg": "SHA-1", "content": "00"}, {"alg": "SHA-256", "content": HEX.to_uppercase()}]})
        ),
        expected
    );
    assert_eq!(subjects(json!({"purl": format!("pkg:generic/a@1?checksum=sha1:00,sha256:{HEX}")})), expected);
    assert_eq!(
        subjects(json!({"purl": format!("pkg:generic/a@1?os=linux&checksum=sha256%3A{HEX}#path")})),
        expected
    );
    assert_eq!(subjects(json!({"purl": format!("pkg:oci/discount@sha256%3A{HEX}?tag=1")})), expected);
    assert_eq!(
        subjects(json!({"type": "container", "name": "discount", "version": format!("sha256:{HEX}")})),
        expected
    );
    assert_eq!(subjects(json!({"purl": "pkg:npm/%40a/b@1.0.0", "version": "1.0.0"})), []);
    // A component's digest says nothing of the artifact.
    let component = json!({"components": [{"name": "a", "hashes": [{"alg": "SHA-256", "content": HEX}]}]});
    assert_eq!(facts_of(CYCLONEDX, &bom(component)).sboms[0].subjects, []);
}

#[test]
fn all_licences_of_a_component_hold() {
    let licence = |licenses: Value| {
        let facts = facts_of(CYCLONEDX, &bom(json!({"components": [{"name": "a", "licenses": licenses}]})));
        let component = facts.sboms[0].components[0].clone();
        (component.licence, component.licences)
    };
    let both = json!([{"license": {"id": "MIT"}}, {"license": {"name": "GPLv3"}}]);
    assert_eq!(licence(both), (Licence::StrongCopyleft, "MIT AND GPLv3".to_owned()));
    let choice = json!([{"expression": "MIT OR GPL-2.0-only"}]);
    assert_eq!(licence(choice), (Licence::Permissive, "MIT OR GPL-2.0-only".to_owned()));
    let sum = json!([{"expression": "MIT OR GPL-2.0-only"}, {"license": {"id": "MPL-2.0"}}]);
    assert_eq!(licence(sum), (Licence::WeakCopyleft, "(MIT OR GPL-2.0-only) AND MPL-2.0".to_owned()));
    assert_eq!(licence(json!([])), (Licence::Unknown, String::new()));
    assert_eq!(licence(json!([{"license": {"url": "https://example.com"}}])).0, Licence::Unknown);
}

#[test]
fn of_more_components_than_are_kept_the_strictest_licences_stay() {
    let mut components = vec![json!({"name": "a", "licenses": [{"license": {"id": "MIT"}}]}); MAX_COMPONENTS];
    components.push(json!({"name": "last", "licenses": [{"license": {"id": "GPL-3.0-only"}}]}));
    let sbom = facts_of(CYCLONEDX, &bom(json!({"components": components}))).sboms.remove(0);
    assert_eq!((sbom.total, sbom.components.len()), (MAX_COMPONENTS as u64 + 1, MAX_COMPONENTS));
    assert_eq!(sbom.components[0].name, "last");
}

#[test]
fn more_entries_than_can_be_judged_are_refused() {
    let components = vec![json!({}); super::super::lists::MAX_LISTED + 1];
    let (code, detail) = refused(CYCLONEDX, &bom(json!({"components": components})));
    assert_eq!(code, ProblemCode::TooLarge);
    assert!(detail.contains("more in it than is taken"), "{detail}");
}

#[test]
fn vulnerabilities_without_components_prove_nothing() {
    let facts = facts_of(
        CYCLONEDX,
        &bom(json!({"vulnerabilities": [{"id": "CVE-2020-14343", "ratings": [{"score": 9.8}]}]})),
    );
    assert!(matches!(facts.scans[0].proof, Proof::Missing(_)));
    assert_eq!((facts.scans[0].total, facts.sboms[0].total), (1, 0));
}

#[test]
fn a_bom_with_an_empty_list_of_vulnerabilities_is_no_scan() {
    let facts = facts_of(CYCLONEDX, &bom(json!({"components": [{"name": "a"}], "vulnerabilities": []})));
    assert!(facts.scans.is_empty());
}

fn spdx(more: Value) -> Value {
    let mut document = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"});
    document
        .as_object_mut()
        .expect("as it is written")
        .extend(more.as_object().expect("as it is written").clone());
    document
}

#[test]
fn a_document_describes_what_it_is_about() {
    let app = json!({
        "SPDXID": "SPDXRef-app", "name": "app", "licenseConcluded": "GPL-3.0-only",
        "checksums": [{"algorithm": "SHA256", "checksumValue": HEX}],
    });
    let library = json!({
        "SPDXID": "SPDXRef-lib", "name": "lib", "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT",
        "checksums": [{"algorithm": "SHA256", "checksumValue": HEX.replace('3', "4")}],
        "externalRefs": [
            {"referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:b"},
            {"referenceType": "purl", "referenceLocator": "pkg:pypi/lib@1"},
        ],
    });
    let related = json!([{"spdxElementId": "SPDXRef-DOCUMENT", "relatedSpdxElement": "SPDXRef-app", "relationshipType": "DESCRIBES"}]);
    let packages = json!([app, library]);
    for described in [json!({"relationships": related}), json!({"documentDescribes": ["SPDXRef-app"]})] {
        let mut document = spdx(described);
        document["packages"] = packages.clone();
        let sbom = facts_of(SPDX, &document).sboms.remove(0);
        assert_eq!(sbom.subjects, [format!("sha256:{HEX}").parse().expect("as it is written")]);
        assert_eq!(sbom.total, 1, "the app is none of its own parts");
        assert_eq!(sbom.components[0].purl.as_deref(), Some("pkg:pypi/lib@1"));
        assert_eq!(sbom.components[0].licence, Licence::Permissive);
    }
    let several = spdx(json!({"packages": packages, "documentDescribes": ["SPDXRef-app", "SPDXRef-lib"]}));
    let sbom = facts_of(SPDX, &several).sboms.remove(0);
    assert_eq!((sbom.total, sbom.subjects.len()), (2, 2), "of several, none is hidden");
}

#[test]
fn a_licence_that_an_spdx_document_defines_is_known_by_its_text() {
    let document = spdx(json!({
        "packages": [{"SPDXID": "SPDXRef-a", "name": "a", "licenseConcluded": "LicenseRef-1"}],
        "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-1", "extractedText": "GNU General Public License v3"}],
    }));
    assert_eq!(facts_of(SPDX, &document).sboms[0].components[0].licence, Licence::StrongCopyleft);
    let none = spdx(
        json!({"packages": [{"SPDXID": "SPDXRef-a", "name": "a", "licenseConcluded": "NONE", "licenseDeclared": "MIT"}]}),
    );
    assert_eq!(
        facts_of(SPDX, &none).sboms[0].components[0].licence,
        Licence::Unknown,
        "somebody looked, and there is none"
    );
}

#[test]
fn versions_of_spdx_are_taken_or_refused_by_name() {
    for (version, format) in [("SPDX-2.2", "SPDX 2.2"), ("SPDX-2.3", "SPDX 2.3")] {
        assert_eq!(facts_of(SPDX, &json!({"spdxVersion": version})).sboms[0].format, format);
    }
    for version in ["SPDX-2.1", "SPDX-2.4"] {
        let (code, detail) = refused(SPDX, &json!({"spdxVersion": version}));
        assert_eq!(code, ProblemCode::UnsupportedVersion);
        assert!(detail.contains(version) && detail.contains("2.3"), "{detail}");
    }
    let later = json!({"@context": "https://spdx.org/rdf/3.1/spdx-context.jsonld", "@graph": []});
    assert_eq!(refused(SPDX, &later).0, ProblemCode::UnsupportedVersion);
    assert_eq!(refused(SPDX, &json!({"@graph": []})).0, ProblemCode::Malformed);
}

#[test]
fn licences_and_hashes_of_spdx_3_are_related() {
    let document = json!({
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            {"type": "software_Sbom", "spdxId": "urn:sbom", "rootElement": ["urn:app"]},
            {"type": "software_Package", "spdxId": "urn:app", "name": "app",
             "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": HEX}, "urn:elsewhere"]},
            {"type": "software_Package", "spdxId": "urn:a", "name": "a",
             "externalIdentifier": [{"externalIdentifierType": "packageUrl", "identifier": "pkg:pypi/a@1"}]},
            {"type": "software_Package", "spdxId": "urn:b", "name": "b"},
            {"type": "software_Package", "spdxId": "urn:c", "name": "c"},
            {"type": "simplelicensing_LicenseExpression", "spdxId": "urn:gpl", "simplelicensing_licenseExpression": "GPL-3.0-only"},
            {"type": "Relationship", "from": "urn:a", "to": ["urn:gpl"], "relationshipType": "hasDeclaredLicense"},
            {"type": "Relationship", "from": "urn:a", "relationshipType": "hasConcludedLicense",
             "to": ["https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"]},
            {"type": "Relationship", "from": "urn:b", "to": "https://spdx.org/licenses/MIT", "relationshipType": "hasConcludedLicense"},
            {"type": "Relationship", "from": "urn:c", "to": ["urn:nowhere"], "relationshipType": "hasConcludedLicense"},
        ],
    });
    let sbom = facts_of(SPDX, &document).sboms.remove(0);
    assert_eq!(sbom.format, "SPDX 3.0.1");
    assert_eq!(sbom.subjects, [format!("sha256:{HEX}").parse().expect("as it is written")]);
    let licences: Vec<_> = sbom.components.iter().map(|part| (part.name.as_str(), part.licence)).collect();
    assert_eq!(
        licences,
        [("a", Licence::StrongCopyleft), ("b", Licence::Permissive), ("c", Licence::Unknown)]
    );
    assert_eq!(sbom.components[0].purl.as_deref(), Some("pkg:pypi/a@1"));
}
