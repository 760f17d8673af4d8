//! Whom a worker serves in one turn, in which order, and how many of them or for how long.
//!
//! What a visit is stands in [`crate::server::connection::visit`].

use std::io;
use std::time::{Duration, Instant};

use mio::Events;
use mio::event::Event;

use super::inbox::INBOX;
use super::slot::edges_of;
use super::{StepOf, Worker};
use crate::server::connection::visit::Cause;
use crate::server::limits::{
    EVENTS_PER_POLL, LEFT_OVER_BYTES_PER_TURN, LEFT_OVER_VISITS_PER_TURN, LINGERING_BYTES_PER_TURN,
    MAILED_VISITS_PER_TURN, NEWCOMERS_MAX_MICROS, NEWCOMERS_MIN_MICROS, NEWCOMERS_WAITING_MAX, POLLS_PER_TURN,
    REQUESTS_FOR_ALL_NEWS, REQUESTS_PER_VISIT, REQUESTS_PER_VISIT_MIN,
};
use crate::server::service::Service;
use crate::server::token::Token;

impl<S: Service> Worker<S> {
    /// Takes note of all events, and of who is to be served for them.
    ///
    /// Polls again while the poller is full, since who is in may stand there behind a storm of newcomers.
    ///
    /// # Errors
    /// Those of `poll`.
    pub(super) fn take_events(&mut self, events: &mut Events) -> io::Result<()> {
        for _ in 1..POLLS_PER_TURN {
            let count = self.note_events(events);
            if count < EVENTS_PER_POLL || self.rounds.news.len() >= EVENTS_PER_POLL {
                return Ok(());
            }
            self.poll(events, Duration::ZERO)?;
        }
        self.note_events(events);
        Ok(())
    }

    /// Returns how many there are.
    fn note_events(&mut self, events: &Events) -> usize {
        events.iter().map(|event| self.note_event(event)).count()
    }

    fn note_event(&mut self, event: &Event) {
        let word = event.token();
        if word == INBOX || self.entrance.note_event(word) {
            return;
        }
        let token = Token::from_word(word.0);
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.wired.note_edges(edges_of(event));
        if slot.wired.is_newcomer() || slot.wired.is_lingering() {
            self.queue(token);
        } else if !std::mem::replace(&mut slot.waits.for_visit, true) {
            self.rounds.news.push_back(token);
        }
    }

    /// Serves those whom a turn before had no time for. Those that want more come after all that wait already.
    pub(super) fn serve_left_over(&mut self) {
        self.scratch.io.read_bytes = 0;
        for _ in 0..self.rounds.left_over.len().min(LEFT_OVER_VISITS_PER_TURN) {
            if self.scratch.io.read_bytes >= LEFT_OVER_BYTES_PER_TURN {
                break;
            }
            if let Some(token) = self.rounds.left_over.pop_front() {
                self.serve_queued(token);
            }
        }
    }

    pub(super) fn serve_news(&mut self) {
        self.requests = fair_share(self.rounds.news.len());
        while let Some(token) = self.rounds.news.pop_front() {
            self.serve_queued(token);
        }
        self.requests = REQUESTS_PER_VISIT;
    }

    pub(super) fn serve_mailed(&mut self) {
        for _ in 0..self.rounds.mailed.len().min(MAILED_VISITS_PER_TURN) {
            if let Some(token) = self.rounds.mailed.pop_front() {
                self.serve_queued(token);
            }
        }
    }

    /// Lets newcomers come further, and those that linger go, for about as long as the turn has taken so far.
    ///
    /// As long again for handshakes: a step of one may take more time than all else that a newcomer needs.
    pub(super) fn serve_newcomers(&mut self) {
        self.requests = REQUESTS_PER_VISIT_MIN;
        self.rounds.thrown_away_bytes = 0;
        let nobody_waits = self.rounds.newcomers.is_empty() && self.rounds.lingering.is_empty();
        let no_step_is_due = self.logins.is_empty() && self.handshakes.is_empty();
        if nobody_waits && no_step_is_due && !self.entrance.has_work(self.clock.now) {
            return;
        }
        let least = Duration::from_micros(NEWCOMERS_MIN_MICROS);
        let most = Duration::from_micros(NEWCOMERS_MAX_MICROS);
        let time = self.clock.turn_began.elapsed().clamp(least, most);
        if self.is_over_budget() {
            // Newcomers wait in the kernel for room, and where they stand here: nothing of theirs is lost.
            self.serve_for(time, Self::serve_lingering);
            return;
        }
        // One at least, however many wait: who asks whether this server is well may come by a door of its own.
        self.accept();
        self.serve_for(time, Self::serve_handshake);
        self.serve_for(time, Self::serve_one_of_each);
    }

