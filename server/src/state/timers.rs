//! What happens because a moment has come: scheduled steps are made so, and whoever pushes answers is
//! told that some have changed. Nothing is wrong if this is late: answers are judged by the time of the
//! check.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout_rules::change::Command;
use rollout_rules::governance::{Actor, Caller, GateStanding, Scope};
use rollout_rules::snapshot::Due;
use rollout_rules::time::{DurationMs, UnixMs};
use tokio::sync::broadcast::error::RecvError;

use super::command::{CommandHandle, Request};
use super::published::{Event, Live, Readiness};
use crate::clock::Clock;

/// Most scheduled steps made so before looking at the time again.
const BURST: usize = 64;
/// How long a step that was refused waits before it is decided again.
const AGAIN: DurationMs = DurationMs(60_000);

/// Runs for as long as it is polled. What has come since `now` is told.
pub(super) async fn run(live: Arc<Live>, commands: CommandHandle, clock: Clock, now: UnixMs) {
    let (_, mut events) = live.subscribe();
    if live.settled().await != Readiness::Ready {
        return;
    }
    let mut refused: BTreeMap<Due, UnixMs> = BTreeMap::new();
    let mut seen = now;
    loop {
        let now = clock.now();
        apply_due(&live, &commands, &mut refused, now).await;
        let folded = Arc::clone(&live.load().folded);
        seen = seen.min(now);
        if folded.next_boundary(seen).is_some_and(|boundary| boundary <= now) {
            live.tell(Event::Boundary { at: now });
        }
        seen = now;
        let boundary = folded.next_boundary(now);
        let due = folded.next_due().filter(|due| *due > now);
        let again = refused.values().min().copied();
        let next = [boundary, due, again].into_iter().flatten().min().unwrap_or(UnixMs::NEVER);
        tokio::select! {
            () = clock.reach(next) => {}
            event = events.recv() => match event {
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(_)) | Ok(_) => while events.try_recv().is_ok() {},
            },
        }
    }
}

async fn apply_due(live: &Live, commands: &CommandHandle, refused: &mut BTreeMap<Due, UnixMs>, now: UnixMs) {
    refused.retain(|_, again| *again > now);
    loop {
        let folded = Arc::clone(&live.load().folded);
        let due: Vec<Due> =
            folded.due(now).filter(|due| !refused.contains_key(due)).take(BURST).cloned().collect();
        if due.is_empty() {
            return;
        }
        for due in due {
            if let Err(error) = commands.submit(request(&due)).await {
                tracing::info!(%error, app = %due.app, flag = %due.flag, environment = %due.environment,
                    "a scheduled step was not made");
            }
            // If it was, it is no longer due.
            refused.insert(due, now.plus(AGAIN));
        }
    }
}

fn request(due: &Due) -> Request {
    Request {
        caller: Caller {
            actor: Actor::Timer,
            scope: Scope::Admin,
            app: Some(due.app.clone()),
            environment: None,
            token: None,
        },
        command: Command::ApplySchedule {
            app: due.app.clone(),
            flag: due.flag.clone(),
            environment: due.environment.clone(),
            schedule: due.schedule.clone(),
        },
        seen: None,
        // Until there is a gate.
        gate: GateStanding::NotRequired,
        reason: String::new(),
        idempotency_key: None,
        plan: None,
    }
}
