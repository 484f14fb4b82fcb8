//! Counting what checks answered, for a few nanoseconds each.
//!
//! Every thread that checks flags has a [`Lane`] of its own, so that counting is a plain
//! addition to memory that no other core writes: no lock, no locked instruction, no look-up. A flag knows
//! the [`Cell`] of each of its answers, which [`FlagTable`](crate::table::FlagTable) gives out. Numbers only grow; whoever wants to
//! know what was counted since it last looked keeps a [`Collector`].

mod cells;
mod collect;
mod lanes;

pub use cells::{Cell, Cells};
pub(crate) use cells::{FirstCell, Numbering};
pub use collect::{Collected, Collector, Counted, MOST_LEFT};
pub use lanes::FreeLanes;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU8;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use once_cell::race::OnceBox;

/// How many threads count in lanes of their own. Further ones share a lane: that costs them a locked
/// addition, and waits for each other when they count the same answer at the same time.
pub const LANES: usize = 64;
/// Those and the shared lane.
const PLACES: usize = LANES + 1;
/// The first cells of a lane, which are enough for a small app; then the next; then as many again and again. Sizes
/// are fixed, so that only the last step to a count waits for the answer.
const FEW: usize = 64;
const MORE: usize = 1_024;
const MANY: usize = 8_192;
/// How many times [`MANY`].
const PIECES: usize = 63;
/// Most cells of one environment, those of flags included that are gone. Flags that find none left are
/// answered, and it is only counted how often.
pub const MAX_CELLS: u32 = (FEW + MORE + PIECES * MANY) as u32;

/// Who counts. Its number is kept as one more than it is, so that a lane or none takes one byte and one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(NonZeroU8);

impl Lane {
    /// The lane of threads that have none of their own.
    pub const SHARED: Lane = Lane(NonZeroU8::MAX);

    /// The lane of this number; [shared](Lane::SHARED) for numbers from [`LANES`] on. One below may belong to one
    /// thread at a time only: two that had the same would lose counts of each other, though nothing else.
    pub const fn own(number: u8) -> Lane {
        match NonZeroU8::MIN.checked_add(number) {
            Some(one_more) if (number as usize) < LANES => Lane(one_more),
            _ => Lane::SHARED,
        }
    }

    #[inline]
    fn number(self) -> usize {
        usize::from(self.0.get()) - 1
    }

    /// Among all lanes, the shared one as the last.
    fn place(self) -> usize {
        self.number().min(LANES)
    }
}

/// What was counted in one environment since the program began.
pub struct Tally {
    /// By lane, as `more`.
    few: [OnceBox<Few>; PLACES],
    more: [OnceBox<More>; PLACES],
    /// Answers that have no cell.
    uncounted: AtomicU64,
}

/// Apart from what other lanes write, to the cache line.
#[repr(align(64))]
struct Few([AtomicU64; FEW]);

struct More {
    next: [AtomicU64; MORE],
    many: [OnceBox<[AtomicU64; MANY]>; PIECES],
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

impl Tally {
    /// A tally in which nothing was counted yet. It takes 1 KiB, and each thread that counts half a KiB in it, 8.5 KiB
    /// more from the 65th cell on, and 64 KiB for each 8,192 after those. Of those, which is from about 360 flags on,
    /// each costs a call more.
    pub fn new() -> Tally {
        let few = [const { OnceBox::new() }; PLACES];
        let more = [const { OnceBox::new() }; PLACES];
        Tally { few, more, uncounted: AtomicU64::new(0) }
    }

    /// Counts an answer. The first time that a thread counts, or a piece of its lane is used, memory is
    /// set aside; else nothing is allocated.
    #[inline]
    pub fn count(&self, cell: Cell, lane: Lane) {
        let number = cell.number();
        // Without the shared lane, in which adding takes more.
        let count = if number < FEW {
            self.few[..LANES].get(lane.number()).and_then(OnceBox::get).map(|few| &few.0[number])
        } else {
            let more = self.more[..LANES].get(lane.number()).and_then(OnceBox::get);
            more.and_then(|more| more.next.get(number - FEW))
        };
        match count {
            Some(count) => add_one(count),
            None => self.count_further(cell, lane),
        }
    }

