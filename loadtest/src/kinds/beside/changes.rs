//! Checks at half of what the server can answer, alone and while flags of the same environment are changed.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;

use super::turns::{Company, Turns, figures, stood_still, taken};
use crate::checks::{APP, Contender, Shop, key, state_of, tag_of};
use crate::client::request;
use crate::kinds::Kind;
use crate::kinds::checks::{Request, connections};
use crate::problem::Problem;
use crate::report::{Findings, per_second};
use crate::rounds::LEAD_IN;
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};
use crate::sender::{Arrivals, Lane, Last, Pace, Sender};
use crate::server::{MEASURED, Server};

/// Most flags of the app.
const MAX_FLAGS: u64 = 10_000;
/// Most changes a second.
const MAX_CHANGES: u64 = 10_000;
/// Most rounds.
const MAX_ROUNDS: u64 = 64;
/// Connections over which changes come.
const WRITERS: usize = 8;
/// Where files lie in memory, if the system has it so.
const MEMORY: &str = "/dev/shm";
/// The share of what the server answers when saturated at which checks come.
const SHARE: f64 = 0.5;

/// The section.
#[derive(Debug)]
struct Changes {
    flags: u64,
    connections: usize,
    /// Changes a second.
    rate: u32,
    /// Flags that are changed; none of them is the one that is checked.
    changed: u64,
    full: Length,
    short: Length,
}

#[derive(Clone, Copy, Debug, Default)]
struct Length {
    turns: Turns,
    /// How long it is looked at what the server answers when saturated.
    saturate: Duration,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let length = |table: &mut Reading<'_>| Length {
        turns: Turns {
            rounds: table.number("rounds", 1..=MAX_ROUNDS),
            turn: table.millis("turn_ms", SPELL_MS),
        },
        saturate: table.millis("saturate_ms", SPELL_MS),
    };
    let changes = Changes {
        flags: table.number("flags", 2..=MAX_FLAGS),
        connections: connections(table),
        rate: u32::try_from(table.number("changes_per_second", 1..=MAX_CHANGES)).expect("ten thousand"),
        changed: table.number("changed_flags", WRITERS as u64..=MAX_FLAGS),
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    };
    if changes.changed >= changes.flags {
        table.note("changed_flags", "has to be less than `flags`: the flag that is checked is not changed");
    }
    Box::new(changes)
}

impl Kind for Changes {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let alone = match who {
            Who::WithChanges => Some(Who::Alone),
            Who::WithChangesInMemory => Some(Who::AloneInMemory),
            _ => return false,
        };
        let is_measured = matches!(
            measure,
            Measure::P99Ms | Measure::P99OfAllMs | Measure::CpuUsPerCheck | Measure::RssKib
        );
        is_measured && (of.is_none() || of == alone)
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        let length = self.length(is_short);
        // On disk alone and with changes, and the same in memory; one spell each to see what the servers can do.
        length.turns.takes(4) + 2 * (length.saturate + LEAD_IN)
    }

    fn words(&self, is_short: bool) -> String {
        let Turns { rounds, turn } = self.length(is_short).turns;
        let (rate, seconds) = (self.rate, turn.as_secs_f64());
        format!("{} flags, {rate} changes a second, {rounds} rounds of {seconds:.1} s", self.flags)
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        let mut findings = Findings::default();
        let length = self.length(runner.is_short);
        runner.progress.say("starting");
        let on_disk = Shop::start(&runner.cores, self.flags, None)?;
        self.measure(&on_disk, [Who::Alone, Who::WithChanges], length, runner, &mut findings)?;
        drop(on_disk);
        if let Some(in_memory) = self.in_memory(runner)? {
            let whos = [Who::AloneInMemory, Who::WithChangesInMemory];
            self.measure(&in_memory, whos, length, runner, &mut findings)?;
        } else {
            let why = format!("there is no {MEMORY} to write to");
            findings.missing.push((Who::WithChangesInMemory, why));
        }
        Ok(findings)
    }
}

