//! Releases of an app: which artifact runs in an environment, and which one to go back to.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{AppKey, Digest, EnvKey, InvalidKey, Revision};
use crate::time::UnixMs;

/// Most releases of an app environment that are remembered. For one more the oldest goes, but never the current one nor
/// the one to go back to.
pub const KEPT_RELEASES: usize = 16;
/// Longest version of a release, in bytes.
pub const MAX_VERSION_BYTES: usize = 100;
/// What stands before the digits of an artifact's digest.
const SCHEME: &str = "sha256:";

/// Names an artifact by its content: `sha256:` and 64 hexadecimal digits in lower case, as registries write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactDigest(Digest);

impl fmt::Display for ArtifactDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

impl fmt::Debug for ArtifactDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ArtifactDigest {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<ArtifactDigest, InvalidKey> {
        let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits = text.strip_prefix(SCHEME).filter(|digits| digits.bytes().all(is_lower));
        digits.and_then(|digits| digits.parse().ok()).map(ArtifactDigest).ok_or_else(|| InvalidKey {
            kind: "artifact digest",
            expected: "`sha256:` and 64 hexadecimal digits in lower case, as the registry names the artifact",
            found: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for ArtifactDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArtifactDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// That an artifact was deployed: what the app runs in the environment from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// The app.
    pub app: AppKey,
    /// Where.
    pub environment: EnvKey,
    /// What.
    pub artifact: ArtifactDigest,
    /// What people call it, such as `1.4.2`.
    #[serde(default)]
    pub version: Option<String>,
}

/// An artifact that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which.
    pub artifact: ArtifactDigest,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The entry that told of its last deployment.
    pub revision: Revision,
    /// When that was.
    pub deployed_at: UnixMs,
    /// The first act of a guardrail that asked for it to be reverted while it was current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted_on: Option<Revision>,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version} ({})", self.artifact),
            None => fmt::Display::fmt(&self.artifact, f),
        }
    }
}

/// What is to be reverted, as it stood when a guardrail asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reversal {
    /// The release that was current.
    pub current: Release,
    /// The release to go back to; none: no earlier one is known that no guardrail had reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<Release>,
}

/// The releases of an app environment, each artifact once, by its last deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Releases(Vec<Release>);

impl Releases {
    /// None.
    pub(crate) fn none() -> &'static Releases {
        static NONE: Releases = Releases(Vec::new());
        &NONE
    }

    /// All that are remembered, the one deployed last first.
    pub fn newest_first(&self) -> impl DoubleEndedIterator<Item = &Release> + ExactSizeIterator {
        self.0.iter().rev()
    }

    /// Whether none was told of.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that runs now: the last that was told to be deployed.
    pub fn current(&self) -> Option<&Release> {
        self.0.last()
    }

    /// The one to go back to: the newest before the current one that no guardrail had reverted.
    pub fn previous_good(&self) -> Option<&Release> {
        self.previous_good_but(|_| false)
    }

    /// The same, passing over those that something else speaks against.
    pub fn previous_good_but(&self, is_bad: impl Fn(&Release) -> bool) -> Option<&Release> {
        self.newest_first().skip(1).find(|release| release.acted_on.is_none() && !is_bad(release))
    }

    /// One of them.
    pub fn get(&self, artifact: &ArtifactDigest) -> Option<&Release> {
        self.0.iter().find(|release| release.artifact == *artifact)
    }

    /// An artifact was deployed. One that was before keeps what is known of it; the current one stays as it is.
    pub(crate) fn deployed(&mut self, mut new: Release) {
        if self.current().is_some_and(|current| current.artifact == new.artifact) {
            return;
        }
        if let Some(at) = self.0.iter().position(|release| release.artifact == new.artifact) {
            let before = self.0.remove(at);
            new.version = new.version.or(before.version);
            new.acted_on = before.acted_on;
        }
        self.0.push(new);
        while self.0.len() > KEPT_RELEASES {
            let good = self.previous_good().map(|good| good.revision);
            let oldest = self.0.iter().position(|release| Some(release.revision) != good);
            self.0.remove(oldest.unwrap_or(0));
        }
    }

    /// A guardrail asked for the release of a deployment to be reverted.
    pub(crate) fn acted_on(&mut self, deployed: Revision, act: Revision) {
        if let Some(release) = self.0.iter_mut().find(|release| release.revision == deployed) {
            release.acted_on.get_or_insert(act);
        }
    }
}

/// Whether a version can be kept; else what is wrong with it.
pub(crate) fn check_version(version: &str) -> Result<(), String> {
    if version.trim().is_empty() {
        return Err("empty: leave it out where the artifact has none".to_string());
    }
    if version.len() > MAX_VERSION_BYTES {
        return Err(alloc::format!(
            "longer than {MAX_VERSION_BYTES} bytes: name it as people do, such as `1.4.2`"
        ));
    }
    if version.chars().any(char::is_control) {
        return Err("holds a line break or another control character: use one line of text".to_string());
    }
    Ok(())
}
