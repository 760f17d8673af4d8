//! One connection with its socket, and what happens when the worker visits it.

use std::io;
use std::time::Instant;

use mio::event::Event;

use crate::config::Timeouts;
use crate::connection::{Connection, Step, Turn};
use crate::limits::READ_SCRATCH_BYTES;
use crate::refusal::CloseReason;
use crate::server::Place;
use crate::service::Service;
use crate::transport::{Transfer, Transport};

/// A connection and its socket, with what the edges have told so far.
#[derive(Debug)]
pub(super) struct Slot<S: Service> {
    transport: Transport,
    connection: Connection<S>,
    edges: Edges,
    pub(super) place: Place,
    /// The mailbox has told of mail since the last visit.
    pub(super) has_mail: bool,
    /// The slot is on one of the lists of what is to be served.
    pub(super) queued: bool,
    /// The slot is in the queue for a step of a login.
    pub(super) queued_for_login: bool,
}

/// What the edges have told of the socket that hasn't been used up: each tells it only once.
#[derive(Debug)]
struct Edges {
    /// The kernel may have input: no short read has drained it since.
    readable: bool,
    /// The peer has ended its side, so only the end itself shows that the socket is drained.
    read_closed: bool,
    /// The kernel may have room: no short write has filled it since.
    writable: bool,
}

/// The worker's scratch for input.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Box<[u8]>,
    /// Bytes read into it since this was last set to zero.
    pub(super) read_bytes: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; READ_SCRATCH_BYTES].into_boxed_slice(),
            read_bytes: 0,
        }
    }
}

/// Why the worker comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// An event, mail, or something left over.
    Ordinary,
    /// There is a step of a login for it.
    LoginStep,
    /// A deadline may have come.
    Deadline,
    /// It has been accepted, and there is no room for it.
    TurnAway,
    /// The server is stopping.
    Drain,
}

impl<S: Service> Slot<S> {
    pub(super) fn new(transport: Transport, place: Place, now: Instant, timeouts: &Timeouts) -> Self {
        Self {
            transport,
            connection: Connection::new(now, timeouts),
            edges: Edges {
                readable: false,
                read_closed: false,
                writable: true,
            },
            place,
            has_mail: false,
            queued: false,
            queued_for_login: false,
        }
    }

    pub(super) fn note_event(&mut self, event: &Event) {
        let failed = event.is_error();
        self.edges.readable |= event.is_readable() || event.is_read_closed() || failed;
        self.edges.read_closed |= event.is_read_closed() || failed;
        self.edges.writable |= event.is_writable() || failed;
    }

    /// Reads once, lets the connection work, sends once. Returns why the connection is over, if it is.
    pub(super) fn visit(&mut self, visit: Visit, turn: &mut Turn<'_>, input: &mut Input) -> Option<CloseReason> {
        self.work(visit, turn, input).unwrap_or_else(|error| {
            tracing::debug!(%error, "transport failed");
            // What was made for this connection goes nowhere.
            turn.out.clear();
            Some(CloseReason::Reset)
        })
    }

    /// Whether there is something to do without waiting for an event.
    pub(super) fn wants_turn(&self) -> bool {
        self.connection.wants_turn() || (self.edges.readable && self.connection.wants_input())
    }

    /// Whether its input is only read to be thrown away.
    pub(super) fn is_lingering(&self) -> bool {
        self.connection.is_lingering()
    }

    /// Whether there is something to do that takes a step of a login.
    pub(super) fn awaits_login_step(&self) -> bool {
        self.connection.awaits_login_step()
    }

    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        self.connection.deadline(timeouts)
    }

    fn work(&mut self, visit: Visit, turn: &mut Turn<'_>, input: &mut Input) -> io::Result<Option<CloseReason>> {
        let readable = self.edges.readable || visit == Visit::Drain;
        if readable && self.connection.wants_input() {
            self.read(turn, input)?;
        } else if self.connection.wants_turn() || self.connection.awaits_login_step() {
            self.connection.resume(turn);
        }
        match visit {
            Visit::Ordinary | Visit::LoginStep => {}
            Visit::TurnAway => self.connection.turn_away(turn),
            Visit::Deadline => self.connection.reach_deadline(turn),
            Visit::Drain => self.connection.drain(turn),
        }
        if std::mem::take(&mut self.has_mail) {
            self.connection.note_mail(turn);
        }
        self.flush(turn)?;
        loop {
            match self.connection.next_step(turn) {
                Step::Wait => return Ok(None),
                Step::HalfClose => self.transport.half_close(),
                Step::Free(reason) => return Ok(Some(reason)),
            }
        }
    }

    fn read(&mut self, turn: &mut Turn<'_>, input: &mut Input) -> io::Result<()> {
        match self.transport.receive(&mut input.buffer)? {
            Transfer::Bytes(count) => {
                input.read_bytes += count;
                self.edges.readable = count == input.buffer.len() || self.edges.read_closed;
                self.connection.receive(&input.buffer[..count], turn);
            }
            Transfer::WouldBlock => self.edges.readable = false,
            Transfer::End => {
                self.edges.readable = false;
                self.connection.end_input(turn);
            }
        }
        Ok(())
    }

    fn flush(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let unsent = self.connection.unsent(turn.out);
        if unsent.is_empty() {
            return Ok(());
        }
        let sent = if self.edges.writable {
            self.transport.send(unsent)?
        } else {
            Transfer::WouldBlock
        };
        let count = match sent {
            Transfer::Bytes(count) => count,
            Transfer::WouldBlock | Transfer::End => 0,
        };
        self.edges.writable = count == unsent.len();
        self.connection.sent(count, turn);
        Ok(())
    }
}