impl Changes {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }

    /// The same server, whose writes wait for no disk.
    fn in_memory(&self, runner: &mut Runner) -> Result<Option<Shop>, Problem> {
        let Ok(directory) = tempfile::tempdir_in(MEMORY) else { return Ok(None) };
        let server = runner.cores.start(|| Server::start_in(directory, &MEASURED));
        Shop::on(server, self.flags, None).map(Some)
    }

    fn measure(
        &self,
        shop: &Shop,
        [alone, with]: [Who; 2],
        length: Length,
        runner: &mut Runner,
        findings: &mut Findings,
    ) -> Result<(), Problem> {
        let contender = |who, label: &str| {
            Contender::origin(who, label.to_owned(), &shop.shop, Request::Single, self.connections)
        };
        let place = if with == Who::WithChangesInMemory { ", in memory" } else { "" };
        let (label, label_with) =
            (format!("checks alone{place}"), format!("with {} changes a second{place}", self.rate));
        let most = saturated(contender(alone, &label), length.saturate, runner, findings)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousand")]
        let per_second = (most * SHARE).max(1.0) as u32;
        let pace = |per_second| Pace::Rate { per_second, arrivals: Arrivals::Even, seed: runner.seed };
        let (checks, changes) = (pace(per_second), pace(self.rate));
        let mut companies = [
            Company {
                who: alone,
                checks: contender(alone, &label),
                label,
                lanes: Box::new(|| Ok(Vec::new())),
            },
            Company {
                who: with,
                checks: contender(with, &label_with),
                label: label_with,
                lanes: Box::new(|| Ok(vec![(self.lane(shop)?, changes)])),
            },
        ];
        let turns = length.turns.run(&mut companies, |_| checks, runner, findings)?;
        let p99 =
            figures(Measure::P99Ms, &companies, &turns, |turn, pair| Some(turn.p99_ms(pair)), stood_still);
        let all =
            figures(Measure::P99OfAllMs, &companies, &turns, |turn, _| Some(turn.p99_of_all_ms()), |_| None);
        findings.figures.extend(p99.into_iter().chain(all).chain(taken(&companies, &turns)));
        findings
            .notes
            .push(format!("checks{place} came at {per_second} a second, half of what was answered at most"));
        Ok(())
    }

    /// Changes of some flags in turns: each connection has flags of its own, and each change waits for the one before it
    /// on the same flag.
    fn lane(&self, shop: &Shop) -> Result<Lane, Problem> {
        let mut admin = shop.admin()?;
        let held = |place| Ok((place, Held { tag: tag_of(&mut admin, APP, &key(place))?, exposure: 30 }));
        let mut flags: HashMap<u64, Held> = (1..=self.changed).map(held).collect::<Result<_, Problem>>()?;
        let changed = self.changed;
        let (host, token) = (shop.address().to_owned(), shop.admin_token().to_owned());
        // By connection: the flag that was changed last.
        let mut last_of = [0_u64; WRITERS];
        let write = move |bytes: &mut Vec<u8>, last: Last<'_>| {
            let before = last_of[last.connection];
            let tag = last.answer.and_then(|answer| answer.header("etag"));
            if let (Some(tag), Some(held)) = (tag, flags.get_mut(&before)) {
                tag.clone_into(&mut held.tag);
            }
            let step = WRITERS as u64;
            let own = last.connection as u64 + 1;
            let next = if before == 0 || before + step > changed { own } else { before + step };
            last_of[last.connection] = next;
            let Some(held) = flags.get_mut(&next) else { return };
            // What says nothing new would be no change.
            held.exposure = if held.exposure == 30 { 31 } else { 30 };
            let patch = json!({"on": true, "exposure": held.exposure, "serve": {"variant": "on"}});
            let headers = [("if-match", held.tag.as_str())];
            bytes.extend(request("PATCH", &state_of(APP, &key(next)), &host, &token, &headers, &patch));
        };
        Ok(Lane::of_written(shop.shop.at.address, Box::new(write), 200, WRITERS))
    }
}

/// A flag that is changed, as it is now.
struct Held {
    tag: String,
    exposure: u8,
}

/// What a server answers a second, when it gets as many checks as it can answer.
fn saturated(
    mut contender: Contender,
    length: Duration,
    runner: &mut Runner,
    findings: &mut Findings,
) -> Result<f64, Problem> {
    runner.progress.begin(&contender.label, "saturated", length + LEAD_IN);
    let mut sender = Sender::connect(vec![contender.lane()?])?;
    let lead_in = sender.run(&[Pace::Saturate], LEAD_IN, &mut runner.progress)?;
    findings.take_faults(&contender.label, &lead_in);
    let sent = sender.run(&[Pace::Saturate], length, &mut runner.progress)?;
    findings.take_faults(&contender.label, &sent);
    Ok(per_second(sent.tallies.first().map_or(0, |tally| tally.answered_in_time), length))
}
