//! What the receipt of a decision says.

use rollout_rules::gate::decision::{CheckName, CheckState, Judgement};
use rollout_rules::gate::facts::Facts;
use rollout_rules::ids::{DecisionId, Digest, WaiverId};
use rollout_rules::snapshot::App;
use rollout_rules::time::UnixMs;

use super::desk::Ask;
use super::trust::receipt::{Besides, Summary, place};

/// Of levels it claims only what was checked: that there is provenance of this artifact by a builder that the app may use. What it
/// passed on besides evidence is told too, and until when that stands.
pub(super) fn summary(
    (ask, id, app): (&Ask, &DecisionId, &App),
    judgement: &Judgement,
    facts: &Facts,
    policy: Digest,
    now: UnixMs,
) -> Summary {
    let provenance = judgement.checks.iter().find(|check| check.name == CheckName::Provenance);
    let attested = provenance.is_some_and(|check| check.state == CheckState::Passed);
    let mut inputs: Vec<Digest> = facts.pieces.iter().map(|piece| piece.digest).collect();
    inputs.sort();
    let passed = judgement.verdict.passes();
    let is_glass = |id: &WaiverId| app.waiver(id).is_some_and(|waiver| waiver.break_glass);
    let (broken_glass, waivers) = judgement.waivers.iter().cloned().partition(is_glass);
    Summary {
        verifier: ask.verifier.clone(),
        time_verified: now,
        resource_uri: place(ask.app.as_str(), ask.environment.as_str()),
        policy_uri: format!("{}/v1/gate/policy", ask.verifier),
        policy_digest: policy,
        inputs,
        passed,
        levels: if attested { vec!["SLSA_BUILD_LEVEL_1".to_owned()] } else { Vec::new() },
        subject_name: ask
            .version
            .as_ref()
            .map_or_else(|| ask.app.to_string(), |version| format!("{}-{version}", ask.app)),
        artifact: ask.artifact,
        besides: Besides {
            decision: Some(id.clone()),
            valid_until: passed.then_some(judgement.valid_until),
            waivers,
            broken_glass,
        },
    }
}
