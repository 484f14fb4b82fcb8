//! An event on its way to everybody: many clients connect at once, wait, and are told; ours beside servers that do
//! nothing else, in turns.

mod turns;

use std::time::{Duration, Instant};

use crate::feed::{self, Feed, FeedFloor, MAX_CLIENTS, Node, Pages, Watchers, What};
use crate::figures::median;
use crate::kinds::Kind;
use crate::problem::Problem;
use crate::process::resident_kib;
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Findings};
use crate::rounds::Load;
use crate::run::Runner;
use crate::scenario::{Measure, Reading, Scenario, Who};
use crate::show::{Axis, Chart, Line, Panel, Picture, Scale};

use turns::{
    HAD_NO_CORE, Turn, cpu_pairs, cpu_us_per_client, had_no_core, middle_cpu_us, slowest, unlike_bytes,
};

/// Most turns, and most events in each.
const MAX_TURNS: u64 = 20;
const MAX_EVENTS: u64 = 100;
/// Longest time in which nothing happens, in milliseconds.
const MAX_IDLE_MS: u64 = 60_000;
/// Clients that hear the event by which floors are told how long theirs are.
const FIRST_CLIENTS: usize = 40;
/// Points of a line in the chart, about.
const POINTS: usize = 60;
/// About what a turn takes for each client and each event, and what it takes at least.
const EACH: Duration = Duration::from_micros(400);
const TURN: Duration = Duration::from_millis(500);

const FOLLOWERS: [(&str, Followers); 2] = [("sdks", Followers::Sdks), ("pages", Followers::Pages)];
const EVENTS: [(&str, What); 2] = [("kill", What::Kill), ("value", What::Value)];
const BESIDE: [Who; 2] = [Who::RawWrites, Who::Channels];

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followers {
    /// Programs: all get the same.
    Sdks,
    /// Web pages, each with a context of its own.
    Pages,
}

/// The section.
#[derive(Debug)]
struct Settings {
    followers: Followers,
    event: What,
    full: Length,
    short: Length,
}

/// How much of it.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    clients: usize,
    turns: usize,
    /// Events that are measured in a turn; one more warms up.
    events: usize,
    idle: Duration,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let settings = Settings {
        followers: table.one_of("followers", &FOLLOWERS),
        event: table.one_of("event", &EVENTS),
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    };
    if settings.followers == Followers::Sdks && settings.event == What::Value {
        table.note("event", "has to be `kill`: SDKs evaluate flags themselves");
    }
    Box::new(settings)
}

fn length(table: &mut Reading<'_>) -> Length {
    let mut count = |key, most| usize::try_from(table.number(key, 1..=most)).expect("within its bounds");
    let (clients, turns, events) =
        (count("clients", MAX_CLIENTS as u64), count("turns", MAX_TURNS), count("events", MAX_EVENTS));
    Length { clients, turns, events, idle: table.millis("idle_ms", 0..=MAX_IDLE_MS) }
}

impl Settings {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }
}

impl Kind for Settings {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_measured = match measure {
            Measure::EventToLastMs | Measure::CpuUsPerClient => of.is_none_or(|of| BESIDE.contains(&of)),
            Measure::StormS => self.followers == Followers::Sdks && of.is_none_or(|of| BESIDE.contains(&of)),
            Measure::KibPerClient => of.is_none_or(|of| of == Who::Channels),
            _ => false,
        };
        who == Who::Tidegate && is_measured
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        let Length { clients, turns, idle, .. } = self.length(is_short);
        let u32_of = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let turn = TURN.saturating_add(EACH.saturating_mul(u32_of(clients)));
        idle.saturating_add(turn.saturating_mul(u32_of(turns * (BESIDE.len() + 1))))
    }

    fn words(&self, is_short: bool) -> String {
        let Length { clients, turns, events, .. } = self.length(is_short);
        let who = match self.followers {
            Followers::Sdks => "clients",
            Followers::Pages => "pages",
        };
        format!("{clients} {who}, {turns} turns of {events} events")
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        let length = self.length(runner.is_short);
        let mut findings = Findings::default();
        if let Err(why) = feed::has_room(length.clients) {
            findings.missing =
                [Who::Tidegate, Who::RawWrites, Who::Channels].map(|who| (who, why.to_string())).into();
            return Ok(findings);
        }
        runner.progress.say("starting");
        let mut stage = self.stage(&length, runner)?;
        for turn in 0..length.turns {
            // Nobody is always the one that goes first.
            let mut order: Vec<usize> = (0..stage.len()).collect();
            if turn % 2 == 1 {
                order.reverse();
            }
            for at in order {
                take_turn(&mut stage[at], turn, &length, runner)?;
            }
        }
        findings.figures = self.figures(&stage);
        findings.charts.push(self.chart(&stage));
        findings.notes.extend(stage.iter().map(Contender::note));
        Ok(findings)
    }
}

