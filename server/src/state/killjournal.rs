//! Kills that the log has not taken, kept in a file of their own so that a restart does not lose them.
//!
//! The file is as large as it will ever be from the start, so a full disk cannot stop a kill. It is
//! an array of slots; a slot holds a SHA-256, a length and an entry's bytes, or zeros. A thread of its
//! own writes it: a disk that hangs must not hold up the kill itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rollout_rules::change::Entry;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{Digest, KillId};
use tokio::sync::mpsc;

use super::published::Overlay;

/// Most kills in the journal at one time. Kills beyond are in effect all the same, but a restart before
/// the log takes them loses them.
pub const MAX_KILLS: usize = 128;
/// Space for one kill, in bytes.
const SLOT_BYTES: usize = 8 * 1024;
const HEADER_BYTES: usize = 32 + 4;
/// Longest reason that is kept with a kill in the journal, in bytes; a longer one is cut.
const MAX_REASON_BYTES: usize = 500;

/// Hands kills to the thread that writes the file.
pub(super) struct KillJournal {
    jobs: SyncSender<Job>,
    writer: JoinHandle<()>,
}

enum Job {
    Keep { kill_id: KillId, bytes: Vec<u8> },
    Forget { kill_id: KillId },
}

struct JournalFile {
    file: File,
    slots: BTreeMap<KillId, u64>,
    free: Vec<u64>,
}

impl KillJournal {
    /// Opens the journal, and gives the kills in it. Each kill that is to be kept is named on `kept` once,
    /// with whether it is on disk or could not be written.
    pub(super) fn open(
        path: &Path,
        kept: mpsc::Sender<(KillId, bool)>,
    ) -> io::Result<(KillJournal, Vec<Entry>)> {
        let (file, entries) = JournalFile::open(path)?;
        let (jobs, queue) = sync_channel(2 * MAX_KILLS);
        let writer = std::thread::Builder::new()
            .name("tidegate-kills".to_owned())
            .spawn(move || file.run(&queue, &kept))?;
        Ok((KillJournal { jobs, writer }, entries))
    }

    /// Waits until all that was asked for is on disk.
    pub(super) fn finish(self) {
        drop(self.jobs);
        if self.writer.join().is_err() {
            tracing::error!("the thread that keeps kills panicked");
        }
    }

    /// Keeps a kill. `false`: the thread is too far behind to take it.
    pub(super) fn keep(&self, kill_id: &KillId, entry: &Entry) -> bool {
        self.send(Job::Keep { kill_id: kill_id.clone(), bytes: slot_bytes(entry) })
    }

    /// Forgets a kill that the log has. One that is not forgotten is found in the log at the next start.
    pub(super) fn forget(&self, kill_id: &KillId) {
        self.send(Job::Forget { kill_id: kill_id.clone() });
    }

