//! Making, changing and removing webhooks.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Envs, Right, Row};
use super::validate::{check_text, invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::{Change, ChangeKind};
use crate::ids::WebhookId;
use crate::webhook::{
    MAX_URL_BYTES, MAX_WEBHOOK_SECRETS, MAX_WEBHOOKS, Webhook, WebhookPatch, WebhookRecord, WebhookSecret,
};

impl<'a> Case<'a> {
    pub(super) fn create_webhook(&self, webhook: &Webhook) -> Result<Decided, Refusal> {
        self.may_change_webhook(webhook)?;
        if self.snapshot.webhook(&webhook.id).is_some() {
            return Err(Refusal::AlreadyExists { what: what(&webhook.id) });
        }
        too_many("webhooks", self.snapshot.webhook_count() + 1, MAX_WEBHOOKS)?;
        match (&webhook.app, &webhook.environment) {
            (None, Some(_)) => return Err(invalid("app", "an environment belongs to an app: name it")),
            (Some(app), Some(environment)) => {
                self.environment(self.app(app)?, environment)?;
            }
            (Some(app), None) => {
                self.app(app)?;
            }
            (None, None) => {}
        }
        if webhook.secrets.len() != 1 {
            return Err(invalid("secrets", "a new webhook has one"));
        }
        let webhook = Webhook { created_at: self.now, kinds: each_once(&webhook.kinds), ..webhook.clone() };
        check(&webhook)?;
        Ok(Decided::Change(Change::WebhookPut { webhook: Box::new(webhook) }))
    }

    pub(super) fn update_webhook(&self, id: &WebhookId, patch: &WebhookPatch) -> Result<Decided, Refusal> {
        let record = self.webhook(id)?;
        self.may_change_webhook(&record.webhook)?;
        self.not_older(record.revision)?;
        let mut after = record.webhook.clone();
        if let Some(url) = &patch.url {
            after.url.clone_from(url);
        }
        if let Some(description) = &patch.description {
            after.description.clone_from(description);
        }
        if let Some(kinds) = &patch.kinds {
            after.kinds = each_once(kinds);
        }
        after.enabled = patch.enabled.unwrap_or(after.enabled);
        if let Some(secret) = &patch.secret {
            let before = if patch.drop_old { Vec::new() } else { after.secrets };
            after.secrets = vec![secret.clone()];
            after.secrets.extend(before.into_iter().take(MAX_WEBHOOK_SECRETS - 1));
        }
        if after == record.webhook {
            return Ok(Decided::Already(record.revision));
        }
        check(&after)?;
        Ok(Decided::Change(Change::WebhookPut { webhook: Box::new(after) }))
    }

    pub(super) fn remove_webhook(&self, id: &WebhookId) -> Result<Decided, Refusal> {
        let record = self.webhook(id)?;
        self.may_change_webhook(&record.webhook)?;
        Ok(Decided::Change(Change::WebhookRemoved { id: id.clone() }))
    }

    fn webhook(&self, id: &WebhookId) -> Result<&'a WebhookRecord, Refusal> {
        self.snapshot.webhook(id).ok_or_else(|| Refusal::NotFound { what: what(id) })
    }

    /// An agent that made webhooks could carry the log out of the house.
    fn may_change_webhook(&self, webhook: &Webhook) -> Result<(), Refusal> {
        self.may(Right::Webhooks, webhook.app.as_ref(), Envs::from(webhook.environment.as_ref()))?;
        if self.row() == Row::Agent {
            return Err(Refusal::NotAllowed { who_may: "an admin or operator that is no agent" });
        }
        Ok(())
    }
}

fn what(id: &WebhookId) -> What {
    What::Other("webhook", id.to_string())
}

fn each_once(kinds: &[ChangeKind]) -> Vec<ChangeKind> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn check(webhook: &Webhook) -> Result<(), Refusal> {
    check_text("description", &webhook.description)?;
    check_url(&webhook.url)?;
    if !webhook.secrets.iter().all(WebhookSecret::is_well_formed) {
        return Err(invalid("secrets", "a secret is `whsec_` and base64"));
    }
    Ok(())
}

/// What can be told from the text alone. Where it leads is looked at when it is called.
pub(super) fn check_url(url: &str) -> Result<(), Refusal> {
    let wrong = |problem: &str| Err(invalid("url", problem));
    if url.len() > MAX_URL_BYTES {
        return wrong("longer than 2048 bytes");
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return wrong("write an address that begins with https://") };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return wrong("name the host to send to");
    }
    if host.contains('@') {
        return wrong("leave out the name or password before `@`: deliveries are signed");
    }
    if url.contains('#') || url.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return wrong("write what is not plain ASCII as %XX, and no `#`");
    }
    Ok(())
}
