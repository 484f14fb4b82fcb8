//! What several reports tell of, as one: the same rule at the same place. What each of them comes to was weighed before and the worst
//! counts, so that one more report makes nothing milder.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Bench;
use crate::gate::decision::{CheckName, Judged, MAX_NAMES, MAX_REPORTS};
use crate::gate::facts::{Finding, ScanKind};
use crate::ids::Digest;

/// Where a finding is and by which rule. One that has no line is told from others by its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot<'f> {
    Line(&'f str, &'f str, u32),
    Named(&'f str, Digest),
}

impl<'f> Spot<'f> {
    fn of(finding: &'f Finding) -> Spot<'f> {
        match (&finding.file, finding.line) {
            (Some(file), Some(line)) => Spot::Line(&finding.rule, file, line),
            _ => Spot::Named(&finding.rule, finding.fingerprint),
        }
    }
}

/// Puts the worst first, then what comes first by rule, file and line: an order that does not depend on how they came.
pub(super) fn worst_first(findings: &mut [Judged]) {
    findings.sort_by(|one, other| {
        let key = |it: &Judged| (it.level, it.finding.severity);
        key(other)
            .cmp(&key(one))
            .then_with(|| place(&one.finding).cmp(&place(&other.finding)))
            .then_with(|| one.finding.cmp(&other.finding))
            .then_with(|| one.excused.is_some().cmp(&other.excused.is_some()))
            .then_with(|| other.hard_stop.cmp(&one.hard_stop))
    });
}

fn place(finding: &Finding) -> (&str, Option<&str>, Option<u32>) {
    (&finding.rule, finding.file.as_deref(), finding.line)
}

/// Each spot once, by the worst that is found there.
pub(super) fn once(mut findings: Vec<Judged>) -> Vec<Judged> {
    worst_first(&mut findings);
    let mut seen = BTreeSet::new();
    let first: Vec<bool> = findings.iter().map(|it| seen.insert(Spot::of(&it.finding))).collect();
    let mut first = first.into_iter();
    findings.retain(|_| first.next().unwrap_or(true));
    findings
}

impl Bench<'_> {
    /// Names the reports that tell of each finding, and what else they call it.
    pub(super) fn tell_reports(&self, check: CheckName, listed: &mut [Judged]) {
        let kind = match check {
            CheckName::Secrets => ScanKind::Secrets,
            CheckName::Code => ScanKind::Code,
            CheckName::Infrastructure => ScanKind::Infrastructure,
            CheckName::Vulnerabilities => ScanKind::Vulnerabilities,
            _ => return,
        };
        let facts = self.facts;
        let scanned = self.scans(kind).flat_map(|scan| scan.findings.iter().map(|it| (scan.piece, it)));
        let planned = facts.plans.iter().filter(|_| kind == ScanKind::Infrastructure);
        let planned = planned.flat_map(|plan| plan.verdicts.iter().map(|it| (plan.piece, &it.finding)));
        let mut told: BTreeMap<Spot<'_>, (BTreeSet<Digest>, BTreeSet<Digest>)> =
            listed.iter().map(|judged| (Spot::of(&judged.finding), Default::default())).collect();
        for (piece, finding) in scanned.chain(planned) {
            if let Some((pieces, names)) = told.get_mut(&Spot::of(finding)) {
                pieces.insert(piece);
                names.insert(finding.fingerprint);
            }
        }
        let told: Vec<_> =
            listed.iter().map(|it| told.get(&Spot::of(&it.finding)).cloned().unwrap_or_default()).collect();
        for (judged, (pieces, names)) in listed.iter_mut().zip(told) {
            let reports = facts.pieces.iter().filter(|piece| pieces.contains(&piece.digest));
            let reports: BTreeSet<_> = reports.map(|piece| piece.name.clone()).collect();
            judged.reports = reports.into_iter().take(MAX_REPORTS).collect();
            let others = names.into_iter().filter(|name| *name != judged.finding.fingerprint);
            judged.also = others.take(MAX_NAMES).collect();
        }
    }
}
