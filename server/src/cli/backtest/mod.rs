//! `tidegate guardrail backtest`: what rules would have done on what was recorded.

mod batches;
mod draw;
mod lines;
mod program;
mod show;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, VariantKey};
use rollout_rules::sli::backtest::{Backtest, Report, Rules};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{About, MAX_TESTS, RECORDING_VERSION, Recorded, RulesInForce};
use rollout_rules::time::UnixMs;

use self::lines::{Bad, Form};
use super::backup::Steady;
use super::client::{encoded, with_query};
use super::failure::Failure;
use super::guardrail;
use super::output::note;
use super::reading::{items, text};
use super::session::Session;
use super::when::{self, Ago};
use super::whole_file::{Readers, write_whole};

/// How far back is looked if nothing is said.
const LAST: &str = "30d";
/// Bytes read from a file at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How often a terminal is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// On what which rules are tried.
#[derive(Args, Clone, Debug)]
pub struct BacktestOptions {
    /// What was recorded, in place of the server's records; - is standard input
    file: Option<PathBuf>,
    /// How far back: a length of time such as 1h or 30d, or a date; at most 31 days
    #[arg(long, value_name = "WHEN", default_value = LAST, conflicts_with = "file")]
    last: Ago,
    /// In which environment; may be left out where the app has one
    #[arg(long = "env", short = 'e', value_name = "ENV", conflicts_with = "file")]
    environment: Option<EnvKey>,
    /// Only this flag
    #[arg(long, short = 'f', value_name = "KEY")]
    flag: Option<FlagKey>,
    /// A rule to try, in quotes; may be repeated, up to 16 times. Without it, those that are in force
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    /// Write what the server recorded into this file as well, to try other rules on it later
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    save: Option<PathBuf>,
    /// In a file of batches: the variant that others are compared with
    #[arg(long, value_name = "VARIANT", requires_all = ["shares", "file"])]
    control: Option<VariantKey>,
    /// In a file of batches: how units were divided, such as on=10,off=90
    #[arg(long, value_name = "VARIANT=WEIGHT,…", value_delimiter = ',', requires = "file")]
    shares: Vec<Weighed>,
    /// End with 0 although lines of the file could not be read
    #[arg(long, requires = "file")]
    skip_bad_lines: bool,
}

impl BacktestOptions {
    /// What cannot be tried at all.
    fn check(&self) -> Result<(), Failure> {
        if self.rules.len() > MAX_TESTS {
            return Err(Failure::usage(format!(
                "{} rules are named with --rule, and at most {MAX_TESTS} are tried at once: leave some out",
                self.rules.len()
            )));
        }
        let Some(control) = &self.control else { return Ok(()) };
        let served = |is_control: bool| {
            self.shares.iter().any(|Weighed(of, weight)| *weight > 0 && (of == control) == is_control)
        };
        let problem = match (served(true), served(false)) {
            (true, true) => return Ok(()),
            (false, _) => format!("the control `{control}` has no weight above 0 in --shares"),
            (true, false) => {
                format!("no variant but the control `{control}` has a weight above 0 in --shares")
            }
        };
        Err(Failure::usage(format!("{problem}: name both, such as --control off --shares on=10,off=90")))
    }
}

/// One variant with its weight, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weighed(VariantKey, u32);

/// A text that is no variant with its weight.
#[derive(Clone, Copy, Debug)]
struct NotWeighed;

impl std::fmt::Display for NotWeighed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write variants with whole numbers, such as on=10,off=90")
    }
}

impl std::error::Error for NotWeighed {}

impl std::str::FromStr for Weighed {
    type Err = NotWeighed;

    fn from_str(text: &str) -> Result<Weighed, NotWeighed> {
        let (variant, weight) = text.split_once('=').ok_or(NotWeighed)?;
        let variant = VariantKey::new(variant).map_err(|_| NotWeighed)?;
        let weight = weight.trim_end_matches('%').parse().map_err(|_| NotWeighed)?;
        Ok(Weighed(variant, weight))
    }
}

