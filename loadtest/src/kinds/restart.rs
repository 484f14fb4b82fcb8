//! A server that is killed with everybody connected, and started again: when the last client is served, what checks
//! meet with meanwhile, and whether anybody is sent away.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::request;
use crate::feed::{self, Feed as _, FeedError, MAX_CLIENTS, Node, Sdks, Told};
use crate::figures::{median, ms};
use crate::kinds::Kind;
use crate::problem::Problem;
use crate::report::{Beside, Figure, Findings};
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};
use crate::sender::{Arrivals, Lane, Last, Meanwhile, Pace, Sender, Tally, ask};
use crate::server::{MEASURED, Restarted};

/// Most restarts of a scenario.
const MAX_RESTARTS: u64 = 20;
/// Most checks a second.
const MAX_CHECKS: u64 = 20_000;
/// Flags of the app.
const FLAGS: usize = 20;
/// Connections of the checks.
const CONNECTIONS: usize = 64;
/// What has not happened after this does not happen any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for something to happen, where nothing else is to be done.
const LOOK: Duration = Duration::from_millis(5);
/// Clients that have a turn before checks have theirs again: more would be a standstill of the sender.
const AT_ONCE: usize = 8;
/// Clients that have a turn where there are no checks.
const MANY_AT_ONCE: usize = 256;
/// How long checks are sent before the server is killed under them.
const LEAD_IN: Duration = Duration::from_millis(200);
/// Checks that the sender may pass over, as a part of those that were due.
const MOST_SKIPPED: f64 = 0.05;
/// The server has to be back after this, or waits that clients drew while it was away are what is measured.
const LONG_AWAY: Duration = Duration::from_secs(1);

/// The section.
#[derive(Debug)]
struct Settings {
    checks_per_second: u32,
    full: Length,
    short: Length,
}

/// How much of it.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    clients: usize,
    restarts: usize,
    /// How long checks are sent, before the server is killed and after it is back.
    checks: Duration,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let checks = table.number("checks_per_second", 1..=MAX_CHECKS);
    Box::new(Settings {
        checks_per_second: u32::try_from(checks).expect("within its bounds"),
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    })
}

fn length(table: &mut Reading<'_>) -> Length {
    let mut count = |key, most| usize::try_from(table.number(key, 1..=most)).expect("within its bounds");
    let (clients, restarts) = (count("clients", MAX_CLIENTS as u64), count("restarts", MAX_RESTARTS));
    Length { clients, restarts, checks: table.millis("checks_ms", SPELL_MS) }
}

impl Settings {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }
}

impl Kind for Settings {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_measured = match measure {
            Measure::LastBackS | Measure::CheckWaitMs => of.is_none(),
            Measure::P99Ms => of.is_none_or(|of| of == Who::Quiet),
            _ => false,
        };
        who == Who::Tidegate && is_measured
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        let Length { restarts, checks, .. } = self.length(is_short);
        (checks * 2 + Duration::from_millis(500)).saturating_mul(u32::try_from(restarts).unwrap_or(u32::MAX))
    }

    fn words(&self, is_short: bool) -> String {
        let Length { clients, restarts, .. } = self.length(is_short);
        let rate = self.checks_per_second;
        format!("{clients} clients, {rate} checks a second, restarts: {restarts}")
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        let length = self.length(runner.is_short);
        let mut findings = Findings::default();
        if let Err(why) = feed::has_room(length.clients) {
            findings.missing.push((Who::Tidegate, why.to_string()));
            return Ok(findings);
        }
        runner.progress.say("starting");
        let mut node = runner.cores.start(|| Node::start(&MEASURED, FLAGS))?;
        let mut sdks = Sdks::new(node.address(), node.key(), length.clients, runner.seed)?;
        until_all_live(&mut sdks)?;
        let address = node.address();
        let mut rounds = Vec::with_capacity(length.restarts);
        for turn in 0..length.restarts {
            let quiet = format!("quiet {}/{}", turn + 1, length.restarts);
            let rush = format!("restart {}/{}", turn + 1, length.restarts);
            runner.progress.begin("tidegate", &quiet, length.checks);
            let mut sender = Sender::connect(vec![lane(&node)])?;
            let quiet =
                self.check(&mut sender, &mut sdks, length.checks, runner.seed, &mut runner.progress)?;
            runner.progress.begin("tidegate", &rush, length.checks);
            let before = sdks.told().clone();
            let (cores, began) = (&runner.cores, Instant::now());
            let (rush, restarted, ready) = std::thread::scope(|threads| {
                let operator = threads.spawn(|| {
                    std::thread::sleep(LEAD_IN);
                    let restarted = cores.start(|| node.server_mut().restart())?;
                    Ok::<_, Problem>((restarted, until_ready(address)?))
                });
                let rush = self.check(
                    &mut sender,
                    &mut sdks,
                    length.checks + LEAD_IN,
                    runner.seed,
                    &mut runner.progress,
                );
                while !operator.is_finished() {
                    sdks.step(LOOK, MANY_AT_ONCE)?;
                }
                let (restarted, ready) = operator.join().expect("it says what goes wrong")?;
                Ok::<_, Problem>((rush?, restarted, ready))
            })?;
            drop(sender);
            until_all_live(&mut sdks)?;
            let last = sdks.live_since().flatten().max().unwrap_or(restarted.listening);
            let told = sdks.told().since(&before);
            rounds.push(Round { began, restarted, ready, last, quiet, rush, told });
        }
        tell(&rounds, &sdks, &mut findings);
        Ok(findings)
    }
}

