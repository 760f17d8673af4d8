//! What a request asks for, in npchat's words: which thing its path names, which methods that has, its time to live.
//!
//! HTTP has been read before; what becomes of the request is the connection's and the service's.

use crate::protocol::id::RecipientId;
use crate::server::http::message::{NotDecimal, decimal};
use crate::server::http::{Once, RequestHead, Target};
use crate::server::refusal::Refusal;

/// A request whose head has been read.
#[derive(Debug)]
pub struct Request<'b> {
    /// Its head.
    pub head: &'b RequestHead<'b>,
    /// What its target names.
    pub resource: Resource,
    /// Time to live of the message in seconds, as asked for; a number too large for 64 bits is [`u64::MAX`].
    pub ttl_seconds: Option<u64>,
}

/// What a request target names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `/`
    Root,
    /// `/info`
    Info,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/{id}`
    Mailbox {
        /// Whose mailbox.
        id: RecipientId,
        /// Whether the query says `store=false`: deliver only to a live session (PROTOCOL.md part 1).
        live_only: bool,
    },
    /// `*` of an OPTIONS request: the server itself.
    Asterisk,
    /// Anything else. Refused with [`Refusal::BadId`] by the caller, after a method that no path has.
    BadId,
}

impl Resource {
    /// What this target names.
    #[must_use]
    pub fn of(target: Target<'_>) -> Self {
        let Target::Path { path, query } = target else {
            return Self::Asterisk;
        };
        match path {
            b"/" => Self::Root,
            b"/info" => Self::Info,
            b"/healthz" => Self::Health,
            b"/readyz" => Self::Ready,
            [b'/', id @ ..] => match RecipientId::parse(id) {
                Some(id) => Self::Mailbox {
                    id,
                    live_only: says_live_only(query),
                },
                None => Self::BadId,
            },
            _ => Self::BadId,
        }
    }

    /// The methods that it has, as `Allow` lists them.
    #[must_use]
    pub const fn methods(self) -> &'static str {
        match self {
            Self::Root | Self::Info | Self::Health | Self::Ready => "GET, HEAD, OPTIONS",
            Self::Mailbox { .. } | Self::Asterisk | Self::BadId => "GET, HEAD, POST, OPTIONS",
        }
    }
}

/// What a `TTL` field asks for (RFC 8030 §5.2), see [`Request::ttl_seconds`].
///
/// # Errors
/// [`Refusal::BadTtl`].
pub fn ttl_seconds(field: Once<'_>) -> Result<Option<u64>, Refusal> {
    match field {
        Once::Absent => Ok(None),
        Once::Value(text) => match decimal(text) {
            Ok(seconds) => Ok(Some(seconds)),
            Err(NotDecimal::TooLarge) => Ok(Some(u64::MAX)),
            Err(NotDecimal::NoNumber) => Err(Refusal::BadTtl),
        },
        Once::Repeated => Err(Refusal::BadTtl),
    }
}

fn says_live_only(query: &[u8]) -> bool {
    // Most requests have none.
    !query.is_empty() && query.split(|byte| *byte == b'&').any(|pair| pair == b"store=false")
}

#[cfg(test)]
mod tests;
