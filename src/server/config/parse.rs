//! From the command line, the environment and the configuration file to a [`Config`].
//!
//! Arguments and variables are parameters: nothing here looks at the process. `clap` would take an empty variable for a
//! value, and can't say where a wrong one came from, so it parses twice: first the command line into texts, then
//! each option from the strongest source that gives it.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::iter;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches as _, ValueHint};

use super::command::{Options, command, is_named, settings, without_variables};
use super::environment::{is_service_address, nearest};
use super::error::ConfigError;
use super::given::{Given, Source};
use super::listen::Listen;
use super::settings::{CertificateFiles, Config};
use super::{file, relations};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// To run with these options.
    Run(Config),
    /// To print these options.
    Check(Config),
    /// To print this text: the help or the version.
    Print(String),
}

/// Reads the command line, whose first argument is the program's name, the variables, and the file that they may name.
/// Flags beat variables, which beat the file, which beats the defaults.
///
/// An empty variable counts as unset, and so does a port that is the address of a service (see [`super::warnings`]).
///
/// # Errors
///
/// The first argument or key that isn't an option; the first value that isn't UTF-8, isn't one of its kind, is out of
/// its range or contradicts another; a file that can't be read.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<Invocation, ConfigError> {
    let command = command();
    let only_texts = without_variables(command.clone()).mut_args(|argument| match argument.get_action() {
        ArgAction::Set | ArgAction::Append => argument.value_delimiter(None).value_parser(ValueParser::os_string()),
        _ => argument,
    });
    let matches = match only_texts.try_get_matches_from(arguments.into_iter().map(with_two_dashes)) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(ConfigError(one_line(&error))),
        Err(help) => return Ok(Invocation::Print(help.to_string())),
    };
    let stronger = |argument| from_flag(argument, &matches).or_else(|| from_variable(argument, &variable));
    let mut parser = without_variables(command.clone());
    let mut options = Options::default();
    let mut file = Vec::new();
    if let Some(named) = settings(&command)
        .filter(|argument| is_named(argument, "config"))
        .find_map(stronger)
    {
        read_into(&named, &mut options, &mut parser)?;
        let path = options.file.take().unwrap_or_default();
        let text = file::read(&path).map_err(|error| named.wrong(format!("{}: {error}", path.display())))?;
        file = file::keys(&path, &text)?;
    }
    only_options(&file, &command)?;
    let mut from_file =
        |argument: &Arg| Some(file.swap_remove(file.iter().position(|key| is_named(argument, &key.name))?));
    let mut given: Vec<_> = settings(&command)
        .filter(|argument| !is_named(argument, "config"))
        .filter_map(|argument| stronger(argument).or_else(|| from_file(argument)))
        .collect();
    relations::settle(&mut given)?;
    for given in &given {
        read_into(given, &mut options, &mut parser)?;
    }
    let mut config = options.config;
    let files = options.certificate.zip(options.private_key);
    config.certificate = files.map(|(certificate, private_key)| CertificateFiles {
        certificate,
        private_key,
    });
    if let Some(port) = options.port {
        config.listen = Listen::Default { port };
    } else if !options.listen.is_empty() {
        config.listen = Listen::Addresses(options.listen);
    }
    relations::check(&config, &given)?;
    Ok(if matches.get_flag("check") {
        Invocation::Check(config)
    } else {
        Invocation::Run(config)
    })
}

impl Config {
    /// Checks every number against its range, and the options against each other.
    ///
    /// # Errors
    ///
    /// The first option, in the order of `--help`, that is out of its range or contradicts another.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_ranges(self)?;
        relations::check(self, &[])
    }
}

/// Checks the numbers of a config that may have been put together by hand with the parsers of the options.
fn check_ranges(config: &Config) -> Result<(), ConfigError> {
    let mut parser = without_variables(command());
    let are_no_numbers = ["port", "cert", "privkey", "listen", "host", "log"];
    for (name, text) in config.shown() {
        if !are_no_numbers.contains(&name) {
            let given = Given::new(name, Source::Flag, format!("--{name}"), Ok(vec![text.into()]));
            read_into(&given, &mut Options::default(), &mut parser)?;
        }
    }
    Ok(())
}

fn from_flag(argument: &Arg, matches: &ArgMatches) -> Option<Given> {
    let name = argument.get_long()?;
    let texts = matches.get_many::<OsString>(argument.get_id().as_str())?;
    Some(Given::new(
        name,
        Source::Flag,
        format!("--{name}"),
        Ok(texts.cloned().collect()),
    ))
}

fn from_variable(argument: &Arg, variable: &impl Fn(&OsStr) -> Option<OsString>) -> Option<Given> {
    let (name, origin) = (argument.get_long()?, argument.get_env()?);
    let is_foreign = |text: &OsString| name == "port" && is_service_address(text);
    let text = variable(origin).filter(|text| !text.is_empty() && !is_foreign(text))?;
    Some(Given::new(
        name,
        Source::Environment,
        origin.display().to_string(),
        Ok(vec![text]),
    ))
}

/// A key that is no option is wrong, even if nothing depends on it.
fn only_options(file: &[Given], command: &Command) -> Result<(), ConfigError> {
    let known = || {
        settings(command)
            .filter_map(Arg::get_long)
            .filter(|name| *name != "config")
    };
    let Some(unknown) = file.iter().find(|key| known().all(|name| name != key.name)) else {
        return Ok(());
    };
    let tip = nearest(&unknown.name, unknown.name.len(), known());
    Err(unknown.wrong(format!("there is no such option{tip}")))
}

/// Parses it, and sets the field that it is for.
fn read_into(given: &Given, options: &mut Options, parser: &mut Command) -> Result<(), ConfigError> {
    let texts = given.texts.as_ref().map_err(|problem| given.wrong(problem))?;
    if let Some(argument) = parser.get_arguments().find(|argument| is_named(argument, &given.name)) {
        if texts.len() > 1 && !matches!(argument.get_action(), ArgAction::Append) && given.source == Source::File {
            return Err(given.wrong("takes one value, no list"));
        }
        // A file's name needn't be UTF-8.
        let is_path = argument.get_value_hint() == ValueHint::FilePath;
        if let Some(text) = texts.iter().find(|text| !is_path && text.to_str().is_none()) {
            return Err(given.wrong(format!("{:?} is not UTF-8", text.to_string_lossy())));
        }
    }
    let flag = |text: &OsString| {
        let mut flag = OsString::from(format!("--{}=", given.name));
        flag.push(text);
        flag
    };
    let arguments = iter::once("npchatd".into()).chain(texts.iter().map(flag));
    parser
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| options.update_from_arg_matches(&matches))
        .map_err(|error| match error.source() {
            Some(problem) => given.wrong(problem),
            None => given.wrong(one_line(&error)),
        })
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
