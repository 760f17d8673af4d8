//! The head of a request: where it ends, and what it says by the strict reading of RFC 9112.
//!
//! httparse splits it into fields; what it lets pass and a strict reader must not is refused here and in the modules
//! beside. What the request is for, and whether this path has that method, is not decided here.

use std::mem::MaybeUninit;

use httparse::Status;
use memchr::{memchr, memchr2};

use super::error::HttpError;
use super::fields::Fields;
use super::limits::{HEAD_MAX_BYTES, HEAD_MAX_FIELDS, METHOD_MAX_BYTES, TARGET_MAX_BYTES};
use super::message::{Framing, Method, Once, is_token_byte};
use super::target::{self, Target};
use super::upgrade::Upgrade;

/// Finds the end of a head in input that comes in pieces, looking at each byte once.
///
/// 1. Call [`HeadScanner::scan`] with all that has come of this head: the same first bytes each time, and more of them.
/// 2. When it finds a length, give just so many bytes to [`RequestHead::parse`].
/// 3. Begin the next head with a new scanner.
#[derive(Debug, Clone, Default)]
pub struct HeadScanner {
    scanned: usize,
    line_start: usize,
    /// Where the request line begins, after any empty lines.
    request_line_start: usize,
    request_line_ended: bool,
}

impl HeadScanner {
    /// The head's length in bytes, through its empty line, or `None` while that hasn't come.
    ///
    /// Empty lines before the request line belong to the head (RFC 9112 §2.2). The result doesn't depend on how the
    /// input was split, and what is certain to be refused is refused without waiting for the rest.
    ///
    /// # Errors
    /// [`HttpError::MalformedHead`] for a bare CR or LF, a first byte that begins no method, and a request line without
    /// a version; [`HttpError::UnsupportedVersion`] for a major version other than 1; [`HttpError::UnknownMethod`] for
    /// a method over [`METHOD_MAX_BYTES`]; when [`HEAD_MAX_BYTES`] hold no end, [`HttpError::TargetTooLong`] if the
    /// request line hasn't ended either, else [`HttpError::HeadTooLarge`].
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        let window = bytes.get(..HEAD_MAX_BYTES).unwrap_or(bytes);
        loop {
            self.check_start(window)?;
            let Some(line) = self.next_line(window)? else { break };
            match (self.request_line_ended, line.is_empty()) {
                (true, true) => return Ok(Some(self.scanned)),
                (false, false) => {
                    check_version(line)?;
                    self.request_line_ended = true;
                }
                (false, true) => self.request_line_start = self.line_start,
                (true, false) => {}
            }
        }
        if bytes.len() < HEAD_MAX_BYTES {
            Ok(None)
        } else if self.request_line_ended {
            Err(HttpError::HeadTooLarge)
        } else {
            Err(HttpError::TargetTooLong)
        }
    }

    /// Whether the head that begins with these bytes is one of a HEAD, whose answer has no body even if it is a refusal
    /// (RFC 9110 §9.3.2). `bytes` is what was given to [`HeadScanner::scan`] last.
    #[must_use]
    pub fn is_head(&self, bytes: &[u8]) -> bool {
        let request_line = bytes.get(self.request_line_start..).unwrap_or_default();
        request_line.starts_with(b"HEAD ")
    }

    /// A TLS client that got the wrong port never sends a line end: its first byte must be enough.
    fn check_start(&self, window: &[u8]) -> Result<(), HttpError> {
        if self.request_line_ended {
            return Ok(());
        }
        match window.get(self.line_start..).unwrap_or_default() {
            [first, ..] if *first != b'\r' && !is_token_byte(*first) => Err(HttpError::MalformedHead),
            // Most methods have three or four letters, which is quicker to see.
            [_, _, _, b' ', ..] | [_, _, _, _, b' ', ..] => Ok(()),
            start => match start.get(..=METHOD_MAX_BYTES) {
                Some(method) if method.iter().copied().all(is_token_byte) => Err(HttpError::UnknownMethod),
                _ => Ok(()),
            },
        }
    }

    /// The next line that is complete, without its CRLF.
    fn next_line<'w>(&mut self, window: &'w [u8]) -> Result<Option<&'w [u8]>, HttpError> {
        let unseen = window.get(self.scanned..).unwrap_or_default();
        let Some(offset) = memchr2(b'\r', b'\n', unseen) else {
            self.scanned = window.len();
            return Ok(None);
        };
        let line_end = self.scanned + offset;
        self.scanned = line_end;
        match window.get(line_end..).unwrap_or_default() {
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                let line = window.get(self.line_start..line_end);
                self.scanned = line_end + 2;
                self.line_start = self.scanned;
                Ok(line)
            }
            _ => Err(HttpError::MalformedHead),
        }
    }
}

