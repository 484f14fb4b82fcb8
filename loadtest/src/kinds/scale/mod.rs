//! The same check on servers with few flags, many, and as many as there may be, of one app and of many apps; and what
//! memory they take.

mod fill;

use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use self::fill::fill_if_asked;
use self::fill::{fill, key};
use crate::checks::{Contender, Origin, make_each, origin_of, put_at_share, tag_of};
use crate::client::Client;
use crate::cores::Cores;
use crate::driver::app_key;
use crate::figures::median;
use crate::kinds::Kind;
use crate::kinds::checks::{Request, connections, doubt, standing};
use crate::problem::Problem;
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Findings};
use crate::rounds::{self, Plan};
use crate::run::Runner;
use crate::scenario::{Measure, Reading, Scenario, Who};
use crate::sender::ask;
use crate::server::{MEASURED, Server};

/// Most flags of an app, as the server has it.
const MAX_FLAGS: u64 = 100_000;
/// Most apps, as the server has it.
const MAX_APPS: u64 = 10_000;
/// Most flags of each of many apps.
const MAX_FLAGS_OF_AN_APP: u64 = 10;
/// Most starts of each server.
const MAX_STARTS: u64 = 64;
/// Of many apps, most that are asked, each by its own token.
const ASKED_APPS: u64 = 500;
/// How often all flags are asked for.
const ASKED: usize = 21;
const ENVIRONMENT: &str = "production";

/// The section.
#[derive(Debug)]
struct Scale {
    connections: usize,
    full: Length,
    short: Length,
}

#[derive(Clone, Copy, Debug, Default)]
struct Length {
    plan: Plan,
    few_flags: u64,
    many_flags: u64,
    most_flags: u64,
    many_apps: u64,
    most_apps: u64,
    flags_of_an_app: u64,
    /// Of each server, to look at its memory.
    starts: u64,
}

/// A server, and how much it has.
struct Sized {
    who: Who,
    label: String,
    apps: u64,
    flags: u64,
    /// Runs as long as it is measured.
    server: Server,
    origin: Origin,
    /// Once it is up and has answered, start by start.
    rss_kib: Vec<f64>,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let length = |table: &mut Reading<'_>| Length {
        plan: Plan::read(table),
        few_flags: table.number("few_flags", 1..=MAX_FLAGS),
        many_flags: table.number("many_flags", 1..=MAX_FLAGS),
        most_flags: table.number("most_flags", 1..=MAX_FLAGS),
        many_apps: table.number("many_apps", 1..=MAX_APPS),
        most_apps: table.number("most_apps", 1..=MAX_APPS),
        flags_of_an_app: table.number("flags_of_an_app", 1..=MAX_FLAGS_OF_AN_APP),
        starts: table.number("starts", 1..=MAX_STARTS),
    };
    let scale = Scale {
        connections: connections(table),
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    };
    for (form, length) in [("full", &scale.full), ("short", &scale.short)] {
        if length.few_flags >= length.many_flags || length.many_flags >= length.most_flags {
            table.note(
                &format!("{form}.few_flags"),
                "has to be less than `many_flags`, and that than `most_flags`",
            );
        }
        if length.many_apps >= length.most_apps {
            table.note(&format!("{form}.many_apps"), "has to be less than `most_apps`");
        }
    }
    Box::new(scale)
}

impl Kind for Scale {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_larger = [Who::ManyFlags, Who::MostFlags, Who::ManyApps, Who::MostApps].contains(&who);
        match measure {
            Measure::ChecksPerCpuSecond | Measure::Throughput | Measure::RssKib => {
                is_larger && of.is_none_or(|of| of == Who::FewFlags)
            }
            Measure::BytesPerFlag => match who {
                Who::MostFlags => of.is_none_or(|of| of == Who::ManyFlags),
                _ => who == Who::ManyFlags && of.is_none(),
            },
            Measure::BytesPerApp => match who {
                Who::MostApps => of.is_none_or(|of| of == Who::ManyApps),
                _ => who == Who::ManyApps && of.is_none(),
            },
            Measure::BulkMs | Measure::UnchangedMs => who == Who::ManyFlags && of.is_none(),
            _ => false,
        }
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        self.length(is_short).plan.takes(5)
    }

    fn words(&self, is_short: bool) -> String {
        let Length { plan, few_flags, many_flags, most_flags, many_apps, most_apps, .. } =
            self.length(is_short);
        let Plan { rounds, saturate, .. } = plan;
        let seconds = saturate.as_secs_f64();
        format!(
            "{few_flags}, {many_flags} and {most_flags} flags, {many_apps} and {most_apps} apps, {rounds} rounds of {seconds:.1} s"
        )
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        let length = self.length(runner.is_short);
        let flags = |flags: u64| (1, flags, format!("{flags} flags"));
        let apps = |apps: u64| {
            let each = length.flags_of_an_app;
            (apps, each, format!("{apps} apps of {each} flags"))
        };
        let sizes = [
            (Who::FewFlags, flags(length.few_flags)),
            (Who::ManyFlags, flags(length.many_flags)),
            (Who::MostFlags, flags(length.most_flags)),
            (Who::ManyApps, apps(length.many_apps)),
            (Who::MostApps, apps(length.most_apps)),
        ];
        let mut servers = Vec::new();
        for (who, (apps, flags, label)) in sizes {
            runner.progress.say(&format!("filling a server: {label}"));
            let mut server = Sized::start(who, label, apps, flags, &runner.cores)?;
            for start in 1..length.starts {
                let Sized { label, .. } = &server;
                runner.progress.say(&format!("starting again: {label}, {}/{}", start + 1, length.starts));
                server.start_again(&runner.cores)?;
            }
            servers.push(server);
        }
        let mut findings = Findings::default();
        memory(&servers, &mut findings);
        runner.progress.say("making tokens of apps");
        let contender = |one: &Sized| {
            let label = one.label.clone();
            let contender = Contender::origin(one.who, label, &one.origin, Request::Single, self.connections);
            let askers = one.askers()?;
            Ok(if askers.len() > 1 { contender.in_turn(&askers) } else { contender })
        };
        let contenders: Result<Vec<Contender>, Problem> = servers.iter().map(contender).collect();
        let mut contenders = contenders?;
        rounds::run(&mut contenders, length.plan, runner, &mut findings)?;
        findings.standings = contenders.iter().map(|one| standing(one, &findings)).collect();
        for measure in [Measure::ChecksPerCpuSecond, Measure::Throughput] {
            let figures = checks(measure, &findings);
            findings.figures.extend(figures);
        }
        for one in servers.iter().filter(|one| one.who == Who::ManyFlags) {
            all_flags(one, runner.is_short, &mut findings)?;
        }
        Ok(findings)
    }
}

