//! Random commands, changes and callers over a small set of names, so that they meet.

pub mod changes;
pub mod gate;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rollout_rules::change::{
    Change, ChangeKind, Command, NewEnvironment, Reach, RunbookCommand, TargetingPatch,
};
use rollout_rules::condition::{Condition, SegmentRef};
use rollout_rules::flag::{
    AppInfo, Environment, EnvironmentKind, Flag, FlagKind, FlagState, Hold, HoldCause, Prerequisite, Rule,
    ScheduledChange, Segment, SegmentScope, Serve, Split, Target, Targeting, Tier, Variant, Weight,
};
use rollout_rules::governance::{Actor, Scope, Token};
use rollout_rules::ids::{
    AppKey, Digest, EnvKey, FlagKey, KillId, NodeId, ProposalId, Revision, RuleId, ScheduleId, SegmentKey,
    SplitId, TokenId, VariantKey, WebhookId,
};
use rollout_rules::percent::Exposure;
use rollout_rules::plan::RolloutPlan;
use rollout_rules::proposal::Approving;
use rollout_rules::release::{ArtifactDigest, Deployed};
use rollout_rules::rollout::{Rollout, RolloutEnd, RolloutStatus, Suspicion, WaitsFor};
use rollout_rules::runbook::{Acting, Cause, EffectId};
use rollout_rules::sli::guardrail::{Guardrail, Sli};
use rollout_rules::time::UnixMs;
use rollout_rules::webhook::{Webhook, WebhookSecret};

use super::{START, app, env, flag};

pub const APPS: [&str; 2] = ["shop", "other"];
pub const ENVIRONMENTS: [&str; 3] = ["production", "sandbox", "pr-1"];
pub const FLAGS: [&str; 3] = ["f", "g", "h"];
pub const USERS: [&str; 6] = ["u0", "u1", "u2", "u3", "u4", "ann"];

fn apps() -> impl Strategy<Value = AppKey> {
    prop_oneof![4 => Just(app("shop")), 1 => Just(app("other"))]
}

fn environments() -> impl Strategy<Value = EnvKey> {
    proptest::sample::select(&ENVIRONMENTS[..]).prop_map(env)
}

fn flags() -> impl Strategy<Value = FlagKey> {
    proptest::sample::select(&FLAGS[..]).prop_map(flag)
}

fn variants() -> impl Strategy<Value = VariantKey> {
    proptest::sample::select(&["on", "off"][..]).prop_map(|key| VariantKey::new(key).expect("a key"))
}

fn segments() -> impl Strategy<Value = SegmentKey> {
    proptest::sample::select(&["s", "t"][..]).prop_map(|key| SegmentKey::new(key).expect("a key"))
}

fn scopes() -> impl Strategy<Value = SegmentScope> {
    prop_oneof![3 => apps().prop_map(SegmentScope::App), 1 => Just(SegmentScope::Shared)]
}

fn units() -> impl Strategy<Value = Vec<Arc<str>>> {
    proptest::collection::vec(proptest::sample::select(&USERS[..]).prop_map(Arc::from), 0..3)
}

/// Within some days around the start.
fn moments() -> impl Strategy<Value = UnixMs> {
    (0_u64..40 * 24).prop_map(|hours| UnixMs(START.0 + hours * 3_600_000))
}

fn exposures() -> impl Strategy<Value = Exposure> {
    proptest::sample::select(&[0, 1_000, 50_000, 100_000][..])
        .prop_map(|milli| Exposure::from_milli_percent(milli).expect("at most 100 %"))
}

fn serves() -> impl Strategy<Value = Serve> {
    let split = variants().prop_map(|control| {
        let weight = |key: &str| Weight { variant: VariantKey::new(key).expect("a key"), weight: 1 };
        Serve::Split(Box::new(Split {
            id: SplitId::new("s").expect("an id"),
            weights: vec![weight("on"), weight("off")],
            control: Some(control),
            unit: None,
            seed: None,
        }))
    });
    prop_oneof![3 => variants().prop_map(Serve::Variant), 1 => split]
}