/// What a head says. It borrows from the bytes that it was parsed from.
#[derive(Debug)]
pub struct RequestHead<'b> {
    /// The method.
    pub method: Method,
    /// The request target, without the scheme and authority of an absolute one.
    pub target: Target<'b>,
    /// Whether the client is at HTTP/1.0, not 1.1 to 1.9: no chunks, no 100, and an answer says when the connection is
    /// kept.
    pub is_http_10: bool,
    /// The authority that the client means: that of an absolute target, else of `Host`. Only HTTP/1.0 may have none.
    pub host: Option<&'b [u8]>,
    /// Whether the client wants to keep the connection after the answer (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// How the end of the body is known.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// `TTL` (RFC 8030 §5.2), as it stands.
    pub ttl: Once<'b>,
    /// The WebSocket that this request asks for. Only a GET of HTTP/1.1 can (RFC 6455 §4.1).
    pub upgrade: Option<Upgrade<'b>>,
}

impl<'b> RequestHead<'b> {
    /// Parses a head that [`HeadScanner::scan`] found complete. It relies on the scanner's checks: by itself it would
    /// let a bare LF pass.
    ///
    /// # Errors
    /// [`HttpError::MalformedHead`], [`HttpError::HeadTooLarge`] (too many fields), [`HttpError::TargetTooLong`],
    /// [`HttpError::BadHost`], [`HttpError::BadFraming`], [`HttpError::BadLength`], [`HttpError::UnsupportedCoding`]
    /// and [`HttpError::ExpectationFailed`], as documented at each. A bad WebSocket key is none of these: the method
    /// counts first, see [`Upgrade::accept_key`].
    pub fn parse(head: &'b [u8]) -> Result<Self, HttpError> {
        let mut slots = [const { MaybeUninit::uninit() }; HEAD_MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut slots) {
            Ok(Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::Version) => return Self::parse_later_minor(head),
            Err(error) => return Err(error_of(error)),
            Ok(_) => return Err(HttpError::MalformedHead),
        }
        let (Some(method), Some(target), Some(minor_version)) = (request.method, request.path, request.version) else {
            return Err(HttpError::MalformedHead);
        };
        Self::of(method, target, minor_version == 0, request.headers)
    }

    /// A head of HTTP/1.2 to 1.9, which means what one of 1.1 does (RFC 9110 §2.5) and which httparse doesn't take.
    fn parse_later_minor(head: &'b [u8]) -> Result<Self, HttpError> {
        let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let length = memchr(b'\r', &head[start..]).ok_or(HttpError::MalformedHead)?;
        let (line, fields) = head[start..].split_at(length);
        let known = [line.get(..length - 1).unwrap_or_default(), b"1\r\n\r\n"].concat();
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse(&known).map_err(error_of)?;
        let (Status::Complete(_), Some(method), Some(target)) = (status, request.method, request.path) else {
            return Err(HttpError::MalformedHead);
        };
        // What they are is the same in the line that came.
        let (method, rest) = line.split_at(method.len());
        let target = rest.get(1..=target.len()).unwrap_or_default();
        let (Ok(method), Ok(target)) = (str::from_utf8(method), str::from_utf8(target)) else {
            return Err(HttpError::MalformedHead);
        };
        let mut slots = [httparse::EMPTY_HEADER; HEAD_MAX_FIELDS];
        let fields = fields.strip_prefix(b"\r\n").unwrap_or_default();
        match httparse::parse_headers(fields, &mut slots).map_err(error_of)? {
            Status::Complete((length, headers)) if length == fields.len() => Self::of(method, target, false, headers),
            _ => Err(HttpError::MalformedHead),
        }
    }

    fn of(
        method: &'b str,
        target: &'b str,
        is_http_10: bool,
        headers: &[httparse::Header<'b>],
    ) -> Result<Self, HttpError> {
        let method = Method::from_token(method);
        if target.len() > TARGET_MAX_BYTES {
            return Err(HttpError::TargetTooLong);
        }
        let (target, target_authority) = target::parse(target.as_bytes(), method)?;

        let mut fields = Fields::default();
        for field in headers {
            fields.add(field.name.as_bytes(), field.value);
        }
        let host = fields.host(is_http_10)?;
        let framing = fields.framing(is_http_10)?;
        Ok(Self {
            method,
            target,
            is_http_10,
            // An absolute target counts for more than Host (RFC 9112 §3.2.2).
            host: target_authority.or(host),
            keep_alive: fields.keep_alive(is_http_10),
            framing,
            expects_continue: fields.expects_continue(is_http_10)?,
            ttl: fields.ttl(),
            upgrade: (method == Method::Get && !is_http_10)
                .then(|| fields.upgrade(framing, headers))
                .flatten(),
        })
    }
}

/// httparse distinguishes any wrong version from the right ones, but not a real version from garbage.
fn check_version(request_line: &[u8]) -> Result<(), HttpError> {
    match request_line.last_chunk() {
        Some(b" HTTP/1.1" | b" HTTP/1.0" | [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9']) => Ok(()),
        Some([b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => {
            Err(HttpError::UnsupportedVersion)
        }
        _ => Err(HttpError::MalformedHead),
    }
}

fn error_of(error: httparse::Error) -> HttpError {
    match error {
        httparse::Error::TooManyHeaders => HttpError::HeadTooLarge,
        _ => HttpError::MalformedHead,
    }
}

#[cfg(test)]
mod tests;
