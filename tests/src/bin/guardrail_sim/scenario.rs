//! What is simulated, and what is asked of the guardrails in it.

use rollout_rules::sli::guardrail::{Sli, TWICE, Test};

use crate::traffic::Traffic;

const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

/// What is asked. Times are in seconds from the moment when something broke.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bar {
    /// Nothing is broken, so that acting is wrong: in 1 % of runs at most, with 1.3 % as its upper bound.
    pub(crate) harmless: bool,
    pub(crate) median: Option<f64>,
    pub(crate) p90: Option<f64>,
    /// At least 99 % within this time.
    pub(crate) nearly_all: Option<f64>,
    /// Bad requests of the variant until it is taken back: the median and the 90th percentile.
    pub(crate) let_through: Option<(u64, u64)>,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) name: String,
    pub(crate) traffic: Traffic,
    pub(crate) tests: Vec<Test>,
    pub(crate) seconds: u32,
    /// When something breaks, in seconds.
    pub(crate) from: f64,
    /// What breaks does so up to so many seconds later: it does not wait for a slot, or for a bet, to begin.
    pub(crate) lag: f64,
    pub(crate) bar: Bar,
    /// Whether `--short` includes it.
    pub(crate) short: bool,
}

fn worse(sli: Sli) -> Vec<Test> {
    vec![Test::WorseThanControl { sli, by_thousandths: TWICE }]
}

fn harmless(id: &'static str, name: String, traffic: Traffic, sli: Sli, short: bool) -> Scenario {
    let bar = Bar { harmless: true, ..Bar::default() };
    Scenario { id, name, traffic, tests: worse(sli), seconds: DAY, from: 0.0, lag: 0.0, bar, short }
}

fn broken(id: &'static str, name: String, traffic: Traffic, sli: Sli, bar: Bar) -> Scenario {
    let from = traffic.broken.or(traffic.slow).map_or(0.0, |(from, _)| from);
    let seconds = from as u32 + 2 * HOUR;
    Scenario { id, name, traffic, tests: worse(sli), seconds, from, lag: 10.0, bar, short: true }
}

/// A bet begins at minute 30; so what breaks just then is found sooner than what breaks at any moment.
fn at_any_moment(scenario: Scenario) -> Scenario {
    Scenario { lag: 300.0, short: false, ..scenario }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = no_difference();
    all.extend(outages());
    all.extend(errors());
    all.extend(latency());
    all.extend(habits());
    all
}

fn no_difference() -> Vec<Scenario> {
    let mut all = Vec::new();
    for rate in [0.2, 1.0, 10.0, 100.0] {
        for base in [0.1, 0.5, 1.0, 2.0, 5.0] {
            for share in [1, 10, 50] {
                let traffic = Traffic { errors: base / 100.0, ..Traffic::calm(rate, share) };
                let name = format!("no difference: {rate}/s, {base} % errors, {share} % share");
                let short = rate == 1.0 && base == 5.0 && share != 1;
                all.push(harmless("B1", name, traffic, Sli::ErrorRate, short));
            }
        }
    }
    let raised = vec![(0, 1), (1_800, 5), (9_000, 25), (23_400, 50)];
    let traffic = Traffic { errors: 0.05, share_percent: raised, ..Traffic::calm(10.0, 1) };
    all.push(harmless("B1", "no difference: 1 %, 5 %, 25 %, 50 %".into(), traffic, Sli::ErrorRate, false));
    all
}

fn outages() -> Vec<Scenario> {
    let mut all = Vec::new();
    for rate in [1.0, 10.0, 100.0] {
        let traffic = Traffic { outage: Some((HOUR, HOUR + 600, 8.0, 1.0)), ..Traffic::calm(rate, 10) };
        let name = format!("shared outage: errors x8 for 10 min, {rate}/s");
        all.push(Scenario {
            seconds: 3 * HOUR,
            ..harmless("B2", name, traffic, Sli::ErrorRate, rate == 10.0)
        });
    }
    for rate in [1.0, 10.0] {
        let outage = Some((HOUR, HOUR + 600, 1.0, 3.0));
        let traffic = Traffic { outage, slow: Some((0.0, 1.0)), ..Traffic::calm(rate, 10) };
        let name = format!("shared outage: latency x3 for 10 min, {rate}/s");
        all.push(Scenario {
            seconds: 3 * HOUR,
            ..harmless("B2", name, traffic, Sli::LatencyP95, rate == 1.0)
        });
    }
    all
}

