//! The server's command line: reads the options, and runs the server with them.
//!
//! What the options are and what they may be is in `npchat::server::config`; what the server does is not said here at all.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, iter};

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use npchat::server::config::{self, Config, Group, Key, SETTINGS, Setting};
use npchat::server::{self, log, system};

/// A start-up error: the options are good, the machine or a file isn't.
const START_FAILED: u8 = 1;
/// A usage error.
const USAGE: u8 = 2;

const CHECK: &str = "check";

/// Messages come and go by the hundred thousand, and often in another worker than the one that took them.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything secret is read.
    let undumpable = system::forbid_core_dumps();
    let matches = match command().try_get_matches_from(env::args_os().map(with_two_dashes)) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return fail(USAGE, one_line(&error)),
        Err(help) => return print(&help.to_string()),
    };
    let config = match Config::resolve(
        |setting| given(&matches, setting),
        |setting| env::var_os(setting.variable),
    ) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, error),
    };
    let only_checks = matches.get_flag(CHECK);
    if let Err(error) = server::check_certificate(&config) {
        return fail(START_FAILED, error);
    }
    let warnings = config::warnings(env::vars_os());
    if only_checks {
        for warning in warnings {
            complain(format_args!("warning: {warning}"));
        }
        return print(&effective(&config));
    }
    let _flushed = match log::start(config.log) {
        Ok(guard) => guard,
        Err(error) => return fail(START_FAILED, format_args!("cannot start a thread: {error}")),
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) = undumpable {
        tracing::warn!(%error, "a core dump of this process would hold mail: it can't be made to leave none");
    }
    match server::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(START_FAILED, error),
    }
}

fn command() -> Command {
    let defaults = Config::default();
    Command::new("npchatd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Relays messages: POST /{id} sends one, a WebSocket at /{id} receives them.")
        .after_help(
            "A flag beats its environment variable, which beats the default.\n\
             DURATION: seconds, or with a unit (90, 90s, 5m, 12h, 7d).\n\
             SIZE: bytes, or with a unit (65536, 64KiB, 1GB).\n\
             ADDRESS: 127.0.0.1:8000, [::1]:8000, localhost:8000, :8000 for all addresses;\n\
             with a certificate that is https, else http, unless it is said:\n\
             https://[::1]:8443, http://127.0.0.1:8000.",
        )
        .args(SETTINGS.iter().map(|setting| argument(setting, &defaults)))
        .next_help_heading("Instead of running")
        .arg(
            Arg::new(CHECK)
                .long(CHECK)
                .action(ArgAction::SetTrue)
                .help("Print the effective configuration"),
        )
        .disable_help_flag(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Print this help"),
        )
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        )
}

fn argument(setting: &Setting, defaults: &Config) -> Arg {
    let default = setting.default_text(defaults);
    let argument = Arg::new(setting.name())
        .long(setting.name())
        .value_name(setting.placeholder)
        .value_parser(ValueParser::os_string())
        // A negative number is a value to complain of, not an unknown flag.
        .allow_negative_numbers(true)
        .help(format!("{}\n[{}, default {default}]", setting.help, setting.variable))
        .help_heading(match setting.group {
            Group::GoNpchat => "Options that go-npchat has too",
            Group::Ours => "More options",
        })
        .action(if setting.is_repeatable() {
            ArgAction::Append
        } else {
            ArgAction::Set
        });
    if setting.key == Key::Port {
        argument.short('p')
    } else {
        argument
    }
}

/// What the command line says of a setting: several values become one with commas.
fn given(matches: &ArgMatches, setting: &Setting) -> Option<OsString> {
    let values = matches.get_many::<OsString>(setting.name())?;
    Some(values.cloned().collect::<Vec<_>>().join(OsStr::new(",")))
}

/// Go's flag package takes one dash before a long name. Here one dash before two letters is one too few.
fn with_two_dashes(argument: OsString) -> OsString {
    let is_long = |text: &str| match text.as_bytes() {
        [b'-', first, second, ..] => first.is_ascii_alphabetic() && second.is_ascii_alphabetic(),
        _ => false,
    };
    match argument.to_str() {
        Some(text) if is_long(text) => format!("-{text}").into(),
        _ => argument,
    }
}

/// What clap says of wrong arguments: its first paragraph and its tips.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let problem = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let tips = paragraphs.filter(|paragraph| paragraph.starts_with("tip: "));
    iter::once(problem).chain(tips).collect::<Vec<_>>().join("; ")
}

/// Checks the files as far as can be, so that what is wrong with them is told.
fn effective(config: &Config) -> String {
    let line = |setting| format!("{} = {}\n", Setting::name(setting), config.shown(setting));
    SETTINGS.iter().map(line).collect::<Vec<_>>().concat()
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(START_FAILED, error),
    }
}

fn fail(code: u8, error: impl Display) -> ExitCode {
    complain(error);
    ExitCode::from(code)
}

/// Writes one line to stderr, whatever a file's name or an argument put into it.
fn complain(what: impl Display) {
    let mut line = String::from("npchatd: ");
    for character in what.to_string().chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    // Before the log is started a signal ends the process, even while it waits for stderr.
    if !log::write_line(&line) {
        // With stderr gone the exit code remains.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}
