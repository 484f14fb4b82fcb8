//! Checks in process: the SDK, our engine under it, and what nobody can be quicker than by much, with the same flags and
//! the same people.

pub mod floor;
pub mod measure;
mod origin;
pub mod ours;
pub mod sdk;
pub mod world;

use measure::Work;
use world::{Asked, Engine, IN_LIST, Kind, OFF, PEOPLE, ROLLOUT, RULES, looped};

/// An engine without its type, whose work is nevertheless compiled for it.
pub trait Shown {
    /// Its name and version.
    fn name(&self) -> &'static str;
    /// The shares of people whom each flag is on for, to show that all engines do the same work.
    fn shares(&self) -> [f64; 5];
    /// A check of a flag, or of a hundred in a loop.
    fn work(&self, asked: Option<Asked<'static>>) -> Work<'_>;
}

impl<E: Engine> Shown for E {
    fn name(&self) -> &'static str {
        Engine::name(self)
    }

    #[allow(clippy::cast_precision_loss, reason = "1,024 people")]
    fn shares(&self) -> [f64; 5] {
        let share = |asked: Asked<'_>, wanted: fn(usize) -> bool| {
            (0..PEOPLE).filter(|person| wanted(self.check(asked, *person))).count() as f64 / PEOPLE as f64
        };
        let on = |answer| answer > 0;
        let first = |answer| answer == 1;
        [share(OFF, on), share(ROLLOUT, on), share(RULES, on), share(RULES, first), share(IN_LIST, on)]
    }

    fn work(&self, asked: Option<Asked<'static>>) -> Work<'_> {
        match asked {
            Some(asked) => Box::new(move |person| self.check(asked, person)),
            None => {
                let all: Vec<(String, Kind)> = looped().collect();
                let check = move |(flag, kind): &(String, Kind), person| {
                    self.check(Asked { flag: flag.as_str(), kind: *kind }, person)
                };
                Box::new(move |person| all.iter().map(|one| check(one, person)).sum())
            }
        }
    }
}

/// Whether these are the shares of an engine that does the work it should.
pub fn are_right([off, rollout, rules, halves, list]: [f64; 5]) -> bool {
    let exact = off == 0.0 && rules == 1.0 && list == 0.5;
    exact && (0.25..0.35).contains(&rollout) && (0.44..0.56).contains(&halves)
}
