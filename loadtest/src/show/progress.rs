//! One line that says what is being measured and how long the rest takes. On a terminal whoever measures draws it
//! anew five times a second: that takes some microseconds, where a thread for it would take the sender's core away.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::sender::Meanwhile;

/// Columns of the bar.
const COLUMNS: u64 = 12;

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(200);

/// The line, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    scenario: String,
    planned: Duration,
    done: Duration,
    /// What has begun, and how long it takes.
    begun: Duration,
    began: Instant,
    drawn: Instant,
    who: String,
    what: String,
    /// What the spell, or the last one, gives.
    rate: Option<f64>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            is_terminal: std::io::stderr().is_terminal(),
            scenario: String::new(),
            planned: Duration::ZERO,
            done: Duration::ZERO,
            begun: Duration::ZERO,
            began: Instant::now(),
            drawn: Instant::now(),
            who: String::new(),
            what: String::new(),
            rate: None,
        }
    }

    /// How long everything takes, starts not counted.
    pub(crate) fn plan(&mut self, planned: Duration) {
        self.planned = planned;
    }

    /// Something takes longer than planned.
    pub(crate) fn add(&mut self, more: Duration) {
        self.planned += more;
        self.begun += more;
    }

    pub(crate) fn scenario(&mut self, name: &str) {
        name.clone_into(&mut self.scenario);
        self.rate = None;
    }

    /// Something that is not measured.
    pub(crate) fn say(&mut self, what: &str) {
        self.begin("", what, Duration::ZERO);
    }

    /// A spell begins.
    pub(crate) fn begin(&mut self, who: &str, what: &str, takes: Duration) {
        self.done += std::mem::replace(&mut self.begun, takes);
        // A line for each spell would be many where they stay.
        let is_new = what != self.what;
        who.clone_into(&mut self.who);
        what.clone_into(&mut self.what);
        self.began = Instant::now();
        if self.is_terminal {
            self.draw();
        } else if is_new {
            eprintln!("{}", self.line(Duration::ZERO));
        }
    }

    /// The spell goes on: so much was done in so long. To be called as often as one likes.
    pub(crate) fn tick(&mut self, passed: Duration, count: u64) {
        if !self.is_terminal || self.drawn.elapsed() < PAUSE {
            return;
        }
        self.tell(passed, count);
        self.draw();
    }

    /// So much was done in so long.
    pub(crate) fn tell(&mut self, passed: Duration, count: u64) {
        #[allow(clippy::cast_precision_loss, reason = "millions")]
        let rate = count as f64 / passed.as_secs_f64().max(1e-3);
        self.rate = Some(rate);
    }

    fn draw(&mut self) {
        self.drawn = Instant::now();
        eprint!("\r\x1b[2K{}", self.line(self.began.elapsed()));
        let _ = std::io::stderr().flush();
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        if self.is_terminal {
            eprint!("\r\x1b[2K");
        }
    }

    /// What there is to say, so long after what has begun did.
    fn line(&self, passed: Duration) -> String {
        let done = self.done + passed.min(self.begun);
        let left = self.planned.saturating_sub(done);
        let seconds = left.as_secs() + u64::from(left.subsec_millis() > 0);
        let full = COLUMNS * u64::try_from(done.as_millis()).unwrap_or_default()
            / u64::try_from(self.planned.as_millis().max(1)).unwrap_or(u64::MAX);
        let bar: String = (0..COLUMNS).map(|column| if column < full { '▓' } else { '░' }).collect();
        let rate = match self.rate {
            None => String::new(),
            Some(rate) if rate < 10_000.0 => format!("  {rate:.0}/s"),
            Some(rate) => format!("  {:.1} k/s", rate / 1e3),
        };
        let who = if self.who.is_empty() { String::new() } else { format!("  {}", self.who) };
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        format!("{}  {}{who}{rate}  {bar} {minutes:02}:{seconds:02} left", self.scenario, self.what)
    }
}

impl Meanwhile for Progress {
    fn step(&mut self, passed: Duration, answered: u64) {
        self.tick(passed, answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_measured_and_how_long_the_rest_takes() {
        let mut progress = Progress { is_terminal: false, ..Progress::new() };
        progress.plan(Duration::from_secs(120));
        progress.scenario("single");
        progress.begin("floor", "round 1/2", Duration::from_secs(60));
        let line = progress.line(Duration::ZERO);
        assert_eq!(line, "single  round 1/2  floor  ░░░░░░░░░░░░ 02:00 left");
        progress.tell(Duration::from_secs(2), 122_468);
        let line = progress.line(Duration::from_secs(30));
        assert_eq!(line, "single  round 1/2  floor  61.2 k/s  ▓▓▓░░░░░░░░░ 01:30 left");
        // What takes longer than planned is not more than done.
        assert!(progress.line(Duration::from_secs(70)).ends_with("01:00 left"));
        progress.begin("tidegate", "round 1/2", Duration::from_secs(60));
        progress.tell(Duration::from_secs(1), 250);
        let line = progress.line(Duration::ZERO);
        assert_eq!(line, "single  round 1/2  tidegate  250/s  ▓▓▓▓▓▓░░░░░░ 01:00 left");
    }
}
