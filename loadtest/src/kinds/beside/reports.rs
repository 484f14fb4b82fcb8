//! As many checks as are answered, alone and while summaries of requests come in and the gate decides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::outcomes::{BATCH, Outcomes};
use super::turns::{Company, Turns, figures, had_no_core, others, taken};
use crate::checks::{APP, Contender, Shop};
use crate::client::ClientError;
use crate::evidence::{self, Piece};
use crate::gate;
use crate::kinds::Kind;
use crate::kinds::checks::{Request, connections};
use crate::problem::Problem;
use crate::report::Findings;
use crate::rounds::LEAD_IN;
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};
use crate::sender::{Arrivals, Lane, Last, Pace};

/// Most flags of the app.
const MAX_FLAGS: u64 = 10_000;
/// Most summaries, and most decisions, a second.
const MAX_A_SECOND: u64 = 100_000;
/// Most rounds.
const MAX_ROUNDS: u64 = 64;
/// Connections over which summaries come, and decisions are asked for.
const TELLERS: usize = 4;
/// Alone, with both, and with each.
const COMPANIES: u32 = 4;

/// The section.
#[derive(Debug)]
struct Reports {
    flags: u64,
    connections: usize,
    summaries: u64,
    decisions: u32,
    full: Turns,
    short: Turns,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let turns = |table: &mut Reading<'_>| Turns {
        rounds: table.number("rounds", 1..=MAX_ROUNDS),
        turn: table.millis("turn_ms", SPELL_MS),
    };
    let reports = Reports {
        flags: table.number("flags", 1..=MAX_FLAGS),
        connections: connections(table),
        summaries: table.number("summaries_per_second", BATCH..=MAX_A_SECOND),
        decisions: u32::try_from(table.number("decisions_per_second", 1..=MAX_A_SECOND))
            .expect("a hundred thousand"),
        full: table.table("full", turns).unwrap_or_default(),
        short: table.table("short", turns).unwrap_or_default(),
    };
    if !reports.summaries.is_multiple_of(BATCH) {
        table.note(
            "summaries_per_second",
            &format!("has to be a multiple of {BATCH}: so many are in a batch"),
        );
    }
    Box::new(reports)
}

impl Kind for Reports {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_beside = matches!(who, Who::WithReports | Who::WithSummaries | Who::WithDecisions);
        let is_measured = matches!(measure, Measure::Throughput | Measure::CpuUsPerCheck | Measure::RssKib);
        is_measured && is_beside && of.is_none_or(|of| of == Who::Alone)
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        self.turns(is_short).takes(COMPANIES)
    }

    fn words(&self, is_short: bool) -> String {
        let Turns { rounds, turn } = self.turns(is_short);
        let (summaries, decisions, seconds) = (self.summaries, self.decisions, turn.as_secs_f64());
        format!("{summaries} summaries and {decisions} decisions a second, {rounds} rounds of {seconds:.1} s")
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        let mut findings = Findings::default();
        if !evidence::is_there() {
            let why = "the evidence for the gate is not where it was when this program was built".to_owned();
            findings.missing.extend([Who::WithReports, Who::WithDecisions].map(|who| (who, why.clone())));
            return Ok(findings);
        }
        runner.progress.say("starting");
        let shop = Shop::start(&runner.cores, self.flags, None)?;
        let load = self.load(&shop)?;
        let turns = self.turns(runner.is_short);
        let (load_of, turn) = (&load, turns.turn);
        let company = |who, label: String, beside: [bool; 2]| Company {
            who,
            checks: Contender::origin(who, label.clone(), &shop.shop, Request::Single, self.connections),
            label,
            lanes: Box::new(move || Ok(load_of.lanes(self, beside, turn))),
        };
        let [summaries, decisions] = [
            format!("{} summaries a second", self.summaries),
            format!("{} decisions a second", self.decisions),
        ];
        let mut companies = [
            company(Who::Alone, "checks alone".to_owned(), [false, false]),
            company(Who::WithReports, "with both".to_owned(), [true, true]),
            company(Who::WithSummaries, format!("with {summaries}"), [true, false]),
            company(Who::WithDecisions, format!("with {decisions}"), [false, true]),
        ];
        let done = turns.run(&mut companies, |_| Pace::Saturate, runner, &mut findings)?;
        findings.figures =
            figures(Measure::Throughput, &companies, &done, |turn, _| Some(turn.rate()), had_no_core);
        findings.figures.extend(taken(&companies, &done));
        findings.notes.extend(others(&companies, &done));
        let wrong = load.wrong.get();
        if wrong > 0 {
            findings.errors.push(format!("{wrong} batches or decisions were not taken as they should be"));
        }
        Ok(findings)
    }
}

