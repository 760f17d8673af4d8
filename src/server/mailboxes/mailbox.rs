//! One mailbox and the messages in its queue: their order, and what they weigh.
//!
//! The links lead through the shard's messages. Which session is given what is [`super::subscribers`]'s, where bodies
//! lie is [`super::blocks`]'.

use bytemuck::{Pod, Zeroable};

use crate::protocol::id::RecipientId;

use super::arena::NONE;
use super::dense::Dense;
use super::key::Key;
use super::message::Message;
use super::sequence::Sequence;

/// The queue of one recipient. A cache line: it is cold whenever it is looked at.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Mailbox {
    id: [u8; 32],
    /// The half of the id's keyed hash that the table has.
    hash: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) next_sequence: Sequence,
    pub(super) count: u32,
    /// Sum of the bodies.
    pub(super) bytes: u32,
    /// Index of its sessions among the shard's subscribers, or [`NONE`].
    pub(super) subscribers: u32,
    /// Messages that expired and aren't in the shard's table of such counts yet.
    pub(super) missed: u16,
    /// Not zero: messages that must not be stored may be among the queue. Never without subscribers.
    pub(super) holds_live_only: u8,
    unused: u8,
}

impl Mailbox {
    pub(super) fn new(key: &Key) -> Self {
        Self {
            id: *key.id.as_bytes(),
            hash: key.hash,
            head: NONE,
            tail: NONE,
            next_sequence: Sequence::FIRST,
            count: 0,
            bytes: 0,
            subscribers: NONE,
            missed: 0,
            holds_live_only: 0,
            unused: 0,
        }
    }

    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.id == *key.id.as_bytes()
    }

    pub(super) fn key(&self) -> Key {
        Key {
            id: RecipientId::from_bytes(self.id),
            hash: self.hash,
        }
    }

    /// Nothing is lost when it is freed.
    pub(super) const fn is_idle(&self) -> bool {
        self.count == 0 && self.subscribers == NONE
    }

    /// Where the message at `cursor` stands; for [`NONE`], where the next one will.
    pub(super) fn sequence_at(&self, cursor: u32, messages: &Dense<Message>) -> Sequence {
        messages
            .get(cursor)
            .map_or(self.next_sequence, |message| message.sequence)
    }

    /// From where positions in this mailbox are distinguished.
    pub(super) fn oldest(&self, messages: &Dense<Message>) -> Sequence {
        self.sequence_at(self.head, messages)
    }

    /// Whether the queue may soon span so many sequences that its end couldn't be distinguished from its beginning.
    ///
    /// Looks at the first message, which is cold, only once in as many posts as there is reserve.
    pub(super) fn spans_too_much(&self, messages: &Dense<Message>) -> bool {
        const RESERVE: u32 = 1 << 16;
        self.next_sequence.0.is_multiple_of(RESERVE)
            && self.next_sequence.since(self.oldest(messages)) > u32::MAX - RESERVE
    }

    /// Puts the message at `index` at the end of the queue. Its links and sequence are set here; the caps are the
    /// caller's.
    pub(super) fn append(&mut self, index: u32, messages: &mut Dense<Message>) {
        let message = &mut messages[index];
        message.prev = self.tail;
        message.next = NONE;
        message.sequence = self.next_sequence;
        self.holds_live_only |= message.live_only;
        self.bytes += message.len;
        self.count += 1;
        self.next_sequence = self.next_sequence.next();
        match messages.get_mut(self.tail) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
    }

    /// Takes the message at `index` out of the queue.
    pub(super) fn unlink(&mut self, index: u32, messages: &mut Dense<Message>) {
        let (is_first, is_last) = (index == self.head, index == self.tail);
        let Message { prev, next, len, .. } = messages[index];
        // The first one's own `prev` means nothing, so a queue that is worked off from its front has no neighbour
        // changed.
        if is_first {
            self.head = next;
        } else {
            messages[prev].next = next;
        }
        match (is_first, is_last) {
            (true, true) => self.tail = NONE,
            (false, true) => self.tail = prev,
            (true, false) => {}
            (false, false) => messages[next].prev = prev,
        }
        self.bytes -= len;
        self.count -= 1;
    }

    /// The message that was at `from` is at `to` now: its neighbours are shown.
    pub(super) fn note_move(&mut self, from: u32, to: u32, messages: &mut Dense<Message>) {
        let Message { prev, next, .. } = messages[to];
        if self.head == from {
            self.head = to;
        } else {
            messages[prev].next = to;
        }
        if self.tail == from {
            self.tail = to;
        } else {
            messages[next].prev = to;
        }
    }
}
