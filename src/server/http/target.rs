//! What a request target names, and the authority that it or `Host` carries.
//!
//! Which methods a target has is not decided here.

use std::net::Ipv6Addr;

use memchr::memchr;

use super::head::Method;
use crate::protocol::id::RecipientId;
use crate::server::refusal::Refusal;

/// What a request target names (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `/`
    Root,
    /// `/info`
    Info,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/{id}`
    Mailbox {
        /// Whose mailbox.
        id: RecipientId,
        /// Whether the query says `store=false`: deliver only to a live session (PROTOCOL.md part 1).
        live_only: bool,
    },
    /// `*` of an OPTIONS request: the server itself.
    Asterisk,
    /// Anything else. Refused with [`Refusal::BadId`] by the caller, after a method that no path has.
    BadId,
}

/// Reads a request target, and the authority that the absolute form has (RFC 9112 §3.2.2).
///
/// # Errors
/// [`Refusal::MalformedHead`] for a byte over 0x7f, [`Refusal::BadHost`] for a bad authority.
pub(super) fn parse(target: &[u8], method: Method) -> Result<(Target, Option<&[u8]>), Refusal> {
    if !target.is_ascii() {
        return Err(Refusal::MalformedHead);
    }
    if target == b"*" && method == Method::Options {
        return Ok((Target::Asterisk, None));
    }
    let Some(after_scheme) = strip_scheme(target) else {
        return Ok((named(target), None));
    };
    let authority_end = after_scheme
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(after_scheme.len());
    let (authority, path_and_query) = after_scheme.split_at(authority_end);
    if !is_authority(authority) {
        return Err(Refusal::BadHost);
    }
    // An absolute target may leave out the path (RFC 9110 §4.2.3).
    let target = if path_and_query.starts_with(b"/") {
        named(path_and_query)
    } else {
        Target::Root
    };
    Ok((target, Some(authority)))
}

/// Whether this is `uri-host [":" port]` with a host that isn't empty (RFC 9110 §7.2, RFC 3986 §3.2).
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (is_host, port) = if let [b'[', literal @ ..] = text {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, rest) = literal.split_at(end);
        (is_ipv6(address), rest.get(1..).unwrap_or_default())
    } else {
        let (name, port) = text.split_at(reg_name_length(text));
        (!name.is_empty(), port)
    };
    is_host
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

fn named(path_and_query: &[u8]) -> Target {
    let path_end = memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(path_end);
    match path {
        b"/" => Target::Root,
        b"/info" => Target::Info,
        b"/healthz" => Target::Health,
        b"/readyz" => Target::Ready,
        [b'/', id @ ..] => match RecipientId::parse(id) {
            Some(id) => Target::Mailbox {
                id,
                live_only: says_live_only(query),
            },
            None => Target::BadId,
        },
        _ => Target::BadId,
    }
}

/// `query` is empty or begins with its question mark.
fn says_live_only(query: &[u8]) -> bool {
    match query {
        [_, pairs @ ..] => pairs.split(|byte| *byte == b'&').any(|pair| pair == b"store=false"),
        [] => false,
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    // Nearly every target is in origin-form.
    if target.first() == Some(&b'/') {
        return None;
    }
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// How much of the text is a `reg-name` (RFC 3986 §3.2.2); an IPv4 address looks the same.
fn reg_name_length(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some(special) = rest.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]) {
        rest = match rest.get(special..).unwrap_or_default() {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            other => return text.len() - other.len(),
        };
    }
    text.len()
}

/// [`is_name_byte`] of every byte: each request has a `Host` to be checked.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = is_name_byte(byte);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// RFC 3986 §2, `unreserved` and `sub-delims`.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

#[cfg(test)]
mod tests;