/// Of what rules were tried, and what came of it.
struct Tested {
    about: Option<About>,
    /// Of which file.
    file: Option<String>,
    report: Report,
    until: Option<UnixMs>,
    bad: Bad,
}

/// Tries rules on lines as they come.
struct Trying {
    given: Option<Vec<Guardrail>>,
    flag: Option<FlagKey>,
    about: Option<About>,
    backtest: Option<Backtest>,
    until: Option<UnixMs>,
    progress: Progress,
}

impl Trying {
    fn new(options: &BacktestOptions, json: bool) -> Result<Trying, Failure> {
        let read = options.rules.iter().map(|written| guardrail::rule(written, json));
        let rules = read.collect::<Result<Vec<_>, Failure>>()?;
        Ok(Trying {
            given: (!rules.is_empty()).then_some(rules),
            flag: options.flag.clone(),
            about: None,
            backtest: None,
            until: None,
            progress: Progress::new(),
        })
    }

    /// The rules that are tried where these are in force.
    fn rules(&self, in_force: Option<&RulesInForce>) -> Result<Rules, Failure> {
        let rules = match (&self.given, in_force) {
            (Some(given), _) => Rules::given(given, self.flag.clone()),
            (None, Some(in_force)) => Rules::in_force(in_force, self.flag.as_ref()),
            (None, None) => {
                let detail = "it does not say which rules are in force: name some with --rule, such as --rule 'error_rate > 3% for 5m -> flag off'";
                return Err(Failure::usage(detail));
            }
        };
        if rules.is_empty() {
            return Err(Failure::usage("there are no rules to try: name some with --rule"));
        }
        Ok(rules)
    }

    fn begin(&mut self, in_force: Option<&RulesInForce>) -> Result<(), Failure> {
        if self.backtest.is_none() {
            self.backtest = Some(Backtest::new(self.rules(in_force)?));
        }
        Ok(())
    }

    fn take(&mut self, line: &Recorded) -> Result<(), Failure> {
        match line {
            Recorded::Recording(about) if about.version != RECORDING_VERSION => {
                return Err(Failure::misread(format!(
                    "the recording is of version {}, and this program reads version {RECORDING_VERSION}",
                    about.version
                )));
            }
            Recorded::Recording(about) => {
                self.begin(Some(&about.rules))?;
                self.about = Some(about.clone());
            }
            Recorded::End { until } => self.until = Some(*until),
            Recorded::Slot(slot) => self.progress.tell(slot.slot.ends_at()),
            Recorded::Sum(sum) => self.progress.tell(sum.slot.ends_at()),
            _ => {}
        }
        self.begin(None)?;
        if let Some(backtest) = &mut self.backtest {
            backtest.fold(line);
        }
        Ok(())
    }

    fn end(self, file: Option<&Path>, bad: Bad) -> Result<Tested, Failure> {
        self.progress.done();
        let file = file.map(|file| file.display().to_string());
        let Some(backtest) = self.backtest else {
            return Err(Failure::misread(format!(
                "{}: there is nothing in it that rules could be tried on",
                file.unwrap_or_default()
            )));
        };
        Ok(Tested { about: self.about, file, report: backtest.end(), until: self.until, bad })
    }
}

/// Tries rules, and says what came of it.
pub(super) fn run(
    session: &mut Session,
    app: Result<AppKey, Failure>,
    options: &BacktestOptions,
) -> Result<(), Failure> {
    options.check()?;
    let trying = Trying::new(options, session.json)?;
    let tested = match &options.file {
        Some(file) => from_file(trying, file, options, session.json, session.now)?,
        None => from_server(session, trying, &app?, options)?,
    };
    if session.json {
        session.print_json(&program::answer(&tested))?;
    } else {
        show::show(session, &tested)?;
    }
    tested.bad.outcome(options.skip_bad_lines)
}

