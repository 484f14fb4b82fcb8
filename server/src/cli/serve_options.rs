//! The options of `tidegate serve`: one flag for each setting, made from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::Sources;
use crate::config::setting::SETTINGS;

/// How to start the server.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// The file of settings, if one was named.
    pub config: Option<PathBuf>,
    /// Print the settings in effect and stop.
    pub print_config: bool,
    /// Make one more admin token at start.
    pub new_admin_token: bool,
    /// The settings that were given as flags, as typed.
    pub settings: Vec<(&'static str, String)>,
}

impl ServeOptions {
    /// These options together with the process's environment.
    pub fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone().or_else(|| std::env::var_os("TIDEGATE_CONFIG").map(PathBuf::from)),
            env: std::env::vars_os().collect(),
            flags: self.settings.clone(),
        }
    }
}

#[derive(Args, Clone, Debug)]
struct Plain {
    /// A TOML file with settings; TIDEGATE_CONFIG names one too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings in effect as a TOML file, and stop
    #[arg(long)]
    print_config: bool,
    /// Make and print one more admin token, if all are lost
    #[arg(long)]
    new_admin_token: bool,
}

impl FromArgMatches for ServeOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ServeOptions, Error> {
        let plain = Plain::from_arg_matches(matches)?;
        let typed = |path: &'static str| Some((path, matches.get_one::<String>(path)?.clone()));
        Ok(ServeOptions {
            config: plain.config,
            print_config: plain.print_config,
            new_admin_token: plain.new_admin_token,
            settings: SETTINGS.iter().filter_map(|setting| typed(setting.path)).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = ServeOptions::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ServeOptions {
    fn augment_args(command: Command) -> Command {
        let mut command = Plain::augment_args(command).next_help_heading("Settings");
        for setting in SETTINGS {
            let mut arg = Arg::new(setting.path)
                .long(setting.flag_name())
                .value_name(setting.path.rsplit('.').next().unwrap_or(setting.path).to_uppercase())
                .help(format!("{} [default: {}]", setting.what, setting.shown_default()))
                .allow_hyphen_values(true)
                .hide_short_help(!setting.is_common());
            // `--insecure-http` alone says it; `--insecure-http=false` takes it back.
            if matches!(setting.default, "true" | "false") {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command = command.arg(arg);
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServeOptions::augment_args(command)
    }
}
