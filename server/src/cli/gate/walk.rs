//! Which files an app's folder holds, as far as the gate looks at them. Links are never followed, so nothing outside is read.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ignore::{DirEntry, WalkBuilder};

/// How deep folders may lie in each other. What lies deeper is not looked at by [`super::discover`], and refused elsewhere.
const MAX_DEPTH: usize = 32;
/// Most files that are looked at. A folder with more is refused: it is hardly the app's own.
const MAX_FILES: usize = 200_000;
/// Folders that hold what others wrote, or what tools made.
const NEVER: [&str; 14] = [
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "bower_components",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".terraform",
    "target",
];
/// Folders that hold what a build made of the sources.
const BUILT: [&str; 2] = ["dist", "evidence"];
/// A file that every virtual environment of Python has, whatever its folder is called.
const VENV_MARK: &str = "pyvenv.cfg";
/// How much of it is read.
const MARK_BYTES: u64 = 64 * 1024;

/// Why a folder could not be looked through.
#[derive(Debug)]
#[non_exhaustive]
pub enum WalkError {
    /// It is no folder, or it cannot be opened.
    NoFolder {
        /// What was given.
        folder: PathBuf,
        /// Why it cannot be opened; none: it is something else.
        source: Option<std::io::Error>,
    },
    /// Something in it cannot be listed.
    Unlisted(ignore::Error),
    /// It holds more files than are looked at.
    TooManyFiles {
        /// What was given.
        folder: PathBuf,
    },
    /// Its folders lie deeper in each other than is looked at.
    TooDeep {
        /// The first folder that does.
        folder: PathBuf,
    },
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkError::NoFolder { folder, source: Some(_) } => {
                write!(f, "{} cannot be opened; give the app's folder", folder.display())
            }
            WalkError::NoFolder { folder, source: None } => {
                write!(f, "{} is not a folder; give the app's folder", folder.display())
            }
            WalkError::Unlisted(_) => {
                write!(f, "a part of the app's folder cannot be listed; give its user the right to read it")
            }
            WalkError::TooManyFiles { folder } => write!(
                f,
                "{} holds more than {MAX_FILES} files; run the command in the app's own folder, and let .gitignore name \
                 what tools made",
                folder.display()
            ),
            WalkError::TooDeep { folder } => write!(
                f,
                "{} lies more than {MAX_DEPTH} folders deep; move it up, or let .gitignore name it",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for WalkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WalkError::NoFolder { source, .. } => source.as_ref().map(|source| source as _),
            WalkError::Unlisted(source) => Some(source),
            WalkError::TooManyFiles { .. } | WalkError::TooDeep { .. } => None,
        }
    }
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    /// Its path from the folder, with `/` between the parts.
    pub(super) path: String,
    /// Where it is.
    pub(super) full: PathBuf,
    /// Its size in bytes.
    pub(super) bytes: u64,
}

/// The app's own files in the order of their paths: what Git ignores, what tools made and what others wrote is left out. What Git
/// tracks is the app's, whatever its ignore files say.
pub(super) fn own_files(folder: &Path) -> Result<Vec<Listed>, WalkError> {
    let folder = opened(folder)?;
    let mut walk = plain_walk(&folder);
    // In a repository with several apps the ignore file may stand above the app.
    let in_repository = folder.ancestors().any(|above| above.join(".git").exists());
    walk.git_ignore(true).require_git(false).parents(in_repository).max_depth(Some(MAX_DEPTH));
    walk.filter_entry(|entry| !is_foreign(entry) && !is_named(entry, &BUILT));
    let mut walked = listed(&folder, &walk)?;
    if in_repository && !walked.files.is_empty() {
        walked.add_tracked(&folder)?;
    }
    match (walked.unlisted, walked.deepest) {
        (Some(source), _) => Err(WalkError::Unlisted(source)),
        (None, Some(folder)) => Err(WalkError::TooDeep { folder }),
        (None, None) => Ok(walked.files),
    }
}

/// Every file down to a depth, also those that Git ignores; only what others wrote or a compiler made is left out, and what
/// cannot be listed, such as a database's folder.
pub(super) fn all_files(folder: &Path, depth: usize) -> Result<Vec<Listed>, WalkError> {
    let folder = opened(folder)?;
    let mut walk = plain_walk(&folder);
    walk.max_depth(Some(depth)).filter_entry(|entry| !is_foreign(entry));
    Ok(listed(&folder, &walk)?.files)
}

/// Opens the folder under its real name, so that links on the way to it do not matter.
fn opened(folder: &Path) -> Result<PathBuf, WalkError> {
    let refused = |source| WalkError::NoFolder { folder: folder.to_owned(), source };
    let real = folder.canonicalize().map_err(|source| refused(Some(source)))?;
    if real.is_dir() { Ok(real) } else { Err(refused(None)) }
}

