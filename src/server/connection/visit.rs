//! One visit to a connection: read, advance, deliver, write, close. There is no other, for sockets, scripts and
//! simulated clients alike.
//!
//! What is behind an [`Io`], and when a connection is visited, is others' business.

use std::io;
use std::time::Instant;

use super::{Connection, Step};
use crate::server::config::Timeouts;
use crate::server::context::Context;
use crate::server::limits::READ_SCRATCH_BYTES;
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::relay::Relay;
use crate::server::service::Service;

/// The bytes of a connection, as far as a visit goes: a socket, plain or with TLS, or what stands for one.
///
/// What has to do with handshakes and records is provided for those that have neither.
pub trait Io {
    /// Takes what has come, at most one read of it.
    ///
    /// # Errors
    /// The connection is over, without a farewell.
    fn receive<'s>(&mut self, scratch: &'s mut Scratch) -> io::Result<Received<'s>>;

    /// Sends as much as the kernel takes of `bytes`, and of what [`Io::has_unsent`] is about.
    ///
    /// # Errors
    /// The connection is over, without a farewell.
    fn send(&mut self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<Sent>;

    /// Ends our side: the peer reads what was sent, then the end. With TLS it may be that the end comes only after a
    /// further [`Io::send`].
    fn half_close(&mut self);

    /// The connection is over in good order, and is dropped next.
    fn close(&mut self);

    /// Whether input is part of a handshake, which takes time.
    fn is_handshaking(&self) -> bool {
        false
    }

    /// Whether most of the work of a handshake is still to be done.
    fn awaits_keys(&self) -> bool {
        false
    }

    /// Whether there is something to send beside what [`Io::send`] is given.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Whether the start of a record has come after the handshake, and not the rest.
    fn has_partial(&self) -> bool {
        false
    }

    /// Bytes of memory that hold what was received in part, and what was not sent.
    fn held_bytes(&self) -> usize {
        0
    }

    /// A visit has come to this moment. For what judges connections: a socket has no use for it.
    fn witness<S: Service>(&mut self, _: Moment, _: &mut Connection<S>, _: &mut Context<'_, S>) {}
}

/// What came of one look for input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// What the peer sent.
    Input {
        /// In the clear. With TLS there may be none: the handshake goes on, or a record hasn't come whole.
        bytes: &'a [u8],
        /// How many bytes came from the kernel.
        received: usize,
        /// The kernel has no more, until an event reports it: a short read proves that.
        drained: bool,
    },
    /// Nothing now: an event will report when to try again.
    WouldBlock,
    /// The peer has ended its side.
    End,
    /// What came is no TLS. The alert is what is sent next; all further input is only counted.
    Broken,
}

/// What came of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes that have left, from the front. With TLS, what is in a record that hasn't left has not either: it must be
    /// given again.
    pub count: usize,
    /// The kernel has no room for more, until an event reports it.
    pub blocked: bool,
}

/// Where a visit stands when an [`Io`] is shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Input, if there was any, has been dealt with as far as the budget goes; nothing is sent yet.
    Heard,
    /// The visit is over, the connection is not.
    Visited,
    /// The connection is over.
    Over(CloseReason),
}

/// Buffers that are lent to each [`Io`] in its visit.
#[derive(Debug)]
pub struct Scratch {
    /// Input as it comes.
    pub received: Box<[u8]>,
    /// Input in the clear, where it comes otherwise.
    pub(crate) plaintext: Vec<u8>,
    /// Output as it goes, where that isn't in the clear.
    pub(crate) sealed: Vec<u8>,
}

/// What a visit borrows for the connection's [`Io`], as [`Context`] is for the connection itself.
#[derive(Debug)]
pub struct IoContext {
    scratch: Scratch,
    /// Bytes read since this was last set to zero.
    pub read_bytes: usize,
    /// Steps of a handshake that this connection may take now.
    pub handshake_steps: usize,
}

/// Readiness of a socket that events have reported, each once, and that hasn't been used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edges {
    /// The kernel may have input: no short read has drained it since.
    pub readable: bool,
    /// The peer has ended its side, so only the end itself shows that the socket is drained.
    pub read_closed: bool,
    /// The kernel may have room: no short write has filled it since.
    pub writable: bool,
}

