//! How entries lie in sled's tree: in parts, because sled writes whole leaves of up to some thirty rows,
//! and one above 128 KB would go to a file that it never syncs.
//!
//! Key: revision (8 bytes, big-endian), part (1 byte). Value of part 0: format (1 byte), number of parts
//! (1 byte), the chain hash after the entry (32 bytes), bytes; of the others: bytes. The stored hash finds
//! the break in a damaged log, and gives the head without reading what is before.

use std::sync::Arc;

use rollout_rules::ids::{Digest, Revision};
use sled::{Batch, IVec, Tree};

use super::Place;
use crate::log::{Anchor, LogEntry, MAX_ENTRY_BYTES, OpenError, ReadError};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 2 + 32;
/// Entry bytes in one row. Thirty such rows stay below sled's limit for a page.
const PART_BYTES: usize = 4000;
const _: () = assert!(MAX_ENTRY_BYTES.div_ceil(PART_BYTES) <= u8::MAX as usize);

/// The entries.
#[derive(Clone)]
pub(super) struct Rows(Tree);

/// What is wrong with a stored log.
pub(super) enum Problem {
    /// sled says so.
    Storage(sled::Error),
    /// An entry is damaged or missing, and others follow it.
    Broken { last_good: Revision },
}

impl Problem {
    pub(super) fn into_open_error(self, place: &Place) -> OpenError {
        match self {
            Problem::Storage(error) => place.failed("reading", error),
            Problem::Broken { last_good } => OpenError::Broken {
                last_good,
                problem: "an entry is missing or not what was written, and others follow it",
            },
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
    Some((Revision(u64::from_be_bytes(*revision)), *part.first()?))
}

/// Adds an entry to a batch.
fn put(batch: &mut Batch, entry: &LogEntry) {
    let parts = entry.bytes.len().div_ceil(PART_BYTES).max(1);
    let (first, mut rest) = entry.bytes.split_at(entry.bytes.len().min(PART_BYTES));
    let parts = u8::try_from(parts).expect("entries have at most 17 parts");
    batch.insert(&key(entry.revision, 0), first_row(entry, parts, first));
    let mut part = 1;
    while !rest.is_empty() {
        let (bytes, after) = rest.split_at(rest.len().min(PART_BYTES));
        batch.insert(&key(entry.revision, part), bytes);
        rest = after;
        part += 1;
    }
}

/// The value of part 0.
fn first_row(entry: &LogEntry, parts: u8, first: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + first.len());
    value.extend([FORMAT, parts]);
    value.extend(entry.hash.0);
    value.extend(first);
    value
}

impl Rows {
    pub(super) fn new(tree: Tree) -> Rows {
        Rows(tree)
    }

    /// Writes entries, whole or not at all. A row by itself is that anyway, and costs a quarter less time until it
    /// is on disk than a batch of one, which sled marks with a record of its own.
    pub(super) fn write(&self, entries: &[LogEntry]) -> Result<(), sled::Error> {
        match entries {
            [entry] if entry.bytes.len() <= PART_BYTES => {
                self.0.insert(key(entry.revision, 0), first_row(entry, 1, &entry.bytes)).map(drop)
            }
            _ => {
                let mut batch = Batch::default();
                entries.iter().for_each(|entry| put(&mut batch, entry));
                self.0.apply_batch(batch)
            }
        }
    }

    /// The stored hash of an entry, if it is there.
    pub(super) fn anchor(&self, revision: Revision) -> Result<Option<Anchor>, sled::Error> {
        let value = self.0.get(key(revision, 0))?;
        let hash = value.and_then(|value| value.get(2..HEADER_BYTES).and_then(|hash| hash.try_into().ok()));
        Ok(hash.map(|hash| Anchor { revision, hash: Digest(hash) }))
    }

    /// Up to `limit` entries after a position and not beyond another.
    pub(super) fn read(
        &self,
        after: Revision,
        up_to: Revision,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let mut rows = self.0.range(key(after.next(), 0)..key(up_to.next(), 0));
        let mut entries = Vec::new();
        let mut last_good = after;
        while entries.len() < limit && last_good < up_to {
            match assemble(&mut rows, last_good.next()) {
                Ok(Some(entry)) => {
                    last_good = entry.revision;
                    entries.push(entry);
                }
                Ok(None) => return Err(ReadError::Broken { last_good }),
                Err(error) => return Err(ReadError::Unavailable(Arc::new(error))),
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
        let last = self.0.last()?.and_then(|(key, _)| position(&key)).map(|(revision, _)| revision);
        let last = last.unwrap_or(Revision::ZERO);
        let mut rows = self.0.range(key(from.revision.next(), 0)..);
        let mut head = from;
        while head.revision < last {
            let expected = head.revision.next();
            match assemble(&mut rows, expected)? {
                Some(entry) if head.hash.chain(&entry.bytes) == entry.hash => {
                    each(&entry);
                    head = entry.anchor();
                }
                // Only the very last entry can have been torn: batches are written whole, in order.
                _ if expected == last => return Ok((head, true)),
                _ => return Err(Problem::Broken { last_good: head.revision }),
            }
        }
        Ok((head, false))
    }

    /// Removes what lies after an entry.
    pub(super) fn cut_after(&self, revision: Revision) -> Result<(), sled::Error> {
        for row in self.0.range(key(revision.next(), 0)..) {
            self.0.remove(row?.0)?;
        }
        Ok(())
    }
}

/// Reads the rows of one entry. `None` if they are not those of a whole entry with that revision.
fn assemble(
    rows: &mut impl Iterator<Item = sled::Result<(IVec, IVec)>>,
    expected: Revision,
) -> Result<Option<LogEntry>, sled::Error> {
    let Some((key, value)) = rows.next().transpose()? else { return Ok(None) };
    if position(&key) != Some((expected, 0)) {
        return Ok(None);
    }
    let Some(([FORMAT, parts], rest)) = value.split_first_chunk::<2>() else { return Ok(None) };
    let Some((hash, first)) = rest.split_first_chunk::<32>() else { return Ok(None) };
    let mut bytes = first.to_vec();
    for part in 1..*parts {
        match rows.next().transpose()? {
            Some((key, value)) if position(&key) == Some((expected, part)) => bytes.extend(&value[..]),
            _ => return Ok(None),
        }
    }
    Ok(Some(LogEntry { revision: expected, hash: Digest(*hash), bytes: bytes.into() }))
}
