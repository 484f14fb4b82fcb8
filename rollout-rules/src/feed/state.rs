//! What a client knows: the fold of its feed. A frame applies whole or not at all.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

mod ops;
mod outcome;

pub use self::outcome::{Applied, FrameError};
use super::{
    ChangeFrame, Frame, FrameBody, Overlay, ResumeToken, Served, ServedFlag, ServedHold, ServedKills,
    ServedSegment,
};
use crate::change::Reach;
use crate::compile::{CompiledFlag, Definition, FlagSource};
use crate::condition::SegmentRef;
use crate::evaluate::{AppFlags, EnvironmentFlags, FlagSet, SharedRules};
use crate::flag::{Kill, Kills, MAX_VARIANTS};
use crate::ids::{AppKey, EnvKey, FlagKey, KillId, LogId, Revision, SegmentKey};
use crate::segment::SegmentTable;
use crate::table::{FlagTable, sort_by};
use crate::time::UnixMs;

/// What came with a flag besides what its checks read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What the log says; overlays are not in it.
    kills: ServedKills,
    guarded_until: Option<UnixMs>,
}

impl Kept {
    /// Most flags have none of it.
    fn boxed(self) -> Option<Arc<Kept>> {
        (self != Kept::default()).then(|| Arc::new(self))
    }
}

/// Most kills that wait for the log at one time in a client.
pub const MAX_OVERLAYS: usize = 1_000;

/// Most kills that one snapshot says are new; older ones are passed over.
pub const MAX_SNAPSHOT_KILLS: usize = 32;

/// The fold of a feed, ready to answer checks. A clone is cheap and shares everything.
#[derive(Clone, Debug)]
pub struct ClientState {
    log: LogId,
    revision: Revision,
    app: AppKey,
    gone: bool,
    everything: ServedKills,
    app_kills: ServedKills,
    overlays: Vec<Overlay>,
    // What checks read: all of the above, with the overlays laid on top. What else came with a flag lies beside it.
    shared: SharedRules,
    app_flags: AppFlags,
    environment: EnvironmentFlags,
}

impl ClientState {
    /// Takes in a frame. `base` is what the client had, if anything.
    pub fn fold(base: Option<&ClientState>, frame: &Frame) -> Result<(ClientState, Applied), FrameError> {
        let (state, mut applied) = match (&frame.body, base) {
            (FrameBody::Snapshot(served), _) => {
                let state = ClientState::from_served(&frame.log, frame.revision, served, base)?;
                let kill_ids = state.kills_beyond(base);
                (state, Applied { everything: true, moved: true, kill_ids, ..Applied::default() })
            }
            (_, None) => return Err(FrameError::NoState),
            (_, Some(state)) if state.log != frame.log => {
                return Err(FrameError::OtherLog { found: frame.log.clone() });
            }
            (FrameBody::Change(change), Some(state)) => state.changed(frame.revision, change)?,
            (FrameBody::Overlay(overlay), Some(state)) => state.overlaid(overlay)?,
        };
        applied.revision = state.revision;
        Ok((state, applied))
    }

    /// Nothing up to this token concerned the audience.
    pub fn advance(&mut self, token: &ResumeToken) -> Result<(), FrameError> {
        if token.log != self.log {
            return Err(FrameError::OtherLog { found: token.log.clone() });
        }
        self.revision = self.revision.max(token.revision);
        Ok(())
    }

