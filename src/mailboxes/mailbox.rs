//! One mailbox and the messages in its queue: their order, their deadlines, what they weigh.
//!
//! The links lead through the shard's slab of messages. Who is given what is [`super::audience`]'s.

use std::sync::Arc;

use crate::identity::RecipientId;
use crate::wheel::{Node, Nodes};

use super::audience::Audience;
use super::slab::{NONE, Slab};

/// Where a message stands among all that its mailbox has ever held: one more each, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// The queue of one recipient, and its live sessions. A cache line: it is cold whenever it is looked at.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Mailbox {
    pub(super) id: RecipientId,
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) next_sequence: Sequence,
    pub(super) count: u32,
    /// Sum of the bodies.
    pub(super) bytes: u32,
    pub(super) audience: Option<Box<Audience>>,
    /// Messages that expired unseen and aren't in the shard's table of such counts yet.
    pub(super) missed: u16,
    /// Messages that must not be stored may be among the queue. Never without an audience.
    pub(super) holds_live_only: bool,
}

impl Mailbox {
    pub(super) const fn new(id: RecipientId) -> Self {
        Self {
            id,
            head: NONE,
            tail: NONE,
            next_sequence: Sequence::FIRST,
            count: 0,
            bytes: 0,
            audience: None,
            missed: 0,
            holds_live_only: false,
        }
    }

    /// Nothing is lost when it is freed.
    pub(super) const fn is_idle(&self) -> bool {
        self.count == 0 && self.audience.is_none()
    }

    /// Where the message at `cursor` stands; for [`NONE`], where the next one will.
    pub(super) fn sequence_at(&self, cursor: u32, messages: &Slab<Message>) -> Sequence {
        messages
            .get(cursor)
            .map_or(self.next_sequence, |message| message.sequence)
    }

    /// From where positions in this mailbox are told apart.
    pub(super) fn oldest(&self, messages: &Slab<Message>) -> Sequence {
        self.sequence_at(self.head, messages)
    }

    /// Whether the queue may soon span so many sequences that its end couldn't be told from its beginning.
    ///
    /// Looks at the first message, which is cold, only once in as many posts as there is reserve.
    pub(super) fn spans_too_much(&self, messages: &Slab<Message>) -> bool {
        const RESERVE: u32 = 1 << 16;
        self.next_sequence.0.is_multiple_of(RESERVE)
            && self.next_sequence.since(self.oldest(messages)) > u32::MAX - RESERVE
    }

    /// Puts `message` at the end of the queue. Its links, mailbox and sequence are set here; the caps are the caller's.
    pub(super) fn append(&mut self, mut message: Message, messages: &mut Slab<Message>) -> u32 {
        message.prev = self.tail;
        message.next = NONE;
        message.sequence = self.next_sequence;
        self.holds_live_only |= message.live_only;
        self.bytes += message.weight();
        self.count += 1;
        self.next_sequence = self.next_sequence.next();
        let index = messages.insert(message);
        match messages.get_mut(self.tail) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
        index
    }

    /// Takes the message at `index` out of the queue and the slab; sessions that stand at it move on.
    pub(super) fn unlink(&mut self, index: u32, messages: &mut Slab<Message>) -> Option<Message> {
        let oldest = self.audience.is_some().then(|| self.oldest(messages));
        let (is_first, is_last) = (index == self.head, index == self.tail);
        let message = messages.remove(index)?;
        // Nobody asks the first one what was before it, so a queue that is worked off from its front has nobody told.
        match messages.get_mut(message.prev).filter(|_| !is_first) {
            Some(before) => before.next = message.next,
            None => self.head = message.next,
        }
        match (is_first, is_last) {
            (true, true) => self.tail = NONE,
            (false, true) => self.tail = message.prev,
            (true, false) => {}
            (false, false) => messages[message.next].prev = message.prev,
        }
        self.bytes -= message.weight();
        self.count -= 1;
        if let Some(oldest) = oldest {
            let new_oldest = self.oldest(messages);
            if let Some(audience) = &mut self.audience {
                audience.pass_over(index, message.next);
                if new_oldest != oldest {
                    audience.move_up(oldest, new_oldest);
                }
            }
        }
        Some(message)
    }
}

/// A message, in the one place where it lives until it is confirmed or expires.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) body: Arc<[u8]>,
    pub(super) timer: Node,
    pub(super) next: u32,
    /// Means nothing while it is the first of its queue.
    pub(super) prev: u32,
    /// Index of its mailbox.
    pub(super) mailbox: u32,
    pub(super) sequence: Sequence,
    millis_early: u16,
    /// It must not be stored: only sessions that were there when it came are given it.
    pub(super) live_only: bool,
}

impl Message {
    /// A message in no queue yet.
    pub(super) fn new(mailbox: u32, body: Arc<[u8]>, deadline: Deadline, live_only: bool) -> Self {
        Self {
            body,
            timer: Node::new(),
            next: NONE,
            prev: NONE,
            mailbox,
            sequence: Sequence::FIRST,
            millis_early: deadline.millis_early,
            live_only,
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

    /// What it adds to its mailbox's bytes. A mailbox's cap is a `u32`, and no body is over it.
    pub(super) fn weight(&self) -> u32 {
        u32::try_from(self.body.len()).unwrap_or(u32::MAX)
    }
}

impl Nodes for Slab<Message> {
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
    use crate::limits::{MAILBOX_OVERHEAD_BYTES, MESSAGE_OVERHEAD_BYTES};
    use crate::mailboxes::slab::Slot;

    use super::*;

    #[test]
    fn hot_structs_keep_their_size() {
        assert!(size_of::<Slot<Message>>() <= 48);
        assert!(size_of::<Slot<Mailbox>>() <= 64);
    }

    #[test]
    fn what_is_charged_covers_what_is_allocated() {
        // The counts before a shared body, and the allocator's header and rounding to 16.
        let message = size_of::<Slot<Message>>() + 16 + 8 + 15;
        // Eight bytes and a tag for each bucket, of which seven in sixteen are taken after the table has grown.
        let mailbox = size_of::<Slot<Mailbox>>() + (9 * 16_usize).div_ceil(7);
        assert!(message as u64 <= MESSAGE_OVERHEAD_BYTES);
        assert!(mailbox as u64 <= MAILBOX_OVERHEAD_BYTES);
    }

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
