//! The server's program: runs the server with the options that it is given.
//!
//! What the options are and how they are read is in `npchat::server::config`; what the server does is not here at all.
#![forbid(unsafe_code)]

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use npchat::server::config::{self, Config, Invocation};
use npchat::server::{self, log, system};

/// A start-up error: the options are good, the machine or a file isn't.
const START_FAILED: u8 = 1;
/// A usage error.
const USAGE: u8 = 2;

/// Messages come and go by the hundred thousand, and often in another worker than the one that took them.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything secret is read.
    let undumpable = system::forbid_core_dumps();
    let (config, only_checks) = match config::parse(env::args_os(), |name| env::var_os(name)) {
        Ok(Invocation::Run(config)) => (config, false),
        Ok(Invocation::Check(config)) => (config, true),
        Ok(Invocation::Print(text)) => return print(&text),
        Err(error) => return fail(USAGE, error),
    };
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

/// The options that would hold, each on a line.
fn effective(config: &Config) -> String {
    let line = |(name, value)| format!("{name} = {value}\n");
    config.shown().map(line).concat()
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
