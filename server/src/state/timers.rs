//! What happens because a moment has come: whoever pushes answers is told that some have changed, scheduled steps
//! are made so, rollouts go on, and previews that ended a while ago go. Nothing is wrong if this is late: answers are
//! judged by the time of the check.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout_rules::change::Command;
use rollout_rules::decide::PREVIEW_GRACE;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, Revision};
use rollout_rules::snapshot::{Due, PreviewEnd, Snapshot};
use rollout_rules::time::{DurationMs, UnixMs};
use tokio::sync::broadcast::error::RecvError;

use super::command::{CommandHandle, Refusal, Request, SubmitError};
use super::published::{Event, Live, Readiness};
use super::rollouts;
use crate::clock::Clock;

/// Most scheduled steps made so before looking at the time again.
pub(super) const BURST: usize = 64;
/// How long a step that was refused waits before it is decided again.
pub(super) const AGAIN: DurationMs = DurationMs(60_000);

/// Runs for as long as it is polled. What has come since `now` is told.
pub(super) async fn run(live: Arc<Live>, commands: CommandHandle, clock: Clock, now: UnixMs) {
    let (_, mut events) = live.subscribe();
    if live.settled().await != Readiness::Ready {
        return;
    }
    let mut refused: BTreeMap<Due, Again> = BTreeMap::new();
    let mut stay: BTreeMap<PreviewEnd, UnixMs> = BTreeMap::new();
    let mut waiting = rollouts::Refused::new();
    let mut go_on = live.watch_rollouts_go_on();
    let mut seen = now;
    loop {
        let now = clock.now();
        seen = seen.min(now);
        // First of all: the rest may wait for the log.
        if live.load().folded.next_boundary(seen).is_some_and(|boundary| boundary <= now) {
            live.tell(Event::Boundary { at: now });
        }
        seen = now;
        apply_due(&live, &commands, &mut refused, now).await;
        let rollouts_go_on = *go_on.borrow_and_update();
        if rollouts_go_on {
            rollouts::step_due(&live, &commands, &mut waiting, now).await;
        }
        end_previews(&live, &commands, &mut stay, now).await;
        let folded = Arc::clone(&live.load().folded);
        let boundary = folded.next_boundary(now);
        let due = folded.next_due().filter(|due| *due > now);
        let rollout = folded.next_rollout_due(now);
        let again = refused
            .values()
            .map(|again| &again.at)
            .chain(stay.values())
            .chain(waiting.values())
            .min()
            .copied();
        let ended = folded.preview_ends().map(goes_at).find(|goes_at| *goes_at > now);
        let next =
            [boundary, due, rollout, again, ended].into_iter().flatten().min().unwrap_or(UnixMs::NEVER);
        tokio::select! {
            () = clock.reach(next) => {}
            // The sender lives in `live`, so it does not fail.
            _ = go_on.changed() => {}
            event = events.recv() => match event {
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(_)) | Ok(_) => while events.try_recv().is_ok() {},
            },
        }
    }
}

/// When a step that was not made is decided again.
struct Again {
    /// Then at the latest.
    at: UnixMs,
    /// The gate bars it: as soon as another entry than this one is the last that may have changed that.
    gate: Option<Revision>,
}

async fn apply_due(live: &Live, commands: &CommandHandle, refused: &mut BTreeMap<Due, Again>, now: UnixMs) {
    loop {
        let folded = Arc::clone(&live.load().folded);
        let gate = |due: &Due| folded.gate_changed_at(&due.app, &due.environment);
        refused.retain(|due, again| again.at > now && again.gate.is_none_or(|seen| seen == gate(due)));
        let due: Vec<Due> =
            folded.due(now).filter(|due| !refused.contains_key(due)).take(BURST).cloned().collect();
        if due.is_empty() {
            return;
        }
        for due in due {
            let barred = match commands.submit(step(&due)).await {
                // If it was made, it is no longer due; else the owner was told that it waits.
                Ok(applied) => applied.published.folded.waits(&due),
                Err(error) => {
                    tracing::info!(%error, app = %due.app, flag = %due.flag, environment = %due.environment,
                        "a scheduled step was not made");
                    matches!(error, SubmitError::Refused(Refusal::GateMissing { .. }))
                }
            };
            let gate = barred.then(|| gate(&due));
            let lapses_at = folded.flag(&due.app, &due.flag).and_then(|view| {
                view.record().state(&due.environment)?.state().targeting.step_lapses_at(now)
            });
            let at = lapses_at.filter(|at| barred && *at > now).unwrap_or(now.plus(AGAIN));
            refused.insert(due, Again { at, gate });
        }
    }
}

fn goes_at(end: &PreviewEnd) -> UnixMs {
    end.at.plus(PREVIEW_GRACE)
}

/// Previews whose end and grace are over are told of and go; those that went untold are told of. Those with a
/// kill stay until people take it back.
async fn end_previews(
    live: &Live,
    commands: &CommandHandle,
    stay: &mut BTreeMap<PreviewEnd, UnixMs>,
    now: UnixMs,
) {
    stay.retain(|_, again| *again > now);
    loop {
        let folded = Arc::clone(&live.load().folded);
        let over = folded.preview_ends().take_while(|end| goes_at(end) <= now).cloned();
        let over = over.chain(folded.untold_ends()).filter(|end| !stay.contains_key(end));
        let over: Vec<PreviewEnd> = over.take(BURST).collect();
        if over.is_empty() {
            return;
        }
        for end in over {
            end_preview(&folded, commands, &end).await;
            // If it went and was told of, it is no longer there.
            stay.insert(end, now.plus(AGAIN));
        }
    }
}

async fn end_preview(folded: &Snapshot, commands: &CommandHandle, end: &PreviewEnd) {
    if folded.app(&end.app).is_some_and(|app| app.has_kill_in(&end.environment)) {
        return;
    }
    // One entry tells of it, the next removes it; after a crash between them the first is there already.
    for _ in 0..2 {
        let command = Command::EndPreview { app: end.app.clone(), environment: end.environment.clone() };
        let reason = format!("the preview ended at {}", end.at);
        match commands.submit(request(&end.app, command, reason)).await {
            Ok(applied) => {
                let app = applied.published.folded.app(&end.app);
                if app.is_none_or(|app| app.environment(&end.environment).is_none()) {
                    return;
                }
            }
            Err(error) => {
                tracing::info!(%error, app = %end.app, environment = %end.environment,
                    "an ended preview did not go");
                return;
            }
        }
    }
}

fn step(due: &Due) -> Request {
    let command = Command::ApplySchedule {
        app: due.app.clone(),
        flag: due.flag.clone(),
        environment: due.environment.clone(),
        schedule: due.schedule.clone(),
    };
    request(&due.app, command, String::new())
}

pub(super) fn request(app: &AppKey, command: Command, reason: String) -> Request {
    Request {
        caller: Caller {
            actor: Actor::Timer,
            scope: Scope::Admin,
            app: Some(app.clone()),
            environment: None,
            token: None,
        },
        command,
        seen: None,
        reason,
        idempotency_key: None,
        plan: None,
    }
}
