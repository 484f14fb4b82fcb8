//! What an entry, or a kill ahead of the log, means to the open pages of an app environment.

use std::sync::Arc;

use rollout_rules::change::Entry;
use rollout_rules::ids::{LogId, Revision};
use rollout_rules::project::browser::{BrowserChange, Pages, browser_change};
use rollout_rules::snapshot::Snapshot;

use super::channel::{Channel, Unheard, travelling};
use super::encoded;
use super::fragments::Fragments;
use super::page_ring::{News, PageRing, Values};
use crate::state::{Overlay as Standing, Published};

impl Channel {
    /// What its pages hear; none if there is no page, for which nothing is worked out or kept.
    fn heard_page_ring(&self) -> Option<&PageRing> {
        let ring = self.opened_page_ring()?;
        if self.count(Unheard::Page) == 0 {
            ring.forget();
            return None;
        }
        Some(ring)
    }

    /// Tells its pages what an entry did.
    pub(super) fn tell_pages(
        &self,
        log: &LogId,
        entry: &Entry,
        revision: Revision,
        before: &Snapshot,
        published: &Arc<Published>,
    ) {
        let Some(ring) = self.heard_page_ring() else { return };
        let change = browser_change(before, &published.folded, log, entry, &self.app, &self.environment);
        push(ring, change, Some(revision), published);
    }

    /// Tells its pages of a kill that the log has not taken yet.
    pub(super) fn tell_pages_of_kill(&self, log: &LogId, kill: &Standing, published: &Arc<Published>) {
        let Some(ring) = self.heard_page_ring() else { return };
        let pages = Pages {
            log,
            app: &self.app,
            environment: &self.environment,
            folded: &published.folded,
            live: &published.snapshot,
        };
        push(ring, pages.overlay(&travelling(kill), kill.environment.as_ref()), None, published);
    }
}

fn push(ring: &PageRing, change: BrowserChange, revision: Option<Revision>, published: &Arc<Published>) {
    match change {
        BrowserChange::Nothing => {}
        BrowserChange::Anew => ring.push(revision, News::Everything),
        BrowserChange::Ops { shared, values } => {
            // First what is the same for all: a kill waits for no evaluation.
            if let Some(event) = shared.and_then(|frame| encoded(&frame)) {
                ring.push(revision, News::Shared(event));
            }
            if !values.is_empty() {
                let values = Values {
                    flags: values.into_iter().collect(),
                    published: Arc::clone(published),
                    fragments: Fragments::default(),
                };
                ring.push(revision, News::Values(Arc::new(values)));
            }
        }
    }
}
