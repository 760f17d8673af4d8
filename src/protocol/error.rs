//! What goes wrong between the two sides, in one table each: why a request is refused, why a connection ends.
//!
//! The codes are stable: programs rely on them (PROTOCOL.md part 1). Where each is found out is not said here.

/// Makes an enum of its rows, each a name with its HTTP status code, its code and its sentence.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $status:literal, $code:literal, $sentence:literal;)*) => {
        /// Why a request is refused (PROTOCOL.md part 1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$($status),*].len()] = [$(Self::$name),*];

            /// HTTP status code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// The member `error` of the answer: stable, for programs.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The member `message` of the answer: one sentence, for people.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

/// Makes an enum of its rows, each a name with the status code of its Close frame and its code.
macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident: $close_code:literal, $code:literal;)*) => {
        /// Why a connection ends.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
        }

        impl CloseReason {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$($close_code),*].len()] = [$(Self::$name),*];

            /// Status code of the Close frame (RFC 6455 §7.4.1), whose reason is [`CloseReason::code`].
            #[must_use]
            pub const fn close_code(self) -> u16 {
                match self {
                    $(Self::$name => $close_code,)*
                }
            }

            /// Stable name: the member `error` of a failed login, the label of the counter.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

refusals! {
    /// The head doesn't follow RFC 9112: line ends, field syntax, obs-fold, a control byte.
    MalformedHead: 400, "malformed_head", "The request head is malformed.";
    /// `Host` is missing, doubled or not an authority (RFC 9112 §3.2).
    BadHost: 400, "bad_host", "A request needs exactly one valid Host.";
    /// Content-Length and Transfer-Encoding contradict each other or themselves, or the last coding is not chunked
    /// (RFC 9112 §6.3).
    BadFraming: 400, "bad_framing", "The length of the body is ambiguous.";
    /// `Content-Length` is not a number, or none that 64 bits hold (RFC 9112 §6.3).
    BadLength: 400, "bad_length", "Content-Length is not a number of bytes below 2^64.";
    /// A chunk header, chunk end or trailer is malformed (RFC 9112 §7.1).
    BadChunk: 400, "bad_chunk",
        "The chunked body is malformed, or has over 256 bytes of extensions or 1024 of trailers.";
    /// The path isn't an id in its canonical spelling.
    BadId: 400, "bad_id", "The path is not an id: 43 characters of canonical base64url.";
    /// The `TTL` field isn't a number of seconds (RFC 8030 §5.2).
    BadTtl: 400, "bad_ttl", "TTL is not a number of seconds.";
    /// The upgrade's key isn't 16 bytes of base64, or there are two, or the request has a body (RFC 6455 §4.2.1).
    BadUpgrade: 400, "bad_upgrade", "The WebSocket upgrade is malformed.";
    /// The request, head or body, didn't arrive in time, or ended early.
    RequestTimeout: 408, "request_timeout", "The request did not arrive in time.";
    /// A message without Content-Length or chunked coding.
    LengthRequired: 411, "length_required", "A message needs a Content-Length or chunked coding.";
    /// The message is over the configured limit.
    MessageTooLarge: 413, "message_too_large", "The message is too large.";
    /// The target is over 256 bytes.
    TargetTooLong: 414, "target_too_long", "The request target is over 256 bytes.";
    /// The head is over 8192 bytes or 64 fields.
    HeadTooLarge: 431, "head_too_large", "The request head is over 8192 bytes or 64 fields.";
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed: 417, "expectation_failed", "The only expectation met here is 100-continue.";
    /// A transfer coding before chunked.
    UnsupportedCoding: 501, "unsupported_coding", "The only transfer coding taken here is chunked.";
    /// A method that is neither one of RFC 9110 §9 nor PATCH, or over 32 bytes long.
    UnknownMethod: 501, "unknown_method", "The method is not known here.";
    /// A major version other than 1.
    UnsupportedVersion: 505, "unsupported_version", "The versions spoken here are those of HTTP/1.";
    /// A known method that this path doesn't have.
    MethodNotAllowed: 405, "method_not_allowed", "This path does not have that method.";
    /// A plain GET for an id: only a WebSocket may receive.
    UpgradeRequired: 426, "upgrade_required", "Receiving takes a WebSocket upgrade.";
    /// A WebSocket version other than 13 (RFC 6455 §4.4).
    UnsupportedWebSocketVersion: 426, "unsupported_websocket_version", "The WebSocket version spoken here is 13.";
    /// The mailbox is at its cap, in messages or in bytes.
    MailboxFull: 507, "mailbox_full", "The mailbox is full.";
    /// The relay's memory budget is spent.
    RelayFull: 503, "relay_full", "The relay is full, try again later.";
    /// The relay has as many connections as it may have, or is draining.
    Unavailable: 503, "unavailable", "The relay takes no more connections now.";
    /// What keeps the messages has not reported in time what became of this one, which may be stored or not.
    StorageTimeout: 504, "storage_timeout", "The message may be stored or not: that was not known in time.";
}

