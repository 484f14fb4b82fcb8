//! SDKs that are always there, but for one now and then whose network ends and who comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::feed::{FeedError, Sdks, Told};

/// Between two SDKs whose network ends.
const CUT: Duration = Duration::from_millis(20);
/// SDKs that have a turn at once.
const AT_ONCE: usize = 64;
/// Who is not back so long after the last network has ended does not come back any more.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that may be refused, or fail, in all: they are tried again, and a server with time for everybody has no
/// reason.
const MOST_REFUSED: u64 = 5;

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) note: String,
    pub(super) errors: Vec<String>,
}

/// Lets them come and go, and in the end come back; says how many acknowledgements are under way.
pub(super) fn come_and_go(
    mut sdks: Sdks,
    mut chance: Chance,
    ended: &AtomicBool,
    acks_open: &AtomicU64,
    patience: Duration,
) -> Result<Ended, FeedError> {
    let clients = sdks.live_since().count() as u64;
    let (mut cut, mut last) = (0, Instant::now());
    while !ended.load(Ordering::Relaxed) {
        step(&mut sdks, acks_open)?;
        if last.elapsed() >= CUT {
            last = Instant::now();
            cut += 1;
            sdks.cut(usize::try_from(chance.draw() % clients).expect("a client"));
        }
    }
    let waited = Instant::now();
    let is_back = |sdks: &Sdks| sdks.live() as u64 == clients && sdks.acks().0 == 0;
    while !is_back(&sdks) && waited.elapsed() < patience {
        step(&mut sdks, acks_open)?;
    }
    // Whoever still waits for news needs an operator who goes on.
    acks_open.store(0, Ordering::Relaxed);
    let told = sdks.told();
    let (open, answered, lost) = sdks.acks();
    let note = format!(
        "{cut} times the network of an SDK ended, {} of {clients} were served {:.1} s after the last; the server ended {} streams, refused {:?}, and {} connections failed; acknowledgements answered {answered:?}, {lost} lost with their connection",
        sdks.live(),
        waited.elapsed().as_secs_f64(),
        told.ended,
        told.refused,
        told.failed
    );
    let mut errors = faults(told, answered, cut);
    let missing = clients - sdks.live() as u64;
    if missing > 0 || open > 0 {
        errors.push(format!(
            "{missing} of {clients} SDKs are not served {} s after the last network ended, and {open} acknowledgements not answered",
            patience.as_secs()
        ));
    }
    Ok(Ended { note, errors })
}

/// Goes on. While acknowledgements are under way there is something to do at once.
fn step(sdks: &mut Sdks, acks_open: &AtomicU64) -> Result<(), FeedError> {
    let wait = if sdks.acks().0 > 0 { Duration::ZERO } else { CUT };
    sdks.step(wait, AT_ONCE)?;
    acks_open.store(sdks.acks().0 as u64, Ordering::Relaxed);
    Ok(())
}

/// What a server with time for everybody has no reason to do. Whose network ended may have had an acknowledgement on its
/// way, which belongs to no stream any more: one of each is not found.
fn faults(told: &Told, acks: &BTreeMap<u16, u64>, cut: u64) -> Vec<String> {
    let refused: u64 = told.refused.values().sum();
    let is_refusal = |status: u16, count: u64| match status {
        200..300 => false,
        404 => count > cut,
        _ => true,
    };
    let mut faults: Vec<String> = told
        .for_good()
        .map(|(status, count)| format!("SDKs were sent away {count} times, with {status}"))
        .collect();
    if refused + told.failed > MOST_REFUSED {
        let Told { refused, failed, .. } = told;
        faults.push(format!("connections of SDKs were refused ({refused:?}) or failed ({failed})"));
    }
    if told.ended > 0 {
        faults.push(format!("the server ended {} streams of SDKs", told.ended));
    }
    if acks.iter().any(|(status, count)| is_refusal(*status, *count)) {
        faults.push(format!("acknowledgements were refused: {acks:?}"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_does_not_come_back_is_an_error() {
        // A port that was free a moment ago, and nobody listens at.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sdks = Sdks::new(address, "nobody", 3, 1).unwrap();
        let is_ended = AtomicBool::new(true);
        let ended =
            come_and_go(sdks, Chance::new(1), &is_ended, &AtomicU64::new(0), Duration::from_millis(1))
                .unwrap();
        let all = ended.errors.concat();
        assert!(all.contains("3 of 3 SDKs are not served"), "{ended:?}");
    }

    #[test]
    fn refusals_and_ended_streams_are_errors_and_a_few_connections_that_were_tried_again_are_not() {
        let acks = |status| BTreeMap::from([(204, 9), (status, 1)]);
        let fine = Told { refused: BTreeMap::from([(503, 3)]), failed: 2, ended: 0 };
        for status in [200, 404] {
            assert_eq!(faults(&fine, &acks(status), 1), [""; 0]);
        }
        assert!(faults(&fine, &acks(404), 0)[0].contains("404: 1"), "nobody was cut off");
        for (told, status, wanted) in [
            (Told { failed: 3, ..fine.clone() }, 200, "503: 3}) or failed (3)"),
            (Told { refused: BTreeMap::from([(503, 6)]), ..Told::default() }, 200, "refused ({503: 6})"),
            (
                Told { refused: BTreeMap::from([(403, 1)]), ..Told::default() },
                200,
                "sent away 1 times, with 403",
            ),
            (Told { ended: 1, ..fine.clone() }, 200, "ended 1 streams"),
            (fine.clone(), 409, "acknowledgements were refused: {204: 9, 409: 1}"),
        ] {
            let found = faults(&told, &acks(status), 1);
            assert!(found.len() == 1 && found[0].contains(wanted), "{found:?}");
        }
    }
}
