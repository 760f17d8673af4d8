//! One connection with its socket, and what its worker keeps of it.

use std::time::Instant;

use mio::event::Event;

use crate::server::config::Timeouts;
use crate::server::connection::Connection;
use crate::server::connection::visit::{Edges, Wired};
use crate::server::places::Place;
use crate::server::service::Service;
use crate::server::transport::Transport;

/// A connection, and where it is counted and queued.
#[derive(Debug)]
pub(super) struct Slot<S: Service> {
    pub(super) wired: Wired<Transport, S>,
    pub(super) place: Place,
    /// Bytes charged to the budget for connections.
    pub(super) charged_bytes: usize,
    /// On which list of [`Holders`](super::holders::Holders) it is.
    pub(super) holder_class: u8,
    pub(super) waits: Waits,
}

/// On which of the worker's lists the slot is.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "it may be on each of them")]
pub(super) struct Waits {
    /// One of those of connections that are in.
    pub(super) for_visit: bool,
    /// One of those of others: newcomers, and those that linger.
    pub(super) aside: bool,
    /// The queue for a step of a login.
    pub(super) for_login: bool,
    /// The queue for a step of a handshake.
    pub(super) for_handshake: bool,
}

impl<S: Service> Slot<S> {
    pub(super) fn new(transport: Transport, place: Place, now: Instant, timeouts: &Timeouts) -> Self {
        let mut connection = Connection::new(now, timeouts);
        if place == Place::TurnedAway {
            connection.turn_away();
        }
        Self {
            wired: Wired::new(transport, connection),
            place,
            charged_bytes: 0,
            holder_class: 0,
            waits: Waits::default(),
        }
    }
}

/// What an event reports of its socket.
pub(super) fn edges_of(event: &Event) -> Edges {
    let failed = event.is_error();
    Edges {
        readable: event.is_readable() || event.is_read_closed() || failed,
        read_closed: event.is_read_closed() || failed,
        writable: event.is_writable() || failed,
    }
}
