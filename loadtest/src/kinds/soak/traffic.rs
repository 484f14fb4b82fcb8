//! Who uses the server: an operator, a CI job, SDKs that come and go, apps that check flags.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::Receiver;
use crate::client::{Answer, Client, ClientError};
use crate::problem::Problem;
use crate::server::Server;

/// Flags of the app.
const FLAGS: usize = 20;
/// Between two looks at whether the SDKs have acknowledged what the operator did.
const LOOK: Duration = Duration::from_millis(1);
/// Members of its segment.
const MEMBERS: usize = 500;
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
pub(super) struct Counts {
    pub(super) changes: AtomicU64,
    /// Acknowledgements of SDKs that are to be sent or are not answered, now.
    pub(super) acks_open: AtomicU64,
    kills: AtomicU64,
    previews: AtomicU64,
    proposals: AtomicU64,
    tokens: AtomicU64,
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
    /// In words.
    pub(super) fn words(&self) -> [String; 2] {
        let is = |what: &AtomicU64| what.load(Ordering::Relaxed);
        [
            format!(
                "in all {} changes: {} kills revived, {} previews created and ended, {} proposals made and rejected; then {} tokens made and revoked",
                is(&self.changes),
                is(&self.kills),
                is(&self.previews),
                is(&self.proposals),
                is(&self.tokens)
            ),
            format!(
                "{} feeds begun, {} of them resumed; {} checks, {} of all flags, {} of them unchanged; {} event streams",
                is(&self.feeds),
                is(&self.resumed),
                is(&self.checks),
                is(&self.bulk),
                is(&self.unchanged),
                is(&self.event_streams)
            ),
        ]
    }
}

/// What the server granted.
fn granted(what: &'static str, answer: Answer) -> Result<Value, Problem> {
    match answer.status {
        200..=299 => Ok(answer.if_granted()?),
        status => Err(Problem::Refused { what, status }),
    }
}

/// What an answer has to say.
fn text<'v>(value: &'v Value, without: &str) -> Result<&'v str, Problem> {
    value.as_str().ok_or_else(|| Problem::Wrong(without.to_owned()))
}

fn is_ok(what: &'static str, answer: &Answer) -> Result<(), Problem> {
    if answer.status == 200 { Ok(()) } else { Err(Problem::Refused { what, status: answer.status }) }
}

/// The app, and how to come to it.
pub(super) struct Shop {
    address: String,
    admin: String,
    sdk: String,
}

fn flag_path(flag: usize) -> String {
    format!("/v1/apps/shop/flags/flag-{}", flag % FLAGS)
}