/// Why a connection is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An event, mail, the answer to a POST, a step of a login or handshake, or what a budget left.
    Ordinary,
    /// A deadline may have come.
    Deadline,
    /// The budget for connections is spent.
    Evict,
    /// The server is stopping.
    Drain,
}

/// A connection with its [`Io`], and what is known of both between two visits.
#[derive(Debug)]
pub struct Wired<I, S: Service = Relay> {
    /// Its bytes.
    pub io: I,
    /// What they mean.
    pub connection: Connection<S>,
    edges: Edges,
    has_mail: bool,
    has_begun_handshake: bool,
}

impl Scratch {
    /// Buffers of which the first takes so many bytes in one read.
    #[must_use]
    pub fn new(read_bytes: usize) -> Self {
        Self {
            received: vec![0; read_bytes].into_boxed_slice(),
            plaintext: Vec::new(),
            sealed: Vec::new(),
        }
    }
}

impl IoContext {
    /// With these buffers, and no step of a handshake.
    #[must_use]
    pub fn new(scratch: Scratch) -> Self {
        Self {
            scratch,
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

impl Default for IoContext {
    fn default() -> Self {
        Self::new(Scratch::new(READ_SCRATCH_BYTES))
    }
}

impl<I: Io, S: Service> Wired<I, S> {
    /// A connection that was accepted now: what it has to say goes, and an event will report its input.
    pub fn new(io: I, connection: Connection<S>) -> Self {
        Self {
            io,
            connection,
            edges: Edges {
                writable: true,
                ..Edges::default()
            },
            has_mail: false,
            has_begun_handshake: false,
        }
    }

    /// Events have reported this.
    pub fn note_edges(&mut self, reported: Edges) {
        self.edges.readable |= reported.readable;
        self.edges.read_closed |= reported.read_closed;
        self.edges.writable |= reported.writable;
    }

    /// The mailbox has reported mail.
    pub fn note_mail(&mut self) {
        self.has_mail = true;
    }

    /// The service has reported what became of a POST. Returns whether this connection waits for that, and is to be
    /// visited.
    pub fn note_posted(&mut self, ticket: u64, result: Result<u32, Refusal>) -> bool {
        self.connection.note_posted(ticket, result)
    }

    /// Bytes of memory that it holds beside itself.
    pub fn held_bytes(&self) -> usize {
        self.connection.held_bytes() + self.io.held_bytes()
    }

    /// Whether there is something to do without waiting for an event.
    pub fn wants_turn(&self) -> bool {
        self.connection.wants_turn()
            || (self.may_read() && !self.io.is_handshaking())
            || (self.edges.writable && self.can_send())
    }

    /// Whether there is something to do that takes a step of a login.
    pub fn awaits_login_step(&self) -> bool {
        self.connection.awaits_login_step()
    }

    /// Whether there is something to do that takes a step of a handshake.
    pub fn awaits_handshake_step(&self) -> bool {
        self.may_read() && self.io.is_handshaking()
    }

    /// Whether it has had a step of a handshake, and with it most of what a handshake takes.
    pub fn has_begun_handshake(&self) -> bool {
        self.has_begun_handshake
    }

    /// Whether it hasn't been answered yet, or not logged in yet.
    pub fn is_new(&self) -> bool {
        self.io.is_handshaking() || self.connection.is_new()
    }

    /// Whether its input is only read to be thrown away.
    pub fn is_lingering(&self) -> bool {
        self.connection.is_lingering()
    }

    /// When it must be visited with [`Cause::Deadline`], if at all.
    pub fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        self.connection.deadline(timeouts)
    }

    /// Reads once, lets the connection work, sends once. Returns why the connection is over, if it is.
    pub fn visit(
        &mut self,
        cause: Cause,
        context: &mut Context<'_, S>,
        io_context: &mut IoContext,
    ) -> Option<CloseReason> {
        let over = self.work(cause, context, io_context).unwrap_or_else(|error| {
            tracing::debug!(%error, "transport failed");
            // What was made for this connection goes nowhere.
            context.out.clear();
            Some(CloseReason::Reset)
        });
        let moment = over.map_or(Moment::Visited, Moment::Over);
        self.io.witness(moment, &mut self.connection, context);
        over
    }

    fn work(
        &mut self,
        cause: Cause,
        context: &mut Context<'_, S>,
        io_context: &mut IoContext,
    ) -> io::Result<Option<CloseReason>> {
        if cause == Cause::Evict {
            self.connection.evict();
            return Ok(Some(CloseReason::ConnectionMemory));
        }
        let is_late = cause == Cause::Deadline && self.is_late(context);
        self.hear(cause, is_late, context, io_context)?;
        self.io.witness(Moment::Heard, &mut self.connection, context);
        match cause {
            Cause::Ordinary | Cause::Evict => {}
            Cause::Deadline => {
                if is_late {
                    self.flush(context, io_context)?;
                }
                self.connection.reach_deadline(!self.edges.readable, context);
            }
            // What has come of a request in a record that isn't whole is under way too.
            Cause::Drain if self.io.has_partial() && self.connection.is_http() => {}
            Cause::Drain => self.connection.drain(context),
        }
        if std::mem::take(&mut self.has_mail) {
            self.connection.note_mail(context);
        }
        self.flush(context, io_context)?;
        Ok(self.take_next_steps(context))
    }

    /// Takes input, or resumes what is left.
    fn hear(
        &mut self,
        cause: Cause,
        is_late: bool,
        context: &mut Context<'_, S>,
        io_context: &mut IoContext,
    ) -> io::Result<()> {
        // The last look, before a drain, needs no edge, and no step where only a handshake's end is missing: a request
        // may be with it.
        let is_last = cause == Cause::Drain;
        // Nor does the look before a deadline, which must end nothing for input or room in the kernel that we haven't
        // seen.
        self.edges.readable |= is_last || is_late;
        self.edges.writable |= is_late;
        // But what takes long has the turn's budget at a deadline too: peers could have all of it done at once.
        let needs_no_step = is_late && !self.io.awaits_keys() || is_last && self.has_begun_handshake;
        if self.may_read() && (self.takes_step(io_context) || needs_no_step) {
            self.read(context, io_context)?;
        } else if self.connection.wants_turn() || self.connection.awaits_login_step() {
            self.connection.resume(context);
        }
        Ok(())
    }

    fn is_late(&self, context: &Context<'_, S>) -> bool {
        let deadline = self.connection.deadline(context.timeouts);
        deadline.is_some_and(|deadline| context.now >= deadline)
    }

    /// Whether there is output that could go. A connection's own can't before the end of a handshake, whose last step
    /// sends it.
    fn can_send(&self) -> bool {
        self.io.has_unsent() || (self.connection.has_unsent() && !self.io.is_handshaking())
    }

    fn may_read(&self) -> bool {
        self.edges.readable && self.connection.wants_input()
    }

    /// Whether input may be read now as far as handshakes go, whose step is then taken.
    fn takes_step(&mut self, io_context: &mut IoContext) -> bool {
        if !self.io.is_handshaking() {
            return true;
        }
        let takes = io_context.take_handshake_step();
        self.has_begun_handshake |= takes;
        takes
    }

    fn read(&mut self, context: &mut Context<'_, S>, io_context: &mut IoContext) -> io::Result<()> {
        match self.io.receive(&mut io_context.scratch)? {
            Received::Input {
                bytes,
                received,
                drained,
            } => {
                io_context.read_bytes += received;
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
            Received::Broken => self.connection.abort(CloseReason::TlsFailed),
        }
        Ok(())
    }

    fn flush(&mut self, context: &mut Context<'_, S>, io_context: &mut IoContext) -> io::Result<()> {
        let unsent = self.connection.unsent(context.out);
        if unsent.is_empty() && !self.io.has_unsent() {
            return Ok(());
        }
        let sent = if self.edges.writable {
            self.io.send(unsent, &mut io_context.scratch)?
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

    /// Does what the socket needs. Returns why the connection is over, if it is.
    fn take_next_steps(&mut self, context: &Context<'_, S>) -> Option<CloseReason> {
        loop {
            match self.connection.next_step(context) {
                Step::Wait => return None,
                Step::HalfClose => self.io.half_close(),
                Step::Free(reason) => {
                    self.io.close();
                    return Some(reason);
                }
            }
        }
    }
}
