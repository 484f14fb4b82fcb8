//! Checks alone, and beside something else that the same server has to do, in turns whose order is turned round each
//! time: what is compared is the same checks over the same connections, with and without.

mod changes;
mod outcomes;
mod reports;
mod turns;

pub(crate) use changes::read as read_changes;
pub(crate) use reports::read as read_reports;
