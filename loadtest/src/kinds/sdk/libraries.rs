//! The engines of others, in turns with ours.

use super::{Check, what_beside};
use crate::in_process::{are_right, measure};
use crate::kinds::named;
use crate::peers::{LIBRARIES, Library};
use crate::report::{Beside, Findings};
use crate::run::Runner;

/// The name of a hundred flags in a loop, to those programs.
const LOOP: &str = "loop";

/// Starts those that are asked for. Who does other work than the others is an error; who does not run is no end to them.
pub(super) fn start(runner: &mut Runner, findings: &mut Findings) -> Vec<Library> {
    let Some(wanted) = named(runner.against.as_deref(), LIBRARIES) else {
        let names: Vec<&str> = LIBRARIES.iter().map(|(name, _)| *name).collect();
        let names = names.join(",");
        findings
            .notes
            .push(format!("engines of others are beside it with: make peers, then --against {names}"));
        return Vec::new();
    };
    let mut started = Vec::new();
    for who in wanted {
        runner.progress.say("starting a peer");
        match Library::start(who) {
            Ok(library) => {
                let [off, rollout, rules, first, list] = library.shares;
                let label = &library.label;
                findings.notes.push(format!(
                    "{label}: on for {off:.3}, {rollout:.3}, {rules:.3} (the first half {first:.3}), {list:.3} of people; {}",
                    library.says
                ));
                if !are_right(library.shares) {
                    findings.errors.push(format!("{label} does other work than it should"));
                }
                started.push(library);
            }
            Err(error) => findings.missing.push((who, error.to_string())),
        }
    }
    started
}

/// What it takes of one, beside ours in the same minute; none if it has ended.
pub(super) fn beside(
    library: &mut Library,
    check: Check,
    ours: &mut dyn FnMut() -> f64,
    pairs: usize,
    findings: &mut Findings,
) -> Option<Beside> {
    let name = check.asked.map_or(LOOP, |asked| asked.flag);
    let mut failed = None;
    let mut sample = || match &failed {
        Some(_) => f64::NAN,
        None => library.sample(name).unwrap_or_else(|error| {
            failed = Some(error);
            f64::NAN
        }),
    };
    // Now it is warm.
    sample();
    let pairs = measure::pairs(ours, &mut sample, pairs);
    let (of, label) = (library.who(), library.label.clone());
    if let Some(error) = failed {
        findings.errors.push(format!("{label}: {error}"));
        return None;
    }
    Some(what_beside((of, &label), &pairs))
}
