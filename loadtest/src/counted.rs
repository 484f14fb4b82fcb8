//! Checks in process, and nothing else beside them: a mode in which instructions are counted, from outside.

use std::hint::black_box;
use std::process::ExitCode;

use rollout_rules::context::Context;

use crate::in_process::sdk::{NoClient, Sdk};
use crate::in_process::world::{Asked, Engine as _, IN_LIST, OFF, ROLLOUT, RULES};

/// The argument that makes this program do so; how often each is done follows.
const MODE: &str = "--be-counted";
/// Most times that each is done.
const MAX_TIMES: u64 = 10_000_000;
/// Somebody on the list who asks, by his number.
const PERSON: usize = 1;
/// Who asks, as a request says it.
const SENT: &str =
    r#"{"targetingKey":"user-000017","country":"US","appVersion":"2.3.4","email":"ada@example.com"}"#;

/// Does everything that is counted, if that is what the arguments ask for.
pub(crate) fn run_if_asked(arguments: &[String]) -> Option<ExitCode> {
    let [mode, times] = arguments else { return None };
    if mode != MODE {
        return None;
    }
    let Some(times) = times.parse().ok().filter(|times| *times <= MAX_TIMES) else {
        return Some(ExitCode::from(2));
    };
    match are_as_made(times) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => Some(ExitCode::FAILURE),
        Err(why) => {
            eprintln!("{why}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// Does all of it so often. Whether the answers, and what the client counted, are what they should be.
fn are_as_made(times: u64) -> Result<bool, NoClient> {
    let sdk = Sdk::start()?;
    // What the client says to its server is not to be counted with the checks.
    sdk.settle()?;
    // Whoever counts knows the functions by their names, and the order: the first call ends what came before.
    check_often(&sdk, OFF, 1);
    let [off, _, rules, listed] = [OFF, ROLLOUT, RULES, IN_LIST].map(|asked| check_often(&sdk, asked, times));
    let read = read_often(times);
    // Each check of one flag has one answer; that of rules is one of two halves.
    let are_right = off == 0 && (rules == times || rules == 2 * times) && listed == times && read == times;
    Ok(are_right && sdk.end() == 4 * times + 1)
}

/// Checks a flag so often. The sum of the answers.
#[inline(never)]
fn check_often(sdk: &Sdk, asked: Asked<'_>, times: u64) -> u64 {
    let Asked { flag, kind } = asked;
    let check = || sdk.check(Asked { flag: black_box(flag), kind }, black_box(PERSON));
    (0..times).map(|_| u64::try_from(check()).unwrap_or(u64::MAX)).sum()
}

/// Reads a context so often. How often it could be read.
#[inline(never)]
fn read_often(times: u64) -> u64 {
    let read = || serde_json::from_str::<Context>(black_box(SENT)).is_ok_and(|context| context.len() == 3);
    (0..times).map(|_| u64::from(read())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_does_what_it_is_named_after() {
        let run = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            run_if_asked(&words)
        };
        assert_eq!(run(&[MODE, "3"]), Some(ExitCode::SUCCESS));
        assert_eq!(run(&[MODE, "many"]), Some(ExitCode::from(2)));
        assert_eq!(run(&["single", "--short"]), None);
    }
}
