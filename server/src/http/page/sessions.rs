//! The pages that are open now, with the context that each gave. A page is kept while its stream is open and a minute
//! more, so that it comes back to what it has; the context of a person is in memory only, and only for so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use rollout_rules::context::Context;
use rollout_rules::ids::{AppKey, EnvKey, TokenId};
use rollout_rules::sli::Slot;
use rollout_rules::time::{DurationMs, UnixMs};

use super::faults::Faults;
use crate::http::problem::{self, Problem};
use crate::http::stream_token::PageId;

/// How long a page is kept that has no stream.
const KEPT_WITHOUT_STREAM: DurationMs = DurationMs(60_000);
/// Most streams of one page at a time: tabs that take turns overlap for a moment. Further ones are refused with 429.
const MAX_PAGE_STREAMS: usize = 8;
/// Most streams that one page opens in a slot of ten seconds. Further ones are refused with 429.
const MAX_OPENINGS: u32 = 16;
/// Most that the contexts of all pages take, as they were sent, in bytes. At the limit, pages that were left make room.
const MAX_CONTEXTS_BYTES: usize = 64 * 1024 * 1024;
/// Whoever left a page so long ago is not about to come back to it: where room is short, all such pages make it at once, so
/// that everybody may open their page anew after a release of it.
const LEFT_FOR_GOOD_MS: u64 = 1_000;
/// What is looked for among all pages is looked for no more often than this.
const LOOK_EVERY_MS: u64 = 1_000;

/// What pages have in common that one key opened at one site; all of them share one.
#[derive(PartialEq, Eq, Hash)]
pub struct Opener {
    /// Whose flags they are told.
    pub app: AppKey,
    /// In which environment.
    pub environment: EnvKey,
    /// The key that opened them; they last no longer than that one.
    pub token: TokenId,
    /// Where they were opened, if their browsers said so; nobody else goes on with them.
    pub origin: Option<Box<str>>,
}

/// One page that was opened. There are many, and each is as small as can be.
pub struct Page {
    /// Who opened it.
    pub of: Arc<Opener>,
    /// Whom its flags are evaluated for.
    pub context: Context,
    /// How large its context was as it was sent.
    size_bytes: usize,
    streams: AtomicUsize,
    /// When it was opened, or its last stream ended.
    left_at: AtomicU64,
    /// The requests that it told of.
    pub told: InSlot,
    /// The reports in which it did.
    pub reports: InSlot,
    openings: InSlot,
}

/// The last slot in which something was done, and in the lower half how often.
#[derive(Default)]
pub struct InSlot(AtomicU64);

impl InSlot {
    /// Whether it may be done once more in a slot, of at most so many times; if so, it counts.
    pub fn take(&self, slot: Slot, most: u32) -> bool {
        let once_more = |done: u64| {
            let done = done.max(u64::from(slot.0) << 32);
            (done & u64::from(u32::MAX) < u64::from(most)).then_some(done + 1)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, once_more).is_ok()
    }
}

/// Says when the next slot begins.
pub(super) fn not_in_this_slot(detail: &'static str, now: UnixMs) -> Problem {
    let rest = Slot::at(now).ends_at().since(now).0;
    Problem::new(problem::RATE_LIMITED, detail).retry_after(rest.div_ceil(1_000))
}

impl Page {
    /// A page as it was opened, with a context of so many bytes as it was sent.
    pub fn new(of: Arc<Opener>, mut context: Context, size_bytes: usize, now: UnixMs) -> Page {
        context.shrink_to_fit();
        Page {
            of,
            context,
            size_bytes,
            streams: AtomicUsize::new(0),
            left_at: AtomicU64::new(now.0),
            told: InSlot::default(),
            reports: InSlot::default(),
            openings: InSlot::default(),
        }
    }

    /// Notes that a stream of it opens, unless it has as many as it may.
    pub fn enter(&self, now: UnixMs) -> Result<(), Problem> {
        if self.streams.fetch_add(1, Ordering::AcqRel) >= MAX_PAGE_STREAMS {
            self.streams.fetch_sub(1, Ordering::AcqRel);
            let detail = "the page has as many streams as it may; close one of them";
            return Err(Problem::new(problem::RATE_LIMITED, detail).retry_after(5));
        }
        if !self.openings.take(Slot::at(now), MAX_OPENINGS) {
            self.streams.fetch_sub(1, Ordering::AcqRel);
            return Err(not_in_this_slot("the page opened too many streams; come back later", now));
        }
        Ok(())
    }