fn conditions() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::All { all: vec![] }),
        segments().prop_map(|key| Condition::Segment { segment: SegmentRef::App(key) }),
        segments().prop_map(|key| Condition::Segment { segment: SegmentRef::Shared(key) }),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (conditions(), serves()).prop_map(|(when, serve)| Rule {
        id: RuleId::new("r").expect("an id"),
        description: String::new(),
        when,
        serve,
    });
    proptest::collection::vec(rule, 0..2)
}

fn prerequisites() -> impl Strategy<Value = Vec<Prerequisite>> {
    let one =
        (flags(), variants()).prop_map(|(flag, variant)| Prerequisite { flag, variants: vec![variant] });
    proptest::collection::vec(one, 0..2)
}

fn targets() -> impl Strategy<Value = Vec<Target>> {
    proptest::collection::vec(
        (variants(), units()).prop_map(|(variant, units)| Target { variant, units }),
        0..2,
    )
}

fn schedules() -> impl Strategy<Value = Vec<ScheduledChange>> {
    let id = proptest::sample::select(&["a", "b"][..]).prop_map(|id| ScheduleId::new(id).expect("an id"));
    let step = (id, moments(), proptest::option::of(any::<bool>()), proptest::option::of(exposures()));
    let step = step.prop_map(|(id, at, on, exposure)| ScheduledChange { id, at, on, exposure });
    proptest::collection::vec(step, 0..3)
}

fn kill_ids() -> impl Strategy<Value = KillId> {
    (0..5).prop_map(|nth| KillId::new(&format!("k{nth}")).expect("an id"))
}

pub fn reaches() -> impl Strategy<Value = Reach> {
    prop_oneof![
        1 => Just(Reach::Everything),
        2 => apps().prop_map(|app| Reach::App { app }),
        4 => (apps(), flags()).prop_map(|(app, flag)| Reach::Flag { app, flag }),
    ]
}

fn proposal_ids() -> impl Strategy<Value = ProposalId> {
    (0..4).prop_map(|nth| ProposalId::new(&format!("p{nth}")).expect("an id"))
}

fn nodes() -> impl Strategy<Value = NodeId> {
    proptest::sample::select(&["one", "two"][..]).prop_map(|id| NodeId::new(id).expect("an id"))
}

/// One thing that was asked for, or which of several.
fn nths() -> impl Strategy<Value = Option<u8>> {
    proptest::sample::select(&[None, Some(0), Some(1)][..])
}

fn artifacts() -> impl Strategy<Value = ArtifactDigest> {
    (0_u8..20).prop_map(|nth| format!("sha256:{nth:064x}").parse().expect("a digest"))
}

fn effect_ids() -> impl Strategy<Value = EffectId> {
    (revisions(), 0_u8..2).prop_map(|(request, nth)| EffectId { request, nth })
}

fn causes() -> impl Strategy<Value = Cause> {
    let all =
        [Cause::Regressed(Sli::ErrorRate), Cause::Suspect(Sli::ErrorRate), Cause::Invalid, Cause::Drill];
    proptest::sample::select(all.to_vec())
}

fn rules_that_guard() -> impl Strategy<Value = Guardrail> {
    let all = [
        "error_rate worse than control -> flag off",
        "error_rate > 3% for 5m -> rollout to 0, notify owner",
        "monthly_spend > 5 -> disable non-critical, notify owner",
        "latency_p95 > 1s for 1m -> flag off, notify owner",
    ];
    proptest::sample::select(all.to_vec()).prop_map(|text| text.parse().expect("a rule"))
}

fn revisions() -> impl Strategy<Value = Revision> {
    (0_u64..30).prop_map(Revision)
}

fn patches() -> BoxedStrategy<TargetingPatch> {
    use proptest::option::weighted;
    (
        weighted(0.6, any::<bool>()),
        weighted(0.4, exposures()),
        weighted(0.2, serves()),
        weighted(0.1, targets()),
        weighted(0.2, rules()),
        weighted(0.1, prerequisites()),
        weighted(0.1, schedules()),
    )
        .prop_map(|(on, exposure, serve, targets, rules, prerequisites, schedule)| TargetingPatch {
            on,
            exposure,
            serve,
            targets,
            rules,
            prerequisites,
            schedule,
        })
        .boxed()
}

fn booleans() -> impl Strategy<Value = Vec<Variant>> {
    any::<bool>().prop_map(|on| {
        let variant = |key: &str, value: bool| Variant {
            key: VariantKey::new(key).expect("a key"),
            value: value.into(),
        };
        vec![variant("on", on), variant("off", false)]
    })
}

