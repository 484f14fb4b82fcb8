//! What outcomes say of the variants of a rollout, beside the rollout itself.

use rollout_rules::percent::Exposure;
use rollout_rules::sli::guardrail::TWICE;
use rollout_rules::sli::{FEW_REQUESTS_A_SECOND, Needed, SLOT, Share, Traffic, is_little, needed};
use rollout_rules::time::{DurationMs, UnixMs};
use serde::Deserialize;

use super::delivery::grouped;
use super::output::{Style, Tone, harmless};
use super::rollout_view::RolloutView;
use super::session::Session;
use super::when;
use crate::duration;

/// The split of units that a rollout has reached and those that it has not.
const EXPOSURE: &str = ".exposure";
/// What the path of a rollout ends with, and what that of its verdicts does in place of it.
const PATHS: (&str, &str) = ("/rollout", "/verdicts");
/// The share at which a comparison takes the fewest users.
const HALF: Share = Share { variant: 1, control: 1 };
const HOUR_MS: u128 = 3_600_000;

/// What is known of a flag's variants. Members that are not listed are of no use here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct VerdictsView {
    slot: Option<UnixMs>,
    splits: Vec<SplitView>,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct SplitView {
    split: String,
    standing: StandingView,
    needed: Option<NeededView>,
    verdicts: Vec<VerdictView>,
}

#[derive(Clone, Debug, Deserialize)]
struct StandingView {
    is: String,
    why: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct NeededView {
    users: u64,
    bad_users: u64,
    time_ms: DurationMs,
}

#[derive(Clone, Debug, Deserialize)]
struct VerdictView {
    variant: String,
    state: String,
    shown_good: bool,
    why: String,
}

/// Asks for the verdicts beside a rollout. None: the server is older and knows of none, or does not say now; the
/// rollout is shown all the same.
pub(super) fn read(session: &Session, rollout: &str) -> Option<VerdictsView> {
    let path = rollout.strip_suffix(PATHS.0).unwrap_or(rollout);
    let answer = session.client.get(&format!("{path}{}", PATHS.1)).ok()?;
    VerdictsView::deserialize(&answer.body).ok()
}

/// The verdicts of a rollout that is followed: they change with each slot, so they are asked for as often.
#[derive(Default)]
pub(super) struct Followed {
    seen: Option<VerdictsView>,
    asked: Option<UnixMs>,
}

impl Followed {
    /// Asks if it is time to. While the server is away what was seen before stays.
    pub(super) fn look(&mut self, session: &Session, rollout: &str) {
        if self.asked.is_none_or(|asked| session.now >= asked.plus(SLOT)) {
            self.asked = Some(session.now);
            self.seen = read(session, rollout).or(self.seen.take());
        }
    }

    /// All that there is to say, a line each.
    pub(super) fn lines(&self, rollout: Option<&RolloutView>, style: Style) -> Vec<String> {
        self.seen.as_ref().map(|seen| seen.lines(rollout, style)).unwrap_or_default()
    }

    /// The verdicts alone. The numbers in them change all the time: the states say whether there is something new.
    pub(super) fn told(&self) -> (Vec<String>, Vec<String>) {
        let splits = || self.seen.iter().flat_map(|seen| &seen.splits);
        let verdicts = || splits().flat_map(|split| split.verdicts.iter().map(move |one| (split, one)));
        let states = verdicts().map(|(split, one)| format!("{} {} {}", split.split, one.variant, one.state));
        (states.collect(), verdicts().map(|(split, one)| split.line(one)).collect())
    }
}

impl VerdictsView {
    /// All that there is to say, a line each.
    pub(super) fn lines(&self, rollout: Option<&RolloutView>, style: Style) -> Vec<String> {
        if self.splits.is_empty() {
            return self.note.iter().map(|note| style.paint(&harmless(note), Tone::Faint)).collect();
        }
        let until = self.slot.map_or_else(String::new, |slot| format!(", until {}", when::second(slot)));
        let mut lines = vec![format!("what outcomes say{until}:")];
        let rollout = rollout.filter(|rollout| rollout.active);
        for split in &self.splits {
            for verdict in &split.verdicts {
                let line = style.paint(&harmless(&split.line(verdict)), verdict.tone());
                lines.push(format!("  {line}"));
            }
            let standing = match split.standing.is.as_str() {
                "held" => "it does not go on",
                "shown_good" => "it may go on",
                _ => "the tier decides whether it goes on",
            };
            lines.push(format!("  {standing}: {}", harmless(&split.standing.why)));
            if let Some(needed) = split.needed.filter(|_| split.standing.is == "not_enough_data") {
                lines.push(format!("  {}", needed.line()));
                let offered = rollout
                    .filter(|_| split.split == EXPOSURE)
                    .and_then(|rollout| needed.at_half(rollout.exposure));
                lines.extend(offered.map(|offered| format!("  {}", offer(offered))));
            }
        }
        lines
    }
}

impl SplitView {
    /// `on: suspect: error_rate 3% against 1%; …`
    fn line(&self, verdict: &VerdictView) -> String {
        let split = if self.split == EXPOSURE { String::new() } else { format!("{}, ", self.split) };
        let good = if verdict.shown_good { ", shown to be good" } else { "" };
        let why = if verdict.why.is_empty() { String::new() } else { format!(": {}", verdict.why) };
        format!("{split}{}: {}{good}{why}", verdict.variant, verdict.state.replace('_', " "))
    }
}

impl VerdictView {
    fn tone(&self) -> Tone {
        match self.state.as_str() {
            "ok" => Tone::Live,
            "warming" => Tone::Faint,
            _ => Tone::Alarm,
        }
    }
}

impl NeededView {
    fn line(self) -> String {
        format!(
            "about {} more users, {}, until a variant that does twice as badly is found",
            grouped(self.users),
            duration::rough(self.time_ms)
        )
    }

