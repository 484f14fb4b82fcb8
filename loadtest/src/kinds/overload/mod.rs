//! Ten times what a server is allowed to answer: what it takes and what it sheds, what the checks that it takes have to
//! wait, its memory, and how soon all is as before.
//!
//! The server's capacity is set small, so that one core can offer ten times as much with ease. Quiet and overloaded
//! spells take turns, as machines have moods, and each overloaded one is held against the quiet one before it.

mod operator;
mod recovery;
mod settings;
mod tell;

pub(crate) use settings::read;

use std::time::Duration;

use serde_json::json;

use crate::client::{Client, request};
use crate::problem::Problem;
use crate::process::{file_kib, resident_kib};
use crate::report::Findings;
use crate::run::Runner;
use crate::sender::{Arrivals, Lane, Meanwhile, Pace, Sender, Tally};
use crate::server::Server;

use operator::{Operated, Operator, fill};
use settings::{Length, Settings};

/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(100);
/// Statuses with which a server says that it has too much to do.
const SHED: [u16; 2] = [429, 503];

/// A quiet spell, a storm, and what came after.
struct Turn {
    quiet: Tally,
    storm: Storm,
    /// From a second after the storm on.
    after: Tally,
}

/// Too much to do, and what came right behind it.
struct Storm {
    tally: Tally,
    /// Half of what the server takes, from the storm's last request on.
    windows: Vec<Tally>,
}

/// A storm with an operator.
struct Long {
    storm: Storm,
    /// Memory in KiB by seconds.
    memory: Vec<(f64, f64)>,
    /// Of it, what is read from files, before and after, in KiB.
    files_kib: [u64; 2],
    operated: Operated,
}

fn run(settings: &Settings, runner: &mut Runner) -> Result<Findings, Problem> {
    let length = settings.length(runner.is_short);
    runner.progress.say("starting");
    let limits = [
        "workers=1".to_owned(),
        format!("limits.requests_per_second={}", settings.capacity),
        format!("limits.burst={}", settings.burst),
    ];
    let server = runner.cores.start(|| Server::start(&limits.each_ref().map(String::as_str)));
    let lanes = set_up(&server, settings.connections)?;
    if length.kills > 0 {
        runner.progress.say("filling what is kept up to a bound");
        fill(&server, length.kills, &runner.cores)?;
    }
    let before_kib = resident_kib(server.process());
    let mut load = Load { settings, sender: Sender::connect(lanes)?, faults: Findings::default() };
    // All that works later works now, or what it takes the first time would look as if memory grew.
    let warm_up = load.operated_storm("warm-up", length.warm_up, &server, runner)?;
    let mut turns = Vec::with_capacity(length.turns);
    for turn in 0..length.turns {
        runner.progress.begin("tidegate", &format!("turn {}/{}", turn + 1, length.turns), length.turn());
        turns.push(load.turn(length, runner)?);
    }
    let long = load.operated_storm("long-storm", length.long_storm, &server, runner)?;
    let mut findings = tell::all(settings, length, &turns, &long, before_kib);
    findings.errors = load.faults.errors;
    findings.errors.extend(warm_up.operated.fault("the warm-up"));
    findings.errors.extend(long.operated.fault("the long storm"));
    findings.reopened = load.faults.reopened;
    Ok(findings)
}

/// An app with a flag that is checked and one that is killed. A lane of checks, and one for each window after a storm.
fn set_up(server: &Server, connections: usize) -> Result<Vec<Lane>, Problem> {
    let address = server.address().parse().map_err(|_| Problem::ended_early())?;
    let mut admin = Client::connect(server.address(), server.admin_token())?;
    let environments = json!([{"key": "live", "kind": "production"}]);
    admin
        .ask("POST", "/v1/apps", &[], &json!({"key": "shop", "environments": environments}))?
        .if_granted()?;
    for flag in ["checkout", "killed"] {
        let made = admin.ask("POST", "/v1/apps/shop/flags", &[], &json!({ "key": flag }))?;
        let tag = made.header("etag").to_owned();
        made.if_granted()?;
        let path = format!("/v1/apps/shop/flags/{flag}/environments/live");
        let patch = json!({"on": true, "exposure": 30, "serve": {"variant": "on"}});
        admin.ask("PATCH", &path, &[("if-match", &tag)], &patch)?.if_granted()?;
    }
    let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "live"});
    let token = admin.ask("POST", "/v1/tokens", &[], &wanted)?.if_granted()?;
    let without = || Problem::Wrong("a new token does not show its secret".to_owned());
    let token = token["secret"].as_str().ok_or_else(without)?;
    let context = json!({"context": {"targetingKey": "user-17", "plan": "pro"}});
    let path = "/ofrep/v1/evaluate/flags/checkout";
    let request = request("POST", path, server.address(), token, &[], &context);
    let lane = |connections| Lane::of_same(address, request.clone(), 200, connections);
    let windows = (0..recovery::WINDOWS).map(|_| lane(recovery::CONNECTIONS));
    Ok([lane(connections)].into_iter().chain(windows).collect())
}

/// What is offered, over the same connections all the time.
struct Load<'s> {
    settings: &'s Settings,
    sender: Sender,
    /// What may not happen, and did.
    faults: Findings,
}

