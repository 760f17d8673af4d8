//! From the command line, the environment and the configuration file to a [`Config`].
//!
//! Arguments and variables are parameters: nothing here looks at the process. `clap` would take an empty variable for a
//! value, and can't say where a wrong one came from, so it parses twice: first the command line into texts, then
//! each option from the strongest source that gives it.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::iter;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, Resettable, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches as _, ValueHint};

use super::environment::{is_service_address, nearest};
use super::{CertificateFiles, Config, ConfigError, Endpoint, Listen, file, relations, values};

pub(super) const GO_NPCHAT: &str = "Options that go-npchat has too";
pub(super) const OURS: &str = "More options";
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
struct Options {
    #[arg(long, short, env = "NPCHAT_PORT", value_name = "PORT",
        value_parser = values::port, help = "TCP port on all addresses, 0 for any")]
    port: Option<u16>,
    #[arg(long = "cert", env = "NPCHAT_CERT", value_name = "FILE", value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().try_map(values::path),
        help = "Certificate chain (PEM): serve TLS with it")]
    certificate: Option<PathBuf>,
    #[arg(long = "privkey", env = "NPCHAT_PRIVKEY", value_name = "FILE", value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().try_map(values::path),
        help = "Private key of the certificate (PEM)")]
    private_key: Option<PathBuf>,
    #[arg(long, env = "NPCHAT_LISTEN", value_name = "ADDRESS", value_delimiter = ',', help_heading = OURS,
        help = "Address instead of --port; repeatable")]
    listen: Vec<Endpoint>,
    #[command(flatten)]
    config: Config,
    #[arg(long = "config", env = "NPCHAT_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath,
        value_parser = OsStringValueParser::new().try_map(values::path), help_heading = OURS,
        help = "Options from a TOML file")]
    file: Option<PathBuf>,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To run with these options.
    Run(Config),
    /// To print these options.
    Check(Config),
    /// To print this text: the help or the version.
    Print(String),
}

/// An option that was given, by its strongest source.
pub(super) struct Given {
    /// The long option without its dashes.
    pub(super) name: String,
    pub(super) source: Source,
    /// What an error blames: the flag, the variable, or the key with its file and line.
    pub(super) origin: String,
    /// What was given, or what is wrong with it before it is parsed.
    texts: Result<Vec<OsString>, String>,
}

/// The weaker source comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    File,
    Environment,
    Flag,
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
) -> Result<Request, ConfigError> {
    let command = command();
    let only_texts = without_variables(command.clone()).mut_args(|argument| match argument.get_action() {
        ArgAction::Set | ArgAction::Append => argument.value_delimiter(None).value_parser(ValueParser::os_string()),
        _ => argument,
    });
    let matches = match only_texts.try_get_matches_from(arguments.into_iter().map(with_two_dashes)) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(ConfigError(one_line(&error))),
        Err(help) => return Ok(Request::Print(help.to_string())),
    };
    let stronger = |argument| from_flag(argument, &matches).or_else(|| from_variable(argument, &variable));
    let mut parser = without_variables(command.clone());
    let mut options = Options::default();
    let mut file = Vec::new();
    if let Some(named) = settings(&command)
        .filter(|argument| is_named(argument, "config"))
        .find_map(stronger)
    {
        named.read_into(&mut options, &mut parser)?;
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
        given.read_into(&mut options, &mut parser)?;
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
    config.check(&given)?;
    Ok(if matches.get_flag("check") {
        Request::Check(config)
    } else {
        Request::Run(config)
    })
}

/// Checks the numbers of a config that may have been put together by hand with the parsers of the options.
pub(super) fn check_ranges(config: &Config) -> Result<(), ConfigError> {
    let mut parser = without_variables(command());
    let are_no_numbers = ["port", "cert", "privkey", "listen", "host", "log"];
    for (name, text) in config.shown() {
        if !are_no_numbers.contains(&name) {
            Given::new(name, Source::Flag, format!("--{name}"), Ok(vec![text.into()]))
                .read_into(&mut Options::default(), &mut parser)?;
        }
    }
    Ok(())
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

fn without_variables(command: Command) -> Command {
    command.mut_args(|argument| argument.env(Resettable::Reset))
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

fn is_named(argument: &Arg, name: &str) -> bool {
    argument.get_long() == Some(name)
}

impl Given {
    pub(super) fn new(name: &str, source: Source, origin: String, texts: Result<Vec<OsString>, String>) -> Self {
        let name = name.to_owned();
        Self {
            name,
            source,
            origin,
            texts,
        }
    }

    /// Parses it, and sets the field that it is for.
    fn read_into(&self, options: &mut Options, parser: &mut Command) -> Result<(), ConfigError> {
        let texts = self.texts.as_ref().map_err(|problem| self.wrong(problem))?;
        if let Some(argument) = parser.get_arguments().find(|argument| is_named(argument, &self.name)) {
            if texts.len() > 1 && !matches!(argument.get_action(), ArgAction::Append) && self.source == Source::File {
                return Err(self.wrong("takes one value, no list"));
            }
            // A file's name needn't be UTF-8.
            let is_path = argument.get_value_hint() == ValueHint::FilePath;
            if let Some(text) = texts.iter().find(|text| !is_path && text.to_str().is_none()) {
                return Err(self.wrong(format!("{:?} is not UTF-8", text.to_string_lossy())));
            }
        }
        let flag = |text: &OsString| {
            let mut flag = OsString::from(format!("--{}=", self.name));
            flag.push(text);
            flag
        };
        let arguments = iter::once("npchatd".into()).chain(texts.iter().map(flag));
        parser
            .try_get_matches_from_mut(arguments)
            .and_then(|matches| options.update_from_arg_matches(&matches))
            .map_err(|error| match error.source() {
                Some(problem) => self.wrong(problem),
                None => self.wrong(one_line(&error)),
            })
    }

    pub(super) fn wrong(&self, problem: impl Display) -> ConfigError {
        ConfigError(format!("{}: {problem}", self.origin))
    }
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
