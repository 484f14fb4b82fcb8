//! The last good state on disk, for a start without the server.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rand::Rng as _;
use rollout_rules::feed::{ClientState, Frame, MAX_FRAME_BYTES};
use rollout_rules::ids::{AppKey, Digest, EnvKey, LogId, Revision};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The version of the file. Another one is not read.
const FILE_VERSION: u16 = 1;
/// Largest file that is read, in bytes: the largest frame, every quote of which is escaped.
const MAX_FILE_BYTES: u64 = 2 * MAX_FRAME_BYTES as u64 + 4096;
/// A half-written file as old as this belongs to a program that was killed while it wrote.
const ABANDONED: Duration = Duration::from_secs(600);

/// Where the state of one server, app and environment is kept.
#[derive(Clone)]
pub(crate) struct Cache {
    path: PathBuf,
}

/// What a file held.
pub(crate) struct Cached {
    pub(crate) state: ClientState,
    pub(crate) saved_at: UnixMs,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u16,
    saved_at: UnixMs,
    /// SHA-256 of `frame`: a file that was cut or changed is no state.
    digest: Digest,
    frame: String,
}

/// How far a frame has come; the rest of it is not read.
#[derive(Deserialize)]
struct Position {
    log: LogId,
    revision: Revision,
}

impl OnDisk {
    /// Reads a file whose frame is whole.
    fn read(file: File) -> Result<OnDisk, io::Error> {
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the cached flags are too large"));
        }
        let file: OnDisk = serde_json::from_slice(&bytes)?;
        if file.version != FILE_VERSION || Digest::of(file.frame.as_bytes()) != file.digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the cached flags are damaged"));
        }
        Ok(file)
    }
}

impl Cache {
    /// The file is named by a hash of address, key and what is followed, so that apps can share a
    /// directory and the name tells nothing.
    pub(crate) fn new(directory: &Path, url: &str, key: &str, audience: Option<&(AppKey, EnvKey)>) -> Cache {
        let mut whole = format!("{}\n{key}", url.trim().trim_end_matches('/'));
        if let Some((app, environment)) = audience {
            whole = format!("{whole}\n{app}\n{environment}");
        }
        let name = Digest::of(whole.as_bytes()).to_string();
        Cache { path: directory.join(format!("tidegate-{}.json", &name[..24])) }
    }

    /// What was kept, if there is anything that can be used.
    pub(crate) fn load(&self) -> Result<Option<Cached>, io::Error> {
        self.sweep(SystemTime::now());
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let file = OnDisk::read(file)?;
        let frame = Frame::decode(file.frame.as_bytes()).map_err(invalid)?;
        let (state, _) = ClientState::fold(None, &frame).map_err(invalid)?;
        Ok(Some(Cached { state, saved_at: file.saved_at }))
    }

    /// Whether the file holds a later state of the same log: other replicas of a program write it too, and
    /// one of them may have come further. One that writes at this very moment is not noticed.
    fn is_ahead_of(&self, state: &ClientState) -> bool {
        let file = File::open(&self.path).and_then(OnDisk::read);
        let position = file.and_then(|file| Ok(serde_json::from_str::<Position>(&file.frame)?));
        position.is_ok_and(|kept| kept.log == *state.log() && kept.revision > state.revision())
    }

    /// Keeps a state, unless a later one of the same log is there. Readers see the old file or the new one,
    /// never a part.
    pub(crate) fn store(&self, state: &ClientState, now: UnixMs) -> Result<(), io::Error> {
        let frame = state.to_frame().encode().map_err(invalid)?;
        let digest = Digest::of(&frame);
        let frame = String::from_utf8(frame).map_err(invalid)?;
        let file = serde_json::to_vec(&OnDisk { version: FILE_VERSION, saved_at: now, digest, frame })?;
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Whoever shares the directory must not write into this file: other clients of this process, and
        // processes in other containers, where all have the same number.
        let fresh = self.path.with_extension(format!("{:016x}.new", rand::rng().random::<u64>()));
        let written = write_synced(&fresh, &file).and_then(|()| match self.is_ahead_of(state) {
            true => fs::remove_file(&fresh),
            false => fs::rename(&fresh, &self.path),
        });
        match (&written, self.path.parent()) {
            (Err(_), _) => drop(fs::remove_file(&fresh)),
            // The new name outlives a loss of power. Where directories cannot be synced, it may not.
            (Ok(()), Some(directory)) => drop(File::open(directory).and_then(|open| open.sync_all())),
            (Ok(()), None) => {}
        }
        written
    }

