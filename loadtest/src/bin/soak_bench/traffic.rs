//! Who uses the server: an operator, a CI job, SDKs that come and go, apps that check flags.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tidegate_loadtest::client::{Answer, Client};
use tidegate_loadtest::server::Server;

use super::receiver::Receiver;

/// Flags of the app.
const FLAGS: usize = 20;
/// Members of its segment.
const MEMBERS: usize = 500;
/// Kill ids and idempotency keys that the server keeps, and some more.
const KILLS: usize = 10_500;
/// Operators who fill what is kept at the same time.
const FILLING: usize = 16;
/// SDKs that are connected at any time.
const SDKS: usize = 24;
/// Checks of single flags before all flags are asked for.
const CHECKS: usize = 8;
/// What the webhook is told of: an operator who never rests is quicker than one receiver, who is told in order.
const TOLD: &[&str] = &["environment_created", "environment_removed"];
const STATE: &str = "environments/live";

/// What was done.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) changes: AtomicU64,
    kills: AtomicU64,
    previews: AtomicU64,
    proposals: AtomicU64,
    pub(crate) tokens: AtomicU64,
    feeds: AtomicU64,
    resumed: AtomicU64,
    checks: AtomicU64,
    bulk: AtomicU64,
    unchanged: AtomicU64,
    event_streams: AtomicU64,
}

fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn print(&self) {
        let is = |what: &AtomicU64| what.load(Ordering::Relaxed);
        println!(
            "in all {} changes: {} kills revived, {} previews created and ended, {} proposals made and rejected, {} tokens made and revoked",
            is(&self.changes),
            is(&self.kills),
            is(&self.previews),
            is(&self.proposals),
            is(&self.tokens)
        );
        println!(
            "{} feeds begun, {} of them resumed; {} checks, {} of all flags, {} of them unchanged; {} event streams",
            is(&self.feeds),
            is(&self.resumed),
            is(&self.checks),
            is(&self.bulk),
            is(&self.unchanged),
            is(&self.event_streams)
        );
    }
}

/// The app, and how to come to it.
pub(crate) struct Shop {
    address: String,
    admin: String,
    sdk: String,
}

fn flag_path(flag: usize) -> String {
    format!("/v1/apps/shop/flags/flag-{}", flag % FLAGS)
}

