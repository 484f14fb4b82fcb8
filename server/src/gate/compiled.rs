//! A policy made ready to judge by: keys are parsed, and Rego is compiled. What cannot be used counts against builds.

use std::sync::Arc;

use rollout_rules::gate::facts::{Concern, Facts, Finding, PolicyEffect, PolicyFinding, Severity};
use rollout_rules::gate::policy::{BadPolicy, Policy};
use rollout_rules::ids::Digest;
use rollout_rules::snapshot::App;

use super::infrastructure::{self, Limits, Policies, PolicyError};
use super::trust::keys::TrustedKeys;
use super::trust::pipeline_token::Issuers;

/// A policy made ready.
pub struct Compiled {
    /// Its digest.
    pub digest: Digest,
    /// The policy.
    pub policy: Arc<Policy>,
    /// Keys and authorities.
    pub keys: TrustedKeys,
    /// Issuers of pipelines' tokens, without their keys yet.
    pub issuers: Issuers,
    policies: Result<Policies, PolicyError>,
}

impl Compiled {
    /// Makes a policy ready. Of one that is not sound, what cannot be used trusts nobody and lets nothing pass.
    pub(super) fn of(policy: Arc<Policy>, digest: Digest) -> Compiled {
        let keys = TrustedKeys::compile(&policy.trust).unwrap_or_default();
        let issuers = Issuers::compile(&policy.trust).unwrap_or_default();
        let policies = infrastructure::compile(&modules(&policy));
        Compiled { digest, keys, issuers, policies, policy }
    }

    /// Says of each plan what the policy finds.
    pub(super) fn judge_plans(&self, facts: &mut Facts, app: &App, environment: &str) {
        let info = app.info();
        let asked = &self.policy.of(info.tier).infrastructure;
        let own = app.source().and_then(|source| source.max_vcpus).filter(|_| asked.cap_by_app);
        let limits = Limits {
            tier: info.tier as u8,
            max_vcpus: own.unwrap_or(asked.max_vcpus),
            required_tags: asked.required_tags.clone(),
            app: info.key.to_string(),
            environment: environment.to_owned(),
        };
        for plan in &mut facts.plans {
            let judged = match &self.policies {
                Ok(policies) => policies.judge(plan, &limits).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            plan.verdicts = judged.unwrap_or_else(|problem| vec![broken(plan.piece, &problem)]);
        }
    }
}

/// Everything that is wrong with a policy, at once: its numbers, its keys, its Rego.
pub fn problems(policy: &Policy) -> Vec<BadPolicy> {
    let mut wrong = policy.check();
    let issuers = Issuers::compile(&policy.trust).err().unwrap_or_default();
    for bad in TrustedKeys::mistakes(&policy.trust).into_iter().chain(issuers) {
        wrong.push(BadPolicy { field: "trust".to_owned(), problem: bad.to_string() });
    }
    if let Err(error) = infrastructure::compile(&modules(policy)) {
        wrong.push(BadPolicy { field: "modules".to_owned(), problem: error.to_string() });
    }
    wrong
}

fn modules(policy: &Policy) -> Vec<(String, String)> {
    policy.modules.iter().map(|module| (module.name.clone(), module.text.clone())).collect()
}

/// A policy that cannot say anything says no. Nobody may waive that: the plan may hold rights to everything.
fn broken(piece: Digest, problem: &str) -> PolicyFinding {
    PolicyFinding {
        effect: PolicyEffect::Deny,
        concern: Concern::WildcardPrivileges,
        finding: Finding {
            rule: "policy_failed".to_owned(),
            fingerprint: Digest::of(format!("policy_failed\0{piece}\0{problem}").as_bytes()),
            title: format!("the policy of infrastructure could not judge the plan: {problem}"),
            severity: Severity::High,
            fix: Some(
                "Have the platform team look at the policy's modules: `tidegate policy show`. If there are none, split the \
                 plan: a policy text in it may be too long to be read."
                    .to_owned(),
            ),
            ..Finding::default()
        },
    }
}
