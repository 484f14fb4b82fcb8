//! What no durable change can do without, on this disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Bytes of a record.
const RECORD: usize = 256;

/// Appends to a file and syncs it.
pub(crate) struct Append {
    file: File,
}

impl Append {
    pub(crate) fn new(directory: &Path) -> Append {
        fs::create_dir_all(directory).expect("a directory to measure in");
        let file = File::options().create(true).append(true).open(directory.join("append"));
        Append { file: file.expect("a file to measure with") }
    }

    pub(crate) fn once(&mut self) {
        self.file.write_all(&[b'x'; RECORD]).expect("written");
        self.file.sync_data().expect("synced");
    }
}

/// Inserts into sled, flushes it, and syncs its file as it should have done.
pub(crate) struct BareSled {
    db: sled::Db,
    file: File,
    count: u64,
}

impl BareSled {
    pub(crate) fn new(directory: &Path) -> BareSled {
        let path = directory.join("sled");
        let db = sled::Config::new().path(&path).flush_every_ms(None).open().expect("sled opens");
        let file = File::options().write(true).open(path.join("db")).expect("sled has made it");
        BareSled { db, file, count: 0 }
    }

    pub(crate) fn once(&mut self) {
        self.count += 1;
        let mut record = [b'x'; RECORD];
        // A value that does not change is not written.
        record[..8].copy_from_slice(&self.count.to_be_bytes());
        self.db.insert(self.count.to_be_bytes(), &record[..]).expect("inserted");
        self.db.flush().expect("flushed");
        self.file.sync_data().expect("synced");
    }
}
