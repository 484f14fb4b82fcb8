//! Where results are written: whole, after each scenario, so that a run that ends early leaves what it has measured, and
//! one that measures nothing leaves what was there before.

use std::fmt;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::report::Report;
use crate::show::{self, Machine};

/// Who may read and write results, but for what the process's mask takes away.
const MODE: u32 = 0o666;

/// The file and the folder that were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    /// For everything that was measured.
    pub(crate) json: Option<PathBuf>,
    /// For charts.
    pub(crate) charts: Option<PathBuf>,
}

/// Why something cannot be written.
#[derive(Debug)]
pub(crate) struct Unwritten {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for Unwritten {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Results {
    /// Looks whether all can be written, and changes nothing but that the folder for charts is made.
    pub(crate) fn look(&self) -> Result<(), Unwritten> {
        let can = |path: &Path| {
            if !is_replaced(path) {
                // To open a pipe for a look would end it for whoever reads it.
                return Ok(());
            }
            if path.exists() {
                OpenOptions::new().append(true).open(path)?;
            }
            beside(path).map(drop)
        };
        if let Some(path) = &self.json {
            can(path).map_err(unwritten(path))?;
        }
        if let Some(folder) = &self.charts {
            std::fs::create_dir_all(folder).map_err(unwritten(folder))?;
            beside(&folder.join("chart")).map_err(unwritten(folder))?;
        }
        Ok(())
    }

    /// Writes what was measured; scenarios of these names are still to come.
    pub(crate) fn write(
        &self,
        reports: &[Report],
        to_come: &[String],
        machine: &Machine,
    ) -> Result<(), Unwritten> {
        let put = |path: &Path, text: &str| {
            if is_replaced(path) {
                return replace(path, text).map_err(unwritten(path));
            }
            // Whoever reads it meanwhile gets one text.
            if to_come.is_empty() { std::fs::write(path, text).map_err(unwritten(path)) } else { Ok(()) }
        };
        if let Some(path) = &self.json {
            put(path, &format!("{:#}\n", show::json(reports, to_come, machine)))?;
        }
        if let Some(folder) = &self.charts {
            for (name, chart) in show::charts(reports) {
                put(&folder.join(name), &chart)?;
            }
        }
        Ok(())
    }
}

fn unwritten(path: &Path) -> impl FnOnce(io::Error) -> Unwritten {
    let path = path.to_owned();
    |source| Unwritten { path, source }
}

/// Whether another file takes its place: not so of a pipe or a device, nor of what one of those stands for.
fn is_replaced(path: &Path) -> bool {
    !path.starts_with("/dev/fd")
        && !path.starts_with("/dev/stdout")
        && std::fs::metadata(path).map_or(true, |there| there.is_file())
}

/// A file beside it, with a name of its own.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::metadata(folder)?;
    let made = tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder);
    // The name that it would have had is nobody's to know.
    made.map_err(|error| error.kind().into())
}

/// Puts a file with this text in its place: whoever reads it finds the old one or the new one, whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays, and what it leads to is another.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = beside(&path)?;
    file.write_all(text.as_bytes())?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &Path) -> Results {
        Results { json: Some(path.to_owned()), charts: None }
    }

    #[test]
    fn what_was_there_stays_until_something_is_written_in_its_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, link) = (folder.path().join("found.json"), folder.path().join("link.json"));
        std::fs::write(&path, "old").expect("a file");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        of(&link).look().expect("it can be written");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "old");
        let old = std::fs::File::open(&path).expect("it is there");
        of(&link).write(&[], &["soak".to_owned()], &Machine::look()).expect("it can be written");
        assert_eq!(io::read_to_string(old).expect("it is open"), "old", "whoever reads it reads it whole");
        let new = std::fs::read_to_string(&path).expect("it is there");
        assert!(new.ends_with("}\n") && new.contains("\"soak\""), "{new}");
        assert!(link.is_symlink());
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 2, "no other file is left");
    }

    #[test]
    fn a_place_that_is_not_there_is_named_and_one_that_is_free_stays_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let nowhere = folder.path().join("no/found.json");
        let refused = of(&nowhere).look().expect_err("there is no folder").to_string();
        assert!(refused.starts_with(&format!("{}: No such file", nowhere.display())), "{refused}");
        let free = folder.path().join("found.json");
        of(&free).look().expect("it can be written");
        assert!(!free.exists());
    }
}
