//! Where evidence becomes a decision: pieces are read and kept, facts are judged by the policy in effect, and the answer is signed.
//! All of it is work for a thread of its own: nothing here waits for anybody.

use std::collections::BTreeSet;
use std::io;

use rollout_rules::flag::EnvironmentKind;
use rollout_rules::gate::decision::{CheckSummary, Decision, EvidenceRef, Judgement, Occasion, Verdict};
use rollout_rules::gate::facts::{AgentWork, Facts, Format, MAX_ADDED, MAX_PIECES, PipelineIdentity};
use rollout_rules::gate::waiver::Waiver;
use rollout_rules::gate::{Subject, judge};
use rollout_rules::ids::{AppKey, DecisionId, Digest, EnvKey};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::snapshot::{App, Snapshot};
use rollout_rules::time::UnixMs;

use super::Gate;
use super::compiled::Compiled;
use super::files::Batch;
use super::material::{Earlier, Sealed, complete, is_sealed, joined, only_added, says_its_time};
use super::named::Gone;
use super::read::{self, Reading};
use super::room::{MAX_ADDED_OTHERS, fits, make_room};
use super::told::summary;
use super::{infrastructure, trust};
use crate::secret;

/// Most bytes of facts, or of a judgement, that are kept of one build.
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;

/// A piece of evidence that was read and kept.
pub struct Piece {
    reading: Reading,
    kept: Digest,
    /// What is checked with the keys of the policy: its bytes.
    signed: Option<Vec<u8>>,
}

impl Piece {
    /// How many bytes it holds, unpacked.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.reading.piece.bytes).unwrap_or(usize::MAX)
    }
}

/// For what a decision is asked, and by whom.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The app.
    pub app: AppKey,
    /// For which environment.
    pub environment: EnvKey,
    /// The artifact.
    pub artifact: ArtifactDigest,
    /// What people call it.
    pub version: Option<String>,
    /// Why now.
    pub occasion: Occasion,
    /// The pipeline, by its own token.
    pub identity: Option<PipelineIdentity>,
    /// The language models that had a part in it.
    pub agents: Vec<AgentWork>,
    /// The gate's own address, for receipts.
    pub verifier: String,
}

/// Why there is no decision.
#[derive(Debug)]
pub enum DeskError {
    /// There is no such app or environment.
    NoSuchPlace,
    /// What an earlier decision was made from is gone.
    Forgotten {
        /// The decision.
        decision: Box<Decision>,
        /// Why it is gone.
        gone: Gone,
    },
    /// Together with what was handed in before, it is more files than are taken.
    TooManyPieces {
        /// How many.
        pieces: usize,
    },
    /// What was read is more than is kept of one build.
    TooMuch {
        /// How much.
        bytes: usize,
    },
    /// The folder of the gate.
    Files(io::Error),
    /// The receipt cannot be signed.
    Receipt(trust::receipt::ReceiptError),
}

impl std::fmt::Display for DeskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeskError::NoSuchPlace => f.write_str("there is no such app or environment"),
            DeskError::Forgotten { decision, gone } => {
                let Decision { id, app, environment, artifact, .. } = &**decision;
                write!(
                    f,
                    "what was kept of decision {id} {gone}. The log still has its verdict, {}; to have the build judged again, ask with \
                     all evidence, in the app's folder: `tidegate gate check --app {app} --env {environment} --artifact {artifact}`",
                    decision.verdict
                )
            }
            DeskError::TooManyPieces { pieces } => write!(
                f,
                "with what was handed in before it is {pieces} files; {MAX_PIECES} are taken, and {MAX_ADDED} that are added later, of which {MAX_ADDED_OTHERS} are no \
                 scans: leave out what does not count"
            ),
            DeskError::TooMuch { bytes } => write!(
                f,
                "what the files say is {bytes} bytes, and {MAX_KEPT_BYTES} are kept of one build: hand in fewer or shorter reports"
            ),
            DeskError::Files(error) => write!(f, "the folder of the gate cannot be used: {error}"),
            DeskError::Receipt(error) => write!(f, "the receipt cannot be signed: {error}"),
        }
    }
}

impl std::error::Error for DeskError {}

