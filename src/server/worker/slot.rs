//! One connection with its socket, and what happens when the worker visits it.

#[cfg(test)]
mod tests;

use std::io;
use std::time::Instant;

use mio::event::Event;

use crate::server::config::Timeouts;
use crate::server::connection::{Connection, Step};
use crate::server::context::Context;
use crate::server::places::Place;
use crate::server::refusal::CloseReason;
use crate::server::service::Service;
use crate::server::transport::{Received, Scratch, Sent, Transport};

/// A connection and its socket, with what the edges have told so far.
#[derive(Debug)]
pub(super) struct Slot<S: Service> {
    transport: Transport,
    connection: Connection<S>,
    edges: Edges,
    pub(super) place: Place,
    /// Bytes charged to the budget for connections.
    pub(super) charged_bytes: usize,
    /// On which list of [`Holders`](super::holders::Holders) it is.
    pub(super) holder_class: u8,
    /// The mailbox has told of mail since the last visit.
    pub(super) has_mail: bool,
    /// It has had a step of a handshake.
    has_begun_handshake: bool,
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

/// What the worker lends the transport of the connection that it visits.
#[derive(Debug)]
pub(super) struct Lent {
    scratch: Scratch,
    /// Bytes read since this was last set to zero.
    pub(super) read_bytes: usize,
    /// Steps of a handshake that this connection may take now.
    pub(super) handshake_steps: usize,
}

impl Lent {
    pub(super) fn new() -> Self {
        Self {
            scratch: Scratch::new(),
            read_bytes: 0,
            handshake_steps: 0,
        }
    }

    /// Whether there is a step of a handshake for this connection, which is then taken.
    fn take_handshake_step(&mut self) -> bool {
        let left = self.handshake_steps.checked_sub(1);
        self.handshake_steps = left.unwrap_or(0);
        left.is_some()
    }
}

/// Why the worker comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// An event, mail, or something left over.
    Ordinary,
    /// There is a step of a login for it.
    LoginStep,
    /// There is a step of a handshake for it.
    HandshakeStep,
    /// A deadline may have come.
    Deadline,
    /// The budget for connections is spent.
    Evict,
    /// The server is stopping.
    Drain,
}

impl<S: Service> Slot<S> {
    pub(super) fn new(transport: Transport, place: Place, now: Instant, timeouts: &Timeouts) -> Self {
        let mut connection = Connection::new(now, timeouts);
        if place == Place::TurnedAway {
            connection.turn_away();
        }
        Self {
            transport,
            connection,
            edges: Edges {
                readable: false,
                read_closed: false,
                writable: true,
            },
            place,
            charged_bytes: 0,
            holder_class: 0,
            has_mail: false,
            has_begun_handshake: false,
            waits: Waits::default(),
        }
    }

    /// Bytes of memory that it holds beside itself.
    pub(super) fn held_bytes(&self) -> usize {
        self.connection.held_bytes() + self.transport.held_bytes()
    }

    pub(super) fn note_event(&mut self, event: &Event) {
        let failed = event.is_error();
        self.edges.readable |= event.is_readable() || event.is_read_closed() || failed;
        self.edges.read_closed |= event.is_read_closed() || failed;
        self.edges.writable |= event.is_writable() || failed;
    }

    /// Reads once, lets the connection work, sends once. Returns why the connection is over, if it is.
    pub(super) fn visit(&mut self, visit: Visit, context: &mut Context<'_>, lent: &mut Lent) -> Option<CloseReason> {
        self.work(visit, context, lent).unwrap_or_else(|error| {
            tracing::debug!(%error, "transport failed");
            // What was made for this connection goes nowhere.
            context.out.clear();
            Some(CloseReason::Reset)
        })
    }

    /// Whether there is something to do without waiting for an event.
    pub(super) fn wants_turn(&self) -> bool {
        self.connection.wants_turn()
            || (self.may_read() && !self.transport.is_handshaking())
            || (self.edges.writable && self.can_send())
    }

    /// Whether there is something to do that takes a step of a handshake.
    pub(super) fn awaits_handshake_step(&self) -> bool {
        self.may_read() && self.transport.is_handshaking()
    }

    /// Whether it has had a step of a handshake, and with it most of what a handshake takes.
    pub(super) fn has_begun_handshake(&self) -> bool {
        self.has_begun_handshake
    }

