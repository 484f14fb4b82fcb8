//! The operator's tool: the same binary, speaking HTTP to a server like any other client.

mod agent;
mod app;
mod app_file;
mod backtest;
mod backup;
mod client;
mod clients;
mod confirm;
mod delivery;
mod demo;
mod describe;
mod doctor;
mod environment;
mod evidence;
mod evidence_slots;
mod explain;
mod export;
mod exposures;
mod failure;
mod flag;
mod flag_definition;
mod form;
pub mod gate;
mod groups;
mod guardrail;
mod history;
mod import;
mod kill;
mod log;
mod offline_options;
mod outcomes;
mod output;
mod policy;
mod policy_view;
mod problem;
mod proposal;
mod reading;
mod release;
mod role;
mod rollout;
mod rollout_view;
mod rollout_watch;
mod rule_text;
mod runbook;
mod segment;
mod serve_options;
mod session;
mod shell;
mod slo;
mod source;
mod targeting;
mod ticks;
mod token;
mod trust;
mod unanswered;
mod verdicts;
mod view;
mod waiver;
mod webhook;
mod when;
mod whole_file;

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};

use clap::{CommandFactory as _, Parser, Subcommand};
use rollout_rules::ids::AppKey;

pub use demo::{DemoOptions, demo};
pub use failure::{ExitCode, Failure};
use groups::{Everything, ForApp, Group, InApp, KillEverything, MaybeInApp, Nothing, OfApps, WithOptions};
use kill::Target;
pub use offline_options::{ReceiptOptions, ReceiptWanted, RestoreOptions, VerifyOptions};
pub(crate) use output::harmless;
use output::note;
pub use serve_options::ServeOptions;
use session::{CallOptions, Given, Session};
pub use shell::{CompletionsOptions, ManOptions, completions, man};

/// Feature flags that are born off, die on a date, and can be killed everywhere in milliseconds.
///
/// Without a command, the server starts (`tidegate serve --help` lists its settings, which may also follow `tidegate` at once). The
/// other commands speak to a running server (--url, TIDEGATE_URL) with a token (TIDEGATE_TOKEN).
///
/// Exit codes: 0 done, 1 refused, 2 not a command, 3 not found, 4 no answer, 5 changed since it was
/// seen, 6 needs approval or a gate, 7 not authorised, 8 differs (where that was asked).
#[derive(Parser, Clone, Debug)]
#[command(name = "tidegate", version, propagate_version = true)]
pub struct Cli {
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Reads a command line as the shell gives it, the program's name first. If there is nothing to carry
    /// out, since help was asked for or a mistake was made, it says what there is to say and answers with the
    /// code to end with.
    ///
    /// No command means `serve`, so a first word that is one of its options belongs to it.
    pub fn from_command_line(words: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
        let mut words: Vec<OsString> = words.into_iter().collect();
        if words.get(1).is_some_and(is_option_of_serve) {
            words.insert(1, "serve".into());
        }
        Cli::try_parse_from(&words).map_err(|error| {
            let mistake = error.use_stderr();
            if mistake && words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
                report(&Failure::usage(mistake_in(&error)), true);
            } else {
                // Whoever does not read it has seen enough.
                let _ = error.print();
            }
            if mistake { ExitCode::Usage } else { ExitCode::Done }
        })
    }
}

/// What is wrong with a command line, without what clap adds for people.
fn mistake_in(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].trim().to_owned()
}

fn is_option_of_serve(word: &OsString) -> bool {
    let option = word.to_str().and_then(|word| word.strip_prefix("--"));
    let Some(name) = option.map(|option| option.split_once('=').map_or(option, |(name, _)| name)) else {
        return false;
    };
    let root = Cli::command();
    root.find_subcommand("serve")
        .is_some_and(|serve| serve.get_arguments().any(|argument| argument.get_long() == Some(name)))
}

