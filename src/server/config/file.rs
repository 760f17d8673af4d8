//! Reads a configuration file: TOML, each key a long option without its dashes. What a value may be is not said here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::ConfigError;
use super::given::{Given, Source};

/// A longer file is no configuration.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Reads the file's text.
pub(super) fn read(path: &Path) -> io::Result<String> {
    // To open a named pipe would wait until another process writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::other("longer than 1 MiB"));
    }
    Ok(text)
}

/// Reads the keys in the order of their lines. Errors are to name the file, the line and the key.
///
/// # Errors
///
/// What isn't TOML, with its line.
pub(super) fn keys(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let place = |offset| {
        let lines_before = text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        format!("{}:{}", path.display(), lines_before + 1)
    };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        ConfigError(format!("{}: {}", place(offset), error.message()))
    })?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.span().start);
    let given = |(key, value): &(Spanned<DeString>, Spanned<DeValue>)| {
        let name = key.get_ref();
        let origin = format!("{}: {name}", place(key.span().start));
        Given::new(name, Source::File, origin, texts(value.get_ref()))
    };
    Ok(entries.iter().map(given).collect())
}

fn texts(value: &DeValue) -> Result<Vec<OsString>, String> {
    match value {
        DeValue::Array(items) if items.is_empty() => Err("an empty list sets nothing: leave the key out".to_owned()),
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        value => Ok(vec![text(value)?]),
    }
}

fn text(value: &DeValue) -> Result<OsString, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().into()),
        // It may be hexadecimal, octal or binary. Beyond 128 bits it is out of every range, and shown as it is written.
        DeValue::Integer(number) => Ok(i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.to_string(), |number| number.to_string())
            .into()),
        other => Err(format!(
            "not a string or a whole number, but of the type {}",
            other.type_str()
        )),
    }
}
