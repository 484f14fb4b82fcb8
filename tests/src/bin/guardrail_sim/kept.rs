//! Harmless rows take hours: what came of each thousand runs is kept in a file and not run again, so that they can be run in
//! pieces. A file holds for one build: whoever changes the fold begins another.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::ops::Range;

use crate::run::{self, Acted, Outcome};
use crate::scenario::Scenario;

/// So many runs are kept at once.
const PIECE: u64 = 1_000;

/// A file of lines with the row's id and name, the first seed, how many runs, in how many of them a rule acted, and in how many
/// it held.
pub(crate) struct Kept {
    file: File,
    known: Vec<Piece>,
}

struct Piece {
    row: String,
    seeds: Range<u64>,
    acted: u64,
    held: u64,
}

impl Kept {
    pub(crate) fn open(path: &str) -> io::Result<Kept> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let lines = BufReader::new(file.try_clone()?).lines();
        // A line that was cut off is run again.
        let known = lines.map_while(Result::ok).filter_map(|line| Piece::read(&line)).collect();
        Ok(Kept { file, known })
    }

    /// Runs what is not known yet.
    pub(crate) fn run(
        &mut self,
        scenario: &Scenario,
        seeds: Range<u64>,
        threads: usize,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let row = format!("{}\t{}", scenario.id, scenario.name);
        for first in seeds.clone().step_by(PIECE as usize) {
            let seeds = first..seeds.end.min(first + PIECE);
            let known = self.known.iter().find(|piece| piece.row == row && piece.seeds == seeds);
            let (acted, held) = match known {
                Some(piece) => (piece.acted, piece.held),
                None => {
                    let found = run::run(scenario, seeds.clone(), false, threads);
                    let (acted, held) = (found.ours.after.len() as u64, found.held.after.len() as u64);
                    let (first, runs) = (seeds.start, seeds.end - seeds.start);
                    writeln!(self.file, "{row}\t{first}\t{runs}\t{acted}\t{held}")?;
                    (acted, held)
                }
            };
            outcome.ours.merge(times(seeds.end - seeds.start, acted));
            outcome.held.merge(times(seeds.end - seeds.start, held));
        }
        Ok(outcome)
    }
}

/// In so many runs it acted so many times; when is not kept.
fn times(runs: u64, acted: u64) -> Acted {
    Acted { runs, after: vec![0.0; acted as usize], let_through: Vec::new() }
}

impl Piece {
    fn read(line: &str) -> Option<Piece> {
        let mut fields = line.split('\t');
        let row = format!("{}\t{}", fields.next()?, fields.next()?);
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (first, runs, acted, held) = (number()?, number()?, number()?, number()?);
        Some(Piece { row, seeds: first..first + runs, acted, held })
    }
}
