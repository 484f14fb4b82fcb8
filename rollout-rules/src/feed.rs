//! What travels to the SDKs. A feed is a stream of [`Frame`]s for one [`Audience`]: a snapshot of
//! everything that it needs, then changes that carry the new state itself, so that a client never has
//! to ask back. The JSON form of frames lasts: fields and kinds are added under a new version, never
//! renamed.
//!
//! Actors, approvals, evidence, reasons, owners and descriptions never travel, and of segments only
//! those that the environment's flags refer to.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

mod codec;
#[cfg(any(target_arch = "wasm32", test))]
mod lean;
pub mod machine;
pub mod sse;
pub mod state;

use serde::{Deserialize, Serialize};

pub use self::codec::{FrameCodecError, ResumeToken};
pub(crate) use self::state::Kept;
pub use self::state::{Applied, ClientState, FrameError};
use crate::change::Reach;
use crate::condition::{Condition, SegmentRef};
use crate::evaluate::Told;
use crate::flag::{Flag, FlagKind, FlagState, Hold, HoldCause, Kill, Kills, Targeting, Variant};
use crate::ids::{AppKey, EnvKey, FlagKey, KillId, LogId, Revision, VariantKey};
use crate::time::UnixMs;

/// The highest version of frames that this code writes and reads. A client that receives a higher one keeps
/// what it has, and says loudly that it is stale.
///
/// 2: what pages are told of flags, and until when a flag is guarded. A frame that says nothing of it is of version 1.
pub const FRAME_VERSION: u16 = 2;

/// Largest frame, in bytes of JSON. A server refuses to send a larger one, a client to read it.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// Who listens to a feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// Servers of an app in one environment: they get rules and evaluate themselves.
    Server {
        /// The app.
        app: AppKey,
        /// The environment.
        environment: EnvKey,
    },
}

/// One message of a feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The version of this form.
    #[serde(rename = "v")]
    pub version: u16,
    /// The log that it comes from. Revisions of different logs cannot be compared.
    pub log: LogId,
    /// Whoever applied it has seen the log up to here.
    pub revision: Revision,
    /// What it says.
    pub body: FrameBody,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameBody {
    /// Everything, in place of whatever the client had.
    Snapshot(Box<Served>),
    /// What an entry of the log changed.
    Change(ChangeFrame),
    /// A kill that takes effect before the log could take it. It holds until the change that carries
    /// its kill id arrives. It moves no revision.
    Overlay(Overlay),
}

/// What an entry of the log changed for an audience.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeFrame {
    /// The revision that last concerned this audience before. A client that has not come as far has
    /// missed a frame, and asks for a snapshot. Zero: it is for pages, which get all frames of a connection in order and
    /// none twice; several may be of one revision, and each takes effect.
    pub follows: Revision,
    /// Set if the entry is a kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_id: Option<KillId>,
    /// What to do, in this order. May be empty: then only the revision moves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<Op>,
}

/// A kill that the log has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The caller's name for the act; the entry that replaces the overlay carries the same.
    pub kill_id: KillId,
    /// What is killed.
    pub reach: Reach,
    /// When it was killed.
    pub at: UnixMs,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A flag came to be or changed.
    PutFlag(Arc<ServedFlag>),
    /// A flag is gone.
    RemoveFlag {
        /// Which.
        flag: FlagKey,
    },
    /// A flag was killed or revived, and nothing else about it changed.
    FlagKills {
        /// Which.
        flag: FlagKey,
        /// Its kills as they are now.
        #[serde(flatten)]
        kills: ServedKills,
        /// The flag's revision now.
        revision: Revision,
    },
    /// A segment came to be known to the audience, with all its members.
    PutSegment(ServedSegment),
    /// A segment's condition changed; its members stay.
    SegmentCondition {
        /// Which.
        segment: SegmentRef,
        /// Who belongs besides its members now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        when: Option<Box<Condition>>,
    },
    /// Members came to or left a segment.
    SegmentMembers {
        /// Which.
        segment: SegmentRef,
        /// Who came.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        add: Vec<Arc<str>>,
        /// Who left.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remove: Vec<Arc<str>>,
    },
    /// A segment is gone, or no flag of the audience refers to it any more.
    RemoveSegment {
        /// Which.
        segment: SegmentRef,
    },
    /// Everything or the app was killed or revived.
    Kills {
        /// At which height.
        height: FeedHeight,
        /// The kills there as they are now.
        #[serde(flatten)]
        kills: ServedKills,
    },
    /// The environment's end moved.
    Environment {
        /// When it ends now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<UnixMs>,
    },
    /// The environment is gone, and all flags and segments with it.
    EnvironmentGone,
}

