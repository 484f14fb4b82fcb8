//! What turns told: of events and storms, of CPU time, and when that is to be doubted.

use crate::figures::median;

/// Events of floors may be so much longer or shorter than ours, as a part of ours.
const MOST_UNLIKE: f64 = 0.05;
/// Turns in which others had too much of the server's core, at most, for a verdict.
const MOST_TURNS_DISTURBED: f64 = 0.5;

/// What a turn told.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Until all were connected.
    pub(super) storm_s: f64,
    /// When each client had each event, in milliseconds, in order.
    pub(super) events_ms: Vec<Vec<f64>>,
    /// The length of an event as it came, on the average.
    pub(super) event_bytes: usize,
    /// CPU time of the server for an event, by each client; none if it ended.
    pub(super) cpu_us: Option<f64>,
    /// Others had too much of the server's core while clients connected.
    pub(super) is_storm_disturbed: bool,
    /// The same while events were sent.
    pub(super) are_events_disturbed: bool,
}

impl Turn {
    /// The last client of the middle event.
    pub(super) fn last_ms(&self) -> f64 {
        let last: Vec<f64> = self.events_ms.iter().filter_map(|event| event.last().copied()).collect();
        median(&last)
    }
}

/// CPU time of the middle turn that has one.
pub(super) fn middle_cpu_us(turns: &[Turn]) -> f64 {
    median(&turns.iter().filter_map(|turn| turn.cpu_us).collect::<Vec<f64>>())
}

/// How many times the CPU time of another's turn ours took; a turn of which nobody saw it makes no pair.
pub(super) fn cpu_pairs(ours: &[Turn], other: &[Turn]) -> Vec<f64> {
    let pair = |(ours, other): (&Turn, &Turn)| Some(ours.cpu_us? / other.cpu_us?);
    ours.iter().zip(other).filter_map(pair).collect()
}

/// Nanoseconds of so many events, each to so many clients, as microseconds of one to one.
#[allow(clippy::cast_precision_loss, reason = "minutes of nanoseconds")]
pub(super) fn cpu_us_per_client(cpu_ns: u64, clients: usize, events: usize) -> f64 {
    cpu_ns as f64 / 1e3 / (clients * events) as f64
}

/// The turn whose clients took longest to connect.
pub(super) fn slowest(turns: &[Turn]) -> &Turn {
    let slowest = turns.iter().max_by(|a, b| a.storm_s.total_cmp(&b.storm_s));
    slowest.expect("a scenario has one turn at least")
}

/// Why it says little for sure what somebody took, if so.
pub(super) const HAD_NO_CORE: &str = "others had too much of the server's core: run it on a quieter machine";

/// Why events of two servers say nothing for sure beside each other, if so.
pub(super) fn had_no_core(ours: &[Turn], other: &[Turn]) -> Option<String> {
    let disturbed = ours.iter().chain(other).filter(|turn| turn.are_events_disturbed).count();
    #[allow(clippy::cast_precision_loss, reason = "a few dozen")]
    let share = disturbed as f64 / (ours.len() + other.len()).max(1) as f64;
    (share > MOST_TURNS_DISTURBED).then(|| HAD_NO_CORE.to_owned())
}

/// Why events of so many bytes say nothing for sure beside each other, if so.
pub(super) fn unlike_bytes(ours: usize, other: usize) -> Option<String> {
    #[allow(clippy::cast_precision_loss, reason = "some hundred bytes")]
    let apart = ours.abs_diff(other) as f64 / ours.max(1) as f64;
    (apart > MOST_UNLIKE)
        .then(|| format!("an event of ours has {ours} bytes, and one of what is beside it {other}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::{Ratio, Verdict};
    use crate::scenario::{Measure, Threshold, built_in};

    #[test]
    fn a_turn_counts_once_whatever_it_has_of_events_and_the_slowest_storm_is_told() {
        let turn = |storm_s, last: &[f64]| Turn {
            storm_s,
            events_ms: last.iter().map(|last| vec![0.5, *last]).collect(),
            ..Turn::default()
        };
        let turns = [turn(1.0, &[4.0, 9.0, 3.0]), turn(5.0, &[7.0]), turn(2.0, &[2.0, 2.0])];
        assert_eq!(turns.each_ref().map(Turn::last_ms), [4.0, 7.0, 2.0]);
        assert!((slowest(&turns).storm_s - 5.0).abs() < f64::EPSILON);
    }

    #[test]
    fn turns_on_a_core_of_somebody_else_and_events_of_another_length_are_doubted() {
        let turn = |are_events_disturbed| Turn { are_events_disturbed, ..Turn::default() };
        assert_eq!(had_no_core(&[turn(true), turn(false)], &[turn(true), turn(false)]), None);
        assert!(had_no_core(&[turn(true), turn(true)], &[turn(true), turn(false)]).is_some());
        assert_eq!(unlike_bytes(620, 600), None);
        assert!(unlike_bytes(620, 560).is_some() && unlike_bytes(300, 620).is_some());
    }

    #[test]
    fn a_server_that_takes_twice_the_cpu_time_of_bare_writes_misses_its_bar() {
        let scenario = built_in().into_iter().find(|one| one.name == "feed").expect("it comes with it");
        let is_bar = |bar: &&Threshold| bar.measure == Measure::CpuUsPerClient;
        let bar = scenario.thresholds.iter().find(is_bar).expect("a bar for CPU time").bar;
        // 10,000 clients and 5 events in half a second.
        assert!((cpu_us_per_client(500_000_000, 10_000, 5) - 10.0).abs() < 1e-9);
        let turns = |cpu_us: [Option<f64>; 7]| cpu_us.map(|cpu_us| Turn { cpu_us, ..Turn::default() });
        let bare = turns([Some(10.0); 7]);
        let judged = |ours: [Option<f64>; 7]| {
            Ratio::of(&cpu_pairs(&turns(ours), &bare)).expect("some pairs").judged(bar)
        };
        let mut ours = [Some(14.0); 7];
        assert_eq!(judged(ours), Verdict::Met);
        assert_eq!(judged([Some(20.0); 7]), Verdict::Missed);
        // A turn that nobody saw is left out, and is no turn that took nothing.
        ours[3] = None;
        assert_eq!(judged(ours), Verdict::Met);
        ours[4] = None;
        assert!(matches!(judged(ours), Verdict::Unsure(_)), "five are too few");
        assert!((middle_cpu_us(&turns(ours)) - 14.0).abs() < 1e-9);
    }
}
