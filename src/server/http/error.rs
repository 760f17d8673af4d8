//! What HTTP itself refuses, whatever a request is for. How it is answered is the caller's.

/// Why a request can't be read (RFC 9112, RFC 9110, RFC 6455 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpError {
    /// The head doesn't follow RFC 9112: line ends, field syntax, obs-fold, a control byte.
    MalformedHead,
    /// `Host` is missing, doubled or not an authority (RFC 9112 §3.2), or that of an absolute target isn't one.
    BadHost,
    /// Content-Length and Transfer-Encoding contradict each other or themselves, or the last coding is not chunked
    /// (RFC 9112 §6.3).
    BadFraming,
    /// `Content-Length` is not a number, or none that 64 bits hold (RFC 9112 §6.3).
    BadLength,
    /// A chunk header, chunk end or trailer is malformed or over its limit (RFC 9112 §7.1).
    BadChunk,
    /// The upgrade's key isn't 16 bytes of base64, or there are two, or the request has a body (RFC 6455 §4.2.1).
    BadUpgrade,
    /// The body is over the limit that the caller set.
    MessageTooLarge,
    /// The target is over [`TARGET_MAX_BYTES`](super::limits::TARGET_MAX_BYTES).
    TargetTooLong,
    /// The head is over [`HEAD_MAX_BYTES`](super::limits::HEAD_MAX_BYTES) or
    /// [`HEAD_MAX_FIELDS`](super::limits::HEAD_MAX_FIELDS).
    HeadTooLarge,
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// A transfer coding before chunked.
    UnsupportedCoding,
    /// A method over [`METHOD_MAX_BYTES`](super::limits::METHOD_MAX_BYTES).
    UnknownMethod,
    /// A major version other than 1.
    UnsupportedVersion,
    /// A WebSocket version other than 13 (RFC 6455 §4.4).
    UnsupportedWebSocketVersion,
}