impl From<io::Error> for DeskError {
    fn from(error: io::Error) -> DeskError {
        DeskError::Files(error)
    }
}

impl Gate {
    /// Reads a piece of evidence, and puts it into the batch without its secrets.
    pub fn take(&self, batch: &mut Batch, name: &str, bytes: &[u8], now: UnixMs) -> io::Result<Piece> {
        let mut reading = read::read(name, bytes);
        reading.piece.received_at = now;
        let plain = read::unpacked(bytes);
        let format = reading.piece.format.filter(|_| reading.piece.problem.is_none());
        let (mut signed, mut kept) = (None, None);
        if let (Some(format), Some(plain)) = (format, plain.as_deref()) {
            match format {
                Format::TerraformPlan => match infrastructure::read(reading.piece.digest, plain) {
                    // What policies look at of it is among the facts; the plan itself may hold secrets.
                    Ok(plan) => reading.facts.plans.push(plan),
                    Err(problem) => reading.piece.problem = Some(problem),
                },
                Format::Dsse | Format::SigstoreBundle | Format::CosignSignature => {
                    kept = Some(batch.put(plain)?);
                    signed = Some(plain.to_vec());
                }
                format => kept = Some(batch.put(&read::redacted(format, plain))?),
            }
        }
        // Of what cannot be read it is not known where its secrets are.
        let kept = kept.map_or_else(|| batch.put(b""), Ok)?;
        Ok(Piece { reading, kept, signed })
    }

