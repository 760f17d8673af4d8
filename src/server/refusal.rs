//! Whose fault it was: one closed enum of HTTP refusals, one of the reasons why a connection ends.
//!
//! Each has a stable code that clients may rely on, and a counter in [`crate::server::metrics`].

use crate::server::http::HttpError;
use crate::server::http::limits::{
    CHUNK_EXTENSION_MAX_BYTES, HEAD_MAX_BYTES, HEAD_MAX_FIELDS, METHOD_MAX_BYTES, TARGET_MAX_BYTES, TRAILER_MAX_BYTES,
};
use crate::server::websocket::WebSocketError;

// The sentences name these.
const _: () = {
    assert!(HEAD_MAX_BYTES == 8192 && HEAD_MAX_FIELDS == 64 && TARGET_MAX_BYTES == 256);
    assert!(CHUNK_EXTENSION_MAX_BYTES == 256 && TRAILER_MAX_BYTES == 1024);
    assert!(METHOD_MAX_BYTES < TARGET_MAX_BYTES);
};

/// Why a request is refused (PROTOCOL.md part 1, ACCEPTANCE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The head doesn't follow RFC 9112: line ends, field syntax, obs-fold, a control byte.
    MalformedHead,
    /// `Host` is missing, doubled or not an authority (RFC 9112 §3.2).
    BadHost,
    /// Content-Length and Transfer-Encoding contradict each other or themselves, or the last coding is not chunked
    /// (RFC 9112 §6.3).
    BadFraming,
    /// `Content-Length` is not a number, or none that 64 bits hold (RFC 9112 §6.3).
    BadLength,
    /// A chunk header, chunk end or trailer is malformed (RFC 9112 §7.1).
    BadChunk,
    /// The path isn't an id in its canonical spelling.
    BadId,
    /// The `TTL` field isn't a number of seconds (RFC 8030 §5.2).
    BadTtl,
    /// The upgrade's key isn't 16 bytes of base64, or there are two, or the request has a body (RFC 6455 §4.2.1).
    BadUpgrade,
    /// The request, head or body, didn't arrive in time, or ended early.
    RequestTimeout,
    /// A message without Content-Length or chunked coding.
    LengthRequired,
    /// The message is over the configured limit.
    MessageTooLarge,
    /// The target is over [`crate::server::http::limits::TARGET_MAX_BYTES`].
    TargetTooLong,
    /// The head is over [`crate::server::http::limits::HEAD_MAX_BYTES`] or [`crate::server::http::limits::HEAD_MAX_FIELDS`].
    HeadTooLarge,
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// A transfer coding before chunked.
    UnsupportedCoding,
    /// A method that is neither one of RFC 9110 §9 nor PATCH, or longer than [`METHOD_MAX_BYTES`].
    UnknownMethod,
    /// A major version other than 1.
    UnsupportedVersion,
    /// A known method that this path doesn't have.
    MethodNotAllowed,
    /// A plain GET for an id: only a WebSocket may receive.
    UpgradeRequired,
    /// A WebSocket version other than 13 (RFC 6455 §4.4).
    UnsupportedWebSocketVersion,
    /// The mailbox is at its cap, in messages or in bytes.
    MailboxFull,
    /// The relay's memory budget is spent.
    RelayFull,
    /// The relay has as many connections as it may have, or is draining.
    Unavailable,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 23] = [
        Self::MalformedHead,
        Self::BadHost,
        Self::BadFraming,
        Self::BadLength,
        Self::BadChunk,
        Self::BadId,
        Self::BadTtl,
        Self::BadUpgrade,
        Self::RequestTimeout,
        Self::LengthRequired,
        Self::MessageTooLarge,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::ExpectationFailed,
        Self::UnsupportedCoding,
        Self::UnknownMethod,
        Self::UnsupportedVersion,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::UnsupportedWebSocketVersion,
        Self::MailboxFull,
        Self::RelayFull,
        Self::Unavailable,
    ];

    /// HTTP status code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedHead
            | Self::BadHost
            | Self::BadFraming
            | Self::BadLength
            | Self::BadChunk
            | Self::BadId
            | Self::BadTtl
            | Self::BadUpgrade => 400,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::LengthRequired => 411,
            Self::MessageTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::ExpectationFailed => 417,
            Self::UpgradeRequired | Self::UnsupportedWebSocketVersion => 426,
            Self::HeadTooLarge => 431,
            Self::UnsupportedCoding | Self::UnknownMethod => 501,
            Self::RelayFull | Self::Unavailable => 503,
            Self::UnsupportedVersion => 505,
            Self::MailboxFull => 507,
        }
    }

    /// The member `error` of the answer: stable, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MalformedHead => "malformed_head",
            Self::BadHost => "bad_host",
            Self::BadFraming => "bad_framing",
            Self::BadLength => "bad_length",
            Self::BadChunk => "bad_chunk",
            Self::BadId => "bad_id",
            Self::BadTtl => "bad_ttl",
            Self::BadUpgrade => "bad_upgrade",
            Self::RequestTimeout => "request_timeout",
            Self::LengthRequired => "length_required",
            Self::MessageTooLarge => "message_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::ExpectationFailed => "expectation_failed",
            Self::UnsupportedCoding => "unsupported_coding",
            Self::UnknownMethod => "unknown_method",
            Self::UnsupportedVersion => "unsupported_version",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeRequired => "upgrade_required",
            Self::UnsupportedWebSocketVersion => "unsupported_websocket_version",
            Self::MailboxFull => "mailbox_full",
            Self::RelayFull => "relay_full",
            Self::Unavailable => "unavailable",
        }
    }

    /// The member `message` of the answer: one sentence, for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::MalformedHead => "The request head is malformed.",
            Self::BadHost => "A request needs exactly one valid Host.",
            Self::BadFraming => "The length of the body is ambiguous.",
            Self::BadLength => "Content-Length is not a number of bytes below 2^64.",
            Self::BadChunk => "The chunked body is malformed, or has over 256 bytes of extensions or 1024 of trailers.",
            Self::BadId => "The path is not an id: 43 characters of canonical base64url.",
            Self::BadTtl => "TTL is not a number of seconds.",
            Self::BadUpgrade => "The WebSocket upgrade is malformed.",
            Self::RequestTimeout => "The request did not arrive in time.",
            Self::LengthRequired => "A message needs a Content-Length or chunked coding.",
            Self::MessageTooLarge => "The message is too large.",
            Self::TargetTooLong => "The request target is over 256 bytes.",
            Self::HeadTooLarge => "The request head is over 8192 bytes or 64 fields.",
            Self::ExpectationFailed => "The only expectation met here is 100-continue.",
            Self::UnsupportedCoding => "The only transfer coding taken here is chunked.",
            Self::UnknownMethod => "The method is not known here.",
            Self::UnsupportedVersion => "The versions spoken here are those of HTTP/1.",
            Self::MethodNotAllowed => "This path does not have that method.",
            Self::UpgradeRequired => "Receiving takes a WebSocket upgrade.",
            Self::UnsupportedWebSocketVersion => "The WebSocket version spoken here is 13.",
            Self::MailboxFull => "The mailbox is full.",
            Self::RelayFull => "The relay is full, try again later.",
            Self::Unavailable => "The relay takes no more connections now.",
        }
    }

    /// Whether the connection is closed after the answer, because where the next request begins can't be known or trusted.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(self.status(), 400 | 408 | 411 | 413 | 414 | 417 | 431 | 501 | 505)
            || matches!(self, Self::Unavailable)
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client ended it in order: end of stream between requests, or a Close frame.
    Done,
    /// The transport failed: reset, timeout, broken pipe.
    Reset,
    /// What came is no TLS that is spoken here: not TLS, a version or a cipher that isn't, a broken record. Or the client
    /// has refused the server with an alert: it doesn't trust the certificate, say.
    TlsFailed,
    /// A refusal that closes, or a request that asked to.
    Answered,
    /// No request came in time.
    Idle,
    /// The client doesn't take what is sent to it.
    Stalled,
    /// A WebSocket frame breaks RFC 6455: Close 1002.
    ProtocolError,
    /// Binary before the login: Close 1003.
    UnexpectedBinary,
    /// Text or a close reason that isn't UTF-8: Close 1007.
    InvalidUtf8,
    /// A frame or message over the cap: Close 1009.
    MessageTooBig,
    /// No login by the deadline: Close 1008.
    LoginTimeout,
    /// A handshake text that isn't the JSON of PROTOCOL.md: Close 1008.
    BadHandshake,
    /// A login with npchat.2 by way of a host that isn't one of the relay's: Close 1008.
    WrongHost,
    /// An answer to a challenge that this connection doesn't hold: Close 1008.
    UnknownChallenge,
    /// The public key isn't the one of this id, or is malformed: Close 1008.
    WrongKey,
    /// The solution isn't the key's signature over the challenge, with npchat.2 bound to the host: Close 1008.
    WrongSolution,
    /// More challenges than [`crate::server::limits::CHALLENGES_PER_CONNECTION`], or with npchat.2 one after the login:
    /// Close 1008.
    TooManyChallenges,
    /// More sessions for one id than [`crate::server::limits::SESSIONS_PER_MAILBOX`]: Close 1008.
    TooManySessions,
    /// More control frames or fragments than the limits: Close 1008.
    FrameFlood,
    /// A message that takes longer than it may: Close 1008.
    MessageTimeout,
    /// No pong in time: whether the client is there can't be told. Close 1008.
    PongTimeout,
    /// Another session for the same id has acknowledged more than a window of mail that this one hasn't: Close 1008.
    FellBehind,
    /// The budget for connections is spent, and this one was among the largest holders of output that its client doesn't
    /// take.
    ConnectionMemory,
    /// The relay's own fault: it could not make a challenge (Close 1011), or its code failed.
    Internal,
    /// The server is stopping: Close 1012.
    Restart,
}