    /// Removes what programs left behind that were killed while they wrote, so that it cannot pile up.
    fn sweep(&self, now: SystemTime) {
        let (Some(directory), Some(stem)) = (self.path.parent(), self.path.file_stem()) else { return };
        let prefix = format!("{}.", stem.to_string_lossy());
        for file in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = file.file_name();
            let is_half =
                name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".new"));
            let written = file.metadata().and_then(|about| about.modified());
            let is_old = written.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age >= ABANDONED));
            if is_half && is_old {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), io::Error> {
    let mut options = File::options();
    // Never through a link that somebody else has put there.
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Targeting may name people.
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn state(flags: usize, value: &str) -> ClientState {
        let flags: Vec<_> = (0..flags)
            .map(|i| {
                serde_json::json!({"key": format!("flag-{i}"), "type": "string", "off_variant": "off",
                    "variants": [{"key": "off", "value": value}], "targeting": {"on": false, "exposure": 0, "serve": {"variant": "off"}},
                    "expires_at": 5, "revision": 2})
            })
            .collect();
        let frame = serde_json::json!({"v": 1, "log": "l", "revision": flags.len(),
            "body": {"snapshot": {"app": "shop", "environment": "production", "flags": flags}}});
        let frame = Frame::decode(frame.to_string().as_bytes()).unwrap();
        ClientState::fold(None, &frame).unwrap().0
    }

    fn cache(directory: &Path) -> Cache {
        Cache::new(directory, "http://host", "tg_key", None)
    }

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn clients_that_write_at_the_same_time_leave_a_whole_state() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let states = [state(3, &"x".repeat(9_000)), state(200, "y")];
        std::thread::scope(|scope| {
            for state in &states {
                scope.spawn(|| (0..50).for_each(|_| cache.store(state, UnixMs(7)).unwrap()));
            }
            scope.spawn(|| {
                for _ in 0..100 {
                    let found = cache.load().expect("a whole file").map(|cached| cached.state.revision().0);
                    assert!(matches!(found, None | Some(3 | 200)), "{found:?}");
                }
            });
        });
        assert_eq!(files(directory.path()), 1, "nothing is left beside it");
    }

    #[test]
    fn an_older_state_does_not_take_the_place_of_a_newer_one_of_the_same_log() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let kept = || cache.load().unwrap().map(|cached| (cached.state.revision().0, cached.saved_at.0));
        cache.store(&state(3, "x"), UnixMs(7)).unwrap();
        cache.store(&state(2, "x"), UnixMs(8)).unwrap();
        assert_eq!(kept(), Some((3, 7)), "the newer one stays");
        assert_eq!(files(directory.path()), 1, "nothing is left beside it");
        cache.store(&state(3, "y"), UnixMs(9)).unwrap();
        assert_eq!(kept(), Some((3, 9)), "kills ahead of the log come without a revision");
        let mut other = state(2, "x").to_frame();
        other.log = LogId::new("other").unwrap();
        cache.store(&ClientState::fold(None, &other).unwrap().0, UnixMs(10)).unwrap();
        assert_eq!(kept(), Some((2, 10)), "a log that was restored counts anew");
        let text = fs::read_to_string(&cache.path).unwrap();
        fs::write(&cache.path, text.replace("flag-1", "flag-9")).unwrap();
        cache.store(&state(1, "x"), UnixMs(11)).unwrap();
        assert_eq!(kept(), Some((1, 11)), "what is damaged is replaced");
    }

    #[test]
    fn what_a_killed_program_left_half_written_is_removed_once_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        cache.store(&state(1, "x"), UnixMs(7)).unwrap();
        let half = cache.path.with_extension("17.new");
        fs::write(&half, "half").unwrap();
        fs::write(directory.path().join("tidegate-other.17.new"), "another client's").unwrap();
        cache.sweep(SystemTime::now());
        assert!(half.exists(), "somebody may be writing it");
        cache.sweep(SystemTime::now() + ABANDONED * 2);
        assert!(!half.exists());
        assert_eq!(files(directory.path()), 2, "the state and the other's file stay");
    }

    #[test]
    fn a_file_larger_than_any_state_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        File::create(&cache.path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        let error = cache.load().err().unwrap();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_kept_can_be_read_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        cache.store(&state(1, "x"), UnixMs(7)).unwrap();
        assert_eq!(fs::metadata(&cache.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
