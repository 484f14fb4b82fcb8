//! A server with pages, which checks after each thing that happens that they know what it knows.

use proptest::prelude::*;
use rollout_rules::change::{Change, Entry};
use rollout_rules::context::Context;
use rollout_rules::evaluate::{Answer, Reason, evaluate};
use rollout_rules::feed::{ClientState, Frame, FrameBody, Overlay};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId};
use rollout_rules::project::browser::{BrowserChange, Pages, browser_change};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::history::{History, entry, fold, log};
use super::page_world::{change, moments, pages_contexts, the_shop};

pub(crate) fn shop() -> AppKey {
    AppKey::new("shop").unwrap()
}

pub(crate) fn production() -> EnvKey {
    EnvKey::new("production").unwrap()
}

/// When pages are told.
pub(crate) const TOLD_AT: [UnixMs; 3] = [UnixMs(1_000_000), UnixMs(1_250_000), UnixMs(1_600_000)];

/// All that anybody can see of an answer.
pub(crate) fn seen(answer: &Answer<'_>, context: &Context) -> String {
    format!(
        "{} {} {} {} {} {:?} {:?} at {}",
        answer.key(),
        answer.variant(),
        answer.value(),
        answer.reason.code(),
        answer.standard_reason().as_str(),
        answer.split(),
        answer.assigned(context).map(|assigned| assigned.split),
        answer.revision()
    )
}

/// Whether nobody sees a difference between two answers. Nothing is written out for it: there are millions.
pub(crate) fn looks_the_same(one: &Answer<'_>, other: &Answer<'_>, context: &Context) -> bool {
    looks_the_same_but_for_its_revision(one, other, context) && one.revision() == other.revision()
}

fn looks_the_same_but_for_its_revision(one: &Answer<'_>, other: &Answer<'_>, context: &Context) -> bool {
    let split = |answer: &Answer<'_>| answer.assigned(context).map(|assigned| assigned.split);
    one.key() == other.key()
        && one.variant() == other.variant()
        && one.value() == other.value()
        && one.reason.code() == other.reason.code()
        && one.standard_reason() == other.standard_reason()
        && one.split() == other.split()
        && split(one) == split(other)
}

/// The flags that pages get, by what people wrote: marked, here, not archived.
fn marked(snapshot: &Snapshot) -> Vec<FlagKey> {
    let shop = snapshot.app(&shop()).expect("the shop stays");
    let records = shop.flags(None).filter(|record| {
        record.flag().browser.is_some() && !record.is_archived() && record.state(&production()).is_some()
    });
    records.map(|record| record.flag().key.clone()).collect()
}

/// A page, with what it was told and when.
pub(crate) struct Page {
    pub(crate) context: Context,
    told_at: UnixMs,
    pub(crate) state: ClientState,
    /// The state as it is kept in the page's storage, once it was asked for.
    kept: Option<ClientState>,
}

impl Page {
    fn is_told(&mut self, state: ClientState) {
        (self.state, self.kept) = (state, None);
    }
}

/// What the log says, and the kills ahead of it.
pub(crate) struct World {
    folded: Snapshot,
    pub(crate) overlays: Vec<Overlay>,
}

impl World {
    fn live(&self) -> Snapshot {
        self.overlays.iter().fold(self.folded.clone(), |snapshot, overlay| {
            let killed = Change::Killed {
                kill_id: overlay.kill_id.clone(),
                reach: overlay.reach.clone(),
                environment: None,
            };
            snapshot.apply(snapshot.revision(), snapshot.hash(), &entry(killed))
        })
    }
}

pub(crate) fn pages<'a>(
    folded: &'a Snapshot,
    live: &'a Snapshot,
    names: &'a (rollout_rules::ids::LogId, AppKey, EnvKey),
) -> Pages<'a> {
    Pages { log: &names.0, app: &names.1, environment: &names.2, folded, live }
}

pub(crate) fn through_json(frame: &Frame) -> Frame {
    Frame::decode(&frame.encode().unwrap()).unwrap()
}

/// The frames that a change is to a page: one, or what is shared and then the values.
fn frames_of(
    all: &Pages<'_>,
    change: &BrowserChange,
    context: &Context,
    in_one: bool,
    now: UnixMs,
) -> Vec<Frame> {
    let BrowserChange::Ops { shared, values } = change else { return Vec::new() };
    if in_one && !matches!(shared, Some(Frame { body: FrameBody::Overlay(_), .. })) {
        return all.change_for(change, context, now).into_iter().collect();
    }
    let flags: Vec<_> =
        values.iter().filter_map(|key| all.told_flag(key, all.told(key, context, now)?, now)).collect();
    let values = (!flags.is_empty()).then(|| all.values_frame(flags));
    shared.clone().into_iter().chain(values).collect()
}

/// A server with pages, which checks after each thing that happens that they know what it knows.
pub(crate) struct Server {
    names: (rollout_rules::ids::LogId, AppKey, EnvKey),
    pub(crate) world: World,
    pub(crate) pages: Vec<Page>,
    pub(crate) frames: Vec<Frame>,
}

impl Server {
    pub(crate) fn new(folded: Snapshot) -> Server {
        let world = World { folded, overlays: Vec::new() };
        Server { names: (log(), shop(), production()), world, pages: Vec::new(), frames: Vec::new() }
    }

    /// A page with each context opens, as things stand.
    pub(crate) fn open_all(&mut self) {
        (0..pages_contexts().len()).for_each(|nth| self.open(nth));
    }

