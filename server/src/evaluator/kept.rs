//! What is kept of a watch, so that it goes on after a restart where it was, to the bit: the watch as it was some time ago, and
//! all that it was told since.
//!
//! Two files for an app environment, `APP.ENVIRONMENT.base` and `APP.ENVIRONMENT.GENERATION.tail`. A new base names a new
//! generation, so that no tail is folded into a base that has it in already. The tail is not synced: slots that a loss of power
//! takes from it are read again from where outcomes are stored.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::sli::{AppWatch, Input};
use serde::{Deserialize, Serialize};

use super::asks::Ask;
use super::watching::{Done, Pending};

/// A tail that is longer than this, and than its base, is long: reading it takes longer than the base.
const LONG_TAIL_BYTES: u64 = 8 << 20;
/// The form of these files.
const FORM: u16 = 2;

/// A watch as it was.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    form: u16,
    generation: u64,
    pub(super) app: AppKey,
    pub(super) environment: EnvKey,
    pub(super) watch: AppWatch,
    /// What it was told to watch.
    pub(super) told: Vec<Input>,
    pub(super) pending: Vec<Pending>,
    pub(super) done: Vec<Done>,
    /// Who was still to be told what.
    #[serde(default)]
    pub(super) notices: Vec<Ask>,
}

/// The files of one watch.
pub(super) struct Kept {
    folder: PathBuf,
    name: String,
    generation: u64,
    base_bytes: u64,
    tail_bytes: u64,
    /// Something that was told is not in the tail: what is known has to be kept anew before anything else is.
    broken: bool,
}

impl Base {
    pub(super) fn new(app: &AppKey, environment: &EnvKey, watch: AppWatch) -> Base {
        let (told, pending, done, notices) = Default::default();
        let (app, environment) = (app.clone(), environment.clone());
        Base { form: FORM, generation: 0, app, environment, watch, told, pending, done, notices }
    }
}

impl Kept {
    /// The files of a watch that has none yet.
    pub(super) fn new(folder: &Path, app: &AppKey, environment: &EnvKey) -> Kept {
        let (folder, name) = (folder.to_owned(), format!("{app}.{environment}"));
        Kept { folder, name, generation: 0, base_bytes: 0, tail_bytes: 0, broken: true }
    }

    /// All that is kept in a folder. What cannot be read is left out, and said.
    pub(super) fn load_all(folder: &Path) -> io::Result<Vec<(Kept, Base, Vec<Input>)>> {
        fs::create_dir_all(folder)?;
        let (mut all, mut others) = (Vec::new(), Vec::new());
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "base") {
                others.push(path);
                continue;
            }
            match load(&path, true) {
                Ok(loaded) => all.push(loaded),
                Err(error) => tracing::error!(
                    "{}: what was known of an app cannot be read, and is watched anew: {error}",
                    path.display()
                ),
            }
        }
        // Tails that no base names are of no use.
        let tails: Vec<PathBuf> =
            all.iter().map(|(kept, ..): &(Kept, Base, Vec<Input>)| kept.tail_path()).collect();
        for path in others.iter().filter(|path| !tails.contains(path)) {
            if let Err(error) = remove(path) {
                tracing::warn!("{}: is not needed any more and stays: {error}", path.display());
            }
        }
        Ok(all)
    }

    /// Whether all that was told is kept.
    pub(super) fn is_whole(&self) -> bool {
        !self.broken
    }

    /// Whether what is known should be kept anew before its time. Never so often that bases are written more than tails.
    pub(super) fn is_long(&self) -> bool {
        self.tail_bytes > LONG_TAIL_BYTES.max(self.base_bytes)
    }

    /// Keeps a watch as it is now: what it was told so far is in it.
    pub(super) fn rebase(&mut self, mut base: Base) -> io::Result<()> {
        let before = self.tail_path();
        base.generation = self.generation + 1;
        let text = serde_json::to_vec(&base)?;
        let (path, new) = (self.base_path(), self.folder.join(format!("{}.new", self.name)));
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        // First: whoever reads the new base must find nothing in its tail that is of another.
        File::create(self.tail_path_of(base.generation))?;
        self.broken = true;
        fs::rename(&new, &path)?;
        self.generation = base.generation;
        (self.base_bytes, self.tail_bytes) = (text.len() as u64, 0);
        self.broken = false;
        remove(&before)
    }

    /// Keeps what a watch was told. Nothing is kept after something that is missing: it would be folded into what it was not
    /// folded into.
    pub(super) fn append(&mut self, inputs: &[Input]) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        let mut lines = Vec::new();
        for input in inputs {
            serde_json::to_writer(&mut lines, input)?;
            lines.push(b'\n');
        }
        // Not kept open: there may be more of them than a process may have open.
        let written = OpenOptions::new().append(true).create(true).open(self.tail_path());
        let written = written.and_then(|mut tail| tail.write_all(&lines));
        self.tail_bytes += lines.len() as u64;
        self.broken |= written.is_err();
        written
    }

    /// The base and all inputs since, as they are stored.
    pub(super) fn read(&self) -> io::Result<(Base, Vec<Input>)> {
        let (_, base, inputs) = load(&self.base_path(), false)?;
        Ok((base, inputs))
    }

    /// The app or its environment is gone.
    pub(super) fn remove(&mut self) {
        for path in [self.base_path(), self.tail_path()] {
            if let Err(error) = remove(&path) {
                tracing::warn!("{}: is not needed any more and stays: {error}", path.display());
            }
        }
    }

    fn base_path(&self) -> PathBuf {
        self.folder.join(format!("{}.base", self.name))
    }

    fn tail_path(&self) -> PathBuf {
        self.tail_path_of(self.generation)
    }

    fn tail_path_of(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("{}.{generation}.tail", self.name))
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a base and its tail; `mends` takes away what was not written whole.
fn load(path: &Path, mends: bool) -> io::Result<(Kept, Base, Vec<Input>)> {
    let file = File::open(path)?;
    let base_bytes = file.metadata()?.len();
    let base: Base = serde_json::from_reader(BufReader::new(file))?;
    if base.form != FORM {
        let problem = format!("it has form {}, and this program reads {FORM}", base.form);
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut kept = Kept::new(folder, &base.app, &base.environment);
    (kept.generation, kept.base_bytes, kept.broken) = (base.generation, base_bytes, false);
    let mut inputs = Vec::new();
    match File::open(kept.tail_path()) {
        Ok(tail) => {
            let (mut tail, mut line) = (BufReader::new(tail), Vec::new());
            while tail.read_until(b'\n', &mut line)? > 0 {
                // A line that was cut off is the last: it goes, so that the next one begins where it did.
                let Some(Ok(input)) = line.strip_suffix(b"\n").map(serde_json::from_slice) else { break };
                inputs.push(input);
                kept.tail_bytes += line.len() as u64;
                line.clear();
            }
            if mends {
                OpenOptions::new().write(true).open(kept.tail_path())?.set_len(kept.tail_bytes)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok((kept, base, inputs))
}
