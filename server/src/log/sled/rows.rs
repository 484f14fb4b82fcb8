//! How entries lie in sled's tree.
//!
//! Small entries share a row, which each of them makes longer until it is full: of every page, which has nine rows for good in a
//! tree that is only appended to, sled keeps some 150 bytes in memory for ever. Large ones lie in parts, because sled
//! writes whole leaves of up to some thirty rows, and one above 128 KB would go to a file that it never syncs.
//!
//! Key: revision of the (first) entry (8 bytes, big-endian), part (1 byte). Value of a shared row: format (1 byte), number
//! of entries (1 byte), and of each its length (2 bytes, big-endian), the chain hash after it (32 bytes), its bytes. Value
//! of part 0 of an entry by itself: format (1 byte), number of parts (1 byte), the chain hash after the entry (32 bytes), bytes;
//! of the other parts: bytes. The stored hash finds the break in a damaged log.

use std::sync::Arc;

use rollout_rules::ids::{Digest, Revision};
use sled::{Batch, IVec, Tree};

use super::Place;
use crate::log::{Anchor, LogEntry, MAX_ENTRY_BYTES, OpenError, ReadError};

/// The format of an entry by itself. Small ones were written so, too, before they shared rows.
const ALONE: u8 = 1;
/// The format of entries that share a row.
const SHARED: u8 = 2;
/// Entry bytes in one row. Thirty such rows stay below sled's limit for a page.
const PART_BYTES: usize = 4000;
const _: () = assert!(MAX_ENTRY_BYTES.div_ceil(PART_BYTES) <= u8::MAX as usize);
/// Most bytes of a row that is shared, which is written anew with every entry that joins it: four entries, as they commonly are.
const SHARED_BYTES: usize = 2000;
const LENGTH_BYTES: usize = 2;
const HASH_BYTES: usize = 32;
const _: () = assert!(SHARED_BYTES / (LENGTH_BYTES + HASH_BYTES) < u8::MAX as usize);

/// The entries.
#[derive(Clone)]
pub(super) struct Rows(Tree);

/// What is wrong with a stored log.
pub(super) enum Problem {
    /// sled says so.
    Storage(sled::Error),
    /// An entry is damaged or missing.
    Broken { last_good: Revision },
}

impl Problem {
    pub(super) fn into_open_error(self, place: &Place) -> OpenError {
        match self {
            Problem::Storage(error) => place.failed("reading", error),
            Problem::Broken { last_good } => {
                OpenError::Broken { last_good, problem: "an entry is missing or not what was written" }
            }
        }
    }
}

impl From<sled::Error> for Problem {
    fn from(error: sled::Error) -> Problem {
        Problem::Storage(error)
    }
}

fn key(revision: Revision, part: u8) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&revision.0.to_be_bytes());
    key[8] = part;
    key
}

fn position(key: &[u8]) -> Option<(Revision, u8)> {
    let (revision, part) = key.split_first_chunk::<8>()?;
    let [part] = part else { return None };
    Some((Revision(u64::from_be_bytes(*revision)), *part))
}

/// A row, as it is to be written.
struct Row {
    first: Revision,
    part: u8,
    value: Vec<u8>,
}

impl Row {
    /// The rows of an entry that begins a row, or several.
    fn all_of(entry: &LogEntry) -> Vec<Row> {
        let mut shared = Row { first: entry.revision, part: 0, value: vec![SHARED, 0] };
        if shared.has_room_for(entry) {
            shared.push(entry);
            return vec![shared];
        }
        let parts = entry.bytes.chunks(PART_BYTES);
        let count = u8::try_from(parts.len()).expect("entries have at most 17 parts");
        let mut header = vec![ALONE, count];
        header.extend(entry.hash.0);
        let row = |(part, bytes): (u8, &[u8])| {
            let value = [std::mem::take(&mut header).as_slice(), bytes].concat();
            Row { first: entry.revision, part, value }
        };
        (0..).zip(parts).map(row).collect()
    }

    /// Whether it is shared, ends right before an entry, and that one finds room in it.
    fn has_room_for(&self, entry: &LogEntry) -> bool {
        let is_next = match self.value[..] {
            [SHARED, count, ..] => self.first.0.checked_add(count.into()) == Some(entry.revision.0),
            _ => false,
        };
        let record = LENGTH_BYTES + HASH_BYTES + entry.bytes.len();
        self.part == 0 && is_next && self.value.len() + record <= SHARED_BYTES
    }

