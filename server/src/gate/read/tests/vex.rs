//! What somebody says of vulnerabilities, in OpenVEX and in CycloneDX.

use rollout_rules::gate::facts::ExploitabilityStatus::{Affected, Fixed, NotAffected, UnderInvestigation};
use rollout_rules::gate::facts::{MAX_FINDINGS, ProblemCode};
use serde_json::{Value, json};

use super::{CYCLONEDX, OPENVEX, facts_of, refused};

fn openvex(statement: Value) -> Value {
    json!({"@context": "https://openvex.dev/ns/v0.2.0", "statements": [statement]})
}

#[test]
fn every_status_of_openvex_is_known_and_no_other() {
    let said = [
        ("not_affected", NotAffected),
        ("affected", Affected),
        ("fixed", Fixed),
        ("under_investigation", UnderInvestigation),
    ];
    for (status, expected) in said {
        // `affected` comes without the action that the format asks for as well.
        let document =
            openvex(json!({"vulnerability": "CVE-2020-1", "products": ["pkg:pypi/a@1"], "status": status}));
        let said = facts_of(OPENVEX, &document).exploitability.remove(0);
        assert_eq!((said.status, said.vulnerability.as_str()), (expected, "CVE-2020-1"));
        assert_eq!(said.products, ["pkg:pypi/a@1"]);
        assert_eq!((said.justification, said.signer), (None, None));
    }
    let (code, detail) = refused(OPENVEX, &openvex(json!({"vulnerability": "CVE-2020-1", "status": "fine"})));
    assert_eq!(code, ProblemCode::Malformed);
    assert!(detail.contains("not_affected"), "{detail}");
}

#[test]
fn a_statement_on_everything_covers_nothing() {
    let products = |products: Value| {
        let statement =
            json!({"vulnerability": {"name": "CVE-2020-1"}, "products": products, "status": "not_affected"});
        facts_of(OPENVEX, &openvex(statement)).exploitability.remove(0).products
    };
    assert!(products(json!(null)).is_empty());
    assert!(products(json!([])).is_empty());
    assert!(products(json!([{"@id": "*"}, {"@id": ""}, {}, {"@id": "pkg:pypi/*"}])).is_empty());
    assert_eq!(products(json!([{"@id": "*"}, {"@id": "pkg:pypi/a"}])), ["pkg:pypi/a"]);
}

#[test]
fn a_product_is_named_by_its_package_url_and_its_parts_before_itself() {
    let product = json!({
        "@id": "https://example.com/discount",
        "identifiers": {"purl": "pkg:oci/discount"},
        "subcomponents": [{"@id": "pkg:pypi/a@1"}, {"@id": "x", "identifiers": {"purl": "pkg:pypi/b@1"}}],
    });
    let products = |product: &Value| {
        let statement =
            json!({"vulnerability": {"name": "CVE-2020-1"}, "products": [product], "status": "fixed"});
        facts_of(OPENVEX, &openvex(statement)).exploitability.remove(0).products
    };
    assert_eq!(products(&product), ["pkg:pypi/a@1", "pkg:pypi/b@1"]);
    let mut whole = product;
    whole["subcomponents"] = json!([]);
    assert_eq!(products(&whole), ["pkg:oci/discount"]);
}

#[test]
fn a_vulnerability_is_named_as_scanners_name_it() {
    let name = |vulnerability: Value| {
        facts_of(OPENVEX, &openvex(json!({"vulnerability": vulnerability, "status": "fixed"})))
            .exploitability
            .remove(0)
            .vulnerability
    };
    assert_eq!(name(json!({"name": "GHSA-1", "aliases": ["CVE-2020-1"]})), "CVE-2020-1");
    assert_eq!(name(json!({"@id": "https://nvd.nist.gov/vuln/detail/CVE-2020-1"})), "CVE-2020-1");
    assert_eq!(
        refused(OPENVEX, &openvex(json!({"vulnerability": {}, "status": "fixed"}))).0,
        ProblemCode::Malformed
    );
}

