//! Judging: facts and policy in, an answer out. A pure function; what is missing or cannot be read counts against the build.

mod code;
mod coverage;
mod described;
mod infrastructure;
mod ran;
mod same;
mod secrets;
mod signed;
mod signer;
mod supply;
mod words;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use self::same::worst_first;
use super::decision::{Check, CheckName, CheckState, Excuse, Judged, Judgement, MAX_LISTED, Verdict};
use super::facts::{Facts, Finding, SignerId};
use super::pipeline::{may_ask_for_production, not_its_pipeline, unclear_issuer};
use super::policy::{Level, Policy, TierPolicy};
use super::trust::{Source, Trust};
use super::waiver::{Against, Waiver};
use crate::flag::{EnvironmentKind, Tier};
use crate::ids::{AppKey, EnvKey, WaiverId};
use crate::release::ArtifactDigest;
use crate::time::UnixMs;

/// What is judged, and what is known of it besides evidence.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The app.
    pub app: &'a AppKey,
    /// For which environment.
    pub environment: &'a EnvKey,
    /// What kind that is: production is not for every pipeline.
    pub kind: EnvironmentKind,
    /// The app's tier.
    pub tier: Tier,
    /// The artifact.
    pub artifact: ArtifactDigest,
    /// What the app may be built from; none: nobody said.
    pub source: Option<&'a Source>,
    /// Waivers of the app.
    pub waivers: &'a [&'a Waiver],
}

/// What the gate says of a build.
pub fn judge(policy: &Policy, subject: &Subject<'_>, facts: &Facts, now: UnixMs) -> Judgement {
    let mut bench = Bench {
        policy: policy.of(subject.tier),
        trust: &policy.trust,
        subject,
        facts,
        now,
        waivers: Vec::new(),
        signers: Vec::new(),
    };
    let checks: Vec<Check> = CheckName::ALL.into_iter().map(|name| bench.check(name)).collect();
    let worst = checks.iter().map(|check| check.level).max().unwrap_or(Level::Deny);
    let verdict = match worst {
        Level::Off | Level::Note => Verdict::Pass,
        Level::Warn => Verdict::Warn,
        Level::Deny => Verdict::Deny,
    };
    let mut used = core::mem::take(&mut bench.waivers);
    used.sort();
    used.dedup_by(|one, other| one.1 == other.1);
    let ends = used.iter().map(|(at, _)| *at).min();
    let begins = facts.known_since().unwrap_or(now).min(now);
    let valid_until = begins.plus(bench.policy.decision_life_ms).min(ends.unwrap_or(UnixMs::NEVER));
    let mut signers = core::mem::take(&mut bench.signers);
    signers.sort();
    signers.dedup();
    Judgement { verdict, checks, valid_until, waivers: used.into_iter().map(|(_, id)| id).collect(), signers }
}

/// Everything a check looks at, and what the answer stands on so far.
struct Bench<'a> {
    policy: &'a TierPolicy,
    trust: &'a Trust,
    subject: &'a Subject<'a>,
    facts: &'a Facts,
    now: UnixMs,
    waivers: Vec<(UnixMs, WaiverId)>,
    signers: Vec<SignerId>,
}

/// How a check ends, before it is put in words.
struct Outcome {
    state: CheckState,
    level: Level,
    found: String,
    /// What to do, where it is more special than what is to be done for such checks.
    fix: Option<String>,
    findings: Vec<Judged>,
    /// How many findings there are, those not kept included.
    total: u64,
}

impl Outcome {
    fn passed(found: impl Into<String>) -> Outcome {
        Outcome {
            state: CheckState::Passed,
            level: Level::Off,
            found: found.into(),
            fix: None,
            findings: Vec::new(),
            total: 0,
        }
    }

    fn not_asked() -> Outcome {
        Outcome { state: CheckState::NotAsked, ..Outcome::passed("the app's tier does not ask for it") }
    }

    fn failed(level: Level, found: impl Into<String>) -> Outcome {
        Outcome { state: CheckState::Failed, level, ..Outcome::passed(found) }
    }

    fn no_proof(level: Level, found: impl Into<String>) -> Outcome {
        Outcome { state: CheckState::NoProof, level, ..Outcome::passed(found) }
    }

    fn fix(self, fix: impl Into<String>) -> Outcome {
        Outcome { fix: Some(fix.into()), ..self }
    }
}

impl<'a> Bench<'a> {
    fn check(&mut self, name: CheckName) -> Check {
        let outcome = match name {
            CheckName::Evidence => self.evidence(),
            CheckName::Identity => self.identity(),
            CheckName::Secrets => self.secrets(),
            CheckName::TestsPresent => self.tests_present(),
            CheckName::TestsPass => self.tests_pass(),
            CheckName::ContractTests => self.contract_tests(),
            CheckName::Coverage => self.coverage(),
            CheckName::Code => self.code(),
            CheckName::Infrastructure => self.infrastructure(),
            CheckName::Sbom => self.sbom(),
            CheckName::Licences => self.licences(),
            CheckName::Vulnerabilities => self.vulnerabilities(),
            CheckName::Signature => self.signature(),
            CheckName::Provenance => self.provenance(),
        };
        let outcome = self.waived_as_a_whole(name, outcome);
        let mut findings = outcome.findings;
        worst_first(&mut findings);
        findings.dedup_by(|one, other| one.finding == other.finding);
        let total = outcome.total.max(u64::try_from(findings.len()).unwrap_or(u64::MAX));
        findings.truncate(MAX_LISTED);
        let fine = matches!(outcome.state, CheckState::Passed | CheckState::NotAsked) && findings.is_empty();
        let fix =
            if fine { String::new() } else { outcome.fix.unwrap_or_else(|| words::fix(name).to_string()) };
        self.tell_reports(name, &mut findings);
        Check {
            name,
            state: outcome.state,
            level: outcome.level,
            found: outcome.found,
            why: words::why(name).to_string(),
            fix,
            total,
            findings,
        }
    }

