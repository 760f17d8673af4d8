//! Whose fault it was: what HTTP and a WebSocket refuse by their own rules, in npchat's words.
//!
//! Each refusal and reason has a code on the wire, in [`crate::protocol::error`], and a counter of its own.

pub use crate::protocol::error::{CloseReason, Refusal};
use crate::server::http::HttpError;
use crate::server::http::limits::{
    CHUNK_EXTENSION_MAX_BYTES, HEAD_MAX_BYTES, HEAD_MAX_FIELDS, METHOD_MAX_BYTES, TARGET_MAX_BYTES, TRAILER_MAX_BYTES,
};
use crate::server::websocket::WebSocketError;

// The sentences and the documentation of the codes name these.
const _: () = {
    assert!(HEAD_MAX_BYTES == 8192 && HEAD_MAX_FIELDS == 64 && TARGET_MAX_BYTES == 256);
    assert!(CHUNK_EXTENSION_MAX_BYTES == 256 && TRAILER_MAX_BYTES == 1024 && METHOD_MAX_BYTES == 32);
};

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
