//! The file of the sums: [lines](super::lines) are appended, and when most of them are of the past it is written anew.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollout_rules::time::UnixMs;

use super::kept::{Change, Kept};
use super::lines::{DAMAGED, Read, head, line, read, rows};
use super::sums::Sums;

/// The file is written anew when it is larger than this and twice what it was when it was last.
const SMALLEST_TO_REWRITE: u64 = 1024 * 1024;
/// Longest that the file gets; it is half of that when all sums that fit are in it. Past it nothing is written until
/// it could be written anew, which is tried ever more rarely.
const LONGEST: u64 = 512 * 1024 * 1024;

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

/// The open file.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    counting_since: UnixMs,
    /// How much of the file is whole.
    length: u64,
    /// How long it was when it was written anew, or when that failed: it has to double before it is tried again.
    rewritten: u64,
    /// Whether it could not be written anew the last time.
    stays_long: bool,
    /// Whether something may be left behind what is whole.
    torn: bool,
    longest: u64,
    /// How many times lines were refused because the file is too long.
    refused: u64,
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
            let mut sums = Sums::restored(read.counting_since, read.kept, now);
            if read.damaged {
                tracing::warn!(
                    "a part of the exposure counts is damaged; flags are judged by what is counted from now on"
                );
                sums.note_gap(None, now);
            }
            return Ok((store, sums));
        }
        if bytes.is_some() {
            let aside = path.with_extension("damaged");
            tracing::warn!(aside = %aside.display(), "the exposure counts cannot be read; counting begins anew");
            fs::rename(path, aside).map_err(failed("putting aside"))?;
        }
        let store = Store::written(path, now, &Kept::default(), false).map_err(failed("making"))?;
        Ok((store, Sums::since(now)))
    }

    /// The file as it was read, without what is torn at its end.
    fn at(path: &Path, read: &Read) -> io::Result<Store> {
        let mut file = File::options().write(true).open(path)?;
        file.set_len(read.whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Store { rewritten: read.needed, ..Store::whole(path, file, read.counting_since, read.whole) })
    }

    fn whole(path: &Path, file: File, counting_since: UnixMs, length: u64) -> Store {
        let path = path.to_owned();
        let (rewritten, longest) = (length, LONGEST);
        let (stays_long, torn, refused) = (false, false, 0);
        Store { path, file, counting_since, length, rewritten, stays_long, torn, longest, refused }
    }

    /// Writes the whole file beside its place, and puts it there.
    fn written(path: &Path, counting_since: UnixMs, kept: &Kept, damaged: bool) -> io::Result<Store> {
        let unfinished = path.with_extension("unfinished");
        let write = || {
            let mut file = io::BufWriter::new(File::create(&unfinished)?);
            file.write_all(head(counting_since).as_bytes())?;
            let flags =
                kept.flags.iter().map(|(place, sums)| Change::Flag(place.clone(), Some(sums.clone())));
            let gaps = kept.gaps.iter().map(|(app, at)| Change::Gap(app.clone(), Some(*at)));
            for one in gaps.chain(flags) {
                file.write_all(line(one).as_bytes())?;
            }
            if damaged {
                file.write_all(DAMAGED.as_bytes())?;
            }
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            let length = file.metadata()?.len();
            fs::rename(&unfinished, path)?;
            // Else a machine that crashes might come up with the old file, without what is appended to this one. If it
            // fails this one is in place all the same.
            let _ = File::open(path.parent().unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
            Ok((file, length))
        };
        let (file, length): (File, u64) = write().inspect_err(|_: &io::Error| {
            // What is left of it would only fill the disk further.
            let _ = fs::remove_file(&unfinished);
        })?;
        Ok(Store::whole(path, file, counting_since, length))
    }

    /// Puts lines on disk. If that fails none of them counts as written.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        if self.torn {
            self.take_back()?;
        }
        if self.length + lines.len() as u64 > self.longest {
            self.refused += 1;
            if self.refused.is_power_of_two() {
                self.rewrite();
            }
            if self.length + lines.len() as u64 > self.longest {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.torn = true;
            // If that fails as well, it is done before the next lines.
            let _ = self.take_back();
            return Err(error);
        }
        self.length += lines.len() as u64;
        if self.length > SMALLEST_TO_REWRITE.max(2 * self.rewritten) {
            self.rewrite();
        }
        Ok(())
    }

    /// Takes away what is left of lines that could not be written: it must not run into the next.
    fn take_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.torn = false;
        Ok(())
    }

    /// Writes the file anew. What is in it is on disk, so that a failure costs room and nothing else.
    fn rewrite(&mut self) {
        let anew = || {
            let bytes = fs::read(&self.path)?;
            // The head is known, be it damaged or not.
            let head = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
            let rows = rows(&bytes[head..]);
            Store::written(&self.path, self.counting_since, &rows.kept, rows.damaged)
        };
        match anew() {
            Ok(store) => *self = Store { longest: self.longest, ..store },
            Err(error) => {
                if !self.stays_long {
                    tracing::warn!(%error, "the file of exposure counts cannot be written anew and grows for now");
                }
                self.stays_long = true;
                self.rewritten = self.length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::{AppKey, EnvKey, FlagKey, VariantKey};

    use super::super::kept::Still;
    use super::*;
    use crate::exposures::{FlagSums, Place, place};

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn flag(key: &str) -> Place {
        let (app, environment) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        place(&app, &environment, &FlagKey::new(key).expect("a key"))
    }

    /// Adds one answer and writes what changed.
    fn count(store: &mut Store, sums: &mut Sums, key: &str, now: UnixMs) {
        assert!(sums.add(&flag(key), Some(&VariantKey::new("on").expect("a key")), 1, now));
        let mut changed = sums.take_changed();
        let lines: String = sums.copies(&mut changed).into_iter().map(line).collect();
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
            assert_eq!(sums.gap_at(&flag("a").app), None, "it was not written, and may be missed");
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
    fn a_damaged_line_is_a_gap_from_when_it_was_found_however_often_the_file_is_read_and_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, mut sums) = Store::open(&path, NOW).expect("opens");
        ["a", "c", "b"].iter().for_each(|key| count(&mut store, &mut sums, key, NOW));
        let mut bytes = fs::read(&path).expect("a file");
        let middle = bytes.windows(3).position(|part| part == b"\"c\"").expect("a line about c");
        bytes[middle + 1] = b'x';
        fs::write(&path, &bytes).expect("written");
        // Written anew by a server that has not read it again: what was lost stays lost.
        grow(&mut store);
        assert!(store.length < SMALLEST_TO_REWRITE);
        let day = |number| NOW.plus(rollout_rules::time::DurationMs::days(number));
        let gap_at = |now| Store::open(&path, now).expect("opens").1.gap_at(&flag("a").app);
        // Until it is noted, it is found each time.
        assert_eq!((gap_at(day(1)), gap_at(day(2))), (Some(day(1)), Some(day(2))));
        let (mut store, mut sums) = Store::open(&path, day(3)).expect("opens");
        assert_eq!(sums.get(&flag("c")), None);
        count(&mut store, &mut sums, "a", day(3));
        assert_eq!(gap_at(day(4)), Some(day(3)));
        grow(&mut store);
        assert_eq!(gap_at(day(5)), Some(day(3)));
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
        sums.forget([(flag("gone"), Still::Gone)], NOW);
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

    /// Appends lines of a flag of the past until the file was to be written anew once more.
    fn grow(store: &mut Store) {
        let mut sums = Sums::since(NOW);
        assert!(sums.add(&flag("b"), None, 1, NOW));
        let lines = line(Change::Flag(flag("b"), sums.get(&flag("b")).cloned()));
        let lines = lines.repeat(usize::try_from(SMALLEST_TO_REWRITE).expect("fits") / lines.len() + 1);
        store.append(&lines).expect("on disk, however long the file is");
    }

    #[test]
    fn lines_on_disk_are_written_whatever_becomes_of_writing_the_file_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, mut sums) = Store::open(&path, NOW).expect("opens");
        count(&mut store, &mut sums, "a", NOW);
        let in_the_way = folder.path().join("exposures.unfinished");
        fs::create_dir(&in_the_way).expect("a folder");
        grow(&mut store);
        let long = store.length;
        assert!(long > SMALLEST_TO_REWRITE);
        count(&mut store, &mut sums, "a", NOW);
        assert_eq!(fs::metadata(&path).expect("a file").len(), store.length);
        // Nothing is written past the longest that it may be, until it can be written anew.
        store.longest = store.length;
        let line = line(Change::Flag(flag("a"), sums.get(&flag("a")).cloned()));
        assert!(store.append(&line).is_err() && store.append(&line).is_err());
        assert_eq!(fs::metadata(&path).expect("a file").len(), store.length);
        fs::remove_dir(&in_the_way).expect("removed");
        assert!(store.append(&line).is_err(), "tried ever more rarely");
        store.append(&line).expect("written");
        assert!(store.length < long);
        assert_eq!(counted(&Store::open(&path, NOW).expect("opens").1, "a"), 2);
    }

    #[test]
    fn a_damaged_head_is_mended_when_the_file_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, mut sums) = Store::open(&path, NOW).expect("opens");
        count(&mut store, &mut sums, "a", NOW);
        let mut bytes = fs::read(&path).expect("a file");
        bytes[3] ^= 1;
        fs::write(&path, bytes).expect("written");
        grow(&mut store);
        let (_, again) = Store::open(&path, NOW.plus(rollout_rules::time::DAY)).expect("opens");
        assert_eq!((counted(&again, "a"), again.counting_since()), (1, NOW));
    }

    #[test]
    fn what_a_failed_write_left_behind_is_taken_away_before_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, mut sums) = Store::open(&path, NOW).expect("opens");
        store.file.write_all(b"half of a li").expect("written");
        store.torn = true;
        count(&mut store, &mut sums, "a", NOW);
        assert!(!fs::read_to_string(&path).expect("a file").contains("half"));
        assert_eq!(counted(&Store::open(&path, NOW).expect("opens").1, "a"), 1);
    }

    #[test]
    fn when_an_app_had_no_room_is_there_again_and_stays_when_the_file_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exposures");
        let (mut store, _) = Store::open(&path, NOW).expect("opens");
        let shop = flag("a").app;
        let at = UnixMs(NOW.0 - 1);
        store.append(&line(Change::Gap(Some(shop.clone()), Some(at)))).expect("written");
        let gap_at = || Store::open(&path, NOW).expect("opens").1.gap_at(&shop);
        assert_eq!(gap_at(), Some(at));
        grow(&mut store);
        assert_eq!(gap_at(), Some(at));
        store.append(&line(Change::Gap(Some(shop.clone()), None))).expect("written");
        assert_eq!(gap_at(), None);
    }
}
