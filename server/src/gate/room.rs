//! Room for what comes later: a build may run for months, and be scanned every night. A scan whose findings newer ones of the same program
//! name too makes room for them. No finding goes that way, and none gets milder.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Facts, Finding, MAX_ADDED, Piece, Proof, Scan, ScanKind};
use rollout_rules::ids::Digest;

use super::material::keep_pieces;

/// Most pieces that are added and are no scans. The rest of the room is for scans: what a build is denied for later is mostly theirs.
pub(super) const MAX_ADDED_OTHERS: usize = MAX_ADDED / 2;

/// Lets go of the oldest added scans that newer ones repeat, as many as are more than fit.
pub(super) fn make_room(facts: &mut Facts) {
    let mut added: Vec<&Piece> = facts.pieces.iter().filter(|piece| piece.added).collect();
    let over = added.len().saturating_sub(MAX_ADDED);
    if over == 0 {
        return;
    }
    added.sort_by_key(|piece| (piece.received_at, piece.digest));
    let nights = Nights::of(facts, &added);
    let repeated = (0..added.len()).filter(|night| is_scan(facts, added[*night]) && nights.repeat(*night));
    let gone: BTreeSet<Digest> = repeated.take(over).map(|night| added[night].digest).collect();
    keep_pieces(facts, |piece| !gone.contains(&piece));
}

/// Whether there is room for what was added.
pub(super) fn fits(facts: &Facts) -> bool {
    let added = facts.pieces.iter().filter(|piece| piece.added);
    let others = added.clone().filter(|piece| !is_scan(facts, piece));
    added.count() <= MAX_ADDED && others.count() <= MAX_ADDED_OTHERS
}

/// Whether a piece was read, and is one of scans alone.
fn is_scan(facts: &Facts, piece: &Piece) -> bool {
    let of_it = |digest: &Digest| *digest == piece.digest;
    let says_more = facts.tests.iter().any(|it| of_it(&it.piece))
        || facts.coverage.iter().any(|it| of_it(&it.piece))
        || facts.presence.iter().any(|it| of_it(&it.piece))
        || facts.inventory.iter().any(|it| of_it(&it.piece))
        || facts.plans.iter().any(|it| of_it(&it.piece))
        || facts.sboms.iter().any(|it| of_it(&it.piece))
        || facts.exploitability.iter().any(|it| of_it(&it.piece))
        || facts.attestations.iter().any(|it| of_it(&it.piece));
    piece.problem.is_none() && !says_more && facts.scans.iter().any(|it| of_it(&it.piece))
}

/// What looked for what.
type Program<'f> = (ScanKind, &'f str);

/// What was found when, the oldest piece being night 0.
struct Nights<'f> {
    scans: Vec<(usize, &'f Scan)>,
    found: BTreeMap<(Program<'f>, Digest), Vec<(usize, &'f Finding)>>,
    /// The last night on which a program looked, without or with a proof.
    looked: BTreeMap<(Program<'f>, bool), usize>,
}

impl<'f> Nights<'f> {
    fn of(facts: &'f Facts, added: &[&Piece]) -> Nights<'f> {
        let night_of: BTreeMap<Digest, usize> =
            added.iter().enumerate().map(|(night, piece)| (piece.digest, night)).collect();
        let mut nights = Nights { scans: Vec::new(), found: BTreeMap::new(), looked: BTreeMap::new() };
        for scan in &facts.scans {
            let Some(night) = night_of.get(&scan.piece).copied() else { continue };
            nights.scans.push((night, scan));
            // One with a proof stands for one without too.
            for proven in [false, is_proven(scan)] {
                let last = nights.looked.entry((program(scan), proven)).or_default();
                *last = night.max(*last);
            }
            for finding in &scan.findings {
                nights.found.entry((program(scan), finding.fingerprint)).or_default().push((night, finding));
            }
        }
        nights
    }

    /// Whether newer nights say all that one said.
    fn repeat(&self, night: usize) -> bool {
        let mut of_it = self.scans.iter().filter(|(when, _)| *when == night);
        of_it.all(|(_, scan)| {
            let is_whole = scan.total == scan.findings.len() as u64;
            let looked = self.looked.get(&(program(scan), is_proven(scan)));
            let looked_again = looked.is_some_and(|last| *last > night);
            is_whole
                && looked_again
                && scan.findings.iter().all(|found| self.is_found_after(night, scan, found))
        })
    }

    fn is_found_after(&self, night: usize, scan: &Scan, found: &Finding) -> bool {
        let same = self.found.get(&(program(scan), found.fingerprint));
        same.into_iter().flatten().any(|(when, later)| *when > night && says_as_much(later, found))
    }
}

fn program(scan: &Scan) -> Program<'_> {
    (scan.kind, &scan.tool.name)
}

fn is_proven(scan: &Scan) -> bool {
    matches!(scan.proof, Proof::Given(_))
}

/// Whether a finding is another one anew, and nothing of it is milder.
fn says_as_much(later: &Finding, earlier: &Finding) -> bool {
    (&later.rule, &later.subject, &later.file) == (&earlier.rule, &earlier.subject, &earlier.file)
        && later.severity.sterner(earlier.severity) == later.severity
        && later.disputed <= earlier.disputed
        && later.fix.is_some() >= earlier.fix.is_some()
        // A name that it shares with another finding may excuse both.
        && later.aliases.iter().all(|alias| earlier.aliases.contains(alias))
}