/// A server, and what was measured of it.
struct Contender {
    who: Who,
    label: &'static str,
    server: Box<dyn Feed>,
    /// The first time that clients came.
    kib_per_client: Option<f64>,
    turns: Vec<Turn>,
}

impl Settings {
    /// Everybody, started. Floors send events that are as long as ours.
    fn stage(&self, length: &Length, runner: &mut Runner) -> Result<Vec<Contender>, Problem> {
        // One is for the length.
        let flags = length.turns * (length.events + 1) + 1;
        let cores = &runner.cores;
        let mut ours: Box<dyn Feed> = match self.followers {
            Followers::Sdks => Box::new(cores.start(|| Node::start(&["workers=1"], flags))?),
            Followers::Pages => Box::new(cores.start(|| Pages::start(flags, self.event))?),
        };
        let (mut watchers, _) = Watchers::storm(ours.as_ref(), FIRST_CLIENTS, &mut runner.progress)?;
        watchers.publish(ours.as_mut(), "evt-f-0-", &mut runner.progress)?;
        let event = watchers.event_bytes();
        drop(watchers);
        ours.settle()?;
        let contender =
            |who, label, server| Contender { who, label, server, kib_per_client: None, turns: Vec::new() };
        Ok(vec![
            contender(Who::RawWrites, "raw writes", Box::new(cores.start(|| FeedFloor::raw(event))?)),
            contender(Who::Tidegate, "tidegate", ours),
            contender(Who::Channels, "actix channels", Box::new(cores.start(|| FeedFloor::channels(event))?)),
        ])
    }

    fn figures(&self, stage: &[Contender]) -> Vec<Figure> {
        let of = |who| stage.iter().find(|one| one.who == who);
        let Some(ours) = of(Who::Tidegate) else { return Vec::new() };
        let beside = |other: &Contender, value: f64, ratio: Option<Ratio>, doubt: Option<String>| Beside {
            of: other.who,
            label: other.label.to_owned(),
            value,
            ratio,
            doubt,
        };
        let mut last = Figure::new(Measure::EventToLastMs, ours.who, ours.label, median(&ours.last_ms()));
        let mut cpu = Figure::new(Measure::CpuUsPerClient, ours.who, ours.label, middle_cpu_us(&ours.turns));
        let mut storm = Figure::new(Measure::StormS, ours.who, ours.label, ours.worst_storm().storm_s);
        storm.doubt = ours.worst_storm().is_storm_disturbed.then(|| HAD_NO_CORE.to_owned());
        for other in BESIDE.into_iter().filter_map(of) {
            let pairs: Vec<f64> =
                ours.last_ms().iter().zip(other.last_ms()).map(|(ours, other)| ours / other).collect();
            let doubt = unlike(ours, other).or_else(|| had_no_core(&ours.turns, &other.turns));
            let cpu_pairs = Ratio::of(&cpu_pairs(&ours.turns, &other.turns));
            cpu = cpu.beside(beside(other, middle_cpu_us(&other.turns), cpu_pairs, doubt.clone()));
            last = last.beside(beside(other, median(&other.last_ms()), Ratio::of(&pairs), doubt));
            let worst = other.worst_storm();
            let doubt = worst.is_storm_disturbed.then(|| HAD_NO_CORE.to_owned());
            storm = storm.beside(beside(other, worst.storm_s, None, doubt));
        }
        let mut figures = vec![last, cpu];
        // A page is opened by a request before it connects, so they cannot all come at once.
        if self.followers == Followers::Sdks {
            figures.push(storm);
        }
        if let Some(kib) = ours.kib_per_client {
            let mut memory = Figure::new(Measure::KibPerClient, ours.who, ours.label, kib);
            if let Some((channels, kib)) = of(Who::Channels).and_then(|one| Some((one, one.kib_per_client?)))
            {
                memory = memory.beside(beside(channels, kib, None, None));
            }
            figures.push(memory);
        }
        figures
    }

