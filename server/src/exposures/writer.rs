//! A thread that writes sums to disk, so that nobody waits for a disk that is slow.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::lines::line;
use super::store::Store;
use super::sums::{About, Sums};

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
    pub(super) fn write(&self, sums: &mut Sums) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = &*queue else { return };
        let changes = sums.take_changes();
        let lines: Lines = changes.iter().map(|change| (change.about(), line(change))).collect();
        drop(changes);
        if lines.is_empty() {
            return;
        }
        if let Err(error) = queue.try_send(lines) {
            let (std::sync::mpsc::TrySendError::Full(lines)
            | std::sync::mpsc::TrySendError::Disconnected(lines)) = error;
            sums.changed_still(lines.into_keys());
        }
    }

    /// Lets the thread come to its end, and waits for it for a while.
    pub(super) fn finish(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
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
