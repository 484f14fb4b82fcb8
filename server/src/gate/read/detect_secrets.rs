//! Reports of detect-secrets 1.5. A scan counts only with every detector on, at its own sensitivity, and with nothing that hides
//! findings: comments in code, excluded files, lines or words.
//!
//! The format does not say which files were scanned: outside a Git folder the tool scans none and writes the same report as for a
//! folder without secrets. So a report without findings proves nothing alone; [`super::merge`] takes it beside evidence that the
//! folder holds files.
//!
//! A report made with a baseline has marks: somebody went through what was found before, and said of a word that it is no secret
//! (`is_secret: false`). The baseline lies beside the code, and whoever can put a key into the code can put the mark beside it. So a word
//! that is marked is a finding like any other, which says that it is [`disputed`](Finding::disputed). It counts for nothing once security
//! signed the baseline as an [audit](read_audit) of the app: that names words by their hash, where they stand and what they look like, so
//! a word that is put in later is not among them.
//!
//! Format: the baseline of detect-secrets 1.5, which only its program writes down: <https://github.com/Yelp/detect-secrets>.

use std::collections::BTreeSet;

use rollout_rules::gate::facts::{
    Facts, Finding, MAX_AUDITED, Problem, ProblemCode, Proof, Scan, ScanKind, Severity, Tool,
};
use rollout_rules::ids::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem;
use super::text::{fingerprint, name, one_line, path};
use super::worst::Worst;
use crate::gate::json::{Fold, Folded, each, each_entry, parse};

/// The detectors of version 1.5, and for those that measure, how much a word has to be mixed at most to be reported.
const DETECTORS: [(&str, Option<f64>); 27] = [
    ("AWSKeyDetector", None),
    ("ArtifactoryDetector", None),
    ("AzureStorageKeyDetector", None),
    ("Base64HighEntropyString", Some(4.5)),
    ("BasicAuthDetector", None),
    ("CloudantDetector", None),
    ("DiscordBotTokenDetector", None),
    ("GitHubTokenDetector", None),
    ("GitLabTokenDetector", None),
    ("HexHighEntropyString", Some(3.0)),
    ("IPPublicDetector", None),
    ("IbmCloudIamDetector", None),
    ("IbmCosHmacDetector", None),
    ("JwtTokenDetector", None),
    ("KeywordDetector", None),
    ("MailchimpDetector", None),
    ("NpmDetector", None),
    ("OpenAIDetector", None),
    ("PrivateKeyDetector", None),
    ("PypiTokenDetector", None),
    ("SendGridDetector", None),
    ("SlackDetector", None),
    ("SoftlayerDetector", None),
    ("SquareOAuthDetector", None),
    ("StripeDetector", None),
    ("TelegramBotTokenDetector", None),
    ("TwilioKeyDetector", None),
];
/// Filters that only take out what cannot be a secret. Any other may hide one.
const FILTERS: [&str; 13] = [
    "detect_secrets.filters.common.is_baseline_file",
    "detect_secrets.filters.common.is_ignored_due_to_verification_policies",
    "detect_secrets.filters.common.is_invalid_file",
    "detect_secrets.filters.heuristic.is_indirect_reference",
    "detect_secrets.filters.heuristic.is_likely_id_string",
    "detect_secrets.filters.heuristic.is_lock_file",
    "detect_secrets.filters.heuristic.is_non_text_file",
    "detect_secrets.filters.heuristic.is_not_alphanumeric_string",
    "detect_secrets.filters.heuristic.is_potential_uuid",
    "detect_secrets.filters.heuristic.is_prefixed_with_dollar_sign",
    "detect_secrets.filters.heuristic.is_sequential_string",
    "detect_secrets.filters.heuristic.is_swagger_file",
    "detect_secrets.filters.heuristic.is_templated_secret",
];
/// Highest level of verification that a secret may need to be reported: above it, secrets that nobody could verify are left out.
const MAX_VERIFICATION_LEVEL: i64 = 2;
/// Most filters and detectors that are named to a person.
const MAX_NAMED: usize = 5;
/// What to tell of an audit that is not one.
const NOT_AUDITED: &str = "The audit has a word that is not marked as harmless (`is_secret: false`), or has no `hashed_secret`. Go through \
    all with `detect-secrets audit`, take real secrets out of the code and out of the baseline, and sign it anew.";