/// A height above single flags at which a kill can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedHeight {
    /// Every flag of every app.
    Everything,
    /// Every flag of the app.
    App,
}

/// The kills at one height, as they stand in the audience's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedKills {
    /// The kill in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Kill>,
    /// What was turned on at or before this revision is off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub off_before: Revision,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(revision: &Revision) -> bool {
    *revision == Revision::ZERO
}

/// A flag as an SDK needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedFlag {
    /// Its name.
    pub key: FlagKey,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: FlagKind,
    /// The answers it can give.
    pub variants: Vec<Variant>,
    /// The answer while it is off, killed or expired.
    pub off_variant: VariantKey,
    /// What people set, without their descriptions, with regular expressions compiled.
    pub targeting: Targeting,
    /// From this moment on it serves its off variant.
    pub expires_at: UnixMs,
    /// The revision that last changed `targeting`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub targeting_revision: Revision,
    /// Who holds it at its off variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<ServedHold>,
    /// The flag's own kills.
    #[serde(flatten)]
    pub kills: ServedKills,
    /// The revision that last changed the flag.
    pub revision: Revision,
    /// What its answer is for the page that it is sent to, in place of rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Arc<Told>>,
    /// Until when it is watched, since it was raised a while ago or still is: until then a page that kept it and has not
    /// heard of the server yet serves the off variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded_until: Option<UnixMs>,
}

/// That automation holds a flag, without the words for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedHold {
    /// Who holds.
    pub cause: HoldCause,
    /// Since when.
    pub at: UnixMs,
}

/// A segment as an SDK needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedSegment {
    /// Its name, as conditions name it.
    pub segment: SegmentRef,
    /// Who belongs besides its members, with regular expressions compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Box<Condition>>,
    /// Its members, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Arc<str>>,
}

/// Everything that an audience needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// The environment was removed; there is nothing to serve.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gone: bool,
    /// When the environment ends, for previews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMs>,
    /// Kills of everything.
    #[serde(default)]
    pub everything: ServedKills,
    /// Kills of the app.
    #[serde(default)]
    pub app_kills: ServedKills,
    /// The flags, in order of their keys.
    #[serde(default)]
    pub flags: Vec<Arc<ServedFlag>>,
    /// The segments that the flags refer to, in order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<ServedSegment>,
    /// Kills that the log has not taken yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<Overlay>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Frame {
    /// A frame of the lowest version that can say it.
    pub fn new(log: LogId, revision: Revision, body: FrameBody) -> Frame {
        let is_new = |flag: &ServedFlag| flag.told.is_some() || flag.guarded_until.is_some();
        let is_second = match &body {
            FrameBody::Snapshot(served) => served.flags.iter().any(|flag| is_new(flag)),
            FrameBody::Change(change) => {
                change.ops.iter().any(|op| matches!(op, Op::PutFlag(flag) if is_new(flag)))
            }
            FrameBody::Overlay(_) => false,
        };
        Frame { version: if is_second { 2 } else { 1 }, log, revision, body }
    }
}

impl ServedKills {
    /// What of the kills at some height holds in an environment.
    pub fn of(kills: &Kills, environment: &EnvKey) -> ServedKills {
        ServedKills {
            killed: kills.in_environment(environment).cloned(),
            off_before: kills.off_before_in(environment),
        }
    }

    /// The same as kills in all environments: a client knows only one.
    pub fn to_kills(&self) -> Kills {
        Kills {
            all: self.killed.clone(),
            environments: BTreeMap::new(),
            off_before: self.off_before,
            off_before_in: BTreeMap::new(),
        }
    }
}

impl ServedFlag {
    /// The flag's definition as the evaluator takes it, without what did not travel.
    pub fn definition(&self) -> Flag {
        Flag {
            key: self.key.clone(),
            kind: self.kind,
            variants: self.variants.clone(),
            off_variant: self.off_variant.clone(),
            description: String::new(),
            owner: String::new(),
            critical: false,
            created_at: UnixMs(0),
            extensions: 0,
            archived_at: None,
            browser: None,
        }
    }

    /// The flag's state as the evaluator takes it.
    pub fn state(&self) -> FlagState {
        FlagState {
            targeting: self.targeting.clone(),
            expires_at: self.expires_at,
            targeting_revision: self.targeting_revision,
            hold: self
                .hold
                .map(|hold| Box::new(Hold { cause: hold.cause, at: hold.at, reason: String::new() })),
        }
    }
}
