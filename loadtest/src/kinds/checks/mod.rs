//! Checks over OFREP: first everybody saturated in turn, then latency at rates that all get alike.

mod settings;

pub(crate) use settings::{BASELINES, Checks, Request, connections, read};

use crate::checks::{Contender, Origin, Shop, prove};
use crate::figures::median;
use crate::floor::Floor;
use crate::peers::{Asked, Peer, Running};
use crate::problem::Problem;
use crate::report::{Beside, Figure, Findings, MOST_DISTURBED, Point, Standing, per_second};
use crate::rounds::{self, LEAD_IN, MOST_SENDER_BUSY};
use crate::run::Runner;
use crate::scenario::{Measure, Who};
use crate::sender::{Pace, Sender, ask};

/// Spells in which others had too much of the server's core, at most, for a verdict: they cost the one that does less
/// for each answer more than the other.
const MOST_SPELLS_DISTURBED: f64 = 0.5;

/// What is measured, running.
struct Stage {
    contenders: Vec<Contender>,
    /// Kept as long as they are measured.
    _servers: (Option<Shop>, Floor, Vec<Running>),
}

/// The measures of spells.
const MEASURES: [Measure; 2] = [Measure::ChecksPerCpuSecond, Measure::Throughput];

fn run(checks: &Checks, runner: &mut Runner) -> Result<Findings, Problem> {
    let mut findings = Findings::default();
    let mut stage = set_up(checks, runner, &mut findings)?;
    let plan = checks.length(runner.is_short).plan;
    rounds::run(&mut stage.contenders, plan, runner, &mut findings)?;
    findings.standings = stage.contenders.iter().map(|one| standing(one, &findings)).collect();
    latency(checks, runner, &mut stage, &mut findings)?;
    findings.figures = figures(&findings);
    note(&mut findings);
    if runner.target.is_some() {
        findings.notes.push(format!(
            "the floor has one worker on core {0}; a target that has more is not like it: start it with one worker, on that core (taskset -c {0})",
            runner.cores.of_servers()
        ));
    }
    Ok(findings)
}

fn set_up(checks: &Checks, runner: &mut Runner, findings: &mut Findings) -> Result<Stage, Problem> {
    let beside = checks.beside(runner.against.as_deref());
    for who in checks.beside.iter().filter(|who| !beside.contains(who)) {
        findings.missing.push((*who, format!("--against leaves {} out", who.name())));
    }
    let many_flags =
        checks.length(runner.is_short).many_flags.filter(|_| beside.contains(&Who::TidegateMany));
    let (shop, origin, mall) = match &runner.target {
        Some(target) => {
            let why = "a target has no app with many flags that is known".to_owned();
            findings.missing.push((Who::TidegateMany, why));
            (None, target.clone(), None)
        }
        None => {
            runner.progress.say("starting");
            let mut shop = Shop::start(&runner.cores, checks.flags, many_flags)?;
            prove(&shop, checks.request)?;
            let mall = shop.mall.take();
            let origin = shop.shop.clone();
            (Some(shop), origin, mall)
        }
    };
    let length = length_of_answer(&origin, checks.request)?;
    let floor = runner.cores.start(|| Floor::start(length))?;
    let ofrep = |who, label: String, origin: &Origin| {
        let contender = Contender::origin(who, label, origin, checks.request, checks.connections);
        if checks.request == Request::Unchanged { contender.unchanged(origin) } else { contender }
    };
    let name = if runner.target.is_some() { "target" } else { "tidegate" };
    let mut contenders = vec![ofrep(Who::Tidegate, name.to_owned(), &origin)];
    let mut peers = Vec::new();
    for who in beside {
        if let Some(peer) = who.peer() {
            peers.extend(add_peer(who, peer, checks, runner, findings, &mut contenders));
            continue;
        }
        contenders.push(match (who, &mall) {
            (Who::Tidegate, _) => continue,
            (Who::TidegateMany, Some(mall)) => {
                ofrep(who, format!("{name}, {} flags", many_flags.unwrap_or_default()), mall)
            }
            (Who::TidegateMany, None) => continue,
            _ => Contender::floor(who, &floor, &origin, checks.request, checks.connections)?,
        });
    }
    Ok(Stage { contenders, _servers: (shop, floor, peers) })
}

