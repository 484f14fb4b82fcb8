//! What the open pages of one app environment have to hear. What is the same for all of them is encoded once; of flags
//! that are told by value only the names are kept here, and each page evaluates them for its own context.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rollout_rules::ids::{FlagKey, Revision};

use super::fragments::Fragments;
use crate::state::Published;

/// Most items that wait for pages that lag; one further back is told everything anew, which is no more than a few of them.
pub const MAX_ITEMS: usize = 64;

/// One thing that pages have to hear.
#[derive(Clone)]
pub enum News {
    /// An event, the same for each.
    Shared(Bytes),
    /// Flags that may answer otherwise now.
    Values(Arc<Values>),
    /// Everything may be otherwise.
    Everything,
}

/// Flags that may answer otherwise since something was published.
pub struct Values {
    /// Which.
    pub flags: Vec<FlagKey>,
    /// What was published then.
    pub published: Arc<Published>,
    /// How their answers are written, once for each.
    pub fragments: Fragments,
}

struct Item {
    /// Whoever has seen the log up to here knows it. None: it moves no revision.
    revision: Option<Revision>,
    news: News,
}

/// Recent items. Positions count from the first that ever was.
#[derive(Default)]
pub struct PageRing {
    items: RwLock<Items>,
    /// The position after the newest item; read without the lock.
    end: AtomicU64,
}

#[derive(Default)]
struct Items {
    kept: VecDeque<Item>,
    start: u64,
}

/// What a page finds at a position, and the position after it.
pub enum Next {
    /// Nothing that it has not seen.
    Nothing(u64),
    /// It is gone: the page lagged.
    Behind,
    /// An event.
    Event(Bytes, u64),
    /// Flags that may answer otherwise: those of all items up to the next of another kind, each named once. What was
    /// published last is what they are evaluated by.
    Values(Vec<FlagKey>, Arc<Values>, u64),
    /// Everything may be otherwise.
    Everything,
}

impl PageRing {
    /// Adds an item, which replaces the oldest if there are [`MAX_ITEMS`].
    pub fn push(&self, revision: Option<Revision>, news: News) {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        if items.kept.len() == MAX_ITEMS {
            items.kept.pop_front();
            items.start += 1;
        }
        items.kept.push_back(Item { revision, news });
        self.end.store(items.start + items.kept.len() as u64, Ordering::Release);
    }

    /// Forgets all items, since nobody listens. Who came from before would be told everything anew.
    pub fn forget(&self) {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        if items.kept.is_empty() {
            return;
        }
        items.start += items.kept.len() as u64 + 1;
        items.kept = VecDeque::new();
        self.end.store(items.start, Ordering::Release);
    }