/// How to run it.
const COMMAND: &str = "`detect-secrets scan --all-files --disable-filter \
    detect_secrets.filters.allowlist.is_line_allowlisted .` in a fresh checkout, before libraries are installed and reports are written";

/// Reads a report. Also tells whether it lists findings only, and has none.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<(Facts, bool), Problem> {
    let report: Report<'_> = parse(bytes)?;
    if !report.version.starts_with("1.") {
        let detail = format!(
            "It is of another version of detect-secrets than 1. Install version 1.5 and run {COMMAND}."
        );
        return Err(problem(ProblemCode::UnsupportedVersion, detail));
    }
    let mut found = Worst::default();
    let mut refusal = None;
    let mut listed = 0_u64;
    each_entry(report.results, |file: &str, secrets: &RawValue| {
        let read = each(secrets, |secret: Secret| {
            listed += 1;
            found.add(finding(file, &secret));
            Ok(())
        });
        refusal = refusal.take().or(read.err());
    })?;
    if let Some(problem) = refusal {
        return Err(problem);
    }
    let off = switched_off(&report.plugins_used.0, &report.filters_used.0);
    let lists_findings_only = off.is_empty() && listed == 0;
    let proof = if !off.is_empty() {
        Proof::Missing(format!("A part of it was switched off: {}. Run {COMMAND}.", off.join("; ")))
    } else if listed == 0 {
        Proof::Missing(
            "It does not say which files it looked at, and nothing else shows that there were \
            any. Run `tidegate gate check` in the app's folder: it adds what the folder holds."
                .to_owned(),
        )
    } else {
        Proof::Given(format!("all {} detectors, with nothing left out", DETECTORS.len()))
    };
    let (total, findings) = found.finish();
    let tool = Tool { name: "detect-secrets".to_owned(), version: Some(name(&report.version)) };
    let scan = Scan { piece, kind: ScanKind::Secrets, tool, proof, total, findings };
    Ok((Facts { scans: vec![scan], ..Facts::default() }, lists_findings_only))
}

#[derive(Deserialize)]
struct Report<'a> {
    version: String,
    plugins_used: Folded<Detectors>,
    filters_used: Folded<Filters>,
    #[serde(borrow)]
    results: &'a RawValue,
}

#[derive(Default)]
struct Detectors {
    on: BTreeSet<&'static str>,
    dulled: BTreeSet<&'static str>,
}

#[derive(Deserialize)]
struct Detector {
    name: String,
    limit: Option<f64>,
    keyword_exclude: Option<String>,
}

impl Fold for Detectors {
    type Item<'de> = Detector;

    fn add(&mut self, detector: Detector) -> bool {
        // Detectors of somebody's own are welcome beside these.
        let Some((name, limit)) = DETECTORS.iter().find(|(name, _)| *name == detector.name) else {
            return true;
        };
        self.on.insert(name);
        let blunt = limit.zip(detector.limit).is_some_and(|(most, set)| set > most);
        if blunt || detector.keyword_exclude.is_some_and(|words| !words.is_empty()) {
            self.dulled.insert(name);
        }
        true
    }
}

/// Filters that may hide a secret, at most [`MAX_NAMED`].
#[derive(Default)]
struct Filters {
    hiding: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Filter {
    path: String,
    min_level: Option<i64>,
}

impl Fold for Filters {
    type Item<'de> = Filter;

