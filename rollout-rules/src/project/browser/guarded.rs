//! Which flags are watched closely, since they were raised a while ago or still are.

use alloc::collections::BTreeSet;

use crate::flag::{MAX_PREREQUISITES, Serve, Targeting};
use crate::ids::{AppKey, EnvKey, FlagKey};
use crate::percent::Exposure;
use crate::snapshot::{App, Snapshot};
use crate::time::{DAY, DurationMs, UnixMs};

/// Until something changes.
const OPEN_END: DurationMs = DurationMs(u64::MAX);

/// Until when a flag is guarded, it and all that it depends on: while one divides units or its rollout runs, until
/// something changes; else for a day after what it serves here was changed last, be it that a hold was released, its end
/// moved, a variant got another value or pages began to get it. `None`: it is not.
///
/// A segment that grew guards no flag that names it: segments do not remember when they changed.
pub(super) fn guarded_until(
    snapshot: &Snapshot,
    app: &AppKey,
    environment: &EnvKey,
    flag: &FlagKey,
    now: UnixMs,
) -> Option<UnixMs> {
    let mut seen = BTreeSet::new();
    let until = Guards { app: snapshot.app(app)?, environment }.of(flag, &mut seen, 0)?;
    Some(until).filter(|until| *until > now)
}

struct Guards<'a> {
    app: &'a App,
    environment: &'a EnvKey,
}

impl<'a> Guards<'a> {
    /// The latest of a flag's own and of those that it depends on. `seen` have been looked at.
    fn of(&self, flag: &FlagKey, seen: &mut BTreeSet<&'a FlagKey>, depth: usize) -> Option<UnixMs> {
        let record = self.app.flag(flag)?;
        let state = record.state(self.environment)?;
        let targeting = &state.state().targeting;
        if !targeting.on {
            return None;
        }
        let rollout = record.rollout(self.environment);
        if divides(targeting) || rollout.is_some_and(|rollout| rollout.is_active()) {
            return Some(UnixMs(0).plus(OPEN_END));
        }
        let changed = record.changed_by(state.revision());
        let raised = rollout.map(|rollout| rollout.raised_at).into_iter().chain(changed).max();
        let own = raised.map(|at| at.plus(DAY));
        if depth == MAX_PREREQUISITES {
            return own;
        }
        let needed = targeting.prerequisites.iter().map(|it| &it.flag);
        let below =
            needed.filter_map(|flag| if seen.insert(flag) { self.of(flag, seen, depth + 1) } else { None });
        below.chain(own).max()
    }
}

fn divides(targeting: &Targeting) -> bool {
    let is_split = |serve: &Serve| matches!(serve, Serve::Split(_));
    targeting.exposure < Exposure::ALL
        || is_split(&targeting.serve)
        || targeting.rules.iter().any(|rule| is_split(&rule.serve))
}
