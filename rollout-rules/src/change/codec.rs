//! The bytes of an entry, as the log keeps them.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;

use super::{ENTRY_VERSION, Entry};

/// Why bytes of the log are not an entry that this code knows. A node that meets one stops folding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownEntry {
    /// Written by newer code.
    Version {
        /// Its version.
        found: u16,
    },
    /// No entry of a version that this code knows: another kind of change, or broken.
    Malformed {
        /// What the reader stumbled over.
        problem: String,
    },
}

impl fmt::Display for UnknownEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnknownEntry::Version { found } => write!(
                f,
                "the entry has version {found}, and this program reads up to {ENTRY_VERSION}: use a newer one"
            ),
            UnknownEntry::Malformed { problem } => write!(f, "the entry cannot be read: {problem}"),
        }
    }
}

impl core::error::Error for UnknownEntry {}

impl Entry {
    /// The bytes that the log keeps.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has no map with keys other than text")
    }

    /// Reads the bytes of the log. Another version is told from broken bytes, whatever else is in them.
    pub fn decode(bytes: &[u8]) -> Result<Entry, UnknownEntry> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u16,
        }
        let known = |version: u16| (1..=ENTRY_VERSION).contains(&version);
        // Nearly all are known: reading them once is half the work of looking at the version first.
        match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) if known(entry.version) => Ok(entry),
            Ok(entry) => Err(UnknownEntry::Version { found: entry.version }),
            Err(error) => match serde_json::from_slice(bytes) {
                Ok(Versioned { v }) if !known(v) => Err(UnknownEntry::Version { found: v }),
                _ => Err(UnknownEntry::Malformed { problem: error.to_string() }),
            },
        }
    }
}