impl Shop {
    /// Makes the app with its flags, a segment, a token for its SDKs, and a webhook.
    pub(super) fn open(server: &Server, receiver: &Receiver) -> Result<Shop, Problem> {
        if server.address().is_empty() {
            return Err(Problem::ended_early());
        }
        let mut admin = Client::connect(server.address(), server.admin_token())?;
        let mut make = |method, path: &str, what: &Value| admin.ask(method, path, &[], what)?.if_granted();
        let environments = json!([{"key": "live", "kind": "production"}]);
        make("POST", "/v1/apps", &json!({"key": "shop", "environments": environments}))?;
        make("PUT", "/v1/apps/shop/segments/staff", &json!({}))?;
        let members: Vec<String> = (0..MEMBERS).map(|member| format!("user-{member}")).collect();
        make("POST", "/v1/apps/shop/segments/staff/members", &json!({ "add": members }))?;
        let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "live"});
        let token = make("POST", "/v1/tokens", &wanted)?;
        let sdk = text(&token["secret"], "a new token shows no secret")?.to_owned();
        make("POST", "/v1/webhooks", &json!({"url": receiver.url(), "app": "shop", "kinds": TOLD}))?;
        let rules = json!([{"id": "staff", "when": {"segment": "staff"}, "serve": {"variant": "on"}}]);
        for flag in 0..FLAGS {
            let made = json!({"key": format!("flag-{flag}")});
            admin.ask("POST", "/v1/apps/shop/flags", &[], &made)?.if_granted()?;
            let patch = json!({"on": true, "exposure": 30, "serve": {"variant": "on"}, "rules": rules});
            change(&mut admin, flag, &patch)?;
        }
        Ok(Shop { address: server.address().to_owned(), admin: server.admin_token().to_owned(), sdk })
    }

    fn operator(&self) -> Result<Client, ClientError> {
        Client::connect(&self.address, &self.admin)
    }

    fn user(&self) -> Result<Client, ClientError> {
        Client::connect(&self.address, &self.sdk)
    }

    /// Fills what the server keeps up to a bound by so many kills.
    pub(super) fn fill(&self, kills: usize) -> Result<(), Problem> {
        let fill = |operator: usize| -> Result<(), ClientError> {
            let mut admin = self.operator()?;
            for kill in 0..kills / FILLING {
                let key = format!("fill-{operator}-{kill}");
                let kill = json!({ "kill_id": key });
                admin.ask("POST", &format!("{}/kill", flag_path(operator)), &[], &kill)?.if_granted()?;
                let path = format!("{}/revive", flag_path(operator));
                let once = [("idempotency-key", key.as_str())];
                admin.ask("POST", &path, &once, &json!({"reason": "again"}))?.if_granted()?;
            }
            Ok(())
        };
        let fill = &fill;
        let filled = std::thread::scope(|scope| {
            let operators: Vec<_> =
                (0..FILLING).map(|operator| scope.spawn(move || fill(operator))).collect();
            operators.into_iter().try_for_each(|operator| operator.join().expect("it only asks"))
        });
        Ok(filled?)
    }

    /// Tokens of people who came and went, one after another.
    pub(super) fn renew_tokens(&self, tokens: usize, counts: &Counts) -> Result<(), Problem> {
        let mut admin = self.operator()?;
        (0..tokens).try_for_each(|_| renew_token(&mut admin).inspect(|()| count(&counts.tokens)))
    }

    /// What SDKs authenticate with.
    pub(super) fn key(&self) -> &str {
        &self.sdk
    }

    /// An operator's day, again and again.
    pub(super) fn operate(&self, ended: &AtomicBool, counts: &Counts) -> Result<(), Problem> {
        let mut admin = self.operator()?;
        let mut round = 0;
        while !ended.load(Ordering::Relaxed) {
            // Their connections carry fewer than a quick machine makes of his kills, and who acknowledges minutes late has
            // another stream by then.
            if counts.acks_open.load(Ordering::Relaxed) > 0 {
                std::thread::sleep(LOOK);
                continue;
            }
            round += 1;
            change(&mut admin, round, &json!({"on": true, "exposure": round % 100 + 1}))?;
            let kill = json!({ "kill_id": format!("kill-{round}") });
            let path = flag_path(round);
            granted("a kill", admin.ask("POST", &format!("{path}/kill"), &[], &kill)?)?;
            let why = json!({"reason": "mended"});
            granted("a flag's revival", admin.ask("POST", &format!("{path}/revive"), &[], &why)?)?;
            count(&counts.kills);
            let members = "/v1/apps/shop/segments/staff/members";
            let key = format!("guest-{round}");
            let once = [("idempotency-key", key.as_str())];
            granted("a new member", admin.ask("POST", members, &once, &json!({"add": [key]}))?)?;
            granted("a member's end", admin.ask("POST", members, &[], &json!({"remove": [key]}))?)?;
            self.preview(&mut admin, round)?;
            count(&counts.previews);
            propose(&mut admin, round)?;
            count(&counts.proposals);
            counts.changes.fetch_add(9, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A preview that somebody looks at.
    fn preview(&self, admin: &mut Client, round: usize) -> Result<(), Problem> {
        let key = format!("pr-{round}");
        let wanted = json!({"key": key, "kind": "preview"});
        granted("a preview", admin.ask("POST", "/v1/apps/shop/environments", &[], &wanted)?)?;
        let path = format!("/v1/feed?app=shop&environment={key}&instance=preview");
        let (head, mut stream) = self.operator()?.open(&path, &[])?;
        is_ok("a preview's feed", &head)?;
        read_event_id(&mut stream)?;
        let path = format!("/v1/apps/shop/environments/{key}");
        granted("a preview's end", admin.ask("DELETE", &path, &[], &Value::Null)?)?;
        Ok(())
    }

    /// SDKs that connect, hear the news, say so and go. Every second one goes on from where another was, and
    /// hears what happened since. An operator has to be at work, or there are no news to wait for.
    pub(super) fn follow(&self, ended: &AtomicBool, counts: &Counts) -> Result<(), Problem> {
        let mut acknowledging = self.user()?;
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
            let (head, mut stream) = self.user()?.open(&path, if resumes { &resume } else { &[] })?;
            is_ok("a feed", &head)?;
            count(&counts.feeds);
            seen = read_event_id(&mut stream)?;
            if resumes {
                count(&counts.resumed);
            }
            open[place] = Some(stream);
            let revision = seen.rsplit(':').next().and_then(|text| text.parse::<u64>().ok());
            let said = json!({"instance": format!("sdk-{place}"), "revision": revision, "kill_ids": []});
            granted("an acknowledgement", acknowledging.ask("POST", "/v1/feed/ack", &[], &said)?)?;
        }
        Ok(())
    }

    /// An app that checks flags, one and all, and knows what it was told before.
    pub(super) fn check(&self, ended: &AtomicBool, counts: &Counts) -> Result<(), Problem> {
        let mut client = self.user()?;
        let all = "/ofrep/v1/evaluate/flags";
        let mut user = 0;
        let mut listening = None;
        while !ended.load(Ordering::Relaxed) {
            user += 1;
            let context =
                json!({"context": {"targetingKey": format!("user-{}", user % 1_000), "plan": "pro"}});
            for flag in 0..CHECKS {
                let path = format!("{all}/flag-{}", (user + flag) % FLAGS);
                is_ok("one flag", &client.ask("POST", &path, &[], &context)?)?;
                count(&counts.checks);
            }
            let first = client.ask("POST", all, &[], &context)?;
            is_ok("all flags", &first)?;
            let known = [("if-none-match", first.header("etag"))];
            let again = client.ask("POST", all, &known, &context)?;
            match again.status {
                304 => count(&counts.unchanged),
                _ => is_ok("all flags again", &again)?,
            }
            counts.bulk.fetch_add(2, Ordering::Relaxed);
            let first = first.if_granted()?;
            let stream =
                text(&first["eventStreams"][0]["url"], "all flags do not say where changes are told")?;
            let elsewhere = || Problem::Wrong(format!("{stream} is not where the server is"));
            let path = stream.split_once(&self.address).ok_or_else(elsewhere)?.1;
            let (head, stream) = self.user()?.open(path, &[])?;
            is_ok("an event stream", &head)?;
            // The one before is let go.
            listening.replace(stream);
            count(&counts.event_streams);
        }
        Ok(())
    }
}

/// Changes what a flag serves, as seen just now.
fn change(admin: &mut Client, flag: usize, patch: &Value) -> Result<(), Problem> {
    let path = format!("{}/{STATE}", flag_path(flag));
    let seen = admin.ask("GET", &path, &[], &Value::Null)?;
    let known = [("if-match", seen.header("etag"))];
    granted("a change", admin.ask("PATCH", &path, &known, patch)?).map(drop)
}

fn propose(admin: &mut Client, round: usize) -> Result<(), Problem> {
    let path = flag_path(round);
    let seen = admin.ask("GET", &format!("{path}/{STATE}"), &[], &Value::Null)?;
    let flag = path.rsplit('/').next();
    let command = json!({"do": "set_targeting", "app": "shop", "flag": flag, "environment": "live",
               "exposure": 100 - round % 100});
    let known = [("if-match", seen.header("etag"))];
    let made = admin.ask("POST", "/v1/proposals", &known, &json!({ "command": command }))?;
    let made = granted("a proposal", made)?;
    let id = text(&made["id"], "a proposal has no id")?;
    let why = json!({"reason": "not now"});
    granted("its end", admin.ask("POST", &format!("/v1/proposals/{id}/reject"), &[], &why)?).map(drop)
}

/// A token of somebody who came and went.
fn renew_token(admin: &mut Client) -> Result<(), Problem> {
    let made = granted("a token", admin.ask("POST", "/v1/tokens", &[], &json!({"scope": "viewer"}))?)?;
    let id = text(&made["id"], "a token has no id")?;
    granted("a token's end", admin.ask("DELETE", &format!("/v1/tokens/{id}"), &[], &Value::Null)?).map(drop)
}

/// The id of the next event of a stream.
fn read_event_id(stream: &mut BufReader<TcpStream>) -> Result<String, Problem> {
    let (mut id, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        match stream.read_line(&mut line) {
            Ok(0) => return Err(Problem::Wrong("the server ended a stream".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(Problem::Wrong(format!("a stream broke: {error}"))),
        }
        if let Some(text) = line.strip_prefix("id: ") {
            text.trim().clone_into(&mut id);
        }
        if line.trim().is_empty() && !id.is_empty() {
            return Ok(id);
        }
    }
}