    fn add(&mut self, filter: Filter) -> bool {
        let harmless = FILTERS.contains(&filter.path.as_str());
        let verified_only = filter.min_level.is_some_and(|level| level > MAX_VERIFICATION_LEVEL);
        if (!harmless || verified_only) && self.hiding.len() < MAX_NAMED {
            let short = filter.path.rsplit('.').next().unwrap_or_default();
            self.hiding.insert(one_line(short));
        }
        true
    }
}

/// What of it was switched off, in words.
fn switched_off(detectors: &Detectors, filters: &Filters) -> Vec<String> {
    let named = |names: Vec<&str>| {
        let more = names.len().saturating_sub(MAX_NAMED);
        let shown = names.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let missing: Vec<&str> =
        DETECTORS.iter().map(|(name, _)| *name).filter(|name| !detectors.on.contains(name)).collect();
    let mut off = Vec::new();
    if !missing.is_empty() {
        off.push(format!("it ran without {}", named(missing)));
    }
    if !detectors.dulled.is_empty() {
        off.push(format!(
            "less is reported than by default by {}",
            named(detectors.dulled.iter().copied().collect())
        ));
    }
    if !filters.hiding.is_empty() {
        off.push(format!(
            "findings may be hidden by {}",
            named(filters.hiding.iter().map(String::as_str).collect())
        ));
    }
    off
}

#[derive(Deserialize)]
struct Secret {
    #[serde(rename = "type")]
    kind: String,
    hashed_secret: Option<String>,
    line_number: Option<u32>,
    is_secret: Option<bool>,
}

fn finding(file: &str, secret: &Secret) -> Finding {
    let (kind, file) = (one_line(&secret.kind), path(file));
    Finding {
        fingerprint: fingerprint(&[&kind, &file, secret.hashed_secret.as_deref().unwrap_or_default()]),
        title: format!("{kind} in the code"),
        rule: kind,
        severity: Severity::Critical,
        file: Some(file),
        line: secret.line_number.filter(|line| *line > 0),
        disputed: secret.is_secret == Some(false),
        ..Finding::default()
    }
}

/// What somebody signed of an app's code: which words that look like secrets are none.
pub(in crate::gate) struct Audit {
    /// The key of the app.
    pub(in crate::gate) app: String,
    /// The fingerprints of the findings that are none.
    pub(in crate::gate) harmless: Vec<Digest>,
}

#[derive(Deserialize)]
struct WrittenAudit<'a> {
    app: String,
    #[serde(borrow)]
    baseline: Baseline<'a>,
}

#[derive(Deserialize)]
struct Baseline<'a> {
    #[serde(borrow)]
    results: &'a RawValue,
}

/// Reads an audit, `{"app": KEY, "baseline": BASELINE}`: a baseline in which every word is marked as none, since what is signed is kept as
/// it is, with the hashes of what it names. More than [`MAX_AUDITED`] words are refused.
pub(in crate::gate) fn read_audit(text: &str) -> Result<Audit, Problem> {
    let WrittenAudit { app, baseline } = parse(text.as_bytes())?;
    let (mut harmless, mut refusal) = (Vec::new(), None);
    each_entry(baseline.results, |file: &str, secrets: &RawValue| {
        let read = each(secrets, |secret: Secret| {
            let is_named = secret.hashed_secret.as_ref().is_some_and(|hash| !hash.is_empty());
            if secret.is_secret != Some(false) || !is_named {
                return Err(problem(ProblemCode::Malformed, NOT_AUDITED));
            }
            if harmless.len() == MAX_AUDITED {
                let detail = format!("The audit is of more than {MAX_AUDITED} words. Sign several.");
                return Err(problem(ProblemCode::TooLarge, detail));
            }
            harmless.push(finding(file, &secret).fingerprint);
            Ok(())
        });
        refusal = refusal.take().or(read.err());
    })?;
    match refusal {
        Some(problem) => Err(problem),
        None => Ok(Audit { app, harmless }),
    }
}