/// Starts a peer and has it measured too, if it offers what is asked. What it cannot do is no end to the others.
fn add_peer(
    who: Who,
    peer: Peer,
    checks: &Checks,
    runner: &mut Runner,
    findings: &mut Findings,
    contenders: &mut Vec<Contender>,
) -> Option<Running> {
    runner.progress.say("starting a peer");
    let started = peer.start(&runner.cores, checks.flags);
    let asked = started.and_then(|running| Ok((running.asked(checks.request)?, running)));
    match asked {
        Ok((Asked::For(question), running)) => {
            findings.notes.push(peer.says(checks.request));
            contenders.push(Contender::peer(who, &running, question, checks.connections));
            Some(running)
        }
        Ok((Asked::NotOffered(why), _)) => {
            findings.notes.push(why.to_owned());
            None
        }
        Err(error) => {
            findings.errors.push(error.to_string());
            None
        }
    }
}

/// How long the answer is that a floor's has to be as long as.
fn length_of_answer(origin: &Origin, request: Request) -> Result<usize, Problem> {
    let (what, bytes) = match request {
        Request::Single => ("one flag", origin.single(&origin.flag)),
        Request::Bulk | Request::Unchanged => ("all flags", origin.bulk(None)),
    };
    let answer = ask(origin.at.address, &bytes)?;
    match answer.status {
        200 if request == Request::Unchanged && answer.header("etag").is_none() => Err(Problem::NoTag),
        200 => Ok(answer.body.len()),
        status => Err(Problem::Refused { what, status }),
    }
}

/// The middle of what was measured of somebody.
pub(crate) fn standing(contender: &Contender, findings: &Findings) -> Standing {
    let spells = || findings.of(contender.who);
    let cpu_us: Vec<f64> = spells().filter_map(|spell| spell.cpu_us).collect();
    Standing {
        who: contender.who,
        label: contender.label.clone(),
        rate: median(&spells().map(|spell| spell.rate).collect::<Vec<f64>>()),
        cpu_us: (!cpu_us.is_empty()).then(|| median(&cpu_us)),
        rss_kib: spells().filter_map(|spell| spell.rss_kib).max(),
    }
}

/// Ours and the floor at the same rates: shares of what the floor can do.
fn latency(
    checks: &Checks,
    runner: &mut Runner,
    stage: &mut Stage,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let length = checks.length(runner.is_short).clone();
    let floor = findings.standings.iter().find(|standing| standing.who == Who::Floor);
    let Some(most) = floor.map(|floor| floor.rate) else {
        findings.notes.push("no latency: `--against` leaves floor out, of which rates are shares".to_owned());
        return Ok(());
    };
    for (turn, share) in length.at.iter().enumerate() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousand")]
        let due = (most * share).max(1.0) as u32;
        let mut order = [Who::Tidegate, Who::Floor];
        if turn % 2 == 1 {
            order.reverse();
        }
        for who in order {
            let Some(contender) = stage.contenders.iter_mut().find(|one| one.who == who) else { continue };
            let what = format!("{due}/s");
            runner.progress.begin(&contender.label, &what, length.at_length + LEAD_IN);
            let pace = Pace::Rate { per_second: due, arrivals: checks.arrivals, seed: runner.seed };
            let mut sender = Sender::connect(vec![contender.lane()?])?;
            let own = findings.standings.iter().find(|standing| standing.who == who);
            // What is offered beyond what it can answer piles up; that is shown, and no error.
            let is_too_much = own.is_some_and(|own| f64::from(due) > own.rate);
            let label = format!("{} at {due}/s", contender.label);
            let lead_in = sender.run(&[pace], LEAD_IN, &mut runner.progress)?;
            let sent = sender.run(&[pace], length.at_length, &mut runner.progress)?;
            for tally in lead_in.tallies.iter().chain(&sent.tallies) {
                findings.take_faults_of(&label, tally, is_too_much);
            }
            let tally = sent.tallies.into_iter().next().expect("one lane");
            let [offered, answered] =
                [tally.offered, tally.answered_in_time].map(|count| per_second(count, sent.length));
            findings.points.push(Point { who, share: *share, due, offered, answered, tally });
        }
    }
    Ok(())
}