impl Load<'_> {
    /// Half of what the server takes; all of it has to be answered.
    fn quiet(&mut self, length: Duration, meanwhile: &mut dyn Meanwhile) -> Result<Tally, Problem> {
        let per_second = self.settings.capacity / 2;
        let pace = Pace::Rate { per_second, arrivals: Arrivals::Even, seed: 0 };
        let paces: Vec<Pace> = [pace].into_iter().chain(recovery::none()).collect();
        let sent = self.sender.run(&paces, length, meanwhile)?;
        let tally = sent.tallies.into_iter().next().expect("a lane of checks");
        self.faults.take_faults_of("half of what is allowed", &tally, false);
        Ok(tally)
    }

    /// Many times what it takes, and at once after that half of it; whatever it does not take has to be shed in so many
    /// words.
    fn storm(&mut self, length: Duration, meanwhile: &mut dyn Meanwhile) -> Result<Storm, Problem> {
        let per_second = self.settings.capacity * self.settings.times;
        let pace = Pace::Between { per_second, from: Duration::ZERO, until: length };
        let windows = recovery::paces(self.settings, length);
        let paces: Vec<Pace> = [pace].into_iter().chain(windows).collect();
        let sent = self.sender.run(&paces, length + recovery::length(), meanwhile)?;
        let silent = |tally: &Tally| tally.wrong() + tally.lost - tally.told_when;
        let silent: u64 = sent.tallies.iter().map(silent).sum();
        let mut tallies = sent.tallies.into_iter();
        let tally = tallies.next().expect("a lane of checks");
        let windows: Vec<Tally> = tallies.collect();
        if silent > 0 {
            self.faults.errors.push(not_told(silent, &tally, &windows));
        }
        Ok(Storm { tally, windows })
    }

    fn turn(&mut self, length: &Length, runner: &mut Runner) -> Result<Turn, Problem> {
        let quiet = self.quiet(length.quiet, &mut runner.progress)?;
        let storm = self.storm(length.storm, &mut runner.progress)?;
        let after = self.quiet(length.quiet / 2, &mut runner.progress)?;
        Ok(Turn { quiet, storm, after })
    }

    /// One in which memory is watched and an operator is at work.
    fn operated_storm(
        &mut self,
        name: &'static str,
        length: Duration,
        server: &Server,
        runner: &mut Runner,
    ) -> Result<Long, Problem> {
        runner.progress.begin("tidegate", name, length);
        let operator = Operator::start(server, name, &runner.cores)?;
        let before_kib = file_kib(server.process());
        let mut watch = Watch {
            process: server.process(),
            length,
            operator: &operator,
            next: Duration::ZERO,
            memory: Vec::new(),
            progress: &mut runner.progress,
        };
        let storm = self.storm(length, &mut watch);
        let memory = watch.memory;
        let operated = operator.end();
        let files_kib = [before_kib, file_kib(server.process())];
        Ok(Long { storm: storm?, memory, files_kib, operated })
    }
}

/// Looks at memory while the storm goes on, and lets the operator go when it is over.
struct Watch<'p> {
    process: u32,
    /// The storm's.
    length: Duration,
    operator: &'p Operator,
    next: Duration,
    memory: Vec<(f64, f64)>,
    progress: &'p mut dyn Meanwhile,
}

impl Meanwhile for Watch<'_> {
    fn step(&mut self, passed: Duration, answered: u64) {
        self.progress.step(passed, answered);
        if passed >= self.length {
            self.operator.let_go();
            return;
        }
        if passed < self.next {
            return;
        }
        self.next = passed + LOOK;
        #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
        self.memory.push((passed.as_secs_f64(), resident_kib(self.process) as f64));
    }
}

/// That so many checks were neither taken nor told when to come again: those of a storm, and of the windows behind it.
fn not_told(silent: u64, storm: &Tally, windows: &[Tally]) -> String {
    let said = |tally: &Tally| format!("{} shed, {} told when, {tally:?}", shed(tally), tally.told_when);
    let windows = (1..).zip(windows).filter(|(_, window)| window.wrong() + window.lost + window.reopened > 0);
    let windows = windows.map(|(at, window)| format!("; window {at} behind it: {}", said(window)));
    format!(
        "{silent} checks of a storm were neither taken nor told when to come again ({}{})",
        said(storm),
        windows.collect::<String>()
    )
}

/// How many were answered with a status of those that have too much to do.
fn shed(tally: &Tally) -> u64 {
    SHED.iter().filter_map(|status| tally.wrong.get(status)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_were_told_nothing_are_shown_with_those_that_were_and_the_windows_behind() {
        let tally = |broken: u64, reopened: u64| {
            let mut tally = Tally::new();
            (tally.offered, tally.told_when, tally.broken, tally.reopened) = (12, 8, broken, reopened);
            tally.wrong.insert(429, 9);
            tally
        };
        let said = not_told(2, &tally(1, 0), &[Tally::new(), tally(0, 4)]);
        for wanted in ["2 checks", "9 shed, 8 told when", "1 broken", "window 2 behind it", "4 reopened"] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains("window 1"), "{said}");
    }
}
