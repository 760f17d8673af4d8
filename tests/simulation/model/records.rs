//! What the model knows of each message and of each session.

use std::time::Instant;

use super::deferrals::Deferral;

/// What the relay ever took for an identity, in the order in which it did, but for what was put last since.
#[derive(Clone, Default)]
pub(super) struct Line {
    pub(super) numbers: Vec<usize>,
    pub(super) bytes: usize,
    /// When a session last began while no other was there: what must not be stored and came before is gone.
    pub(super) opened: u64,
    /// What was put last when a session last began so.
    pub(super) put_last: Vec<usize>,
    /// So many messages have been reported as expired.
    pub(super) reported_expired: u64,
    /// The one empty message, which nothing else could be told from.
    pub(super) empty: Option<usize>,
}

pub(super) struct Message {
    pub(super) identity: usize,
    pub(super) body: Vec<u8>,
    pub(super) fate: Fate,
    /// If the storage has taken it, to report later what it makes of it.
    pub(super) deferral: Option<Deferral>,
    /// When the first session confirmed it.
    pub(super) confirmed: Option<u64>,
    pub(super) was_delivered: bool,
    /// A session that had been sent it was closed for want of a pong.
    pub(super) was_in_vain: bool,
    pub(super) suspicion: Suspicion,
}

/// What sessions have ended with a message, and what follows from it for the message's place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Suspicion {
    /// Sessions that may have ended with it as their first unconfirmed message, at most.
    pub(super) failures_at_most: u8,
    /// Those that surely have.
    pub(super) failures_at_least: u8,
    /// It may have been put behind others, or not: it may be given out of its order.
    pub(super) is_unplaced: bool,
    /// Its time is over, and a session has passed over it: the relay doesn't have it any more.
    pub(super) is_gone: bool,
    /// It has been put behind others.
    pub(super) was_put_last: bool,
}

/// The message that a session was given last, if sessions had ended with it before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    pub(super) place: usize,
    /// They surely had.
    pub(super) is_sure: bool,
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
    /// Places in the line that it has passed over though what stands there was due: what may have been put last.
    pub(super) passed: Vec<usize>,
    /// Places of what it has been given and hasn't confirmed.
    pub(super) unconfirmed: Vec<usize>,
    /// What it was given last, if that was given alone.
    pub(super) behind: Option<Behind>,
    /// It may have been given a suspect, since which mail may come in batches.
    pub(super) is_given_batches: bool,
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
            if terms.place < self.confirmed_to
                && !self.passed.contains(&terms.place)
                && !self.unconfirmed.contains(&terms.place))
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
