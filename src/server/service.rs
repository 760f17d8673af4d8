//! What a server does with what its clients ask, apart from how they ask it: the seam between the transport's half of
//! the house (worker, connection, websocket) and the relay.
//!
//! There is one service in this crate, [`Relay`](crate::server::relay::Relay). Another one, like the echo of
//! `examples/echo.rs`, runs on the very same connections. Everything is resolved at compile time.

use std::fmt::Debug;
use std::time::Instant;

use crate::protocol::login::HANDSHAKE_MAX_BYTES;
use crate::server::answers;
use crate::server::config::Timeouts;
use crate::server::context::Context;
use crate::server::http::Reply;
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::routes::Request;
use crate::server::store::Store;
use crate::server::token::Ticket;
use crate::server::websocket::{Event, Wants};

/// A service: what a POST means, and what answers on a WebSocket. All workers share one.
pub trait Service: Debug + Sized + Send + Sync + 'static {
    /// What is known of a POST from its head.
    type Post: Debug + Send;
    /// The server's side of one WebSocket.
    type Handler: Handler + Send;

    /// Whether this POST, whose head has come, and whose path is no page's, is for this service.
    ///
    /// # Errors
    /// A refusal that closes the connection only if [`Refusal::closes`].
    fn admit(&self, request: &Request<'_>) -> Result<Self::Post, Refusal>;

    /// Handles a POST that has come whole. If it is stored, the answer is in the turn's output.
    ///
    /// A service may have it answered later: it returns [`Posted::Pending`] with a [`Context::take_ticket`], keeps what
    /// it needs of the body, which it charges to [`Store::reserve`], and how many are pending, which it bounds. It
    /// reports to the server what became of each, once, from any thread.
    fn post(&self, post: &Self::Post, body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted;

    /// Writes the answer to a POST that is stored for so many seconds, and counts it. For one that was pending this is
    /// called when that has been reported.
    fn write_stored(&self, ttl_seconds: u32, reply: &Reply<'_>, context: &mut Context<'_, Self>) {
        context.counters.posted.add(1);
        answers::sent(reply, context.out, u64::from(ttl_seconds));
    }

    /// What answers on a WebSocket that this request asks for. `None`: there are no WebSockets here.
    fn open(&self, request: &Request<'_>, store: &Store) -> Option<Self::Handler>;
}

/// What became of a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It has been taken, and answered.
    Stored,
    /// It is nowhere, and nothing has been written. The connection is closed only if [`Refusal::closes`].
    Refused(Refusal),
    /// That will be reported for this ticket. Until then the connection reads nothing, and after
    /// [`Timeouts::post`] it answers with [`Refusal::StorageTimeout`], and is closed.
    Pending(Ticket),
}

/// The server's side of one WebSocket. Dropped when the connection closes, for whatever reason.
pub trait Handler: Debug {
    /// The subprotocol that was taken of those that the client offered.
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    /// The client has said this, first of all [`Event::Open`]. What is postponed is said again when the worker has a
    /// step of a login for this connection.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    fn handle<S: Service>(&mut self, event: &Event, context: &mut Context<'_, S>) -> Result<Handled, CloseReason>;

    /// Whether the client has proved its identity; until then the login's deadline runs.
    fn is_logged_in(&self) -> bool;

    /// Which messages the client may send now, and which are heard. Asked anew for each frame.
    fn wants(&self) -> Wants {
        let max_bytes = HANDSHAKE_MAX_BYTES;
        if self.is_logged_in() {
            Wants::ShortText { max_bytes }
        } else {
            Wants::ShortTextOnly { max_bytes }
        }
    }

    /// Whether [`Handler::deliver`] has something to do; never, by default.
    fn has_mail(&self) -> bool {
        false
    }

    /// The mailbox has notified this session: there is mail, or the session is too far behind another one.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    fn note_mail(&mut self) -> Result<(), CloseReason> {
        Ok(())
    }

    /// Writes messages into the turn's output, at most about `room` bytes and at least one if one is there.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    fn deliver<S: Service>(&mut self, _room: usize, _context: &mut Context<'_, S>) -> Result<(), CloseReason> {
        Ok(())
    }

    /// When [`Handler::reach_deadline`] has something to do. While the client isn't heard, nothing that it must
    /// say is too late.
    fn deadline(&self, _is_heard: bool, _timeouts: &Timeouts) -> Option<Instant> {
        None
    }

    /// Does what is due by now, if anything is.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    fn reach_deadline<S: Service>(
        &mut self,
        _is_heard: bool,
        _context: &mut Context<'_, S>,
    ) -> Result<(), CloseReason> {
        Ok(())
    }

    /// The kernel has taken all that has been written.
    fn note_flushed(&mut self, _now: Instant) {}
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It has been dealt with.
    Done,
    /// It has been dealt with, and was asked for: the client is free to send that often what it answers.
    AskedFor,
    /// It takes a step of a login, and [`Context::login_steps`] are spent. Nothing has changed.
    Postponed,
}
