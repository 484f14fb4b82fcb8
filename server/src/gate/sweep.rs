//! What nothing names any more goes: whole packs, or what of a pack is not named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};

use rollout_rules::ids::Digest;

use super::files::{Files, lock, pack_path};

impl Files {
    /// From now on nothing goes, until it is released as often.
    pub(super) fn hold(&self) {
        if let Files::Folder { index, .. } = self {
            lock(index).holds += 1;
        }
    }

    /// The opposite.
    pub(super) fn release(&self) {
        if let Files::Folder { index, .. } = self {
            let mut index = lock(index);
            index.holds = index.holds.saturating_sub(1);
        }
    }

    /// Removes files that nothing named, neither now nor at the last sweep: what names them may have been on its way to the log then. A
    /// pack that holds others too is written anew without them. Nothing goes while a backup is taken. Says how many files went.
    pub fn sweep(&self, is_named: &BTreeSet<Digest>) -> io::Result<usize> {
        // Without a disk nothing outlives the process anyway, and decisions are few.
        let Files::Folder { index, .. } = self else { return Ok(0) };
        let (gone, left) = {
            let mut index = lock(index);
            if index.holds > 0 {
                return Ok(0);
            }
            let unnamed = index.places.iter().filter(|(name, _)| !is_named.contains(name));
            let unnamed: BTreeSet<(u64, Digest)> = unnamed.map(|(name, place)| (place.pack, *name)).collect();
            let gone: BTreeSet<(u64, Digest)> = unnamed.intersection(&index.unnamed).copied().collect();
            // What is left of each pack; of one that was written over whole, nothing.
            let mut left: BTreeMap<u64, Vec<Digest>> =
                index.packs.iter().map(|pack| (*pack, Vec::new())).collect();
            for (name, place) in
                index.places.iter().filter(|(name, place)| !gone.contains(&(place.pack, **name)))
            {
                left.entry(place.pack).or_default().push(*name);
            }
            let goes: BTreeSet<u64> = gone.iter().map(|(pack, _)| *pack).collect();
            left.retain(|pack, names| names.is_empty() || goes.contains(pack));
            index.unnamed = unnamed.difference(&gone).copied().collect();
            (gone, left)
        };
        let mut went = 0;
        for (pack, names) in left {
            if self.leave(pack, &names)? {
                went += gone.range((pack, Digest([0; 32]))..=(pack, Digest([0xff; 32]))).count();
            }
        }
        Ok(went)
    }

    /// Leaves only these files of a pack. Says whether it did: not while somebody copies them, nor if one cannot be read.
    fn leave(&self, pack: u64, names: &[Digest]) -> io::Result<bool> {
        let Files::Folder { path, index } = self else { return Ok(false) };
        let mut batch = self.batch();
        for name in names {
            match self.get(name) {
                Ok(Some(bytes)) => _ = batch.put(&bytes)?,
                Ok(None) => {}
                // It is told where it is asked for; here it is only not lost altogether.
                Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if lock(index).holds > 0 {
            return Ok(false);
        }
        self.keep(batch)?;
        {
            let mut index = lock(index);
            if index.holds > 0 {
                // What was written anew is whole, and the old pack is passed over until the next sweep.
                return Ok(false);
            }
            index.places.retain(|_, place| place.pack != pack);
            index.packs.remove(&pack);
        }
        match fs::remove_file(pack_path(path, pack)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}
