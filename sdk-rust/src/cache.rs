//! The last good state on disk, for a start without the server.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rollout_rules::feed::{ClientState, Frame};
use rollout_rules::ids::{AppKey, Digest, EnvKey};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The version of the file. Another one is not read.
const FILE_VERSION: u16 = 1;

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
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let file: OnDisk = serde_json::from_slice(&bytes)?;
        if file.version != FILE_VERSION || Digest::of(file.frame.as_bytes()) != file.digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the cached flags are damaged"));
        }
        let frame = Frame::decode(file.frame.as_bytes()).map_err(invalid)?;
        let (state, _) = ClientState::fold(None, &frame).map_err(invalid)?;
        Ok(Some(Cached { state, saved_at: file.saved_at }))
    }

    /// Keeps a state. Readers see the old file or the new one, never a part.
    pub(crate) fn store(&self, state: &ClientState, now: UnixMs) -> Result<(), io::Error> {
        let frame = state.to_frame().encode().map_err(invalid)?;
        let digest = Digest::of(&frame);
        let frame = String::from_utf8(frame).map_err(invalid)?;
        let file = serde_json::to_vec(&OnDisk { version: FILE_VERSION, saved_at: now, digest, frame })?;
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Processes that share the directory must not write into one another's file.
        let fresh = self.path.with_extension(format!("{}.new", std::process::id()));
        let written = write_synced(&fresh, &file).and_then(|()| fs::rename(&fresh, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), io::Error> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
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
