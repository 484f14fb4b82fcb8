//! The file of the sums: lines, each the sums of one flag in one environment as they were at a time, with a
//! checksum. The last line of a flag counts. What is torn or damaged is passed over: these are statistics, and
//! the next line of the flag repairs it. When most of the file is of the past it is written anew.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollout_rules::ids::Digest;
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::sums::{FlagSums, Place, Sums};

/// The file is written anew when it is larger than this and twice what it was when it was last.
const SMALLEST_TO_REWRITE: u64 = 1024 * 1024;
/// How much of a checksum a line bears, in hexadecimal digits.
const SUM_DIGITS: usize = 16;
const FORMAT: u32 = 1;

/// Why the file cannot be used.
#[derive(Clone, Debug)]
pub struct StoreError {
    doing: &'static str,
    path: PathBuf,
    source: Arc<io::Error>,
}

impl StoreError {
    pub(super) fn new(doing: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError { doing, path: path.to_owned(), source: Arc::new(source) }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} the exposure counts in {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    counting_since: UnixMs,
}

/// Every other line.
#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    place: Place,
    /// None: the flag is gone.
    answers: Option<FlagSums>,
}

/// A line about a place.
pub(super) fn line(place: &Place, sums: Option<&FlagSums>) -> String {
    sealed(&Row { place: place.clone(), answers: sums.cloned() })
}

fn sealed(content: &impl Serialize) -> String {
    let json = serde_json::to_string(content).unwrap_or_default();
    format!("{} {json}\n", &checksum(&json))
}

fn checksum(json: &str) -> String {
    let mut digits = Digest::of(json.as_bytes()).to_string();
    digits.truncate(SUM_DIGITS);
    digits
}

/// The content of a line that is as it was written.
fn opened(line: &str) -> Option<&str> {
    let (sum, json) = line.split_once(' ')?;
    (sum == checksum(json)).then_some(json)
}

/// The open file.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    counting_since: UnixMs,
    /// How much of the file is whole.
    length: u64,
    /// How long it was when it was written anew.
    rewritten: u64,
}

impl Store {
    /// Opens the file, making it if it is not there. One whose head cannot be read is put aside, and counting
    /// begins anew. A full disk keeps no file that is there from being opened.
    pub(super) fn open(path: &Path, now: UnixMs) -> Result<(Store, Sums), StoreError> {
        let failed = |doing| move |error| StoreError::new(doing, path, error);
        let bytes = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("reading")(error)),
        };
        if let Some(read) = bytes.as_deref().and_then(read) {
            let store = Store::at(path, &read).map_err(failed("opening"))?;
            return Ok((store, Sums::restored(read.counting_since, read.flags)));
        }
        if bytes.is_some() {
            let aside = path.with_extension("damaged");
            tracing::warn!(aside = %aside.display(), "the exposure counts cannot be read; counting begins anew");
            fs::rename(path, aside).map_err(failed("putting aside"))?;
        }
        let store = Store::written(path, now, &BTreeMap::new()).map_err(failed("making"))?;
        Ok((store, Sums::since(now)))
    }

    /// The file as it was read, without what is torn at its end.
    fn at(path: &Path, read: &Read) -> io::Result<Store> {
        let mut file = File::options().write(true).open(path)?;
        file.set_len(read.whole)?;
        file.seek(SeekFrom::End(0))?;
        let (counting_since, length, rewritten) = (read.counting_since, read.whole, read.needed);
        Ok(Store { path: path.to_owned(), file, counting_since, length, rewritten })
    }

    /// Writes the whole file beside its place, and puts it there.
    fn written(path: &Path, counting_since: UnixMs, flags: &BTreeMap<Place, FlagSums>) -> io::Result<Store> {
        let unfinished = path.with_extension("unfinished");
        let write = || {
            let mut file = io::BufWriter::new(File::create(&unfinished)?);
            file.write_all(sealed(&Head { format: FORMAT, counting_since }).as_bytes())?;
            for (place, sums) in flags {
                file.write_all(line(place, Some(sums)).as_bytes())?;
            }
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            Ok(file)
        };
        let file: File = write().inspect_err(|_: &io::Error| {
            // What is left of it would only fill the disk further.
            let _ = fs::remove_file(&unfinished);
        })?;
        let length = file.metadata()?.len();
        Ok(Store { path: path.to_owned(), file, counting_since, length, rewritten: length })
    }

    /// Puts lines on disk. If that fails none of them counts as written.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is left of them must not run into the next line.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += lines.len() as u64;
        if self.length > SMALLEST_TO_REWRITE.max(2 * self.rewritten) {
            self.rewrite()?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let read = read(&fs::read(&self.path)?).ok_or(io::ErrorKind::InvalidData)?;
        *self = Store::written(&self.path, self.counting_since, &read.flags)?;
        Ok(())
    }
}

