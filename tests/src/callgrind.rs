//! Programs under callgrind, which counts the instructions that they execute.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The program that tells a running callgrind what to do.
const CONTROL: &str = "vgdb";
/// How much of a function's name is told: what differs behind it counts as one.
const NAME_BYTES: usize = 120;

/// Instructions that were executed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Count {
    /// All of them.
    pub instructions: u64,
    /// By the functions that executed them, not counting those that they called.
    pub by_function: BTreeMap<String, u64>,
}

impl Count {
    /// What one of so many equal pieces of work took.
    #[must_use]
    pub fn each_of(&self, pieces: u64) -> Count {
        let by_function = self.by_function.iter().map(|(name, count)| (name.clone(), count / pieces));
        Count { instructions: self.instructions / pieces, by_function: by_function.collect() }
    }

    /// Reads a dump of callgrind.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn read(dump: &str) -> Count {
        let mut names = BTreeMap::new();
        let mut count = Count::default();
        let (mut function, mut is_of_called) = (String::new(), false);
        for line in dump.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = named(&mut names, name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                named(&mut names, name);
            } else if line.starts_with("calls=") {
                // The line behind it tells what was called: it is told again where that is told.
                is_of_called = true;
            } else if let Some(total) = line.strip_prefix("totals: ") {
                count.instructions = total.trim().parse().expect("a number of instructions");
            } else if line.starts_with(|letter: char| "+-*".contains(letter) || letter.is_ascii_digit()) {
                let cost: u64 = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or_default();
                if !std::mem::take(&mut is_of_called) {
                    *count.by_function.entry(function.clone()).or_default() += cost;
                }
            }
        }
        assert!(count.instructions > 0, "callgrind counted nothing:\n{}", &dump[..dump.len().min(2_000)]);
        count
    }
}

/// A function by `(number) name` or by its number alone, once it was named.
fn named(names: &mut BTreeMap<String, String>, text: &str) -> String {
    let (number, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.is_empty() {
        // A function that calls itself is several to callgrind: `name'2`.
        let alone = name.rsplit_once('\'').filter(|(_, depth)| depth.parse::<u32>().is_ok());
        let whole = alone.map_or(name, |(alone, _)| alone);
        let end = whole.floor_char_boundary(NAME_BYTES);
        names.insert(number.to_owned(), whole[..end].to_owned());
    }
    names.get(number).cloned().unwrap_or_default()
}

/// A folder for the counts of one program.
pub struct Callgrind {
    folder: TempDir,
    dumps: usize,
}

impl Callgrind {
    /// A new one.
    ///
    /// # Panics
    /// When there is no place for a folder.
    #[must_use]
    pub fn in_own_folder() -> Callgrind {
        Callgrind { folder: tempfile::tempdir().expect("a temporary folder"), dumps: 0 }
    }

    /// What runs a program under callgrind, with options of callgrind.
    #[must_use]
    pub fn around(&self, program: &Path, options: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["valgrind".into(), "--quiet".into(), "--tool=callgrind".into()];
        words.push(format!("--vgdb-prefix={}", self.pipe().display()).into());
        words.push(format!("--callgrind-out-file={}", self.folder.path().join("dump").display()).into());
        words.extend(options.iter().map(OsString::from));
        words.push(program.into());
        words
    }

    fn pipe(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }

    /// Tells a running program's callgrind what to do.
    ///
    /// # Panics
    /// When it does not do it.
    pub fn tell(&self, process: u32, words: &[&str]) {
        let mut control = Command::new(CONTROL);
        control.arg(format!("--vgdb-prefix={}", self.pipe().display())).arg(format!("--pid={process}"));
        let ended = control.args(words).output().expect("valgrind brings vgdb with it");
        assert!(ended.status.success(), "vgdb {words:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// Counts what a running program executes meanwhile.
    ///
    /// # Panics
    /// When nothing was counted.
    pub fn meanwhile(&mut self, process: u32, work: impl FnOnce()) -> Count {
        self.tell(process, &["zero"]);
        work();
        self.tell(process, &["dump"]);
        self.next_dump()
    }

    /// The next of the dumps that the program leaves.
    ///
    /// # Panics
    /// When there is none.
    pub fn next_dump(&mut self) -> Count {
        self.dumps += 1;
        let path = self.folder.path().join(format!("dump.{}", self.dumps));
        Count::read(&std::fs::read_to_string(&path).expect("callgrind has written what it counted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_executes_itself_is_told_from_what_it_calls() {
        let dump = "# callgrind format\nevents: Ir\n\nfl=(1) a.rs\nfn=(1) shop::sell\n12 100\n+1 20\n\
                    cfi=(2) b.rs\ncfn=(2) shop::weigh\ncalls=2 7\n* 600\n-3 4\n\nfn=(2)\n7 590\n\n\
                    fn=(3) shop::weigh'2\n0 10\n\ntotals: 724\n";
        let count = Count::read(dump);
        let by_function = [("shop::sell", 124), ("shop::weigh", 600)];
        let by_function = by_function.map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(count, Count { instructions: 724, by_function });
        assert_eq!(count.each_of(2).by_function["shop::weigh"], 300);
    }

    #[test]
    #[should_panic(expected = "callgrind counted nothing")]
    fn a_dump_of_nothing_is_no_count() {
        let _ = Count::read("# callgrind format\nsummary: 0\n\ntotals: 0\n");
    }
}
