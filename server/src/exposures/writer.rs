//! A thread that writes sums to disk, so that nobody waits for a disk that is slow.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::kept::About;
use super::lines::line;
use super::locked;
use super::store::Store;
use super::sums::Sums;

/// How long the server waits at its end.
const FAREWELL: Duration = Duration::from_secs(2);

type Lines = BTreeMap<About, String>;

/// Hands lines to the thread. One set of lines may wait while another is written.
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Lines>>>,
    /// What the thread is to write before it ends, whatever waits.
    last: Arc<Mutex<Lines>>,
    ended: Mutex<Receiver<()>>,
}

impl Writer {
    pub(super) fn start(store: Store) -> std::io::Result<Writer> {
        let (queue, lines) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let last = Arc::default();
        let its_last = Arc::clone(&last);
        std::thread::Builder::new().name("tidegate-exposures".to_owned()).spawn(move || {
            run(store, &lines, &its_last);
            // The server may have stopped waiting.
            let _ = end.try_send(());
        })?;
        Ok(Writer { queue: Mutex::new(Some(queue)), last, ended: Mutex::new(ended) })
    }

    /// Has the thread write what changed. While it has not come to the last, what changed stays so.
    pub(super) fn write(&self, sums: &Mutex<Sums>) {
        // Held to the end, so that what is older is never written later.
        let queue = locked(&self.queue);
        let Some(queue) = &*queue else { return };
        // Even none: what the disk did not take is then tried again.
        if let Err(error) = queue.try_send(changes(sums)) {
            let (std::sync::mpsc::TrySendError::Full(lines)
            | std::sync::mpsc::TrySendError::Disconnected(lines)) = error;
            locked(sums).changed_still(lines.into_keys());
        }
    }

    /// Has the thread write what changed since and come to its end, and waits for it for a while.
    pub(super) fn finish(&self, sums: &Mutex<Sums>) {
        let queue = locked(&self.queue).take();
        *locked(&self.last) = changes(sums);
        drop(queue);
        let ended = locked(&self.ended);
        if ended.recv_timeout(FAREWELL).is_err() {
            tracing::warn!("the disk does not take the last exposure counts in time");
        }
    }
}

/// What changed, as it is now.
fn changes(sums: &Mutex<Sums>) -> Lines {
    let mut changed = locked(sums).take_changed();
    let mut lines = Lines::new();
    while !changed.is_empty() {
        // The text is made of copies, while others go on adding to the sums.
        let copies = locked(sums).copies(&mut changed);
        lines.extend(copies.into_iter().map(|change| (change.about(), line(change))));
    }
    lines
}

fn run(mut store: Store, queue: &Receiver<Lines>, last: &Mutex<Lines>) {
    // What the disk did not take goes with the next, unless that is newer.
    let mut unwritten = Lines::new();
    let mut fails = false;
    loop {
        let lines = queue.recv();
        // The server ends: what is left has its last chance.
        let ends = lines.is_err();
        unwritten.extend(lines.unwrap_or_else(|_| std::mem::take(&mut *locked(last))));
        if !unwritten.is_empty() {
            fails = !append(&mut store, &mut unwritten, fails);
        }
        if ends {
            return;
        }
    }
}

/// Whether the disk has taken all. If it has failed before, it is not said again that it fails.
fn append(store: &mut Store, unwritten: &mut Lines, failed_before: bool) -> bool {
    let text: String = unwritten.values().map(String::as_str).collect();
    match store.append(&text) {
        Ok(()) => {
            unwritten.clear();
            true
        }
        Err(error) => {
            metrics::counter!("tidegate_exposures_write_failures_total").increment(1);
            if !failed_before {
                tracing::warn!(%error, "exposure counts are not written for now; they are kept in memory");
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
    use rollout_rules::time::UnixMs;

    use super::*;
    use crate::exposures::place;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    #[test]
    fn what_finds_the_thread_busy_or_gone_stays_unwritten_and_goes_with_the_next_as_it_is_then() {
        // The test is the thread that writes.
        let (queue, lines) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let (queue, last, ended) = (Mutex::new(Some(queue)), Arc::default(), Mutex::new(ended));
        let writer = Writer { queue, last, ended };
        let sums = Mutex::new(Sums::since(NOW));
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let add = |flag: &str| {
            let place = place(&app, &live, &FlagKey::new(flag).expect("a key"));
            assert!(locked(&sums).add(&place, None, 1, NOW));
        };
        let taken = || -> Vec<String> {
            let lines = lines.try_recv().map(Lines::into_values).into_iter().flatten();
            lines.map(|line| line[line.find('{').expect("JSON")..].trim_end().to_owned()).collect()
        };
        for flag in ["a", "b", "b"] {
            add(flag);
            writer.write(&sums);
        }
        let line = |flag: &str, count: u64| {
            let (hour, day) = (NOW.0 / 3_600_000, NOW.0 / 86_400_000);
            format!(
                r#"{{"app":"shop","flag":"{flag}","environment":"live","answers":[{{"variant":null,"first_at":"{NOW}","last_at":"{NOW}","hours":[[{hour},{count}]],"days":[[{day},{count}]]}}],"asked_at":"{NOW}"}}"#
            )
        };
        assert_eq!(taken(), [line("a", 1)]);
        writer.write(&sums);
        assert_eq!(taken(), [line("b", 2)]);
        writer.write(&sums);
        assert_eq!(taken(), Vec::<String>::new());
        add("c");
        drop(lines);
        writer.write(&sums);
        assert!(locked(&writer.last).is_empty());
        end.send(()).expect("somebody waits");
        writer.finish(&sums);
        let last: Vec<String> = locked(&writer.last).values().cloned().collect();
        assert!(last.len() == 1 && last[0].contains(&line("c", 1)), "{last:?}");
    }
}
