//! What apps tell of their requests, as whole requests that are sent again and again: only the batch's number and the
//! time are another each time, so that nothing has to be written anew while something is measured.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::checks::key;
use crate::client::request;
use crate::outcomes::summary;

/// Summaries in one batch.
pub(super) const BATCH: u64 = 100;
/// Batches with different units, which are sent in turns.
const BATCHES: u64 = 40;
/// Stands for a batch's number: as many letters as it has digits.
const NUMBER: &str = "number....";
/// Stands for the time in milliseconds, until the year 2286.
const TIME: u64 = 1_111_111_111_111;

/// Prepared batches.
pub(super) struct Outcomes {
    batches: Vec<Prepared>,
    sent: u64,
}

struct Prepared {
    bytes: Vec<u8>,
    number_at: usize,
    times_at: Vec<usize>,
}

impl Outcomes {
    /// Of so many flags.
    pub(super) fn prepare(host: &str, token: &str, flags: u64) -> Outcomes {
        let batch = |batch: u64| {
            let summaries: Value = (0..BATCH)
                .map(|place| {
                    let number = batch * BATCH + place;
                    summary(&key(number / 2 % flags), number, TIME)
                })
                .collect();
            let body = json!({"instance": "load", "batch": NUMBER, "summaries": summaries});
            let bytes = request("POST", "/v1/outcomes", host, token, &[], &body);
            let [numbers, times_at] = [NUMBER, &TIME.to_string()].map(|mark| places(&bytes, mark.as_bytes()));
            Prepared { bytes, number_at: numbers.first().copied().unwrap_or_default(), times_at }
        };
        Outcomes { batches: (0..BATCHES).map(batch).collect(), sent: 0 }
    }

    /// Writes the next.
    pub(super) fn write(&mut self, bytes: &mut Vec<u8>) {
        #[allow(clippy::cast_possible_truncation, reason = "a few dozen")]
        let prepared = &self.batches[(self.sent % BATCHES) as usize];
        self.sent += 1;
        bytes.extend_from_slice(&prepared.bytes);
        let mut put = |at: usize, text: &str| bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(prepared.number_at, &format!("{:010}", self.sent));
        let now = format!("{:013}", now_ms());
        prepared.times_at.iter().for_each(|at| put(*at, &now));
    }
}

fn places(bytes: &[u8], mark: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(mark.len()).enumerate();
    windows.filter(|(_, window)| *window == mark).map(|(at, _)| at).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_numbered_and_tell_the_time_and_nothing_is_left_of_the_marks() {
        let mut outcomes = Outcomes::prepare("127.0.0.1:1", "token", 100);
        let mut numbers = Vec::new();
        for _ in 0..=BATCHES {
            let mut bytes = Vec::new();
            outcomes.write(&mut bytes);
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())));
            let body: Value = serde_json::from_str(body).unwrap();
            let summaries = body["summaries"].as_array().unwrap();
            assert_eq!(summaries.len() as u64, BATCH);
            let is_now = |summary: &Value| now_ms() - summary["slot"].as_u64().unwrap() < 60_000;
            assert!(summaries.iter().all(is_now));
            numbers.push(body["batch"].clone());
        }
        assert_eq!((&numbers[0], &numbers[40]), (&"0000000001".into(), &"0000000041".into()));
    }
}