    /// Notes that a stream of it ended.
    pub fn left(&self, now: UnixMs) {
        self.left_at.store(now.0, Ordering::Release);
        self.streams.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_open(&self) -> bool {
        self.streams.load(Ordering::Acquire) > 0
    }

    fn is_kept(&self, now: UnixMs) -> bool {
        self.is_open() || now.since(self.left_at()).0 < KEPT_WITHOUT_STREAM.0
    }

    fn left_at(&self) -> UnixMs {
        UnixMs(self.left_at.load(Ordering::Acquire))
    }
}

/// All pages.
#[derive(Default)]
pub struct OpenPages {
    pages: DashMap<PageId, Arc<Page>>,
    /// Who opened them.
    openers: DashMap<Arc<Opener>, ()>,
    /// What their contexts take, as they were sent.
    contexts_bytes: AtomicUsize,
    /// When room was last looked for.
    looked_at: AtomicU64,
    /// Streams of pages that are open.
    pub streams: Arc<AtomicUsize>,
    /// The errors that SDKs in pages told of.
    pub faults: Faults,
}

impl OpenPages {
    /// Whether there is room for a page with a context of this size, among at most so many pages: those that have no
    /// stream make room when it is needed, the first to be left first; if all have one, 503.
    pub fn ask(&self, size_bytes: usize, most: usize, now: UnixMs) -> Result<(), Problem> {
        let has_room = || self.has_room(size_bytes, most);
        if has_room() || (self.may_look(now) && self.make_room(size_bytes, most, now) && has_room()) {
            return Ok(());
        }
        let detail = "as many pages are open as the settings allow streams, or as there is memory for; come back later";
        Err(Problem::new(problem::TOO_MANY_STREAMS, detail).retry_after(5))
    }

    fn has_room(&self, size_bytes: usize, most: usize) -> bool {
        let taken = self.contexts_bytes.load(Ordering::Relaxed);
        self.pages.len() < most && taken.saturating_add(size_bytes) <= MAX_CONTEXTS_BYTES
    }

