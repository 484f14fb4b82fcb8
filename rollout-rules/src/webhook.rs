//! Webhooks: who outside is told of entries of the log, of which ones, and how that is signed.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::change::{Change, ChangeKind};
use crate::ids::{AppKey, EnvKey, Revision, WebhookId};
use crate::snapshot::Subject;
use crate::time::UnixMs;

/// Most webhooks. Each has a task of its own; one more is refused.
pub const MAX_WEBHOOKS: usize = 64;
/// Most secrets that sign at one time: the newest, and the one before it while receivers change over. A
/// further one takes the place of the oldest.
pub const MAX_WEBHOOK_SECRETS: usize = 2;
/// Longest address, in bytes; a longer one is refused.
pub const MAX_URL_BYTES: usize = 2_048;
/// How the text of a secret begins, as Standard Webhooks has it; base64 follows.
pub const SECRET_PREFIX: &str = "whsec_";
/// Longest text of a secret, in bytes: 64 bytes of key in base64, and the prefix.
const MAX_SECRET_BYTES: usize = 96;

/// What signs deliveries. The log keeps it, since it has to sign with it; it is shown once and never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// A secret with this text.
    pub fn new(text: String) -> WebhookSecret {
        WebhookSecret(text)
    }

    /// The text, for whoever signs with it, or shows it for the first time.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it has the form of a secret.
    pub fn is_well_formed(&self) -> bool {
        let key = self.0.strip_prefix(SECRET_PREFIX);
        self.0.len() <= MAX_SECRET_BYTES && key.is_some_and(|key| !key.is_empty() && key.is_ascii())
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// Somebody outside who is told of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "WebhookDefinition"))]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Finds it.
    pub id: WebhookId,
    /// Where to send to.
    pub url: String,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Only of entries that concern this app, or all; none: of every entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// Only of entries that concern this environment of the app, or all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvKey>,
    /// Only of entries of these kinds; none: of every kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<ChangeKind>,
    /// What signs, the newest first. None where it is shown to people.
    pub secrets: Vec<WebhookSecret>,
    /// Whether anything is sent. What comes meanwhile waits.
    pub enabled: bool,
    /// When it was made.
    pub created_at: UnixMs,
}

/// What changes of a webhook; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WebhookPatch {
    /// Where to send to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of which kinds of entries; an empty list: of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<ChangeKind>>,
    /// Whether anything is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A new secret; the newest so far signs beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<WebhookSecret>,
    /// With a new secret: the ones so far stop signing at once.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub drop_old: bool,
}

/// A webhook as the fold knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WebhookRecord {
    /// As it is now.
    pub webhook: Webhook,
    /// The entry that made it: it is told of what comes after.
    pub made: Revision,
    /// The entry that last changed it.
    pub revision: Revision,
}

impl Webhook {
    /// Whether it is told of an entry.
    pub fn wants(&self, subject: &Subject, change: &Change) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&change.kind()))
            && subject.concerns_app(self.app.as_ref())
            && subject.concerns_environment(self.environment.as_ref())
    }

    /// The same without what signs, and without the address after its host: many receivers take a message from
    /// whoever knows that. To be shown to readers of the log, who are more than those who run webhooks.
    pub fn without_secrets(&self) -> Webhook {
        Webhook { url: up_to_host(&self.url), secrets: Vec::new(), ..self.clone() }
    }
}

/// `https://hooks.example.org/…` of an address that goes on after its host.
pub(crate) fn up_to_host(url: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
    if url.len() - end <= 1 { url.to_string() } else { format!("{}/…", &url[..end]) }
}

impl Change {
    /// The same without the secrets in it, to be shown; none if there are none in it.
    pub fn without_secrets(&self) -> Option<Change> {
        match self {
            Change::WebhookPut { webhook } => {
                Some(Change::WebhookPut { webhook: webhook.without_secrets().into() })
            }
            Change::JobPut { app, job } => {
                Some(Change::JobPut { app: app.clone(), job: job.without_secrets().into() })
            }
            Change::ChannelPut { app, channel } => {
                Some(Change::ChannelPut { app: app.clone(), channel: channel.without_secrets().into() })
            }
            _ => None,
        }
    }
}