    /// A page opens, as things stand.
    fn open(&mut self, nth: usize) {
        let live = self.world.live();
        let all = pages(&self.world.folded, &live, &self.names);
        let mut contexts = pages_contexts();
        let context = contexts.swap_remove(nth % contexts.len());
        let told_at = TOLD_AT[nth % TOLD_AT.len()];
        if let Some(frame) = all.snapshot(&context, &self.world.overlays, told_at) {
            let frame = through_json(&frame);
            let state = fold(None, &frame);
            self.frames.push(frame);
            self.pages.push(Page { context, told_at, state, kept: None });
        }
    }

    fn hand_out(&mut self, change: &BrowserChange) {
        let live = self.world.live();
        let all = pages(&self.world.folded, &live, &self.names);
        if *change == BrowserChange::Anew {
            for page in &mut self.pages {
                let frame = all.snapshot(&page.context, &self.world.overlays, page.told_at).unwrap();
                page.is_told(fold(Some(&page.state), &through_json(&frame)));
            }
            return;
        }
        for (nth, page) in self.pages.iter_mut().enumerate() {
            for frame in frames_of(&all, change, &page.context, nth % 2 == 0, page.told_at) {
                let frame = through_json(&frame);
                let (state, applied) = ClientState::fold(Some(&page.state), &frame).unwrap();
                assert!(applied.moved, "a page passes over {frame:?}");
                page.is_told(state);
                self.frames.push(frame);
            }
        }
    }

    pub(crate) fn happens(&mut self, entry: &Entry) {
        let before = self.world.folded.clone();
        let after = before.apply(before.revision().next(), before.hash(), entry);
        if let Change::Killed { kill_id, .. } = &entry.change {
            self.world.overlays.retain(|overlay| overlay.kill_id != *kill_id);
        }
        self.world.folded = after;
        let change = browser_change(&before, &self.world.folded, &log(), entry, &shop(), &production());
        self.hand_out(&change);
    }

    /// A kill that is known already is no news.
    fn may_come_ahead(&self, id: &KillId) -> bool {
        let waits = self.world.overlays.iter().any(|overlay| overlay.kill_id == *id);
        !waits && self.world.folded.past_kill(id).is_none()
    }

    /// Nobody takes the name of a kill that waits for another act.
    fn is_another_under_a_name_that_waits(&self, change: &Change) -> bool {
        let Change::Killed { kill_id, reach, environment } = change else { return false };
        let mut waiting = self.world.overlays.iter().filter(|overlay| overlay.kill_id == *kill_id);
        waiting.any(|overlay| overlay.reach != *reach || environment.is_some())
    }

    pub(crate) fn kill_ahead(&mut self, overlay: Overlay) {
        self.world.overlays.push(overlay.clone());
        let live = self.world.live();
        let change = pages(&self.world.folded, &live, &self.names).overlay(&overlay, None);
        self.hand_out(&change);
    }

    pub(crate) fn agrees(&mut self) -> Result<(), TestCaseError> {
        let live = self.world.live();
        let marked = marked(&self.world.folded);
        let moments = moments();
        // A kill ahead of the log has no revision of its own: the server shows the log's for it, a page the flag's.
        let has_revision = |answer: &Answer<'_>| {
            self.world.overlays.is_empty() || !matches!(answer.reason, Reason::Killed(_))
        };
        let is_right =
            |found: &Answer<'_>, expected: &Answer<'_>, context: &Context| match has_revision(expected) {
                true => looks_the_same(found, expected, context),
                false => looks_the_same_but_for_its_revision(found, expected, context),
            };
        for Page { context, told_at, state, kept } in &mut self.pages {
            let Some(server) = live.flag_set(&shop(), &production()) else {
                prop_assert!(state.is_gone());
                continue;
            };
            // As it stands, and as it is kept.
            let kept = kept.get_or_insert_with(|| fold(None, &through_json(&state.to_frame())));
            let sets = [state.flag_set(), kept.flag_set()];
            for now in moments.iter().filter(|now| **now >= *told_at) {
                for key in &marked {
                    let expected = evaluate(&server, key.as_str(), context, *now);
                    for set in &sets {
                        let found = evaluate(set, key.as_str(), context, *now);
                        let is_right = match (&found, &expected) {
                            (Some(found), Some(expected)) => is_right(found, expected, context),
                            (found, expected) => found.is_none() && expected.is_none(),
                        };
                        prop_assert!(
                            is_right,
                            "told at {}, asked at {}: `{}` and not `{}`",
                            told_at.0,
                            now.0,
                            found.map_or_else(String::new, |found| seen(&found, context)),
                            expected.map_or_else(String::new, |expected| seen(&expected, context))
                        );
                    }
                }
            }
            prop_assert!(state.flag_keys().eq(&marked), "a page has other flags than the server has for it");
        }
        Ok(())
    }
}

/// Plays a history with kills ahead of the log here and there, and says which frames went out.
pub(crate) fn play(steps: Vec<(u8, u8, u8, u8)>, check: bool) -> Result<Server, TestCaseError> {
    let mut server = Server::new(History::new(the_shop()).snapshots.pop().unwrap());
    server.open_all();
    for (nth, step) in steps.into_iter().enumerate() {
        let change = change(step);
        if server.is_another_under_a_name_that_waits(&change) {
            continue;
        }
        if let Change::Killed { kill_id, reach, environment: None } = &change
            && step.3.is_multiple_of(2)
            && server.may_come_ahead(kill_id)
        {
            let at = UnixMs(1_000_000);
            server.kill_ahead(Overlay { kill_id: kill_id.clone(), reach: reach.clone(), at });
            if check {
                server.agrees()?;
            }
            // Another entry may come before the one of the kill.
            if step.1 % 2 == 0 {
                server.open(nth);
                continue;
            }
        }
        server.happens(&entry(change));
        if check {
            server.agrees()?;
        }
        if nth % 3 == 0 {
            server.open(nth);
        }
    }
    if check {
        server.agrees()?;
    }
    Ok(server)
}
