//! Reports that were changed by chance or malice: they are read or refused, within all bounds.

use proptest::prelude::*;
use rollout_rules::gate::facts::{Facts, MAX_COMPONENTS, MAX_FACT_BYTES, MAX_FINDINGS, ProblemCode};
use rollout_rules::ids::Digest;
use serde_json::Value;

use super::super::vulnerability::severity_of_vector;
use super::{CYCLONEDX, GRYPE, OPENVEX, OSV, Read, SPDX, TRIVY, fixture};

const REPORTS: [(Read, &str); 11] = [
    (CYCLONEDX, "faulty/evidence/sbom.cdx1.6.vuln.json"),
    (CYCLONEDX, "clean/evidence/sbom.npm.cdx1.6.json"),
    (CYCLONEDX, "clean/evidence/sbom.cargo.cdx1.5.json"),
    (CYCLONEDX, "faulty/evidence/vex.not_affected.cdx1.6.json"),
    (SPDX, "clean/evidence/sbom.spdx3.0.json"),
    (SPDX, "faulty/evidence/sbom.spdx2.3.json"),
    (GRYPE, "faulty/evidence/grype.json"),
    (TRIVY, "faulty/evidence/trivy.json"),
    (OSV, "faulty/evidence/osv.json"),
    (OPENVEX, "faulty/evidence/vex.not_affected.openvex.json"),
    (OPENVEX, "faulty/hostile/json.duplicate-keys.json"),
];

/// What a value of a report is replaced by.
const ODD: [&str; 12] = [
    "null",
    "true",
    "-1",
    "1e999",
    "\"\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "\"CVSS:3.1/AV:N\"",
    "\"*\"",
    "\"pkg:/@?#\"",
];

fn is_within_bounds(facts: &Facts) -> bool {
    let short = |text: &String| text.len() <= MAX_FACT_BYTES && !text.chars().any(char::is_control);
    let scans = facts.scans.iter().all(|scan| {
        scan.findings.len() <= MAX_FINDINGS
            && scan.total >= scan.findings.len() as u64
            && scan.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity))
            && scan.findings.iter().all(|finding| {
                let texts = [&finding.file, &finding.subject, &finding.fix].into_iter().flatten();
                texts.chain([&finding.rule, &finding.title]).chain(&finding.aliases).all(short)
                    && finding.aliases.len() <= 10
            })
    });
    let sboms = facts.sboms.iter().all(|sbom| {
        sbom.components.len() <= MAX_COMPONENTS
            && sbom.components.iter().all(|component| short(&component.name) && short(&component.licences))
    });
    scans && sboms && facts.exploitability.iter().all(|said| said.products.iter().all(short))
}

/// Puts a value in the place of another, which is counted to from the root. Whether it came so far.
fn replaced(tree: &mut Value, at: &mut usize, odd: &Value) -> bool {
    if *at == 0 {
        *tree = odd.clone();
        return true;
    }
    *at -= 1;
    match tree {
        Value::Array(list) => list.iter_mut().any(|value| replaced(value, at, odd)),
        Value::Object(object) => object.values_mut().any(|value| replaced(value, at, odd)),
        _ => false,
    }
}

#[test]
fn a_key_that_is_given_twice_is_refused_wherever_something_hangs_on_it() {
    let paths = [
        (CYCLONEDX, "faulty/evidence/sbom.cdx1.6.vuln.json"),
        (SPDX, "faulty/evidence/sbom.spdx2.3.json"),
        (GRYPE, "faulty/evidence/grype.json"),
        (TRIVY, "faulty/evidence/trivy.json"),
        (OSV, "faulty/evidence/osv.json"),
        (OPENVEX, "faulty/evidence/vex.not_affected.openvex.json"),
    ];
    let rows: [(Read, &str, &str); 11] = [
        (CYCLONEDX, r#""components""#, r#""components": [], "components""#),
        (CYCLONEDX, r#""tools": {"#, r#""tools": {"components": [], "#),
        (CYCLONEDX, r#""expression""#, r#""expression": "MIT", "expression""#),
        (SPDX, r#""licenseDeclared""#, r#""licenseDeclared": "MIT", "licenseDeclared""#),
        (SPDX, r#""spdxVersion""#, r#""spdxVersion": "SPDX-2.3", "spdxVersion""#),
        (GRYPE, r#""matches""#, r#""matches": [], "matches""#),
        (GRYPE, r#""severity""#, r#""severity": "Low", "severity""#),
        (TRIVY, r#""Vulnerabilities""#, r#""Vulnerabilities": [], "Vulnerabilities""#),
        (OSV, r#""results""#, r#""results": [], "results""#),
        (OPENVEX, r#""status""#, r#""status": "affected", "status""#),
        (OPENVEX, r#""name""#, r#""name": "CVE-1", "name""#),
    ];
    for (read, once, twice) in rows {
        let (_, path) =
            paths.iter().find(|(of, _)| std::ptr::fn_addr_eq(*of as Read, read)).expect("as it is written");
        let text = String::from_utf8(fixture(path)).expect("as it is written");
        assert!(text.contains(once), "{once} is in {path}");
        let code =
            read(Digest::default(), text.replace(once, twice).as_bytes()).map_err(|problem| problem.code);
        assert_eq!(code, Err(ProblemCode::Hostile), "{twice}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_report_with_a_changed_byte_is_read_or_refused(
        (read, path) in prop::sample::select(REPORTS.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = fixture(path);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let read = read(Digest::default(), &bytes);
        prop_assert!(read.is_err() || read.is_ok_and(|facts| is_within_bounds(&facts)));
    }

    #[test]
    fn a_report_with_an_odd_value_is_read_or_refused(
        (read, path) in prop::sample::select(REPORTS[..10].to_vec()),
        at in 0_usize..400,
        odd in prop::sample::select(ODD.to_vec()),
    ) {
        let mut report: Value = serde_json::from_slice(&fixture(path)).expect("as it is written");
        replaced(&mut report, &mut { at }, &serde_json::from_str(odd).unwrap_or(Value::Null));
        let read = read(Digest::default(), report.to_string().as_bytes());
        prop_assert!(read.is_err() || read.is_ok_and(|facts| is_within_bounds(&facts)));
    }

    #[test]
    fn no_vector_is_too_odd(metrics in prop::collection::vec(
        prop::sample::select(vec!["CVSS:3.1", "CVSS:4.0", "CVSS:2.0", "AV:N", "AC:L", "AT:N", "PR:N", "UI:N", "S:U", "C:H", "I:H", "A:H", "VC:H", "Au:N", "E:X", ":", "", "RL:OF"]),
        0..16,
    )) {
        severity_of_vector(&metrics.join("/"));
    }

    #[test]
    fn no_text_is_a_vector_that_panics(text in ".{0,60}") {
        severity_of_vector(&text);
    }
}