impl Scale {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }
}

impl Sized {
    /// Fills a directory and starts a server on it, whose first app is asked.
    fn start(who: Who, label: String, apps: u64, flags: u64, cores: &Cores) -> Result<Sized, Problem> {
        let directory = tempfile::tempdir().map_err(Problem::Start)?;
        fill(&directory.path().join("data"), apps, flags)?;
        let server = start_on(directory, cores)?;
        let mut admin = Client::connect(server.address(), server.admin_token())?;
        let origin = asker(&server, &mut admin, 0)?;
        let mut sized = Sized { who, label, apps, flags, server, origin, rss_kib: Vec::new() };
        sized.look()?;
        Ok(sized)
    }

    /// Who asks, app by app: of many apps some that lie evenly among all. Made once its memory was looked at, which then
    /// holds no more than that of the apps.
    fn askers(&self) -> Result<Vec<Origin>, Problem> {
        let asked = self.apps.min(ASKED_APPS);
        let more = make_each(&self.server, asked - 1, |admin, place| {
            asker(&self.server, admin, (place + 1) * self.apps / asked)
        })?;
        Ok([vec![self.origin.clone()], more].concat())
    }

    /// Starts it again on what it has.
    fn start_again(&mut self, cores: &Cores) -> Result<(), Problem> {
        cores.start(|| self.server.restart())?;
        self.origin.process = Some(self.server.process());
        self.look()
    }

    /// Looks at its memory, once it has answered.
    fn look(&mut self) -> Result<(), Problem> {
        let answer = ask(self.origin.at.address, &self.origin.single(&self.origin.flag))?;
        if answer.status != 200 {
            return Err(Problem::Refused { what: "one flag", status: answer.status });
        }
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        self.rss_kib.push(self.server.resident_kib() as f64);
        Ok(())
    }
}

/// Somebody who asks for the first flag of an app, which is on for 30 % from now on.
fn asker(server: &Server, admin: &mut Client, app: u64) -> Result<Origin, Problem> {
    let (app, flag) = (app_key(usize::try_from(app).expect("ten thousand")), key(0));
    let tag = tag_of(admin, app.as_str(), flag.as_str())?;
    let state = format!("/v1/apps/{app}/flags/{flag}/environments/{ENVIRONMENT}");
    put_at_share(admin, &state, &tag)?;
    origin_of(server, admin, app.as_str(), ENVIRONMENT, flag.as_str())
}

fn start_on(directory: TempDir, cores: &Cores) -> Result<Server, Problem> {
    let server = cores.start(|| Server::start_in(directory, &MEASURED));
    if server.address().is_empty() { Err(Problem::ended_early()) } else { Ok(server) }
}

/// Every server beside the one with few flags.
fn checks(measure: Measure, findings: &Findings) -> Vec<Figure> {
    let Some(few) = findings.standings.iter().find(|standing| standing.who == Who::FewFlags) else {
        return Vec::new();
    };
    let figure = |standing: &crate::report::Standing| {
        let figure =
            Figure::new(measure, standing.who, standing.label.clone(), standing.of_measure(measure)?);
        let ratio = findings.ratio(standing.who, Who::FewFlags, measure);
        // Without a pair there is nothing beside it.
        let (Some(_), Some(value)) = (ratio, few.of_measure(measure)) else { return Some(figure) };
        let doubt = doubt(findings, standing.who, Who::FewFlags);
        let beside = Beside { of: Who::FewFlags, label: few.label.clone(), value, ratio, doubt };
        Some(if standing.who == Who::FewFlags { figure } else { figure.beside(beside) })
    };
    findings.standings.iter().filter_map(figure).collect()
}