    /// Whether it hasn't been answered yet, or not logged in yet.
    pub(super) fn is_newcomer(&self) -> bool {
        self.transport.is_handshaking() || self.connection.is_newcomer()
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

    fn work(&mut self, visit: Visit, context: &mut Context<'_>, lent: &mut Lent) -> io::Result<Option<CloseReason>> {
        // The last look, before a drain, needs no edge, and no step where only a handshake's end is missing: a request may
        // be with it.
        let is_last = visit == Visit::Drain;
        if visit == Visit::Evict {
            self.connection.evict();
            return Ok(Some(CloseReason::ConnectionMemory));
        }
        let is_late = visit == Visit::Deadline && self.is_late(context);
        // Nor does the look before a deadline, which must end nothing for input or room in the kernel that we haven't seen.
        self.edges.readable |= is_last || is_late;
        self.edges.writable |= is_late;
        // But what takes long has the turn's budget at a deadline too: peers could have all of it done at once.
        let needs_no_step = is_late && !self.transport.awaits_keys() || is_last && self.has_begun_handshake;
        if self.may_read() && (self.takes_step(lent) || needs_no_step) {
            self.read(context, lent)?;
        } else if self.connection.wants_turn() || self.connection.awaits_login_step() {
            self.connection.resume(context);
        }
        match visit {
            Visit::Ordinary | Visit::LoginStep | Visit::HandshakeStep | Visit::Evict => {}
            Visit::Deadline => {
                if is_late {
                    self.flush(context, lent)?;
                }
                self.connection.reach_deadline(!self.edges.readable, context);
            }
            // What has come of a request in a record that isn't whole is under way too.
            Visit::Drain if self.transport.has_partial() && self.connection.is_http() => {}
            Visit::Drain => self.connection.drain(context),
        }
        if std::mem::take(&mut self.has_mail) {
            self.connection.note_mail(context);
        }
        self.flush(context, lent)?;
        loop {
            match self.connection.next_step(context) {
                Step::Wait => return Ok(None),
                Step::HalfClose => self.transport.half_close(),
                Step::Free(reason) => {
                    self.transport.part();
                    return Ok(Some(reason));
                }
            }
        }
    }

    fn is_late(&self, context: &Context<'_>) -> bool {
        let deadline = self.connection.deadline(context.timeouts);
        deadline.is_some_and(|deadline| context.now >= deadline)
    }

    /// Whether there is output that could go. A connection's own can't before the end of a handshake, whose last step sends it.
    fn can_send(&self) -> bool {
        self.transport.has_unsent() || (self.connection.has_unsent() && !self.transport.is_handshaking())
    }

    fn may_read(&self) -> bool {
        self.edges.readable && self.connection.wants_input()
    }

    /// Whether input may be read now as far as handshakes go, whose step is then taken.
    fn takes_step(&mut self, lent: &mut Lent) -> bool {
        if !self.transport.is_handshaking() {
            return true;
        }
        let takes = lent.take_handshake_step();
        self.has_begun_handshake |= takes;
        takes
    }

    fn read(&mut self, context: &mut Context<'_>, lent: &mut Lent) -> io::Result<()> {
        match self.transport.receive(&mut lent.scratch)? {
            Received::Input {
                bytes,
                received,
                drained,
            } => {
                lent.read_bytes += received;
                self.edges.readable = !drained || self.edges.read_closed;
                if !bytes.is_empty() {
                    self.connection.receive(bytes, context);
                }
            }
            Received::WouldBlock => self.edges.readable = false,
            Received::End => {
                self.edges.readable = false;
                self.connection.end_input(context);
            }
            Received::Broken(error) => {
                tracing::debug!(%error, "a connection is given up");
                self.connection.break_off(CloseReason::TlsFailed);
            }
        }
        Ok(())
    }

    fn flush(&mut self, context: &mut Context<'_>, lent: &mut Lent) -> io::Result<()> {
        let unsent = self.connection.unsent(context.out);
        if unsent.is_empty() && !self.transport.has_unsent() {
            return Ok(());
        }
        let sent = if self.edges.writable {
            self.transport.send(unsent, &mut lent.scratch)?
        } else {
            Sent {
                count: 0,
                blocked: true,
            }
        };
        self.edges.writable = !sent.blocked;
        if !unsent.is_empty() {
            self.connection.sent(sent.count, context);
        }
        Ok(())
    }
}
