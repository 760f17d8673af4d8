//! A POST whose answer is pending with the service: until it is written, nothing of its connection is read.
//!
//! It lies in the connection itself, and holds no memory beside it.

use super::answers::ResponseOptions;
use crate::server::refusal::Refusal;
use crate::server::token::Ticket;

/// A POST that the service answers later.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The number of its ticket.
    ticket: u64,
    pub(super) options: ResponseOptions,
    /// What became of it, if that is known: for how many seconds it is stored.
    pub(super) result: Option<Result<u32, Refusal>>,
}

impl Waiting {
    pub(super) fn new(ticket: Ticket, options: ResponseOptions) -> Self {
        Self {
            ticket: ticket.number,
            options,
            result: None,
        }
    }

    /// The service has reported what became of the POST with this ticket. Returns whether that was waited for.
    pub(super) fn note_posted(&mut self, ticket: u64, result: Result<u32, Refusal>) -> bool {
        // What comes too late is still the truth, if the client has not been answered otherwise: its output may be
        // blocked.
        let is_open = self.result.is_none_or(|result| result == Err(Refusal::StorageTimeout));
        let is_awaited = self.ticket == ticket && is_open;
        if is_awaited {
            self.result = Some(result);
        }
        is_awaited
    }

    /// The service has taken too long.
    pub(super) fn give_up(&mut self) {
        self.result.get_or_insert(Err(Refusal::StorageTimeout));
    }
}
