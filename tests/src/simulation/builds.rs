//! Builds, and what the gate says of them: in some seeds it binds.

use rollout_rules::change::{Command, GateCommand};
use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::{Decision, Occasion, Verdict};
use rollout_rules::gate::policy::{Policy, Role, RoleGrant};
use rollout_rules::governance::{Enforcement, Rules};
use rollout_rules::ids::{AppKey, DecisionId, Digest};
use rollout_rules::release::{ArtifactDigest, Deployed};
use rollout_rules::time::DurationMs;

use super::cast::{bank, production, shop};
use super::outside::Outside;

/// In every so many seeds the gate binds.
const GATED_EVERY: u64 = 4;
/// The artifacts that there are of an app.
const ARTIFACTS: usize = 2;

/// The rules of a seed.
pub(super) fn rules(seed: u64) -> Rules {
    let gate = if seed % GATED_EVERY == GATED_EVERY - 1 { Enforcement::Enforce } else { Enforcement::Report };
    Rules { gate, ..Rules::default() }
}

/// The people who may approve in the name of the platform, in every tier.
pub(super) fn grants() -> impl Iterator<Item = Command> {
    let grant = |(person, tier): (&str, Tier)| RoleGrant {
        role: Role::Platform,
        person: person.to_owned(),
        app: None,
        tier: Some(tier),
    };
    let people = ["ada", "bob", "eve"].into_iter().flat_map(|name| [(name, Tier::Zero), (name, Tier::One)]);
    people.map(move |of| Command::Gate(GateCommand::GrantRole { grant: grant(of) }))
}

/// Somebody deploys an artifact, or has one judged; most pass.
pub(super) fn deploy_or_judge(outside: &mut Outside) -> Command {
    let app = if outside.dice.chance(60) { shop() } else { bank() };
    let artifact = artifact(outside.dice.below(ARTIFACTS));
    if outside.dice.chance(25) {
        outside.history.count("builds deployed");
        let environment = production();
        return Command::ReportRelease(Deployed { app, environment, artifact, version: None });
    }
    outside.history.count("builds judged");
    let verdict = if outside.dice.chance(80) { Verdict::Pass } else { Verdict::Deny };
    let life =
        if outside.dice.chance(70) { DurationMs::days(7) } else { DurationMs(outside.dice.up_to(120_000)) };
    let id =
        DecisionId::new(&format!("d{}", outside.history.asks.len())).expect("a name of letters and digits");
    let decision = Decision {
        id,
        tier: tier(&app),
        app,
        environment: production(),
        artifact,
        version: None,
        verdict,
        occasion: Occasion::Asked,
        policy: Policy::default().digest(),
        source: None,
        checks: Vec::new(),
        valid_until: outside.now.plus(life),
        waivers: Vec::new(),
        signers: Vec::new(),
        evidence: Vec::new(),
        facts: Digest::default(),
        judgement: Digest::default(),
        receipt: Digest::default(),
        identity: None,
        agents: Vec::new(),
    };
    Command::Gate(GateCommand::Decide { decision: Box::new(decision) })
}

fn tier(app: &AppKey) -> Tier {
    if *app == bank() { Tier::One } else { Tier::Zero }
}

fn artifact(nth: usize) -> ArtifactDigest {
    format!("sha256:{nth:064x}").parse().expect("a digest")
}