impl Shop {
    /// Makes the app with its flags, a segment, a token for its SDKs, and a webhook.
    pub(crate) fn open(server: &Server, receiver: &Receiver) -> Shop {
        let mut admin = server.admin();
        let environments = json!([{"key": "live", "kind": "production"}]);
        admin.call("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}));
        admin.call("PUT", "/v1/apps/shop/segments/staff", &json!({}));
        let members: Vec<String> = (0..MEMBERS).map(|member| format!("user-{member}")).collect();
        admin.call("POST", "/v1/apps/shop/segments/staff/members", &json!({ "add": members }));
        let rules = json!([{"id": "staff", "when": {"segment": "staff"}, "serve": {"variant": "on"}}]);
        for flag in 0..FLAGS {
            admin.call("POST", "/v1/apps/shop/flags", &json!({"key": format!("flag-{flag}")}));
            let patch = json!({"on": true, "exposure": 30, "serve": {"variant": "on"}, "rules": rules});
            change(&mut admin, flag, &patch);
        }
        let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "live"});
        let token = admin.call("POST", "/v1/tokens", &wanted);
        let sdk = token["secret"].as_str().expect("a new token shows its secret").to_owned();
        admin.call("POST", "/v1/webhooks", &json!({"url": receiver.url(), "app": "shop", "kinds": TOLD}));
        Shop { address: server.address().to_owned(), admin: server.admin_token().to_owned(), sdk }
    }

    /// Fills what the server keeps up to a bound, and says with how many kills.
    pub(crate) fn fill(&self) -> usize {
        std::thread::scope(|scope| {
            for operator in 0..FILLING {
                scope.spawn(move || {
                    let mut admin = Client::new(&self.address, &self.admin);
                    for kill in 0..KILLS / FILLING {
                        let key = format!("fill-{operator}-{kill}");
                        let kill = json!({ "kill_id": key });
                        admin.call("POST", &format!("{}/kill", flag_path(operator)), &kill);
                        admin
                            .send(
                                "POST",
                                &format!("{}/revive", flag_path(operator)),
                                &[("idempotency-key", &key)],
                                &json!({"reason": "again"}),
                            )
                            .granted();
                    }
                });
            }
        });
        KILLS / FILLING * FILLING
    }

    /// An operator's day, again and again.
    pub(crate) fn operate(&self, ended: &AtomicBool, counts: &Counts) {
        let mut admin = Client::new(&self.address, &self.admin);
        let mut round = 0;
        while !ended.load(Ordering::Relaxed) {
            round += 1;
            change(&mut admin, round, &json!({"on": true, "exposure": round % 100 + 1}));
            let kill = json!({ "kill_id": format!("kill-{round}") });
            admin.call("POST", &format!("{}/kill", flag_path(round)), &kill);
            admin.call("POST", &format!("{}/revive", flag_path(round)), &json!({"reason": "mended"}));
            count(&counts.kills);
            let members = "/v1/apps/shop/segments/staff/members";
            let key = format!("guest-{round}");
            let once = [("idempotency-key", key.as_str())];
            admin.send("POST", members, &once, &json!({"add": [key]})).granted();
            admin.call("POST", members, &json!({"remove": [key]}));
            self.preview(&mut admin, round);
            count(&counts.previews);
            propose(&mut admin, round);
            count(&counts.proposals);
            renew_token(&mut admin);
            count(&counts.tokens);
            counts.changes.fetch_add(11, Ordering::Relaxed);
        }
    }

    /// A preview that somebody looks at.
    fn preview(&self, admin: &mut Client, round: usize) {
        let key = format!("pr-{round}");
        admin.call("POST", "/v1/apps/shop/environments", &json!({"key": key, "kind": "preview"}));
        let path = format!("/v1/feed?app=shop&environment={key}&instance=preview");
        let (head, mut stream) = Client::new(&self.address, &self.admin).open(&path, &[]);
        assert_eq!(head.status, 200, "a preview's feed begins: {head:?}");
        read_event_id(&mut stream);
        admin.call("DELETE", &format!("/v1/apps/shop/environments/{key}"), &Value::Null);
    }

    /// SDKs that connect, hear the news, say so and go. Every second one goes on from where another was, and
    /// hears what happened since. An operator has to be at work, or there are no news to wait for.
    pub(crate) fn follow(&self, ended: &AtomicBool, counts: &Counts) {
        let mut admin = Client::new(&self.address, &self.sdk);
        let mut open: Vec<Option<BufReader<TcpStream>>> = (0..SDKS).map(|_| None).collect();
        let mut seen = String::new();
        let mut turn = 0;
        while !ended.load(Ordering::Relaxed) {
            turn += 1;
            let place = turn % SDKS;
            open[place] = None;
            let path = format!("/v1/feed?instance=sdk-{place}&sdk=soak/1");
            let resume = [("last-event-id", seen.as_str())];
            let resumes = turn % 2 == 0 && !seen.is_empty();
            let client = Client::new(&self.address, &self.sdk);
            let (head, mut stream) = client.open(&path, if resumes { &resume } else { &[] });
            assert_eq!(head.status, 200, "{head:?}");
            count(&counts.feeds);
            seen = read_event_id(&mut stream);
            if resumes {
                count(&counts.resumed);
            }
            open[place] = Some(stream);
            let revision = seen.rsplit(':').next().and_then(|text| text.parse::<u64>().ok());
            let said = json!({"instance": format!("sdk-{place}"), "revision": revision, "kill_ids": []});
            admin.call("POST", "/v1/feed/ack", &said);
        }
    }

    /// An app that checks flags, one and all, and knows what it was told before.
    pub(crate) fn check(&self, ended: &AtomicBool, counts: &Counts) {
        let mut client = Client::new(&self.address, &self.sdk);
        let all = "/ofrep/v1/evaluate/flags";
        let mut user = 0;
        let mut listening = None;
        while !ended.load(Ordering::Relaxed) {
            user += 1;
            let context =
                json!({"context": {"targetingKey": format!("user-{}", user % 1_000), "plan": "pro"}});
            for flag in 0..CHECKS {
                let answer =
                    client.send("POST", &format!("{all}/flag-{}", (user + flag) % FLAGS), &[], &context);
                assert_eq!(answer.status, 200, "{answer:?}");
                count(&counts.checks);
            }
            let first = client.send("POST", all, &[], &context);
            assert_eq!(first.status, 200, "{first:?}");
            let known = [("if-none-match", first.header("etag"))];
            let again: Answer = client.send("POST", all, &known, &context);
            assert!(matches!(again.status, 200 | 304), "{again:?}");
            counts.bulk.fetch_add(2, Ordering::Relaxed);
            if again.status == 304 {
                count(&counts.unchanged);
            }
            let first = first.granted();
            let stream = first["eventStreams"][0]["url"].as_str().expect("where changes are told");
            let path = stream.split_once(&self.address).expect("it is the server's own").1;
            let (head, stream) = Client::new(&self.address, &self.sdk).open(path, &[]);
            assert_eq!(head.status, 200, "{head:?}");
            // The one before is let go.
            listening.replace(stream);
            count(&counts.event_streams);
        }
    }
}

/// Changes what a flag serves, as seen just now.
fn change(admin: &mut Client, flag: usize, patch: &Value) {
    let path = format!("{}/{STATE}", flag_path(flag));
    let seen = admin.send("GET", &path, &[], &Value::Null);
    admin.send("PATCH", &path, &[("if-match", seen.header("etag"))], patch).granted();
}

fn propose(admin: &mut Client, round: usize) {
    let path = flag_path(round);
    let seen = admin.send("GET", &format!("{path}/{STATE}"), &[], &Value::Null);
    let flag = path.rsplit('/').next();
    let command = json!({"do": "set_targeting", "app": "shop", "flag": flag, "environment": "live",
               "exposure": 100 - round % 100});
    let known = [("if-match", seen.header("etag"))];
    let made = admin.send("POST", "/v1/proposals", &known, &json!({ "command": command })).granted();
    let id = made["id"].as_str().expect("a proposal has an id");
    admin.call("POST", &format!("/v1/proposals/{id}/reject"), &json!({"reason": "not now"}));
}

/// A token of somebody who came and went.
fn renew_token(admin: &mut Client) {
    let made = admin.call("POST", "/v1/tokens", &json!({"scope": "viewer"}));
    let id = made["id"].as_str().expect("a token has an id");
    admin.call("DELETE", &format!("/v1/tokens/{id}"), &Value::Null);
}

/// The id of the next event of a stream.
fn read_event_id(stream: &mut BufReader<TcpStream>) -> String {
    let (mut id, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        let read = stream.read_line(&mut line).expect("the server goes on");
        assert!(read > 0, "the server ended a stream");
        if let Some(text) = line.strip_prefix("id: ") {
            text.trim().clone_into(&mut id);
        }
        if line.trim().is_empty() && !id.is_empty() {
            return id;
        }
    }
}
