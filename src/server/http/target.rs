//! A request target: its path and its query, and the authority that it or `Host` carries (RFC 9112 §3.2).
//!
//! What a path names is not decided here.

use memchr::memchr;

use super::error::HttpError;
use super::message::Method;
use crate::protocol::authority::is_authority;

/// A request target, cut into its parts and not decoded. It is ASCII, and begins with a slash unless it is of a form
/// that only a proxy is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'b> {
    /// A path and its query.
    Path {
        /// Up to the question mark, if there is one.
        path: &'b [u8],
        /// After the first question mark; empty if there is none.
        query: &'b [u8],
    },
    /// `*` of an OPTIONS request: the server itself.
    Asterisk,
}

/// Reads a request target, and the authority that the absolute form has (RFC 9112 §3.2.2).
///
/// # Errors
/// [`HttpError::MalformedHead`] for a byte over 0x7f, [`HttpError::BadHost`] for a bad authority.
pub(super) fn parse(target: &[u8], method: Method) -> Result<(Target<'_>, Option<&[u8]>), HttpError> {
    if !target.is_ascii() {
        return Err(HttpError::MalformedHead);
    }
    if target == b"*" && method == Method::Options {
        return Ok((Target::Asterisk, None));
    }
    let Some(after_scheme) = strip_scheme(target) else {
        return Ok((cut(target), None));
    };
    let authority_end = after_scheme
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(after_scheme.len());
    let (authority, path_and_query) = after_scheme.split_at(authority_end);
    if !is_authority(authority) {
        return Err(HttpError::BadHost);
    }
    let target = match cut(path_and_query) {
        // An absolute target may leave out the path (RFC 9110 §4.2.3).
        Target::Path { path: b"", query } => Target::Path { path: b"/", query },
        target => target,
    };
    Ok((target, Some(authority)))
}

fn cut(path_and_query: &[u8]) -> Target<'_> {
    let path_end = memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(path_end);
    Target::Path {
        path,
        query: query.get(1..).unwrap_or_default(),
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

#[cfg(test)]
mod tests;
