//! Rollouts whose stage was held for long enough: they are looked at, one stage at a time. Nothing is wrong if this
//! is late: the exposure stays, and the next stage is held for its own time.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout_rules::change::Command;
use rollout_rules::rollout::Finding;
use rollout_rules::snapshot::RolloutPlace;
use rollout_rules::time::UnixMs;

use super::command::CommandHandle;
use super::published::Live;
use super::timers::{AGAIN, BURST, request};

/// Rollouts that were looked at in vain, and when they are looked at again.
pub(super) type Refused = BTreeMap<RolloutPlace, UnixMs>;

/// Steps those that are due. What outcomes say is not known here: the tier decides.
pub(super) async fn step_due(live: &Live, commands: &CommandHandle, refused: &mut Refused, now: UnixMs) {
    refused.retain(|_, again| *again > now);
    loop {
        let folded = Arc::clone(&live.load().folded);
        let due = folded.rollouts_due(now).filter(|place| !refused.contains_key(place));
        let due: Vec<(RolloutPlace, UnixMs, u8)> = due
            .filter_map(|place| {
                let view = folded.flag(&place.app, &place.flag)?;
                let rollout = view.record().rollout(&place.environment)?;
                Some((place.clone(), rollout.started_at, rollout.stage))
            })
            .take(BURST)
            .collect();
        if due.is_empty() {
            return;
        }
        for (place, started_at, stage) in due {
            let command = Command::StepRollout {
                app: place.app.clone(),
                flag: place.flag.clone(),
                environment: place.environment.clone(),
                started_at,
                stage,
                finding: Finding::NotEnoughData,
            };
            match commands.submit(request(&place.app, command, String::new())).await {
                // Its next stage, or its end: it is due no longer, and may be soon again. So it is where another
                // node was quicker.
                Ok(applied) => {
                    if applied.published.folded.rollout_due_at(&place).is_some_and(|due| due <= now) {
                        refused.insert(place, now.plus(AGAIN));
                    }
                }
                Err(error) => {
                    tracing::info!(%error, app = %place.app, flag = %place.flag, environment = %place.environment,
                        "a rollout did not go on");
                    refused.insert(place, now.plus(AGAIN));
                }
            }
        }
    }
}
