//! The command line as `clap` has it: every option with its variable, its parser and its help.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, Resettable, TypedValueParser};
use clap::{Arg, ArgAction, Args, Command, ValueHint};

use super::listen::Endpoint;
use super::settings::{Config, GO_NPCHAT, OURS};
use super::values;

const INSTEAD: &str = "Instead of running";

const AFTER_HELP: &str = "\
A flag beats its environment variable, which beats the file of --config, which
beats the default. The file is TOML: msgttl = \"5m\", listen = [\":80\", \":8000\"].
DURATION: seconds, or with a unit (90, 90s, 5m, 12h, 7d).
SIZE: bytes, or with a unit (65536, 64KiB, 1GB).
ADDRESS: 127.0.0.1:8000, [::1]:8000, localhost:8000, :8000 for all addresses;
with a certificate that is https, else http, unless it is said:
https://[::1]:8443, http://127.0.0.1:8000.";

/// The options as they are given. Its order is that of `--help`, within each heading.
#[derive(Default, Args)]
#[command(next_help_heading = GO_NPCHAT)]
pub(super) struct Options {
    #[arg(long, short, env = "NPCHAT_PORT", value_name = "PORT",
        value_parser = values::port, help = "TCP port on all addresses, 0 for any")]
    pub(super) port: Option<u16>,
    #[arg(long = "cert", env = "NPCHAT_CERT", value_name = "FILE", value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().try_map(values::path),
        help = "Certificate chain (PEM): serve TLS with it")]
    pub(super) certificate: Option<PathBuf>,
    #[arg(long = "privkey", env = "NPCHAT_PRIVKEY", value_name = "FILE", value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().try_map(values::path),
        help = "Private key of the certificate (PEM)")]
    pub(super) private_key: Option<PathBuf>,
    #[arg(long, env = "NPCHAT_LISTEN", value_name = "ADDRESS", value_delimiter = ',', help_heading = OURS,
        help = "Address instead of --port; repeatable")]
    pub(super) listen: Vec<Endpoint>,
    #[command(flatten)]
    pub(super) config: Config,
    #[arg(long = "config", env = "NPCHAT_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().try_map(values::path), help_heading = OURS,
        help = "Options from a TOML file")]
    pub(super) file: Option<PathBuf>,
}

/// Every option with a variable of its own, in the order of the fields.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| argument.get_env().is_some())
}

/// The default of an option as `--help` has it: a value, or words where it depends on the machine.
pub(super) fn default_text(name: &str) -> String {
    let by_machine = match name {
        "workers" => "one a core",
        "memory" => "half of the memory",
        "connection-memory" => "memory / 4",
        "connections" => "memory / 4KiB",
        _ => {
            let shown = Config::default().shown();
            let default = shown.into_iter().find(|(other, _)| *other == name);
            return default.map_or_else(|| "none".to_owned(), |(_, text)| text);
        }
    };
    by_machine.to_owned()
}

pub(super) fn command() -> Command {
    let command = Command::new("npchatd")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true);
    let instead = |name: &'static str, action| Arg::new(name).long(name).action(action).help_heading(INSTEAD);
    Options::augment_args_for_update(command)
        .mut_args(with_default)
        .about("Relays messages: POST /{id} sends one, a WebSocket at /{id} receives them.")
        .long_about(None)
        .after_help(AFTER_HELP)
        .args([
            instead("check", ArgAction::SetTrue).help("Print the effective configuration"),
            instead("help", ArgAction::Help).short('h').help("Print this help"),
            instead("version", ArgAction::Version)
                .short('V')
                .help("Print the version"),
        ])
}

fn with_default(argument: Arg) -> Arg {
    let name = argument.get_long().unwrap_or_default();
    let variable = argument.get_env().unwrap_or_default().display();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let help = format!("{help}\n[{variable}, default {}]", default_text(name));
    // A negative number is a value to reject, not an unknown flag.
    argument.help(help).hide_env(true).allow_negative_numbers(true)
}

pub(super) fn without_variables(command: Command) -> Command {
    command.mut_args(|argument| argument.env(Resettable::Reset))
}

pub(super) fn is_named(argument: &Arg, name: &str) -> bool {
    argument.get_long() == Some(name)
}
