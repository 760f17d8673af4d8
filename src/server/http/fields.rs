//! The header fields that a relay acts on, gathered in one pass, and what they mean together.
//!
//! httparse has checked names and values byte for byte; here it is counted how often a field comes and what it may say.

use super::error::HttpError;
use super::limits::PROTOCOL_FIELDS_MAX;
use super::message::{Framing, Once, decimal, elements};
use super::upgrade::Upgrade;
use crate::protocol::authority::is_authority;

/// Fields of one head. [`Fields::add`] all of them, then ask.
#[derive(Default)]
pub(super) struct Fields<'b> {
    host: Once<'b>,
    content_length: Once<'b>,
    ttl: Once<'b>,
    expect: Once<'b>,
    websocket_key: Once<'b>,
    websocket_version: Once<'b>,
    coding: Coding,
    connection: ConnectionOptions,
    /// `Upgrade` names `websocket`.
    asks_websocket: bool,
}

impl<'b> Fields<'b> {
    pub(super) fn add(&mut self, name: &[u8], value: &'b [u8]) {
        // Most fields of a request are none of these: the length distinguishes them without a comparison.
        match name.len() {
            3 if is_named(name, b"TTL") => self.ttl.add(value),
            4 if is_named(name, b"Host") => self.host.add(value),
            6 if is_named(name, b"Expect") => self.expect.add(value),
            7 if is_named(name, b"Upgrade") => {
                self.asks_websocket |= elements(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
            }
            10 if is_named(name, b"Connection") => self.connection.add(value),
            14 if is_named(name, b"Content-Length") => self.content_length.add(value),
            17 if is_named(name, b"Transfer-Encoding") => self.coding.add(value),
            17 if is_named(name, b"Sec-WebSocket-Key") => self.websocket_key.add(value),
            21 if is_named(name, b"Sec-WebSocket-Version") => self.websocket_version.add(value),
            _ => {}
        }
    }

    /// `Host` (RFC 9112 §3.2).
    pub(super) fn host(&self, is_http_10: bool) -> Result<Option<&'b [u8]>, HttpError> {
        match self.host {
            Once::Absent if is_http_10 => Ok(None),
            Once::Value(host) if is_authority(host) => Ok(Some(host)),
            _ => Err(HttpError::BadHost),
        }
    }

    /// The body's framing (RFC 9112 §6.3), refused wherever another reader might see another end of the body.
    pub(super) fn framing(&self, is_http_10: bool) -> Result<Framing, HttpError> {
        match (self.coding, self.content_length) {
            (Coding::Absent, Once::Absent) => Ok(Framing::None),
            (Coding::Absent, Once::Value(text)) => decimal(text).map(Framing::Length).map_err(|_| {
                // A list is two lengths, if they are equal or not.
                if text.contains(&b',') {
                    HttpError::BadFraming
                } else {
                    HttpError::BadLength
                }
            }),
            (Coding::Chunked, Once::Absent) if !is_http_10 => Ok(Framing::Chunked),
            (Coding::Unsupported, Once::Absent) if !is_http_10 => Err(HttpError::UnsupportedCoding),
            _ => Err(HttpError::BadFraming),
        }
    }

    /// Persistence (RFC 9112 §9.3).
    pub(super) fn keep_alive(&self, is_http_10: bool) -> bool {
        !self.connection.close && (!is_http_10 || self.connection.keep_alive)
    }

    /// `Expect` (RFC 9110 §10.1.1).
    pub(super) fn expects_continue(&self, is_http_10: bool) -> Result<bool, HttpError> {
        match self.expect {
            Once::Absent => Ok(false),
            Once::Value(text) if text.eq_ignore_ascii_case(b"100-continue") => Ok(!is_http_10),
            _ => Err(HttpError::ExpectationFailed),
        }
    }

    /// `TTL` (RFC 8030 §5.2).
    pub(super) fn ttl(&self) -> Once<'b> {
        self.ttl
    }

    /// The WebSocket asked for (RFC 6455 §4.2.1); the caller has looked at the method and the version.
    pub(super) fn upgrade(&self, framing: Framing, headers: &[httparse::Header<'b>]) -> Option<Upgrade<'b>> {
        (self.connection.upgrade && self.asks_websocket).then(|| Upgrade {
            version: self.websocket_version,
            key: self.websocket_key,
            has_body: !matches!(framing, Framing::None | Framing::Length(0)),
            protocols: protocols(headers),
        })
    }
}

/// All of a request's transfer codings, which may stand in several fields.
#[derive(Clone, Copy, Default)]
enum Coding {
    #[default]
    Absent,
    Chunked,
    /// Others, and chunked as the last one: the body's end is known.
    Unsupported,
    /// Others, none of them chunked: a request's body has no end that is known.
    Endless,
    /// Something after chunked, or a list with an empty element: readers differ about it.
    Ambiguous,
}

impl Coding {
    fn add(&mut self, value: &[u8]) {
        for name in elements(value) {
            let is_chunked = name.eq_ignore_ascii_case(b"chunked");
            *self = match self {
                _ if name.is_empty() => Self::Ambiguous,
                Self::Absent if is_chunked => Self::Chunked,
                Self::Endless if is_chunked => Self::Unsupported,
                Self::Absent | Self::Endless => Self::Endless,
                Self::Chunked | Self::Unsupported | Self::Ambiguous => Self::Ambiguous,
            };
        }
    }
}

/// Options of `Connection` (RFC 9110 §7.6.1).
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionOptions {
    fn add(&mut self, value: &[u8]) {
        for option in elements(value) {
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                7 => self.upgrade |= option.eq_ignore_ascii_case(b"upgrade"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
    }
}

/// The first values of `Sec-WebSocket-Protocol`. Looked for here, so that no other request pays for them.
fn protocols<'b>(headers: &[httparse::Header<'b>]) -> [&'b [u8]; PROTOCOL_FIELDS_MAX] {
    let mut protocols = [&b""[..]; PROTOCOL_FIELDS_MAX];
    let offers = headers
        .iter()
        .filter(|field| is_named(field.name.as_bytes(), b"Sec-WebSocket-Protocol"));
    for (place, field) in protocols.iter_mut().zip(offers) {
        *place = field.value;
    }
    protocols
}

/// Whether a field has this name, in any case (RFC 9110 §5.1). One that is written as it stands here is quicker to see.
fn is_named(name: &[u8], usual: &[u8]) -> bool {
    name == usual || name.eq_ignore_ascii_case(usual)
}
