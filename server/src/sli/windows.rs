//! The second log: closed slots on disk, in a file for each five minutes.
//!
//! A slot is one block at the end of its file, written and synced before anybody hears of it. When its five minutes are
//! over the file is written anew: of flags that are watched each slot stays for [`KEPT_SLOTS`], of the rest and after that
//! the sum of the five minutes, without units, for [`KEPT_SUMS`]. Files are put in place whole, and what is left
//! behind by a crash is taken away at the next start.
//!
//! It is a log in its order and its durability, and no [`ChangeLog`](crate::log::ChangeLog): that one keeps every entry for ever,
//! chained, and has 64 KiB for each; this one forgets.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rollout_rules::ids::{AppKey, EnvKey, Revision, VariantKey};
use rollout_rules::sli::{Gauges, Outcomes, Part, SLOT, Slot};
use rollout_rules::time::DurationMs;

use super::closed::{ClosedSlot, Watched};
use super::rows::{self, Row, block, blocks, rows_of, without_units};

/// How many slots a file holds: five minutes of them.
pub const WINDOW_SLOTS: u32 = 30;
/// For how long the slots of watched flags are kept.
pub const KEPT_SLOTS: DurationMs = DurationMs(48 * 3_600_000);
/// For how long sums are kept: thirty days, and one to look at them in. The sum of a flag with two variants takes 1.2 KB where a
/// request comes every five seconds and 2.5 KB at ten a second, most of it latencies: 330 and 720 KB a day, 10 and 22 MB in all.
pub const KEPT_SUMS: DurationMs = DurationMs(31 * 24 * 3_600_000);

/// How far a file has come, and what its name ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Every slot of every flag, as they were closed.
    Slots,
    /// Slots of flags that were watched, sums of the rest.
    Watched,
    /// Sums alone.
    Sums,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::Slots, Stage::Watched, Stage::Sums];

    fn ending(self) -> &'static str {
        match self {
            Stage::Slots => "slots",
            Stage::Watched => "watched",
            Stage::Sums => "sums",
        }
    }
}

/// The files, to be read. What is read needs no lock: files are put in place whole, and what is torn at an end does not
/// count.
#[derive(Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

/// The files, to be written.
pub(super) struct Windows {
    files: Files,
    current: Option<Current>,
}

/// The file that is appended to.
struct Current {
    window: u32,
    file: File,
    /// How much of it is whole.
    length: u64,
    /// Whether something may be left behind that.
    torn: bool,
}

fn window_of(slot: Slot) -> u32 {
    slot.0 / WINDOW_SLOTS
}

fn in_slots(length: DurationMs) -> u32 {
    u32::try_from(length.0 / SLOT.0).unwrap_or(u32::MAX)
}

impl Files {
    /// Which files there are, by window; of each window the stages in order.
    fn files(&self) -> io::Result<BTreeMap<u32, Vec<Stage>>> {
        let mut files: BTreeMap<u32, Vec<Stage>> = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stage =
                Stage::ALL.into_iter().find(|stage| path.extension() == Some(OsStr::new(stage.ending())));
            let window = path.file_stem().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
            if let (Some(stage), Some(window)) = (stage, window) {
                files.entry(window).or_default().push(stage);
            }
        }
        files.values_mut().for_each(|stages| stages.sort_unstable());
        Ok(files)
    }

    fn path(&self, window: u32, stage: Stage) -> PathBuf {
        self.folder.join(format!("{window:09}.{}", stage.ending()))
    }

    /// What is known of a window; nothing, if there is no file of it.
    fn bytes(&self, window: u32) -> io::Result<Vec<u8>> {
        // One that is written anew meanwhile is not there when it is looked for, and its earlier form is gone then.
        let twice = Stage::ALL.into_iter().rev().chain(Stage::ALL.into_iter().rev());
        for stage in twice {
            match fs::read(self.path(window, stage)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read,
            }
        }
        Ok(Vec::new())
    }

    /// What the first file that there is has of the slots from `from` on and before `until`: from where, and before which.
    pub(super) fn first_window(&self, from: Slot, until: Slot) -> io::Result<Option<(Slot, Slot)>> {
        let files = self.files()?;
        let first = files.range(window_of(from)..).map(|(window, _)| *window).next();
        Ok(first.and_then(|window| {
            let first = from.max(Slot(window * WINDOW_SLOTS));
            let end = until.min(Slot(window * WINDOW_SLOTS).plus(WINDOW_SLOTS));
            (first < end).then_some((first, end))
        }))
    }

    /// The first slots of the five minutes of which anything is kept, from those of `from` on and before `until`.
    pub(super) fn windows(&self, (from, until): (Slot, Slot)) -> io::Result<Vec<Slot>> {
        let first = |window: &u32| Slot(window.saturating_mul(WINDOW_SLOTS));
        let files = self.files()?;
        let there = files.range(window_of(from)..).map(|(window, _)| first(window));
        Ok(there.take_while(|first| *first < until).collect())
    }

    /// Hands on what is kept of the slots from `from` on and before `until`, in order: of one flag, or of all.
    pub(super) fn read(
        &self,
        (from, until): (Slot, Slot),
        beginnings: &[String],
        mut each: impl FnMut(Row),
    ) -> io::Result<()> {
        for window in self.windows((from, until))?.into_iter().map(window_of) {
            let file = self.bytes(window)?;
            let read = blocks(&file);
            if read.damaged {
                tracing::warn!(window, "a slot of outcomes on disk is damaged and is passed over");
            }
            for row in read.whole.into_iter().flat_map(|block| rows_of(block, beginnings)) {
                if row.slot >= from && row.slot < until {
                    each(row);
                }
            }
        }
        Ok(())
    }
}

