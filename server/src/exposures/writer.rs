//! A thread that writes sums to disk, so that nobody waits for a disk that is slow.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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
    ended: Mutex<Receiver<()>>,
}

impl Writer {
    pub(super) fn start(store: Store) -> std::io::Result<Writer> {
        let (queue, lines) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new().name("tidegate-exposures".to_owned()).spawn(move || {
            run(store, &lines);
            // The server may have stopped waiting.
            let _ = end.try_send(());
        })?;
        Ok(Writer { queue: Mutex::new(Some(queue)), ended: Mutex::new(ended) })
    }

    /// Has the thread write what changed. While it has not come to the last, what changed stays so.
    pub(super) fn write(&self, sums: &Mutex<Sums>) {
        // Held to the end, so that what is older is never written later.
        let queue = locked(&self.queue);
        let Some(queue) = &*queue else { return };
        let mut changed = locked(sums).take_changed();
        let mut lines = Lines::new();
        while !changed.is_empty() {
            // The text is made of copies, while others go on adding to the sums.
            let copies = locked(sums).copies(&mut changed);
            lines.extend(copies.into_iter().map(|change| (change.about(), line(change))));
        }
        if lines.is_empty() {
            return;
        }
        if let Err(error) = queue.try_send(lines) {
            let (std::sync::mpsc::TrySendError::Full(lines)
            | std::sync::mpsc::TrySendError::Disconnected(lines)) = error;
            locked(sums).changed_still(lines.into_keys());
        }
    }

    /// Lets the thread come to its end, and waits for it for a while.
    pub(super) fn finish(&self) {
        locked(&self.queue).take();
        let ended = locked(&self.ended);
        if ended.recv_timeout(FAREWELL).is_err() {
            tracing::warn!("the disk does not take the last exposure counts in time");
        }
    }
}

fn run(mut store: Store, queue: &Receiver<Lines>) {
    // What the disk did not take goes with the next, unless that is newer.
    let mut unwritten = Lines::new();
    let mut fails = false;
    while let Ok(lines) = queue.recv() {
        unwritten.extend(lines);
        let text: String = unwritten.values().map(String::as_str).collect();
        match store.append(&text) {
            Ok(()) => {
                unwritten.clear();
                fails = false;
            }
            Err(error) => {
                if !fails {
                    tracing::warn!(%error, "exposure counts are not written for now; they are kept in memory");
                }
                fails = true;
            }
        }
    }
}