impl CloseReason {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 25] = [
        Self::Done,
        Self::Reset,
        Self::TlsFailed,
        Self::Answered,
        Self::Idle,
        Self::Stalled,
        Self::ProtocolError,
        Self::UnexpectedBinary,
        Self::InvalidUtf8,
        Self::MessageTooBig,
        Self::LoginTimeout,
        Self::BadHandshake,
        Self::WrongHost,
        Self::UnknownChallenge,
        Self::WrongKey,
        Self::WrongSolution,
        Self::TooManyChallenges,
        Self::TooManySessions,
        Self::FrameFlood,
        Self::MessageTimeout,
        Self::PongTimeout,
        Self::FellBehind,
        Self::ConnectionMemory,
        Self::Internal,
        Self::Restart,
    ];

    /// Status code of the Close frame (RFC 6455 §7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Done | Self::Reset | Self::TlsFailed | Self::Answered | Self::Idle => 1000,
            Self::ProtocolError => 1002,
            Self::UnexpectedBinary => 1003,
            Self::InvalidUtf8 => 1007,
            Self::Stalled
            | Self::LoginTimeout
            | Self::BadHandshake
            | Self::WrongHost
            | Self::UnknownChallenge
            | Self::WrongKey
            | Self::WrongSolution
            | Self::TooManyChallenges
            | Self::TooManySessions
            | Self::FrameFlood
            | Self::MessageTimeout
            | Self::PongTimeout
            | Self::FellBehind => 1008,
            Self::MessageTooBig => 1009,
            Self::Internal => 1011,
            Self::Restart => 1012,
            Self::ConnectionMemory => 1013,
        }
    }

    /// Stable name: the member `error` of a failed login, the label of the counter.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Reset => "reset",
            Self::TlsFailed => "tls_failed",
            Self::Answered => "answered",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::ProtocolError => "protocol_error",
            Self::UnexpectedBinary => "unexpected_binary",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MessageTooBig => "message_too_big",
            Self::LoginTimeout => "login_timeout",
            Self::BadHandshake => "bad_handshake",
            Self::WrongHost => "wrong_host",
            Self::UnknownChallenge => "unknown_challenge",
            Self::WrongKey => "wrong_key",
            Self::WrongSolution => "wrong_solution",
            Self::TooManyChallenges => "too_many_challenges",
            Self::TooManySessions => "too_many_sessions",
            Self::FrameFlood => "frame_flood",
            Self::MessageTimeout => "message_timeout",
            Self::PongTimeout => "pong_timeout",
            Self::FellBehind => "fell_behind",
            Self::ConnectionMemory => "connection_memory",
            Self::Internal => "internal",
            Self::Restart => "restart",
        }
    }

    /// Whether this is a failed login, which is reported in a text frame before the Close (PROTOCOL.md part 1).
    #[must_use]
    pub const fn is_login_failure(self) -> bool {
        matches!(
            self,
            Self::LoginTimeout
                | Self::BadHandshake
                | Self::WrongHost
                | Self::UnknownChallenge
                | Self::WrongKey
                | Self::WrongSolution
                | Self::TooManyChallenges
                | Self::TooManySessions
                | Self::UnexpectedBinary
        )
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::MalformedHead => Self::MalformedHead,
            HttpError::BadHost => Self::BadHost,
            HttpError::BadFraming => Self::BadFraming,
            HttpError::BadLength => Self::BadLength,
            HttpError::BadChunk => Self::BadChunk,
            HttpError::BadUpgrade => Self::BadUpgrade,
            HttpError::MessageTooLarge => Self::MessageTooLarge,
            HttpError::TargetTooLong => Self::TargetTooLong,
            HttpError::HeadTooLarge => Self::HeadTooLarge,
            HttpError::ExpectationFailed => Self::ExpectationFailed,
            HttpError::UnsupportedCoding => Self::UnsupportedCoding,
            HttpError::UnknownMethod => Self::UnknownMethod,
            HttpError::UnsupportedVersion => Self::UnsupportedVersion,
            HttpError::UnsupportedWebSocketVersion => Self::UnsupportedWebSocketVersion,
        }
    }
}

impl From<WebSocketError> for CloseReason {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::ProtocolError => Self::ProtocolError,
            WebSocketError::UnexpectedBinary => Self::UnexpectedBinary,
            WebSocketError::InvalidUtf8 => Self::InvalidUtf8,
            WebSocketError::MessageTooBig => Self::MessageTooBig,
            // Only a step of a login has a limit of its own.
            WebSocketError::TextTooLong => Self::BadHandshake,
            WebSocketError::FrameFlood => Self::FrameFlood,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