    /// In the shared lane, where there are very many flags, the first time, and answers that have no cell.
    #[inline(never)]
    fn count_further(&self, cell: Cell, lane: Lane) {
        if lane != Lane::SHARED
            && let Some(count) = self.get(cell, lane)
        {
            return add_one(count);
        }
        let count = self.get_or_make(cell, lane);
        count.unwrap_or(&self.uncounted).fetch_add(1, Relaxed);
    }

    fn get(&self, cell: Cell, lane: Lane) -> Option<&AtomicU64> {
        let number = cell.number();
        let Some(number) = number.checked_sub(FEW) else {
            return self.few[lane.place()].get()?.0.get(number);
        };
        let more = self.more[lane.place()].get()?;
        let Some(number) = number.checked_sub(MORE) else { return more.next.get(number) };
        more.many.get(number / MANY)?.get()?.get(number % MANY)
    }

    fn get_or_make(&self, cell: Cell, lane: Lane) -> Option<&AtomicU64> {
        let number = cell.number();
        let Some(number) = number.checked_sub(FEW) else {
            return self.few[lane.place()].get_or_init(|| Box::new(Few::new())).0.get(number);
        };
        if cell.number() >= MAX_CELLS as usize {
            return None;
        }
        let more = self.more[lane.place()].get_or_init(|| Box::new(More::new()));
        let Some(number) = number.checked_sub(MORE) else { return more.next.get(number) };
        more.many.get(number / MANY)?.get_or_init(zeros).get(number % MANY)
    }

    /// Each lane that was ever used.
    fn lanes(&self) -> Vec<Lane> {
        let own = (0..LANES).filter_map(|number| u8::try_from(number).ok().map(Lane::own));
        let all = own.chain([Lane::SHARED]);
        all.filter(|lane| self.few[lane.place()].get().is_some() || self.more[lane.place()].get().is_some())
            .collect()
    }

    /// No cell from this number on was ever counted.
    fn reach(&self) -> usize {
        let of_lane = |(few, more): (&OnceBox<Few>, &OnceBox<More>)| match more.get() {
            Some(more) => {
                let pieces =
                    more.many.iter().rposition(|piece| piece.get().is_some()).map_or(0, |last| last + 1);
                FEW + MORE + pieces * MANY
            }
            None => few.get().map_or(0, |_| FEW),
        };
        self.few.iter().zip(&self.more).map(of_lane).max().unwrap_or(0)
    }

