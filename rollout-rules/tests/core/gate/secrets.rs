//! What is judged of secrets: how many scanners looked, what they found, and what security signed to be none.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::Secrets;
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::decision::{Excuse, Verdict};
use rollout_rules::gate::facts::{Claim, Finding, Proof, ScanKind, Severity, Untrusted};
use rollout_rules::gate::policy::Level::{Deny, Note, Off};

use super::build::{Build, TIERS, attests, digest, finding, found, scan, signer, without};

fn secrets(scans: &[(&str, bool)]) -> Build {
    Build::with(Tier::Two, |facts| {
        without(facts, ScanKind::Secrets);
        for (tool, proven) in scans {
            let mut scan = scan(ScanKind::Secrets, tool);
            if !proven {
                scan.proof = Proof::Missing("a filter hides lines".into());
            }
            facts.scans.push(scan);
        }
    })
}

#[test]
fn two_scanners_for_secrets_are_two_tools_that_both_looked() {
    assert_eq!(secrets(&[("gitleaks", true), ("detect-secrets", true)]).ends(Secrets), (Passed, Off));
    assert_eq!(secrets(&[("gitleaks", true)]).ends(Secrets), (NoProof, Deny));
    assert_eq!(
        secrets(&[("gitleaks", true), ("gitleaks", true)]).ends(Secrets),
        (NoProof, Deny),
        "one tool twice"
    );
    assert_eq!(secrets(&[("gitleaks", true), ("detect-secrets", false)]).ends(Secrets), (NoProof, Deny));
    let told = secrets(&[("gitleaks", true), ("detect-secrets", false)]).check(Secrets);
    assert!(told.found.contains("a filter hides lines"), "{}", told.found);
}

#[test]
fn a_secret_counts_even_if_it_is_not_listed_or_its_scan_proves_nothing() {
    let mut build = secrets(&[("gitleaks", false), ("detect-secrets", true)]);
    build.facts.scans.last_mut().expect("a scan").total = 1;
    assert_eq!(build.ends(Secrets), (Failed, Deny), "counted and not listed");
    let mut build = secrets(&[("gitleaks", true), ("detect-secrets", true)]);
    build.facts.scans.last_mut().expect("a scan").findings.push(finding("aws", Severity::Low));
    assert_eq!(build.ends(Secrets), (Failed, Deny), "listed and not counted");
    let mut build = secrets(&[("gitleaks", true), ("detect-secrets", true)]);
    for scan in &mut build.facts.scans {
        scan.total = u64::MAX;
    }
    assert_eq!(build.ends(Secrets), (Failed, Deny), "a report that counts to the end of numbers");
}

/// A build in which the scanner found these words, which the report itself marks as harmless.
fn disputed(tier: Tier, words: &[&str]) -> Build {
    Build::with(tier, |facts| {
        for word in words {
            let marked = Finding { disputed: true, ..finding(word, Severity::Critical) };
            found(facts, ScanKind::Secrets, marked);
        }
    })
}

fn audit(app: &str, words: &[&str]) -> Claim {
    Claim::SecretAudit { app: app.into(), harmless: words.iter().map(|word| digest(word)).collect() }
}

#[test]
fn a_mark_in_the_report_itself_takes_nothing_away() {
    for tier in TIERS {
        let build = disputed(tier, &["word", "other"]);
        assert_eq!(build.ends(Secrets), (Failed, Deny), "{tier:?}");
        let check = build.check(Secrets);
        assert_eq!(check.total, 2);
        assert!(
            check.found.starts_with("2 secrets in the code; 2 are marked as harmless"),
            "{}",
            check.found
        );
        assert!(check.found.contains("counts once security signed it"), "{}", check.found);
        assert!(check.findings.iter().all(|judged| judged.level == Deny && judged.excused.is_none()));
    }
}

#[test]
fn what_security_signed_to_be_none_is_told_and_denies_nothing() {
    let mut build = disputed(Tier::Two, &["word", "other"]);
    build.facts.attestations.push(attests(audit("shop", &["word", "other", "gone"])));
    assert_eq!(build.ends(Secrets), (Passed, Note));
    let check = build.check(Secrets);
    assert_eq!(check.total, 2, "an approver sees how many were set aside");
    assert!(
        check.found.ends_with("2 words that look like one are none, as security signed"),
        "{}",
        check.found
    );
    let excuse = Some(Excuse::Signed("ci".into()));
    assert!(check.findings.iter().all(|judged| judged.level == Note && judged.excused == excuse));
    assert!(build.judge().signers.contains(&signer()), "the decision names whose word it stands on");
    assert_eq!(build.verdict(), Verdict::Pass);

    build.facts.attestations.last_mut().expect("the audit").subjects.clear();
    assert_eq!(
        build.ends(Secrets),
        (Passed, Note),
        "it is about the code of the app, not about one artifact"
    );
}

#[test]
fn an_audit_counts_for_its_app_by_its_signer_and_for_what_it_names_only() {
    type Change = fn(&mut Build);
    let rows: [(&str, Change); 6] = [
        ("another app's", |it| {
            it.facts.attestations.last_mut().expect("one").claim = audit("other", &["word"])
        }),
        ("unsigned", |it| it.facts.attestations.last_mut().expect("one").signer = Err(Untrusted::Unsigned)),
        ("a stranger's", |it| {
            it.facts.attestations.last_mut().expect("one").signer = Err(Untrusted::Stranger)
        }),
        ("a signer whom the app may not use", |it| {
            it.source.as_mut().expect("a source").signers = vec!["somebody".into()];
        }),
        ("one more word", |it| found(&mut it.facts, ScanKind::Secrets, finding("new", Severity::Low))),
        ("one that is counted and not listed", |it| {
            it.facts.scans.iter_mut().filter(|it| it.kind == ScanKind::Secrets).for_each(|it| it.total += 1);
        }),
    ];
    for (what, change) in rows {
        let mut build = disputed(Tier::Zero, &["word"]);
        build.facts.attestations.push(attests(audit("shop", &["word"])));
        assert_eq!(build.ends(Secrets), (Passed, Note), "{what}, before");
        change(&mut build);
        assert_eq!(build.ends(Secrets), (Failed, Deny), "{what}");
    }
}

#[test]
fn an_audit_is_no_scan() {
    let mut build = disputed(Tier::Zero, &["word"]);
    build.facts.attestations.push(attests(audit("shop", &["word"])));
    for scan in build.facts.scans.iter_mut().filter(|scan| scan.kind == ScanKind::Secrets) {
        scan.proof = Proof::Missing("a filter hides lines".into());
    }
    assert_eq!(build.ends(Secrets), (NoProof, Deny));
}