/// A walk that obeys nothing of this machine's settings: the same folder has the same files everywhere.
fn plain_walk(folder: &Path) -> WalkBuilder {
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(false).follow_links(false);
    walk
}

/// What a walk came upon.
struct Walked {
    files: Vec<Listed>,
    /// A folder at the greatest depth, into which the walk did not go.
    deepest: Option<PathBuf>,
    /// The first that could not be listed.
    unlisted: Option<ignore::Error>,
}

impl Walked {
    /// Adds files that Git tracks and ignores too: somebody added them by force, or before they were ignored. Where Git cannot be
    /// asked, there are none.
    fn add_tracked(&mut self, folder: &Path) -> Result<(), WalkError> {
        let known: BTreeSet<String> = self.files.iter().map(|file| file.path.clone()).collect();
        for path in tracked_and_ignored(folder) {
            let folders: Vec<&str> =
                path.rsplit_once('/').map_or("", |(above, _)| above).split('/').collect();
            let is_named = folders.iter().any(|name| NEVER.contains(name) || BUILT.contains(name));
            let is_venv = Path::new(&path)
                .ancestors()
                .skip(1)
                .any(|above| !above.as_os_str().is_empty() && is_virtual_environment(&folder.join(above)));
            let full = folder.join(&path);
            // A link is not followed, wherever on the way it is.
            let own = full.canonicalize().is_ok_and(|real| real == full);
            if is_named || is_venv || !own || folders.len() >= MAX_DEPTH || known.contains(&path) {
                continue;
            }
            let Ok(about) = full.metadata() else { continue };
            if about.is_file() {
                if self.files.len() == MAX_FILES {
                    return Err(WalkError::TooManyFiles { folder: folder.to_owned() });
                }
                self.files.push(Listed { path, full, bytes: about.len() });
            }
        }
        self.files.sort();
        Ok(())
    }
}

/// Paths from the folder that Git tracks although its ignore files name them.
fn tracked_and_ignored(folder: &Path) -> Vec<String> {
    let mut git = Command::new("git");
    // Settings of the repository may name a program to run.
    git.arg("-C").arg(folder).args(["-c", "core.fsmonitor=false", "ls-files", "-z", "--cached"]);
    git.args(["--ignored", "--exclude-per-directory=.gitignore"]).stdin(Stdio::null()).stderr(Stdio::null());
    match git.output() {
        Ok(said) if said.status.success() => {
            let paths = said.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
            paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether Python made the folder: the mark alone does not make sources something that others wrote.
fn is_virtual_environment(folder: &Path) -> bool {
    let has_home = || {
        let mut text = String::new();
        let read = std::fs::File::open(folder.join(VENV_MARK))
            .and_then(|file| file.take(MARK_BYTES).read_to_string(&mut text));
        read.is_ok()
            && text.lines().any(|line| line.split('=').next().is_some_and(|key| key.trim() == "home"))
    };
    folder.join(VENV_MARK).is_file()
        && has_home()
        && ["lib", "Lib"].iter().any(|lib| folder.join(lib).is_dir())
}

fn listed(folder: &Path, walk: &WalkBuilder) -> Result<Walked, WalkError> {
    let mut walked = Walked { files: Vec::new(), deepest: None, unlisted: None };
    for entry in walk.build() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(source) => {
                walked.unlisted.get_or_insert(source);
                continue;
            }
        };
        let Some(kind) = entry.file_type() else { continue };
        if kind.is_dir() && entry.depth() == MAX_DEPTH {
            walked.deepest = Some(entry.path().to_owned());
        }
        if !kind.is_file() {
            continue;
        }
        if walked.files.len() == MAX_FILES {
            return Err(WalkError::TooManyFiles { folder: folder.to_owned() });
        }
        let Ok(below) = entry.path().strip_prefix(folder) else { continue };
        let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        let bytes = entry.metadata().map_err(WalkError::Unlisted)?.len();
        walked.files.push(Listed { path: parts.join("/"), full: entry.path().to_owned(), bytes });
    }
    walked.files.sort();
    Ok(walked)
}

fn is_foreign(entry: &DirEntry) -> bool {
    is_named(entry, &NEVER) || (is_folder_below(entry) && is_virtual_environment(entry.path()))
}

fn is_named(entry: &DirEntry, names: &[&str]) -> bool {
    is_folder_below(entry) && entry.file_name().to_str().is_some_and(|name| names.contains(&name))
}

/// Whether it is a folder, and not the app's own: that may have any name.
fn is_folder_below(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_type().is_some_and(|kind| kind.is_dir())
}
