//! What is wrong with an option.

use std::{error, fmt};

/// An option that is wrong: where it was given, and why. Displayed on one line, unless the name of a file or of an
/// unknown option breaks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(super) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for ConfigError {}