/// One restart.
struct Round {
    /// When the checks began that go through it.
    began: Instant,
    restarted: Restarted,
    /// When the server said that it is ready for everything.
    ready: Instant,
    /// When the last client was served again.
    last: Instant,
    quiet: Tally,
    rush: Tally,
    told: Told,
}

/// Waits until the server says that it is ready.
fn until_ready(address: SocketAddr) -> Result<Instant, Problem> {
    let start = Instant::now();
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    loop {
        let status = ask(address, request.as_bytes())?.status;
        if status == 200 {
            return Ok(Instant::now());
        }
        if start.elapsed() > PATIENCE {
            return Err(Problem::Refused { what: "whether it is ready", status });
        }
        std::thread::sleep(LOOK);
    }
}

fn until_all_live(sdks: &mut Sdks) -> Result<(), FeedError> {
    let start = Instant::now();
    let of = sdks.live_since().count();
    while sdks.live() < of {
        if start.elapsed() > PATIENCE {
            let left = of - sdks.live();
            return Err(FeedError::Late { left, of, what: "are not served", after: PATIENCE });
        }
        sdks.step(LOOK, MANY_AT_ONCE)?;
    }
    Ok(())
}

/// The crowd goes on while checks are sent.
struct Crowded<'s, 'r> {
    sdks: &'s mut Sdks,
    progress: &'r mut dyn Meanwhile,
    failed: Option<FeedError>,
}

impl Meanwhile for Crowded<'_, '_> {
    fn step(&mut self, passed: Duration, answered: u64) {
        self.progress.step(passed, answered);
        if self.failed.is_none() {
            self.failed = self.sdks.step(Duration::ZERO, AT_ONCE).err();
        }
    }
}

impl Settings {
    /// Checks, open-loop, beside the crowd.
    fn check(
        &self,
        sender: &mut Sender,
        sdks: &mut Sdks,
        length: Duration,
        seed: u64,
        progress: &mut dyn Meanwhile,
    ) -> Result<Tally, Problem> {
        let pace = Pace::Rate { per_second: self.checks_per_second, arrivals: Arrivals::Even, seed };
        let mut crowded = Crowded { sdks, progress, failed: None };
        let sent = sender.run(&[pace], length, &mut crowded)?;
        if let Some(error) = crowded.failed {
            return Err(error.into());
        }
        Ok(sent.tallies.into_iter().next().expect("one lane"))
    }
}

/// Checks on connections of their own. The crowd makes the sender stand still again and again; what falls due then is
/// sent after it, and as late as it is: lanes that always ask the same would pass it over.
fn lane(node: &Node) -> Lane {
    let context = json!({"context": {"targetingKey": "user-17", "plan": "pro"}});
    let path = "/ofrep/v1/evaluate/flags/flag-0";
    let check = request("POST", path, node.server().address(), node.key(), &[], &context);
    let write = move |request: &mut Vec<u8>, _: Last<'_>| request.extend_from_slice(&check);
    Lane::of_written(node.address(), Box::new(write), 200, CONNECTIONS).through_restarts()
}