    /// The position after the newest item.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// What is at a position for a page that has seen the log up to a revision.
    pub fn next(&self, position: u64, seen: Revision) -> Next {
        if position >= self.end() {
            return Next::Nothing(position);
        }
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        let Some(offset) = position.checked_sub(items.start) else { return Next::Behind };
        let rest = items.kept.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX));
        let mut rest = rest
            .zip(position + 1..)
            .filter(|(item, _)| item.revision.is_none_or(|revision| revision > seen))
            .peekable();
        let (first, after) = match rest.next() {
            Some((Item { news: News::Shared(event), .. }, after)) => {
                return Next::Event(event.clone(), after);
            }
            Some((Item { news: News::Everything, .. }, _)) => return Next::Everything,
            Some((Item { news: News::Values(values), .. }, after)) => (values, after),
            None => return Next::Nothing(items.start + items.kept.len() as u64),
        };
        let (mut flags, mut last, mut after) = (first.flags.clone(), first, after);
        while let Some((Item { news: News::Values(values), .. }, further)) = rest.peek() {
            flags.extend(values.flags.iter().cloned());
            (last, after) = (values, *further);
            rest.next();
        }
        flags.sort_unstable();
        flags.dedup();
        Next::Values(flags, Arc::clone(last), after)
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::change::Command;
    use serde_json::json;

    use super::*;
    use crate::http::tests::Node;

    fn event(text: &str) -> News {
        News::Shared(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// All that a page is sent from a position on, and where it then stands.
    fn sent(ring: &PageRing, mut position: u64, seen: u64) -> (Vec<String>, u64) {
        let mut sent = Vec::new();
        loop {
            match ring.next(position, Revision(seen)) {
                Next::Event(event, after) => {
                    sent.push(String::from_utf8_lossy(&event).into_owned());
                    position = after;
                }
                Next::Nothing(after) => return (sent, after),
                Next::Behind => return (vec!["behind".to_owned()], position),
                Next::Everything => return (vec!["everything".to_owned()], position),
                Next::Values(..) => return (vec!["values".to_owned()], position),
            }
        }
    }

    #[test]
    fn a_page_is_sent_each_item_once_and_none_that_it_has_seen() {
        let ring = PageRing::default();
        for revision in 1..=5 {
            ring.push(Some(Revision(revision)), event(&revision.to_string()));
        }
        ring.push(None, event("ahead of the log"));
        assert_eq!(sent(&ring, 0, 0).0, ["1", "2", "3", "4", "5", "ahead of the log"]);
        assert_eq!(sent(&ring, 2, 0).0, ["3", "4", "5", "ahead of the log"]);
        assert_eq!(sent(&ring, 0, 4).0, ["5", "ahead of the log"]);
        assert_eq!(sent(&ring, 6, 0), (Vec::new(), 6));
        ring.push(Some(Revision(6)), event("6"));
        assert_eq!(sent(&ring, 6, 6), (Vec::new(), 7), "what it has seen does not wake it again");
    }

    #[tokio::test]
    async fn flags_that_wait_are_told_together_but_never_across_what_is_the_same_for_all() {
        let node = Node::start().await;
        let app = node.shop().await;
        let (shared, ring) = (node.shared(), PageRing::default());
        let mut published = Vec::new();
        let values = |flags: &[&str], published: &Arc<Published>| {
            let flags = flags.iter().map(|key| FlagKey::new(key).expect("a key")).collect();
            let published = Arc::clone(published);
            News::Values(Arc::new(Values { flags, published, fragments: Fragments::default() }))
        };
        for key in ["a", "b", "c"] {
            let create = json!({ "do": "create_flag", "app": app, "key": key });
            node.submit(serde_json::from_value::<Command>(create).expect("a command")).await;
            published.push(Arc::clone(&shared.published_full()));
        }
        let revisions: Vec<Revision> = published.iter().map(|one| one.revision()).collect();
        ring.push(Some(revisions[0]), values(&["b", "a"], &published[0]));
        ring.push(Some(revisions[1]), values(&["c", "a"], &published[1]));
        ring.push(Some(revisions[2]), event("same for all"));
        ring.push(Some(revisions[2]), values(&["d"], &published[2]));
        let told = |position, seen| match ring.next(position, seen) {
            Next::Values(flags, values, after) => {
                let flags: Vec<&str> = flags.iter().map(FlagKey::as_str).collect();
                (flags.join(" "), values.published.revision(), after)
            }
            Next::Event(event, after) => {
                (String::from_utf8_lossy(&event).into_owned(), Revision::ZERO, after)
            }
            _ => panic!("something was to be told"),
        };
        assert_eq!(told(0, Revision::ZERO), ("a b c".to_owned(), revisions[1], 2));
        assert_eq!(told(2, Revision::ZERO), ("same for all".to_owned(), Revision::ZERO, 3));
        assert_eq!(told(3, Revision::ZERO), ("d".to_owned(), revisions[2], 4));
        assert_eq!(told(0, revisions[0]), ("a c".to_owned(), revisions[1], 2), "the first it has seen");
        assert!(matches!(ring.next(0, revisions[2]), Next::Nothing(4)), "it has seen all");
        node.state.stop().await;
    }

    #[test]
    fn what_nobody_listened_to_is_not_kept_and_who_comes_from_before_is_told_everything() {
        let ring = PageRing::default();
        ring.forget();
        assert_eq!(ring.end(), 0, "there was nothing to forget");
        ring.push(Some(Revision(1)), event("1"));
        ring.forget();
        assert_eq!(sent(&ring, 0, 0).0, ["behind"]);
        assert_eq!(sent(&ring, 1, 0).0, ["behind"]);
        assert_eq!(sent(&ring, ring.end(), 0).0, [""; 0]);
        ring.push(Some(Revision(2)), event("2"));
        assert_eq!(sent(&ring, ring.end() - 1, 0).0, ["2"]);
    }

    #[test]
    fn a_page_that_lags_by_more_than_is_kept_is_told_everything_anew() {
        let ring = PageRing::default();
        for revision in 1..=(MAX_ITEMS as u64 + 2) {
            ring.push(Some(Revision(revision)), event("x"));
        }
        assert_eq!(sent(&ring, 1, 0).0, ["behind"]);
        assert_eq!(sent(&ring, 2, 0).0.len(), MAX_ITEMS);
        ring.push(Some(Revision(100)), News::Everything);
        assert_eq!(sent(&ring, ring.end() - 1, 0).0, ["everything"]);
    }
}