    /// Where the glass is broken, a whole check counts for a note.
    fn waived_as_a_whole(&mut self, check: CheckName, outcome: Outcome) -> Outcome {
        if outcome.level <= Level::Note || outcome.findings.iter().any(|judged| judged.level > Level::Note) {
            // Findings were held against waivers one by one.
            return outcome;
        }
        match self.waiver(check, None, false) {
            Some(id) => {
                let found = format!("{}; waiver {id} stands for it", outcome.found);
                Outcome { level: Level::Note, found, ..outcome }
            }
            None => outcome,
        }
    }

    /// The active waiver for something, which the decision then stands on.
    fn waiver(&mut self, check: CheckName, finding: Option<&Finding>, hard_stop: bool) -> Option<WaiverId> {
        let Subject { app, environment, tier, .. } = *self.subject;
        let policy = &self.policy.waivers;
        let against = Against { app, environment, tier, policy, check, finding, hard_stop };
        let active = self.subject.waivers.iter().filter(|waiver| waiver.is_active(against, self.now));
        // The one that lasts longest; of two, by name, so that order never matters.
        let best = active.max_by_key(|waiver| (waiver.expires_at, &waiver.id))?;
        self.waivers.push((best.expires_at, best.id.clone()));
        Some(best.id.clone())
    }

    /// Holds findings against waivers, and says what is left of them.
    fn weigh(
        &mut self,
        check: CheckName,
        findings: impl IntoIterator<Item = (Level, &'a Finding, bool)>,
    ) -> (Level, Vec<Judged>) {
        let mut worst = Level::Off;
        let mut weighed = Vec::new();
        for (level, finding, hard_stop) in findings {
            let waiver =
                if level > Level::Note { self.waiver(check, Some(finding), hard_stop) } else { None };
            let level = if waiver.is_some() { Level::Note } else { level };
            worst = worst.max(level);
            let (finding, excused) = (finding.clone(), waiver.map(Excuse::Waiver));
            weighed.push(Judged { hard_stop, ..Judged::new(finding, level, excused) });
        }
        (worst, weighed)
    }

    /// The same of what was not found in a report, but is missing from all of them.
    fn weigh_missing(
        &mut self,
        check: CheckName,
        level: Level,
        missing: Vec<Finding>,
    ) -> (Level, Vec<Judged>) {
        let mut worst = Level::Off;
        let mut weighed = Vec::new();
        for finding in missing {
            let waiver = self.waiver(check, Some(&finding), false);
            let level = if waiver.is_some() { level.min(Level::Note) } else { level };
            worst = worst.max(level);
            weighed.push(Judged::new(finding, level, waiver.map(Excuse::Waiver)));
        }
        (worst, weighed)
    }

    fn evidence(&self) -> Outcome {
        let count = self.facts.pieces.len();
        if count == 0 {
            return Outcome::no_proof(Level::Note, "nothing was handed in");
        }
        let broken = self.facts.pieces.iter().filter_map(|piece| Some((piece, piece.problem.as_ref()?)));
        let findings: Vec<_> = broken
            .map(|(piece, problem)| {
                let finding = Finding {
                    rule: code_text(problem.code),
                    fingerprint: piece.digest,
                    title: problem.detail.clone(),
                    severity: super::facts::Severity::High,
                    file: Some(piece.name.clone()),
                    ..Finding::default()
                };
                Judged { hard_stop: true, ..Judged::new(finding, Level::Deny, None) }
            })
            .collect();
        if findings.is_empty() {
            return Outcome::passed(match count {
                1 => "1 file, readable".to_string(),
                count => format!("{count} files, all readable"),
            });
        }
        let found = match count {
            1 => "the only file cannot be taken".to_string(),
            count => format!("{} of {count} files cannot be taken", findings.len()),
        };
        Outcome { findings, ..Outcome::failed(Level::Deny, found) }
    }

    /// The pipeline, if it says who it is, has to be the app's.
    fn identity(&self) -> Outcome {
        let Some(identity) = &self.facts.identity else {
            let text = "asked with a token of Tidegate, not with the pipeline's own";
            return match self.policy.identity {
                Level::Off => Outcome::not_asked(),
                Level::Note => Outcome { level: Level::Note, ..Outcome::passed(text) },
                level => Outcome::no_proof(level, text).fix(words::ASK_AS_THE_PIPELINE),
            };
        };
        let source = self.subject.source;
        if let Some(wrong) = not_its_pipeline(source, identity) {
            let outcome = Outcome::failed(Level::Deny, wrong);
            return if source.is_none() { outcome.fix(words::SET_SOURCE) } else { outcome };
        }
        if self.is_production()
            && let Err(bar) = may_ask_for_production(source, identity)
        {
            return Outcome::failed(Level::Deny, bar.to_string());
        }
        // What ran before the policy trusted another one goes on: none can ask anew.
        if let Some(unclear) = unclear_issuer(source, self.trust, identity) {
            return Outcome::failed(Level::Warn, unclear);
        }
        Outcome::passed(format!("the app's pipeline: {}", identity.subject))
    }
}

/// A code as it is written.
fn code_text(code: super::facts::ProblemCode) -> String {
    use super::facts::ProblemCode;
    let text = match code {
        ProblemCode::UnknownFormat => "unknown_format",
        ProblemCode::UnsupportedVersion => "unsupported_version",
        ProblemCode::Malformed => "malformed",
        ProblemCode::TooLarge => "too_large",
        ProblemCode::Hostile => "hostile",
        ProblemCode::Contradictory => "contradictory",
    };
    text.to_string()
}