/// What a file says.
struct Read {
    counting_since: UnixMs,
    flags: BTreeMap<Place, FlagSums>,
    /// How much of it is whole lines.
    whole: u64,
    /// How long it would be without what is of the past.
    needed: u64,
}

/// What a file says; none if its head is not whole or of another format.
fn read(bytes: &[u8]) -> Option<Read> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    let mut lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n');
    let content = |line: &[u8]| {
        std::str::from_utf8(line).ok().and_then(|line| opened(line.trim_end()).map(str::to_owned))
    };
    let head = lines.next()?;
    let mut needed = head.len();
    let head: Head = serde_json::from_str(&content(head)?).ok()?;
    if head.format != FORMAT {
        return None;
    }
    let mut flags = BTreeMap::new();
    for line in lines {
        let Some(row) = content(line).and_then(|json| serde_json::from_str::<Row>(&json).ok()) else {
            continue;
        };
        let before = match row.answers {
            Some(sums) => {
                needed += line.len();
                flags.insert(row.place, (sums, line.len()))
            }
            None => flags.remove(&row.place),
        };
        needed -= before.map_or(0, |(_, length)| length);
    }
    let flags = flags.into_iter().map(|(place, (sums, _))| (place, sums)).collect();
    Some(Read { counting_since: head.counting_since, flags, whole: whole as u64, needed: needed as u64 })
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::{AppKey, EnvKey, FlagKey, VariantKey};

    use super::*;
    use crate::exposures::place;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn flag(key: &str) -> Place {
        let (app, environment) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        place(&app, &environment, &FlagKey::new(key).expect("a key"))
    }

    /// Adds one answer and writes what changed.
    fn count(store: &mut Store, sums: &mut Sums, key: &str, now: UnixMs) {
        assert!(sums.add(&flag(key), Some(&VariantKey::new("on").expect("a key")), 1, now));
        let lines: String = sums.take_changes().iter().map(|(place, sums)| line(place, *sums)).collect();
        store.append(&lines).expect("written");
    }

    fn counted(sums: &Sums, key: &str) -> u64 {
        let answers = sums.get(&flag(key)).map_or(&[][..], FlagSums::answers);
        answers.iter().flat_map(|answer| answer.days(NOW)).map(|(_, count)| count).sum()
    }

    #[test]
    fn what_was_written_is_there_again_and_what_is_damaged_costs_no_more_than_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, mut sums) = Store::open(&path, NOW).expect("opens");
        for key in ["a", "b", "a", "c"] {
            count(&mut store, &mut sums, key, NOW);
        }
        drop(store);
        let whole = fs::read(&path).expect("a file");
        let later = NOW.plus(rollout_rules::time::DAY);
        let (_, again) = Store::open(&path, later).expect("opens");
        assert_eq!([counted(&again, "a"), counted(&again, "b"), counted(&again, "c")], [2, 1, 1]);
        assert_eq!(again.counting_since(), NOW);
        // A tail that is torn anywhere loses the last line at most.
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("lines") + 1;
        for end in last..whole.len() - 1 {
            fs::write(&path, &whole[..end]).expect("written");
            let (mut store, mut sums) = Store::open(&path, later).expect("opens");
            assert_eq!([counted(&sums, "a"), counted(&sums, "c")], [2, 0], "{end}");
            count(&mut store, &mut sums, "c", NOW);
            let (_, mended) = Store::open(&path, later).expect("opens");
            assert_eq!(counted(&mended, "c"), 1);
        }
        let mut damaged = whole.clone();
        damaged[last + 30] ^= 1;
        fs::write(&path, &damaged).expect("written");
        assert_eq!(counted(&Store::open(&path, later).expect("opens").1, "a"), 2);
    }

    #[test]
    fn a_file_that_is_something_else_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        fs::write(&path, "not ours\n").expect("written");
        let (_, sums) = Store::open(&path, NOW).expect("opens");
        assert_eq!(sums.counting_since(), NOW);
        assert_eq!(fs::read_to_string(folder.path().join("exposures.damaged")).expect("kept"), "not ours\n");
    }

    #[test]
    fn a_file_of_the_past_is_written_anew_and_flags_that_are_gone_are_not_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, mut sums) = Store::open(&path, NOW).expect("opens");
        count(&mut store, &mut sums, "gone", NOW);
        sums.forget(|place| place.flag.as_str() != "gone", NOW);
        let mut most = 0;
        for _ in 0..12_000 {
            count(&mut store, &mut sums, "a", NOW);
            most = most.max(store.length);
        }
        assert!(most <= SMALLEST_TO_REWRITE + 1_000, "{most}");
        assert!(store.length < most);
        drop(store);
        let (_, again) = Store::open(&path, NOW).expect("opens");
        assert_eq!((counted(&again, "a"), again.get(&flag("gone"))), (12_000, None));
        assert!(!fs::read_to_string(&path).expect("a file").contains("gone"));
    }
}
