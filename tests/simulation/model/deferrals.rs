//! Messages that the storage behind the service has taken: what it made of them, and what their senders were told.
//!
//! Such a message either is stored and then acknowledged, or refused and never delivered, or its sender is told when
//! its time is over that neither is known.

use std::time::Instant;

use super::records::Fate;
use super::{Model, number_of};
use crate::settings::DEADLINE_LATENESS;
use crate::sightings::{Sight, saw};

/// What is known of a message that the storage has taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deferral {
    /// When the turn began in which it did.
    since: Instant,
    /// It has been reported what became of the message.
    is_reported: bool,
    /// The sender has been told something.
    is_answered: bool,
}

impl Model {
    /// The storage has taken this body for an identity. Returns the message.
    pub(crate) fn defer(&mut self, identity: usize, body: &[u8], since: Instant) -> usize {
        let number = if body.is_empty() {
            self.lines[identity].empty
        } else {
            number_of(body).filter(|number| *number < self.messages.len())
        };
        let number = number.expect("what is stored has been written");
        let message = &mut self.messages[number];
        assert!(message.body == body && message.identity == identity);
        assert_eq!(message.fate, Fate::Posted, "posted after it was answered");
        let deferral = Deferral {
            since,
            is_reported: false,
            is_answered: false,
        };
        assert!(message.deferral.replace(deferral).is_none(), "posted twice");
        number
    }

    /// The storage reports what it has made of the message.
    pub(crate) fn note_reported(&mut self, message: usize) {
        let deferral = self.messages[message].deferral.as_mut().expect("a deferred message");
        assert!(!std::mem::replace(&mut deferral.is_reported, true));
        if deferral.is_answered {
            saw(Sight::ReportTooLate);
        }
    }

    /// Whether the sender of the message waits for its answer.
    pub(crate) fn is_awaited(&self, message: usize) -> bool {
        let deferral = self.messages[message].deferral;
        deferral.is_some_and(|deferral| !deferral.is_answered)
    }

    /// The sender is told that it isn't known what became of the message.
    pub(crate) fn time_out(&mut self, message: usize, now: Instant) {
        saw(Sight::PendingTimedOut);
        let time = self.timeouts.post;
        let deferral = self.answer(message).expect("what is answered at once is known");
        assert!(!deferral.is_reported, "what was reported is not known");
        assert!(now >= deferral.since + time, "given up too early");
    }

    /// Nothing can be said to the sender of the message so far.
    pub(crate) fn check_in_time(&self, message: usize, now: Instant) {
        if let Some(deferral) = self.messages[message].deferral {
            let latest = deferral.since + self.timeouts.post + DEADLINE_LATENESS;
            assert!(!deferral.is_reported, "what was reported is not said");
            assert!(now <= latest, "a pending post outlives its deadline");
        }
    }

    /// The sender is told that the message is stored, or that it isn't. Returns whether that was known before.
    pub(super) fn answer_deferred(&mut self, message: usize, is_stored: bool) -> bool {
        let fate = self.messages[message].fate;
        let Some(deferral) = self.answer(message) else {
            return false;
        };
        assert!(deferral.is_reported, "said before it was reported");
        let agrees = if is_stored {
            matches!(fate, Fate::Accepted(_))
        } else {
            fate == Fate::Refused
        };
        assert!(
            agrees,
            "the sender is told that message {message} is stored: {is_stored}, but it is {fate:?}"
        );
        saw(if is_stored {
            Sight::PendingStored
        } else {
            Sight::PendingRefused
        });
        true
    }

    fn answer(&mut self, message: usize) -> Option<Deferral> {
        let deferral = self.messages[message].deferral.as_mut()?;
        assert!(!std::mem::replace(&mut deferral.is_answered, true), "answered twice");
        Some(*deferral)
    }
}
