//! Checks without HTTP, in a mode of the tool that does nothing else.

use std::process::{Command, Stdio};

use super::Measured;
use crate::callgrind::Callgrind;
use crate::optimised;

/// The argument that makes `loadtest` do these, and how often each is done.
const MODE: &str = "--be-counted";
const TIMES: u64 = 10_000;
/// The functions that do one of them so often each, in their order; before that one of them ends what came before.
const LOOPS: &str = "*::counted::*_often";
/// What they do.
const NAMES: [&str; 5] = ["check_off", "check_rollout", "check_rules", "check_list", "read_context"];

/// Checks of flags of every kind, and the reading of a context.
///
/// # Panics
/// When one is not counted.
#[must_use]
pub fn in_process() -> Vec<Measured> {
    let mut callgrind = Callgrind::in_own_folder();
    let program = callgrind.around(&optimised().loadtest, &[&format!("--dump-after={LOOPS}")]);
    let (name, before) = program.split_first().expect("a program has a name");
    let mut command = Command::new(name);
    let ended = command.args(before).args([MODE, &TIMES.to_string()]).stdin(Stdio::null()).output();
    let ended = ended.expect("valgrind runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let _of_the_start = callgrind.next_dump();
    NAMES.map(|name| Measured { name, count: callgrind.next_dump().each_of(TIMES) }).into()
}
