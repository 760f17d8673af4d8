//! What an operator can set: the options with their units, ranges and defaults, and how they are given.
//!
//! What no operator needs to set is in [`crate::server::limits`].

mod command;
mod environment;
mod error;
mod file;
mod given;
mod listen;
mod parse;
mod relations;
mod settings;
mod values;

#[cfg(test)]
mod tests;

pub use self::environment::warnings;
pub use self::error::ConfigError;
pub use self::listen::{Address, Endpoint, Listen, Scheme};
pub use self::parse::{Invocation, parse};
pub use self::settings::{CertificateFiles, Config, Timeouts};