fn tell(rounds: &[Round], sdks: &Sdks, findings: &mut Findings) {
    let ours = |measure, value| Figure::new(measure, Who::Tidegate, "tidegate", value);
    let worst = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let seconds = |later: Instant, earlier: Instant| later.saturating_duration_since(earlier).as_secs_f64();
    let last = rounds.iter().map(|one| seconds(one.last, one.restarted.killed)).collect();
    let mut back = ours(Measure::LastBackS, worst(last));
    let away = rounds.iter().map(|one| one.restarted.listening - one.restarted.killed).max();
    if away.is_some_and(|away| away > LONG_AWAY) {
        back.doubt = Some(format!(
            "the server was away for more than {} s, so clients that had failed thrice waited by their own choice",
            LONG_AWAY.as_secs()
        ));
    }
    let p99_ms = |tally: fn(&Round) -> &Tally| -> f64 {
        median(&rounds.iter().map(|one| ms(tally(one).all_us(0.99))).collect::<Vec<f64>>())
    };
    let quiet = Beside {
        of: Who::Quiet,
        label: "the same checks before".to_owned(),
        value: p99_ms(|one| &one.quiet),
        ratio: None,
        doubt: None,
    };
    let mut checks = ours(Measure::P99Ms, p99_ms(|one| &one.rush));
    checks.doubt = rounds.iter().find_map(|one| was_not_offered(&one.rush));
    // Where nothing was answered after the server was ready, nobody knows how long a check would have waited.
    let waited = rounds.iter().map(Round::longest_wait_ms).collect::<Option<Vec<f64>>>();
    let mut waited = ours(Measure::CheckWaitMs, waited.map_or(f64::NAN, worst));
    waited.doubt.clone_from(&checks.doubt);
    findings.figures = vec![back, waited, checks.beside(quiet)];
    for (at, one) in rounds.iter().enumerate() {
        let turn = at + 1;
        findings.take_faults_of(&format!("quiet {turn}"), &one.quiet, false);
        if let Some(fault) = one.fault() {
            findings.errors.push(format!("restart {turn}: {fault}"));
        }
        for (status, count) in one.told.for_good() {
            findings.errors.push(format!("restart {turn}: {count} clients were sent away with {status}"));
        }
        findings.notes.push(format!(
            "restart {turn}: away for {:.2} s, ready {:.2} s after it listened, the last client served {:.2} s after it listened; connections refused {:?}, failed {}; checks offered {}, answered {}, passed over {}, failed while it was away or not ready {}, p99 {:.2} ms, worst {:.2} ms, {:.2} ms from when it was ready",
            seconds(one.restarted.listening, one.restarted.killed),
            seconds(one.ready, one.restarted.listening),
            seconds(one.last, one.restarted.listening),
            one.told.refused,
            one.told.failed,
            one.rush.offered,
            one.rush.answered,
            one.rush.skipped,
            one.rush.wrong(),
            ms(one.rush.all_us(0.99)),
            ms(one.rush.all_us(1.0)),
            one.longest_wait_ms().unwrap_or(f64::NAN),
        ));
    }
    let (open, answered, lost) = sdks.acks();
    findings.notes.push(format!(
        "acknowledgements: answered {answered:?}, {open} still on their way at the end, {lost} lost with their connection; at most {} clients were connecting at once",
        sdks.most_under_way()
    ));
    let refused: u64 =
        answered.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, count)| count).sum();
    if refused > 0 {
        findings.errors.push(format!("{refused} acknowledgements were refused: {answered:?}"));
    }
}

impl Round {
    /// The longest that a check waited which was answered after the server was ready, from then or from when it was due,
    /// whichever is later; none if there was no such check.
    fn longest_wait_ms(&self) -> Option<f64> {
        let ready_ns = self.ready.saturating_duration_since(self.began).as_nanos();
        let ready_ns = u64::try_from(ready_ns).unwrap_or(u64::MAX);
        let answered = self.rush.times_ns.iter().flatten().filter(|(_, answered_ns)| *answered_ns > ready_ns);
        let waited_ns = answered.map(|(due_ns, answered_ns)| answered_ns - ready_ns.max(*due_ns)).max()?;
        Some(ms(waited_ns / 1_000))
    }

    /// What is wrong with checks, if anything: those that fail while the server is away or not ready yet do because there
    /// is nobody to answer.
    fn fault(&self) -> Option<String> {
        if self.rush.lost > 0 {
            return Some(format!("{} checks were never answered", self.rush.lost));
        }
        let (first, last) = self.rush.failed_ns?;
        let [first, last] = [first, last].map(|ns| self.began + Duration::from_nanos(ns));
        (first < self.restarted.killed || last > self.ready).then(|| {
            format!("checks failed while the server was there, of {} that failed", self.rush.wrong())
        })
    }
}