    /// What was counted of a cell in some lanes.
    fn read(&self, cell: Cell, lanes: &[Lane]) -> u64 {
        let counts = lanes.iter().filter_map(|lane| self.get(cell, *lane));
        counts.fold(0, |sum, count| sum.wrapping_add(count.load(Relaxed)))
    }
}

/// Of a count that nobody else writes.
#[inline]
fn add_one(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

impl Few {
    const fn new() -> Few {
        Few([const { AtomicU64::new(0) }; FEW])
    }
}

impl More {
    const fn new() -> More {
        More { next: [const { AtomicU64::new(0) }; MORE], many: [const { OnceBox::new() }; PIECES] }
    }
}

/// Made in place: the largest would fill a thread's stack.
fn zeros<const N: usize>() -> Box<[AtomicU64; N]> {
    let zeros: Box<[AtomicU64]> = (0..N).map(|_| AtomicU64::new(0)).collect();
    zeros.try_into().unwrap_or_else(|_| Box::new([const { AtomicU64::new(0) }; N]))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::compile::{CompiledFlag, Definition, FlagSource};
    use crate::flag::Kills;
    use crate::ids::{EnvKey, Revision};
    use crate::segment::SegmentTable;
    use crate::table::FlagTable;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::sync::Arc;

    const OWN: Lane = Lane::own(0);

    fn flag(key: &str, variants: &[&str]) -> Arc<CompiledFlag> {
        let list: Vec<String> =
            variants.iter().map(|key| format!(r#"{{"key":"{key}","value":"{key}"}}"#)).collect();
        let text = format!(
            r#"{{"key":"{key}","type":"string","variants":[{}],"off_variant":"{}","created_at":0}}"#,
            list.join(","),
            variants[0]
        );
        let state = format!(
            r#"{{"targeting":{{"on":true,"exposure":100,"serve":{{"variant":"{}"}}}},
                "expires_at":9,"targeting_revision":7}}"#,
            variants[0]
        );
        let segments = SegmentTable::default();
        Arc::new(CompiledFlag::compile(FlagSource {
            definition: Definition::new(Arc::new(serde_json::from_str(&text).expect("a flag"))),
            state: Arc::new(serde_json::from_str(&state).expect("a state")),
            revision: Revision(7),
            kills: &Kills::default(),
            environment: &EnvKey::new("live").expect("a key"),
            shared_segments: &segments,
            app_segments: &segments,
            previous: None,
        }))
    }

    fn cell(table: &FlagTable, key: &str, variant: u16) -> Cell {
        table.get(key).expect("a flag").first_cell.after(variant)
    }

    fn told(collector: &mut Collector, tally: &Tally, table: &FlagTable) -> Vec<(String, String, u64)> {
        let text = |one: Counted| {
            let variant = one.variant.map_or("-".to_string(), |variant| variant.to_string());
            (one.flag.to_string(), variant, one.count)
        };
        let collected = collector.collect(tally, table);
        assert_eq!(collected.uncounted, 0);
        let mut told: Vec<_> = collected.counts.into_iter().map(text).collect();
        told.sort();
        told
    }

    fn one(flag: &str, variant: &str, count: u64) -> (String, String, u64) {
        (flag.to_string(), variant.to_string(), count)
    }

    #[test]
    fn every_cell_has_a_count_of_its_own_and_those_past_the_end_have_none() {
        let tally = Tally::new();
        for lane in [OWN, Lane::SHARED] {
            (0..MAX_CELLS as usize).for_each(|number| tally.count(Cell::of(number), lane));
        }
        let lanes = tally.lanes();
        assert_eq!(lanes, [OWN, Lane::SHARED]);
        for lane in &lanes {
            assert!((0..MAX_CELLS as usize).all(|number| tally.read(Cell::of(number), &[*lane]) == 1));
        }
        for past in [Cell::of(MAX_CELLS as usize), Cell::NONE, FirstCell::NONE.after(3)] {
            tally.count(past, OWN);
            tally.count(past, Lane::SHARED);
            assert_eq!(tally.read(past, &lanes), 0);
        }
        assert_eq!(Cells { first: FirstCell::NONE, variants: 2 }.all().count(), 0);
    }

    #[test]
    fn threads_that_share_a_lane_lose_no_count_of_each_other() {
        const TIMES: u64 = 50_000;
        const THREADS: u64 = 4;
        let tally = Tally::new();
        let cells = [0, FEW, FEW + MORE].map(Cell::of);
        let count =
            || (0..TIMES).for_each(|_| cells.iter().for_each(|cell| tally.count(*cell, Lane::SHARED)));
        std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(count))));
        assert_eq!(cells.map(|cell| tally.read(cell, &tally.lanes())), [TIMES * THREADS; 3]);
    }

    #[test]
    fn what_all_threads_counted_is_told_once() {
        let table: FlagTable = [flag("a", &["off", "on"]), flag("b", &["x"])].into_iter().collect();
        let (tally, mut collector) = (Tally::new(), Collector::default());
        // The last two are the same.
        for lane in [OWN, Lane::own(63), Lane::SHARED, Lane::own(64)] {
            tally.count(cell(&table, "a", 1), lane);
            tally.count(cell(&table, "b", 0), lane);
        }
        tally.count(table.get("a").expect("a flag").cells().no_variant(), OWN);
        assert_eq!(
            told(&mut collector, &tally, &table),
            [one("a", "-", 1), one("a", "on", 4), one("b", "x", 4)]
        );
        assert_eq!(told(&mut collector, &tally, &table), []);
        tally.count(cell(&table, "a", 0), OWN);
        assert_eq!(told(&mut collector, &tally, &table), [one("a", "off", 1)]);
    }

    #[test]
    fn answers_that_no_flag_can_be_told_of_are_told_by_their_number() {
        let table: FlagTable = [flag("a", &["off", "on"])].into_iter().collect();
        let (tally, mut collector) = (Tally::new(), Collector::default());
        // No cell was left for them.
        for lane in [OWN, OWN, Lane::SHARED] {
            tally.count(Cell::NONE, lane);
        }
        tally.count(cell(&table, "a", 1), OWN);
        let first = collector.collect(&tally, &table);
        assert_eq!((first.counts.len(), first.uncounted), (1, 3));
        // One flag came and went and nobody said so, nor that the variants of another were others in between.
        let between = table.with(flag("a", &["x"])).with(flag("b", &["y"]));
        let now = between.without("b").with(flag("a", &["off", "on"]));
        for (flag, variant, lane) in [("a", 0, OWN), ("b", 0, OWN), ("b", 0, Lane::SHARED)] {
            tally.count(cell(&between, flag, variant), lane);
        }
        tally.count(cell(&now, "a", 0), OWN);
        let second = collector.collect(&tally, &now);
        assert_eq!((second.counts.len(), second.uncounted), (1, 3));
        assert_eq!(collector.collect(&tally, &now), Collected::default());
    }

    #[test]
    fn a_flag_goes_on_counting_where_its_twin_did_and_elsewhere_once_its_variants_change() {
        let first: FlagTable = [flag("a", &["off", "on"]), flag("b", &["x"])].into_iter().collect();
        let (tally, mut collector) = (Tally::new(), Collector::default());
        tally.count(cell(&first, "a", 1), OWN);
        let second = first.with(flag("a", &["off", "on"]));
        assert_eq!(cell(&second, "a", 1), cell(&first, "a", 1));
        assert_eq!(told(&mut collector, &tally, &second), [one("a", "on", 1)]);
        // Counted before the change, told after it.
        tally.count(cell(&second, "a", 1), OWN);
        let third = second.without("b").with(flag("a", &["on", "off"])).with(flag("c", &["x"]));
        tally.count(cell(&third, "a", 1), OWN);
        tally.count(cell(&first, "b", 0), OWN);
        assert_eq!(
            told(&mut collector, &tally, &third),
            [one("a", "off", 1), one("a", "on", 1), one("b", "x", 1)]
        );
        // One that came and went in between is only told of if somebody says so.
        let between = third.with(flag("d", &["x", "y"]));
        let gone = between.without("d");
        tally.count(cell(&between, "d", 1), OWN);
        collector.leave(between.get("d").expect("a flag"), &gone);
        collector.leave(between.get("c").expect("a flag"), &gone);
        assert_eq!(collector.left.len(), 1);
        assert_eq!(told(&mut collector, &tally, &gone), [one("d", "y", 1)]);
        assert_eq!(told(&mut collector, &tally, &gone), []);
        let fourth = third.of_only([flag("c", &["x"]), flag("b", &["x"])]);
        assert_eq!(cell(&fourth, "c", 0), cell(&third, "c", 0));
        assert!(cell(&fourth, "b", 0) > cell(&fourth, "c", 0), "places of what is gone are not given again");
        assert!(fourth.counts_with(&first) && !fourth.counts_with(&FlagTable::default()));
    }

    #[test]
    fn answers_of_flags_that_came_since_the_last_time_are_told_of_without_their_names() {
        let mut collector = Collector::default();
        let tally = Tally::new();
        for number in [0, FEW - 1, FEW, FEW + MORE - 1, FEW + MORE, FEW + MORE + 2 * MANY] {
            tally.count(Cell::of(number), OWN);
            assert_eq!(
                collector.collect_rest(&tally),
                Collected { counts: Vec::new(), uncounted: 1 },
                "{number}"
            );
        }
        assert_eq!(collector.collect_rest(&tally), Collected::default());
    }
}
