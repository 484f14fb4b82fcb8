//! Runs a target: first its corpus as it stands, then what is made of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::mutate::{Chance, Restructure, mutate};

/// Where every run begins that is not told otherwise.
const SEED: u64 = 0x71de_6a7e;
/// Inputs with something new to their outcome are built upon, up to so many of them.
const MAX_FOUND: usize = 4_000;
/// Largest input that is added to the corpus, in bytes.
const MAX_KEPT: usize = 2_048;
/// No input may take longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most tries to make a failing input smaller.
const MAX_TRIES: usize = 5_000;

/// What bytes are fed to.
pub(crate) struct Target<'t> {
    /// The folder of its corpus.
    pub(crate) name: &'static str,
    /// Inputs besides those of the corpus.
    pub(crate) golden: Vec<Vec<u8>>,
    /// What means something to it.
    pub(crate) tokens: &'static [&'static str],
    /// What it knows of the structure of an input.
    pub(crate) restructure: &'t Restructure<'t>,
    /// How many inputs are made for `make test`: about three seconds of a debug build on a core of its own.
    pub(crate) inputs: u64,
    /// Reads an input. Panics where it should not have done what it did.
    pub(crate) read: &'t dyn Fn(&[u8]) -> Outcome,
}

/// What became of an input.
pub(crate) enum Outcome {
    /// All that can be told apart about it. One that no input had before makes this one worth building upon.
    Taken(Vec<String>),
    /// Why, in words that are the same for all of its kind.
    Refused(String),
}

thread_local! {
    /// Where this thread panicked last, while that is looked at.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A run: when it ends, and where it begins.
struct Run {
    seed: u64,
    ends: Option<Instant>,
}

impl Run {
    fn planned() -> Run {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
        };
        let start = Instant::now();
        let ends = number("TIDEGATE_FUZZ_SECONDS").map(|seconds| start + Duration::from_secs(seconds));
        // A long run goes another way each time.
        let fresh = || std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
        let seed =
            number("TIDEGATE_FUZZ_SEED").unwrap_or_else(|| if ends.is_some() { fresh() } else { SEED });
        Run { seed, ends }
    }

    /// Whether it takes another way each time, for as long as it was told.
    fn is_long(&self) -> bool {
        self.ends.is_some()
    }

    fn goes_on(&self, done: u64, inputs: u64) -> bool {
        self.ends.map_or(done < inputs, |end| Instant::now() < end)
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Inputs that were taken: what others are made of.
    bases: Vec<Vec<u8>>,
    /// Inputs that were refused: parts of them go into others.
    refused: Vec<Vec<u8>>,
    /// What was told apart.
    features: BTreeSet<String>,
}

impl Found {
    /// Whether there is something new to an outcome.
    fn is_new(&mut self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Taken(features) => {
                let before = self.features.len();
                self.features.extend(features.iter().map(|feature| format!("taken: {feature}")));
                self.features.len() > before
            }
            Outcome::Refused(why) => self.features.insert(format!("refused: {}", kind_of(why))),
        }
    }

    fn add(&mut self, input: Vec<u8>, outcome: &Outcome) {
        let list = if matches!(outcome, Outcome::Taken(_)) { &mut self.bases } else { &mut self.refused };
        if list.len() < MAX_FOUND {
            list.push(input);
        }
    }

    fn any(&self, chance: &mut Chance) -> &[u8] {
        let at = chance.below(self.bases.len() + self.refused.len());
        self.bases.get(at).unwrap_or_else(|| &self.refused[at - self.bases.len()])
    }
}

