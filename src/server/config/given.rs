//! An option that was given, as text: where, and by what it is blamed.

use std::ffi::OsString;
use std::fmt::Display;

use super::error::ConfigError;

/// An option that was given, by its strongest source.
pub(super) struct Given {
    /// The long option without its dashes.
    pub(super) name: String,
    pub(super) source: Source,
    /// What an error blames: the flag, the variable, or the key with its file and line.
    pub(super) origin: String,
    /// What was given, or what is wrong with it before it is parsed.
    pub(super) texts: Result<Vec<OsString>, String>,
}

/// The weaker source comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    File,
    Environment,
    Flag,
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

    pub(super) fn wrong(&self, problem: impl Display) -> ConfigError {
        ConfigError(format!("{}: {problem}", self.origin))
    }
}