fn kinds() -> impl Strategy<Value = EnvironmentKind> {
    proptest::sample::select(
        &[EnvironmentKind::Preview, EnvironmentKind::Sandbox, EnvironmentKind::Production][..],
    )
}

fn tiers() -> impl Strategy<Value = Tier> {
    proptest::sample::select(&[Tier::Zero, Tier::One, Tier::Two][..])
}

/// Commands that change flags and what they depend on.
pub fn flag_commands() -> BoxedStrategy<Command> {
    let set = (apps(), flags(), environments(), patches()).prop_map(|(app, flag, environment, patch)| {
        Command::SetTargeting { app, flag, environment, patch: Box::new(patch) }
    });
    let create = (apps(), flags()).prop_map(|(app, key)| Command::CreateFlag {
        app,
        key,
        kind: FlagKind::Boolean,
        variants: vec![],
        off_variant: None,
        description: String::new(),
        owner: String::new(),
        critical: false,
        expires_at: None,
        browser: None,
    });
    let update = (apps(), flags(), proptest::option::of(booleans()), proptest::option::of(variants()));
    let update = update.prop_map(|(app, flag, variants, off_variant)| Command::UpdateFlag {
        app,
        flag,
        variants,
        off_variant,
        description: None,
        owner: None,
        critical: None,
        browser: None,
    });
    let extend = (apps(), flags(), proptest::option::of(environments()), proptest::option::of(moments()));
    let extend = extend.prop_map(|(app, flag, environment, expires_at)| Command::ExtendFlag {
        app,
        flag,
        environment,
        expires_at,
    });
    let archive = (apps(), flags()).prop_map(|(app, flag)| Command::ArchiveFlag { app, flag });
    let put = (scopes(), segments()).prop_map(|(scope, key)| Command::PutSegment {
        scope,
        segment: Segment { key, description: String::new(), when: None },
    });
    let members = (scopes(), segments(), units(), units()).prop_map(|(scope, segment, add, remove)| {
        Command::ChangeSegmentMembers { scope, segment, add, remove }
    });
    let remove =
        (scopes(), segments()).prop_map(|(scope, segment)| Command::RemoveSegment { scope, segment });
    prop_oneof![
        12 => set,
        3 => create,
        2 => update,
        2 => extend,
        1 => archive,
        2 => put,
        3 => members,
        1 => remove,
        4 => rollout_commands(),
    ]
    .boxed()
}

/// Commands of people about rollouts.
fn rollout_commands() -> BoxedStrategy<Command> {
    (apps(), flags(), environments(), 0_u8..8)
        .prop_map(|(app, flag, environment, what)| match what {
            0 => Command::PauseRollout { app, flag, environment },
            1 => Command::ResumeRollout { app, flag, environment },
            2 => Command::AbortRollout { app, flag, environment },
            3 | 4 => Command::AdvanceRollout { app, flag, environment },
            _ => {
                let plan = "10%/30m,approve,60%/1h,100%".parse().expect("a plan");
                Command::StartRollout { app, flag, environment, plan }
            }
        })
        .boxed()
}

pub fn kills() -> BoxedStrategy<Command> {
    (kill_ids(), reaches(), proptest::option::of(environments()))
        .prop_map(|(kill_id, reach, environment)| Command::Kill { kill_id, reach, environment })
        .boxed()
}

pub fn revivals() -> BoxedStrategy<Command> {
    (reaches(), proptest::option::of(environments()))
        .prop_map(|(reach, environment)| Command::Revive { reach, environment })
        .boxed()
}

fn holds() -> BoxedStrategy<Command> {
    let cause = proptest::sample::select(&[HoldCause::Guardrail, HoldCause::Budget, HoldCause::Gate][..]);
    (apps(), flags(), environments(), cause)
        .prop_map(|(app, flag, environment, cause)| Command::Hold { app, flag, environment, cause })
        .boxed()
}