/// What more flags, and more apps, take more.
fn memory(servers: &[Sized], findings: &mut Findings) {
    let of = |who: Who| servers.iter().find(|one| one.who == who);
    for one in servers {
        let label = one.label.clone();
        findings.figures.push(Figure::new(Measure::RssKib, one.who, label, median(&one.rss_kib)));
    }
    let [Some(few), Some(many), Some(most), Some(many_apps), Some(most_apps)] =
        [Who::FewFlags, Who::ManyFlags, Who::MostFlags, Who::ManyApps, Who::MostApps].map(of)
    else {
        return;
    };
    let flags = [(many, few, many.flags - few.flags), (most, many, most.flags - many.flags)];
    let apps = [(many_apps, few, many_apps.apps), (most_apps, many_apps, most_apps.apps - many_apps.apps)];
    for (measure, steps) in [(Measure::BytesPerFlag, flags), (Measure::BytesPerApp, apps)] {
        let [first, rest] = steps.map(|(more, less, count)| each_bytes(&more.rss_kib, &less.rss_kib, count));
        let [(less, ..), (more, ..)] = steps;
        findings.figures.push(Figure::new(measure, less.who, less.label.clone(), median(&first)));
        let figure = Figure::new(measure, more.who, more.label.clone(), median(&rest));
        let label = format!("up to {}", less.label);
        findings.figures.push(figure.beside(in_proportion(less.who, label, &first, &rest)));
    }
}

/// What each of so many more takes, in bytes, start by start.
fn each_bytes(more_kib: &[f64], less_kib: &[f64], count: u64) -> Vec<f64> {
    #[allow(clippy::cast_precision_loss, reason = "a hundred thousand")]
    let each = |(more, less): (&f64, &f64)| (more - less) * 1024.0 / count as f64;
    more_kib.iter().zip(less_kib).map(each).collect()
}

/// What each takes of the first ones, that the rest are beside.
fn in_proportion(of: Who, label: String, first: &[f64], rest: &[f64]) -> Beside {
    let pairs: Vec<f64> = rest.iter().zip(first).map(|(rest, first)| rest / first).collect();
    // Two that take less than nothing would be in proportion, too.
    let is_less = first.iter().any(|bytes| *bytes <= 0.0);
    let doubt = is_less.then(|| format!("{label}, more took no more memory at some starts"));
    Beside { of, label, value: median(first), ratio: Ratio::of(&pairs), doubt }
}

/// How long all flags take, one answer after another.
fn all_flags(one: &Sized, is_short: bool, findings: &mut Findings) -> Result<(), Problem> {
    let tag = one.origin.tag()?.ok_or(Problem::NoTag)?;
    let asked = if is_short { ASKED.div_ceil(5) } else { ASKED };
    for (measure, request, expected) in [
        (Measure::BulkMs, one.origin.bulk(None), 200),
        (Measure::UnchangedMs, one.origin.bulk(Some(&tag)), 304),
    ] {
        let mut took_ms = Vec::new();
        for _ in 0..asked {
            let start = Instant::now();
            let answer = ask(one.origin.at.address, &request)?;
            took_ms.push(start.elapsed().as_secs_f64() * 1e3);
            if answer.status != expected {
                return Err(Problem::Refused { what: "all flags", status: answer.status });
            }
        }
        let label = format!("{}, over a new connection", one.label);
        findings.figures.push(Figure::new(measure, one.who, label, median(&took_ms)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Verdict;
    use crate::scenario::Bar;

    #[test]
    fn memory_is_in_proportion_start_by_start_and_more_takes_more() {
        let of = |kib: [f64; 6], less: [f64; 6], count| each_bytes(&kib, &less, count);
        let (few, many) = ([1_000.0; 6], [3_000.0; 6]);
        let first = of(many, few, 10);
        assert!((median(&first) - 204_800.0).abs() < 1e-6);
        let judged = |most: [f64; 6]| {
            let rest = of(most, many, 100);
            let ratio = in_proportion(Who::ManyFlags, "up to 10".to_owned(), &first, &rest).ratio;
            [Bar::AtLeast(0.9), Bar::AtMost(1.1)].map(|bar| ratio.expect("six pairs").judged(bar))
        };
        assert_eq!(judged([23_000.0; 6]), [Verdict::Met, Verdict::Met]);
        assert_eq!(judged([26_000.0; 6]), [Verdict::Met, Verdict::Missed]);
        assert_eq!(judged([9_000.0; 6]), [Verdict::Missed, Verdict::Met], "what is not loaded is not held");
        let mut one_off = [23_000.0; 6];
        one_off[3] = 40_000.0;
        assert!(matches!(judged(one_off)[1], Verdict::Unsure(_)));
        let shrunk = of(few, many, 10);
        let beside = in_proportion(Who::ManyFlags, "up to 10".to_owned(), &shrunk, &shrunk);
        assert!(beside.doubt.is_some() && beside.ratio.is_some_and(|ratio| ratio.middle > 0.9));
    }
}
