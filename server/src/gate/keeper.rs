//! Judges again what changed, and takes back what is denied. It follows the log; after a pause, or a restart, it looks at everything.
//!
//! Nothing waits for it to be safe: a decision that was made by what holds no more bars raising by itself. It only brings the new
//! answer, and lowers what serves a build that is denied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollout_rules::change::{Change, Command, GateCommand};
use rollout_rules::flag::EnvironmentKind;
use rollout_rules::gate::decision::{Decided, Decision, Occasion};
use rollout_rules::gate::waiver::{Waiver, WaiverState};
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, HOUR, UnixMs};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Gate;
use super::desk::DeskError;
use crate::clock::Clock;
use crate::state::{CommandHandle, Event, Live, Readiness, Refusal, Request, SubmitError};

/// What could not be done is tried again after so long.
const AGAIN: DurationMs = DurationMs(10_000);
/// How often one build is judged again at a time, if what it is judged by changes meanwhile.
const TRIES: u32 = 3;

type Place = (AppKey, EnvKey);

/// Runs for as long as it is polled. `verifier` is the gate's own address, for receipts.
pub async fn run(gate: Gate, live: Arc<Live>, commands: CommandHandle, clock: Clock, verifier: String) {
    let (_, mut events) = live.subscribe();
    if live.settled().await != Readiness::Ready {
        return;
    }
    let keeper = Keeper { gate, live, commands, verifier };
    let mut due: BTreeMap<Place, UnixMs> = keeper.everywhere(clock.now());
    let mut sweep_at = clock.now().plus(HOUR);
    loop {
        let now = clock.now();
        // The longest due first, one at a time: what happens meanwhile is noted in between, and a denial goes before the rest.
        let ready = due.iter().filter(|(_, at)| **at <= now).min_by_key(|(_, at)| **at);
        if let Some(place) = ready.map(|(place, _)| place.clone()) {
            match keeper.look(&place, clock.now()).await {
                Some(at) => due.insert(place, at),
                None => due.remove(&place),
            };
            loop {
                match events.try_recv() {
                    Ok(event) => keeper.note(&event, &mut due, clock.now()),
                    Err(TryRecvError::Lagged(_)) => due.extend(keeper.everywhere(clock.now())),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            continue;
        }
        if sweep_at <= now {
            keeper.sweep(now).await;
            sweep_at = clock.now().plus(HOUR);
        }
        let next = due.values().min().copied().unwrap_or(UnixMs::NEVER).min(sweep_at);
        tokio::select! {
            () = clock.reach(next) => {}
            event = events.recv() => match event {
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(_)) => due.extend(keeper.everywhere(clock.now())),
                Ok(event) => keeper.note(&event, &mut due, clock.now()),
            },
        }
    }
}

struct Keeper {
    gate: Gate,
    live: Arc<Live>,
    commands: CommandHandle,
    verifier: String,
}

impl Keeper {
    fn folded(&self) -> Arc<Snapshot> {
        Arc::clone(&self.live.load().folded)
    }

    /// Every environment that something was decided for.
    fn everywhere(&self, now: UnixMs) -> BTreeMap<Place, UnixMs> {
        let folded = self.folded();
        let mut places = BTreeMap::new();
        for app in folded.apps(None) {
            places.extend(of_app(&folded, &app.info().key).into_iter().map(|place| (place, now)));
        }
        places
    }

    /// What an entry gives to look at.
    fn note(&self, event: &Event, due: &mut BTreeMap<Place, UnixMs>, now: UnixMs) {
        let Event::Entry { entry, .. } = event else { return };
        match &entry.change {
            Change::PolicySet(_) => due.extend(self.everywhere(now)),
            Change::AppUpdated { app } => due.extend(at_once(of_app(&self.folded(), &app.key), now)),
            Change::SourceSet(set) => due.extend(at_once(of_app(&self.folded(), &set.app), now)),
            Change::WaiverPut(waiver) => due.extend(at_once(of_app(&self.folded(), &waiver.app), now)),
            Change::GateDecided(decision) => {
                let at = if decision.takes_down() { UnixMs(0) } else { now };
                due.insert((decision.app.clone(), decision.environment.clone()), at);
            }
            Change::ReleaseDeployed { app, environment, .. }
            | Change::TargetingChanged { app, environment, .. } => {
                let place = (app.clone(), environment.clone());
                if self.folded().decisions(app, environment).next().is_some() {
                    due.insert(place, now);
                }
            }
            _ => {}
        }
    }

    /// Brings an environment up to date. Says when to look again: none, when something happens.
    async fn look(&self, (app, environment): &Place, now: UnixMs) -> Option<UnixMs> {
        let folded = self.folded();
        let place = folded.app(app)?.environment(environment)?;
        let mut next = None;
        for artifact in watched(&folded, app, environment) {
            let decided = Arc::clone(folded.decision(app, environment, &artifact)?);
            if let Some(occasion) = occasion(&folded, &decided, now)
                && !self.again(&decided, occasion, now).await
            {
                next = Some(now.plus(AGAIN));
            }
            let ends = waiver_ends(&folded, &decided.decision, now);
            next = [next, ends].into_iter().flatten().min();
        }
        if place.environment().kind == EnvironmentKind::Production
            && let Err(error) = self.enforce(app, environment).await
        {
            tracing::warn!(%app, %environment, %error, "what the gate denies could not be taken back yet");
            next = Some(now.plus(AGAIN));
        }
        next
    }

    /// Judges a build again. Says whether that is done.
    async fn again(&self, decided: &Decided, occasion: Occasion, now: UnixMs) -> bool {
        let Decision { app, environment, artifact, .. } = &decided.decision;
        for _ in 0..TRIES {
            let (gate, folded) = (self.gate.clone(), self.folded());
            // What was found meanwhile counts too.
            let Some(latest) = folded.decision(app, environment, artifact) else { return true };
            let (earlier, seen) = (latest.decision.clone(), latest.revision);
            let verifier = self.verifier.clone();
            // Its evidence is read from disk, and judging is work.
            let work = tokio::task::spawn_blocking(move || {
                gate.decide_again(&earlier, occasion, verifier, &folded, now)
            });
            let decision = match work.await {
                Ok(Ok((decision, _))) => decision,
                Ok(Err(error @ DeskError::Forgotten { .. })) => {
                    // It never will be: until evidence is handed in again, nothing is raised by it.
                    tracing::warn!(%app, %environment, %error, "a build cannot be judged again");
                    return true;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a build could not be judged again");
                    return false;
                }
                Err(error) => {
                    tracing::error!(%error, "a build could not be judged again");
                    return false;
                }
            };
            let reason = match occasion {
                Occasion::WaiverChanged => "a waiver changed",
                _ => "what builds are judged by changed",
            };
            let command = Command::Gate(GateCommand::Decide { decision: Box::new(decision) });
            let request = Request { seen: Some(seen), ..request(app, command, reason) };
            match self.commands.submit(request).await {
                Ok(_) => return true,
                Err(SubmitError::Refused(Refusal::Stale { .. })) => {}
                Err(error) => {
                    tracing::warn!(%app, %error, "a build that was judged again could not be told of yet");
                    return false;
                }
            }
        }
        false
    }

    async fn enforce(&self, app: &AppKey, environment: &EnvKey) -> Result<(), SubmitError> {
        let folded = self.folded();
        let current = folded.releases(app, environment).and_then(|releases| releases.current());
        let decided = current.and_then(|current| folded.decision(app, environment, &current.artifact));
        let Some(decided) = decided.filter(|decided| decided.decision.takes_down()) else {
            return Ok(());
        };
        let command = GateCommand::Enforce { app: app.clone(), environment: environment.clone() };
        let reason = format!("the gate denies {}", decided.decision.artifact);
        self.commands.submit(request(app, Command::Gate(command), &reason)).await.map(|_| ())
    }

    async fn sweep(&self, now: UnixMs) {
        let (gate, folded) = (self.gate.clone(), self.folded());
        let work = tokio::task::spawn_blocking(move || gate.sweep(&folded, now));
        match work.await {
            Ok(Ok(0)) => {}
            Ok(Ok(gone)) => tracing::debug!(gone, "files of decisions that are kept no more are gone"),
            Ok(Err(error)) => tracing::warn!(%error, "the files of the gate could not be swept"),
            Err(error) => tracing::error!(%error, "the files of the gate could not be swept"),
        }
    }
}

fn at_once(places: BTreeSet<Place>, now: UnixMs) -> impl Iterator<Item = (Place, UnixMs)> {
    places.into_iter().map(move |place| (place, now))
}

/// The environments of an app that something was decided for.
fn of_app(folded: &Snapshot, app: &AppKey) -> BTreeSet<Place> {
    let environments = folded.app(app).into_iter().flat_map(|app| app.environments());
    let keys = environments.map(|record| record.environment().key.clone());
    keys.filter(|key| folded.decisions(app, key).next().is_some()).map(|key| (app.clone(), key)).collect()
}

/// The builds that matter in an environment: the one that runs, and the one that was judged last.
fn watched(folded: &Snapshot, app: &AppKey, environment: &EnvKey) -> BTreeSet<ArtifactDigest> {
    let current = folded.releases(app, environment).and_then(|releases| releases.current());
    let current = current.map(|current| current.artifact);
    let current = current.filter(|artifact| folded.decision(app, environment, artifact).is_some());
    let newest = folded.decisions(app, environment).next().map(|decided| decided.decision.artifact);
    current.into_iter().chain(newest).collect()
}

/// Why a build has to be judged again; none: it has not to be.
fn occasion(folded: &Snapshot, decided: &Decided, now: UnixMs) -> Option<Occasion> {
    let decision = &decided.decision;
    let app = folded.app(&decision.app)?;
    let changed = decision.policy != folded.policy_digest()
        || decision.tier != app.info().tier
        || decision.source != app.source_digest();
    if changed {
        return Some(Occasion::PolicyChanged);
    }
    let ended = folded.stale(decision, app, now).is_some();
    let helps = |waiver: &&Waiver| {
        waiver.state(now) == WaiverState::Active
            && waiver.environment.as_ref().is_none_or(|only| *only == decision.environment)
            && !decision.waivers.contains(&waiver.id)
            // One that was there when it was judged did not help.
            && app.waiver_revision(&waiver.id) > decided.revision
    };
    (ended || app.waivers().any(|waiver| helps(&waiver))).then_some(Occasion::WaiverChanged)
}

/// When the first waiver ends that a decision stands on.
fn waiver_ends(folded: &Snapshot, decision: &Decision, now: UnixMs) -> Option<UnixMs> {
    let app = folded.app(&decision.app)?;
    let ends = decision.waivers.iter().filter_map(|id| app.waiver(id)).map(|waiver| waiver.expires_at);
    ends.filter(|at| *at > now).min()
}

fn request(app: &AppKey, command: Command, reason: &str) -> Request {
    Request {
        caller: Caller {
            actor: Actor::Tidegate,
            scope: Scope::Admin,
            app: Some(app.clone()),
            environment: None,
            token: None,
        },
        command,
        seen: None,
        reason: reason.to_owned(),
        idempotency_key: None,
        plan: None,
    }
}