/// What the binary can do.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Start the server
    Serve(Box<ServeOptions>),
    /// Play a rollout that goes wrong, and how it is taken back, in about a minute and a half
    ///
    /// Starts a server of its own, on a port and a data directory that go with it, a made-up micro app with live traffic, and a
    /// rollout; then the new variant breaks. Nothing outside this machine is called.
    Demo(DemoOptions),
    /// Check a backup, or the data directory of a server that is stopped
    ///
    /// Every entry has to follow from the one before (the chain), to name an earlier one as it is (its anchor) and to
    /// be known to this program; checkpoints have to agree with the entries, and files of the gate in a backup with their
    /// names. Nothing is repaired or cut.
    ///
    /// Exit codes: 0 sound, 1 damaged, 2 neither a backup nor a data directory, 3 not there, 4 in use or
    /// unreadable, also by this version.
    Verify(VerifyOptions),
    /// Make a data directory of a backup
    ///
    /// The backup is checked first. The log keeps its entries and their revisions and gets a new name, so that SDKs
    /// do not go on where the old one was: they fetch everything anew. Kills that were in effect and that the log had not
    /// taken follow as entries. Tokens and webhooks are those of the backup: start a server that is only a copy with
    /// `--webhooks-deliver=false`. Webhooks are told of what comes from then on, not of what still waited.
    ///
    /// What the gate keeps comes back with its key: decisions are told as before, and receipts are signed with the same key. What of it
    /// is damaged in the backup is refused, unless --accept-loss restores the rest; the log is restored whole or not at all.
    Restore(RestoreOptions),
    /// Ask a running server
    #[command(flatten)]
    Client(Box<ClientCommand>),
    /// Print the completions of a shell
    Completions(CompletionsOptions),
    /// Write the man pages
    Man(ManOptions),
}

/// What the tool asks of a running server.
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
#[derive(Subcommand, Clone, Debug)]
pub enum ClientCommand {
    /// Apps: owners, tiers, budgets
    App(Group<app::AppCommand>),
    /// An app's environments
    Env(InApp<environment::EnvCommand>),
    /// An app's flags
    Flag(InApp<flag::FlagCommand>),
    /// A flag raised stage by stage, by a plan
    Rollout(InApp<rollout::RolloutCommand>),
    /// What was deployed, and what to go back to
    Release(InApp<release::ReleaseCommand>),
    /// Whether a build may be where users are: asking the gate, its decisions and receipts
    Gate(InApp<gate::GateCommand>),
    /// What the gate asks of each tier
    Policy(Group<policy::PolicyCommand>),
    /// Waivers: findings of the gate that do not count until a date
    Waiver(InApp<waiver::WaiverCommand>),
    /// Who may approve what
    Role(Group<role::RoleCommand>),
    /// Reusable sets of users, of an app or shared by all
    Segment(MaybeInApp<segment::SegmentCommand>),
    /// Who may act
    Token(Group<token::TokenCommand>),
    /// Who outside is told of changes, signed, retried and in order
    Webhook(Group<webhook::WebhookCommand>),
    /// When rollouts are taken back, and trying that out
    Guardrail(InApp<guardrail::GuardrailCommand>),
    /// What guardrails acted on, and folding it again here
    Evidence(InApp<evidence::EvidenceCommand>),
    /// How an app stands against what it promises and may cost
    Slo(ForApp<slo::SloOptions>),
    /// Jobs outside that guardrails run: a rollback in CI
    Job(InApp<runbook::JobCommand>),
    /// Channels on which guardrails tell people: mail, chats
    Channel(InApp<runbook::ChannelCommand>),
    /// What guardrails asked to be done outside, and how that stands
    Effect(InApp<runbook::EffectCommand>),
    /// Changes that wait for approvals or for a human
    Proposal(OfApps<proposal::ProposalCommand>),
    /// Who changed what, when and why
    Log(WithOptions<log::LogOptions>),
    /// Kill every flag of every app
    Kill(WithOptions<KillEverything>),
    /// Take the kill of everything back; all flags are off then (needs --reason)
    Revive(WithOptions<Everything>),
    /// Copy the whole log of the running server, and what its gate keeps, into one file (an admin's token, bound to no app)
    ///
    /// Everything up to the moment at which it begins is in it, with the evidence, judgements and receipts of the gate's decisions and the
    /// key that signs receipts; the server goes on. It is checked while it is written:
    /// a file that is there is whole. `tidegate verify` checks it again, `tidegate restore` makes a server of it.
    ///
    /// It holds the hashes of all tokens, the signing secrets of all webhooks and jobs, the key of receipts, what opens jobs, the keys of users on lists and who did
    /// what: keep it as you keep the data directory. The file is readable by its owner alone; what is written to
    /// standard output is for you to protect. It is not encrypted.
    Backup(WithOptions<backup::BackupOptions>),
    /// Write an app with its environments, segments and flags into a readable file
    ///
    /// The file is JSON, sorted, and the same as long as the app is: fit for a Git repository. Revisions, kills, tokens,
    /// previews and archived flags are not in it, nor are segments that all apps share, nor jobs and channels, which hold
    /// secrets and addresses. `tidegate import` makes a server be as the file says.
    Export(ForApp<export::ExportOptions>),
    /// Make an app be as a file of `tidegate export` says: shows the plan, asks, then makes one change after another
    ///
    /// Every change is an ordinary one under all laws, shown in the log under the plan's id. What needs approvals is left
    /// and reported, and the exit code is 6; with --propose it is stored as proposals. The same command later does only
    /// what is missing, and proposes nothing that waits already. Nothing is deleted without --prune.
    /// While a rollout of a flag runs, its exposure is left to it; a file that says off turns the flag off, and the
    /// rollout is over. What is off since its rollout was aborted, taken back or killed is raised only with
    /// --raise-stopped.
    Import(WithOptions<import::ImportOptions>),
    /// Which SDKs are connected, what they serve and how stale it is
    Clients(WithOptions<clients::ClientsOptions>),
    /// Show whose token is used, and what it may do
    Whoami(WithOptions<Nothing>),
    /// Look at the set-up from here: way, TLS, clock, token, app, disk, streams; ends with 1 if anything failed
    Doctor(ForApp<Nothing>),
}

