//! What people and programs see of a run.

mod charts;
mod json;
mod machine;
mod progress;
mod svg;
mod table;

pub(crate) use charts::{Chart, Picture, charts};
pub(crate) use json::json;
pub(crate) use machine::Machine;
pub(crate) use progress::Progress;
pub(crate) use svg::{Axis, Line, Panel, Scale};
pub(crate) use table::table;
