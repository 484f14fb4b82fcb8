//! What is judged of what the artifact is made of, who signed it, and how it was built.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::code::joined;
use super::words::counted;
use super::{Bench, Outcome};
use crate::gate::decision::{CheckName, Excuse, Judged};
use crate::gate::facts::{
    Claim, Component, ExploitabilityStatus, Finding, Licence, Sbom, ScanKind, Severity, SignerId,
};
use crate::gate::policy::Level;
use crate::ids::Digest;

impl<'a> Bench<'a> {
    pub(super) fn sbom(&mut self) -> Outcome {
        let asked = self.policy.sbom;
        let artifact = self.subject.artifact;
        let is_of_it = |sbom: &&Sbom| sbom.subjects.is_empty() || sbom.subjects.contains(&artifact);
        let signer = self.good(|claim| *claim == Claim::Sbom).map(|(_, signer)| signer.clone());
        let signed = self.signed_lists();
        // Beside a list that is signed, one that is not counts for nothing: it may be of anything.
        let of_it = self.facts.sboms.iter().filter(is_of_it);
        let of_it = of_it
            .filter(|sbom| asked.unsigned != Level::Deny || signer.is_err() || signed.contains(&sbom.piece));
        let listed: u64 = of_it.map(|sbom| sbom.total).max().unwrap_or(0);
        if listed == 0 {
            let text = if self.facts.sboms.is_empty() {
                "no list of what it is made of was handed in"
            } else if !self.facts.sboms.iter().any(|sbom| is_of_it(&sbom)) {
                "the list of what it is made of is about another artifact"
            } else {
                "the list of what it is made of is empty"
            };
            return if asked.missing == Level::Off {
                Outcome::not_asked()
            } else {
                Outcome::no_proof(asked.missing, text)
            };
        }
        match signer {
            Ok(signer) => {
                let text =
                    format!("{}, signed by {} for this artifact", component_count(listed), signer.name);
                self.signers.push(signer);
                Outcome::passed(text)
            }
            Err(_) if asked.unsigned == Level::Off => Outcome::passed(component_count(listed)),
            Err(why) => {
                let text = format!("{}, not signed for this artifact: {why}", component_count(listed));
                if asked.unsigned == Level::Note {
                    return Outcome { level: Level::Note, ..Outcome::passed(text) };
                }
                Outcome::failed(asked.unsigned, text).fix(
                    "Sign the list as an attestation of the artifact: `cosign attest-blob --type cyclonedx --predicate sbom.json …`.",
                )
            }
        }
    }

    /// The pieces in which a list is signed for this artifact by somebody whom the app may use.
    fn signed_lists(&self) -> Vec<Digest> {
        let artifact = &self.subject.artifact;
        let statements = self.facts.attestations.iter();
        let good = statements.filter(|it| {
            it.claim == Claim::Sbom
                && it.subjects.contains(artifact)
                && it.signer.as_ref().is_ok_and(|signer| self.barred(signer, &it.claim).is_none())
        });
        good.map(|it| it.piece).collect()
    }

    /// Whether a list may say that something is harmless: it is of this artifact, and signed where it has to be.
    fn is_believed(&self, sbom: &Sbom, signed: &[Digest]) -> bool {
        (sbom.subjects.is_empty() || sbom.subjects.contains(&self.subject.artifact))
            && (self.policy.sbom.unsigned != Level::Deny || signed.contains(&sbom.piece))
    }

