//! The WebSocket stage: hears what the client says, one event after the other, and holds it to its deadlines.
//!
//! Frames are [`crate::server::websocket`]'s, what is said is the service's.

use std::time::{Duration, Instant};

use crate::protocol::login::HANDSHAKE_MAX_BYTES;
use crate::server::config::Timeouts;
use crate::server::context::Context;
use crate::server::limits::{FRAMES_PER_REQUEST, OUTBOUND_HIGH_WATER_BYTES};
use crate::server::refusal::CloseReason;
use crate::server::service::{Handled, Handler, Service};
use crate::server::websocket::{Event, FrameContext, WebSocket};

/// One client's WebSocket.
#[derive(Debug)]
pub(super) struct Upgraded<C> {
    pub(super) socket: WebSocket,
    pub(super) handler: C,
    /// What the handler hears next: the upgrade, or what takes a step of a login until there is one for it.
    postponed: Option<Box<Event>>,
    login_deadline: Instant,
}

/// What came of one event.
#[derive(Debug)]
pub(super) enum Hearing {
    /// What was heard is dealt with.
    Goes,
    /// All input is understood, or the rest is a part of a frame or message.
    NeedsInput,
    /// The budget of this turn is spent.
    Pauses,
    /// The client has said its last word.
    Ends,
}

impl<C: Handler> Upgraded<C> {
    /// A WebSocket whose handshake has just been answered.
    pub(super) fn new<S>(handler: C, context: &Context<'_, S>) -> Self {
        // A login answer must fit even where messages are kept very small.
        let smallest_cap = u32::try_from(2 * HANDSHAKE_MAX_BYTES).unwrap_or(u32::MAX);
        Self {
            socket: WebSocket::new(context.store.max_message_bytes().max(smallest_cap), context.now),
            handler,
            // What the handler says first goes with the answer to the upgrade.
            postponed: Some(Box::new(Event::Open)),
            login_deadline: context.now + context.timeouts.login,
        }
    }

    /// Hears what has come, until input or budget ends: it returns all but [`Hearing::Goes`], unless the output is
    /// full.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(super) fn advance<S: Service>(
        &mut self,
        rest: &mut &[u8],
        context: &mut Context<'_, S>,
    ) -> Result<Hearing, CloseReason> {
        let mut frames_left = context.requests.saturating_mul(FRAMES_PER_REQUEST);
        loop {
            match self.hear_next(rest, &mut frames_left, context)? {
                Hearing::Goes if context.out.len() < OUTBOUND_HIGH_WATER_BYTES => {}
                Hearing::Ends => return Ok(Hearing::Ends),
                paused => {
                    self.socket.settle();
                    return Ok(paused);
                }
            }
        }
    }

    /// Bytes held for a message that is under way, or is to be heard.
    pub(super) fn held_bytes(&self) -> usize {
        let postponed = match self.postponed.as_deref() {
            Some(Event::Text(text)) => size_of::<Event>() + text.len(),
            Some(Event::Binary(bytes) | Event::Pong(bytes)) => size_of::<Event>() + bytes.len(),
            Some(_) => size_of::<Event>(),
            None => 0,
        };
        self.socket.held_bytes() + postponed
    }

    /// Whether something waits for a step of a login.
    pub(super) fn has_postponed(&self) -> bool {
        self.postponed.is_some()
    }

    /// For so long, input waited in the kernel for the peer to take its output.
    pub(super) fn postpone_input(&mut self, pause: Duration) {
        self.socket.postpone(pause);
    }

    /// Hears what was postponed, or what comes next in the input.
    fn hear_next<S: Service>(
        &mut self,
        rest: &mut &[u8],
        frames_left: &mut usize,
        context: &mut Context<'_, S>,
    ) -> Result<Hearing, CloseReason> {
        let event = if let Some(event) = self.postponed.take() {
            *event
        } else {
            let mut frame_context = FrameContext {
                now: context.now,
                out: context.out,
                frames_left,
                wants: self.handler.wants(),
            };
            match self.socket.receive(rest, &mut frame_context)? {
                Some(event) => event,
                None if rest.is_empty() => return Ok(Hearing::NeedsInput),
                None => return Ok(Hearing::Pauses),
            }
        };
        match self.handler.handle(&event, context)? {
            Handled::Done if event == Event::Close => Ok(Hearing::Ends),
            Handled::Done => Ok(Hearing::Goes),
            Handled::AskedFor => {
                self.socket.forgive_control_frame();
                Ok(Hearing::Goes)
            }
            Handled::Postponed => {
                self.postponed = Some(Box::new(event));
                Ok(Hearing::Pauses)
            }
        }
    }

    /// When something must have happened, if anything must.
    pub(super) fn deadline(&self, wants_input: bool, timeouts: &Timeouts) -> Option<Instant> {
        let login = (!self.handler.is_logged_in()).then_some(self.login_deadline);
        let message = self.message_deadline(wants_input, timeouts);
        let handler = self.handler.deadline(wants_input, timeouts);
        [login, message, handler].into_iter().flatten().min()
    }

    /// A client whose input isn't read is not too slow.
    fn message_deadline(&self, wants_input: bool, timeouts: &Timeouts) -> Option<Instant> {
        let deadline = wants_input.then(|| self.socket.deadline(timeouts.message_grace));
        deadline.flatten()
    }

    /// Does what is due by now.
    ///
    /// # Errors
    /// The client is too late for this.
    pub(super) fn reach_deadline<S: Service>(
        &mut self,
        wants_input: bool,
        context: &mut Context<'_, S>,
    ) -> Result<(), CloseReason> {
        if !self.handler.is_logged_in() && context.now >= self.login_deadline {
            return Err(CloseReason::LoginTimeout);
        }
        let message = self.message_deadline(wants_input, context.timeouts);
        if message.is_some_and(|deadline| context.now >= deadline) {
            return Err(CloseReason::MessageTimeout);
        }
        self.handler.reach_deadline(wants_input, context)
    }
}
