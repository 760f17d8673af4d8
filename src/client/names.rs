//! What people are called and where they are reached, as cards and messages carry it: names and origins.
//!
//! Both come from others and are shown to people: nothing here makes them safe for a terminal or a page.

use std::fmt;

use crate::protocol::authority::is_authority;

/// Largest name in bytes of UTF-8 (PROTOCOL.md, Cards).
pub const NAME_MAX_BYTES: usize = 64;
/// Largest origin in bytes: a card has one byte for its length.
pub const ORIGIN_MAX_BYTES: usize = 255;

/// What somebody calls themselves: 0 to [`NAME_MAX_BYTES`] bytes of UTF-8, none of them zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Name(Box<str>);

impl Name {
    /// Takes the name as it stands; `None` if it is too long or has a zero byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= NAME_MAX_BYTES && !text.contains('\0')).then(|| Self(text.into()))
    }

    /// The name. It may be empty, and have any character but U+0000.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where somebody's relay is: `http` or `https`, an authority, and a path if the relay has one, without a slash at its
/// end (PROTOCOL.md, Cards). A message is posted to `{origin}/{id}`.
///
/// Printable ASCII without spaces, at most [`ORIGIN_MAX_BYTES`]. A port is 1 to 65535. A path is of segments that
/// aren't empty (RFC 3986 §3.3), and none of them is `.` or `..`, which a URL parser would take out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(Box<str>);

impl Origin {
    /// Takes the origin as it stands; `None` if it breaks the grammar.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > ORIGIN_MAX_BYTES {
            return None;
        }
        let (_, rest) = split_scheme(text)?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let is_good = is_authority(authority.as_bytes())
            && has_good_port(authority)
            && path.is_none_or(|path| path.split('/').all(is_segment));
        is_good.then(|| Self(text.into()))
    }

    /// The origin, as it was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether connections to it are by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Host and perhaps port, between scheme and path.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = split_scheme(&self.0).map_or("", |(_, rest)| rest);
        rest.split_once('/').map_or(rest, |(authority, _)| authority)
    }

    /// The path with its leading slash, or nothing.
    #[must_use]
    pub fn path(&self) -> &str {
        let rest = split_scheme(&self.0).map_or("", |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Scheme and rest, if the scheme is one that relays have.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
}

fn has_good_port(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        // The last colon is within an IPv6 address.
        Some((_, port)) if port.ends_with(']') => true,
        Some((_, port)) => port.parse::<u16>().is_ok_and(|port| port != 0),
        None => true,
    }
}

/// RFC 3986 §3.3, `segment-nz`, but for the two that mean a place in the hierarchy.
fn is_segment(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (byte, _) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(byte) => tail,
            _ => return false,
        };
    }
    !segment.is_empty() && segment != "." && segment != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_64_bytes_and_no_zero() {
        for name in ["", "alice", "ünïcödé 🚀", &"x".repeat(64), &"é".repeat(32)] {
            assert_eq!(Name::parse(name).unwrap().as_str(), name);
        }
        for name in [&"x".repeat(65), &"é".repeat(33), "a\0b", "\0"] {
            assert_eq!(Name::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn an_origin_is_scheme_authority_and_perhaps_a_path() {
        for (text, is_https, authority, path) in [
            ("https://relay.example", true, "relay.example", ""),
            ("http://127.0.0.1:8000", false, "127.0.0.1:8000", ""),
            ("http://[::1]", false, "[::1]", ""),
            ("http://[::1]:65535", false, "[::1]:65535", ""),
            ("https://a/npchat", true, "a", "/npchat"),
            ("https://a:1/b/%7ec/d:e@f", true, "a:1", "/b/%7ec/d:e@f"),
            ("https://a/...", true, "a", "/..."),
        ] {
            let origin = Origin::parse(text).expect(text);
            assert_eq!(origin.as_str(), text);
            assert_eq!(
                (origin.is_https(), origin.authority(), origin.path()),
                (is_https, authority, path),
                "{text}"
            );
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_no_origin() {
        for text in [
            "",
            "relay.example",
            "https:/relay.example",
            "https://",
            "https:///a",
            "HTTPS://relay.example",
            "wss://relay.example",
            "ftp://relay.example",
            "https://relay.example/",
            "https://relay.example/a/",
            "https://relay.example//a",
            "https://relay.example/a/../b",
            "https://relay.example/.",
            "https://relay.example?x",
            "https://relay.example/a?x",
            "https://relay.example#x",
            "https://relay.example/a b",
            "https://relay.example/%4",
            "https://relay.example/\u{e9}",
            "https://u@relay.example",
            "https://relay.example:",
            "https://relay.example:0",
            "https://relay.example:65536",
            "https://relay.example:+1",
            "https://relay.example\0",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_fits_the_length_byte_of_a_card() {
        let longest = format!("https://a/{}", "b".repeat(ORIGIN_MAX_BYTES - 10));
        assert!(Origin::parse(&longest).is_some());
        assert_eq!(Origin::parse(&format!("{longest}b")), None);
    }
}