    /// The licence of each component, by name and version.
    fn licences_listed(&self) -> BTreeMap<(String, &'a str), (&'a Component, Licence)> {
        let asked = self.policy.licences;
        let signed = self.signed_lists();
        let facts = self.facts;
        let (believed, others): (Vec<&Sbom>, Vec<&Sbom>) =
            facts.sboms.iter().partition(|sbom| self.is_believed(sbom, &signed));
        let mut listed: BTreeMap<(String, &str), (&Component, Licence)> = BTreeMap::new();
        for component in sorted(&believed) {
            let seen = listed.entry(named(component)).or_insert((component, component.licence));
            if tells_more(component.licence, seen.1) {
                *seen = (component, component.licence);
            }
        }
        let known: BTreeSet<_> = listed.keys().cloned().collect();
        let level = |licence| match licence {
            Licence::StrongCopyleft => asked.strong_copyleft,
            Licence::Unknown => asked.unknown,
            Licence::Permissive | Licence::WeakCopyleft => Level::Off,
        };
        for component in sorted(&others) {
            let name = named(component);
            let is_known = known.contains(&name);
            let seen = listed.entry(name).or_insert((component, component.licence));
            // What is not believed makes nothing milder.
            let worse =
                component.licence == Licence::StrongCopyleft && level(component.licence) >= level(seen.1);
            if if is_known { worse } else { tells_more(component.licence, seen.1) } {
                *seen = (component, component.licence);
            }
        }
        listed
    }

    pub(super) fn licences(&mut self) -> Outcome {
        let asked = self.policy.licences;
        if self.facts.sboms.iter().all(|sbom| sbom.total == 0) {
            let level = asked.unknown.max(asked.strong_copyleft).min(self.policy.sbom.missing);
            return Outcome::no_proof(level, "without a list of what it is made of, no licence is known");
        }
        let by_name = self.licences_listed();
        let mut found = Vec::new();
        for (component, licence) in by_name.values() {
            let (level, rule) = match licence {
                Licence::Permissive | Licence::WeakCopyleft => continue,
                Licence::StrongCopyleft => (asked.strong_copyleft, "strong_copyleft"),
                Licence::Unknown => (asked.unknown, "unknown_licence"),
            };
            found.push((level, of_component(component, rule)));
        }
        let unlisted =
            self.facts.sboms.iter().map(|sbom| {
                sbom.total.saturating_sub(u64::try_from(sbom.components.len()).unwrap_or(u64::MAX))
            });
        let unlisted = unlisted.fold(0, u64::saturating_add);
        if unlisted > 0 {
            found.push((asked.unknown, of_unlisted(unlisted)));
        }
        if found.is_empty() {
            let all = component_count(u64::try_from(by_name.len()).unwrap_or(u64::MAX));
            return Outcome::passed(format!("{all}, none with a licence that asks for more"));
        }
        let under = |rule: &str| found.iter().filter(|(_, it)| it.rule == rule).count();
        let unknown = u64::try_from(under("unknown_licence")).unwrap_or(u64::MAX).saturating_add(unlisted);
        let text = format!(
            "{} under strong copyleft, {unknown} with no known licence",
            component_count(u64::try_from(under("strong_copyleft")).unwrap_or(u64::MAX))
        );
        self.outcome(CheckName::Licences, found, text)
    }

    /// Judges findings that were made up here.
    fn outcome(&mut self, check: CheckName, found: Vec<(Level, Finding)>, text: String) -> Outcome {
        let mut worst = Level::Off;
        let mut findings = Vec::new();
        for (level, finding) in found {
            let waiver = if level > Level::Note { self.waiver(check, Some(&finding), false) } else { None };
            let level = if waiver.is_some() { Level::Note } else { level };
            worst = worst.max(level);
            let excused = waiver.map(Excuse::Waiver);
            findings.push(Judged::new(finding, level, excused));
        }
        Outcome { findings, ..Outcome::failed(worst, text) }
    }

