//! The fold of the log: everything that is known at one revision.
//!
//! A snapshot is a persistent value: cloning it is cheap, and [`Snapshot::apply`] shares with its
//! predecessor all that the entry did not touch, so a change costs the same with a hundred apps as with
//! a hundred thousand.

mod app;
mod apply;
mod checkpoint;
mod fold_flags;
mod fold_kills;
mod fold_others;
mod fold_runbook;
mod gate;
mod indexing;
mod instants;
mod recall;
mod releases;
mod rollouts;
mod runbook;
mod serving;
mod subject;
mod supposed;
mod uses;

use alloc::sync::Arc;
use alloc::vec::Vec;

use rpds::{QueueSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};

pub use self::app::{App, EnvironmentRecord, FlagRecord, KEPT_TOUCHES, SegmentRecord, StateRecord, Touch};
use self::app::{Touches, after};
pub use self::checkpoint::{CHECKPOINT_FORMAT, Checkpoint, CheckpointError};
pub(crate) use self::fold_flags::variant_when_on;
use self::gate::Gate;
pub use self::gate::{KEPT_DECISIONS, KEPT_PIPELINE_TOKENS, MAX_GRANTS, TOKEN_SKEW};
use self::instants::Instants;
pub use self::recall::{KEPT_IDEMPOTENCY_KEYS, KEPT_KILL_IDS, PastKill, PastRequest};
use self::recall::{Recalled, RequestName};
pub use self::rollouts::RolloutPlace;
use self::rollouts::Rollouts;
use self::runbook::Runs;
pub use self::runbook::{Kept, Runbook};
pub use self::serving::Served;
pub use self::subject::{Apps, Subject};
use self::uses::Uses;
pub(crate) use self::uses::collect_segments;
use crate::evaluate::SharedRules;
use crate::flag::{Height, Kill, Kills, SegmentScope, Targeting};
use crate::governance::Token;
use crate::ids::{
    AppKey, Digest, EnvKey, FlagKey, IdempotencyKey, KillId, NodeId, ProposalId, Revision, ScheduleId,
    SegmentKey, TokenId, WebhookId,
};
use crate::proposal::Proposal;
use crate::time::{DurationMs, UnixMs};
use crate::webhook::WebhookRecord;

/// Most effects that wait or run at one time.
pub const MAX_OPEN_EFFECTS: usize = 10_000;
/// Most tokens, those included that were revoked and are kept.
pub const MAX_TOKENS: usize = 1_000_000;
/// For so long a token is kept after it was revoked, and then until another is: after that only the log knows of it,
/// and it is as if it had never been.
pub const REVOKED_TOKENS_KEPT: DurationMs = DurationMs::days(30);

/// Everything that is known at one revision of the log.
#[derive(Clone, Default)]
pub struct Snapshot {
    revision: Revision,
    hash: Digest,
    apps: RedBlackTreeMapSync<AppKey, Arc<App>>,
    whole: Arc<Whole>,
    tokens: RedBlackTreeMapSync<TokenId, Arc<Token>>,
    revoked_tokens: RedBlackTreeSetSync<(UnixMs, TokenId)>,
    proposals: RedBlackTreeMapSync<ProposalId, Arc<Proposal>>,
    open_proposals: RedBlackTreeMapSync<Option<AppKey>, RedBlackTreeSetSync<ProposalId>>,
    closed_proposals: QueueSync<ProposalId>,
    effects: RedBlackTreeMapSync<Revision, Arc<OpenEffect>>,
    webhooks: RedBlackTreeMapSync<WebhookId, Arc<WebhookRecord>>,
    runs: Runs,
    schedule: RedBlackTreeMapSync<Due, ()>,
    preview_ends: RedBlackTreeSetSync<PreviewEnd>,
    untold_ends: RedBlackTreeMapSync<(AppKey, EnvKey), UnixMs>,
    rollouts: Rollouts,
    instants: Instants,
    recalled: Recalled,
    gate: Arc<Gate>,
}

