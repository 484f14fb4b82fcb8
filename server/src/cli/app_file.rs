//! The file of `tidegate export`: an app as people define it, with nothing in it of when or by whom.
//!
//! JSON, since values of variants are JSON, and with everything in a fixed order, so that two files differ only
//! where the apps do. What a file leaves out of a flag or a state stays as it is on the server.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rollout_rules::change::BrowserMark;
use rollout_rules::condition::Condition;
use rollout_rules::flag::{
    EnvironmentKind, FlagKind, Prerequisite, Rule, ScheduledChange, Serve, Target, Tier, Variant,
};
use rollout_rules::ids::{AppKey, Digest, EnvKey, FlagKey, PlanId, SegmentKey, VariantKey};
use rollout_rules::percent::Exposure;
use rollout_rules::sli::guardrail::{Guardrail, NotARule};
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::reading::typed_file;

/// What the member `format` says.
pub(super) const FORMAT: &str = "tidegate-app-1";

/// An app with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppFile {
    /// [`FORMAT`].
    pub format: String,
    /// The app itself.
    pub app: AppPart,
    /// Its default rules, which judge the app itself, too. None: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<GuardrailsPart>,
    /// Its environments; an export leaves previews out.
    #[serde(default)]
    pub environments: BTreeMap<EnvKey, EnvironmentPart>,
    /// Its segments. One that is here is so as a whole.
    #[serde(default)]
    pub segments: BTreeMap<SegmentKey, SegmentPart>,
    /// Its flags that are not archived.
    #[serde(default)]
    pub flags: BTreeMap<FlagKey, FlagPart>,
}

/// The app itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppPart {
    pub key: AppKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_budget_micros: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Attributes whose values no web page may learn. None: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<Vec<String>>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvironmentPart {
    pub kind: EnvironmentKind,
    /// Of a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMs>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SegmentPart {
    #[serde(default)]
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// None: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
}

/// A flag's definition, and what it does by environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlagPart {
    #[serde(rename = "type")]
    pub kind: FlagKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variants: Option<Vec<Variant>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_variant: Option<VariantKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<bool>,
    /// How it travels to web pages. None: that stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<BrowserMark>,
    /// Its own rules. None: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<GuardrailsPart>,
    #[serde(default)]
    pub environments: BTreeMap<EnvKey, StatePart>,
}

/// The rules of a flag, or the defaults of an app. An empty list: nothing is watched. A list that is not here stays as it is, and
/// is cleared with `--prune`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardrailsPart {
    /// In every environment that has no list of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everywhere: Option<Vec<RuleText>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<EnvKey, Vec<RuleText>>,
}

/// A rule in its short form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct RuleText(pub Guardrail);

impl TryFrom<String> for RuleText {
    type Error = NotARuleText;

    fn try_from(text: String) -> Result<RuleText, NotARuleText> {
        text.parse().map(RuleText).map_err(|wrong| NotARuleText { text, wrong })
    }
}

impl From<RuleText> for String {
    fn from(rule: RuleText) -> String {
        rule.0.to_string()
    }
}

/// A text in a file that is no rule.
#[derive(Debug)]
pub(super) struct NotARuleText {
    text: String,
    wrong: NotARule,
}

impl fmt::Display for NotARuleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no rule: {}", self.text, self.wrong)
    }
}

impl std::error::Error for NotARuleText {}

/// What a flag does in an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StatePart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<Serve>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<Target>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prerequisites: Option<Vec<Prerequisite>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<ScheduledChange>>,
    /// When it dies. Lives become longer by it, never shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMs>,
}

impl AppFile {
    /// Reads a file that was named on the command line.
    pub(super) fn read(path: &Path) -> Result<AppFile, Failure> {
        let text = typed_file(path)?;
        let wrong = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
        let mut reader = serde_json::Deserializer::from_str(&text);
        let file: AppFile = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let place = error.path().to_string();
            let place = if place == "." { String::new() } else { format!("`{place}`: ") };
            wrong(format!("{place}{}", error.into_inner()))
        })?;
        reader.end().map_err(|error| wrong(format!("more than one JSON value: {error}")))?;
        if file.format != FORMAT {
            return Err(wrong(format!("its format is `{}`, and this program reads `{FORMAT}`", file.format)));
        }
        Ok(file)
    }

    /// As it is written.
    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a file has text keys and finite numbers");
        format!("{text}\n")
    }

    /// The name of the plan that makes a server be so: of the same content, the same.
    pub(super) fn plan(&self) -> PlanId {
        let digest = Digest::of(self.text().as_bytes()).to_string();
        PlanId::new(&format!("import-{}", &digest[..16])).expect("letters and digits")
    }
}
