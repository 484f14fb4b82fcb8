//! Scenarios one after another.

use std::time::{Duration, Instant};

use crate::checks::Origin;
use crate::cores::Cores;
use crate::judge::{Circumstances, judge};
use crate::kinds::named;
use crate::problem::Problem;
use crate::report::{Findings, Report};
use crate::scenario::{Scenario, Who};
use crate::show::Progress;

/// What every scenario of a run has in common.
pub(crate) struct Runner {
    pub(crate) is_short: bool,
    /// Somebody else's server, instead of one that is started.
    pub(crate) target: Option<Origin>,
    /// Whom to measure beside it, instead of those that scenarios name.
    pub(crate) against: Option<Vec<Who>>,
    /// What chance begins with.
    pub(crate) seed: u64,
    pub(crate) cores: Cores,
    pub(crate) progress: Progress,
}

impl Runner {
    /// Runs all of them; what fails in one is in its report, and the next is run all the same. After each, `done` gets the
    /// reports so far and the names of those to come.
    pub(crate) fn run_all(
        &mut self,
        scenarios: Vec<Scenario>,
        done: &mut dyn FnMut(&[Report], &[String]),
    ) -> Vec<Report> {
        let planned = scenarios.iter().filter(|scenario| self.can_run(scenario));
        let planned = planned.map(|scenario| scenario.kind.planned(self.is_short, self.against.as_deref()));
        self.progress.plan(planned.sum());
        let names: Vec<String> = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
        let mut reports = Vec::with_capacity(scenarios.len());
        for scenario in scenarios {
            let began = Instant::now();
            let report = self.run(scenario);
            reports.push(Report { took: began.elapsed(), ..report });
            done(&reports, &names[reports.len()..]);
        }
        self.progress.end();
        reports
    }

    fn can_run(&self, scenario: &Scenario) -> bool {
        self.target.is_none() || scenario.kind.takes_target()
    }

    fn run(&mut self, scenario: Scenario) -> Report {
        self.progress.scenario(&scenario.name);
        let (is_short, is_of_target) = (self.is_short, self.target.is_some());
        let report = |scenario, findings, judged, skipped| Report {
            scenario,
            is_short,
            is_of_target,
            findings,
            judged,
            skipped,
            took: Duration::ZERO,
        };
        let skipped = |scenario, why| report(scenario, Findings::default(), Vec::new(), Some(why));
        if !self.can_run(&scenario) {
            return skipped(scenario, "it starts servers of its own, and is not for a target".to_owned());
        }
        match scenario.kind.run(&scenario, self) {
            Ok(mut findings) => {
                let named = named(self.against.as_deref(), scenario.kind.baselines());
                if self.against.is_some() && named.is_none() {
                    findings.notes.push("it has none of those beside it that `--against` names".to_owned());
                }
                let circumstances = Circumstances { is_short, is_of_target };
                // Whoever is to be brought first is measured, and judged, for who asks for it.
                let is_asked = |of: Who| !of.is_library() || named.iter().flatten().any(|named| *named == of);
                let bars = scenario.thresholds.iter().filter(|bar| bar.of.is_none_or(is_asked));
                let judged = bars.map(|bar| judge(bar, &findings, circumstances)).collect();
                report(scenario, findings, judged, None)
            }
            Err(problem @ Problem::NoTag) if is_of_target => skipped(scenario, problem.to_string()),
            Err(problem) => {
                let errors = vec![problem.to_string()];
                report(scenario, Findings { errors, ..Findings::default() }, Vec::new(), None)
            }
        }
    }
}
