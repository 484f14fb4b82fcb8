//! Half an hour of traffic in four minutes: whether the server's memory grows, and whether what it counts is as it was
//! once everybody has gone.
//!
//! What passes in half an hour is compressed: everybody asks again as soon as they are answered. What the server keeps
//! up to a bound (kill ids, idempotency keys) would take hours to fill, so it is filled first, and as long as is
//! measured later the allocator takes what its threads need. A line is drawn through what is measured; it has to be
//! level as far as its noise tells, and may not rise in half an hour's traffic by more than another bar, its uncertainty
//! included.
//!
//! A token that was revoked is kept for thirty days. As many as traffic so compressed would need, somebody renews in
//! days, so tokens come last, by themselves, and what each takes is a figure of its own.

mod counted;
mod crowd;
mod receiver;
mod traffic;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::feed::Sdks;
use crate::figures::Trend;
use crate::kinds::Kind;
use crate::problem::Problem;
use crate::report::{Figure, Findings};
use crate::run::Runner;
use crate::scenario::{Measure, Reading, Scenario, Who};
use crate::server::Server;

use counted::{told_all, unsettled};
use crowd::come_and_go;
use receiver::Receiver;
use traffic::{Counts, Shop};

/// Longest that is measured, in seconds.
const MAX_SECONDS: u64 = 800;
/// Most kills that fill what is kept.
const MAX_KILLS: u64 = 100_000;
/// Most SDKs that come and go.
const MAX_SDKS: u64 = 5_000;
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(100);
/// Changes a second of a busy installation: says how much time is compressed.
const BUSY_CHANGES_A_SECOND: f64 = 5.0;
/// Growth is that of so many minutes.
const HALF_AN_HOUR: f64 = 30.0;
/// Most tokens that are made and revoked.
const MAX_TOKENS: u64 = 100_000;

/// The section.
#[derive(Debug)]
struct Settings {
    full: Length,
    short: Length,
}

/// How long it takes.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    /// How long is measured, after as long a warm-up.
    measured: Duration,
    /// Kills before that.
    kills: usize,
    /// SDKs that are connected at any time, besides those that come for a moment.
    sdks: usize,
    /// Tokens that are made and revoked once everybody else has gone.
    tokens: usize,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let full = table.table("full", length).unwrap_or_default();
    Box::new(Settings { full, short: table.table("short", length).unwrap_or_default() })
}

fn length(table: &mut Reading<'_>) -> Length {
    let count = |number: u64| usize::try_from(number).expect("within its bounds");
    Length {
        measured: Duration::from_secs(table.number("seconds", 2..=MAX_SECONDS)),
        kills: count(table.number("kills", 0..=MAX_KILLS)),
        sdks: count(table.number("sdks", 1..=MAX_SDKS)),
        tokens: count(table.number("tokens", 1..=MAX_TOKENS)),
    }
}

impl Settings {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }
}

impl Kind for Settings {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_measured = matches!(
            measure,
            Measure::GrowthKib | Measure::LeastGrowthKib | Measure::TrafficMinutes | Measure::KibPerToken
        );
        is_measured && who == Who::Tidegate && of.is_none()
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        self.length(is_short).measured * 2
    }

    fn words(&self, is_short: bool) -> String {
        let Length { measured, sdks, .. } = self.length(is_short);
        format!("{} s after as long a warm-up, {sdks} SDKs that come and go", measured.as_secs())
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        soak(self.length(runner.is_short), runner)
    }
}

fn soak(length: Length, runner: &mut Runner) -> Result<Findings, Problem> {
    runner.progress.say("starting");
    let receiver = Receiver::start();
    let server = runner.cores.start(|| Server::start(&["workers=1", "webhooks.allow_private=true"]));
    let shop = Shop::open(&server, &receiver)?;
    let began = server.resident_kib();
    runner.progress.say("filling what is kept up to a bound");
    let filling = Instant::now();
    shop.fill(length.kills)?;
    let mut findings = Findings::default();
    findings.notes.push(format!(
        "{began} KiB at first, {} after {} kills in {:.0} s",
        server.resident_kib(),
        length.kills,
        filling.elapsed().as_secs_f64()
    ));
    let start = told_all(&server)?;
    let counts = Counts::default();
    let (memory, changes) = traffic_and_memory(&server, &shop, &counts, length, runner, &mut findings)?;
    let kib_per_token = token_memory(&server, &shop, &counts, length.tokens)?;
    findings.notes.extend(counts.words());
    findings.notes.push(format!("{} messages to the webhook", receiver.told()));
    findings.errors.extend(unsettled(&server, &start)?);
    findings.figures = figures(&memory, length, changes, &mut findings.notes);
    findings.figures.push(Figure::new(Measure::KibPerToken, Who::Tidegate, "tidegate", kib_per_token));
    Ok(findings)
}

