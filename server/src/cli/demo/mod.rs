//! `tidegate demo`: a server, a micro app with live traffic, a rollout that goes wrong, and how it is taken back, in
//! about two minutes on one terminal.

mod app;
mod pipeline;
mod server;

use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tidegate_sdk::Client as Sdk;

use self::app::{BROKEN_FAILS_ONE_IN, MicroApp, REQUESTS_A_SECOND};
use self::pipeline::Pipeline;
use self::server::Server;
use super::agent::Acting;
use super::client::{Call, Client};
use super::failure::Failure;
use super::output::{Style, Tone};
use super::trust::TlsOptions;
use super::{ExitCode, report};

const APP: &str = "corner-shop";
const FLAG: &str = "new-checkout";
const PLACE: &str = "/v1/apps/corner-shop/flags/new-checkout";
const LIVE: &str = "/v1/apps/corner-shop/flags/new-checkout/environments/production";
/// The rollout: half of the people after twenty seconds.
const PLAN: &str = "10%/20s,50%/10m,100%";
const RULE: &str = "error_rate worse than control -> flag off, run rollback";
/// When the new variant breaks, from the start of the rollout on.
const BREAKS_AFTER: Duration = Duration::from_secs(45);
/// When nothing was caught by then, something is wrong with more than the demo's app.
const GIVES_UP_AFTER: Duration = Duration::from_secs(170);
/// Between two lines on how it goes.
const TELLS_EVERY: Duration = Duration::from_secs(5);
const LOOKS_EVERY: Duration = Duration::from_millis(250);
/// How long to wait for the pipeline to be called, and for the SDK to hear.
const SOON: Duration = Duration::from_secs(10);

/// Options of the demo.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// Leave the server running at the end, to look around, until Enter is pressed
    #[arg(long)]
    stay: bool,
}

/// Plays it.
pub fn demo(options: &DemoOptions) -> ExitCode {
    let mut out = std::io::stdout();
    match play(options, &mut out) {
        Ok(()) => ExitCode::Done,
        Err(failure) => {
            report(&failure, false);
            failure.exit_code()
        }
    }
}

/// What is on stage.
struct Stage<'o> {
    out: &'o mut dyn Write,
    style: Style,
    began: Instant,
    api: Client,
    app: MicroApp,
    pipeline: Pipeline,
}