    pub(super) fn vulnerabilities(&mut self) -> Outcome {
        let asked = self.policy.vulnerabilities;
        let tools = self.proven(ScanKind::Vulnerabilities);
        let unlisted = self.unlisted(ScanKind::Vulnerabilities);
        let merged = merged(self.scans(ScanKind::Vulnerabilities).flat_map(|scan| &scan.findings));
        if merged.is_empty() && unlisted == 0 {
            if !tools.is_empty() {
                return Outcome::passed(format!("none known to {}", joined(tools)));
            }
            let lacking = self.lacking(ScanKind::Vulnerabilities);
            let text = if lacking.is_empty() {
                "no scan for known vulnerabilities was handed in".to_string()
            } else {
                format!("a scan shows nothing: {}", lacking.join("; "))
            };
            return Outcome::no_proof(asked.missing, text)
                .fix("Scan in the pipeline and hand in the report: `grype dir:. -o json > grype.json`, or trivy, or osv-scanner.");
        }
        let (mut worst, mut findings) = (Level::Off, Vec::new());
        for finding in merged {
            let level = match finding.severity {
                Severity::Critical => asked.critical.max(asked.high),
                Severity::High => asked.high,
                // Nobody says how bad it is: it is not taken for mild.
                Severity::Unknown => asked.high.min(Level::Warn),
                Severity::Medium | Severity::Low => Level::Note,
            };
            let (level, excused) = self.excused(level, &finding);
            worst = worst.max(level);
            findings.push(Judged::new(finding, level, excused));
        }
        if unlisted > 0 {
            worst = worst.max(asked.critical).max(asked.high);
        }
        // That a scan which proves nothing found something proves no more.
        if tools.is_empty() {
            worst = worst.max(asked.missing);
        }
        let listed = u64::try_from(findings.len()).unwrap_or(u64::MAX);
        let asks = self.requests(&findings);
        let total = listed.saturating_add(unlisted);
        let text = format!("{}{asks}", counted(total, "known vulnerability", "known vulnerabilities"));
        Outcome { findings, total, ..Outcome::failed(worst, text) }
    }

    /// Whether a waiver, or what security signed, stands for a vulnerability.
    fn excused(&mut self, level: Level, finding: &Finding) -> (Level, Option<Excuse>) {
        if level <= Level::Note {
            return (level, None);
        }
        if let Some(signer) = self.signed_harmless(finding) {
            let name = signer.name.clone();
            self.signers.push(signer);
            return (Level::Note, Some(Excuse::Signed(name)));
        }
        match self.waiver(CheckName::Vulnerabilities, Some(finding), false) {
            Some(id) => (Level::Note, Some(Excuse::Waiver(id))),
            None => (level, None),
        }
    }

    /// Who of security signed that a vulnerability does no harm here, and nobody said that it does.
    fn signed_harmless(&self, finding: &Finding) -> Option<SignerId> {
        let about = self.facts.exploitability.iter().filter(|said| {
            let is_it = said.vulnerability == finding.rule || finding.aliases.contains(&said.vulnerability);
            let subject = finding.subject.as_deref().unwrap_or("");
            is_it && !subject.is_empty() && said.products.iter().any(|product| is_product(product, subject))
        });
        let mut signed = None;
        for said in about {
            match (said.status, &said.signer) {
                (ExploitabilityStatus::Affected, _) => return None,
                (ExploitabilityStatus::NotAffected, Some(signer))
                    if said.justification.is_some() && self.signed_for_this(said.piece, signer) =>
                {
                    signed = signed.max(Some(signer.clone()));
                }
                _ => {}
            }
        }
        signed
    }

    /// Whether somebody whom the app may use signed a VEX document as one about this artifact.
    fn signed_for_this(&self, piece: Digest, signer: &SignerId) -> bool {
        self.may_sign(signer)
            && self.facts.attestations.iter().any(|it| {
                it.piece == piece
                    && it.claim == Claim::Vex
                    && it.signer.as_ref() == Ok(signer)
                    && it.subjects.contains(&self.subject.artifact)
            })
    }

    /// That somebody says of vulnerabilities that they do no harm, which is a request for a waiver.
    fn requests(&self, findings: &[Judged]) -> String {
        let asked = findings.iter().filter(|Judged { level, finding, excused, .. }| {
            let says = |said: &crate::gate::facts::Exploitability| {
                said.status == ExploitabilityStatus::NotAffected
                    && (said.vulnerability == finding.rule || finding.aliases.contains(&said.vulnerability))
            };
            *level > Level::Note && excused.is_none() && self.facts.exploitability.iter().any(says)
        });
        match asked.count() {
            0 => String::new(),
            count => format!(
                "; of {count} a VEX document says that {}, which counts once security signed it or approved a waiver",
                if count == 1 { "it does no harm" } else { "they do no harm" }
            ),
        }
    }
}