/// What all apps share: kills of everything, shared segments.
#[derive(Clone, Default)]
struct Whole {
    rules: SharedRules,
    /// Last kill or revival of everything.
    kills_revision: Revision,
    /// Last change that every app serves.
    served_revision: Revision,
    touches: Touches,
    segments: RedBlackTreeMapSync<SegmentKey, Arc<SegmentRecord>>,
    segment_uses: Uses<SegmentKey, (AppKey, FlagKey)>,
}

/// Something outside that is to be done, and is not yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenEffect {
    /// What kind of effect.
    pub effect: alloc::string::String,
    /// What it needs.
    pub payload: serde_json::Value,
    /// When it was asked for.
    pub requested_at: UnixMs,
    /// Who does it.
    pub claim: Option<Claim>,
}

/// That a node does an effect, and nobody else until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who.
    pub node: NodeId,
    /// Until when.
    pub lease_until: UnixMs,
}

/// A scheduled change and where it waits. Sorted by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: UnixMs,
    /// The app.
    pub app: AppKey,
    /// The flag.
    pub flag: FlagKey,
    /// The environment.
    pub environment: EnvKey,
    /// Which.
    pub schedule: ScheduleId,
}

/// The end of a preview. Sorted by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PreviewEnd {
    /// When.
    pub at: UnixMs,
    /// The app.
    pub app: AppKey,
    /// The preview.
    pub environment: EnvKey,
}

impl Snapshot {
    /// The position of the last entry in it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The chain hash after the last entry in it.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// One app.
    pub fn app(&self, key: &AppKey) -> Option<&App> {
        self.apps.get(key).map(|app| &**app)
    }

    /// How many apps there are.
    pub fn app_count(&self) -> usize {
        self.apps.size()
    }

    /// The apps by key, from after `cursor`.
    pub fn apps(&self, cursor: Option<&AppKey>) -> impl DoubleEndedIterator<Item = &App> {
        self.apps.range::<AppKey, _>(after(cursor)).map(|(_, app)| &**app)
    }