    /// What a stage at 50 % would take, where it is quicker and few users come. How many requests they make is not known here:
    /// users an hour alone decide.
    fn at_half(self, exposure: Exposure) -> Option<Needed> {
        let (part, whole) = (u128::from(exposure.milli_percent()), u128::from(Exposure::SCALE));
        if part == 0 || part * 2 >= whole || self.users == 0 {
            return None;
        }
        let least = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        let users_an_hour = (u128::from(self.users) * HOUR_MS).checked_div(u128::from(self.time_ms.0))?;
        if !is_little(FEW_REQUESTS_A_SECOND, least(users_an_hour)) {
            return None;
        }
        // Of those that turn bad at this share the variant has twice its part.
        let bad = u128::from(self.bad_users) * 1_000_000 * whole / (u128::from(self.users) * (whole + part));
        let traffic = Traffic { users_an_hour: least(users_an_hour), bad_millionths: least(bad) };
        needed(traffic, HALF, TWICE).filter(|half| half.time < self.time_ms)
    }
}

fn offer(half: Needed) -> String {
    let time = duration::rough(half.time);
    format!(
        "few users come: a stage at 50% would tell after about {} users, {time}; a plan such as 50%/{time},100% has one",
        grouped(half.users)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(value: &Value) -> VerdictsView {
        VerdictsView::deserialize(value).expect("verdicts")
    }

    fn rollout(exposure: u32) -> RolloutView {
        let stage = json!({ "exposure": exposure, "hold_ms": 3_600_000 });
        RolloutView::deserialize(&json!({
            "plan": "", "stages": [stage], "stage": 0, "exposure": exposure, "status": "running", "status_since": null,
            "why": null, "active": true, "due_at": null, "completes_at": null,
            "started_at": "2027-01-17T18:00:00.000Z", "started_by": { "type": "human", "name": "ada" },
        }))
        .expect("a rollout")
    }

    fn verdicts(users: u64, time_ms: u64) -> VerdictsView {
        view(&json!({
            "slot": "2027-01-17T18:00:10.000Z",
            "splits": [{
                "split": ".exposure",
                "standing": { "is": "not_enough_data", "why": "nothing speaks against it; too little was seen" },
                "needed": { "users": users, "bad_users": 120, "time_ms": time_ms },
                "verdicts": [
                    { "variant": "on", "state": "no_data", "shown_good": false, "why": "nothing for 60 s", "more": 1 },
                ],
            }],
        }))
    }

    #[test]
    fn a_rollout_with_few_users_is_offered_a_stage_of_half_of_them() {
        let lines = verdicts(2_000, 10 * 3_600_000).lines(Some(&rollout(5)), Style::default());
        let [head, verdict, standing, needed, offer] = &lines[..] else { panic!("{lines:#?}") };
        assert_eq!(head, "what outcomes say, until 2027-01-17 18:00:10:");
        assert_eq!(verdict, "  on: no data: nothing for 60 s");
        assert!(standing.starts_with("  the tier decides whether it goes on: nothing speaks"), "{standing}");
        assert!(needed.starts_with("  about 2,000 more users, 10h, until"), "{needed}");
        assert!(offer.starts_with("  few users come: a stage at 50% would tell after about "), "{offer}");
    }

    #[test]
    fn no_stage_of_half_is_offered_where_many_come_or_half_is_reached() {
        let lines = |users, exposure| {
            verdicts(users, 3_600_000).lines(Some(&rollout(exposure)), Style::default()).join("\n")
        };
        assert!(lines(299, 5).contains("few users come"));
        assert!(!lines(300, 5).contains("few users come"), "that is not few");
        assert!(!lines(299, 50).contains("few users come"), "half is reached");
    }

    #[test]
    fn where_nothing_was_reported_the_note_says_what_does() {
        let nothing = view(&json!({ "slot": null, "splits": [], "note": "nothing was reported yet" }));
        assert_eq!(nothing.lines(None, Style::default()), ["nothing was reported yet"]);
        let followed = Followed { seen: Some(nothing), asked: None };
        assert_eq!(followed.told(), (Vec::new(), Vec::new()));
    }
}
