//! What keeps a message from being sealed, in either version of the envelope.

use std::fmt;

/// Why something can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// Over [`CONTENT_MAX_BYTES`](super::content::CONTENT_MAX_BYTES), or with envelope v1 over
    /// [`ENVELOPE_MAX_BYTES`](super::envelope1::ENVELOPE_MAX_BYTES): the user's text or file is too long.
    TooLong,
    /// The system's random numbers or its cryptography failed.
    System,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the message is too long",
            Self::System => "the system has no random numbers",
        })
    }
}

impl std::error::Error for SealError {}
