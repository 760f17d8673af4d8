//! One connection, and what its worker keeps of it.

use std::time::Instant;

use super::queues::Queued;
use crate::server::config::Timeouts;
use crate::server::connection::Connection;
use crate::server::connection::visit::{Io, Wired};
use crate::server::places::Place;
use crate::server::service::Service;

/// A connection, and where it is counted and queued.
#[derive(Debug)]
pub(super) struct Slot<I, S: Service> {
    pub(super) wired: Wired<I, S>,
    pub(super) place: Place,
    /// Bytes charged to the budget for connections.
    pub(super) charged_bytes: usize,
    /// On which list of [`Holders`](super::holders::Holders) it is.
    pub(super) holder_class: u8,
    pub(super) queued: Queued,
}

impl<I: Io, S: Service> Slot<I, S> {
    pub(super) fn new(io: I, place: Place, now: Instant, timeouts: &Timeouts) -> Self {
        let mut connection = Connection::new(now, timeouts);
        if place == Place::TurnedAway {
            connection.turn_away();
        }
        Self {
            wired: Wired::new(io, connection),
            place,
            charged_bytes: 0,
            holder_class: 0,
            queued: Queued::default(),
        }
    }
}
