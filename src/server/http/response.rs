//! Writes answers: status line, the fields that every answer has, and a body.
//!
//! Which answer a request gets is not decided here, nor when it is sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::server::refusal::Refusal;

/// When a client may try again that was refused for want of room.
const RETRY_AFTER_SECONDS: u64 = 5;
/// How long a browser may remember a preflight's answer.
const PREFLIGHT_MAX_AGE_SECONDS: u64 = 24 * 60 * 60;

/// What a refusal says beside its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// The path's methods, for [`Refusal::MethodNotAllowed`].
    Allow(&'static str),
    /// Most bytes that a body may have, for [`Refusal::MessageTooLarge`].
    MaxBytes(u64),
}

/// What the answers to one request have in common. Each method appends one whole answer to `out`.
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
    /// The answer to a message that was taken, the same whatever became of it (PROTOCOL.md part 1).
    pub fn sent(&self, out: &mut Vec<u8>, ttl_seconds: u64) {
        const HEAD: &str = concat!(
            "HTTP/1.1 200 OK\r\n",
            "Access-Control-Allow-Origin: *\r\n",
            "Access-Control-Expose-Headers: Retry-After, TTL\r\n",
            "Content-Type: application/json\r\n",
            "Content-Length: 18\r\n",
            "Date: ",
        );
        const BODY: &str = r#"{"message":"sent"}"#;
        const _: () = assert!(BODY.len() == 18);

        out.reserve(320);
        put(out, HEAD);
        out.extend_from_slice(self.date.as_bytes());
        put(out, "\r\nTTL: ");
        put_number(out, ttl_seconds);
        put(out, "\r\n");
        self.put_connection(out, None);
        put(out, "\r\n");
        put(out, BODY);
    }

    /// A refusal, with its JSON body and the fields that its status asks for. It says that the connection closes if
    /// [`Refusal::closes`], whatever `kept_seconds` is.
    pub fn refused(&self, out: &mut Vec<u8>, refusal: Refusal, detail: Detail) {
        let reply = Self {
            kept_seconds: self.kept_seconds.filter(|_| !refusal.closes()),
            ..*self
        };
        reply.put_start(out, refusal.status());
        let is_upgrade = matches!(refusal, Refusal::UpgradeRequired | Refusal::UnsupportedWebSocketVersion);
        if is_upgrade {
            put_field(out, "Upgrade", "websocket");
        }
        reply.put_connection(out, is_upgrade.then_some("upgrade"));
        if refusal == Refusal::UnsupportedWebSocketVersion {
            put_field(out, "Sec-WebSocket-Version", "13");
        }
        if matches!(refusal.status(), 503 | 507) {
            put_number_field(out, "Retry-After", RETRY_AFTER_SECONDS);
            put_field(out, "Access-Control-Expose-Headers", "Retry-After");
        }
        let mut number = itoa::Buffer::new();
        let mut sentence = [refusal.sentence(), "", ""];
        match detail {
            Detail::None => {}
            Detail::Allow(methods) => put_field(out, "Allow", methods),
            Detail::MaxBytes(max_bytes) => {
                sentence = ["A body may have at most ", number.format(max_bytes), " bytes here."];
            }
        }
        let [start, middle, end] = sentence;
        let json = [
            r#"{"error":""#,
            refusal.code(),
            r#"","message":""#,
            start,
            middle,
            end,
            r#""}"#,
        ];
        reply.put_body(out, "application/json", &json.map(str::as_bytes));
    }

    /// The answer to OPTIONS: what a browser asks before it lets a page send a message (PROTOCOL.md part 1). `methods` are the
    /// path's.
    pub fn preflight(&self, out: &mut Vec<u8>, methods: &str) {
        self.put_start(out, 204);
        self.put_connection(out, None);
        put_field(out, "Allow", methods);
        put_field(out, "Access-Control-Allow-Methods", methods);
        // The asterisk is for the fields that tracing libraries add. It doesn't cover all (Fetch §3.3.3), so the others are named.
        put_field(out, "Access-Control-Allow-Headers", "Content-Type, TTL, *");
        put_number_field(out, "Access-Control-Max-Age", PREFLIGHT_MAX_AGE_SECONDS);
        put(out, "\r\n");
    }

    /// A page of text. `status` is 200 or one that a [`Refusal`] has.
    pub fn text(&self, out: &mut Vec<u8>, status: u16, content_type: &str, body: &str) {
        self.bytes(out, status, content_type, body.as_bytes());
    }

    /// Like [`Reply::text`], for a body of any kind.
    pub fn bytes(&self, out: &mut Vec<u8>, status: u16, content_type: &str, body: &[u8]) {
        self.put_start(out, status);
        self.put_connection(out, None);
        self.put_body(out, content_type, &[body]);
    }

    /// A page with 503, which says when to ask again: the server is alive, and no mail is taken now.
    pub fn unready(&self, out: &mut Vec<u8>, content_type: &str, body: &str) {
        self.put_start(out, 503);
        self.put_connection(out, None);
        put_number_field(out, "Retry-After", RETRY_AFTER_SECONDS);
        self.put_body(out, content_type, &[body.as_bytes()]);
    }

    /// The answer that makes the connection a WebSocket (RFC 6455 §4.2.2), without extensions. `accept` is from
    /// [`crate::server::http::Upgrade::accept_key`], `protocol` the subprotocol taken of those offered.
    pub fn switching(&self, out: &mut Vec<u8>, accept: &str, protocol: Option<&str>) {
        self.put_start(out, 101);
        put_field(out, "Upgrade", "websocket");
        put_field(out, "Connection", "Upgrade");
        put_field(out, "Sec-WebSocket-Accept", accept);
        if let Some(name) = protocol {
            put_field(out, "Sec-WebSocket-Protocol", name);
        }
        put(out, "\r\n");
    }

    fn put_start(&self, out: &mut Vec<u8>, status: u16) {
        put(out, "HTTP/1.1 ");
        put_number(out, u64::from(status));
        put(out, " ");
        put(out, reason(status));
        put(out, "\r\nAccess-Control-Allow-Origin: *\r\nDate: ");
        out.extend_from_slice(self.date.as_bytes());
        put(out, "\r\n");
    }

    fn put_connection(&self, out: &mut Vec<u8>, option: Option<&str>) {
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

    fn put_body(&self, out: &mut Vec<u8>, content_type: &str, pieces: &[&[u8]]) {
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

/// Tells the client to go on with the body (RFC 9110 §15.2.1). An interim answer: the real one follows.
pub fn continue_100(out: &mut Vec<u8>) {
    put(out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/// A time as `Date` tells it (RFC 9110 §5.6.7), made once for all the answers of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDate {
    text: [u8; 29],
}

impl HttpDate {
    /// The date at `time`; one before 1970 or after 9999, which only a broken clock tells, becomes the nearest.
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
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    put(out, itoa::Buffer::new().format(number));
}

fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, name);
    put(out, ": ");
    put(out, value);
    put(out, "\r\n");
}

fn put_number_field(out: &mut Vec<u8>, name: &str, number: u64) {
    put_field(out, name, itoa::Buffer::new().format(number));
}

#[cfg(test)]
mod tests;
