//! Whom a worker serves in one turn, in which order, and how many of them.
//!
//! What a visit is stands in [`super::slot`].

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::Events;
use mio::event::Event;

use super::slot::Visit;
use super::{INBOX, Worker};
use crate::limits::{
    ACCEPTS_PER_TURN, EVENTS_PER_TURN, HANDSHAKE_STEPS_PER_TURN, LEFT_OVER_BYTES_PER_TURN, LEFT_OVER_VISITS_PER_TURN,
    LOGIN_STEPS_PER_TURN, MAILED_VISITS_PER_TURN, NEWCOMER_VISITS_PER_TURN, POLLS_PER_TURN, REQUESTS_FOR_ALL_NEWS,
    REQUESTS_PER_VISIT, REQUESTS_PER_VISIT_MIN, VISITS_PER_SHARE,
};
use crate::service::Service;
use crate::token::Token;

/// Connections that are to be served without a further event, each on one of the lists at most.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// A budget left something over for them: some are served in each turn, whatever events there are.
    left_over: VecDeque<Token>,
    /// Sessions that have mail: served after the news, so that all mail of it goes in one write.
    mailed: VecDeque<Token>,
    /// They have news, and are no newcomers only when they have been answered.
    newcomers: VecDeque<Token>,
    /// How many of those who are in have been served for their news or mail in this turn.
    visits: usize,
}

impl Rounds {
    pub(super) fn begin_turn(&mut self) {
        self.visits = 0;
    }

    /// Whether nobody waits for a turn.
    pub(super) fn is_empty(&self) -> bool {
        self.left_over.is_empty() && self.mailed.is_empty() && self.newcomers.is_empty()
    }

    /// How often the newcomers have their budget in this turn: the more is done for those who are in, the more for them.
    fn newcomers_shares(&self) -> usize {
        1 + self.visits / VISITS_PER_SHARE
    }
}

impl<S: Service> Worker<S> {
    /// Serves those who are in as their events tell, and lets newcomers wait.
    ///
    /// Polls again while the poller was full, since who is in may stand there behind a storm of newcomers.
    ///
    /// # Errors
    /// Those of `poll`.
    pub(super) fn serve_news(&mut self, events: &mut Events) -> io::Result<()> {
        let mut polls = 1;
        loop {
            let count = events.iter().count();
            self.requests = fair_share(count);
            for event in &*events {
                self.dispatch(event);
            }
            self.requests = REQUESTS_PER_VISIT;
            if count < EVENTS_PER_TURN || self.rounds.visits >= EVENTS_PER_TURN || polls == POLLS_PER_TURN {
                return Ok(());
            }
            polls += 1;
            self.poll(events, Some(Duration::ZERO))?;
        }
    }

    fn dispatch(&mut self, event: &Event) {
        let word = event.token();
        if word == INBOX || self.entrance.note_event(word) {
            return;
        }
        let token = Token::from_word(word.0);
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.note_event(event);
        if slot.is_lingering() {
            self.queue(token);
        } else if slot.waits.for_visit {
            // What is queued has had its share of this turn, or is going to have it.
        } else if slot.is_newcomer() {
            slot.waits.for_visit = true;
            self.rounds.newcomers.push_back(token);
        } else {
            self.rounds.visits += 1;
            self.serve(token, Visit::Ordinary);
        }
    }

    /// Those that want more come after all that wait already.
    pub(super) fn serve_left_over(&mut self) {
        self.scratch.lent.read_bytes = 0;
        for _ in 0..self.rounds.left_over.len().min(LEFT_OVER_VISITS_PER_TURN) {
            if self.scratch.lent.read_bytes >= LEFT_OVER_BYTES_PER_TURN {
                break;
            }
            if let Some(token) = self.rounds.left_over.pop_front() {
                self.serve_queued(token);
            }
        }
    }

    pub(super) fn serve_mailed(&mut self) {
        for _ in 0..self.rounds.mailed.len().min(MAILED_VISITS_PER_TURN) {
            if let Some(token) = self.rounds.mailed.pop_front() {
                self.rounds.visits += 1;
                self.serve_queued(token);
            }
        }
    }

    /// Lets newcomers come further, those first who have come the furthest.
    pub(super) fn serve_newcomers(&mut self) {
        let shares = self.rounds.newcomers_shares();
        self.logins.allow(shares * LOGIN_STEPS_PER_TURN);
        self.handshakes.allow(HANDSHAKE_STEPS_PER_TURN);
        self.serve_logins();
        self.serve_handshakes();
        for _ in 0..self.rounds.newcomers.len().min(shares * NEWCOMER_VISITS_PER_TURN) {
            if let Some(token) = self.rounds.newcomers.pop_front() {
                self.serve_queued(token);
            }
        }
        self.accept(shares * ACCEPTS_PER_TURN);
    }

    fn serve_logins(&mut self) {
        // One step for each: who needs many waits again.
        for _ in 0..self.logins.len() {
            let Some(token) = self.logins.next() else { break };
            if let Some(slot) = self.slots.get_mut(token) {
                slot.waits.for_login = false;
                self.serve(token, Visit::LoginStep);
            }
        }
    }

    fn serve_handshakes(&mut self) {
        for _ in 0..self.handshakes.len() {
            let Some(token) = self.handshakes.next() else { break };
            if let Some(slot) = self.slots.get_mut(token) {
                slot.waits.for_handshake = false;
                self.serve(token, Visit::HandshakeStep);
            }
        }
    }

    fn serve_queued(&mut self, token: Token) {
        if let Some(slot) = self.slots.get_mut(token) {
            slot.waits.for_visit = false;
            self.serve(token, Visit::Ordinary);
        }
    }

    /// Puts a connection where it is served again without an event, if it wants that.
    pub(super) fn queue(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        if slot.wants_turn() && !std::mem::replace(&mut slot.waits.for_visit, true) {
            if slot.is_newcomer() {
                self.rounds.newcomers.push_back(token);
            } else {
                self.rounds.left_over.push_back(token);
            }
        }
        if slot.awaits_login_step() && !std::mem::replace(&mut slot.waits.for_login, true) {
            self.logins.wait(token);
        }
        if slot.awaits_handshake_step() && !std::mem::replace(&mut slot.waits.for_handshake, true) {
            if slot.has_begun_handshake() {
                self.handshakes.wait_in_front(token);
            } else {
                self.handshakes.wait(token);
            }
        }
    }

    pub(super) fn note_mail(&mut self, token: Token) {
        // A session that is gone has left its mail in the mailbox.
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.has_mail = true;
        if !std::mem::replace(&mut slot.waits.for_visit, true) {
            self.rounds.mailed.push_back(token);
        }
    }
}

/// What each connection may have answered when so many have news.
fn fair_share(events: usize) -> usize {
    (REQUESTS_FOR_ALL_NEWS / events.max(1)).clamp(REQUESTS_PER_VISIT_MIN, REQUESTS_PER_VISIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_have_news_a_turn_answers_no_more_than_its_share() {
        for events in 0..=EVENTS_PER_TURN {
            let share = fair_share(events);
            assert!((REQUESTS_PER_VISIT_MIN..=REQUESTS_PER_VISIT).contains(&share));
            assert!(events * share <= REQUESTS_FOR_ALL_NEWS);
        }
        assert_eq!(fair_share(1), REQUESTS_PER_VISIT);
    }
}
