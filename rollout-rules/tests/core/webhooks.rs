//! Webhooks in the core: who may make them, and what is kept of them.

use crate::world;

use rollout_rules::change::{Change, ChangeKind, Command};
use rollout_rules::ids::WebhookId;
use rollout_rules::time::UnixMs;
use rollout_rules::webhook::{MAX_WEBHOOKS, Webhook, WebhookPatch, WebhookSecret};
use world::{World, admin, agent, ci, timer};

fn id(text: &str) -> WebhookId {
    WebhookId::new(text).expect("an id")
}

fn secret(nth: u8) -> WebhookSecret {
    WebhookSecret::new(format!("whsec_c2VjcmV{nth}"))
}

fn webhook(name: &str) -> Webhook {
    Webhook {
        id: id(name),
        url: "https://hooks.example.org/t".into(),
        description: String::new(),
        app: None,
        environment: None,
        kinds: vec![ChangeKind::Revived, ChangeKind::Killed, ChangeKind::Killed],
        secrets: vec![secret(0)],
        enabled: true,
        created_at: UnixMs(0),
    }
}

fn create(name: &str) -> Command {
    Command::CreateWebhook { webhook: webhook(name) }
}

fn update(patch: WebhookPatch) -> Command {
    Command::UpdateWebhook { id: id("w"), patch }
}

#[test]
fn only_people_who_run_the_whole_may_make_one_that_is_told_of_everything() {
    let mut world = World::shop(0);
    for who in [agent(), ci(), timer()] {
        assert_eq!(world.refused(&who, create("w")), "not_allowed", "{who:?}");
    }
    world.done(&admin(), create("w"));
    let kept = world.snapshot.webhook(&id("w")).expect("kept");
    assert_eq!(kept.webhook.kinds, [ChangeKind::Killed, ChangeKind::Revived], "each once");
    assert_eq!(kept.webhook.created_at, world.now);
    assert_eq!(world.refused(&admin(), create("w")), "already_exists");
}

#[test]
fn there_are_no_more_webhooks_than_there_may_be_tasks() {
    let mut world = World::shop(0);
    for nth in 0..MAX_WEBHOOKS {
        world.done(&admin(), create(&format!("w{nth}")));
    }
    assert_eq!(world.refused(&admin(), create("w")), "too_many");
    world.done(&admin(), Command::RemoveWebhook { id: id("w0") });
    world.done(&admin(), create("w"));
}

#[test]
fn the_newest_two_secrets_sign() {
    let mut world = World::shop(0);
    world.done(&admin(), create("w"));
    let rotate = |nth: u8, drop_old: bool| {
        update(WebhookPatch { secret: Some(secret(nth)), drop_old, ..WebhookPatch::default() })
    };
    let secrets = |world: &World| world.snapshot.webhook(&id("w")).expect("kept").webhook.secrets.clone();
    world.done(&admin(), rotate(1, false));
    assert_eq!(secrets(&world), [secret(1), secret(0)]);
    world.done(&admin(), rotate(2, false));
    assert_eq!(secrets(&world), [secret(2), secret(1)]);
    world.done(&admin(), rotate(3, true));
    assert_eq!(secrets(&world), [secret(3)]);
    let bad = WebhookPatch { secret: Some(WebhookSecret::new("plain".into())), ..WebhookPatch::default() };
    assert_eq!(world.refused(&admin(), update(bad)), "invalid");
}

#[test]
fn a_secret_is_in_nothing_that_is_printed() {
    let webhook = webhook("w");
    assert!(!format!("{webhook:?} {:?}", create("w")).contains("c2Vj"));
    let change = Change::WebhookPut { webhook: Box::new(webhook) };
    let shown = serde_json::to_string(&change.without_secrets().expect("it holds some")).expect("JSON");
    assert!(!shown.contains("c2Vj") && shown.contains("hooks.example.org"), "{shown}");
}

#[test]
fn of_an_address_readers_of_the_log_are_shown_the_host() {
    for (url, shown) in [
        ("https://hooks.example.org", "https://hooks.example.org"),
        ("https://hooks.example.org/", "https://hooks.example.org/"),
        ("https://hooks.example.org:8443/services/T0/B0/token", "https://hooks.example.org:8443/…"),
        ("https://hooks.example.org?token=t", "https://hooks.example.org/…"),
        ("https://[2001:db8::1]/t", "https://[2001:db8::1]/…"),
    ] {
        assert_eq!(Webhook { url: url.into(), ..webhook("w") }.without_secrets().url, shown);
    }
}

#[test]
fn what_makes_no_difference_makes_no_entry() {
    let mut world = World::shop(0);
    let made = world.done(&admin(), create("w"));
    let same = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    assert_eq!(world.done(&admin(), update(same)), made);
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    assert!(world.done(&admin(), update(off)) > made);
    let kept = world.snapshot.webhook(&id("w")).expect("kept");
    assert_eq!((kept.made, kept.webhook.enabled), (made, false));
}
