//! Texts to values and back: the value parsers of the options, and the texts of `--check`. The options give ranges.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use tracing::level_filters::LevelFilter;

use crate::protocol::host::Host;

pub(super) const DAY: u64 = 24 * 60 * 60;
pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const TIB: u64 = 1024 * GIB;

/// What a number counts, and so how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things: digits only.
    Count,
    /// Whole seconds: digits only, or with units (`90s`, `5m`, `12h`, `7d`).
    Seconds,
    /// Bytes: digits only, or with a unit (`64KiB`, `1GB`).
    Bytes,
}

impl Unit {
    /// Reads a number; `None` if the text isn't one. What doesn't fit into 64 bits becomes the largest that does.
    pub(super) fn parse(self, text: &str) -> Option<u64> {
        if let Some(plain) = digits(text) {
            return Some(plain);
        }
        // The crates would take a sign or a space in front.
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        match self {
            Self::Count => None,
            Self::Seconds => {
                let duration = humantime::parse_duration(text).ok()?;
                (duration.subsec_nanos() == 0).then_some(duration.as_secs())
            }
            Self::Bytes => Some(text.parse::<ByteSize>().ok()?.as_u64()),
        }
    }

    /// Writes a number exactly, in the largest unit that divides it, so that [`Unit::parse`] reads it back.
    ///
    /// That is why this isn't left to the crates that parse: they round sizes, and count 365.25 days to a year.
    pub(super) fn shown(self, value: u64) -> String {
        let units: &[(u64, &str)] = match self {
            Self::Count => &[(1, "")],
            Self::Seconds => &[(DAY, "d"), (60 * 60, "h"), (60, "m"), (1, "s")],
            Self::Bytes => &[(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")],
        };
        units
            .iter()
            .find(|(size, _)| (value != 0 && value.is_multiple_of(*size)) || *size == 1)
            .map_or_else(|| value.to_string(), |(size, unit)| format!("{}{unit}", value / size))
    }

    /// Reads a number that has to be in a range, in terms of what it counts.
    fn parse_within<T: TryFrom<u64>>(self, range: &RangeInclusive<u64>, text: &str) -> Result<T, String> {
        let (noun, examples) = match self {
            Self::Count => ("a number", "a whole number"),
            Self::Seconds => ("a duration", "a duration such as 90, 90s, 5m, 12h, 7d"),
            Self::Bytes => ("a size", "a size such as 65536, 64KiB, 1GB"),
        };
        let value = self
            .parse(text)
            .ok_or_else(|| format!("{} is not {examples}", Quoted(text)))?;
        if range.contains(&value)
            && let Ok(value) = T::try_from(value)
        {
            return Ok(value);
        }
        let [least, most] = [range.start(), range.end()].map(|end| self.shown(*end));
        Err(format!("{} is not {noun} from {least} to {most}", Quoted(text)))
    }
}

/// Reads a number of things in this range.
pub(super) fn count<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| Unit::Count.parse_within(&range, text)
}

/// Reads a number of bytes in this range.
pub(super) fn bytes<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| Unit::Bytes.parse_within(&range, text)
}

/// Reads whole seconds in this range.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    move |text| Unit::Seconds.parse_within(&range, text).map(Duration::from_secs)
}

/// Reads a TCP port, 0 to 65535.
pub(super) fn port(text: &str) -> Result<u16, String> {
    digits(text)
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| format!("{} is not a port (0 to {})", Quoted(text), u16::MAX))
}

/// Reads a host as clients name it, with its port if that isn't 80 or 443.
pub(super) fn host(text: &str) -> Result<Host, String> {
    let text = text.trim();
    Host::parse(text.as_bytes())
        .ok_or_else(|| format!("{} is not a host such as chat.example.org or [::1]:8000", Quoted(text)))
}

/// Takes a file's name, which needn't be UTF-8.
pub(super) fn path(name: OsString) -> Result<PathBuf, &'static str> {
    if name.is_empty() {
        return Err("the file's name is empty");
    }
    Ok(PathBuf::from(name))
}

/// Reads a level's name. `LevelFilter`'s own parser would take numbers and the empty text too.
pub(super) fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(format!(
            "{} is not one of off, error, warn, info, debug, trace",
            Quoted(text)
        )),
    }
}

/// A text that an operator gave: digits as they are, anything else in quotes with its control characters escaped.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match digits(self.0) {
            Some(_) => f.write_str(self.0),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// The value of a text of digits only, saturating.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Overflow is the one way left for the parser to fail.
    all.then(|| text.parse().unwrap_or(u64::MAX))
}
