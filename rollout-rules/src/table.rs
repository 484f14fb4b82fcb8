//! Tables that are read without a lock and changed by copying a small part.
//!
//! A table is a list of shards; each shard is a hash table of its own. While a table is small it has one
//! shard. As it grows the shards double, so that a change copies at most one of about [`SHARD`] items,
//! however large the table is. Readers of the old table keep it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
#[cfg(not(target_arch = "wasm32"))]
use core::hash::{BuildHasher, Hasher};

#[cfg(not(target_arch = "wasm32"))]
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use once_cell::race::OnceBox;

use crate::compile::CompiledFlag;
use crate::tally::Numbering;

/// How many items a shard holds, about; past it the shards double.
pub const SHARD: usize = 128;

/// The hash of a name. The seed is fixed: names in tables are written by people with a token, and what
/// requests bring is only looked up.
#[cfg(not(target_arch = "wasm32"))]
#[inline]
pub(crate) fn hash_of(text: &str) -> u64 {
    let mut hasher = FixedState::with_seed(0x7469_6465).build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The hash of a name, with code that buckets take anyway.
#[cfg(target_arch = "wasm32")]
pub(crate) fn hash_of(text: &str) -> u64 {
    spread(crate::bucketing::murmur3(text.as_bytes()))
}

/// A hash as long as tables want it: shards are chosen by other bits than places within them.
#[cfg(target_arch = "wasm32")]
pub(crate) fn spread(hash: u32) -> u64 {
    (u64::from(hash.rotate_left(16)) << 32) | u64::from(hash)
}

/// Whether two texts are the same. Names are short, and for short texts this is quicker than the call
/// that `==` makes.
#[inline(always)]
pub(crate) fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    // Two pieces that overlap cover every length from one piece to two.
    match a.len() {
        0 => true,
        1..4 => a[0] == b[0] && a[a.len() / 2] == b[b.len() / 2] && a[a.len() - 1] == b[b.len() - 1],
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        8..17 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        17..33 => a.first_chunk::<16>() == b.first_chunk() && a.last_chunk::<16>() == b.last_chunk(),
        _ => a == b,
    }
}

/// Sorts. Those that are equal come in any order.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl FnMut(&T, &T) -> core::cmp::Ordering) {
    items.sort_unstable_by(compare);
}

/// Sorts, with little code: by comparing what is far apart first, then nearer and nearer.
#[cfg(any(target_arch = "wasm32", test))]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "tested where it is not used"))]
mod small {
    use core::cmp::Ordering;

