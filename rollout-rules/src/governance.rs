//! Who acts, what they may do, and what the gate says about it.

mod work;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::work::{MAX_WORK_FILES, MAX_WORK_NAME_BYTES, Work, WorkFault};
pub(crate) use self::work::{is_none, write_work};
use crate::flag::{EnvironmentKind, Tier};
use crate::ids::{AppKey, Digest, EnvKey, TokenId};
use crate::time::{DurationMs, UnixMs};

/// Who acted. Every entry of the log names one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Actor {
    /// A person.
    Human {
        /// Who, as the token says.
        name: String,
    },
    /// A program that people run: a pipeline, a script.
    Service {
        /// Which, as the token says.
        name: String,
    },
    /// A language model that acts for someone.
    Agent {
        /// Which model.
        model: String,
        /// Through which tool.
        tool: String,
        /// For whom.
        on_behalf_of: String,
        /// What this act of it came from; none: it did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Box<Work>>,
    },
    /// Tidegate's own watch over SLIs.
    Evaluator,
    /// Tidegate's own clock: schedules, expiry, plans.
    Timer,
    /// Tidegate itself: the first token.
    Tidegate,
}

/// Whether two names are one person's, however each is written: case does not matter, nor how much space is where, nor signs that nobody
/// sees.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    fn plain(name: &str) -> String {
        let seen = |sign: &char| sign.is_whitespace() || !(sign.is_control() || is_unseen(*sign));
        // Both ways: some letters have several small forms.
        let folded = name.chars().filter(seen).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        let folded: String = folded.collect();
        folded.split_whitespace().collect::<Vec<_>>().join(" ")
    }
    plain(one) == plain(other)
}

/// Signs without a form: soft hyphens, joiners, marks of direction, variation selectors, tags.
fn is_unseen(sign: char) -> bool {
    matches!(
        sign,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything, tokens included.
    Admin,
    /// Every change to flags of every app it is bound to, kills of everything included.
    Operator,
    /// Changes to the flags of its app.
    Editor,
    /// Reads.
    Viewer,
    /// Changes to the flags of its app from a pipeline.
    Ci,
    /// The feed and checks of one app environment, for programs that hold secrets.
    SdkServer,
    /// Checks of one app environment, for pages that hold none.
    SdkBrowser,
}

/// A token as the log keeps it: a hash, never the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "TokenRecord"))]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Finds it; the middle part of the secret text.
    pub id: TokenId,
    /// SHA-256 of the whole secret text.
    pub hash: Digest,
    /// What it may do.
    pub scope: Scope,
    /// Only in this app; none: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// Only in this environment of the app; none: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvKey>,
    /// Whose acts it signs.
    pub actor: Actor,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMs>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UnixMs>,
    /// Whose pages may use a key for browsers, as `scheme://host` with a port if it is not the scheme's own; `*`: any
    /// page. Keys that were made before this was asked for have none, and any page may use them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Whether pages may tell outcomes with it. None: they may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<bool>,
}

/// Most origins of one key for browsers.
pub const MAX_ORIGINS: usize = 32;
/// Longest origin, in bytes.
pub const MAX_ORIGIN_BYTES: usize = 256;
/// The origin that stands for every page.
pub const ANY_ORIGIN: &str = "*";

impl Token {
    /// Whether a page of this origin, as its browser writes it, may use the key.
    pub fn admits_origin(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|known| known == ANY_ORIGIN || known == origin)
    }

    /// Whether the pages that may use it are named.
    pub fn names_origins(&self) -> bool {
        !self.origins.is_empty() && self.origins.iter().all(|origin| origin != ANY_ORIGIN)
    }

    /// Whether pages may tell outcomes with it. Anyone who can load a page can make such outcomes up, and they count as those of
    /// servers do, so somebody has to have asked for it, and has to have named the pages.
    pub fn takes_outcomes_of_pages(&self) -> bool {
        self.scope == Scope::SdkBrowser && self.names_origins() && self.outcomes == Some(true)
    }
}

/// Who asks `decide`, and with which rights.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// Who acts.
    pub actor: Actor,
    /// With which rights.
    pub scope: Scope,
    /// Bound to this app.
    pub app: Option<AppKey>,
    /// Bound to this environment.
    pub environment: Option<EnvKey>,
    /// The token used, if one was.
    pub token: Option<TokenId>,
}

/// What the gate says of an app's current artifact in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateStanding {
    /// Nothing is asked. Previews and sandboxes are always here.
    NotRequired,
    /// A decision passes until a date.
    PassingUntil(UnixMs),
    /// There is no passing decision: what is missing, and the command that gets it.
    Missing(Vec<String>),
}

/// Whether the gate's answer, and the roles that the policy asks for, bind anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// Nothing is raised in production without them, and a build that is denied later is taken back.
    #[default]
    Enforce,
    /// Decisions are made and shown, and nothing is refused or lowered for them.
    Report,
}

/// How long flags live and how many approvals a raise needs, by tier. Settings of the server; what
/// follows from them is written into each entry, so nodes with other settings fold alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Life of a new flag state, by tier and then by kind of environment.
    pub default_life: ByTier<ByKind>,
    /// Longest life from now, when made or extended.
    pub longest_life: ByTier<ByKind>,
    /// Approvals by other people that a raise in production needs.
    pub approvals: ByTier<u8>,
    /// How long an approval and its proposal stand.
    pub proposal_life: DurationMs,
    /// Life of a preview environment that names none.
    pub default_preview_life: DurationMs,
    /// Longest life of a preview environment.
    pub longest_preview_life: DurationMs,
    /// Whether the gate binds anybody.
    pub gate: Enforcement,
}

/// One value for each tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ByTier<T> {
    /// Tier 0.
    pub tier0: T,
    /// Tier 1.
    pub tier1: T,
    /// Tier 2.
    pub tier2: T,
}

impl<T> ByTier<T> {
    /// The value for a tier.
    pub fn of(&self, tier: Tier) -> &T {
        match tier {
            Tier::Zero => &self.tier0,
            Tier::One => &self.tier1,
            Tier::Two => &self.tier2,
        }
    }
}

/// One length of time for each kind of environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByKind {
    /// In previews.
    pub preview: DurationMs,
    /// In sandboxes.
    pub sandbox: DurationMs,
    /// In production.
    pub production: DurationMs,
}

impl ByKind {
    /// The length for a kind.
    pub fn of(&self, kind: EnvironmentKind) -> DurationMs {
        match kind {
            EnvironmentKind::Preview => self.preview,
            EnvironmentKind::Sandbox => self.sandbox,
            EnvironmentKind::Production => self.production,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let days = |preview, sandbox, production| ByKind {
            preview: DurationMs::days(preview),
            sandbox: DurationMs::days(sandbox),
            production: DurationMs::days(production),
        };
        Rules {
            // A personal app forgets its flags soonest; an organisation plans in quarters.
            default_life: ByTier { tier0: days(7, 14, 14), tier1: days(7, 30, 30), tier2: days(7, 30, 90) },
            longest_life: ByTier { tier0: days(7, 30, 14), tier1: days(14, 90, 30), tier2: days(14, 90, 90) },
            approvals: ByTier { tier0: 0, tier1: 1, tier2: 2 },
            proposal_life: DurationMs::days(7),
            default_preview_life: DurationMs::days(2),
            longest_preview_life: DurationMs::days(14),
            gate: Enforcement::Enforce,
        }
    }
}