    /// What checks are answered from.
    #[inline]
    pub fn flag_set(&self) -> FlagSet<'_> {
        FlagSet { shared: &self.shared, app: &self.app_flags, environment: &self.environment }
    }

    /// How far the client has seen the log.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The log that it follows.
    pub fn log(&self) -> &LogId {
        &self.log
    }

    /// The app whose flags it has.
    pub fn app(&self) -> &AppKey {
        &self.app
    }

    /// The environment whose flags it has.
    pub fn environment(&self) -> &EnvKey {
        &self.environment.key
    }

    /// Whether the environment was removed.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Where to go on from.
    pub fn resume_token(&self) -> ResumeToken {
        ResumeToken { log: self.log.clone(), revision: self.revision }
    }

    /// The keys of the flags, in order.
    pub fn flag_keys(&self) -> impl Iterator<Item = &FlagKey> {
        self.environment.flags.sorted().iter().map(|flag| flag.key())
    }

    /// The kills that wait for the log.
    pub fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// Everything as one frame, for the disk.
    pub fn to_frame(&self) -> Frame {
        let segments = |table: &SegmentTable, name: fn(SegmentKey) -> SegmentRef, into: &mut Vec<_>| {
            for segment in table.iter() {
                let definition = segment.definition();
                let (key, when) = (definition.key.clone(), definition.when.clone());
                into.push(ServedSegment { segment: name(key), when, members: segment.sorted_members() });
            }
        };
        let mut served_segments = Vec::new();
        segments(&self.app_flags.segments, SegmentRef::App, &mut served_segments);
        segments(&self.shared.segments, SegmentRef::Shared, &mut served_segments);
        let served = Served {
            app: self.app.clone(),
            environment: self.environment.key.clone(),
            gone: self.gone,
            ends_at: self.environment.ends_at,
            everything: self.everything.clone(),
            app_kills: self.app_kills.clone(),
            flags: self.environment.flags.sorted().iter().map(|flag| Arc::new(self.served(flag))).collect(),
            segments: served_segments,
            overlays: self.overlays.clone(),
        };
        Frame::new(self.log.clone(), self.revision, FrameBody::Snapshot(Box::new(served)))
    }

    fn from_served(
        log: &LogId,
        revision: Revision,
        served: &Served,
        base: Option<&ClientState>,
    ) -> Result<ClientState, FrameError> {
        let mut overlays = served.overlays.clone();
        overlays.truncate(MAX_OVERLAYS);
        let mut state = ClientState {
            log: log.clone(),
            revision,
            app: served.app.clone(),
            gone: served.gone,
            everything: served.everything.clone(),
            app_kills: served.app_kills.clone(),
            overlays,
            shared: SharedRules::default(),
            app_flags: AppFlags::default(),
            environment: empty(served.environment.clone(), served.ends_at, FlagTable::default()),
        };
        // A node that has not heard of another node's overlay must not lift it: it stays as long as
        // the log has not moved since.
        if let Some(base) = base.filter(|base| base.log == *log && revision <= base.revision) {
            let room = MAX_OVERLAYS - state.overlays.len();
            let kept = base.overlays.iter().filter(|old| !served.overlays.contains(old));
            state.overlays.extend(kept.take(room).cloned());
        }
        for segment in &served.segments {
            state.put_segment(segment);
        }
        state.lay_kills();
        let mut compiled = Vec::with_capacity(served.flags.len());
        for flag in &served.flags {
            check(flag)?;
            compiled.push(state.compile(flag));
        }
        // What the client has counted and not told yet stays where it is.
        let before = base.map(|base| &base.environment.flags);
        state.environment.flags = before.unwrap_or(&FlagTable::default()).of_only(compiled);
        Ok(state)
    }

    /// The kills that stand now and did not before, the latest of them if they are many: whoever waits
    /// for a kill to be in effect hears of it, though the frame that brought it was missed.
    fn kills_beyond(&self, base: Option<&ClientState>) -> Vec<KillId> {
        let mut known: Vec<KillId> = base.into_iter().flat_map(ClientState::standing_kills).collect();
        sort_by(&mut known, Ord::cmp);
        self.standing_kills().filter(|id| known.binary_search(id).is_err()).take(MAX_SNAPSHOT_KILLS).collect()
    }

    /// The kills that are in effect, by what the log says or by an overlay, the latest first.
    pub fn standing_kills(&self) -> impl Iterator<Item = KillId> {
        let mut kills: Vec<Kill> = self.kills().collect();
        sort_by(&mut kills, |a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        kills.dedup();
        kills.into_iter().map(|kill| kill.id)
    }

    /// Every kill that stands, by what the log says or by an overlay.
    fn kills(&self) -> impl Iterator<Item = Kill> {
        let high = [&self.everything, &self.app_kills];
        let own = self.environment.flags.iter().filter_map(|flag| flag.kept());
        let logged = high.into_iter().chain(own.map(|kept| &kept.kills));
        let overlaid = self.overlays.iter().map(|over| Kill { id: over.kill_id.clone(), at: over.at });
        logged.filter_map(|kills| kills.killed.clone()).chain(overlaid)
    }

    fn changed(
        &self,
        revision: Revision,
        change: &ChangeFrame,
    ) -> Result<(ClientState, Applied), FrameError> {
        let mut state = self.clone();
        let mut applied =
            Applied { kill_ids: change.kill_id.iter().cloned().collect(), ..Applied::default() };
        // Those of a page come one after another on one connection: one that is missed must not go unseen.
        let is_of_page = change.follows == Revision::ZERO;
        if is_of_page && revision < self.revision {
            return Err(FrameError::Gap { have: self.revision, follows: revision });
        }
        if revision <= self.revision && !is_of_page {
            // Heard before: a resumed stream may repeat itself.
            applied.kill_ids.clear();
            return Ok((state, applied));
        }
        if change.follows > self.revision {
            return Err(FrameError::Gap { have: self.revision, follows: change.follows });
        }
        applied.moved = true;
        state.revision = revision;
        for op in &change.ops {
            state.apply(op, &mut applied)?;
        }
        if let Some(id) = &change.kill_id {
            state.lift(id, &mut applied);
        }
        state.lay_kills();
        state.add_dependents(&mut applied.flags);
        Ok((state, applied))
    }

    fn overlaid(&self, overlay: &Overlay) -> Result<(ClientState, Applied), FrameError> {
        let mut state = self.clone();
        let mut applied = Applied { kill_ids: Vec::from([overlay.kill_id.clone()]), ..Applied::default() };
        if self.overlays.iter().any(|known| known.kill_id == overlay.kill_id) {
            return Ok((state, applied));
        }
        if self.overlays.len() >= MAX_OVERLAYS {
            return Err(FrameError::Inconsistent { what: "more kills wait for the log than a client keeps" });
        }
        applied.moved = true;
        state.overlays.push(overlay.clone());
        state.relay(&overlay.reach, &mut applied);
        state.add_dependents(&mut applied.flags);
        Ok((state, applied))
    }

    /// The log has taken a kill: what it says replaces the overlay.
    fn lift(&mut self, id: &KillId, applied: &mut Applied) {
        if let Some(place) = self.overlays.iter().position(|overlay| overlay.kill_id == *id) {
            let overlay = self.overlays.remove(place);
            self.relay(&overlay.reach, applied);
        }
    }

    /// An overlay came or went: what it reaches is compiled anew.
    fn relay(&mut self, reach: &Reach, applied: &mut Applied) {
        match reach {
            Reach::Everything | Reach::App { .. } => applied.everything = true,
            Reach::Flag { flag, .. } => {
                if let Some(known) = self.environment.flags.get(flag.as_str()) {
                    let compiled = self.compile_again(known, known.kept().cloned(), known.revision());
                    self.environment.flags = self.environment.flags.with(compiled);
                    applied.flags.insert(flag.clone());
                }
            }
        }
        self.lay_kills();
    }

    /// Until when a flag is guarded: until then a page that kept it and has not heard of the server yet serves its off
    /// variant. `None`: it never is.
    pub fn guarded_until(&self, flag: &FlagKey) -> Option<UnixMs> {
        self.environment.flags.get(flag.as_str())?.kept()?.guarded_until
    }

    /// The kills of a flag: what the log says, or an overlay where it says nothing yet.
    fn kills_of(&self, flag: &FlagKey, kept: Option<&Kept>) -> Kills {
        let mut kills = kept.map(|kept| kept.kills.to_kills()).unwrap_or_default();
        kills.all = kills.all.or_else(|| {
            self.overlay_on(|reach| {
                matches!(reach, Reach::Flag { app, flag: killed } if *app == self.app && killed == flag)
            })
        });
        kills
    }

    fn overlay_on(&self, reaches: impl Fn(&Reach) -> bool) -> Option<Kill> {
        let overlay = self.overlays.iter().find(|overlay| reaches(&overlay.reach))?;
        Some(Kill { id: overlay.kill_id.clone(), at: overlay.at })
    }

    fn compile(&self, flag: &ServedFlag) -> Arc<CompiledFlag> {
        let kept = Kept { kills: flag.kills.clone(), guarded_until: flag.guarded_until }.boxed();
        let source = FlagSource {
            definition: Definition::new(Arc::new(flag.definition())),
            state: Arc::new(flag.state()),
            revision: flag.revision,
            kills: &self.kills_of(&flag.key, kept.as_deref()),
            environment: &self.environment.key,
            shared_segments: &self.shared.segments,
            app_segments: &self.app_flags.segments,
            previous: None,
        };
        Arc::new(CompiledFlag::compile_told(source, flag.told.as_ref()).keeping(kept))
    }

    /// The same flag after its kills changed: no rule is compiled again.
    fn compile_again(
        &self,
        flag: &CompiledFlag,
        kept: Option<Arc<Kept>>,
        revision: Revision,
    ) -> Arc<CompiledFlag> {
        let source = FlagSource {
            definition: Arc::clone(flag.definition()),
            state: Arc::clone(flag.state()),
            revision,
            kills: &self.kills_of(flag.key(), kept.as_deref()),
            environment: &self.environment.key,
            shared_segments: &self.shared.segments,
            app_segments: &self.app_flags.segments,
            previous: Some(flag),
        };
        Arc::new(CompiledFlag::compile_told(source, flag.told()).keeping(kept))
    }

    /// A flag as it came.
    fn served(&self, flag: &CompiledFlag) -> ServedFlag {
        let (definition, state) = (flag.definition().flag(), flag.state());
        ServedFlag {
            key: definition.key.clone(),
            kind: definition.kind,
            variants: definition.variants.clone(),
            off_variant: definition.off_variant.clone(),
            targeting: state.targeting.clone(),
            expires_at: state.expires_at,
            targeting_revision: state.targeting_revision,
            hold: state.hold.as_ref().map(|hold| ServedHold { cause: hold.cause, at: hold.at }),
            kills: flag.kept().map(|kept| kept.kills.clone()).unwrap_or_default(),
            revision: flag.revision(),
            told: flag.told().cloned(),
            guarded_until: flag.kept().and_then(|kept| kept.guarded_until),
        }
    }

    /// Kills above single flags: what the log says, and overlays where it says nothing yet.
    fn lay_kills(&mut self) {
        let mut everything = self.everything.to_kills();
        everything.all = everything.all.or_else(|| self.overlay_on(|reach| *reach == Reach::Everything));
        let mut app = self.app_kills.to_kills();
        app.all = app
            .all
            .or_else(|| self.overlay_on(|reach| matches!(reach, Reach::App { app } if *app == self.app)));
        self.shared.kills = everything;
        self.app_flags.kills = app;
    }

    fn table(&self, name: &SegmentRef) -> &SegmentTable {
        match name {
            SegmentRef::App(_) => &self.app_flags.segments,
            SegmentRef::Shared(_) => &self.shared.segments,
        }
    }

    fn set_table(&mut self, name: &SegmentRef, table: SegmentTable) {
        match name {
            SegmentRef::App(_) => self.app_flags.segments = table,
            SegmentRef::Shared(_) => self.shared.segments = table,
        }
    }
}

fn empty(key: EnvKey, ends_at: Option<UnixMs>, flags: FlagTable) -> EnvironmentFlags {
    EnvironmentFlags { key, ends_at, flags }
}

/// What the evaluator needs to be true of every flag.
fn check(flag: &ServedFlag) -> Result<(), FrameError> {
    let served = flag.variants.iter().any(|variant| variant.key == flag.off_variant);
    if served && flag.variants.len() <= MAX_VARIANTS {
        return Ok(());
    }
    Err(FrameError::Inconsistent { what: "a flag in the frame has no off variant, or too many variants" })
}

fn key_of(name: &SegmentRef) -> &SegmentKey {
    match name {
        SegmentRef::App(key) | SegmentRef::Shared(key) => key,
    }
}
