//! The short form of a plan, for command lines: `1%/30m,5%/1h,approve,25%/4h,100%`. What is printed is read back.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::{RolloutPlan, Stage, StagePart, Unfit};
use crate::percent::Exposure;
use crate::time::DurationMs;
use crate::written::{pointed_at, read_length, write_length};

/// Longest text of a plan, in bytes.
pub const MAX_PLAN_BYTES: usize = 1_000;

const APPROVE: &str = "approve";

/// Why a text is no plan, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPlan {
    /// Where it goes wrong, in bytes from the beginning.
    pub at: usize,
    /// What stands there; empty at the end.
    pub found: String,
    /// What is wrong with it, or what would be right.
    pub problem: String,
}

impl fmt::Display for NotAPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            return write!(f, "at byte {}, the end: {}", self.at, self.problem);
        }
        write!(f, "`{}` at byte {}: {}", self.found, self.at, self.problem)
    }
}

impl core::error::Error for NotAPlan {}

impl NotAPlan {
    fn new(at: usize, found: &str, problem: impl Into<String>) -> NotAPlan {
        NotAPlan { at, found: found.chars().take(40).collect(), problem: problem.into() }
    }

    /// The text with a mark under the place, for a terminal.
    pub fn pointed_at(&self, text: &str) -> String {
        pointed_at(text, self.at, &self.found)
    }
}

/// A part of the text and where it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    at: usize,
    text: &'a str,
}

impl<'a> Piece<'a> {
    fn trimmed(self) -> Piece<'a> {
        let text = self.text.trim_start();
        Piece { at: self.at + self.text.len() - text.len(), text: text.trim_end() }
    }

    /// What stands before and after a sign; all of it before, if there is none.
    fn split(self, sign: char) -> (Piece<'a>, Option<Piece<'a>>) {
        match self.text.split_once(sign) {
            None => (self, None),
            Some((before, after)) => {
                let at = self.at + before.len() + sign.len_utf8();
                (Piece { at: self.at, text: before }.trimmed(), Some(Piece { at, text: after }.trimmed()))
            }
        }
    }

    fn wrong(self, problem: impl Into<String>) -> NotAPlan {
        NotAPlan::new(self.at, self.text, problem)
    }
}

/// Where the parts of a stage stand.
struct Places<'a> {
    exposure: Piece<'a>,
    hold: Option<Piece<'a>>,
    approval: Option<Piece<'a>>,
}

impl FromStr for RolloutPlan {
    type Err = NotAPlan;

    fn from_str(text: &str) -> Result<RolloutPlan, NotAPlan> {
        if text.len() > MAX_PLAN_BYTES {
            return Err(NotAPlan::new(MAX_PLAN_BYTES, "…", "a plan has at most 1000 bytes"));
        }
        let mut stages = Vec::new();
        let mut places = Vec::new();
        let mut approval: Option<Piece<'_>> = None;
        let mut rest = Some(Piece { at: 0, text });
        while let Some(piece) = rest {
            let (piece, after) = piece.split(',');
            let piece = piece.trimmed();
            rest = after;
            if piece.text == APPROVE {
                if let Some(twice) = approval.replace(piece) {
                    return Err(twice.wrong("one `approve` before a stage is enough"));
                }
                continue;
            }
            let (stage, place) = read_stage(piece, approval.take())?;
            stages.push(stage);
            places.push(place);
        }
        if let Some(approval) = approval {
            return Err(
                approval.wrong("a stage has to follow: `approve` stands before the one that it is for")
            );
        }
        let plan = RolloutPlan { stages };
        plan.check().map_err(|unfit| placed(unfit, &places, text.len()))?;
        Ok(plan)
    }
}

fn read_stage<'a>(piece: Piece<'a>, approval: Option<Piece<'a>>) -> Result<(Stage, Places<'a>), NotAPlan> {
    const WANTED: &str = "write a stage such as 25%/4h, or `approve`, between commas";
    let (exposure, hold) = piece.split('/');
    let Ok(read) = exposure.text.parse::<Exposure>() else { return Err(exposure.wrong(WANTED)) };
    let hold_ms = match hold {
        None => DurationMs(0),
        Some(hold) => read_length(hold.text)
            .filter(|length| *length > DurationMs(0))
            .ok_or_else(|| hold.wrong("write how long the stage is held, such as 30m, 4h or 1d12h"))?,
    };
    let stage = Stage { exposure: read, hold_ms, approval: approval.is_some() };
    Ok((stage, Places { exposure, hold, approval }))
}

/// What is wrong with the stages, where it stands in the text.
fn placed(unfit: Unfit, places: &[Places<'_>], end: usize) -> NotAPlan {
    let Some(place) = unfit.stage.and_then(|stage| places.get(stage)) else {
        return NotAPlan::new(end, "", unfit.problem);
    };
    let piece = match unfit.part {
        StagePart::Exposure => Some(place.exposure),
        StagePart::Hold => place.hold,
        StagePart::Approval => place.approval,
    };
    piece.unwrap_or(place.exposure).wrong(unfit.problem)
}

impl fmt::Display for RolloutPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, stage) in self.stages.iter().enumerate() {
            if nth > 0 {
                f.write_str(",")?;
            }
            if stage.approval {
                write!(f, "{APPROVE},")?;
            }
            write!(f, "{stage}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.exposure)?;
        if self.hold_ms == DurationMs(0) {
            return Ok(());
        }
        f.write_str("/")?;
        write_length(f, self.hold_ms)
    }
}