impl Windows {
    /// Opens the files of a folder, making it if it is not there. Gives the last slot that was closed, too.
    pub(super) fn open(folder: &Path) -> io::Result<(Windows, Option<Slot>)> {
        fs::create_dir_all(folder)?;
        let files = Files { folder: folder.to_owned() };
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new("unfinished")) {
                fs::remove_file(path)?;
            }
        }
        let there = files.files()?;
        // Of one that was written anew the earlier form may still be there.
        for (window, stages) in &there {
            for stage in &stages[..stages.len() - 1] {
                fs::remove_file(files.path(*window, *stage))?;
            }
        }
        let mut last = None;
        for window in there.keys().rev() {
            let file = files.bytes(*window)?;
            let slots = blocks(&file).whole.into_iter().flat_map(|block| rows_of(block, &[]));
            last = slots.map(|row| row.slot.plus(row.slots.saturating_sub(1))).max();
            if last.is_some() {
                break;
            }
        }
        Ok((Windows { files, current: None }, last))
    }

    /// The files, to be read.
    pub(super) fn files(&self) -> Files {
        self.files.clone()
    }

    /// Puts a closed slot on disk. If that fails it does not count as written.
    pub(super) fn append(&mut self, closed: &ClosedSlot) -> io::Result<()> {
        let window = window_of(closed.slot);
        if self.current.as_ref().is_none_or(|current| current.window != window) {
            self.current = None;
            // Where the clock was set back the window may have been written anew already.
            let is_there = |stage: &Stage| self.files.path(window, *stage).exists();
            let stage = Stage::ALL.into_iter().rev().find(is_there).unwrap_or(Stage::Slots);
            self.current = Some(Current::open(window, &self.files.path(window, stage))?);
            // The folder has a new name in it, which has to be on disk as well.
            File::open(&self.files.folder)?.sync_all()?;
        }
        match &mut self.current {
            Some(current) => current.append(block(rows::lines(closed)).as_bytes()),
            None => Ok(()),
        }
    }

    /// Brings files into the form that their age asks for, and takes away those that are too old. `is_watched` says of
    /// which splits each slot is still wanted.
    pub(super) fn keep_up(&mut self, closed: Slot, is_watched: &dyn Fn(&Watched) -> bool) -> io::Result<()> {
        let now = window_of(closed);
        let age = |window: u32| now.saturating_sub(window).saturating_mul(WINDOW_SLOTS);
        for (window, stages) in self.files.files()? {
            let Some(stage) = stages.last().copied() else { continue };
            if age(window) > in_slots(KEPT_SUMS) {
                stages.iter().try_for_each(|stage| fs::remove_file(self.files.path(window, *stage)))?;
            } else if age(window) > in_slots(KEPT_SLOTS) && stage < Stage::Sums {
                self.write_anew(window, Stage::Sums, &|_| false)?;
            } else if window < now && stage < Stage::Watched {
                self.write_anew(window, Stage::Watched, is_watched)?;
            }
        }
        Ok(())
    }

    fn write_anew(
        &mut self,
        window: u32,
        stage: Stage,
        is_watched: &dyn Fn(&Watched) -> bool,
    ) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|current| current.window == window) {
            self.current = None;
        }
        let file = self.files.bytes(window)?;
        let mut sums: BTreeMap<Watched, Sum> = BTreeMap::new();
        let mut apps: BTreeMap<(AppKey, EnvKey), AppSum> = BTreeMap::new();
        let mut text = String::new();
        for read in blocks(&file).whole {
            let mut stay = Vec::new();
            for row in rows_of(read, &[]) {
                match row.watched() {
                    None if stage == Stage::Sums => {
                        let place = (row.app.clone(), row.environment.clone());
                        apps.entry(place).or_default().add(row);
                    }
                    Some(watched) if !is_watched(&watched) => sums.entry(watched).or_default().add(row),
                    _ => stay.push(row),
                }
            }
            if !stay.is_empty() {
                text.push_str(&block(stay.into_iter()));
            }
        }
        let first = Slot(window * WINDOW_SLOTS);
        let apps = apps.into_iter().map(|(place, sum)| sum.row(place, first));
        let sums: Vec<Row> =
            apps.chain(sums.into_iter().map(|(watched, sum)| sum.row(watched, first))).collect();
        if !sums.is_empty() {
            text.push_str(&block(sums.into_iter()));
        }
        let unfinished = self.files.folder.join(format!("{window:09}.unfinished"));
        let mut anew = File::create(&unfinished)?;
        anew.write_all(text.as_bytes())?;
        anew.sync_all()?;
        fs::rename(&unfinished, self.files.path(window, stage))?;
        File::open(&self.files.folder)?.sync_all()?;
        for earlier in Stage::ALL.into_iter().filter(|earlier| *earlier < stage) {
            match fs::remove_file(self.files.path(window, earlier)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Current {
    /// The file of a window, without what is torn at its end.
    fn open(window: u32, path: &Path) -> io::Result<Current> {
        let mut file =
            File::options().read(true).append(false).write(true).create(true).truncate(false).open(path)?;
        let length = blocks(&fs::read(path)?).end as u64;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Current { window, file, length, torn: false })
    }

    fn append(&mut self, block: &[u8]) -> io::Result<()> {
        if self.torn {
            self.take_back()?;
        }
        if let Err(error) = self.file.write_all(block).and_then(|()| self.file.sync_data()) {
            self.torn = true;
            // If that fails as well, it is done before the next.
            let _ = self.take_back();
            return Err(error);
        }
        self.length += block.len() as u64;
        Ok(())
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.torn = false;
        Ok(())
    }
}

/// The sum of a split's slots.
#[derive(Default)]
struct Sum {
    sources: u32,
    parts: BTreeMap<(Revision, VariantKey), Outcomes>,
}

impl Sum {
    fn add(&mut self, row: Row) {
        self.sources = self.sources.max(row.sources);
        for part in row.parts {
            let sum = self
                .parts
                .entry((part.revision, part.variant))
                .or_insert_with(|| without_units(Outcomes::default()));
            sum.merge(&without_units(part.outcomes));
        }
    }

    fn row(self, watched: Watched, first: Slot) -> Row {
        let parts = self.parts.into_iter();
        let parts =
            parts.map(|((revision, variant), outcomes)| Part { revision, variant, outcomes }).collect();
        let Watched { app, environment, flag, split } = watched;
        Row {
            app,
            environment,
            flag: Some(flag),
            split: Some(split),
            slot: first,
            slots: WINDOW_SLOTS,
            sources: self.sources,
            all: None,
            gauges: Gauges::default(),
            parts,
        }
    }
}

/// The sum of an app environment's slots.
#[derive(Default)]
struct AppSum {
    sources: u32,
    all: Option<Outcomes>,
    gauges: Gauges,
}

impl AppSum {
    fn add(&mut self, row: Row) {
        self.sources = self.sources.max(row.sources);
        self.gauges.merge(row.gauges);
        if let Some(all) = row.all {
            self.all.get_or_insert_with(|| without_units(Outcomes::default())).merge(&without_units(all));
        }
    }

    fn row(self, (app, environment): (AppKey, EnvKey), first: Slot) -> Row {
        let AppSum { sources, all, gauges } = self;
        let (flag, split, parts) = Default::default();
        Row { app, environment, flag, split, slot: first, slots: WINDOW_SLOTS, sources, all, gauges, parts }
    }
}