    /// How many clients have the event, by time: of each server the event whose last client is the middle one.
    fn chart(&self, stage: &[Contender]) -> Chart {
        let line = |(colour, one): (usize, &Contender)| Line {
            label: one.label.to_owned(),
            colour,
            is_dashed: one.who != Who::Tidegate,
            points: middle(one.events()).map_or_else(Vec::new, curve),
        };
        let title = match (self.followers, self.event) {
            (Followers::Sdks, _) => "A kill reaches SDKs",
            (Followers::Pages, What::Kill) => "A kill reaches pages",
            (Followers::Pages, What::Value) => "A changed flag reaches pages",
        };
        let axis = |title: &str| Axis { title: title.to_owned(), scale: Scale::Linear };
        // Ours has the same colour in all pictures.
        let ours_first = stage.iter().filter(|one| one.who == Who::Tidegate);
        let lines = ours_first.chain(stage.iter().filter(|one| one.who != Who::Tidegate));
        Chart {
            picture: Picture::Kill,
            panel: Panel {
                title: title.to_owned(),
                x: axis("ms since the request"),
                y: axis("clients that have it"),
                lines: lines.enumerate().map(line).collect(),
            },
        }
    }
}

impl Contender {
    fn events(&self) -> impl Iterator<Item = &[f64]> {
        self.turns.iter().flat_map(|turn| turn.events_ms.iter().map(Vec::as_slice))
    }

    /// The last client of the middle event of each turn: events of one turn are alike, and count as one.
    fn last_ms(&self) -> Vec<f64> {
        self.turns.iter().map(Turn::last_ms).collect()
    }

    /// The turn whose clients took longest to connect.
    fn worst_storm(&self) -> &Turn {
        slowest(&self.turns)
    }

    fn note(&self) -> String {
        let first: Vec<f64> = self.events().filter_map(|event| event.first().copied()).collect();
        let worst = self.events().filter_map(|event| event.last().copied()).fold(0.0, f64::max);
        format!(
            "{}: the first client after {:.2} ms, the last of the worst event after {worst:.1} ms; the slowest storm took {:.2} s; events of {} bytes",
            self.label,
            median(&first),
            self.worst_storm().storm_s,
            self.event_bytes(),
        )
    }

    /// The length of its last event as it came.
    fn event_bytes(&self) -> usize {
        self.turns.last().map_or(0, |turn| turn.event_bytes)
    }
}

/// Why two servers did not send the same, if so.
fn unlike(ours: &Contender, other: &Contender) -> Option<String> {
    unlike_bytes(ours.event_bytes(), other.event_bytes())
}

