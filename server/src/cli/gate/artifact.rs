//! Which artifact is meant: its digest, given or made from the file.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rollout_rules::ids::InvalidKey;
use rollout_rules::release::ArtifactDigest;
use sha2::{Digest as _, Sha256};

/// What a digest starts with where a file's name could stand too.
const DIGEST_SCHEME: &str = "sha256:";
/// How much of the file is in memory at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why the artifact has no digest.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArtifactError {
    /// What was given starts like a digest and is none.
    NoDigest(InvalidKey),
    /// The file cannot be read.
    Unreadable {
        /// What was given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is a folder, a device or something else without content of its own.
    NoFile {
        /// What was given.
        path: PathBuf,
    },
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArtifactError::NoDigest(source) => fmt::Display::fmt(source, f),
            ArtifactError::Unreadable { path, .. } => write!(
                f,
                "the artifact {} cannot be read; build it first, then give the file that you deploy, or its digest as \
                 the registry names it (`sha256:…`)",
                path.display()
            ),
            ArtifactError::NoFile { path } => write!(
                f,
                "{} is not a file; pack what you deploy into one, such as a .tar.gz, and give that",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ArtifactError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ArtifactError::NoDigest(source) => Some(source),
            ArtifactError::Unreadable { source, .. } => Some(source),
            ArtifactError::NoFile { .. } => None,
        }
    }
}

/// The digest of an artifact: `sha256:…` is taken as it is, anything else is a file, whose SHA-256 is made without
/// holding it in memory.
pub fn digest_of(artifact: &str) -> Result<ArtifactDigest, ArtifactError> {
    if artifact.starts_with(DIGEST_SCHEME) {
        return artifact.parse().map_err(ArtifactError::NoDigest);
    }
    let path = Path::new(artifact);
    let unreadable = |source| ArtifactError::Unreadable { path: path.to_owned(), source };
    // Asked before it is opened: opening a pipe waits for its writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(ArtifactError::NoFile { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
    }
    let digits: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{DIGEST_SCHEME}{digits}").parse().map_err(ArtifactError::NoDigest)
}
