//! What the model knows of each message and of each session.

use std::time::Instant;

/// What the relay ever took for an identity, in the order in which it did.
#[derive(Clone, Default)]
pub(super) struct Line {
    pub(super) numbers: Vec<usize>,
    pub(super) bytes: usize,
    /// The one empty message, which nothing else could be told from.
    pub(super) empty: Option<usize>,
}

pub(super) struct Message {
    pub(super) identity: usize,
    pub(super) body: Vec<u8>,
    pub(super) fate: Fate,
    /// When the first session confirmed it.
    pub(super) confirmed: Option<u64>,
    pub(super) was_delivered: bool,
    /// A session that had been sent it was closed for want of a pong.
    pub(super) was_in_vain: bool,
    /// Sessions that may have ended with it as their first unconfirmed message, at most.
    pub(super) failures: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not answered: the relay doesn't have it.
    Posted,
    /// The relay has said that it doesn't have it.
    Refused,
    Accepted(Terms),
}

/// What the relay has promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) moment: u64,
    /// Where it stands in its line.
    pub(super) place: usize,
    pub(super) deadline: Instant,
    pub(super) live_only: bool,
    /// What must not be stored is dropped where it doesn't fit, with the same answer.
    pub(super) may_be_dropped: bool,
}

pub(super) struct Session {
    pub(super) identity: usize,
    pub(super) since: u64,
    /// It has been given, or must not be given, everything before this place in the line.
    pub(super) next: usize,
    /// It has confirmed everything before this place.
    pub(super) confirmed_to: usize,
    /// Places in the line that it has passed over though what stands there was due: messages that sessions have ended with.
    pub(super) passed: Vec<usize>,
    /// Places of what it has been given and hasn't confirmed.
    pub(super) unconfirmed: Vec<usize>,
    pub(super) is_over: bool,
}

impl Message {
    /// Whether it waits for whoever logs in next, or would if its time weren't over.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.fate, Fate::Accepted(terms) if !terms.live_only) && self.confirmed.is_none()
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        matches!(self.fate, Fate::Accepted(terms) if now >= terms.deadline)
    }
}

impl Session {
    pub(super) fn has_confirmed(&self, message: &Message) -> bool {
        matches!(message.fate, Fate::Accepted(terms)
            if terms.place < self.confirmed_to && !self.passed.contains(&terms.place))
    }

    /// Whether the message wasn't confirmed by others before it came.
    pub(super) fn may_stand_at(&self, message: &Message) -> bool {
        message.confirmed.is_none_or(|confirmed| confirmed > self.since)
    }

    /// Whether it must be given the message, unless it has been.
    pub(super) fn is_due(&self, message: &Message, now: Instant) -> bool {
        let Fate::Accepted(terms) = message.fate else {
            return false;
        };
        let is_stored = !terms.live_only && message.confirmed.is_none_or(|confirmed| confirmed > self.since);
        now < terms.deadline && (terms.moment > self.since || is_stored)
    }

    /// The same, but for what may have been dropped.
    pub(super) fn must_be_given(&self, message: &Message, now: Instant) -> bool {
        self.is_due(message, now) && !matches!(message.fate, Fate::Accepted(terms) if terms.may_be_dropped)
    }
}