    fn send(&self, job: Job) -> bool {
        !matches!(self.jobs.try_send(job), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
    }
}

/// The entry's bytes, shortened to fit a slot if need be: what is killed matters more than why, and than what an agent's act came from.
fn slot_bytes(entry: &Entry) -> Vec<u8> {
    let bytes = entry.encode();
    if bytes.len() <= SLOT_BYTES - HEADER_BYTES {
        return bytes;
    }
    let mut shorter = entry.clone();
    let end = shorter.reason.floor_char_boundary(MAX_REASON_BYTES);
    shorter.reason.truncate(end);
    if let Actor::Agent { work, .. } = &mut shorter.actor {
        *work = None;
    }
    shorter.encode()
}

impl JournalFile {
    fn open(path: &Path) -> io::Result<(JournalFile, Vec<Entry>)> {
        let length = SLOT_BYTES * MAX_KILLS;
        let mut bytes = Vec::with_capacity(length);
        // A journal that is there and cannot be read must not be taken for none, and written over.
        match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io::Error::new(error.kind(), format!("reading {}: {error}", path.display())));
            }
            _ => {}
        }
        if bytes.len() != length {
            bytes.resize(length, 0);
            // Written in full, so that every block is its own from now on.
            let unfinished = path.with_extension("unfinished");
            fs::write(&unfinished, &bytes)?;
            File::open(&unfinished)?.sync_all()?;
            fs::rename(&unfinished, path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let file = File::options().write(true).open(path)?;
        let mut journal = JournalFile { file, slots: BTreeMap::new(), free: Vec::new() };
        let mut entries = Vec::new();
        for (number, slot) in (0..).zip(bytes.chunks(SLOT_BYTES)) {
            match read_slot(slot).map(|entry| (Overlay::of(&entry), entry)) {
                Some((Some(overlay), entry)) => {
                    journal.slots.insert(overlay.kill_id, number);
                    entries.push(entry);
                }
                _ => journal.free.push(number),
            }
        }
        entries.sort_by_key(|entry| entry.at);
        Ok((journal, entries))
    }

    fn run(mut self, queue: &Receiver<Job>, kept: &mpsc::Sender<(KillId, bool)>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Keep { kill_id, bytes } => {
                    let written = self.keep(&kill_id, &bytes);
                    if let Err(error) = &written {
                        tracing::error!(%kill_id, %error, "a kill is in effect but a restart would lose it");
                    }
                    // While the node stops, nobody listens any more.
                    let _ = kept.blocking_send((kill_id, written.is_ok()));
                }
                Job::Forget { kill_id } => {
                    if let Some(slot) = self.slots.remove(&kill_id) {
                        self.free.push(slot);
                        // Not synced: a kill that turns up again is found in the log.
                        if let Err(error) = self.file.write_all_at(&[0; HEADER_BYTES], place(slot)) {
                            tracing::warn!(%kill_id, %error, "a kill stays in the journal");
                        }
                    }
                }
            }
        }
    }

    fn keep(&mut self, kill_id: &KillId, bytes: &[u8]) -> io::Result<()> {
        if self.slots.contains_key(kill_id) {
            return Ok(());
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if bytes.len() > SLOT_BYTES - HEADER_BYTES {
            return Err(io::Error::other("the kill does not fit its slot"));
        }
        let slot = self.free.pop().ok_or_else(|| io::Error::other("the journal is full"))?;
        let mut whole = Vec::with_capacity(HEADER_BYTES + bytes.len());
        whole.extend(Digest::of(bytes).0);
        whole.extend(length.to_be_bytes());
        whole.extend(bytes);
        let written = self.file.write_all_at(&whole, place(slot)).and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.free.push(slot);
        } else {
            self.slots.insert(kill_id.clone(), slot);
        }
        written
    }
}

fn place(slot: u64) -> u64 {
    slot * SLOT_BYTES as u64
}

fn read_slot(slot: &[u8]) -> Option<Entry> {
    let (hash, rest) = slot.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let bytes = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    if bytes.is_empty() || Digest::of(bytes).0 != *hash {
        return None;
    }
    Entry::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use rollout_rules::governance::Work;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_agents_act_came_from_gives_way_to_what_is_killed() {
        let zero = Digest::default();
        let name = "n".repeat(1_000);
        let work = Work { files: vec!["f".repeat(200); 20], ..Work::default() };
        let entry = json!({
            "v": 1, "at": "2026-01-01T00:00:00.000Z", "reason": "r".repeat(1_000),
            "actor": {"type": "agent", "model": name, "tool": name, "on_behalf_of": name, "work": work},
            "anchor": {"revision": 0, "hash": zero.to_string()},
            "change": {"kind": "killed", "kill_id": "k", "reach": {"app": {"app": "shop"}}},
        });
        let entry = Entry::decode(entry.to_string().as_bytes()).expect("an entry");
        assert!(entry.encode().len() > SLOT_BYTES);
        let bytes = slot_bytes(&entry);
        assert!(bytes.len() <= SLOT_BYTES - HEADER_BYTES, "{}", bytes.len());
        let kept = Entry::decode(&bytes).expect("an entry");
        assert_eq!(kept.change, entry.change);
        let Actor::Agent { on_behalf_of, work: None, .. } = kept.actor else { panic!("{:?}", kept.actor) };
        assert_eq!(on_behalf_of, name);
    }
}