fn play(options: &DemoOptions, out: &mut dyn Write) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let began = Instant::now();
    writeln!(out, "A server, a micro app and a rollout that goes wrong: about a minute and a half.\n")?;
    let server = Server::start()?;
    let api = Client::new(
        &server.url,
        Some(server.token.clone()),
        Acting::default(),
        &TlsOptions { cacert: None, cert: None, key: None },
    )?;
    let pipeline = Pipeline::start()?;
    let key = prepare(&api, &pipeline)?;
    let sdk = Sdk::builder(&server.url, &key).start().map_err(|error| Failure::usage(error.to_string()))?;
    sdk.wait_ready(SOON).map_err(|error| Failure::usage(error.to_string()))?;
    let app = MicroApp::start(sdk, FLAG);
    let mut stage = Stage { out, style, began, api, app, pipeline };
    stage.say(&format!("the server is at {}, its log in {}", server.url, server.folder().display()))?;
    stage.say(&format!(
        "the app `{APP}` serves {REQUESTS_A_SECOND} requests a second; `{FLAG}` was born off"
    ))?;
    stage.say(&format!("its guardrail: {RULE}"))?;
    stage.roll_out()?;
    let caught = stage.watch()?;
    stage.tell_the_end(&caught)?;
    if options.stay {
        writeln!(
            stage.out,
            "\nexport TIDEGATE_URL={} TIDEGATE_TOKEN={}\nEnter ends it.",
            server.url, server.token
        )?;
        std::io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

/// Makes the app, its flag, its job and its guardrail; gives the key of its SDK.
fn prepare(api: &Client, pipeline: &Pipeline) -> Result<String, Failure> {
    let environments = json!([{"key": "production", "kind": "production"}]);
    api.create("/v1/apps", &json!({"key": APP, "environments": environments}), None)?;
    api.create("/v1/apps/corner-shop/flags", &json!({"key": FLAG}), None)?;
    let job = json!({"name": "rollback", "url": pipeline.url()});
    api.create("/v1/apps/corner-shop/jobs", &job, None)?;
    change(api, "PUT", &format!("{PLACE}/guardrails"), &json!({"guardrails": [RULE]}))?;
    let token = json!({"scope": "sdk-server", "app": APP, "environment": "production"});
    let made = api.create("/v1/tokens", &token, None)?.body;
    let key = made["secret"].as_str().map(str::to_owned);
    key.ok_or_else(|| api.strange("a token without its secret"))
}

/// Changes the flag as it is now.
fn change(api: &Client, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
    let seen = api.get(PLACE)?.body["revision"].as_u64();
    let method = method.parse().map_err(|_| Failure::usage("no method"))?;
    Ok(api.call(method, path, &Call { body: Some(body), if_match: seen, ..Call::default() })?.body)
}

/// How it was caught.
struct Caught {
    hold: Value,
    after_break: Duration,
    failed: u64,
}

impl Stage<'_> {
    fn say(&mut self, words: &str) -> Result<(), Failure> {
        self.say_in(Tone::Plain, words)
    }

    fn say_in(&mut self, tone: Tone, words: &str) -> Result<(), Failure> {
        let seconds = self.began.elapsed().as_secs();
        writeln!(self.out, "{seconds:>4} s  {}", self.style.paint(words, tone))?;
        Ok(self.out.flush()?)
    }

    fn roll_out(&mut self) -> Result<(), Failure> {
        change(&self.api, "POST", &format!("{LIVE}/rollout"), &json!({ "plan": PLAN }))?;
        self.say(&format!("tidegate rollout start {FLAG} --plan {PLAN}"))
    }

    /// Until it is caught.
    fn watch(&mut self) -> Result<Caught, Failure> {
        let started = Instant::now();
        let (mut told, mut broke): (Option<Instant>, Option<(Instant, u64)>) = (None, None);
        let mut stage = String::new();
        loop {
            std::thread::sleep(LOOKS_EVERY);
            let failed_new = self.app.counts().failed_new.load(Relaxed);
            if broke.is_none() && started.elapsed() >= BREAKS_AFTER {
                self.app.break_new();
                broke = Some((Instant::now(), failed_new));
                let words = format!(
                    "somebody ships a bug: one in {BROKEN_FAILS_ONE_IN} requests of `on` fails from now on"
                );
                self.say_in(Tone::Alarm, &words)?;
            }
            let state = self.api.get(PLACE)?.body;
            let hold = &state["environments"]["production"]["hold"];
            if !hold.is_null() {
                let (at, before) = broke.unwrap_or((started, 0));
                let (after_break, failed) = (at.elapsed(), failed_new - before);
                return Ok(Caught { hold: hold.clone(), after_break, failed });
            }
            let rollout = self.api.get(&format!("{LIVE}/rollout"))?.body;
            let now = rollout["rollout"]["stage"].to_string();
            if now != stage {
                stage = now;
                let exposure = &state["environments"]["production"]["exposure"];
                self.say_in(Tone::Live, &format!("`{FLAG}` reaches {exposure}% of the people"))?;
            }
            if told.is_none_or(|told| told.elapsed() >= TELLS_EVERY) {
                told = Some(Instant::now());
                self.tell_how_it_goes()?;
            }
            if started.elapsed() > GIVES_UP_AFTER {
                return Err(Failure::usage(
                    "nothing was caught: the app did not get to report, or the machine stands still",
                ));
            }
        }
    }

    fn tell_how_it_goes(&mut self) -> Result<(), Failure> {
        let counts = self.app.counts();
        let part = |failed: u64, all: u64| if all == 0 { 0.0 } else { failed as f64 * 100.0 / all as f64 };
        let [old, new, failed_old, failed_new] =
            [&counts.old, &counts.new, &counts.failed_old, &counts.failed_new].map(|one| one.load(Relaxed));
        let known = self.api.get(&format!("{LIVE}/verdicts"))?.body;
        let verdict = &known["splits"][0]["verdicts"][0];
        let state = verdict["state"].as_str().unwrap_or("nothing known yet");
        let words = format!(
            "off: {old} requests, {:.1} % failed   on: {new}, {:.1} % failed   held to be: {state}",
            part(failed_old, old),
            part(failed_new, new)
        );
        self.say_in(Tone::Faint, &words)
    }

    fn tell_the_end(&mut self, caught: &Caught) -> Result<(), Failure> {
        let seconds = caught.after_break.as_secs_f64();
        self.say_in(Tone::Live, &format!("caught {seconds:.1} s after it broke: the flag is off"))?;
        let reason = caught.hold["reason"].as_str().unwrap_or_default();
        self.say(reason)?;
        let began = Instant::now();
        while self.app.serves_new(FLAG) && began.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(5));
        }
        let served = if self.app.serves_new(FLAG) {
            "the app still serves it"
        } else {
            "nobody is served it any more"
        };
        self.say(&format!("{served}; {} requests had failed by then", caught.failed))?;
        match self.pipeline.called(SOON) {
            Some(id) => {
                self.say(&format!("the pipeline was called to roll back, once, under the key {id}"))?
            }
            None => self.say_in(Tone::Alarm, "the pipeline was not called")?,
        }
        let evidence = self.api.list("/v1/apps/corner-shop/evidence")?;
        if let Some(id) = evidence["items"][0]["id"].as_str() {
            self.say(&format!("the evidence is kept: tidegate evidence show {id}"))?;
        }
        self.say("nothing comes back by itself: whoever mended it starts another rollout")
    }
}
