//! What ends a WebSocket by its own rules. What the Close frame says is the caller's.

/// Why a frame or a message isn't taken (RFC 6455).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebSocketError {
    /// A frame breaks RFC 6455 §5: 1002.
    ProtocolError,
    /// A binary message where only a text is wanted: 1003.
    UnexpectedBinary,
    /// A text, or the reason of a Close, isn't UTF-8: 1007.
    InvalidUtf8,
    /// A message is over the cap: 1009.
    MessageTooBig,
    /// A text is longer than the one that is wanted.
    TextTooLong,
    /// More control frames or fragments than the limits: 1008.
    FrameFlood,
}