fn errors() -> Vec<Scenario> {
    let mut all = Vec::new();
    let traffic = Traffic { broken: Some((0.0, 0.03)), ..Traffic::calm(10.0, 10) };
    let bar = Bar { median: Some(480.0), p90: Some(1_200.0), nearly_all: Some(3_600.0), ..Bar::default() };
    all.push(broken("B3", "1 to 3 % errors, 10/s, 10 % share".into(), traffic, Sli::ErrorRate, bar));
    for (rate, median) in [(1.0, 120.0), (10.0, 30.0), (100.0, 20.0)] {
        let traffic = Traffic { broken: Some((0.0, 0.5)), ..Traffic::calm(rate, 10) };
        let let_through = (rate <= 10.0).then_some((8, 15));
        let bar = Bar { median: Some(median), let_through, ..Bar::default() };
        let name = format!("1 to 50 % errors, {rate}/s, 10 % share");
        all.push(broken("B4", name, traffic, Sli::ErrorRate, bar));
    }
    let traffic = Traffic { broken: Some((1_800.0, 0.05)), ..Traffic::calm(10.0, 10) };
    let bar = Bar { median: Some(300.0), ..Bar::default() };
    let name = "1 to 5 % errors at minute 30, 10/s";
    all.push(broken("B5", name.into(), traffic.clone(), Sli::ErrorRate, bar));
    let name = "1 to 5 % errors within minutes 30 to 35, 10/s".into();
    all.push(at_any_moment(broken("B5", name, traffic, Sli::ErrorRate, Bar::default())));
    all
}

fn latency() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (rate, median) in [(1.0, 600.0), (10.0, 180.0)] {
        let traffic = Traffic { slow: Some((0.0, 2.0)), ..Traffic::calm(rate, 10) };
        let bar = Bar { median: Some(median), ..Bar::default() };
        all.push(broken("B6", format!("P95 x2, {rate}/s, 20000 users"), traffic, Sli::LatencyP95, bar));
    }
    // Where nearly all units are slow once in a while.
    for (rate, users) in [(1.0, 200), (10.0, 200), (100.0, 200), (10.0, 2_000)] {
        // A few users are not as quick as the others to begin with: what takes twice as long for each of them can be less
        // than twice as long for all.
        for times in [2.0, 3.0] {
            let traffic = Traffic { users, slow: Some((1_800.0, times)), ..Traffic::calm(rate, 10) };
            let name = format!("P95 x{times} within minutes 30 to 35, {rate}/s, {users} users");
            all.push(at_any_moment(broken("B6", name, traffic, Sli::LatencyP95, Bar::default())));
        }
        let traffic = Traffic { slow: Some((0.0, 1.0)), ..Traffic::calm(rate, 10) };
        let traffic = Traffic { users, ..traffic };
        let hours = if rate > 10.0 { 3 } else { 24 };
        let name = format!("no difference in {hours} h: {rate}/s, {users} users");
        let scenario = harmless("B6", name, traffic, Sli::LatencyP95, false);
        all.push(Scenario { seconds: hours * HOUR, ..scenario });
    }
    all
}

fn habits() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (rate, share) in [(1.0, 50), (10.0, 10)] {
        let traffic = Traffic { bursts: true, ..Traffic::calm(rate, share) };
        let name = format!("bursts of 10 errors a user, {rate}/s, {share} % share");
        all.push(harmless("B7", name, traffic, Sli::ErrorRate, rate == 1.0));
    }
    for users in [200, 2_000] {
        for unlucky in [0.2, 1.0, 4.0] {
            for share in [10, 50] {
                let traffic = Traffic { users, unlucky: unlucky / 100.0, ..Traffic::calm(1.0, share) };
                let name = format!("{unlucky} % of {users} users always fail, {share} % share");
                let short = users == 200 && unlucky == 4.0;
                all.push(harmless("B7b", name, traffic.clone(), Sli::ErrorRate, short));
                let traffic = Traffic { slow: Some((0.0, 1.0)), ..traffic };
                let name = format!("{unlucky} % of {users} users are always slow, {share} % share");
                all.push(harmless("B7b", name, traffic, Sli::LatencyP95, short && share == 50));
            }
        }
    }
    all
}