close_reasons! {
    /// The client ended it in order: end of stream between requests, or a Close frame.
    Done: 1000, "done";
    /// The transport failed: reset, timeout, broken pipe.
    Reset: 1000, "reset";
    /// What came is no TLS that is spoken here: not TLS, a version or a cipher that isn't, a broken record. Or the
    /// client has refused the server with an alert: it doesn't trust the certificate, say.
    TlsFailed: 1000, "tls_failed";
    /// A refusal that closes, or a request that asked to.
    Answered: 1000, "answered";
    /// No request came in time.
    Idle: 1000, "idle";
    /// The client doesn't take what is sent to it.
    Stalled: 1008, "stalled";
    /// A WebSocket frame breaks RFC 6455: Close 1002.
    ProtocolError: 1002, "protocol_error";
    /// Binary before the login: Close 1003.
    UnexpectedBinary: 1003, "unexpected_binary";
    /// Text or a close reason that isn't UTF-8: Close 1007.
    InvalidUtf8: 1007, "invalid_utf8";
    /// A frame or message over the cap: Close 1009.
    MessageTooBig: 1009, "message_too_big";
    /// No login by the deadline: Close 1008.
    LoginTimeout: 1008, "login_timeout";
    /// A handshake text that isn't the JSON of PROTOCOL.md: Close 1008.
    BadHandshake: 1008, "bad_handshake";
    /// A login with npchat.2 by way of a host that isn't one of the relay's: Close 1008.
    WrongHost: 1008, "wrong_host";
    /// An answer to a challenge that this connection doesn't hold: Close 1008.
    UnknownChallenge: 1008, "unknown_challenge";
    /// The public key isn't the one of this id, or is malformed: Close 1008.
    WrongKey: 1008, "wrong_key";
    /// The solution isn't the key's signature over the challenge, with npchat.2 bound to the host: Close 1008.
    WrongSolution: 1008, "wrong_solution";
    /// More challenges than one connection may get, or with npchat.2 one after the login: Close 1008.
    TooManyChallenges: 1008, "too_many_challenges";
    /// More sessions for one id than a mailbox may have: Close 1008.
    TooManySessions: 1008, "too_many_sessions";
    /// More control frames or fragments than the limits: Close 1008.
    FrameFlood: 1008, "frame_flood";
    /// A message that takes longer than it may: Close 1008.
    MessageTimeout: 1008, "message_timeout";
    /// No pong in time: whether the client is there can't be told. Close 1008.
    PongTimeout: 1008, "pong_timeout";
    /// Another session for the same id has acknowledged more than a window of mail that this one hasn't: Close 1008.
    FellBehind: 1008, "fell_behind";
    /// The budget for connections is spent, and this one was among the largest holders of output that its client
    /// doesn't take.
    ConnectionMemory: 1013, "connection_memory";
    /// The relay's own fault: it could not make a challenge (Close 1011), or its code failed.
    Internal: 1011, "internal";
    /// The server is stopping: Close 1012.
    Restart: 1012, "restart";
}

impl Refusal {
    /// Whether the connection is closed after the answer: because where the next request begins can't be known or
    /// trusted, or so that none waits as long again behind a POST of which nothing is known.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(self.status(), 400 | 408 | 411 | 413 | 414 | 417 | 431 | 501 | 504 | 505)
            || matches!(self, Self::Unavailable)
    }
}

impl CloseReason {
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
