//! Messages that sessions end with: how often one has, that it goes alone then, and that it is put last in the end.
//!
//! Clients see the end of a session, not what the relay makes of it. What is over may still be in the mailbox, and
//! another session may have ended before its client sees it. So each count has a least and a most, and where the two
//! decide differently a message has no place: it may be given in its order or later. Where they agree, the order is
//! exact.

use std::time::Instant;

use npchat::server::limits::{SUSPECT_FAILURES, SUSPECTS_PER_ATTACH};

use super::Model;
use super::records::{Behind, Fate, Message, Session};
use crate::sightings::{Sight, saw};

impl Model {
    /// A session is over, with what it was sent and has not confirmed: the first of that may be what it ended with, or
    /// what comes after it if its time is over.
    pub(crate) fn leave(&mut self, session: usize, now: Instant) {
        let now = now + self.kept_from_running;
        if std::mem::replace(&mut self.sessions[session].is_over, true) {
            return;
        }
        if let Some(culprit) = self.surely_ended_with(session, now) {
            let suspicion = &mut self.messages[culprit].suspicion;
            suspicion.failures_at_least = suspicion.failures_at_least.saturating_add(1);
            if suspicion.failures_at_least == SUSPECT_FAILURES {
                saw(Sight::ThirdEndWithOne);
            }
        }
        let session = &mut self.sessions[session];
        for place in session.unconfirmed.drain(..) {
            let message = &mut self.messages[self.lines[session.identity].numbers[place]];
            if message.is_stored() {
                let failures = &mut message.suspicion.failures_at_most;
                *failures = failures.saturating_add(1);
                if !message.is_expired(now) {
                    break;
                }
            }
        }
    }

    /// How many messages sessions may have ended with.
    pub(crate) fn suspects(&self) -> usize {
        let suspects = self
            .messages
            .iter()
            .filter(|message| message.suspicion.failures_at_most > 0);
        suspects.count()
    }

    /// The first message of the queue, if it is sure which one that is, that the session was given it, and that no
    /// other session is there.
    fn surely_ended_with(&self, number: usize, now: Instant) -> Option<usize> {
        let session = &self.sessions[number];
        if self.has_session(session.identity) || self.may_have_been_behind(number) {
            return None;
        }
        let line = &self.lines[session.identity];
        let mut stored = line
            .numbers
            .iter()
            .copied()
            .filter(|number| self.may_be_stored(*number));
        let first = stored.next()?;
        let message = &self.messages[first];
        let Fate::Accepted(terms) = message.fate else {
            return None;
        };
        let passing = line.numbers[..terms.place].iter().filter(|number| {
            let fate = self.messages[**number].fate;
            matches!(fate, Fate::Accepted(terms) if terms.live_only && terms.moment > line.opened)
        });
        let is_sure = !message.is_expired(now)
            && !message.suspicion.is_unplaced
            && passing.count() <= SUSPECTS_PER_ATTACH
            && session.unconfirmed.contains(&terms.place);
        is_sure.then_some(first)
    }

    fn may_be_stored(&self, number: usize) -> bool {
        let message = &self.messages[number];
        message.is_stored() && !message.suspicion.is_gone
    }

    fn is_stored_behind(&self, number: usize, place: usize) -> bool {
        let message = &self.messages[number];
        message.is_stored() && matches!(message.fate, Fate::Accepted(terms) if terms.place > place)
    }

    fn has_session(&self, identity: usize) -> bool {
        let mut live = self.sessions.iter().filter(|session| !session.is_over);
        live.any(|session| session.identity == identity)
    }

    /// A session begins. If no other is there, what sessions have kept ending with goes behind all others.
    pub(super) fn put_suspects_last(&mut self, identity: usize, now: Instant) {
        let line = &self.lines[identity].numbers;
        let stored = line.iter().copied().filter(|number| self.may_be_stored(*number));
        let stored: Vec<_> = stored.collect();
        let mut put_last = stored.iter().map(|number| &self.messages[*number]);
        if put_last.any(|message| message.suspicion.was_put_last && message.is_expired(now)) {
            saw(Sight::PutLastExpired);
        }
        if self.has_session(identity) {
            // They may have ended already, each at one more message.
            for number in stored {
                let message = &self.messages[number];
                let unseen = self.unseen_failures(message, 0);
                let is_suspect = usize::from(message.suspicion.failures_at_most) + unseen >= SUSPECT_FAILURES.into();
                self.messages[number].suspicion.is_unplaced |= is_suspect;
            }
            return;
        }
        self.lines[identity].opened = self.moment;
        self.lines[identity].put_last.clear();
        self.place_the_last(&stored);
        let first = stored.iter().take(SUSPECTS_PER_ATTACH);
        let sure = first.take_while(|number| {
            let message = &self.messages[**number];
            let is_sure = message.suspicion.failures_at_least >= SUSPECT_FAILURES && !message.suspicion.is_unplaced;
            is_sure && !message.is_expired(now)
        });
        let sure = sure.count();
        let is_end_sure = sure == SUSPECTS_PER_ATTACH
            || stored.get(sure).is_none_or(|number| {
                let message = &self.messages[*number];
                let suspicion = message.suspicion;
                suspicion.failures_at_most < SUSPECT_FAILURES && !suspicion.is_unplaced && !message.is_expired(now)
            });
        if is_end_sure {
            self.put_last(identity, &stored[..sure], stored.len() > sure);
            return;
        }
        for number in stored {
            let suspicion = &mut self.messages[number].suspicion;
            suspicion.is_unplaced |= suspicion.failures_at_most >= SUSPECT_FAILURES;
        }
    }