/// Why the latency of checks says little, if too few of them were offered.
fn was_not_offered(tally: &Tally) -> Option<String> {
    #[allow(clippy::cast_precision_loss, reason = "some thousand checks")]
    let skipped = tally.skipped as f64 / (tally.offered + tally.skipped).max(1) as f64;
    (skipped > MOST_SKIPPED).then(|| format!("{:.0} % of the checks were never sent", 100.0 * skipped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Circumstances, judge};
    use crate::ratio::Verdict;
    use crate::scenario::{Threshold, built_in};

    /// A restart that is ready after 350 ms, and checks that were due and answered then, in milliseconds.
    fn restart(times_ms: &[(u64, u64)]) -> Round {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut rush = Tally::new();
        let ns = |(due, answered): &(u64, u64)| (due * 1_000_000, answered * 1_000_000);
        rush.times_ns = Some(times_ms.iter().map(ns).collect());
        let restarted = Restarted { killed: at(200), listening: at(300) };
        let (quiet, told) = (Tally::new(), Told::default());
        Round { began, restarted, ready: at(350), last: at(900), quiet, rush, told }
    }

    #[test]
    fn the_wait_of_a_check_counts_from_when_the_server_is_ready_or_from_when_it_was_due() {
        let longest = |times_ms: &[(u64, u64)]| restart(times_ms).longest_wait_ms();
        // Answered before it went, due while it was away, and due after it was back.
        assert_eq!(longest(&[(10, 190), (210, 360), (400, 405)]), Some(10.0));
        assert_eq!(longest(&[(210, 360), (400, 1_900)]), Some(1_500.0));
        assert_eq!(longest(&[(10, 190)]), None);
    }

    #[test]
    fn a_check_that_waits_for_longer_than_a_second_misses_its_bar_though_it_is_answered() {
        let scenario = built_in().into_iter().find(|one| one.name == "restart").expect("it comes with it");
        let is_bar = |bar: &&Threshold| bar.measure == Measure::CheckWaitMs;
        let bar = scenario.thresholds.iter().find(is_bar).expect("a bar for waits");
        let verdict = |rounds: &[Round]| {
            let mut findings = Findings::default();
            let address = "127.0.0.1:1".parse().unwrap();
            tell(rounds, &Sdks::new(address, "key", 0, 0).unwrap(), &mut findings);
            judge(bar, &findings, Circumstances { is_short: false, is_of_target: false }).verdict
        };
        assert_eq!(verdict(&[restart(&[(210, 1_349)]), restart(&[(500, 510)])]), Verdict::Met);
        assert_eq!(verdict(&[restart(&[(210, 1_352)]), restart(&[(500, 510)])]), Verdict::Missed);
        // One of which nobody knows anything is not met by the others.
        let unknown = verdict(&[restart(&[(500, 510)]), restart(&[])]);
        assert!(matches!(unknown, Verdict::NotMeasured(_)), "{unknown:?}");
    }

    #[test]
    fn checks_may_fail_only_between_the_kill_and_the_moment_it_is_ready() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let fault = |failed_ms: Option<(u64, u64)>, lost| {
            let mut rush = Tally::new();
            rush.failed_ns = failed_ms.map(|(first, last)| (first * 1_000_000, last * 1_000_000));
            rush.lost = lost;
            let restarted = Restarted { killed: at(200), listening: at(300) };
            let (quiet, told) = (Tally::new(), Told::default());
            Round { began, restarted, ready: at(350), last: at(900), quiet, rush, told }.fault()
        };
        assert_eq!([fault(None, 0), fault(Some((201, 349)), 0)], [None, None]);
        assert!(fault(Some((199, 300)), 0).is_some() && fault(Some((201, 351)), 0).is_some());
        assert!(fault(None, 3).is_some_and(|fault| fault.contains("3 checks")));
    }

    #[test]
    fn checks_that_were_never_sent_are_doubted_beyond_one_in_twenty() {
        let tally = |offered, skipped| {
            let mut tally = Tally::new();
            (tally.offered, tally.skipped) = (offered, skipped);
            tally
        };
        assert_eq!(was_not_offered(&tally(96, 4)), None);
        assert!(was_not_offered(&tally(90, 10)).is_some_and(|why| why.contains("10 %")));
        assert_eq!(was_not_offered(&tally(0, 0)), None);
    }
}