    /// Adds an entry that has room.
    fn push(&mut self, entry: &LogEntry) {
        let length = u16::try_from(entry.bytes.len()).expect("rows are shorter");
        self.value[1] += 1;
        self.value.extend(length.to_be_bytes());
        self.value.extend(entry.hash.0);
        self.value.extend(&entry.bytes[..]);
    }
}

/// The entries of a shared row. `None` if they are not whole, or not all that is in it.
fn of_shared(first: Revision, value: &[u8]) -> Option<Vec<LogEntry>> {
    let ([_, count], mut rest) = value.split_first_chunk::<2>()?;
    let mut entries = Vec::with_capacity(usize::from(*count));
    let mut revision = first;
    for _ in 0..*count {
        let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let (hash, after) = after.split_first_chunk::<HASH_BYTES>()?;
        let (bytes, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(LogEntry { revision, hash: Digest(*hash), bytes: bytes.into() });
        (revision, rest) = (revision.next(), after);
    }
    rest.is_empty().then_some(entries)
}

impl Rows {
    pub(super) fn new(tree: Tree) -> Rows {
        Rows(tree)
    }

    /// Writes the entries that come next, whole or not at all. A row by itself is that anyway, and costs a quarter less time until it
    /// is on disk than a batch of one, which sled marks with a record of its own. A row that becomes longer is replaced: what is in
    /// it already stays in either.
    pub(super) fn write(&self, entries: &[LogEntry]) -> Result<(), sled::Error> {
        let Some(first) = entries.first() else { return Ok(()) };
        let last = self.0.get_lt(key(first.revision, 0))?.and_then(|(key, value)| {
            let (first, part) = position(&key)?;
            Some(Row { first, part, value: value.to_vec() })
        });
        let mut rows: Vec<Row> = last.filter(|row| row.has_room_for(first)).into_iter().collect();
        for entry in entries {
            match rows.last_mut() {
                Some(row) if row.has_room_for(entry) => row.push(entry),
                _ => rows.extend(Row::all_of(entry)),
            }
        }
        if let [row] = &rows[..] {
            return self.0.insert(key(row.first, row.part), &row.value[..]).map(drop);
        }
        let mut batch = Batch::default();
        rows.into_iter().for_each(|row| batch.insert(&key(row.first, row.part), row.value));
        self.0.apply_batch(batch)
    }

    /// The anchor after an entry, if that is there.
    pub(super) fn anchor(&self, revision: Revision) -> Result<Option<Anchor>, sled::Error> {
        match self.stored_from(revision)?.next() {
            Ok(entry) => Ok(entry.map(|entry| entry.anchor())),
            Err(Fault::NotWhole) => Ok(None),
            Err(Fault::Storage(error)) => Err(error),
        }
    }

    /// Up to `limit` entries after a position and not beyond another.
    pub(super) fn read(
        &self,
        after: Revision,
        up_to: Revision,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let failed = |error| ReadError::Unavailable(Arc::new(error));
        let mut stored = self.stored_from(after.next()).map_err(failed)?;
        let mut entries = Vec::new();
        let mut last_good = after;
        while entries.len() < limit && last_good < up_to {
            match stored.next() {
                Ok(Some(entry)) => {
                    last_good = entry.revision;
                    entries.push(entry);
                }
                Ok(None) | Err(Fault::NotWhole) => return Err(ReadError::Broken { last_good }),
                Err(Fault::Storage(error)) => return Err(failed(error)),
            }
        }
        Ok(entries)
    }

    /// Checks the chain after a trusted entry, and hands each good one on. Gives the last good entry, and whether
    /// something unfinished lies after it.
    pub(super) fn verify(
        &self,
        from: Anchor,
        each: &mut dyn FnMut(&LogEntry),
    ) -> Result<(Anchor, bool), Problem> {
        let mut stored = self.stored_from(from.revision.next())?;
        let mut head = from;
        loop {
            match stored.next() {
                Ok(None) => return Ok((head, false)),
                Ok(Some(entry)) if head.hash.chain(&entry.bytes) == entry.hash => {
                    each(&entry);
                    head = entry.anchor();
                }
                Err(Fault::Storage(error)) => return Err(error.into()),
                _ if self.is_torn(head.revision.next())? => return Ok((head, true)),
                _ => return Err(Problem::Broken { last_good: head.revision }),
            }
        }
    }

    /// Whether all that is left from an entry on is rows of that one, of which the first is as long as where others follow. Only such
    /// can have been torn: a row by itself is written whole, and most of what a shared one holds was acknowledged.
    fn is_torn(&self, revision: Revision) -> Result<bool, sled::Error> {
        let mut rows = self.0.range(key(revision, 0)..);
        let Some((first, value)) = rows.next().transpose()? else { return Ok(false) };
        for row in rows {
            if position(&row?.0).is_none_or(|(its, _)| its != revision) {
                return Ok(false);
            }
        }
        let is_long = value.len() == 2 + HASH_BYTES + PART_BYTES;
        Ok(position(&first) == Some((revision, 0)) && value.first() == Some(&ALONE) && is_long)
    }

    /// Removes the rows that begin after an entry. The first of them goes last: what is left if this is cut short is torn, too.
    pub(super) fn cut_after(&self, revision: Revision) -> Result<(), sled::Error> {
        for row in self.0.range(key(revision.next(), 0)..).rev() {
            self.0.remove(row?.0)?;
        }
        Ok(())
    }

    /// What is stored from an entry on.
    fn stored_from(
        &self,
        revision: Revision,
    ) -> Result<Stored<impl Iterator<Item = sled::Result<(IVec, IVec)>>>, sled::Error> {
        let row = self.0.get_lt(key(revision, 1))?.and_then(|(key, _)| position(&key));
        let begins = row.map_or(revision, |(first, _)| first);
        let rows = self.0.range(key(begins, 0)..);
        Ok(Stored { rows, begins, row: Vec::new().into_iter(), from: revision })
    }
}

/// Why an entry is not read.
enum Fault {
    Storage(sled::Error),
    /// What lies in its place is not what was written.
    NotWhole,
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Fault {
        Fault::Storage(error)
    }
}

/// Entries in order, without a gap.
struct Stored<I> {
    rows: I,
    /// Where the next row begins.
    begins: Revision,
    /// The rest of a row that was read.
    row: std::vec::IntoIter<LogEntry>,
    /// What lies before it, in the row that it is in, is passed over.
    from: Revision,
}

impl<I: Iterator<Item = sled::Result<(IVec, IVec)>>> Stored<I> {
    /// The next entry. `None` at the end.
    fn next(&mut self) -> Result<Option<LogEntry>, Fault> {
        loop {
            if let Some(entry) = self.row.find(|entry| entry.revision >= self.from) {
                return Ok(Some(entry));
            }
            let Some((key, value)) = self.rows.next().transpose()? else { return Ok(None) };
            if position(&key) != Some((self.begins, 0)) {
                return Err(Fault::NotWhole);
            }
            let entries = match value.first() {
                Some(&SHARED) => of_shared(self.begins, &value),
                Some(&ALONE) => self.assemble(&value)?.map(|entry| vec![entry]),
                _ => None,
            };
            let entries = entries.unwrap_or_default();
            self.begins = entries.last().ok_or(Fault::NotWhole)?.revision.next();
            self.row = entries.into_iter();
        }
    }

    /// Reads the other rows of an entry by itself. `None` if they are not those of a whole entry.
    fn assemble(&mut self, value: &[u8]) -> Result<Option<LogEntry>, sled::Error> {
        let Some(([_, parts], rest)) = value.split_first_chunk::<2>() else { return Ok(None) };
        let Some((hash, first)) = rest.split_first_chunk::<HASH_BYTES>() else { return Ok(None) };
        let (revision, mut bytes) = (self.begins, first.to_vec());
        for part in 1..*parts {
            match self.rows.next().transpose()? {
                Some((key, value)) if position(&key) == Some((revision, part)) => bytes.extend(&value[..]),
                _ => return Ok(None),
            }
        }
        Ok(Some(LogEntry { revision, hash: Digest(*hash), bytes: bytes.into() }))
    }
}