    /// One flag, archived or not, with what lies above it.
    pub fn flag(&self, app: &AppKey, flag: &FlagKey) -> Option<FlagView<'_>> {
        let app = self.app(app)?;
        Some(FlagView { record: app.flag(flag)?, app, whole: &self.whole })
    }

    /// Kills and revivals of everything.
    pub fn kills(&self) -> &Kills {
        &self.whole.rules.kills
    }

    /// The last kill or revival of everything: what whoever takes such kills back must have seen, if they
    /// name a revision.
    pub fn kills_revision(&self) -> Revision {
        self.whole.kills_revision
    }

    /// The shared segments by key, from after `cursor`.
    pub fn shared_segments(
        &self,
        cursor: Option<&SegmentKey>,
    ) -> impl DoubleEndedIterator<Item = &SegmentRecord> {
        self.whole.segments.range::<SegmentKey, _>(after(cursor)).map(|(_, record)| &**record)
    }

    /// One segment, of an app or shared.
    pub fn segment(&self, scope: &SegmentScope, key: &SegmentKey) -> Option<&SegmentRecord> {
        match scope {
            SegmentScope::Shared => self.whole.segments.get(key).map(|record| &**record),
            SegmentScope::App(app) => self.app(app)?.segment(key),
        }
    }

    /// The flags that name a shared segment.
    pub fn users_of_shared_segment(&self, key: &SegmentKey) -> impl Iterator<Item = &(AppKey, FlagKey)> {
        self.whole.segment_uses.of(key)
    }

    /// One token; a revoked one for [`REVOKED_TOKENS_KEPT`].
    pub fn token(&self, id: &TokenId) -> Option<&Token> {
        self.token_to_keep(id).map(|token| &**token)
    }

    /// One token, revoked or not, for whoever looks at it again and again.
    pub fn token_to_keep(&self, id: &TokenId) -> Option<&Arc<Token>> {
        self.tokens.get(id)
    }

    /// The tokens by id, revoked ones that are kept included, from after `cursor`.
    pub fn tokens(&self, cursor: Option<&TokenId>) -> impl DoubleEndedIterator<Item = &Token> {
        self.tokens.range::<TokenId, _>(after(cursor)).map(|(_, token)| &**token)
    }

    /// How many tokens there are, revoked ones that are kept included.
    pub fn token_count(&self) -> usize {
        self.tokens.size()
    }

    /// One proposal: an open one, or one of the last that closed.
    pub fn proposal(&self, id: &ProposalId) -> Option<&Proposal> {
        self.proposals.get(id).map(|proposal| &**proposal)
    }

    /// The open proposals and the last closed ones, by id, from after `cursor`.
    pub fn proposals(&self, cursor: Option<&ProposalId>) -> impl DoubleEndedIterator<Item = &Proposal> {
        self.proposals.range::<ProposalId, _>(after(cursor)).map(|(_, proposal)| &**proposal)
    }

    /// How many proposals of an app (or of none) are open, lapsed ones included until they are swept.
    pub fn open_proposals(&self, app: Option<&AppKey>) -> usize {
        self.open_proposals.get(&app.cloned()).map_or(0, RedBlackTreeSetSync::size)
    }

    /// The effects that wait or run, by the revision of their request.
    pub fn effects(&self) -> impl DoubleEndedIterator<Item = (Revision, &OpenEffect)> {
        self.effects.iter().map(|(revision, effect)| (*revision, &**effect))
    }

    /// How many effects wait or run.
    pub fn effect_count(&self) -> usize {
        self.effects.size()
    }

    /// One effect that waits or runs.
    pub fn effect(&self, request: Revision) -> Option<&OpenEffect> {
        self.effects.get(&request).map(|effect| &**effect)
    }

    /// One webhook.
    pub fn webhook(&self, id: &WebhookId) -> Option<&WebhookRecord> {
        self.webhooks.get(id).map(|record| &**record)
    }

    /// The webhooks by id, from after `cursor`.
    pub fn webhooks(&self, cursor: Option<&WebhookId>) -> impl DoubleEndedIterator<Item = &WebhookRecord> {
        self.webhooks.range::<WebhookId, _>(after(cursor)).map(|(_, record)| &**record)
    }

    /// How many webhooks there are.
    pub fn webhook_count(&self) -> usize {
        self.webhooks.size()
    }

    /// The scheduled changes that are due, by time.
    pub fn due(&self, now: UnixMs) -> impl Iterator<Item = &Due> {
        self.schedule.keys().take_while(move |due| due.at <= now)
    }

    /// Whether a scheduled change is still to be made.
    pub fn waits(&self, due: &Due) -> bool {
        self.schedule.contains_key(due)
    }

    /// When the next scheduled change is due, whether it has come or not.
    pub fn next_due(&self) -> Option<UnixMs> {
        self.schedule.first().map(|(due, ())| due.at)
    }

    /// The ends of previews that are there, by time, those that have come first.
    pub fn preview_ends(&self) -> impl Iterator<Item = &PreviewEnd> {
        self.preview_ends.iter()
    }

    /// The ends of previews that are gone, of which nobody was told yet, by app and key.
    pub fn untold_ends(&self) -> impl Iterator<Item = PreviewEnd> {
        self.untold_ends.iter().map(|((app, environment), at)| PreviewEnd {
            at: *at,
            app: app.clone(),
            environment: environment.clone(),
        })
    }

    /// When a preview ended that is gone, if nobody was told yet.
    pub fn untold_end(&self, app: &AppKey, environment: &EnvKey) -> Option<UnixMs> {
        self.untold_ends.get(&(app.clone(), environment.clone())).copied()
    }

    /// How many previews are gone of whose end nobody was told yet.
    pub fn untold_end_count(&self) -> usize {
        self.untold_ends.size()
    }

    /// The first moment after `now` at which an answer somewhere changes by itself.
    pub fn next_boundary(&self, now: UnixMs) -> Option<UnixMs> {
        self.instants.first_after(now)
    }

    /// The last moment up to `now` at which answers in an environment changed by themselves: an expiry,
    /// a scheduled step, the end of a preview. With [`Snapshot::feed_revision`] it names what is served.
    pub fn boundary(&self, app: &AppKey, environment: &EnvKey, now: UnixMs) -> UnixMs {
        let record = self.app(app).and_then(|app| app.environment(environment));
        record.and_then(|record| record.instants.last_until(now)).unwrap_or_default()
    }

    /// The first moment after `now` at which answers in an environment change by themselves.
    pub fn next_boundary_in(&self, app: &AppKey, environment: &EnvKey, now: UnixMs) -> Option<UnixMs> {
        self.app(app)?.environment(environment)?.instants.first_after(now)
    }

    /// The last revision that changed what an app environment serves, shared things included. Zero for
    /// one that does not exist.
    pub fn feed_revision(&self, app: &AppKey, environment: &EnvKey) -> Revision {
        let Some(app) = self.app(app) else { return Revision::ZERO };
        let Some(record) = app.environment(environment) else { return Revision::ZERO };
        record.revision.max(app.served_revision).max(self.whole.served_revision)
    }

    /// What a request with this idempotency key did, if it is remembered.
    pub fn past_request(&self, token: Option<&TokenId>, key: &IdempotencyKey) -> Option<&PastRequest> {
        let name: RequestName = (token.cloned(), key.clone());
        self.recalled.requests.get(&name)
    }

    /// The kill of this id, if it is remembered; revived or not.
    pub fn past_kill(&self, id: &KillId) -> Option<&PastKill> {
        self.recalled.kills.get(id)
    }
}