/// What each token takes that is made and revoked, by what the server holds before and after all of them.
#[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
fn token_memory(server: &Server, shop: &Shop, counts: &Counts, tokens: usize) -> Result<f64, Problem> {
    let before = server.resident_kib();
    shop.renew_tokens(tokens, counts)?;
    Ok((server.resident_kib() as f64 - before as f64) / tokens as f64)
}

/// Memory by seconds, and the changes while it was looked at.
type Seen = (Vec<(f64, f64)>, u64);

fn traffic_and_memory(
    server: &Server,
    shop: &Shop,
    counts: &Counts,
    length: Length,
    runner: &mut Runner,
    findings: &mut Findings,
) -> Result<Seen, Problem> {
    let (ended, closed) = (AtomicBool::new(false), AtomicBool::new(false));
    let address = server.address().parse().map_err(|_| Problem::ended_early())?;
    let sdks = Sdks::new(address, shop.key(), length.sdks, runner.seed)?;
    let chance = Chance::new(runner.seed);
    std::thread::scope(|threads| {
        let operating = threads.spawn(|| shop.operate(&closed, counts));
        let following = threads.spawn(|| shop.follow(&ended, counts));
        let checking = threads.spawn(|| shop.check(&ended, counts));
        let coming =
            threads.spawn(|| Ok(come_and_go(sdks, chance, &ended, &counts.acks_open, crowd::PATIENCE)?));
        runner.progress.begin("tidegate", "warm-up", length.measured);
        watch(server, length.measured, runner);
        let done = || counts.changes.load(Ordering::Relaxed);
        let before = done();
        runner.progress.begin("tidegate", "measured", length.measured);
        let memory = watch(server, length.measured, runner);
        let after = done();
        ended.store(true, Ordering::Relaxed);
        if let Some(come_and_gone) = note_end("SDKs that come and go", coming, findings) {
            findings.notes.push(come_and_gone.note);
            findings.errors.extend(come_and_gone.errors);
        }
        note_end("SDKs", following, findings);
        note_end("checks", checking, findings);
        // Whoever waits for news hears them as long as an operator is at work.
        closed.store(true, Ordering::Relaxed);
        note_end("the operator", operating, findings);
        Ok((memory, after - before))
    })
}

/// What a part of the traffic gave in the end, or an error.
fn note_end<T>(
    what: &str,
    part: ScopedJoinHandle<'_, Result<T, Problem>>,
    findings: &mut Findings,
) -> Option<T> {
    match part.join() {
        Ok(Ok(given)) => return Some(given),
        Ok(Err(problem)) => findings.errors.push(format!("{what}: {problem}")),
        Err(_) => findings.errors.push(format!("{what}: it panicked (standard error says more)")),
    }
    None
}

fn watch(server: &Server, length: Duration, runner: &mut Runner) -> Vec<(f64, f64)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < length {
        std::thread::sleep(LOOK);
        #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
        seen.push((start.elapsed().as_secs_f64(), server.resident_kib() as f64));
        runner.progress.tick(start.elapsed(), 0);
    }
    seen
}