impl Target<'_> {
    /// Reads the corpus, then inputs made of it until the run ends.
    pub(crate) fn run(&self) {
        let run = Run::planned();
        // At once: an input that ends the process leaves nothing to say it afterwards.
        println!("{}: TIDEGATE_FUZZ_SEED={}", self.name, run.seed);
        let mut chance = Chance::new(run.seed);
        let mut found = self.begin(&run);
        let begun = found.bases.len();
        let (mut done, mut taken) = (0_u64, 0_u64);
        while run.goes_on(done, self.inputs) {
            // Every second input begins with one that somebody wrote.
            let among = if done % 2 == 0 { begun } else { found.bases.len() };
            let base = chance.below(among);
            let other = found.any(&mut chance);
            let input = mutate(&found.bases[base], other, self.tokens, self.restructure, &mut chance);
            let origin = format!("TIDEGATE_FUZZ_SEED={}, input {done}", run.seed);
            let outcome = self.look(&run, &input, &origin);
            let was_taken = matches!(outcome, Outcome::Taken(_));
            done += 1;
            taken += u64::from(was_taken);
            if found.is_new(&outcome) {
                if was_taken && found.bases.len() < MAX_FOUND {
                    self.keep(&input);
                }
                found.add(input, &outcome);
            }
        }
        if run.is_long() {
            std::fs::remove_file(self.now()).expect("the last input can be removed");
        }
        let (bases, features) = (found.bases.len(), found.features.len());
        println!("{}: {done} inputs, {taken} taken, {bases} to build upon, {features} features", self.name);
        // Noise that is refused at the door would test nothing but the door.
        assert!(taken * 50 > done, "only {taken} of {done} inputs of `{}` were taken", self.name);
    }

    /// Reads the corpus as it stands.
    fn begin(&self, run: &Run) -> Found {
        let mut all = self.golden.clone();
        all.extend(corpus(&self.folder()));
        let mut found = Found::default();
        for (number, input) in all.into_iter().enumerate() {
            let outcome = self.look(run, &input, &format!("item {number} of the corpus as it stands"));
            found.is_new(&outcome);
            found.add(input, &outcome);
        }
        assert!(found.bases.len() > 10, "the corpus of `{}` is not there", self.name);
        found
    }

    /// Where the input is that is being read, in a long run.
    fn now(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}-now", self.name))
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(self.name)
    }

    /// Reads an input; fails the test with all that is needed to do so again.
    fn look(&self, run: &Run, input: &[u8], origin: &str) -> Outcome {
        if run.is_long() {
            // What ends the process or never ends is still there.
            std::fs::write(self.now(), input).expect("the folder for tests can be written");
        }
        let start = Instant::now();
        let outcome = self.try_reading(input);
        let took = start.elapsed();
        assert!(took < PATIENCE, "`{}` took {took:?}; {}", self.name, self.store(input, origin));
        outcome.unwrap_or_else(|problem| {
            let small = self.smaller(input);
            panic!("`{}` has a fault: {problem}\n{}", self.name, self.store(&small, origin));
        })
    }

    fn try_reading(&self, input: &[u8]) -> Result<Outcome, String> {
        catch_unwind(AssertUnwindSafe(|| (self.read)(input))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
        })
    }

    /// Where reading an input fails, and the kind of what is said of it; `None` if it does not fail.
    fn fault(&self, input: &[u8]) -> Option<(String, String)> {
        let problem = self.try_reading(input).err()?;
        let said = kind_of(problem.lines().next().unwrap_or_default());
        Some((PLACE.take(), said))
    }

    /// The same failure with less around it.
    fn smaller(&self, input: &[u8]) -> Vec<u8> {
        let loud = take_hook();
        set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            PLACE.set(place);
        }));
        let fault = self.fault(input);
        let (mut best, mut tries) = (input.to_vec(), 0);
        let mut piece = best.len() / 2;
        // One that does not fail again depends on more than the input: nothing can be left out.
        while fault.is_some() && piece > 0 && tries < MAX_TRIES {
            let mut at = 0;
            while at < best.len() && tries < MAX_TRIES {
                let mut less = best.clone();
                less.drain(at..(at + piece).min(best.len()));
                tries += 1;
                if self.fault(&less) == fault { best = less } else { at += piece }
            }
            piece /= 2;
        }
        set_hook(loud);
        best
    }

    /// Writes an input down, and says where it is and what to do with it.
    fn store(&self, input: &[u8], origin: &str) -> String {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}-{}", self.name, name_of(input)));
        std::fs::write(&path, input).expect("the folder for tests can be written");
        format!(
            "  the input: {}\n  its origin: {origin}\n  once it is mended, keep it: cp {} {}/",
            path.display(),
            path.display(),
            self.folder().display()
        )
    }

    fn keep(&self, input: &[u8]) {
        if std::env::var_os("TIDEGATE_FUZZ_KEEP").is_some() && input.len() <= MAX_KEPT {
            std::fs::write(self.folder().join(name_of(input)), input).expect("the corpus can be written");
        }
    }
}

/// The files of a corpus, in order of their names.
fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

fn name_of(input: &[u8]) -> String {
    rollout_rules::ids::Digest::of(input).to_string()[..16].to_owned()
}

/// An error's words without the numbers and names in them.
fn kind_of(why: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for c in why.chars() {
        quoted ^= matches!(c, '`' | '"');
        if !quoted && !c.is_ascii_digit() {
            kind.push(c);
        }
    }
    kind
}
