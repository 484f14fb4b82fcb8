//! Rollouts of flag `f` of app `shop`.

use rollout_rules::rollout::Rollout;
use rollout_rules::runbook::{Acting, Cause};
use rollout_rules::sli::guardrail::{Guardrail, Sli};

use super::*;

pub const MINUTE: u64 = 60_000;

pub fn start(environment: &str, plan: &str) -> Command {
    let plan: rollout_rules::plan::RolloutPlan = plan.parse().expect("a plan");
    Command::StartRollout { app: app("shop"), flag: flag("f"), environment: env(environment), plan }
}

pub fn act(verb: &str, environment: &str) -> Command {
    command(json!({"do": format!("{verb}_rollout"), "app": "shop", "flag": "f", "environment": environment}))
}

/// What the evaluator asks for where a rule of the flag, or of the app, holds in production: `flag off`, for example.
pub fn guardrail(world: &World, of_flag: bool, actions: &str) -> Command {
    let guardrail: Guardrail = format!("error_rate > 3% -> {actions}").parse().expect("a rule");
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let served = view.record().state(&env("production")).expect("a state").revision();
    let acting = Acting {
        app: app("shop"),
        flag: of_flag.then(|| flag("f")),
        environment: Some(env("production")),
        variant: None,
        cause: Cause::Regressed(Sli::ErrorRate),
        measured: of_flag.then_some(served),
        artifact: None,
        evidence: None,
        found: None,
        actions: guardrail.then().to_vec(),
        guardrail: Some(guardrail),
    };
    Command::Act { acting: Box::new(acting) }
}

/// A look at a stage of the rollout that is there.
pub fn step(world: &World, environment: &str, stage: u8, finding: Value) -> Command {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let started_at = view.record().rollout(&env(environment)).map_or(world.now, |it| it.started_at);
    command(
        json!({"do": "step_rollout", "app": "shop", "flag": "f", "environment": environment, "stage": stage,
        "started_at": started_at, "finding": finding}),
    )
}

pub fn no_data() -> Value {
    json!({"finding": "not_enough_data"})
}

pub fn rollout(world: &World, environment: &str) -> Rollout {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    view.rollout(&env(environment), world.now).expect("a rollout")
}

pub fn status(world: &World, environment: &str) -> &'static str {
    rollout(world, environment).status.as_str()
}

pub fn exposure(world: &World, environment: &str) -> u32 {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let targeting = view.targeting(&env(environment), world.now).expect("a state");
    if targeting.on { targeting.exposure.milli_percent() / 1000 } else { 0 }
}

pub fn after(world: &mut World, minutes: u64) {
    world.now = world.now.plus(DurationMs(minutes * MINUTE));
}

/// A shop of a tier whose flag rolls out in production by this plan, whatever approvals that took.
pub fn rolling(tier: u8, plan: &str) -> World {
    let mut world = World::shop(tier).without_approvals();
    world.done(&human("ann"), start("production", plan));
    world.rules = World::empty().rules;
    world
}

pub const PLAN: &str = "10%/30m,50%/2h,100%";