fn app_commands() -> BoxedStrategy<Command> {
    let update = (apps(), tiers()).prop_map(|(app, tier)| Command::UpdateApp {
        app,
        name: None,
        owner: None,
        tier: Some(tier),
        monthly_budget_micros: None,
        currency: None,
        sensitive: None,
    });
    let create = (apps(), environments(), kinds()).prop_map(|(app, key, kind)| Command::CreateEnvironment {
        app,
        environment: NewEnvironment { key, kind, ends_at: None },
    });
    let extend = (apps(), environments(), moments())
        .prop_map(|(app, environment, ends_at)| Command::ExtendEnvironment { app, environment, ends_at });
    prop_oneof![update, create, extend].boxed()
}

fn removals() -> BoxedStrategy<Command> {
    (apps(), environments())
        .prop_map(|(app, environment)| Command::RemoveEnvironment { app, environment })
        .boxed()
}

fn proposals() -> BoxedStrategy<Command> {
    let inner = prop_oneof![4 => flag_commands(), 1 => app_commands()];
    let propose =
        (proposal_ids(), inner).prop_map(|(id, command)| Command::Propose { id, command: Box::new(command) });
    // The hash is filled in by who runs the command.
    let approve = proposal_ids().prop_map(|id| Command::ApproveProposal(approving(id)));
    let reject = proposal_ids().prop_map(|id| Command::RejectProposal { id });
    let apply = proposal_ids().prop_map(|id| Command::ApplyProposal { id, hash: Digest::default() });
    prop_oneof![3 => propose, 2 => approve, 1 => reject, 2 => apply].boxed()
}

/// Guardrails, acts on them, drills, and trying again.
fn guardrails() -> BoxedStrategy<Command> {
    let lists = proptest::option::of(proptest::collection::vec(rules_that_guard(), 0..2));
    let set = (apps(), proptest::option::of(flags()), proptest::option::of(environments()), lists).prop_map(
        |(app, flag, environment, guardrails)| Command::SetGuardrails { app, flag, environment, guardrails },
    );
    let act = (apps(), flags(), environments(), causes(), rules_that_guard()).prop_map(
        |(app, flag, environment, cause, guardrail)| {
            let acting = Acting {
                app,
                flag: Some(flag),
                environment: Some(environment),
                variant: None,
                cause,
                measured: None,
                artifact: None,
                evidence: None,
                found: None,
                actions: guardrail.then().to_vec(),
                guardrail: Some(guardrail),
            };
            Command::Act { acting: Box::new(acting) }
        },
    );
    let drill = (apps(), flags(), environments(), rules_that_guard())
        .prop_map(|(app, flag, environment, guardrail)| Command::Drill { app, flag, environment, guardrail });
    let replay = (apps(), effect_ids())
        .prop_map(|(app, id)| Command::Runbook { app, change: RunbookCommand::ReplayEffect { id } });
    let report = (apps(), environments(), artifacts()).prop_map(|(app, environment, artifact)| {
        Command::ReportRelease(Deployed { app, environment, artifact, version: None })
    });
    prop_oneof![set, act, drill, replay, report].boxed()
}

fn effects() -> BoxedStrategy<Command> {
    let request =
        Just(Command::RequestEffect { effect: "rollback".into(), payload: serde_json::Value::Null });
    let claim = (revisions(), nths(), nodes(), moments()).prop_map(|(request, nth, node, lease_until)| {
        Command::ClaimEffect { request, nth, node, lease_until }
    });
    let finish = (revisions(), nths(), nodes()).prop_map(|(request, nth, node)| Command::FinishEffect {
        request,
        nth,
        node,
        succeeded: true,
        outcome: String::new(),
    });
    prop_oneof![request, claim, finish].boxed()
}

/// Everything but revivals, and removals of environments, which take their kills along.
pub fn commands_that_revive_nothing() -> BoxedStrategy<Command> {
    prop_oneof![
        10 => flag_commands(),
        2 => kills(),
        1 => holds(),
        1 => app_commands(),
        3 => proposals(),
        1 => effects(),
        2 => guardrails(),
        2 => gate::gate_commands(),
    ]
    .boxed()
}

/// Everything.
pub fn commands() -> BoxedStrategy<Command> {
    prop_oneof![14 => commands_that_revive_nothing(), 2 => revivals(), 1 => removals()].boxed()
}

/// An approval of something else than was shown.
pub fn approving(id: ProposalId) -> Approving {
    Approving { id, hash: Digest::default(), role: None, checked: Vec::new() }
}
