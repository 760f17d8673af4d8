//! One message and its deadline. Its links lead through the queue of its mailbox.

use bytemuck::{Pod, Zeroable};

use crate::server::timer_wheel::{Node, Nodes};

use super::arena::NONE;
use super::dense::Dense;
use super::sequence::Sequence;

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

    /// The deadline `ttl_seconds` after `now_millis`, or the last one that the wheel can represent, 136 years in.
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
}