impl ClientCommand {
    /// A receipt that is to be checked, which asks no server.
    pub fn receipt(&self) -> Option<ReceiptWanted<'_>> {
        match self {
            ClientCommand::Gate(group) => match &group.command {
                gate::GateCommand::Verify(options) => Some(ReceiptWanted {
                    options,
                    app: Given::named(group.app.clone()),
                    json: group.call.json,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    fn call(&self) -> &CallOptions {
        match self {
            ClientCommand::App(group) => &group.call,
            ClientCommand::Env(group) => &group.call,
            ClientCommand::Flag(group) => &group.call,
            ClientCommand::Rollout(group) => &group.call,
            ClientCommand::Release(group) => &group.call,
            ClientCommand::Gate(group) => &group.call,
            ClientCommand::Policy(group) => &group.call,
            ClientCommand::Waiver(group) => &group.call,
            ClientCommand::Role(group) => &group.call,
            ClientCommand::Segment(group) => &group.call,
            ClientCommand::Token(group) => &group.call,
            ClientCommand::Webhook(group) => &group.call,
            ClientCommand::Guardrail(group) => &group.call,
            ClientCommand::Evidence(group) => &group.call,
            ClientCommand::Slo(one) => &one.call,
            ClientCommand::Job(group) => &group.call,
            ClientCommand::Channel(group) => &group.call,
            ClientCommand::Effect(group) => &group.call,
            ClientCommand::Proposal(group) => &group.call,
            ClientCommand::Log(with) => &with.call,
            ClientCommand::Kill(with) => &with.call,
            ClientCommand::Revive(with) => &with.call,
            ClientCommand::Backup(with) => &with.call,
            ClientCommand::Export(one) => &one.call,
            ClientCommand::Import(with) => &with.call,
            ClientCommand::Clients(with) => &with.call,
            ClientCommand::Whoami(with) => &with.call,
            ClientCommand::Doctor(with) => &with.call,
        }
    }
}

/// Carries a command out and says on stderr what went wrong.
pub fn run(command: Box<ClientCommand>) -> ExitCode {
    let json = command.call().json;
    match dispatch(*command) {
        Ok(()) => ExitCode::Done,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::Done,
        Err(failure) => {
            report(&failure, json);
            failure.exit_code()
        }
    }
}

fn report(failure: &Failure, json: bool) {
    if json {
        // JSON escapes what could steer a terminal, and its lines are its own.
        let _ = writeln!(std::io::stderr(), "{:#}", failure.as_json());
        return;
    }
    match failure {
        Failure::Refused(problem) => {
            note(format_args!("error: {}", problem.headline()));
            problem.lines().iter().for_each(|line| note(format_args!("  {line}")));
        }
        other => note(format_args!("error: {other}")),
    }
    if let Some(advice) = failure.advice() {
        note(advice);
    }
}

fn dispatch(command: ClientCommand) -> Result<(), Failure> {
    let mut session = Session::open(command.call())?;
    let session = &mut session;
    match command {
        ClientCommand::App(group) => app::run(session, group.command),
        ClientCommand::Env(group) => environment::run(session, &named(group.app)?, group.command),
        ClientCommand::Flag(group) => match group.command {
            flag::FlagCommand::List(options) if options.stale => {
                let app = Given::named(group.app).filter(|_| !options.all_apps);
                exposures::stale(session, app.as_ref(), &options)
            }
            command => flag::run(session, &named(group.app)?, command),
        },
        ClientCommand::Rollout(group) => rollout::run(session, &named(group.app)?, group.command),
        ClientCommand::Release(group) => release::run(session, &named(group.app)?, group.command),
        ClientCommand::Gate(group) => gate::run(session, group.app, group.command),
        ClientCommand::Policy(group) => policy::run(session, group.command),
        ClientCommand::Waiver(group) => waiver::run(session, &named(group.app)?, group.command),
        ClientCommand::Role(group) => role::run(session, group.command),
        ClientCommand::Segment(group) => {
            segment::run(session, Given::named(group.app).filter(|_| !group.shared).as_ref(), group.command)
        }
        ClientCommand::Token(group) => token::run(session, group.command),
        ClientCommand::Webhook(group) => webhook::run(session, group.command),
        ClientCommand::Guardrail(group) => match group.command {
            // Asks no server.
            guardrail::GuardrailCommand::Check { file } => guardrail::check(&file, session.json),
            guardrail::GuardrailCommand::Backtest(options) => {
                backtest::run(session, named(group.app), &options)
            }
            command => guardrail::run(session, &named(group.app)?, command),
        },
        ClientCommand::Evidence(group) => evidence::run(session, named(group.app), group.command),
        ClientCommand::Slo(one) => slo::run(session, &named(one.app)?, &one.options),
        ClientCommand::Job(group) => runbook::job(session, &named(group.app)?, group.command),
        ClientCommand::Channel(group) => runbook::channel(session, &named(group.app)?, group.command),
        ClientCommand::Effect(group) => runbook::effect(session, &named(group.app)?, group.command),
        ClientCommand::Proposal(group) => proposal::run(
            session,
            Given::named(group.app).filter(|_| !group.all_apps).as_ref(),
            group.command,
        ),
        ClientCommand::Log(with) => log::run(session, &with.options),
        ClientCommand::Kill(with) => {
            let environment = with.options.everything.environment.as_ref();
            kill::kill(session, &Target::Everything, environment, &with.options.options)
        }
        ClientCommand::Revive(with) => {
            kill::revive(session, &Target::Everything, with.options.environment.as_ref())
        }
        ClientCommand::Backup(with) => backup::run(session, &with.options),
        ClientCommand::Export(one) => export::run(session, &named(one.app)?, &one.options),
        ClientCommand::Import(with) => import::run(session, &with.options),
        ClientCommand::Clients(with) => clients::run(session, &with.options),
        ClientCommand::Whoami(_) => token::whoami(session),
        ClientCommand::Doctor(with) => doctor::run(session, &with.call, Given::named(with.app).as_ref()),
    }
}

fn named(app: Option<Given<AppKey>>) -> Result<AppKey, Failure> {
    Given::named(app).ok_or_else(|| Failure::usage("say which app with --app, or set TIDEGATE_APP"))
}