    pub(crate) fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
        let mut gap = items.len();
        while gap > 1 {
            // Nearly halves, without the gaps that are multiples of each other.
            gap = (gap * 5 / 11).max(1);
            for begin in gap..items.len() {
                let mut at = begin;
                while at >= gap && compare(&items[at - gap], &items[at]).is_gt() {
                    items.swap(at - gap, at);
                    at -= gap;
                }
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use small::sort_by;

/// What a table can hold: something with a name.
pub(crate) trait Item: Clone {
    fn name(&self) -> &str;
    fn hash(&self) -> u64;
}

impl Item for Arc<str> {
    fn name(&self) -> &str {
        self
    }

    fn hash(&self) -> u64 {
        hash_of(self)
    }
}

impl Item for Arc<CompiledFlag> {
    #[inline]
    fn name(&self) -> &str {
        self.key().as_str()
    }

    fn hash(&self) -> u64 {
        self.key_hash()
    }
}

type Shard<T> = Arc<HashTable<T>>;

/// Items by name.
pub(crate) struct Shards<T> {
    held: Held<T>,
    len: usize,
}

/// A power of two of shards. Most tables have one, which is found one step sooner: where a table is looked into that no
/// cache holds, each step waits for memory.
enum Held<T> {
    One(Shard<T>),
    Many(Arc<[Shard<T>]>),
}

impl<T> Clone for Shards<T> {
    fn clone(&self) -> Self {
        let held = match &self.held {
            Held::One(shard) => Held::One(Arc::clone(shard)),
            Held::Many(shards) => Held::Many(Arc::clone(shards)),
        };
        Shards { held, len: self.len }
    }
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Shards { held: Held::One(Arc::new(HashTable::new())), len: 0 }
    }
}

impl<T> Shards<T> {
    #[inline]
    fn all(&self) -> &[Shard<T>] {
        match &self.held {
            Held::One(shard) => core::slice::from_ref(shard),
            Held::Many(shards) => shards,
        }
    }
}

impl<T: Item> Shards<T> {
    /// Another part of the hash than hashbrown looks at, so that shards are filled evenly.
    #[inline]
    fn place(hash: u64, shards: usize) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "only a few low bits are used")]
        let bits = (hash >> 32) as usize;
        bits & (shards - 1)
    }

    #[inline]
    pub(crate) fn get(&self, hash: u64, name: &str) -> Option<&T> {
        let shards = self.all();
        shards[Self::place(hash, shards.len())].find(hash, |item| same(item.name(), name))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all().iter().flat_map(|shard| shard.iter())
    }

    /// The table with these items added or replaced, and those names gone.
    pub(crate) fn changed<'n>(
        &self,
        add: impl IntoIterator<Item = T>,
        remove: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let mut shards: Vec<Shard<T>> = self.all().to_vec();
        let mut len = self.len;
        for name in remove {
            let hash = hash_of(name);
            let at = Self::place(hash, shards.len());
            if shards[at].find(hash, |item| item.name() == name).is_none() {
                continue;
            }
            if let Ok(found) = Arc::make_mut(&mut shards[at]).find_entry(hash, |item| item.name() == name) {
                found.remove();
                len -= 1;
            }
        }
        for item in add {
            if len >= SHARD * shards.len() {
                shards = Self::doubled(&shards);
            }
            let hash = item.hash();
            let at = Self::place(hash, shards.len());
            let shard = Arc::make_mut(&mut shards[at]);
            match shard.find_mut(hash, |other| other.name() == item.name()) {
                Some(place) => *place = item,
                None => {
                    shard.insert_unique(hash, item, Item::hash);
                    len += 1;
                }
            }
        }
        let held = match <[Shard<T>; 1]>::try_from(shards) {
            Ok([shard]) => Held::One(shard),
            Err(shards) => Held::Many(shards.into()),
        };
        Shards { held, len }
    }

    fn doubled(shards: &[Shard<T>]) -> Vec<Shard<T>> {
        let count = shards.len() * 2;
        let mut tables: Vec<HashTable<T>> = (0..count).map(|_| HashTable::new()).collect();
        for item in shards.iter().flat_map(|shard| shard.iter()) {
            let hash = item.hash();
            tables[Self::place(hash, count)].insert_unique(hash, item.clone(), Item::hash);
        }
        tables.into_iter().map(Arc::new).collect()
    }
}

/// The compiled flags of one environment. A clone is cheap and shares everything.
///
/// A table gives every flag that is put into it the places where its answers are counted; a flag that
/// follows another with the same key and variants has its places.
#[derive(Clone, Default)]
pub struct FlagTable {
    flags: Shards<Arc<CompiledFlag>>,
    numbering: Numbering,
    /// All by key, from when somebody asks for them so. A table that was changed begins anew.
    sorted: Arc<OnceBox<Vec<Arc<CompiledFlag>>>>,
}

impl FlagTable {
    /// The flag of this key, archived ones included.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Arc<CompiledFlag>> {
        self.flags.get(hash_of(key), key)
    }

    #[inline]
    pub(crate) fn get_hashed(&self, hash: u64, key: &str) -> Option<&Arc<CompiledFlag>> {
        self.flags.get(hash, key)
    }

    /// The table with this flag added or replaced. Copies at most one shard.
    #[must_use]
    pub fn with(&self, flag: Arc<CompiledFlag>) -> FlagTable {
        self.with_all([flag])
    }

    /// The table with all these added or replaced; for many at once, such as a checkpoint's.
    #[must_use]
    pub fn with_all(&self, flags: impl IntoIterator<Item = Arc<CompiledFlag>>) -> FlagTable {
        let mut numbering = self.numbering.clone();
        let numbered = flags.into_iter().map(|flag| self.numbered(flag, &mut numbering));
        FlagTable::of(self.flags.changed(numbered, []), numbering)
    }

    fn of(flags: Shards<Arc<CompiledFlag>>, numbering: Numbering) -> FlagTable {
        FlagTable { flags, numbering, sorted: Arc::default() }
    }

    /// A table of these flags and no others. What is counted of them goes on where this one counts it.
    #[must_use]
    pub fn of_only(&self, flags: impl IntoIterator<Item = Arc<CompiledFlag>>) -> FlagTable {
        let mut numbering = self.numbering.clone();
        let numbered = flags.into_iter().map(|flag| self.numbered(flag, &mut numbering));
        FlagTable::of(Shards::default().changed(numbered, []), numbering)
    }

    /// The table without this flag. Copies at most one shard.
    #[must_use]
    pub fn without(&self, key: &str) -> FlagTable {
        FlagTable::of(self.flags.changed([], [key]), self.numbering.clone())
    }

    fn numbered(&self, mut flag: Arc<CompiledFlag>, numbering: &mut Numbering) -> Arc<CompiledFlag> {
        let twin = self.get_hashed(flag.key_hash(), flag.key().as_str());
        let twin = twin.filter(|twin| twin.counts_as(&flag)).map(|twin| twin.first_cell);
        // One that others hold already was numbered when it was put into a table.
        if let Some(flag) = Arc::get_mut(&mut flag) {
            flag.first_cell = twin.unwrap_or_else(|| numbering.next(flag.flag.variants.len()));
        }
        flag
    }

    /// How many places answers were given to be counted in, those of flags included that are gone.
    pub(crate) fn cells(&self) -> usize {
        self.numbering.given() as usize
    }

    /// Whether both give the same flags the same places to be counted in: one was made of the other.
    pub fn counts_with(&self, other: &FlagTable) -> bool {
        self.numbering.is(&other.numbering)
    }

    /// How many flags there are, archived ones included.
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All flags, in no order that anything may depend on.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<CompiledFlag>> {
        self.flags.iter()
    }

    /// All flags by key. They are put in order once for a table, and the order is kept with it.
    pub fn sorted(&self) -> &[Arc<CompiledFlag>] {
        self.sorted.get_or_init(|| {
            let mut flags: Vec<_> = self.iter().cloned().collect();
            sort_by(&mut flags, |a, b| a.key().cmp(b.key()));
            Box::new(flags)
        })
    }
}

