//! Space, claimed before it is needed: sled does not survive a write that finds the disk full, so its
//! writes only go where blocks are already its own.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

/// Space claimed beyond the end of the database file, in bytes: eight of sled's segments.
const CLAIM_BYTES: u64 = 4 * 1024 * 1024;
/// What sled may write for an empty batch, in bytes: leaves that it writes anew, the row that goes on, a new segment.
const FIXED_BYTES: u64 = 768 * 1024;
/// What sled may write for each byte of a batch.
const AMPLIFICATION: u64 = 4;
/// Most entry bytes in one batch, so that half a claim always holds it.
pub(super) const MAX_BATCH_BYTES: usize = 256 * 1024;
const _: () = assert!(FIXED_BYTES + AMPLIFICATION * MAX_BATCH_BYTES as u64 <= CLAIM_BYTES / 2);

/// There is no space.
pub(super) struct Full;

/// The blocks behind a file's end that are already its own.
pub(super) struct Claim {
    file: File,
    length: u64,
    claimed_to: u64,
}

impl Claim {
    pub(super) fn new(file: File) -> Claim {
        Claim { file, length: 0, claimed_to: 0 }
    }

    /// Makes sure that a batch of so many entry bytes finds space, claiming more if need be.
    pub(super) fn hold(&mut self, bytes: usize) -> io::Result<Result<(), Full>> {
        let length = self.file.metadata()?.len();
        if length < self.length {
            // sled cut the file, and the claim with it.
            self.claimed_to = length;
        }
        self.length = length;
        let needed = length + FIXED_BYTES + AMPLIFICATION * bytes as u64;
        if self.claimed_to >= (length + CLAIM_BYTES / 2).max(needed) {
            return Ok(Ok(()));
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, CLAIM_BYTES) {
            Ok(()) => self.claimed_to = length + CLAIM_BYTES,
            Err(Errno::NOSPC | Errno::DQUOT) if self.claimed_to >= needed => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Ok(Err(Full)),
            // A file system that cannot claim can still be asked.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.ask(),
            Err(error) => return Err(error.into()),
        }
        Ok(Ok(()))
    }

    fn ask(&self) -> io::Result<Result<(), Full>> {
        let disk = fstatvfs(&self.file)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(if free >= CLAIM_BYTES { Ok(()) } else { Err(Full) })
    }
}

/// Makes a file of a size whose blocks are its own.
pub(super) fn claim_file(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let claimed = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    if claimed.is_err() {
        // An empty file would look like a claim.
        std::fs::remove_file(path)?;
    }
    Ok(claimed?)
}
