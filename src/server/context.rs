//! What a worker lends a connection for one turn: the moment, its budgets, and scratch for what comes of it.
//!
//! It does nothing by itself.

use std::time::Instant;

use crate::server::config::Timeouts;
use crate::server::http::HttpDate;
use crate::server::mailboxes::Deliveries;
use crate::server::metrics::Counters;
use crate::server::signer::ChallengeSigner;
use crate::server::store::Store;
use crate::server::token::{SessionAddress, Ticket, Tickets};

/// What a connection is given for one turn.
#[derive(Debug)]
pub struct Context<'a, S> {
    /// What requests and WebSockets are for.
    pub service: &'a S,
    /// The moment of this turn. The time for which the worker was kept from running is left out.
    pub now: Instant,
    /// The moment of this turn for mail, whose time goes on while the process is stopped and while the machine sleeps.
    pub mail_now: Instant,
    /// The `Date` of this second.
    pub date: &'a HttpDate,
    /// Where the connection lives.
    pub address: SessionAddress,
    /// The relay.
    pub store: &'a Store,
    /// How long things may take.
    pub timeouts: &'a Timeouts,
    /// Requests that this connection may have answered now; of frames it may have
    /// [`FRAMES_PER_REQUEST`](crate::server::limits::FRAMES_PER_REQUEST) times as many.
    pub requests: usize,
    /// Steps of a login, each a signature made or verified, that this connection may take now.
    pub login_steps: usize,
    /// The worker's signing key.
    pub signer: &'a mut ChallengeSigner,
    /// The worker's counters.
    pub counters: &'a Counters,
    /// Makes the names of POSTs that are answered later.
    pub tickets: &'a mut Tickets,
    /// Takes the output.
    pub out: &'a mut Vec<u8>,
    /// Takes the addresses of sessions that have mail now.
    pub wake: &'a mut Vec<SessionAddress>,
    /// Scratch for mail on its way into `out`.
    pub deliveries: &'a mut Deliveries,
}

impl<S> Context<'_, S> {
    /// The name of a POST of this connection that is answered later, as [`Posted::Pending`] takes it.
    ///
    /// [`Posted::Pending`]: crate::server::service::Posted::Pending
    pub fn take_ticket(&mut self) -> Ticket {
        self.tickets.make(self.address)
    }

    /// Whether there is a step of a login for this connection, which is then taken.
    pub fn take_login_step(&mut self) -> bool {
        let left = self.login_steps.checked_sub(1);
        self.login_steps = left.unwrap_or(0);
        left.is_some()
    }
}