/// Findings of several scanners on the same, as one: the sternest severity counts, that one knows of a fix, all do, and only
/// what all call it is its name. So that one more finding makes nothing milder.
fn merged<'f>(findings: impl Iterator<Item = &'f Finding>) -> Vec<Finding> {
    let mut findings: Vec<&Finding> = findings.collect();
    findings.sort();
    let mut of_each: BTreeMap<(&str, &str), (Severity, Option<&str>)> = BTreeMap::new();
    let mut merged: BTreeMap<(&str, &str, Digest), Finding> = BTreeMap::new();
    for finding in findings {
        let (rule, subject) = (&*finding.rule, finding.subject.as_deref().unwrap_or(""));
        let (severity, fix) = of_each.entry((rule, subject)).or_insert((finding.severity, None));
        *severity = finding.severity.sterner(*severity);
        *fix = fix.or(finding.fix.as_deref());
        let seen = merged.entry((rule, subject, finding.fingerprint)).or_insert_with(|| finding.clone());
        seen.aliases.retain(|alias| finding.aliases.contains(alias));
    }
    let told = merged.into_iter().map(|((rule, subject, _), mut finding)| {
        let (severity, fix) = of_each.get(&(rule, subject)).copied().unwrap_or_default();
        (finding.severity, finding.fix) = (severity, fix.map(String::from));
        finding
    });
    told.collect()
}

/// That a list of what an artifact is made of is longer than what is kept of it: of the rest no licence is known.
fn of_unlisted(count: u64) -> Finding {
    let rule = "unlisted_components".to_string();
    Finding {
        fingerprint: Digest::of(rule.as_bytes()),
        title: match count {
            1 => "1 component more than is looked at: its licence is not known".to_string(),
            count => format!("{count} components more than are looked at: their licences are not known"),
        },
        severity: Severity::Medium,
        rule,
        ..Finding::default()
    }
}

fn component_count(count: u64) -> String {
    counted(count, "component", "components")
}

/// The components of some lists, in an order that does not depend on theirs.
fn sorted<'a>(sboms: &[&'a Sbom]) -> Vec<&'a Component> {
    let mut components: Vec<&Component> = sboms.iter().flat_map(|sbom| &sbom.components).collect();
    components.sort();
    components
}

/// What a component is told apart by.
fn named(component: &Component) -> (String, &str) {
    (plain_name(component), component.version.as_deref().unwrap_or(""))
}

/// Of several lists, one that knows tells more than one that does not; else the stricter counts.
fn tells_more(licence: Licence, than: Licence) -> bool {
    than == Licence::Unknown || (licence != Licence::Unknown && licence > than)
}

/// A component's name as all tools write it: without case, and with `-` for `_` and `.`, which registries take for the same.
fn plain_name(component: &Component) -> String {
    component.name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// What is wrong with a component. Its version is no part of the fingerprint: a waiver outlives an upgrade.
fn of_component(component: &Component, rule: &str) -> Finding {
    let written = if component.licences.is_empty() { "none given" } else { &component.licences };
    Finding {
        rule: rule.to_string(),
        fingerprint: Digest::of(format!("{rule}\n{}", plain_name(component)).as_bytes()),
        title: format!("{}: {written}", component.name),
        severity: Severity::Medium,
        subject: component.purl.clone().or_else(|| Some(component.name.clone())),
        ..Finding::default()
    }
}

/// Whether a product of a VEX statement is the package of a finding: the same purl, or the same without qualifiers. A product
/// without a version speaks of all of them.
fn is_product(product: &str, subject: &str) -> bool {
    let plain = |purl: &str| purl.split(['?', '#']).next().unwrap_or(purl).to_ascii_lowercase();
    let (product, subject) = (plain(product), plain(subject));
    let unversioned = subject.rsplit_once('@').map_or(&*subject, |(name, _)| name);
    product == subject || (!product.contains('@') && product == unversioned && product.starts_with("pkg:"))
}
