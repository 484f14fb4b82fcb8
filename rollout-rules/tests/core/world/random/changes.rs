//! Random changes, about what is there or not: what a log may hold, whoever decided it.

use rollout_rules::decide::PREVIEW_ENDED;
use rollout_rules::ids::{ChannelName, JobName};
use rollout_rules::release::{Release, Reversal};
use rollout_rules::runbook::{Act, Channel, ChannelTarget, Credential, Job, Lowered, Payload};
use rollout_rules::sli::guardrail::Action;

use super::*;

fn targetings() -> BoxedStrategy<Targeting> {
    (any::<bool>(), exposures(), serves(), targets(), rules(), prerequisites(), schedules())
        .prop_map(|(on, exposure, serve, targets, rules, prerequisites, schedule)| Targeting {
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

fn states() -> BoxedStrategy<FlagState> {
    (targetings(), moments(), revisions())
        .prop_map(|(targeting, expires_at, targeting_revision)| FlagState {
            targeting,
            expires_at,
            targeting_revision,
            hold: None,
        })
        .boxed()
}

fn definitions() -> BoxedStrategy<Flag> {
    (flags(), booleans(), variants(), any::<bool>(), any::<bool>())
        .prop_map(|(key, mut variants, off_variant, empty, archived)| {
            if empty {
                variants.clear();
            }
            Flag {
                key,
                kind: FlagKind::Boolean,
                variants,
                off_variant,
                description: String::new(),
                owner: String::new(),
                critical: false,
                created_at: START,
                extensions: u32::MAX,
                archived_at: archived.then_some(START),
                browser: None,
            }
        })
        .boxed()
}

fn environment_values() -> impl Strategy<Value = Environment> {
    (environments(), kinds(), proptest::option::of(moments())).prop_map(|(key, kind, ends_at)| Environment {
        key,
        kind,
        created_at: START,
        ends_at,
    })
}

fn app_infos() -> impl Strategy<Value = AppInfo> {
    (apps(), tiers()).prop_map(|(key, tier)| AppInfo {
        key,
        name: String::new(),
        owner: String::new(),
        tier,
        monthly_budget_micros: None,
        currency: None,
        created_at: START,
        sensitive: Vec::new(),
    })
}

fn changes_of_flags() -> BoxedStrategy<Change> {
    let created = (apps(), definitions(), proptest::collection::btree_map(environments(), states(), 0..3))
        .prop_map(|(app, flag, states)| Change::FlagCreated { app, flag, states });
    let updated = (apps(), definitions()).prop_map(|(app, flag)| Change::FlagUpdated { app, flag });
    let ends = proptest::option::of(Just(RolloutEnd::TakenOver));
    let targeting = (apps(), flags(), environments(), targetings(), any::<bool>(), ends);
    let targeting = targeting.prop_map(|(app, flag, environment, targeting, release_hold, ends_rollout)| {
        let targeting = Box::new(targeting);
        let schedule = None;
        Change::TargetingChanged { app, flag, environment, targeting, schedule, release_hold, ends_rollout }
    });
    let extended =
        (apps(), flags(), proptest::collection::btree_map(environments(), moments(), 0..3)).prop_map(
            |(app, flag, expires_at): (_, _, BTreeMap<_, _>)| Change::FlagExtended { app, flag, expires_at },
        );
    let archived = (apps(), flags()).prop_map(|(app, flag)| Change::FlagArchived { app, flag });
    let hold = proptest::option::of(Just(Hold { cause: HoldCause::Gate, at: START, reason: String::new() }));
    let hold = (apps(), flags(), environments(), hold)
        .prop_map(|(app, flag, environment, hold)| Change::HoldChanged { app, flag, environment, hold });
    prop_oneof![
        4 => created,
        2 => updated,
        8 => targeting,
        2 => extended,
        1 => archived,
        2 => hold,
        4 => changes_of_rollouts(),
    ]
    .boxed()
}

/// Rollouts at stages that their plans have or not.
fn rollouts() -> BoxedStrategy<Box<Rollout>> {
    let plans = prop_oneof![
        4 => Just("1%/30m,approve,50%/1h,100%".parse().expect("a plan")),
        1 => Just(RolloutPlan { stages: Vec::new() }),
    ];
    let statuses = prop_oneof![
        4 => Just(RolloutStatus::Running),
        1 => (moments(), proptest::option::of(moments())).prop_map(|(at, held)| RolloutStatus::Paused {
            at,
            held: held.map(|at| Suspicion { at, reason: "errors".into() }),
        }),
        1 => moments().prop_map(|at| RolloutStatus::Waiting { at, why: WaitsFor::Outcomes }),
        1 => moments().prop_map(|at| RolloutStatus::Ended { at: Some(at), how: RolloutEnd::Aborted }),
    ];
    (plans, 0_u8..4, statuses, moments(), any::<bool>())
        .prop_map(|(plan, stage, status, since, turned_on)| {
            Box::new(Rollout {
                plan,
                stage,
                since,
                status,
                started_at: START,
                started_by: Actor::Timer,
                raised_at: since,
                turned_on,
            })
        })
        .boxed()
}

fn changes_of_rollouts() -> BoxedStrategy<Change> {
    let place = || (apps(), flags(), environments(), rollouts());
    let started = (place(), exposures()).prop_map(|((app, flag, environment, rollout), exposure)| {
        Change::RolloutStarted { app, flag, environment, rollout, exposure }
    });
    let advanced = (place(), exposures()).prop_map(|((app, flag, environment, rollout), exposure)| {
        Change::RolloutAdvanced { app, flag, environment, rollout, exposure }
    });
    let changed = place().prop_map(|(app, flag, environment, rollout)| Change::RolloutChanged {
        app,
        flag,
        environment,
        rollout,
    });
    let serves = (proptest::option::of(any::<bool>()), proptest::option::of(exposures()));
    let ended = (place(), serves).prop_map(|((app, flag, environment, rollout), (on, exposure))| {
        Change::RolloutEnded { app, flag, environment, rollout, on, exposure }
    });
    prop_oneof![2 => started, 1 => advanced, 1 => changed, 1 => ended].boxed()
}

fn some_environments() -> impl Strategy<Value = Vec<EnvKey>> {
    proptest::collection::vec(environments(), 0..3)
}

fn changes_of_apps() -> BoxedStrategy<Change> {
    let created = (app_infos(), proptest::collection::vec(environment_values(), 0..4))
        .prop_map(|(app, environments)| Change::AppCreated { app, environments });
    let updated = app_infos().prop_map(|app| Change::AppUpdated { app });
    let environment = (apps(), environment_values(), moments(), some_environments(), some_environments())
        .prop_map(|(app, environment, expires_at, replaces, untold)| Change::EnvironmentCreated {
            app,
            environment,
            expires_at,
            replaces,
            untold,
        });
    let moved = (apps(), environment_values())
        .prop_map(|(app, environment)| Change::EnvironmentUpdated { app, environment });
    let removed = (apps(), environments(), any::<bool>())
        .prop_map(|(app, environment, untold)| Change::EnvironmentRemoved { app, environment, untold });
    prop_oneof![3 => created, 1 => updated, 2 => environment, 1 => moved, 1 => removed].boxed()
}

fn webhook(app: Option<AppKey>) -> Webhook {
    Webhook {
        id: WebhookId::new("w").expect("an id"),
        url: "https://hooks.example.org/t".into(),
        description: String::new(),
        app,
        environment: None,
        kinds: vec![ChangeKind::Killed],
        secrets: vec![WebhookSecret::new("whsec_c2VjcmV0".into())],
        enabled: true,
        created_at: START,
    }
}

fn changes_around_flags() -> BoxedStrategy<Change> {
    let killed = (kill_ids(), reaches(), proptest::option::of(environments()))
        .prop_map(|(kill_id, reach, environment)| Change::Killed { kill_id, reach, environment });
    let revived = (reaches(), proptest::option::of(environments()))
        .prop_map(|(reach, environment)| Change::Revived { reach, environment });
    let put = (scopes(), segments()).prop_map(|(scope, key)| Change::SegmentPut {
        scope,
        segment: Segment { key, description: String::new(), when: None },
    });
    let members = (scopes(), segments(), units(), units()).prop_map(|(scope, segment, add, remove)| {
        Change::SegmentMembersChanged { scope, segment, add, remove }
    });
    let removed =
        (scopes(), segments()).prop_map(|(scope, segment)| Change::SegmentRemoved { scope, segment });
    let token = Change::TokenCreated {
        token: Token {
            id: TokenId::new("t").expect("an id"),
            hash: Digest::default(),
            scope: Scope::Viewer,
            app: None,
            environment: None,
            actor: Actor::Human { name: "ann".into() },
            created_at: START,
            expires_at: None,
            revoked_at: None,
            origins: Vec::new(),
            outcomes: None,
        },
    };
    let revoked = Just(Change::TokenRevoked { token: TokenId::new("t").expect("an id") });
    let proposed =
        (proposal_ids(), flag_commands(), moments()).prop_map(|(id, command, expires_at)| Change::Proposed {
            id,
            command: Box::new(command),
            hash: Digest::default(),
            seen: None,
            stood_on: None,
            expires_at,
        });
    let approved = proposal_ids().prop_map(|id| Change::ProposalApproved(approving(id)));
    let rejected = proposal_ids().prop_map(|id| Change::ProposalRejected { id });
    let asked = Just(Change::EffectRequested { effect: "rollback".into(), payload: serde_json::Value::Null });
    let ended = (apps(), environments()).prop_map(|(app, environment)| Change::EffectRequested {
        effect: PREVIEW_ENDED.into(),
        payload: serde_json::json!({"app": app, "environment": environment, "ended_at": START}),
    });
    let claimed = (revisions(), nths(), nodes(), moments()).prop_map(|(request, nth, node, lease_until)| {
        Change::EffectClaimed { request, nth, node, lease_until }
    });
    let done = (revisions(), nths()).prop_map(|(request, nth)| Change::EffectDone {
        request,
        nth,
        succeeded: false,
        outcome: String::new(),
    });
    let webhook =
        proptest::option::of(apps()).prop_map(|app| Change::WebhookPut { webhook: Box::new(webhook(app)) });
    let unhooked = Just(Change::WebhookRemoved { id: WebhookId::new("w").expect("an id") });
    prop_oneof![
        5 => killed,
        4 => revived,
        3 => put,
        3 => members,
        1 => removed,
        1 => Just(token),
        1 => revoked,
        3 => proposed,
        1 => approved,
        1 => rejected,
        1 => asked,
        1 => ended,
        1 => claimed,
        1 => done,
        1 => webhook,
        1 => unhooked,
    ]
    .boxed()
}

/// Guardrails, whom they call, and what they did, whether it makes sense or not.
fn changes_around_guardrails() -> BoxedStrategy<Change> {
    let lists = proptest::option::of(proptest::collection::vec(rules_that_guard(), 0..2));
    let set = (apps(), proptest::option::of(flags()), proptest::option::of(environments()), lists).prop_map(
        |(app, flag, environment, guardrails)| Change::GuardrailsChanged {
            app,
            flag,
            environment,
            guardrails,
        },
    );
    let hold = || Hold { cause: HoldCause::Guardrail, at: START, reason: String::new() };
    let lowered = prop_oneof![
        Just(Lowered::Held { hold: hold() }),
        Just(Lowered::NonCritical { hold: hold() }),
        targetings().prop_map(|targeting| Lowered::Targeted { targeting: Box::new(targeting) }),
    ];
    let lowered = proptest::collection::vec(lowered, 0..3);
    let place = (apps(), proptest::option::of(flags()), proptest::option::of(environments()));
    let acted = (place, causes(), rules_that_guard(), lowered).prop_map(
        |((app, flag, environment), cause, rule, lowered)| {
            let effects = rule.then().iter().filter(|action| **action != Action::FlagOff).cloned().collect();
            let act = Act {
                app,
                flag,
                environment,
                guardrail: Some(rule),
                variant: None,
                cause,
                measured: None,
                evidence: None,
                lowered,
                effects,
                release: None,
            };
            Change::GuardrailActed { act: Box::new(act) }
        },
    );
    let job = |name: &str| Job {
        name: JobName::new(name).expect("a name"),
        url: "https://ci.example.org/t".into(),
        description: String::new(),
        payload: Payload::Plain,
        credential: Some(Credential::new("secret".into())),
        secrets: vec![WebhookSecret::new("whsec_c2VjcmV0".into())],
        created_at: START,
    };
    let put = apps().prop_map(move |app| Change::JobPut { app, job: Box::new(job("rollback")) });
    let job =
        apps().prop_map(|app| Change::JobRemoved { app, job: JobName::new("rollback").expect("a name") });
    let channel = apps().prop_map(|app| {
        let target = ChannelTarget::Mail { to: vec!["ann@example.org".into()] };
        let name = ChannelName::new("on-call").expect("a name");
        let channel = Channel { name, description: String::new(), target, created_at: START };
        Change::ChannelPut { app, channel: Box::new(channel) }
    });
    let silent = apps().prop_map(|app| Change::ChannelRemoved {
        app,
        channel: ChannelName::new("on-call").expect("a name"),
    });
    let replayed = (apps(), effect_ids()).prop_map(|(app, id)| Change::EffectReplayed { app, id });
    prop_oneof![3 => set, 4 => acted, 1 => put, 1 => job, 1 => channel, 1 => silent, 1 => replayed, 3 => releases()].boxed()
}

/// Deployments, and acts that have what was deployed reverted, or was not.
fn releases() -> BoxedStrategy<Change> {
    let deployed = (apps(), environments(), artifacts(), proptest::option::of(Just("1.4.2".to_owned())))
        .prop_map(|(app, environment, artifact, version)| Change::ReleaseDeployed {
            app,
            environment,
            artifact,
            version,
        });
    let release = || {
        (artifacts(), revisions()).prop_map(|(artifact, revision)| Release {
            artifact,
            version: None,
            revision,
            deployed_at: START,
            acted_on: None,
        })
    };
    let reverted = (apps(), environments(), causes(), release(), proptest::option::of(release())).prop_map(
        |(app, environment, cause, current, back_to)| {
            let act = Act {
                app,
                flag: None,
                environment: Some(environment),
                guardrail: None,
                variant: None,
                cause,
                measured: Some(current.revision),
                evidence: None,
                lowered: Vec::new(),
                effects: vec![Action::RevertRelease],
                release: Some(Box::new(Reversal { current, back_to })),
            };
            Change::GuardrailActed { act: Box::new(act) }
        },
    );
    prop_oneof![3 => deployed, 1 => reverted].boxed()
}

/// Any change, about what is there or not.
pub fn changes() -> BoxedStrategy<Change> {
    prop_oneof![
        8 => changes_of_flags(),
        4 => changes_of_apps(),
        8 => changes_around_flags(),
        3 => changes_around_guardrails(),
        3 => gate::gate_changes(),
    ]
    .boxed()
}