/// Connects the clients, lets the server send, and lets them go.
fn take_turn(
    contender: &mut Contender,
    turn: usize,
    length: &Length,
    runner: &mut Runner,
) -> Result<(), Problem> {
    let server = contender.server.as_mut();
    let takes = TURN + EACH * u32::try_from(length.clients).unwrap_or(u32::MAX);
    runner.progress.begin(contender.label, &format!("turn {}/{}", turn + 1, length.turns), takes);
    let (process, core) = (server.process(), runner.cores.of_servers());
    let before_kib = resident_kib(process);
    let (start, load) = (Instant::now(), Load::begin(Some(process), core));
    let (mut watchers, took) = Watchers::storm(server, length.clients, &mut runner.progress)?;
    let mut told = Turn {
        storm_s: took.last().map(Duration::as_secs_f64).unwrap_or_default(),
        is_storm_disturbed: load.end(start.elapsed()).is_disturbed(),
        ..Turn::default()
    };
    let is_first = contender.kib_per_client.is_none();
    if is_first {
        watchers.idle(length.idle, &mut runner.progress)?;
    }
    let quiet_kib = resident_kib(process);
    // The first one of a turn only warms up.
    watchers.publish(server, &format!("evt-{turn}-0-"), &mut runner.progress)?;
    let (start, load) = (Instant::now(), Load::begin(Some(process), core));
    for event in 1..=length.events {
        let took = watchers.publish(server, &format!("evt-{turn}-{event}-"), &mut runner.progress)?;
        told.events_ms.push(took.iter().map(|took| took.as_secs_f64() * 1e3).collect());
    }
    let load = load.end(start.elapsed());
    told.are_events_disturbed = load.is_disturbed();
    told.cpu_us = load.cpu_ns.map(|ns| cpu_us_per_client(ns, length.clients, length.events));
    told.event_bytes = watchers.event_bytes();
    if is_first {
        let after_kib = quiet_kib.max(resident_kib(process));
        contender.kib_per_client = Some(kib_per_client(before_kib, after_kib, length.clients));
    }
    contender.turns.push(told);
    drop(watchers);
    Ok(server.settle()?)
}

/// What clients made a server grow by, for each; below zero if it shrank, which says that it tells nothing.
fn kib_per_client(before: u64, after: u64, clients: usize) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
    let taken = (after as f64 - before as f64) / clients as f64;
    taken
}

/// The event whose last client is the middle one of all.
fn middle<'e>(events: impl Iterator<Item = &'e [f64]>) -> Option<&'e [f64]> {
    let mut events: Vec<(f64, &[f64])> = events.filter_map(|event| Some((*event.last()?, event))).collect();
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    events.get(events.len() / 2).map(|(_, event)| *event)
}

/// So many points of it that the line looks the same, with the first and the last.
fn curve(event: &[f64]) -> Vec<(f64, f64)> {
    let step = event.len().div_ceil(POINTS).max(1);
    let count = |at: usize| f64::from(u32::try_from(at + 1).unwrap_or(u32::MAX));
    let every = (0..event.len()).step_by(step).chain(event.len().checked_sub(1));
    every.map(|at| (event[at], count(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_its_first_and_last_client_and_not_thousands_of_points() {
        let event: Vec<f64> = (0..10_000).map(f64::from).collect();
        let points = curve(&event);
        assert!(points.len() <= POINTS + 1, "{}", points.len());
        assert_eq!((points[0], points.last()), ((0.0, 1.0), Some(&(9_999.0, 10_000.0))));
        assert_eq!(curve(&[3.0]), [(3.0, 1.0), (3.0, 1.0)]);
        assert_eq!(curve(&[]), []);
    }

    #[test]
    fn the_event_that_is_drawn_is_the_middle_one() {
        let events = [vec![1.0, 9.0], vec![1.0, 2.0], vec![], vec![1.0, 5.0]];
        assert_eq!(middle(events.iter().map(Vec::as_slice)), Some(&[1.0, 5.0][..]));
        assert_eq!(middle(std::iter::empty()), None);
    }

    #[test]
    fn memory_that_a_server_gave_back_is_below_zero_and_not_nothing() {
        assert!((kib_per_client(1_000, 3_000, 200) - 10.0).abs() < 1e-9);
        assert!((kib_per_client(3_000, 1_000, 200) + 10.0).abs() < 1e-9);
    }
}