/// Ours beside every baseline, and what has many flags beside what has few.
fn figures(findings: &Findings) -> Vec<Figure> {
    let is_ours = |who: Who| matches!(who, Who::Tidegate | Who::TidegateMany);
    let mut figures = Vec::new();
    for standing in findings.standings.iter().filter(|standing| is_ours(standing.who)) {
        for measure in MEASURES {
            let Some(value) = standing.of_measure(measure) else { continue };
            let mut figure = Figure::new(measure, standing.who, standing.label.clone(), value);
            for other in findings.standings.iter().filter(|other| other.who != standing.who) {
                // Few flags beside many is the same, the other way round.
                if other.who == Who::TidegateMany {
                    continue;
                }
                let ratio = findings.ratio(standing.who, other.who, measure);
                if let (Some(value), Some(ratio)) = (other.of_measure(measure), ratio) {
                    let doubt = doubt(findings, standing.who, other.who);
                    let (of, label, ratio) = (other.who, other.label.clone(), Some(ratio));
                    figure = figure.beside(Beside { of, label, value, ratio, doubt });
                }
            }
            figures.push(figure);
        }
    }
    figures
}

/// Why a ratio of the two says nothing for sure, if so.
pub(crate) fn doubt(findings: &Findings, who: Who, of: Who) -> Option<String> {
    let is_limit = [who, of].iter().any(|who| {
        let busy: Vec<f64> = findings.of(*who).map(|spell| spell.sender_busy).collect();
        median(&busy) > MOST_SENDER_BUSY
    });
    let disturbed = findings.disturbed(who, of);
    if is_limit {
        Some("the sender is the limit, not the server, which may have had time left".to_owned())
    } else if disturbed > MOST_SPELLS_DISTURBED {
        let share = 100.0 * disturbed;
        Some(format!(
            "others had too much of the server's core in {share:.0} % of the spells: run it on a quieter machine"
        ))
    } else {
        None
    }
}

fn note(findings: &mut Findings) {
    let (all, repeated) =
        (findings.spells.len(), findings.spells.iter().filter(|spell| spell.is_repeated).count());
    let notes = &mut findings.notes;
    if repeated > 0 {
        notes.push(format!(
            "{repeated} of {all} spells were repeated, as others had too much of the server's core; the second try counts"
        ));
    }
    let disturbed = findings.spells.iter().filter(|spell| spell.is_disturbed).count();
    if disturbed > 0 {
        notes.push(format!(
            "in {disturbed} of the {all} spells that count, others had too much of the server's core"
        ));
    }
    if findings.reopened > 0 {
        let reopened = findings.reopened;
        notes.push(format!("servers closed {reopened} connections, which were opened anew: that takes time"));
    }
    let busy: Vec<f64> = findings.spells.iter().map(|spell| spell.sender_busy).collect();
    if median(&busy) > MOST_SENDER_BUSY {
        notes.push(
            "the sender had no time left: rates are what it can send, not what servers can answer".to_owned(),
        );
    }
    let (all, disturbed) =
        (findings.points.len(), findings.points.iter().filter(|point| point.is_disturbed()).count());
    if disturbed > 0 {
        notes.push(format!(
            "at {disturbed} of {all} rates the sender stood still during more than {:.1} % of the requests: latency there has that in it, and says little",
            100.0 * MOST_DISTURBED
        ));
    }
}
