//! Frames as bytes: JSON, the server-sent events that carry it, and the tokens to resume from.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{FRAME_VERSION, Frame, FrameBody, MAX_FRAME_BYTES};
use crate::ids::{LogId, Revision};

/// A frame that cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameCodecError {
    /// Larger than [`MAX_FRAME_BYTES`].
    TooLarge {
        /// How large, in bytes.
        bytes: usize,
    },
    /// Of a version that this code does not know.
    UnknownVersion {
        /// Which.
        version: u16,
    },
    /// No frame at all.
    Invalid {
        /// What is wrong, for logs.
        problem: String,
    },
}

impl fmt::Display for FrameCodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameCodecError::TooLarge { bytes } => {
                write!(f, "a frame of {bytes} bytes is larger than the {MAX_FRAME_BYTES} that may travel")
            }
            FrameCodecError::UnknownVersion { version } => {
                write!(
                    f,
                    "frames of version {version} are newer than this SDK, which reads up to {FRAME_VERSION}"
                )
            }
            FrameCodecError::Invalid { problem } => write!(f, "not a frame: {problem}"),
        }
    }
}

impl core::error::Error for FrameCodecError {}

impl Frame {
    /// The token that resumes a feed after this frame. Opaque to clients. Overlays have none, since
    /// they move no revision.
    pub fn resume_token(&self) -> Option<ResumeToken> {
        match self.body {
            FrameBody::Overlay(_) => None,
            _ => Some(ResumeToken { log: self.log.clone(), revision: self.revision }),
        }
    }

    /// The name of the server-sent event that carries it.
    pub fn event_name(&self) -> &'static str {
        match self.body {
            FrameBody::Snapshot(_) => "snapshot",
            FrameBody::Change(_) => "change",
            FrameBody::Overlay(_) => "overlay",
        }
    }

    /// Its JSON, on one line.
    pub fn encode(&self) -> Result<Vec<u8>, FrameCodecError> {
        let json = write(self)?;
        if json.len() > MAX_FRAME_BYTES {
            return Err(FrameCodecError::TooLarge { bytes: json.len() });
        }
        Ok(json)
    }

    /// The whole server-sent event that carries it: name, resume token and JSON.
    pub fn encode_event(&self) -> Result<Vec<u8>, FrameCodecError> {
        let json = self.encode()?;
        let mut event = Vec::with_capacity(json.len() + 128);
        event.extend_from_slice(b"event: ");
        event.extend_from_slice(self.event_name().as_bytes());
        if let Some(token) = self.resume_token() {
            event.extend_from_slice(alloc::format!("\nid: {token}").as_bytes());
        }
        event.extend_from_slice(b"\ndata: ");
        event.extend_from_slice(&json);
        event.extend_from_slice(b"\n\n");
        Ok(event)
    }

    /// Reads JSON. The version is judged before anything else.
    pub fn decode(json: &[u8]) -> Result<Frame, FrameCodecError> {
        if json.len() > MAX_FRAME_BYTES {
            return Err(FrameCodecError::TooLarge { bytes: json.len() });
        }
        read(json)
    }
}

#[cfg(target_arch = "wasm32")]
use super::lean::decode as read;

#[cfg(target_arch = "wasm32")]
fn write(frame: &Frame) -> Result<Vec<u8>, FrameCodecError> {
    super::lean::encode(frame).map(alloc::string::String::into_bytes)
}

#[cfg(not(target_arch = "wasm32"))]
fn write(frame: &Frame) -> Result<Vec<u8>, FrameCodecError> {
    serde_json::to_vec(frame).map_err(|error| FrameCodecError::Invalid { problem: alloc::format!("{error}") })
}

#[cfg(not(target_arch = "wasm32"))]
fn read(json: &[u8]) -> Result<Frame, FrameCodecError> {
    #[derive(serde::Deserialize)]
    struct Header {
        v: u16,
    }
    match serde_json::from_slice::<Frame>(json) {
        Ok(frame) if is_known(frame.version) => Ok(frame),
        Ok(frame) => Err(FrameCodecError::UnknownVersion { version: frame.version }),
        // A newer frame need not have our fields: the version tells the two cases apart.
        Err(error) => match serde_json::from_slice::<Header>(json) {
            Ok(header) if !is_known(header.v) => Err(FrameCodecError::UnknownVersion { version: header.v }),
            _ => Err(FrameCodecError::Invalid { problem: alloc::format!("{error}") }),
        },
    }
}

/// Whether this code reads frames of that version.
pub(super) fn is_known(version: u16) -> bool {
    (1..=FRAME_VERSION).contains(&version)
}

/// Where a client stands: `<log id>:<revision>`. Sent as the id of each event, and given back as
/// `Last-Event-ID` to go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    /// The log.
    pub log: LogId,
    /// How far the client has seen it.
    pub revision: Revision,
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log, self.revision)
    }
}

impl ResumeToken {
    /// Reads a token. `None` if it is none of ours: then the client gets a snapshot.
    pub fn parse(text: &str) -> Option<ResumeToken> {
        let (log, revision) = text.rsplit_once(':')?;
        Some(ResumeToken { log: LogId::new(log).ok()?, revision: Revision(revision.parse().ok()?) })
    }
}
