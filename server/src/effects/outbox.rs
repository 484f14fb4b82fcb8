//! What has to outlive the process: how far each webhook has come, and what was given up. Small files in the
//! data directory, each written beside its place, synced and renamed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use rollout_rules::ids::{LogId, Revision, WebhookId};
use rollout_rules::time::UnixMs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Most dead letters that a webhook keeps; the oldest goes for one more, and the server's log says so.
pub const MAX_DEAD: usize = 1_000;
/// Since when this directory knows of which log.
const SINCE: &str = "since.json";
/// What the names of a webhook's files begin with.
const PREFIX: &str = "to-";

/// An entry that a webhook was not told of, after all attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Which entry.
    pub revision: Revision,
    /// When it was given up, or last sent again in vain.
    pub at: UnixMs,
    /// How often it was sent.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub problem: String,
}

#[derive(Serialize, Deserialize)]
struct Since {
    log: LogId,
    revision: Revision,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    revision: Revision,
}

/// The directory.
pub(super) struct Outbox {
    directory: PathBuf,
    since: Revision,
}

impl Outbox {
    /// Opens the directory of a log that ends at `head`. What it holds of another log (one that was restored
    /// gets a new name) is dropped: nobody knows what of that was delivered, so webhooks go on from here.
    pub(super) fn open(directory: &Path, log: &LogId, head: Revision) -> io::Result<Outbox> {
        fs::create_dir_all(directory)?;
        let known: Option<Since> = read(&directory.join(SINCE))?;
        if let Some(since) = known.filter(|since| since.log == *log) {
            return Ok(Outbox { directory: directory.to_owned(), since: since.revision });
        }
        let outbox = Outbox { directory: directory.to_owned(), since: head };
        outbox.remove_files(|_| true)?;
        write(&directory.join(SINCE), &Since { log: log.clone(), revision: head })?;
        Ok(outbox)
    }

    /// What came up to here is of before this directory knew of the log.
    pub(super) fn since(&self) -> Revision {
        self.since
    }

    /// Removes what is left of webhooks that are no more.
    pub(super) fn sweep(&self, is_known: impl Fn(&str) -> bool) -> io::Result<()> {
        self.remove_files(|id| !is_known(id))
    }

    fn remove_files(&self, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_prefix(PREFIX).and_then(|name| name.rsplit_once('.')) else { continue };
            if unwanted(id.0) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// The place of a webhook that was made at a revision, and how far it has come.
    pub(super) fn place(&self, id: &WebhookId, made: Revision) -> (Place, Revision, Vec<DeadLetter>) {
        let path = |kind: &str| self.directory.join(format!("{PREFIX}{id}.{kind}"));
        let place = Place { cursor: path("cursor"), dead: path("dead") };
        let cursor = read::<Cursor>(&place.cursor).unwrap_or_else(|error| {
            tracing::warn!(webhook = %id, %error, "how far a webhook has come is not known; it starts anew");
            None
        });
        let dead = read(&place.dead).unwrap_or_else(|error| {
            tracing::warn!(webhook = %id, %error, "the dead letters of a webhook cannot be read");
            None
        });
        let cursor = cursor.map_or(made.max(self.since), |cursor| cursor.revision);
        (place, cursor, dead.unwrap_or_default())
    }
}

/// The files of one webhook.
#[derive(Clone)]
pub(super) struct Place {
    cursor: PathBuf,
    dead: PathBuf,
}

impl Place {
    /// Keeps that everything up to a revision is dealt with.
    pub(super) async fn keep_cursor(&self, revision: Revision) -> io::Result<()> {
        let path = self.cursor.clone();
        aside(move || write(&path, &Cursor { revision })).await
    }

    /// Keeps the dead letters.
    pub(super) async fn keep_dead(&self, dead: Vec<DeadLetter>) -> io::Result<()> {
        let path = self.dead.clone();
        aside(move || write(&path, &dead)).await
    }

    /// Forgets the webhook.
    pub(super) fn remove(&self) {
        for path in [&self.cursor, &self.dead] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "a webhook's file was not removed");
                }
                _ => {}
            }
        }
    }
}

/// Waits for a disk without holding up the other webhooks.
async fn aside(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, path)) {
        // What is left of it would only fill the disk further.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (WebhookId, LogId) {
        (WebhookId::new("w.1").expect("an id"), LogId::new("log-1").expect("an id"))
    }

    #[tokio::test]
    async fn how_far_a_webhook_has_come_and_what_was_given_up_outlive_the_process() {
        let directory = tempfile::tempdir().expect("a directory");
        let (id, log) = names();
        let outbox = Outbox::open(directory.path(), &log, Revision(3)).expect("opens");
        let (place, cursor, dead) = outbox.place(&id, Revision(5));
        assert_eq!((cursor, dead), (Revision(5), Vec::new()), "it is told of what comes after it was made");
        let letter =
            DeadLetter { revision: Revision(6), at: UnixMs(1), attempts: 20, problem: "500".to_owned() };
        place.keep_dead(vec![letter.clone()]).await.expect("kept");
        place.keep_cursor(Revision(9)).await.expect("kept");
        let again = Outbox::open(directory.path(), &log, Revision(12)).expect("opens");
        let (_, cursor, dead) = again.place(&id, Revision(5));
        assert_eq!((cursor, dead), (Revision(9), vec![letter]));
        again.sweep(|known| known != "w.1").expect("swept");
        let (_, cursor, dead) = again.place(&id, Revision(5));
        assert_eq!((cursor, dead), (Revision(5), Vec::new()));
    }

    #[tokio::test]
    async fn webhooks_of_a_restored_log_go_on_from_its_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let (id, log) = names();
        let outbox = Outbox::open(directory.path(), &log, Revision(0)).expect("opens");
        outbox.place(&id, Revision(5)).0.keep_cursor(Revision(9)).await.expect("kept");
        let restored = LogId::new("log-2").expect("an id");
        let outbox = Outbox::open(directory.path(), &restored, Revision(7)).expect("opens");
        assert_eq!(outbox.place(&id, Revision(5)).1, Revision(7));
    }
}