    /// Goes on while there is somebody to serve, and as long as `time` isn't over.
    fn serve_for(&mut self, time: Duration, serve: fn(&mut Self) -> bool) {
        let until = Instant::now() + time;
        while serve(self) && Instant::now() < until {}
    }

    fn serve_handshake(&mut self) -> bool {
        self.handshakes.allow(1);
        let Some(token) = self.handshakes.next() else {
            return false;
        };
        if let Some(slot) = self.slots.get_mut(token) {
            slot.waits.for_handshake = false;
            self.serve(token, Cause::Ordinary, Some(StepOf::Handshake));
        }
        true
    }

    /// One step of a login, one visit to a newcomer, one to who lingers, one accept: none of the queues can grow at the cost of
    /// the next one. Returns whether there was anybody.
    fn serve_one_of_each(&mut self) -> bool {
        self.logins.allow(1);
        let mut is_served = false;
        if let Some(token) = self.logins.next() {
            is_served = true;
            if let Some(slot) = self.slots.get_mut(token) {
                slot.waits.for_login = false;
                self.serve(token, Cause::Ordinary, Some(StepOf::Login));
            }
        }
        if let Some(token) = self.rounds.newcomers.pop_front() {
            is_served = true;
            self.serve_aside(token);
        }
        is_served |= self.serve_lingering();
        let waiting = self.rounds.newcomers.len() + self.logins.len();
        is_served | (waiting < NEWCOMERS_WAITING_MAX && self.accept())
    }

    fn serve_lingering(&mut self) -> bool {
        if self.rounds.thrown_away_bytes >= LINGERING_BYTES_PER_TURN {
            return false;
        }
        let Some(token) = self.rounds.lingering.pop_front() else {
            return false;
        };
        self.scratch.io.read_bytes = 0;
        self.serve_aside(token);
        self.rounds.thrown_away_bytes += self.scratch.io.read_bytes;
        true
    }

    fn serve_queued(&mut self, token: Token) {
        if let Some(slot) = self.slots.get_mut(token) {
            slot.waits.for_visit = false;
            self.serve(token, Cause::Ordinary, None);
        }
    }

    fn serve_aside(&mut self, token: Token) {
        if let Some(slot) = self.slots.get_mut(token) {
            slot.waits.aside = false;
            self.serve(token, Cause::Ordinary, None);
        }
    }

    /// Puts a connection where it is served again without an event, if it wants that.
    pub(super) fn queue(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        if slot.wired.wants_turn() {
            let (list, waits) = if slot.wired.is_lingering() {
                (&mut self.rounds.lingering, &mut slot.waits.aside)
            } else if slot.wired.is_newcomer() {
                (&mut self.rounds.newcomers, &mut slot.waits.aside)
            } else {
                (&mut self.rounds.left_over, &mut slot.waits.for_visit)
            };
            if !std::mem::replace(waits, true) {
                list.push_back(token);
            }
        }
        if slot.wired.awaits_login_step() && !std::mem::replace(&mut slot.waits.for_login, true) {
            self.logins.wait(token);
        }
        if slot.wired.awaits_handshake_step() && !std::mem::replace(&mut slot.waits.for_handshake, true) {
            if slot.wired.has_begun_handshake() {
                self.handshakes.wait_in_front(token);
            } else {
                self.handshakes.wait(token);
            }
        }
    }

    pub(super) fn note_mail(&mut self, token: Token) {
        // A session that is gone has left its mail in the mailbox.
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.wired.note_mail();
        if !std::mem::replace(&mut slot.waits.for_visit, true) {
            self.rounds.mailed.push_back(token);
        }
    }
}

/// What each connection may have answered when so many have news.
fn fair_share(connections: usize) -> usize {
    (REQUESTS_FOR_ALL_NEWS / connections.max(1)).clamp(REQUESTS_PER_VISIT_MIN, REQUESTS_PER_VISIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_have_news_a_turn_answers_no_more_than_its_share() {
        // The last poll begins with one less than EVENTS_PER_POLL at most, and brings as many as that.
        for connections in 0..2 * EVENTS_PER_POLL {
            let share = fair_share(connections);
            assert!((REQUESTS_PER_VISIT_MIN..=REQUESTS_PER_VISIT).contains(&share));
            assert!(connections * share <= REQUESTS_FOR_ALL_NEWS);
        }
        assert_eq!(fair_share(1), REQUESTS_PER_VISIT);
    }
}
