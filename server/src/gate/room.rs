//! Room for what comes later: a build may run for months, and be scanned every night. A scan that says no more than a newer one of the same
//! program makes room for it. No finding goes that way.

use std::collections::BTreeSet;

use rollout_rules::gate::facts::{Facts, Finding, MAX_ADDED, Piece, Proof, Scan};
use rollout_rules::ids::Digest;

use super::material::keep_pieces;

/// Most pieces that are added and are no scans. The rest of the room is for scans: what a build is denied for later is mostly theirs.
pub(super) const MAX_ADDED_OTHERS: usize = MAX_ADDED / 2;

/// Lets go of the oldest added scans that newer ones repeat, as many as are more than fit.
pub(super) fn make_room(facts: &mut Facts) {
    let added = facts.pieces.iter().filter(|piece| piece.added).count();
    let over = added.saturating_sub(MAX_ADDED);
    if over == 0 {
        return;
    }
    let mut added: Vec<&Piece> = facts.pieces.iter().filter(|piece| piece.added).collect();
    added.sort_by_key(|piece| (piece.received_at, piece.digest));
    let newer_than = |place: usize| added[place + 1..].iter().map(|piece| piece.digest);
    let repeated = (0..added.len()).filter(|place| {
        let newer: BTreeSet<Digest> = newer_than(*place).collect();
        is_repeated(facts, added[*place], &newer)
    });
    let gone: BTreeSet<Digest> = repeated.take(over).map(|place| added[place].digest).collect();
    keep_pieces(facts, |piece| !gone.contains(&piece));
}

/// Whether there is room for what is there.
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

fn is_repeated(facts: &Facts, piece: &Piece, newer: &BTreeSet<Digest>) -> bool {
    let mut scans = facts.scans.iter().filter(|scan| scan.piece == piece.digest);
    is_scan(facts, piece)
        && scans
            .all(|scan| facts.scans.iter().any(|later| newer.contains(&later.piece) && says_all(later, scan)))
}

/// Whether a scan says all that an earlier one said, and nothing of it more mildly.
fn says_all(later: &Scan, earlier: &Scan) -> bool {
    let is_whole = earlier.total == earlier.findings.len() as u64;
    let proves = matches!(later.proof, Proof::Given(_)) || matches!(earlier.proof, Proof::Missing(_));
    let same = |one: &Finding, other: &Finding| {
        (one.fingerprint, &one.rule, &one.aliases) == (other.fingerprint, &other.rule, &other.aliases)
            && one.severity >= other.severity
            && one.disputed <= other.disputed
            && one.fix.is_some() >= other.fix.is_some()
    };
    is_whole
        && proves
        && (later.kind, &later.tool.name) == (earlier.kind, &earlier.tool.name)
        && earlier.findings.iter().all(|found| later.findings.iter().any(|it| same(it, found)))
}