/// What is done beside checks.
struct Load {
    address: std::net::SocketAddr,
    host: String,
    /// Of the pipeline.
    ci: String,
    evidence: Vec<Piece>,
    outcomes: Rc<RefCell<Outcomes>>,
    /// No evidence comes twice.
    mark: Cell<u32>,
    /// Answers that say something else than they should.
    wrong: Rc<Cell<u64>>,
}

impl Reports {
    fn turns(&self, is_short: bool) -> Turns {
        if is_short { self.short } else { self.full }
    }

    fn load(&self, shop: &Shop) -> Result<Load, Problem> {
        let mut admin = shop.admin()?;
        gate::prepare(&mut admin, APP)?;
        let wanted = serde_json::json!({"scope": "ci", "app": APP, "environment": "live"});
        let token = admin.ask("POST", "/v1/tokens", &[], &wanted)?.if_granted()?;
        let refused = || ClientError::Refused { status: 200, body: "a token without its secret".to_owned() };
        let ci = token["secret"].as_str().ok_or_else(refused)?.to_owned();
        let host = shop.address().to_owned();
        let sdk = shop.shop.token.clone().unwrap_or_default();
        let outcomes = Rc::new(RefCell::new(Outcomes::prepare(&host, &sdk, self.flags)));
        let (evidence, address) = (evidence::build(), shop.shop.at.address);
        Ok(Load { address, host, ci, evidence, outcomes, mark: Cell::new(0), wrong: Rc::default() })
    }
}

impl Load {
    /// Summaries and decisions, as far as they are wanted, for a turn.
    fn lanes(
        &self,
        reports: &Reports,
        [summaries, decisions]: [bool; 2],
        turn: Duration,
    ) -> Vec<(Lane, Pace)> {
        let pace = |per_second| Pace::Rate { per_second, arrivals: Arrivals::Even, seed: 0 };
        let batches = u32::try_from(reports.summaries / BATCH).expect("a thousand");
        let summaries = summaries.then(|| (self.summaries(), pace(batches)));
        let decisions = decisions.then(|| (self.decisions(reports.decisions, turn), pace(reports.decisions)));
        summaries.into_iter().chain(decisions).collect()
    }

    fn summaries(&self) -> Lane {
        let (outcomes, wrong) = (Rc::clone(&self.outcomes), Rc::clone(&self.wrong));
        let all = format!("\"added\":{BATCH}");
        let write = move |bytes: &mut Vec<u8>, last: Last<'_>| {
            check(&last, &all, &wrong);
            outcomes.borrow_mut().write(bytes);
        };
        Lane::of_written(self.address, Box::new(write), 202, TELLERS)
    }

    /// Forms are made before the turn: each is some hundred kilobytes.
    fn decisions(&self, per_second: u32, turn: Duration) -> Lane {
        let mut forms: Vec<Vec<u8>> = (0..due(per_second, turn) + due(per_second, LEAD_IN))
            .map(|_| {
                self.mark.set(self.mark.get() + 1);
                evidence::request(
                    &gate::path(APP, "live"),
                    &self.host,
                    &self.ci,
                    &self.evidence,
                    self.mark.get(),
                )
            })
            .collect();
        let wrong = Rc::clone(&self.wrong);
        let write = move |bytes: &mut Vec<u8>, last: Last<'_>| {
            check(&last, "\"judgement\":{", &wrong);
            // As many were made as fall due.
            bytes.extend(forms.pop().unwrap_or_default());
        };
        Lane::of_written(self.address, Box::new(write), 200, TELLERS)
    }
}

/// How many fall due at such a rate.
fn due(per_second: u32, length: Duration) -> u128 {
    (u128::from(per_second) * length.as_millis()).div_ceil(1_000)
}

/// Whether the last answer says what it should.
fn check(last: &Last<'_>, expected: &str, wrong: &Rc<Cell<u64>>) {
    let says_it = |body: &[u8]| body.windows(expected.len()).any(|window| window == expected.as_bytes());
    if last.answer.is_some_and(|answer| !says_it(&answer.body)) {
        wrong.set(wrong.get() + 1);
    }
}