    /// Judges evidence that has just come, together with what earlier evidence said if there was some. What the batch has is kept
    /// then.
    pub fn decide(
        &self,
        ask: &Ask,
        pieces: &[Piece],
        batch: Batch,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<(Decision, Judgement), DeskError> {
        let (mut refs, mut signed, mut readings) = (Vec::new(), Vec::new(), Vec::new());
        for Piece { reading, kept, signed: bytes } in pieces {
            let piece = &reading.piece;
            refs.push(EvidenceRef {
                digest: piece.digest,
                name: piece.name.clone(),
                format: piece.format,
                kept: *kept,
            });
            if let (Some(bytes), Some(format)) = (bytes, piece.format) {
                let (bytes, received_at) = (bytes.clone(), piece.received_at);
                signed.push(Sealed { piece: piece.digest, format, bytes, received_at });
            }
            readings.push(reading.clone());
        }
        let mut facts = read::merge(readings);
        facts.agents.clone_from(&ask.agents);
        let before = snapshot.decision(&ask.app, &ask.environment, &ask.artifact);
        let before = before.map(|before| &before.decision);
        let earlier =
            before.map(|before| self.earlier(before, ask.occasion, snapshot, now)).transpose()?.flatten();
        let adds = ask.occasion == Occasion::NewEvidence;
        if adds && before.is_some() {
            facts.pieces.iter_mut().for_each(|piece| piece.added = true);
        }
        if let (Some(before), Some(Earlier { facts: earlier, sealed, ages })) = (before, earlier) {
            // What says itself when it was made, and is the same again, is as old as it was first: an old list of vulnerabilities renews
            // nothing. What says no time, such as which files have tests, a new run makes the same.
            let first = |piece: &Digest, at: UnixMs| ages.get(piece).map_or(at, |first| at.min(*first));
            for piece in facts.pieces.iter_mut().filter(|piece| says_its_time(piece.format)) {
                piece.received_at = first(&piece.digest, piece.received_at);
            }
            for sealed in &mut signed {
                sealed.received_at = first(&sealed.piece, sealed.received_at);
            }
            let is_kept = |digest: &Digest| earlier.pieces.iter().any(|piece| piece.digest == *digest);
            refs.extend(before.evidence.iter().filter(|it| is_kept(&it.digest)).cloned());
            signed.extend(sealed);
            facts = joined(earlier, facts);
        }
        make_room(&mut facts);
        let kept: BTreeSet<Digest> = facts.pieces.iter().map(|piece| piece.digest).collect();
        refs.retain(|piece| kept.contains(&piece.digest));
        // The same piece handed in twice is one, and it is as old as it was first.
        signed.sort_by_key(|sealed| (sealed.piece, sealed.received_at));
        signed.dedup_by_key(|sealed| sealed.piece);
        // What a build is denied for later has room of its own: filled up with other files, there would be none for it.
        let asked = facts.pieces.iter().filter(|piece| !piece.added).count();
        if asked > MAX_PIECES || (adds && !fits(&facts)) {
            return Err(DeskError::TooManyPieces { pieces: facts.pieces.len() });
        }
        facts.identity = ask.identity.clone().or(facts.identity);
        self.conclude(ask, (facts, refs, &signed), batch, snapshot, now)
    }

    /// What counts on of what a build was judged from before. None: whoever asks with all evidence does not need what is gone.
    fn earlier(
        &self,
        before: &Decision,
        occasion: Occasion,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<Option<Earlier>, DeskError> {
        let read = || {
            let mut facts = self.facts_of(before, snapshot, now)?;
            let ages = facts.pieces.iter().map(|piece| (piece.digest, piece.received_at)).collect();
            if occasion != Occasion::NewEvidence {
                only_added(&mut facts);
            }
            let sealed = self.sealed(before, &facts, snapshot, now)?;
            Ok(Earlier { facts, sealed, ages })
        };
        match read() {
            // What a build was denied for is not forgotten because a file was damaged.
            Err(DeskError::Forgotten { gone, .. })
                if occasion != Occasion::NewEvidence
                    && (!matches!(gone, Gone::Damaged) || before.verdict != Verdict::Deny) =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Judges a build again, by what holds now, from what its last decision was made from.
    pub fn decide_again(
        &self,
        earlier: &Decision,
        occasion: Occasion,
        verifier: String,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<(Decision, Judgement), DeskError> {
        let facts = self.facts_of(earlier, snapshot, now)?;
        let signed = self.sealed(earlier, &facts, snapshot, now)?;
        let ask = Ask {
            app: earlier.app.clone(),
            environment: earlier.environment.clone(),
            artifact: earlier.artifact,
            version: earlier.version.clone(),
            occasion,
            identity: earlier.identity.clone(),
            agents: earlier.agents.clone(),
            verifier,
        };
        let material = (facts, earlier.evidence.clone(), &signed[..]);
        self.conclude(&ask, material, self.files().batch(), snapshot, now)
    }

    /// What a build would be judged by another policy, or in a snapshot that is only supposed. Nothing is kept.
    pub fn try_by(
        &self,
        earlier: &Decision,
        compiled: &Compiled,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<Judgement, DeskError> {
        let mut facts = self.facts_of(earlier, snapshot, now)?;
        let signed = self.sealed(earlier, &facts, snapshot, now)?;
        let app = snapshot.app(&earlier.app).ok_or(DeskError::NoSuchPlace)?;
        complete(&mut facts, &signed, compiled, (app, &earlier.environment), &earlier.artifact);
        Ok(judged(compiled, app, &earlier.environment, earlier.artifact, &facts, now))
    }

    fn conclude(
        &self,
        ask: &Ask,
        (mut facts, mut refs, signed): (Facts, Vec<EvidenceRef>, &[Sealed]),
        mut batch: Batch,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<(Decision, Judgement), DeskError> {
        let app = snapshot.app(&ask.app).ok_or(DeskError::NoSuchPlace)?;
        app.environment(&ask.environment).ok_or(DeskError::NoSuchPlace)?;
        let compiled = self.compiled(snapshot);
        complete(&mut facts, signed, &compiled, (app, &ask.environment), &ask.artifact);
        let judgement = judged(&compiled, app, &ask.environment, ask.artifact, &facts, now);
        refs.sort();
        refs.dedup_by_key(|piece| piece.digest);
        let id = DecisionId::new(&secret::random_id()).map_err(io::Error::other)?;
        let summary = summary((ask, &id, app), &judgement, &facts, compiled.digest, now);
        let receipt = self.key().sign(&summary).map_err(DeskError::Receipt)?;
        let checks = judgement.checks.iter().map(|check| CheckSummary {
            name: check.name,
            state: check.state,
            level: check.level,
            total: check.total,
        });
        let decision = Decision {
            id,
            app: ask.app.clone(),
            environment: ask.environment.clone(),
            artifact: ask.artifact,
            version: ask.version.clone(),
            verdict: judgement.verdict,
            occasion: ask.occasion,
            tier: app.info().tier,
            policy: compiled.digest,
            source: app.source_digest(),
            checks: checks.collect(),
            valid_until: judgement.valid_until,
            waivers: judgement.waivers.clone(),
            signers: judgement.signers.clone(),
            evidence: refs,
            facts: put_json(&mut batch, &facts)?,
            judgement: put_json(&mut batch, &judgement)?,
            receipt: batch.put(&receipt)?,
            identity: facts.identity.clone(),
            agents: facts.agents.clone(),
        };
        self.files().keep(batch)?;
        Ok((decision.fitted(), judgement))
    }

    fn facts_of(&self, decision: &Decision, snapshot: &Snapshot, now: UnixMs) -> Result<Facts, DeskError> {
        let bytes = self.file_of(decision, &decision.facts, snapshot, now)?;
        Ok(serde_json::from_slice(&bytes).map_err(io::Error::other)?)
    }

    /// What a decision found.
    pub fn judgement_of(
        &self,
        decision: &Decision,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<Judgement, DeskError> {
        let bytes = self.file_of(decision, &decision.judgement, snapshot, now)?;
        Ok(serde_json::from_slice(&bytes).map_err(io::Error::other)?)
    }

    /// A file that a decision names.
    pub fn file_of(
        &self,
        decision: &Decision,
        name: &Digest,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<Vec<u8>, DeskError> {
        let forgotten = |gone| DeskError::Forgotten { decision: Box::new(decision.clone()), gone };
        if let Some(gone) = self.gone(decision, name, snapshot, now) {
            return Err(forgotten(gone));
        }
        match self.files().get(name) {
            Ok(bytes) => bytes.ok_or_else(|| forgotten(Gone::Missing)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "a file of the gate is damaged");
                Err(forgotten(Gone::Damaged))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why a file that a decision names is not there, as far as that is known without reading it; none: it is there.
    pub fn gone(&self, decision: &Decision, name: &Digest, snapshot: &Snapshot, now: UnixMs) -> Option<Gone> {
        let mut decisions = snapshot.decisions(&decision.app, &decision.environment);
        let decided = decisions.find(|decided| decided.decision.id == decision.id);
        // What counts as gone is not read, though the next sweep alone removes it: nothing new may stand on it.
        let ended = decided.and_then(|decided| self.retention().ended(decided, snapshot, now));
        // A build that was deployed after its evidence had gone is kept from then on, and that does not bring it back.
        let passed = || decided.and_then(|decided| self.retention().passed(decided, now));
        ended.or_else(|| (!self.files().has(name)).then(|| passed().unwrap_or(Gone::Missing)))
    }

    /// What of a decision's evidence is checked with keys.
    fn sealed(
        &self,
        decision: &Decision,
        facts: &Facts,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Result<Vec<Sealed>, DeskError> {
        let mut sealed = Vec::new();
        for piece in decision.evidence.iter().filter(|piece| is_sealed(piece.format)) {
            let read = facts.pieces.iter().find(|it| it.digest == piece.digest);
            let (Some(format), Some(read)) = (piece.format, read) else { continue };
            let bytes = self.file_of(decision, &piece.kept, snapshot, now)?;
            sealed.push(Sealed { piece: piece.digest, format, bytes, received_at: read.received_at });
        }
        Ok(sealed)
    }
}

fn put_json(batch: &mut Batch, value: &impl serde::Serialize) -> Result<Digest, DeskError> {
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    if bytes.len() > MAX_KEPT_BYTES {
        return Err(DeskError::TooMuch { bytes: bytes.len() });
    }
    Ok(batch.put(&bytes)?)
}

fn judged(
    compiled: &Compiled,
    app: &App,
    environment: &EnvKey,
    artifact: ArtifactDigest,
    facts: &Facts,
    now: UnixMs,
) -> Judgement {
    let waivers: Vec<&Waiver> = app.waivers().collect();
    let subject = Subject {
        app: &app.info().key,
        environment,
        // Where there is no such environment any more, as if it mattered most.
        kind: app.environment(environment).map_or(EnvironmentKind::Production, |it| it.environment().kind),
        tier: app.info().tier,
        artifact,
        source: app.source(),
        waivers: &waivers,
    };
    judge(&compiled.policy, &subject, facts, now)
}