/// A flag with what lies above it: its app, and what holds for everything.
#[derive(Clone, Copy)]
pub struct FlagView<'a> {
    record: &'a FlagRecord,
    app: &'a App,
    whole: &'a Whole,
}

impl<'a> FlagView<'a> {
    /// The flag itself.
    pub fn record(&self) -> &'a FlagRecord {
        self.record
    }

    /// Its app.
    pub fn app(&self) -> &'a App {
        self.app
    }

    /// The revision that writers must have seen: the last change of the flag, or kill or revival above it.
    pub fn revision(&self) -> Revision {
        self.record.revision.max(self.app.kills_revision).max(self.whole.kills_revision)
    }

    /// The highest kill in effect in an environment.
    pub fn killed(&self, environment: &EnvKey) -> Option<(Height, &'a Kill)> {
        let heights = [
            (Height::Everything, &self.whole.rules.kills),
            (Height::App, &self.app.rules.kills),
            (Height::Flag, self.record.kills()),
        ];
        heights.into_iter().find_map(|(height, kills)| Some((height, kills.in_environment(environment)?)))
    }

    /// What was turned on at or before this revision is off in the environment, since a kill was taken back.
    pub fn off_before(&self, environment: &EnvKey) -> Revision {
        let (whole, app) = (&self.whole.rules.kills, &self.app.rules.kills);
        let above = whole.off_before_in(environment).max(app.off_before_in(environment));
        above.max(self.record.kills().off_before_in(environment))
    }

    /// Whether a kill was taken back since the targeting was set: it is off then.
    pub fn was_revived(&self, environment: &EnvKey) -> bool {
        let off_before = self.off_before(environment);
        let set_at = self.record.state(environment).map(|record| record.state().targeting_revision);
        off_before > Revision::ZERO && set_at.is_some_and(|set_at| set_at <= off_before)
    }

    /// The targeting as it stands now: off, without its schedule, if it was revived since it was set;
    /// scheduled steps that have come are in it as far as they lower. Kills, holds and expiry are not.
    pub fn targeting(&self, environment: &EnvKey, now: UnixMs) -> Option<Targeting> {
        let state = self.record.state(environment)?.state();
        let mut targeting = state.targeting.clone();
        if self.was_revived(environment) {
            targeting.on = false;
            targeting.schedule.clear();
        }
        targeting.lower_until(now);
        Some(targeting)
    }

    /// What changed since a revision was seen, oldest first; the last few changes only.
    pub fn changed_since(&self, seen: Revision) -> Vec<Touch> {
        let touches = [&self.record.touches, &self.app.touches, &self.whole.touches];
        let mut changed: Vec<Touch> = touches.iter().flat_map(|touches| touches.0.iter()).cloned().collect();
        changed.retain(|touch| touch.revision > seen);
        changed.sort_by_key(|touch| touch.revision);
        changed
    }
}