#[test]
fn other_versions_of_openvex_are_refused() {
    for context in
        ["https://openvex.dev/ns", "https://openvex.dev/ns/v0.1.0", "https://openvex.dev/ns/v0.3.0"]
    {
        let (code, detail) = refused(OPENVEX, &json!({"@context": context, "statements": []}));
        assert_eq!(code, ProblemCode::UnsupportedVersion);
        assert!(detail.contains("0.2.0"), "{detail}");
    }
    assert_eq!(
        refused(OPENVEX, &json!({"@context": "https://example.com", "statements": []})).0,
        ProblemCode::Malformed
    );
    assert_eq!(
        refused(OPENVEX, &json!({"@context": "https://openvex.dev/ns/v0.2.0"})).0,
        ProblemCode::Malformed
    );
}

fn cyclonedx(components: Value, analysis: Value) -> Value {
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "components": components,
        "metadata": {"tools": [{"vendor": "a", "name": "Scanner", "version": "2"}]},
        "vulnerabilities": [{
            "id": "CVE-2020-1", "ratings": [{"severity": "low"}, {"score": 8.1}], "analysis": analysis,
            "affects": [{"ref": "a@1"}, {"ref": "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg:pypi/b@1"}, {"ref": "*"}],
        }],
    })
}

#[test]
fn more_statements_than_are_kept_are_refused() {
    let statement = json!({"vulnerability": "CVE-2020-1", "status": "fixed"});
    let mut document = openvex(json!({}));
    document["statements"] = json!(vec![statement; MAX_FINDINGS + 1]);
    assert_eq!(refused(OPENVEX, &document).0, ProblemCode::TooLarge);
}

#[test]
fn every_state_of_cyclonedx_is_known() {
    let states = [
        ("not_affected", NotAffected),
        ("false_positive", NotAffected),
        ("exploitable", Affected),
        ("resolved", Fixed),
        ("resolved_with_pedigree", Fixed),
        ("in_triage", UnderInvestigation),
    ];
    for (state, expected) in states {
        let facts = facts_of(CYCLONEDX, &cyclonedx(json!([]), json!({"state": state})));
        assert_eq!(
            (facts.exploitability[0].status, &facts.exploitability[0].justification),
            (expected, &None),
            "{state}"
        );
        assert!(facts.sboms.is_empty() && facts.scans.is_empty(), "a VEX is neither");
        assert_eq!(facts.exploitability[0].products, ["a@1", "pkg:pypi/b@1"]);
    }
}

#[test]
fn what_is_said_of_a_vulnerability_does_not_hide_it() {
    let components = json!([{"bom-ref": "a@1", "name": "a", "version": "1", "purl": "pkg:pypi/a@1"}]);
    let analysis = json!({"state": "not_affected", "justification": "code_not_present"});
    let facts = facts_of(CYCLONEDX, &cyclonedx(components.clone(), analysis));
    assert_eq!(facts.exploitability[0].products, ["pkg:pypi/a@1", "pkg:pypi/b@1"], "references are resolved");
    assert_eq!(facts.exploitability[0].justification.as_deref(), Some("code_not_present"));
    let scan = &facts.scans[0];
    assert_eq!((scan.total, scan.tool.name.as_str()), (3, "scanner"));
    assert!(scan.findings.iter().any(|finding| finding.subject.as_deref() == Some("pkg:pypi/a@1")));
    assert_eq!(
        scan.findings[0].severity,
        rollout_rules::gate::facts::Severity::High,
        "the worst of the ratings"
    );
    assert_eq!(facts.sboms[0].total, 1);
    // A state that is not known says nothing.
    let facts = facts_of(CYCLONEDX, &cyclonedx(components, json!({"state": "whatever"})));
    assert!(facts.exploitability.is_empty() && facts.scans[0].total == 3);
}
