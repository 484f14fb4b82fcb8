//! The last slots that evidence was found from, in a table.

use std::collections::BTreeMap;

use rollout_rules::sli::{AppSlot, Input, Outcomes};

use super::delivery::grouped;
use super::output::Table;
use super::when;

/// So many slots are shown at most: two minutes.
pub(super) const SHOWN_SLOTS: usize = 12;
/// The column of what an app did as a whole.
const WHOLE_APP: &str = "app";

/// Requests of a slot, and those that were bad, by variant.
type Counts = BTreeMap<String, (u64, u64)>;

/// The last slots of a flag's split by variant; without a flag, of the app.
pub(super) fn table(inputs: &[Input], place: &(String, String)) -> Table {
    let slots: Vec<&AppSlot> = inputs
        .iter()
        .filter_map(|input| if let Input::Slot(slot) = input { Some(slot) } else { None })
        .collect();
    let shown = &slots[slots.len().saturating_sub(SHOWN_SLOTS)..];
    let counts: Vec<(&AppSlot, Counts)> = shown.iter().map(|slot| (*slot, counts(slot, place))).collect();
    let mut columns: Vec<&String> = counts.iter().flat_map(|(_, counts)| counts.keys()).collect();
    columns.sort_unstable();
    columns.dedup();
    let heads = columns.iter().flat_map(|column| [(*column).clone(), "BAD".to_owned()]);
    let mut table = Table::new(["SLOT FROM".to_owned()].into_iter().chain(heads));
    for (slot, counts) in &counts {
        let cells = columns.iter().flat_map(|column| {
            let (requests, bad) = counts.get(*column).copied().unwrap_or_default();
            [grouped(requests), grouped(bad)]
        });
        table.row([when::second(slot.slot.starts_at())].into_iter().chain(cells));
    }
    table
}

fn counts(slot: &AppSlot, (flag, split): &(String, String)) -> Counts {
    if flag.is_empty() {
        return Counts::from([(WHOLE_APP.to_owned(), plus((0, 0), &slot.whole()))]);
    }
    let mut counts = Counts::new();
    let told = slot.splits.iter().filter(|told| told.flag.as_str() == flag && told.split.as_str() == split);
    for part in told.flat_map(|told| &told.parts) {
        let count = counts.entry(part.variant.to_string()).or_default();
        *count = plus(*count, &part.outcomes);
    }
    counts
}

fn plus((requests, bad): (u64, u64), outcomes: &Outcomes) -> (u64, u64) {
    (requests.saturating_add(outcomes.requests), bad.saturating_add(outcomes.bad_requests))
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::{FlagKey, Revision, SplitId, VariantKey};
    use rollout_rules::sli::{Gauges, Part, Slot, SplitSlot};

    use super::*;
    use crate::cli::output::Style;

    fn slot(number: u32, counts: &[(&str, u64, u64)]) -> Input {
        let part = |(variant, requests, bad_requests): &(&str, u64, u64)| Part {
            revision: Revision(3),
            variant: VariantKey::new(variant).expect("a key"),
            outcomes: Outcomes { requests: *requests, bad_requests: *bad_requests, ..Outcomes::default() },
        };
        let split = SplitSlot {
            flag: FlagKey::new("checkout").expect("a key"),
            split: SplitId::new("main").expect("a name"),
            parts: counts.iter().map(part).collect(),
        };
        let slot = Slot(180_000_000 + number);
        Input::Slot(AppSlot { slot, sources: 1, all: None, gauges: Gauges::default(), splits: vec![split] })
    }

    fn shown(inputs: &[Input], flag: &str) -> Vec<String> {
        let mut out = Vec::new();
        let place = (flag.to_owned(), "main".to_owned());
        table(inputs, &place).write(&mut out, Style::default(), "").expect("a vector takes everything");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_twelve_slots_have_a_line_each_with_requests_and_bad_ones_by_variant() {
        let mut inputs: Vec<Input> = (0..20).map(|number| slot(number, &[("off", 9, 0)])).collect();
        inputs.push(slot(20, &[("off", 1_200, 2), ("on", 130, 65)]));
        let lines = shown(&inputs, "checkout");
        assert_eq!(lines.len(), 1 + SHOWN_SLOTS);
        assert!(lines[0].ends_with("off    BAD  on   BAD"), "{lines:?}");
        assert!(lines[1].contains("9      0    0    0"), "{lines:?}");
        assert!(lines[SHOWN_SLOTS].ends_with("1,200  2    130  65"), "{lines:?}");
        let of_app = shown(&inputs, "");
        assert!(of_app[SHOWN_SLOTS].ends_with("1,330  67"), "{of_app:?}");
    }
}
