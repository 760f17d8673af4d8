//! Scratch for mail on its way from a mailbox into a session's output: copied under the shard's lock, framed outside
//! it.

use std::fmt;

use super::sequence::Sequence;
use crate::server::limits::{OUTBOUND_HIGH_WATER_BYTES, READ_SCRATCH_BYTES};

/// Messages given to a session, one after the other.
#[derive(Default)]
pub struct Deliveries {
    bytes: Vec<u8>,
    /// The sequence of each message, and where its body ends in `bytes`.
    messages: Vec<(Sequence, usize)>,
}

/// A message given to a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The message, as it was posted.
    pub body: &'a [u8],
    /// What to confirm it by.
    pub sequence: Sequence,
}

impl Deliveries {
    /// No deliveries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are no messages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Forgets all messages. Memory for the next ones is kept, but for what a large one took.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(OUTBOUND_HIGH_WATER_BYTES + READ_SCRATCH_BYTES);
        self.messages.clear();
    }

    /// The messages, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = Delivery<'_>> {
        let mut start = 0;
        self.messages.iter().map(move |&(sequence, end)| {
            let body = &self.bytes[start..end];
            start = end;
            Delivery { body, sequence }
        })
    }

    /// Adds a message whose body `write` appends.
    pub(super) fn push(&mut self, sequence: Sequence, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.messages.push((sequence, self.bytes.len()));
    }
}

/// Shows no part of a message, so that none gets into a log by accident.
impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("messages", &self.messages.len())
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Shows no part of the message, so that none gets into a log by accident.
impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.body.len())
            .field("sequence", &self.sequence)
            .finish()
    }
}
