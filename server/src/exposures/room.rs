//! How much room there is, and which app has how much of it.

use std::collections::BTreeMap;

use rollout_rules::ids::AppKey;

/// Places of which there are so many in all, and no more than a share of them for one app.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    most_of_app: usize,
    taken: usize,
    of_app: BTreeMap<AppKey, usize>,
}

impl Room {
    /// Room of which nothing is taken.
    pub(super) fn of(most: usize, most_of_app: usize) -> Room {
        Room { most, most_of_app, taken: 0, of_app: BTreeMap::new() }
    }

    /// Whether an app may take one more.
    pub(super) fn is_left(&self, app: &AppKey) -> bool {
        self.taken < self.most && self.of_app.get(app).is_none_or(|taken| *taken < self.most_of_app)
    }

    /// Takes places, whether they are left or not: what was written once stays.
    pub(super) fn take(&mut self, app: &AppKey, places: usize) {
        if places > 0 {
            self.taken += places;
            *self.of_app.entry(app.clone()).or_default() += places;
        }
    }

    /// Gives places back that were taken.
    pub(super) fn give_back(&mut self, app: &AppKey, places: usize) {
        let Some(taken) = self.of_app.get_mut(app) else { return };
        *taken -= places;
        self.taken -= places;
        if *taken == 0 {
            self.of_app.remove(app);
        }
    }
}
