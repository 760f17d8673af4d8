//! Texts to values and back: numbers with their units, addresses, hosts, levels.
//!
//! What a value may be is said by its row in the table of settings, not here.

use std::fmt;
use std::ops::RangeInclusive;

use bytesize::ByteSize;
use tracing::level_filters::LevelFilter;

use super::{Address, Endpoint, Scheme};
use crate::protocol::host::Host;

pub(super) const DAY: u64 = 24 * 60 * 60;
pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const TIB: u64 = 1024 * GIB;

/// Longest name of a host (RFC 1035 §3.1), with a dot at its end.
const NAME_MAX_BYTES: usize = 254;

/// What a number counts, and so how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: digits only.
    Count,
    /// Whole seconds: digits only, or with units (`90s`, `5m`, `12h`, `7d`).
    Seconds,
    /// Bytes: digits only, or with a unit (`64KiB`, `1GB`).
    Bytes,
}

impl Unit {
    /// Reads a number; `None` if the text isn't one. What doesn't fit into 64 bits becomes the largest that does.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<u64> {
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
    #[must_use]
    pub fn shown(self, value: u64) -> String {
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

    /// Says what a text should have been.
    pub(super) fn examples(self) -> &'static str {
        match self {
            Self::Count => "a whole number",
            Self::Seconds => "a duration such as 90, 90s, 5m, 12h, 7d",
            Self::Bytes => "a size such as 65536, 64KiB, 1GB",
        }
    }

    /// Says what a value should have been.
    pub(super) fn between(self, range: &RangeInclusive<u64>) -> String {
        let noun = match self {
            Self::Count => "a number",
            Self::Seconds => "a duration",
            Self::Bytes => "a size",
        };
        format!(
            "{noun} from {} to {}",
            self.shown(*range.start()),
            self.shown(*range.end())
        )
    }
}

/// Reads a TCP port, 0 to 65535.
pub(super) fn port(text: &str) -> Result<u16, String> {
    digits(text)
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| format!("{} is not a port (0 to {})", Quoted(text), u16::MAX))
}

/// Reads addresses with ports, separated by commas, each with a scheme or without one.
pub(super) fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    let endpoint = |item: &str| {
        let (scheme, address) = match item.split_once("://") {
            None => (None, item),
            Some(("http", address)) => (Some(Scheme::Http), address),
            Some(("https", address)) => (Some(Scheme::Https), address),
            Some(_) => return None,
        };
        Some(Endpoint {
            scheme,
            address: self::address(address)?,
        })
    };
    let told = |item: &str| {
        endpoint(item).ok_or_else(|| {
            format!(
                "{} is not an address with a port such as 127.0.0.1:8000, localhost:8000, :8000 or https://[::1]:8443",
                Quoted(item)
            )
        })
    };
    text.split(',').map(str::trim).map(told).collect()
}

/// Reads an address as Go's programs take it: an IP address, a name or nothing, and a port.
fn address(text: &str) -> Option<Address> {
    if let Ok(address) = text.parse() {
        return Some(Address::Socket(address));
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = self::port(port).ok()?;
    if name.is_empty() {
        return Some(Address::Any { port });
    }
    is_name(name).then(|| Address::Named {
        name: name.to_owned(),
        port,
    })
}

/// Whether it may be a host's name. One whose last label is a number would be an IP address that is wrong.
fn is_name(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_MAX_BYTES && text.bytes().all(is_known) && !last.is_empty() && digits(last).is_none()
}

/// Reads hosts as clients name them, with their ports if those aren't 80 or 443, separated by commas.
pub(super) fn hosts(text: &str) -> Result<Vec<Host>, String> {
    let host = |item: &str| {
        Host::parse(item.as_bytes())
            .ok_or_else(|| format!("{} is not a host such as chat.example.org or [::1]:8000", Quoted(item)))
    };
    text.split(',').map(str::trim).map(host).collect()
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