    /// A message that may have been put last is in its place when it is the last one anyway.
    fn place_the_last(&mut self, stored: &[usize]) {
        let is_unplaced = |number: &&usize| self.messages[**number].suspicion.is_unplaced;
        let unplaced = stored.iter().filter(is_unplaced);
        if unplaced.count() == 1
            && let Some(last) = stored.last()
        {
            self.messages[*last].suspicion.is_unplaced = false;
        }
    }

    fn put_last(&mut self, identity: usize, suspects: &[usize], are_others_there: bool) {
        if suspects.is_empty() {
            return;
        }
        let line = &mut self.lines[identity].numbers;
        line.retain(|number| !suspects.contains(number));
        line.extend(suspects);
        for (place, number) in line.iter().enumerate() {
            if let Fate::Accepted(terms) = &mut self.messages[*number].fate {
                terms.place = place;
            }
        }
        if are_others_there {
            saw(Sight::PutLast);
            self.lines[identity].put_last.extend(suspects);
            for number in suspects {
                self.messages[*number].suspicion.was_put_last = true;
            }
        }
    }

    /// Places that a session passes over though what stands there is due, when it is given what stands at `place`. Only
    /// a message that may have been put last is.
    pub(super) fn passed_over(&self, session: &Session, place: usize, now: Instant) -> Vec<usize> {
        let line = &self.lines[session.identity].numbers;
        let ahead = session.next..place.max(session.next);
        let due = ahead.filter(|place| session.must_be_given(&self.messages[line[*place]], now));
        due.inspect(|passed| {
            let message = line[*passed];
            assert!(
                self.messages[message].suspicion.is_unplaced,
                "message {} came, and {message} before it did not",
                line[place]
            );
        })
        .collect()
    }

    /// A session is given a message: one that sessions have ended with goes alone, before and after.
    pub(super) fn note_suspect(&mut self, number: usize, message: usize, place: usize, now: Instant) {
        let session = &self.sessions[number];
        let is_alone = session.unconfirmed.is_empty();
        // What another session has acknowledged ends none.
        let mut others = self.sessions.iter().filter(|other| other.since != session.since);
        let is_unplaced = self.messages[message].suspicion.is_unplaced;
        let may_be_proven = others.any(|other| {
            other.identity == session.identity && other.confirmed_to > if is_unplaced { 0 } else { place }
        });
        assert!(
            is_alone || may_be_proven || !session.behind.is_some_and(|behind| behind.is_sure),
            "message {message} follows one that sessions have ended with and that is not acknowledged"
        );
        let suspicion = self.messages[message].suspicion;
        let is_sure = suspicion.failures_at_least > 0 && !may_be_proven;
        assert!(
            is_alone || !is_sure,
            "message {message}, which sessions have ended with, is given with others"
        );
        if is_sure && session.next > 0 && session.confirmed_to == session.next {
            saw(Sight::AcknowledgedBeforeSuspect);
        }
        if suspicion.was_put_last {
            saw(Sight::PutLastTried);
        }
        let is_suspect = is_sure || self.may_have_ended_one(session, message);
        let line = &self.lines[session.identity].numbers;
        // What it was given before may have expired since, and is still there.
        for other in &line[session.next.min(place)..place] {
            let other = &mut self.messages[*other];
            other.suspicion.is_gone |= other.is_expired(now) && !other.suspicion.is_unplaced;
        }
        let put_last = &self.lines[self.sessions[number].identity].put_last;
        if put_last.iter().any(|other| self.is_stored_behind(*other, place)) {
            saw(Sight::GivenBeforePutLast);
        }
        let session = &mut self.sessions[number];
        session.behind = is_suspect.then_some(Behind { place, is_sure });
        session.is_given_batches |= is_suspect;
    }

    /// Whether the message may wait for what the session was given before it to be acknowledged: sessions have ended
    /// with it, with what was given last or before that, since which mail comes in batches, or with one between, which
    /// the session waited at and whose time has ended since.
    pub(super) fn may_wait(&self, session: &Session, message: usize) -> bool {
        if session.unconfirmed.is_empty() {
            return false;
        }
        if session
            .behind
            .is_some_and(|behind| session.unconfirmed.contains(&behind.place))
        {
            saw(Sight::WaitedBehindSuspect);
            return true;
        }
        if session.is_given_batches {
            saw(Sight::WaitedBehindBatch);
            return true;
        }
        let line = &self.lines[session.identity].numbers;
        let place = line.iter().position(|number| *number == message).unwrap_or(0);
        let passed = session.passed.iter().map(|place| &line[*place]);
        let mut up_to_it = line[session.next.min(place)..=place].iter().chain(passed);
        up_to_it.any(|number| self.may_have_ended_one(session, *number))
    }

    /// Whether sessions may have ended with the message.
    fn may_have_ended_one(&self, session: &Session, number: usize) -> bool {
        let message = &self.messages[number];
        message.suspicion.failures_at_most > 0 || self.unseen_failures(message, session.since) > 0
    }

    /// Sessions that haven't acknowledged the message and may have ended with it, which their clients haven't seen yet;
    /// not the one that began at the moment `beside`.
    fn unseen_failures(&self, message: &Message, beside: u64) -> usize {
        let others = self
            .sessions
            .iter()
            .filter(|other| other.identity == message.identity && other.since != beside && !other.is_over);
        let Fate::Accepted(terms) = message.fate else {
            return 0;
        };
        others.filter(|other| other.unconfirmed.contains(&terms.place)).count()
    }
}