    fn may_look(&self, now: UnixMs) -> bool {
        let last = self.looked_at.load(Ordering::Relaxed);
        // A clock that was set back keeps nobody waiting.
        let is_due = now.0 < last || now.0 - last >= LOOK_EVERY_MS;
        is_due && self.looked_at.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The one that all pages share which it opens.
    pub fn opener(&self, opener: Opener) -> Arc<Opener> {
        Arc::clone(self.openers.entry(Arc::new(opener)).or_default().key())
    }

    /// Keeps a page for which there [was room](OpenPages::ask).
    pub fn open(&self, page: Arc<Page>) -> PageId {
        let id = PageId(rand::random());
        self.contexts_bytes.fetch_add(page.size_bytes, Ordering::Relaxed);
        self.pages.insert(id, page);
        id
    }

    /// A page that is still kept.
    pub fn find(&self, id: PageId, now: UnixMs) -> Option<Arc<Page>> {
        let page = self.pages.get(&id)?;
        page.is_kept(now).then(|| Arc::clone(&page))
    }

    /// Forgets pages that have been without a stream for long.
    pub fn forget_left(&self, now: UnixMs) {
        self.pages.retain(|_, page| {
            let is_kept = page.is_kept(now);
            if !is_kept {
                self.contexts_bytes.fetch_sub(page.size_bytes, Ordering::Relaxed);
            }
            is_kept
        });
        self.openers.retain(|opener, ()| Arc::strong_count(opener) > 1);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pages.len()
    }

    /// Forgets pages that were left until there is room for more than one. Whether it did anything.
    fn make_room(&self, size_bytes: usize, most: usize, now: UnixMs) -> bool {
        self.forget_left(now);
        if self.has_room(size_bytes, most) {
            return true;
        }
        let left = self.pages.iter().filter(|page| !page.is_open());
        let mut left: Vec<(UnixMs, PageId)> = left.map(|page| (page.left_at(), *page.key())).collect();
        // Little room would be gone at once, and each further page would look through all of them again.
        left.sort_by_key(|(at, _)| *at);
        let fewer = most.saturating_sub((most / 16).max(1));
        let smaller = (MAX_CONTEXTS_BYTES - MAX_CONTEXTS_BYTES / 16).saturating_sub(size_bytes);
        for (at, id) in left {
            let is_enough =
                self.pages.len() <= fewer && self.contexts_bytes.load(Ordering::Relaxed) <= smaller;
            if is_enough && now.since(at).0 < LEFT_FOR_GOOD_MS {
                break;
            }
            if let Some((_, page)) = self.pages.remove_if(&id, |_, page| !page.is_open()) {
                self.contexts_bytes.fetch_sub(page.size_bytes, Ordering::Relaxed);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(token: &str) -> Opener {
        let app = AppKey::new("shop").expect("a key");
        let environment = EnvKey::new("production").expect("a key");
        let origin = Some(Box::from("https://shop.example"));
        Opener { app, environment, token: TokenId::new(token).expect("an id"), origin }
    }

    fn page(size_bytes: usize, now: u64) -> Page {
        Page::new(Arc::new(opener("token")), Context::default(), size_bytes, UnixMs(now))
    }

    fn opened(pages: &OpenPages, at: u64) -> PageId {
        pages.ask(0, 3, UnixMs(at)).expect("there is room");
        pages.open(Arc::new(page(0, at)))
    }

    #[test]
    fn pages_of_one_key_and_site_share_what_they_have_in_common_and_it_goes_with_the_last() {
        let pages = OpenPages::default();
        let open = |of: &Arc<Opener>| {
            let page = Page::new(Arc::clone(of), Context::default(), 0, UnixMs(0));
            pages.open(Arc::new(page));
        };
        let (first, second, other) =
            (pages.opener(opener("a")), pages.opener(opener("a")), pages.opener(opener("b")));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        [&first, &second, &other].into_iter().for_each(open);
        drop((first, second, other));
        pages.forget_left(UnixMs(59_999));
        assert_eq!((pages.count(), pages.openers.len()), (3, 2));
        pages.forget_left(UnixMs(60_000));
        assert_eq!((pages.count(), pages.openers.len()), (0, 0));
    }

    #[test]
    fn a_page_is_kept_while_its_stream_is_open_and_a_minute_more() {
        let pages = OpenPages::default();
        let id = opened(&pages, 1_000);
        let found = pages.find(id, UnixMs(60_999)).expect("kept without a stream for a minute");
        found.enter(UnixMs(60_999)).expect("its first");
        pages.forget_left(UnixMs(900_000));
        assert!(pages.find(id, UnixMs(900_000)).is_some());
        found.left(UnixMs(900_000));
        assert!(pages.find(id, UnixMs(959_999)).is_some() && pages.find(id, UnixMs(960_000)).is_none());
        pages.forget_left(UnixMs(960_000));
        assert_eq!(pages.count(), 0);
    }

    #[test]
    fn the_page_that_was_left_first_makes_room_and_one_with_a_stream_never_does() {
        let pages = OpenPages::default();
        let ids: Vec<PageId> = (1_500..1_503).map(|at| opened(&pages, at)).collect();
        let now = UnixMs(2_000);
        pages.find(ids[0], now).expect("kept").enter(now).expect("its first");
        let newer = opened(&pages, 2_000);
        let kept = |id: PageId| pages.find(id, now).is_some();
        assert!(kept(ids[0]) && !kept(ids[1]) && kept(ids[2]) && kept(newer));
        for id in [ids[2], newer] {
            pages.find(id, now).expect("kept").enter(now).expect("its first");
        }
        let refused = pages.ask(0, 3, UnixMs(4_000)).expect_err("all have streams");
        assert_eq!(refused.kind(), problem::TOO_MANY_STREAMS);
    }

    #[test]
    fn all_people_may_open_their_page_anew_where_there_is_no_room_for_both() {
        let (pages, many) = (OpenPages::default(), 64);
        let open_all = |at: u64| {
            for _ in 0..48 {
                pages.ask(0, many, UnixMs(at)).expect("there is room");
                let page = Arc::new(page(0, at));
                page.enter(UnixMs(at)).expect("its first");
                pages.open(Arc::clone(&page));
                page.left(UnixMs(at));
            }
        };
        [2_000, 3_000, 4_000].into_iter().for_each(open_all);
        assert!(pages.count() <= many);
    }

    #[test]
    fn large_contexts_make_room_for_each_other_and_all_pages_are_looked_through_once_a_second() {
        let pages = OpenPages::default();
        let large = |at| pages.open(Arc::new(page(MAX_CONTEXTS_BYTES / 2, at)));
        let (first, second) = (large(1_500), large(1_501));
        let now = UnixMs(2_000);
        pages.ask(1, 100, now).expect("the first makes room");
        assert!(pages.find(first, now).is_none() && pages.find(second, now).is_some());
        large(2_001);
        pages.ask(1, 100, UnixMs(2_999)).expect_err("it was looked for room a moment ago");
        pages.ask(1, 100, UnixMs(3_000)).expect("the second makes room");
        assert_eq!(pages.count(), 1);
        pages.forget_left(UnixMs(900_000));
        pages.ask(MAX_CONTEXTS_BYTES, 100, UnixMs(900_000)).expect("all of it is free");
    }

    #[test]
    fn a_page_has_few_streams_at_a_time_and_opens_few_of_them_in_a_slot() {
        let (page, now) = (page(0, 0), UnixMs(10_000));
        for _ in 0..MAX_PAGE_STREAMS {
            page.enter(now).expect("it may");
        }
        assert_eq!(page.enter(now).expect_err("it has enough").kind(), problem::RATE_LIMITED);
        page.left(now);
        for _ in MAX_PAGE_STREAMS..MAX_OPENINGS as usize {
            page.enter(now).expect("it may again");
            page.left(now);
        }
        assert_eq!(page.enter(now).expect_err("too often").kind(), problem::RATE_LIMITED);
        page.enter(UnixMs(20_000)).expect("a new slot");
    }

    #[test]
    fn a_page_tells_of_few_requests_a_slot_and_a_clock_that_is_set_back_allows_no_more() {
        let page = page(0, 0);
        let tells = |slot| page.told.take(Slot(slot), 2);
        assert!(tells(5) && tells(5) && !tells(5) && !tells(4) && tells(6));
    }
}
