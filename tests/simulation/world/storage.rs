//! The storage behind the service: it stores what it has taken or refuses it, and reports that in any order, late,
//! twice, or never.

use super::*;
use crate::later::{Deferred, Later};

/// Tickets that are reported once more.
const TICKETS_KEPT: usize = 40;

/// What the storage has, and what it has reported.
pub(super) struct Storage {
    pub(super) service: Arc<Later>,
    pending: Vec<Pending>,
    reported: Vec<Ticket>,
}

/// A post that the storage has taken.
struct Pending {
    post: Deferred,
    message: usize,
    /// What becomes of it is never reported.
    is_silent: bool,
}

impl Storage {
    /// In some runs it takes posts, of which some are never reported.
    pub(super) fn any(random: &mut Random) -> Self {
        let one_in = random.pick(&[0, 0, 1, 2, 5]);
        Self {
            service: Arc::new(Later::new(one_in, Random::new(random.next()))),
            pending: Vec::new(),
            reported: Vec::new(),
        }
    }
}

impl World {
    /// The storage has taken some posts in a turn that began then.
    pub(super) fn note_deferred(&mut self, since: Instant) {
        for post in self.storage.service.take() {
            let is_of = |(_, id): &&(usize, String)| RecipientId::parse(id.as_bytes()) == Some(post.id);
            let recipient = self.terms.recipients.iter().find(is_of).map(|(identity, _)| *identity);
            let identity = recipient.expect("a post to somebody of the run");
            let message = self.stage.model.defer(identity, &post.body, since);
            let is_silent = self.stage.random.once_in(6);
            self.stage.trace.note("deferred message", [message, 0, 0]);
            self.storage.pending.push(Pending {
                post,
                message,
                is_silent,
            });
        }
    }

    /// The storage does something, or nothing.
    pub(super) fn report_some(&mut self) {
        for _ in 0..self.stage.random.below(4).min(self.storage.pending.len()) {
            let next = self.stage.random.below(self.storage.pending.len());
            self.conclude(next);
        }
        if !self.storage.reported.is_empty() && self.stage.random.once_in(4) {
            let ticket = self.stage.random.pick(&self.storage.reported);
            self.send_report(ticket, Ok(987_654));
        }
    }

    /// The storage reports all that it will ever report.
    pub(super) fn report_all(&mut self) {
        while let Some(next) = self.storage.pending.iter().position(|pending| !pending.is_silent) {
            self.conclude(next);
        }
    }

    /// One post is stored or refused, and that is reported.
    fn conclude(&mut self, index: usize) {
        let Pending {
            post,
            message,
            is_silent,
        } = self.storage.pending.swap_remove(index);
        let result = if self.stage.random.once_in(5) {
            self.stage.model.turn_down(message, Refused::ByStorage, self.stage.now);
            Err(Refusal::RelayFull)
        } else {
            self.store(&post, message)
        };
        self.stage.trace.note("storage concludes message", [message, 0, 0]);
        if !is_silent {
            self.stage.model.note_reported(message);
            self.send_report(post.ticket, result);
            self.storage.reported.push(post.ticket);
            if self.storage.reported.len() > TICKETS_KEPT {
                self.storage.reported.remove(0);
            }
        }
    }

    fn store(&mut self, post: &Deferred, message: usize) -> Result<u32, Refusal> {
        let (now, mut wake) = (self.mail_now(), Vec::new());
        let stored = self
            .shared
            .store
            .post(&post.id, &post.body, post.retention, now, &mut wake);
        match stored {
            Ok(ttl_seconds) => self.stage.model.store(message, ttl_seconds.into(), self.stage.now),
            Err(Refusal::MailboxFull) => self
                .stage
                .model
                .turn_down(message, Refused::MailboxFull, self.stage.now),
            Err(_) => self.stage.model.turn_down(message, Refused::RelayFull, self.stage.now),
        }
        self.notify(&mut wake);
        stored
    }

    fn send_report(&mut self, ticket: Ticket, result: Result<u32, Refusal>) {
        let address = ticket.address();
        let watched = &self.workers[address.worker as usize].listener.watched;
        match watched.iter().find(|(token, _)| *token == address.token) {
            // New or not, it is served among those that have mail.
            Some((_, peer)) => self.stage.misdirect(*peer),
            None => saw(Sight::ReportForGoneConnection),
        }
        self.shared.report(ticket, result);
    }
}
