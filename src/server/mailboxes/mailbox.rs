//! One mailbox and the messages in its queue: their order, their deadlines, what they weigh.
//!
//! The links lead through the shard's messages. Who is given what is [`super::audience`]'s, where bodies lie is
//! [`super::blocks`]'.

use bytemuck::{Pod, Zeroable};

use crate::protocol::id::RecipientId;
use crate::server::timer_wheel::{Node, Nodes};

use super::Key;
use super::arena::NONE;
use super::dense::Dense;

/// Where a message stands among all that its mailbox has ever held: one more each, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Sequence(pub u32);

impl Sequence {
    /// A mailbox begins here, near the wrap, so that wrapping is no rare event.
    const FIRST: Self = Self(u32::MAX - 7);

    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Distance from `oldest`, which neither may lie before.
    pub(super) const fn since(self, oldest: Self) -> u32 {
        self.0.wrapping_sub(oldest.0)
    }

    pub(super) const fn is_before(self, other: Self, oldest: Self) -> bool {
        self.since(oldest) < other.since(oldest)
    }

    pub(super) const fn max_from(self, other: Self, oldest: Self) -> Self {
        if self.is_before(other, oldest) { other } else { self }
    }
}

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
    /// Index of its sessions among the shard's audiences, or [`NONE`].
    pub(super) audience: u32,
    /// Messages that expired unseen and aren't in the shard's table of such counts yet.
    pub(super) missed: u16,
    /// Not zero: messages that must not be stored may be among the queue. Never without an audience.
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
            audience: NONE,
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
        self.count == 0 && self.audience == NONE
    }

    /// Where the message at `cursor` stands; for [`NONE`], where the next one will.
    pub(super) fn sequence_at(&self, cursor: u32, messages: &Dense<Message>) -> Sequence {
        messages
            .get(cursor)
            .map_or(self.next_sequence, |message| message.sequence)
    }

    /// From where positions in this mailbox are told apart.
    pub(super) fn oldest(&self, messages: &Dense<Message>) -> Sequence {
        self.sequence_at(self.head, messages)
    }

    /// Whether the queue may soon span so many sequences that its end couldn't be told from its beginning.
    ///
    /// Looks at the first message, which is cold, only once in as many posts as there is reserve.
    pub(super) fn spans_too_much(&self, messages: &Dense<Message>) -> bool {
        const RESERVE: u32 = 1 << 16;
        self.next_sequence.0.is_multiple_of(RESERVE)
            && self.next_sequence.since(self.oldest(messages)) > u32::MAX - RESERVE
    }

    /// Puts the message at `index` at the end of the queue. Its links and sequence are set here; the caps are the caller's.
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
        // The first one's own `prev` means nothing, so a queue that is worked off from its front has no neighbour changed.
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

/// A message, in the one place where it lives until it is acknowledged or expires. A cache line, its body apart.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Message {
    pub(super) timer: Node,
    pub(super) next: u32,
    /// Means nothing while it is the first of its queue.
    pub(super) prev: u32,
    /// Index of its mailbox.
    pub(super) mailbox: u32,
    pub(super) sequence: Sequence,
    /// Bytes of its body.
    pub(super) len: u32,
    /// The first block of the rest of the body, which doesn't fit into `lead`.
    pub(super) first_block: u32,
    millis_early: u16,
    /// Not zero: it must not be stored: only sessions that were there when it came are given it.
    pub(super) live_only: u8,
    /// Sessions in a row that ended with this as their first unacknowledged message.
    pub(super) failures: u8,
    /// The first bytes of the body.
    pub(super) lead: [u8; LEAD_BYTES],
}

/// Bytes of a body that lie in the message itself.
pub(super) const LEAD_BYTES: usize = 24;

impl Message {
    /// A message in no queue yet, whose body is still to be stored.
    pub(super) fn new(mailbox: u32, deadline: Deadline, live_only: bool) -> Self {
        Self {
            timer: Node::new(),
            next: NONE,
            prev: NONE,
            mailbox,
            sequence: Sequence::FIRST,
            len: 0,
            first_block: NONE,
            millis_early: deadline.millis_early,
            live_only: live_only.into(),
            failures: 0,
            lead: [0; LEAD_BYTES],
        }
    }

    /// Whether its deadline has come, to the millisecond. Asked of a message whose timer has been set.
    pub(super) fn is_expired(&self, now_millis: u64) -> bool {
        let deadline = Deadline {
            tick: self.timer.tick(),
            millis_early: self.millis_early,
        };
        deadline.millis() <= now_millis
    }

    /// Whether it may be what its recipient's client can't take.
    pub(super) const fn is_suspect(&self) -> bool {
        self.failures > 0
    }
}

impl Nodes for Dense<Message> {
    fn node(&self, index: u32) -> &Node {
        &self[index].timer
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self[index].timer
    }
}

/// When a message expires: a tick of the wheel, in seconds, and how many milliseconds before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) tick: u32,
    millis_early: u16,
}

impl Deadline {
    const LAST_MILLIS: u64 = u32::MAX as u64 * 1000;

    /// The deadline `ttl_seconds` after `now_millis`, or the last one that the wheel can tell, 136 years in.
    pub(super) fn after(now_millis: u64, ttl_seconds: u32) -> Self {
        let millis = now_millis
            .saturating_add(u64::from(ttl_seconds) * 1000)
            .min(Self::LAST_MILLIS);
        let tick = millis.div_ceil(1000);
        Self {
            tick: u32::try_from(tick).unwrap_or(u32::MAX),
            millis_early: u16::try_from(tick * 1000 - millis).unwrap_or(0),
        }
    }

    fn millis(self) -> u64 {
        u64::from(self.tick) * 1000 - u64::from(self.millis_early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_exact_to_the_millisecond() {
        for now in [0, 1, 999, 1000, 1001, 86_400_500] {
            for ttl in [0, 1, 59, 604_800] {
                let deadline = Deadline::after(now, ttl);
                assert_eq!(deadline.millis(), now + u64::from(ttl) * 1000);
                assert!(u64::from(deadline.tick) * 1000 - deadline.millis() < 1000);
            }
        }
    }

    #[test]
    fn a_deadline_stays_within_the_wheel() {
        for (now, ttl) in [(5, u32::MAX), (u64::MAX, 1), (u64::MAX, u32::MAX)] {
            assert_eq!(Deadline::after(now, ttl).tick, u32::MAX);
        }
    }

    #[test]
    fn positions_compare_across_the_wrap() {
        let oldest = Sequence(u32::MAX - 1);
        let wrapped = oldest.next().next();
        assert_eq!(wrapped, Sequence(0));
        assert!(oldest.is_before(wrapped, oldest) && !wrapped.is_before(oldest, oldest));
        assert_eq!(oldest.max_from(wrapped, oldest), wrapped);
    }
}
