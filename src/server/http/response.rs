//! Writes answers: status line, the fields that every answer has, and a body.
//!
//! What is answered is not decided here, nor when it is sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the answers to one request have in common. Each method appends to `out`: [`Reply::text`], [`Reply::bytes`] and
/// [`Reply::switching`] one whole answer, the others a part of one.
///
/// Every answer has `Access-Control-Allow-Origin: *` and `Date`, and says what becomes of the connection: `close`, or
/// `keep-alive` (RFC 9112 §9.3) and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'d> {
    /// The current time.
    pub date: &'d HttpDate,
    /// How many whole seconds the connection is kept after this answer if no request comes; `None` if it is closed. It
    /// goes into `Keep-Alive: timeout=`, so that a proxy can be the first to close, and never sends a request into a
    /// connection that is just being closed.
    pub kept_seconds: Option<u64>,
    /// Whether the method was HEAD: the answer ends after its head.
    pub head_only: bool,
}

impl Reply<'_> {
    /// A page of text. `status` is one that [`Reply::start`] has a reason phrase for.
    pub fn text(&self, out: &mut Vec<u8>, status: u16, content_type: &str, body: &str) {
        self.bytes(out, status, content_type, body.as_bytes());
    }

    /// Like [`Reply::text`], for a body of any kind.
    pub fn bytes(&self, out: &mut Vec<u8>, status: u16, content_type: &str, body: &[u8]) {
        self.start(out, status);
        self.connection(out, None);
        self.body(out, content_type, &[body]);
    }

    /// The answer that makes the connection a WebSocket (RFC 6455 §4.2.2), without extensions. `accept` is from
    /// [`Upgrade::accept_key`](super::Upgrade::accept_key), `protocol` the subprotocol taken of those offered.
    pub fn switching(&self, out: &mut Vec<u8>, accept: &str, protocol: Option<&str>) {
        self.start(out, 101);
        put_field(out, "Upgrade", "websocket");
        put_field(out, "Connection", "Upgrade");
        put_field(out, "Sec-WebSocket-Accept", accept);
        if let Some(name) = protocol {
            put_field(out, "Sec-WebSocket-Protocol", name);
        }
        put(out, "\r\n");
    }

    /// Appends the status line and the fields that every answer has but `Connection`.
    pub fn start(&self, out: &mut Vec<u8>, status: u16) {
        put(out, "HTTP/1.1 ");
        put_number(out, u64::from(status));
        put(out, " ");
        put(out, reason(status));
        put(out, "\r\nAccess-Control-Allow-Origin: *\r\nDate: ");
        out.extend_from_slice(self.date.as_bytes());
        put(out, "\r\n");
    }

    /// Appends `Connection`, with this option before what becomes of the connection.
    pub fn connection(&self, out: &mut Vec<u8>, option: Option<&str>) {
        put(out, "Connection: ");
        if let Some(option) = option {
            put(out, option);
            put(out, ", ");
        }
        match self.kept_seconds {
            None => put(out, "close"),
            // Named in Connection as every field for the next hop alone is (RFC 9110 §7.6.1).
            Some(seconds) => {
                put(out, "keep-alive\r\nKeep-Alive: timeout=");
                put_number(out, seconds);
            }
        }
        put(out, "\r\n");
    }

    /// Appends the fields of a body, the end of the head, and the body, unless the method was HEAD.
    pub fn body(&self, out: &mut Vec<u8>, content_type: &str, pieces: &[&[u8]]) {
        put_field(out, "Content-Type", content_type);
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        put_number_field(out, "Content-Length", length);
        put(out, "\r\n");
        if !self.head_only {
            for piece in pieces {
                out.extend_from_slice(piece);
            }
        }
    }
}

/// Asks the client to go on with the body (RFC 9110 §15.2.1). An interim answer: the real one follows.
pub fn continue_100(out: &mut Vec<u8>) {
    put(out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/// A time as `Date` states it (RFC 9110 §5.6.7), made once for all the answers of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDate {
    text: [u8; 29],
}

impl HttpDate {
    /// The date at `time`; one before 1970 or after 9999, which only a broken clock shows, becomes the nearest.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST_SECOND);
        let mut text = [b' '; 29];
        for (byte, from) in text
            .iter_mut()
            .zip(httpdate::fmt_http_date(UNIX_EPOCH + since_epoch).bytes())
        {
            *byte = from;
        }
        Self { text }
    }

    /// The 29 characters of an IMF-fixdate.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 29] {
        &self.text
    }
}

/// Reason phrases of RFC 9110 §15, RFC 6585 and RFC 4918; one that isn't known is left empty, as RFC 9112 §4 allows.
const fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Appends text.
pub fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a number in decimal.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    put(out, itoa::Buffer::new().format(number));
}

/// Appends a field.
pub fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, name);
    put(out, ": ");
    put(out, value);
    put(out, "\r\n");
}

/// Appends a field whose value is a number.
pub fn put_number_field(out: &mut Vec<u8>, name: &str, number: u64) {
    put_field(out, name, itoa::Buffer::new().format(number));
}

#[cfg(test)]
pub(in crate::server) mod tests;