fn from_file(
    mut trying: Trying,
    path: &Path,
    options: &BacktestOptions,
    json: bool,
    now: UnixMs,
) -> Result<Tested, Failure> {
    let failed = |error: io::Error| {
        let named = path.to_str().and_then(|name| FlagKey::new(name).ok());
        let hint =
            named.filter(|_| error.kind() == io::ErrorKind::NotFound).map_or_else(String::new, |flag| {
                format!(" (it is read as the name of a file; for the flag `{flag}` write --flag {flag})")
            });
        Failure::usage(format!("{}: {error}{hint}", path.display()))
    };
    let source: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(BLOCK_BYTES, File::open(path).map_err(failed)?))
    };
    let mut bad = Bad::of(path, json);
    let mut each = |line| match line {
        lines::Line::InForce(rules) => trying.begin(Some(&rules)),
        lines::Line::Recorded(line) => trying.take(&line),
    };
    let form = lines::read(source, options, &mut bad, &mut each, now)?;
    if form == Form::Recording && trying.until.is_none() {
        bad.say_unfinished();
    }
    trying.end(Some(path), bad)
}

fn from_server(
    session: &mut Session,
    mut trying: Trying,
    app: &AppKey,
    options: &BacktestOptions,
) -> Result<Tested, Failure> {
    let environment = environment(session, app, options.environment.as_ref())?;
    let mut path = format!("/v1/apps/{}/environments/{environment}/recording", encoded(app.as_str()));
    path = with_query(&path, "since", &options.last.before(session.now).to_string());
    // What the app does as a whole is told by all of its flags.
    let of_app = trying.given.iter().flatten().any(|rule| rule.when().sli().is_of_app());
    if let Some(flag) = options.flag.as_ref().filter(|_| !of_app) {
        path = with_query(&path, "flag", flag.as_str());
    }
    let stream = BufReader::with_capacity(BLOCK_BYTES, Steady::over(session.client.stream(&path)?));
    match &options.save {
        Some(file) => {
            write_whole(file, Readers::AsBefore, |out| copy(stream, &mut trying, Some(out)))?;
        }
        None => copy(stream, &mut trying, None)?,
    }
    if let (Some(file), false) = (&options.save, session.json) {
        note(format_args!("what was recorded is in {}", file.display()));
    }
    trying.end(None, Bad::of(Path::new(""), session.json))
}

/// Tries rules on what the server sends, and keeps it.
fn copy(
    mut stream: impl BufRead,
    trying: &mut Trying,
    mut out: Option<&mut dyn Write>,
) -> Result<(), Failure> {
    let broke_off = |problem: String| Failure::BrokeOff { problem };
    let mut line = String::new();
    for number in 1_u64.. {
        line.clear();
        let read = stream.read_line(&mut line);
        if read.map_err(|error| broke_off(format!("what was recorded was not read to its end: {error}")))?
            == 0
        {
            break;
        }
        let read: Recorded = serde_json::from_str(&line).map_err(|error| {
            broke_off(format!("line {number} of what was recorded is of another version: {error}"))
        })?;
        trying.take(&read)?;
        if let Some(out) = &mut out {
            out.write_all(line.as_bytes())?;
        }
    }
    if trying.until.is_none() {
        return Err(broke_off("what was recorded was not sent to its end: try again".to_owned()));
    }
    Ok(())
}

/// The environment that is meant.
fn environment(session: &Session, app: &AppKey, named: Option<&EnvKey>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named.to_string());
    }
    let list = session.client.list(&format!("/v1/apps/{}/environments", encoded(app.as_str())))?;
    let known: Vec<String> = items(&list).iter().map(|item| text(item, "key")).collect();
    match &known[..] {
        [one] => Ok(one.clone()),
        several => Err(Failure::usage(format!("say where with --env: {}", several.join(", ")))),
    }
}

/// How far it is, where a person watches.
struct Progress {
    told: Option<Instant>,
}

impl Progress {
    fn new() -> Progress {
        Progress { told: io::stderr().is_terminal().then(Instant::now) }
    }

    fn tell(&mut self, until: UnixMs) {
        let Some(told) = &mut self.told else { return };
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            // Nobody may be listening there, and that is no reason to stop.
            let _ = write!(io::stderr(), "\rjudged until {} UTC", when::second(until));
        }
    }

    fn done(&self) {
        if self.told.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
