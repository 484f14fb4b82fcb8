//! What a build is judged from: what its pieces say, what hangs on the policy's keys and rules, and what an earlier decision was made from.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Attestation, Claim, Facts, Format, Problem, ProblemCode};
use rollout_rules::ids::{Digest, EnvKey};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::snapshot::App;
use rollout_rules::time::UnixMs;

use super::compiled::Compiled;
use super::{read, trust};

/// Whether a format is checked with keys.
pub(super) fn is_sealed(format: Option<Format>) -> bool {
    matches!(format, Some(Format::Dsse | Format::SigstoreBundle | Format::CosignSignature))
}

/// Whether a report says itself when it was made, and ages: one of vulnerabilities knows those of its day.
pub(super) fn says_its_time(format: Option<Format>) -> bool {
    matches!(format, Some(Format::Grype | Format::Trivy))
}

/// Leaves what came after the build was judged the first time.
pub(super) fn only_added(facts: &mut Facts) {
    let added: BTreeSet<Digest> =
        facts.pieces.iter().filter(|piece| piece.added).map(|piece| piece.digest).collect();
    keep_pieces(facts, |piece| added.contains(&piece));
    facts.identity = None;
}

/// Leaves some pieces, and what they say.
pub(super) fn keep_pieces(facts: &mut Facts, is_kept: impl Fn(Digest) -> bool) {
    facts.pieces.retain(|piece| is_kept(piece.digest));
    facts.tests.retain(|it| is_kept(it.piece));
    facts.coverage.retain(|it| is_kept(it.piece));
    facts.presence.retain(|it| is_kept(it.piece));
    facts.inventory.retain(|it| is_kept(it.piece));
    facts.scans.retain(|it| is_kept(it.piece));
    facts.plans.retain(|it| is_kept(it.piece));
    facts.sboms.retain(|it| is_kept(it.piece));
    facts.exploitability.retain(|it| is_kept(it.piece));
    facts.attestations.retain(|it| is_kept(it.piece));
}

/// A piece that is checked with keys.
pub(super) struct Sealed {
    pub(super) piece: Digest,
    pub(super) format: Format,
    pub(super) bytes: Vec<u8>,
    pub(super) received_at: UnixMs,
}

/// What a build was judged from before.
pub(super) struct Earlier {
    /// What of it counts on.
    pub(super) facts: Facts,
    pub(super) sealed: Vec<Sealed>,
    /// When each piece came, those included that count no more.
    pub(super) ages: BTreeMap<Digest, UnixMs>,
}

/// Adds what hangs on the policy: who signed what, and what Rego says of plans.
pub(super) fn complete(
    facts: &mut Facts,
    signed: &[Sealed],
    compiled: &Compiled,
    (app, environment): (&App, &EnvKey),
    artifact: &ArtifactDigest,
) {
    // Whatever was signed is read anew, by the keys that count now.
    let signed_pieces = facts.pieces.iter().filter(|piece| is_sealed(piece.format));
    let pieces: BTreeSet<Digest> = signed_pieces.map(|piece| piece.digest).collect();
    facts.attestations.retain(|it| !pieces.contains(&it.piece));
    facts.sboms.retain(|it| !pieces.contains(&it.piece));
    facts.scans.retain(|it| !pieces.contains(&it.piece));
    facts.exploitability.retain(|it| !pieces.contains(&it.piece));
    for sealed in signed {
        let read = trust::read(
            sealed.piece,
            sealed.format,
            &sealed.bytes,
            artifact,
            &compiled.keys,
            sealed.received_at,
        );
        let problem = match read {
            Ok(signed) => take_signed(facts, sealed.piece, signed),
            Err(problem) => Some(problem),
        };
        if let Some(piece) = facts.pieces.iter_mut().find(|it| it.digest == sealed.piece) {
            piece.problem = problem;
        }
    }
    compiled.judge_plans(facts, app, environment.as_str());
}

/// Takes what was signed, and the document in it.
fn take_signed(facts: &mut Facts, piece: Digest, signed: trust::Signed) -> Option<Problem> {
    let trust::Signed { attestation, further, predicate } = signed;
    let mut problem = None;
    if let Some((format, bytes)) = predicate {
        let mut reading = read::read("the signed document", &bytes);
        problem = match reading.piece.problem.take() {
            None if reading.piece.format != Some(format) => Some(Problem {
                code: ProblemCode::Malformed,
                detail: "what was signed is not the document that the statement says it is".to_owned(),
            }),
            other => other,
        };
        if problem.is_none() {
            let vex = further.iter().chain([&attestation]).filter(|it| it.claim == Claim::Vex);
            let signer = vex.filter_map(|it| it.signer.as_ref().ok()).min().cloned();
            for sbom in &mut reading.facts.sboms {
                sbom.piece = piece;
            }
            for scan in &mut reading.facts.scans {
                scan.piece = piece;
            }
            for said in &mut reading.facts.exploitability {
                said.piece = piece;
                said.signer.clone_from(&signer);
            }
            facts.sboms.append(&mut reading.facts.sboms);
            facts.scans.append(&mut reading.facts.scans);
            facts.exploitability.append(&mut reading.facts.exploitability);
        }
    }
    let attestations: Vec<Attestation> = std::iter::once(attestation).chain(further).collect();
    facts.attestations.extend(attestations);
    problem
}

/// Earlier facts with later ones beside them. Nothing that was found goes away: a build that is mended is another one.
pub(super) fn joined(mut earlier: Facts, later: Facts) -> Facts {
    let known: BTreeSet<Digest> = earlier.pieces.iter().map(|piece| piece.digest).collect();
    let is_new = |piece: &Digest| !known.contains(piece);
    earlier.pieces.extend(later.pieces.into_iter().filter(|it| is_new(&it.digest)));
    earlier.tests.extend(later.tests.into_iter().filter(|it| is_new(&it.piece)));
    earlier.coverage.extend(later.coverage.into_iter().filter(|it| is_new(&it.piece)));
    earlier.presence.extend(later.presence.into_iter().filter(|it| is_new(&it.piece)));
    earlier.inventory.extend(later.inventory.into_iter().filter(|it| is_new(&it.piece)));
    earlier.scans.extend(later.scans.into_iter().filter(|it| is_new(&it.piece)));
    earlier.plans.extend(later.plans.into_iter().filter(|it| is_new(&it.piece)));
    earlier.sboms.extend(later.sboms.into_iter().filter(|it| is_new(&it.piece)));
    earlier.exploitability.extend(later.exploitability.into_iter().filter(|it| is_new(&it.piece)));
    let new_agents: Vec<_> = later.agents.into_iter().filter(|work| !earlier.agents.contains(work)).collect();
    earlier.agents.extend(new_agents);
    earlier
}