impl FromIterator<Arc<CompiledFlag>> for FlagTable {
    fn from_iter<I: IntoIterator<Item = Arc<CompiledFlag>>>(flags: I) -> FlagTable {
        FlagTable::default().with_all(flags)
    }
}

impl fmt::Debug for FlagTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sorted().iter().map(|flag| flag.key())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;

    fn names(table: &Shards<Arc<str>>) -> BTreeSet<String> {
        table.iter().map(|name| String::from(&**name)).collect()
    }

    #[test]
    fn a_table_that_grows_and_shrinks_holds_what_a_set_holds() {
        let mut table = Shards::default();
        let mut set = BTreeSet::new();
        for step in 0..3_000_u32 {
            let name = format!("unit-{}", step.wrapping_mul(2_654_435_761) % 1_500);
            if step % 3 == 2 {
                table = table.changed([], [&*name]);
                set.remove(&name);
            } else {
                table = table.changed([Arc::from(&*name)], []);
                set.insert(name);
            }
            assert_eq!(table.len(), set.len());
        }
        assert!(table.all().len() > 1, "the test is to see shards double");
        assert_eq!(names(&table), set);
        assert!(set.iter().all(|name| table.get(hash_of(name), name).is_some()));
    }

    #[test]
    fn what_is_sorted_with_little_code_is_sorted() {
        for length in 0..300_usize {
            let mut items: Vec<usize> = (0..length).map(|at| at * 7919 % 101).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            small::sort_by(&mut items, Ord::cmp);
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn texts_are_the_same_exactly_when_all_their_bytes_are() {
        let text = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP";
        for length in 0..=text.len() {
            let whole = &text[..length];
            assert!(same(whole, &String::from(whole)), "{length}");
            assert!(!same(whole, &format!("{whole}x")));
            for at in 0..length {
                let other = format!("{}_{}", &whole[..at], &whole[at + 1..]);
                assert!(!same(whole, &other), "{length} bytes differ at {at}");
            }
        }
    }

    #[test]
    fn a_change_copies_one_shard_and_leaves_the_old_table_alone() {
        let units = (0..5_000).map(|i| Arc::from(format!("unit-{i}")));
        let before: Shards<Arc<str>> = Shards::default().changed(units, []);
        let after = before.changed([Arc::from("newcomer")], []);
        let copied = before.all().iter().zip(after.all()).filter(|(a, b)| !Arc::ptr_eq(a, b));
        assert_eq!(copied.count(), 1);
        assert_eq!((before.len(), after.len()), (5_000, 5_001));
        assert!(before.get(hash_of("newcomer"), "newcomer").is_none());
    }

    #[test]
    fn removing_what_is_not_there_copies_nothing() {
        let before: Shards<Arc<str>> = Shards::default().changed([Arc::from("a")], []);
        let after = before.changed([], ["b"]);
        assert!(Arc::ptr_eq(&before.all()[0], &after.all()[0]));
    }
}