fn figures(memory: &[(f64, f64)], length: Length, changes: u64, notes: &mut Vec<String>) -> Vec<Figure> {
    #[allow(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let minutes = changes as f64 / BUSY_CHANGES_A_SECOND / 60.0;
    let ours = |measure, value| Figure::new(measure, Who::Tidegate, "tidegate", value);
    let mut figures = vec![ours(Measure::TrafficMinutes, minutes)];
    let Some(trend) = Trend::of(memory) else { return figures };
    let half_an_hour = HALF_AN_HOUR / minutes;
    let seconds = length.measured.as_secs_f64() * half_an_hour;
    let (growth, margin) = (trend.slope * seconds, trend.margin * seconds);
    figures.push(ours(Measure::GrowthKib, growth + margin));
    figures.push(ours(Measure::LeastGrowthKib, growth - margin));
    let tenths: Vec<String> = memory
        .chunks(memory.len().div_ceil(10))
        .filter_map(|tenth| tenth.first())
        .map(|at| format!("{:.0}", at.1))
        .collect();
    notes.push(format!(
        "memory in KiB by tenths: {}; it grows by {growth:+.0} KiB, +-{margin:.0}, in {HALF_AN_HOUR} minutes ({})",
        tenths.join(" "),
        if trend.is_noise() { "within noise" } else { "no noise" },
    ));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Circumstances, judge};
    use crate::ratio::Verdict;
    use crate::scenario::built_in;

    #[test]
    fn growth_is_all_that_was_seen_with_its_uncertainty() {
        // 4 KiB a second for 120 s, in which half an hour's changes pass.
        let memory: Vec<(f64, f64)> =
            (0..1_200_u32).map(|at| (f64::from(at) / 10.0, f64::from(at) * 0.4)).collect();
        let length = Length { measured: Duration::from_secs(120), ..Length::default() };
        let figures = figures(&memory, length, 9_000, &mut Vec::new());
        let value =
            |measure| figures.iter().find(|figure| figure.measure == measure).map(|figure| figure.value);
        let growth = value(Measure::GrowthKib).expect("there is enough to tell");
        assert!((growth - 480.0).abs() < 1.0, "{growth}");
        assert!(value(Measure::TrafficMinutes).is_some_and(|minutes| (minutes - 30.0).abs() < 1e-9));
    }

    /// What becomes of the bars of the file that comes with the program.
    fn judged(figures: Vec<Figure>) -> Vec<(Measure, Verdict)> {
        let scenario = built_in().into_iter().find(|one| one.name == "soak").expect("it comes with it");
        let findings = Findings { figures, ..Findings::default() };
        let circumstances = Circumstances { is_short: false, is_of_target: false };
        let judged = |bar| judge(bar, &findings, circumstances);
        scenario.thresholds.iter().map(judged).map(|one| (one.bar.measure, one.verdict)).collect()
    }

    #[test]
    fn growth_that_no_noise_explains_is_missed_though_it_is_little() {
        let length = Length { measured: Duration::from_secs(120), ..Length::default() };
        let found = |kib_a_second: f64, noise: f64| {
            let at = |at: u32| {
                let seconds = f64::from(at) / 10.0;
                (seconds, seconds * kib_a_second + noise * f64::from(at / 100 % 2))
            };
            let memory: Vec<(f64, f64)> = (0..1_200).map(at).collect();
            let verdicts = judged(figures(&memory, length, 9_000, &mut Vec::new()));
            let of = |measure| verdicts.iter().find(|one| one.0 == measure).map(|one| one.1.clone());
            [of(Measure::GrowthKib), of(Measure::LeastGrowthKib)].map(|verdict| verdict.expect("a bar"))
        };
        // 120 KiB in half an hour, with and without noise; and level.
        assert_eq!(found(1.0, 0.0), [Verdict::Met, Verdict::Missed]);
        assert_eq!(found(1.0, 200.0), [Verdict::Met, Verdict::Met]);
        assert_eq!(found(0.0, 0.0), [Verdict::Met, Verdict::Met]);
        assert_eq!(found(8.0, 0.0), [Verdict::Missed, Verdict::Missed]);
    }

    #[test]
    fn a_token_that_takes_more_than_half_a_kibibyte_misses_its_bar() {
        let of = |kib| {
            let figure = Figure::new(Measure::KibPerToken, Who::Tidegate, "tidegate", kib);
            judged(vec![figure]).into_iter().find(|one| one.0 == Measure::KibPerToken).map(|one| one.1)
        };
        assert_eq!([of(0.4), of(0.6)], [Some(Verdict::Met), Some(Verdict::Missed)]);
    }
}
