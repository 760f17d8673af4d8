//! A connection without its socket: which stage it is in, and how one stage becomes the next with its leftovers.
//!
//! Bytes in, bytes out, and what to do with the socket. Nothing here touches a socket or a clock.

mod answers;
mod closing;
mod gathered;
mod purpose;
mod requests;
mod step;
mod upgraded;
pub mod visit;
mod waiting;

use std::mem;
use std::time::{Duration, Instant};

use self::closing::{Closing, write_farewell};
use self::requests::{RequestProgress, Requests};
pub use self::step::Step;
use self::upgraded::{Hearing, Upgraded};
use crate::server::config::Timeouts;
use crate::server::context::Context;
use crate::server::limits::{BUFFER_STEP_BYTES, OUTBOUND_HIGH_WATER_BYTES};
use crate::server::outbound::{Outbound, reserve_steps};
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::relay::Relay;
use crate::server::service::{Handler, Service};

/// One client's connection, from accept to free.
///
/// Calling contract, which [`visit::Wired`] keeps:
/// 1. One of [`Connection::receive`], [`Connection::end_input`], [`Connection::resume`], [`Connection::note_mail`],
///    [`Connection::drain`], [`Connection::reach_deadline`] is called with a [`Context`] whose `out` is empty, or
///    [`Connection::abort`]. Before all of them [`Connection::turn_away`] may be called once. Before
///    [`Connection::reach_deadline`], input that is there has been given and output sent as far as it goes, so that
///    nothing ends for what waits in the kernel.
/// 2. Then what [`Connection::unsent`] gives is sent, and [`Connection::sent`] is given how much of it went.
/// 3. Then [`Connection::next_step`] says what the socket needs, until it says [`Step::Wait`] or [`Step::Free`].
/// 4. Input may be given only while [`Connection::wants_input`]; while [`Connection::wants_turn`],
///    [`Connection::resume`] is called again soon, without waiting for any event; while
///    [`Connection::awaits_login_step`], when there is one of [`Context::login_steps`] for it.
/// 5. At [`Connection::deadline`], which may change with every call, [`Connection::reach_deadline`] is called.
/// 6. [`Connection::note_posted`] may be called at any time between two visits.
#[derive(Debug)]
pub struct Connection<S: Service = Relay> {
    stage: Stage<S>,
    outbound: Outbound,
    /// Input that the stage has not understood yet: the start of a head, or what a budget left.
    unread: Vec<u8>,
    /// The stage can go on with `unread` as it is: it stopped for its budget, not for want of input.
    runnable: bool,
}

#[derive(Debug)]
enum Stage<S: Service> {
    Http(Requests<S>),
    WebSocket(Upgraded<S::Handler>),
    Closing(Closing),
}

/// How a stage came to the end of what it can do now.
enum Advance<S: Service> {
    /// All input is understood, or the rest is a part of something, or nothing of it is looked at before an answer.
    NeedsInput,
    /// The budget of this turn is spent.
    BudgetSpent,
    /// The stage is over; the next one goes on with the rest of the input.
    Become(Stage<S>),
    /// The stage is to be closed for this reason.
    Close(CloseReason),
}

impl<S: Service> Connection<S> {
    /// A connection that was accepted now.
    #[must_use]
    pub fn new(now: Instant, timeouts: &Timeouts) -> Self {
        Self {
            stage: Stage::Http(Requests::new(now, timeouts)),
            outbound: Outbound::default(),
            unread: Vec::new(),
            runnable: false,
        }
    }

    /// Takes what the peer sent.
    pub fn receive(&mut self, input: &[u8], context: &mut Context<'_, S>) {
        if self.unread.is_empty() {
            let consumed = self.advance(input, context);
            // A connection that is closing has nothing to read again.
            if !matches!(self.stage, Stage::Closing(_)) {
                self.unread.extend_from_slice(&input[consumed..]);
            }
        } else {
            reserve_steps(&mut self.unread, input.len());
            self.unread.extend_from_slice(input);
            self.advance_unread(context);
        }
    }

    /// The peer has ended its side of the stream.
    pub fn end_input(&mut self, context: &mut Context<'_, S>) {
        match &mut self.stage {
            Stage::Http(requests) => {
                let reason = requests.end_input(&self.unread, context);
                self.close_after_end(reason, context);
            }
            Stage::WebSocket(_) => self.close_after_end(CloseReason::Reset, context),
            Stage::Closing(closing) => closing.end_input(),
        }
    }

    /// Nothing that the peer sends can be understood any more, and nothing more can be said to it.
    pub fn abort(&mut self, reason: CloseReason) {
        self.outbound = Outbound::default();
        self.stage = Stage::Closing(Closing::after_output(reason));
        self.forget_input();
    }

    /// Resumes what a budget or a full socket left.
    pub fn resume(&mut self, context: &mut Context<'_, S>) {
        if self.runnable && self.has_room(context) && (context.login_steps > 0 || !self.has_postponed()) {
            self.advance_unread(context);
        }
        self.deliver(context);
    }

    /// The mailbox of this session has mail.
    pub fn note_mail(&mut self, context: &mut Context<'_, S>) {
        let noted = match &mut self.stage {
            Stage::WebSocket(upgraded) => upgraded.handler.note_mail(),
            Stage::Http(_) | Stage::Closing(_) => Ok(()),
        };
        match noted {
            Ok(()) => self.deliver(context),
            Err(reason) => self.close(reason, context),
        }
    }

    /// The service has reported what became of the POST with this ticket: for how many seconds it is stored.
    /// [`Connection::resume`] answers it. Returns whether it is what this connection waits for.
    pub fn note_posted(&mut self, ticket: u64, result: Result<u32, Refusal>) -> bool {
        let is_awaited = match &mut self.stage {
            Stage::Http(requests) => requests.note_posted(ticket, result),
            Stage::WebSocket(_) | Stage::Closing(_) => false,
        };
        self.runnable |= is_awaited;
        is_awaited
    }

    /// There is no room for this connection, which has just been accepted: its first request is answered if it asks how
    /// the server is, refused with [`Refusal::Unavailable`] otherwise, and the last.
    pub fn turn_away(&mut self) {
        if let Stage::Http(requests) = &mut self.stage {
            requests.turn_away();
        }
    }

    /// The server is stopping: what is under way is answered, nothing new begins.
    pub fn drain(&mut self, context: &mut Context<'_, S>) {
        match &mut self.stage {
            Stage::Http(requests) if requests.is_idle() && self.unread.is_empty() => {
                self.close(CloseReason::Restart, context);
            }
            Stage::WebSocket(_) => self.close(CloseReason::Restart, context),
            Stage::Http(_) => {}
            Stage::Closing(closing) => closing.drain(context.now),
        }
    }

    /// Whether requests may still come.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self.stage, Stage::Http(_))
    }

    /// Whether it hasn't had a request answered yet, or since its upgrade hasn't logged in yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        match &self.stage {
            Stage::Http(requests) => !requests.has_answered(),
            Stage::WebSocket(upgraded) => !upgraded.handler.is_logged_in(),
            Stage::Closing(_) => false,
        }
    }

    /// When something must have happened, if anything must.
    #[must_use]
    pub fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let stage = match &self.stage {
            // What the service owes does not depend on the peer.
            Stage::Http(requests) if requests.is_waiting() => Some(requests.deadline(timeouts)),
            // What is left waits for us, or for the peer to take its answers, which has a deadline of its own.
            Stage::Http(_) if self.runnable || !self.outbound.is_empty() => None,
            Stage::Http(requests) => Some(requests.deadline(timeouts)),
            Stage::WebSocket(upgraded) => upgraded.deadline(self.wants_input(), timeouts),
            Stage::Closing(closing) => closing.deadline(),
        };
        [stage, self.outbound.deadline(timeouts.write_stall)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends what is too late by now, if anything is. While input may be there that has not been given, `is_drained` is
    /// false, and no pong is too late: it may be in there.
    pub fn reach_deadline(&mut self, is_drained: bool, context: &mut Context<'_, S>) {
        if self
            .deadline(context.timeouts)
            .is_none_or(|deadline| context.now < deadline)
        {
            return;
        }
        let stalled = self
            .outbound
            .deadline(context.timeouts.write_stall)
            .is_some_and(|deadline| context.now >= deadline);
        match &mut self.stage {
            // It takes nothing, so nothing can be reported to it either.
            _ if stalled => self.stage = Stage::Closing(Closing::over(CloseReason::Stalled)),
            Stage::Http(requests) if requests.is_waiting() => {
                requests.give_up_waiting();
                self.runnable = true;
                if self.has_room(context) {
                    self.advance_unread(context);
                }
            }
            Stage::Http(requests) => {
                let reason = requests.reach_deadline(&self.unread, context);
                self.close(reason, context);
            }
            Stage::WebSocket(upgraded) => {
                let waits = self.outbound.len() >= OUTBOUND_HIGH_WATER_BYTES || self.runnable;
                if let Err(reason) = upgraded.reach_deadline(is_drained && !waits, context) {
                    self.close(reason, context);
                }
            }
            Stage::Closing(closing) => closing.give_up(),
        }
    }

    /// Whether input may be given. If not, it waits in the kernel until output has gone.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match &self.stage {
            // A client that doesn't take its answers gets no further requests read, nor one whose answer is pending.
            Stage::Http(requests) => self.outbound.is_empty() && !self.runnable && !requests.is_waiting(),
            Stage::WebSocket(_) => self.outbound.len() < OUTBOUND_HIGH_WATER_BYTES && !self.runnable,
            Stage::Closing(closing) => closing.wants_input(),
        }
    }

    /// Whether [`Connection::resume`] has something to do at once.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        let can_go_on = self.runnable && !self.has_postponed();
        self.outbound.is_empty() && (can_go_on || self.has_mail())
    }

    /// Whether [`Connection::resume`] has something to do that takes a step of a login.
    #[must_use]
    pub fn awaits_login_step(&self) -> bool {
        self.outbound.is_empty() && self.has_postponed()
    }

    /// Whether its input is only read to be thrown away, which is never urgent.
    #[must_use]
    pub fn is_lingering(&self) -> bool {
        matches!(&self.stage, Stage::Closing(closing) if closing.is_lingering())
    }

    /// Whether output of earlier turns waits for the kernel.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// Bytes of memory that this connection holds beside itself: input, output, a message under way. A body that is
    /// kept is charged with the mail.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let stage = match &self.stage {
            Stage::Http(requests) => requests.held_bytes(),
            Stage::WebSocket(upgraded) => upgraded.held_bytes(),
            Stage::Closing(_) => 0,
        };
        stage + self.unread.capacity() + self.outbound.held_bytes()
    }

    /// Ends the connection at once, for the memory that its unsent output takes. Its client takes nothing, not even a
    /// farewell.
    pub fn evict(&mut self) {
        self.abort(CloseReason::ConnectionMemory);
        self.stage = Stage::Closing(Closing::over(CloseReason::ConnectionMemory));
    }

    /// The bytes to send now, those of `fresh` after what the kernel has not taken of earlier turns.
    pub fn unsent<'a>(&'a mut self, fresh: &'a mut Vec<u8>) -> &'a [u8] {
        self.outbound.unsent(fresh)
    }

    /// The kernel took `count` bytes of what [`Connection::unsent`] gave.
    pub fn sent(&mut self, count: usize, context: &mut Context<'_, S>) {
        let blocked_since = self.outbound.blocked_since();
        self.outbound.taken(count, context.out, context.now);
        if !self.outbound.is_empty() {
            return;
        }
        if let Some(since) = blocked_since {
            self.postpone_input(context.now.saturating_duration_since(since));
        }
        if let Stage::WebSocket(upgraded) = &mut self.stage {
            upgraded.handler.note_flushed(context.now);
        }
    }

    /// What the socket needs after the output went as far as it did.
    pub fn next_step(&mut self, context: &Context<'_, S>) -> Step {
        match &mut self.stage {
            Stage::Http(_) | Stage::WebSocket(_) => Step::Wait,
            Stage::Closing(closing) => closing.next_step(self.outbound.is_empty(), context),
        }
    }

    /// For so long, input waited in the kernel for the peer to take its output.
    fn postpone_input(&mut self, pause: Duration) {
        match &mut self.stage {
            Stage::Http(requests) => requests.postpone(pause),
            Stage::WebSocket(upgraded) => upgraded.postpone_input(pause),
            Stage::Closing(_) => {}
        }
    }

    fn has_postponed(&self) -> bool {
        matches!(&self.stage, Stage::WebSocket(upgraded) if upgraded.has_postponed())
    }

    fn has_mail(&self) -> bool {
        matches!(&self.stage, Stage::WebSocket(upgraded) if upgraded.handler.has_mail())
    }

    fn has_room(&self, context: &Context<'_, S>) -> bool {
        self.outbound.is_empty() && context.out.len() < OUTBOUND_HIGH_WATER_BYTES
    }

    fn advance_unread(&mut self, context: &mut Context<'_, S>) {
        let mut unread = mem::take(&mut self.unread);
        let consumed = self.advance(&unread, context);
        if consumed < unread.len() && !matches!(self.stage, Stage::Closing(_)) {
            unread.drain(..consumed);
            unread.shrink_to(unread.len() + BUFFER_STEP_BYTES);
            self.unread = unread;
        }
    }

    /// Runs the stages over the input. Returns how much of it they took.
    fn advance(&mut self, input: &[u8], context: &mut Context<'_, S>) -> usize {
        let mut rest = input;
        self.runnable = false;
        loop {
            let advance = match &mut self.stage {
                Stage::Http(requests) => advance_http(requests, &mut rest, context),
                Stage::WebSocket(upgraded) => advance_websocket(upgraded, &mut rest, context),
                Stage::Closing(closing) => {
                    closing.discard(rest);
                    rest = &[];
                    Advance::NeedsInput
                }
            };
            match advance {
                Advance::NeedsInput => break,
                Advance::BudgetSpent => {
                    self.runnable = true;
                    break;
                }
                Advance::Become(stage) => self.stage = stage,
                Advance::Close(reason) => self.close(reason, context),
            }
        }
        self.deliver(context);
        if let Stage::Closing(closing) = &mut self.stage {
            // Where the delivery has ended the session, the client's Close may be in here.
            closing.discard(rest);
            rest = &[];
        }
        input.len() - rest.len()
    }

    fn deliver(&mut self, context: &mut Context<'_, S>) {
        if self.has_mail() && self.outbound.is_empty() {
            self.deliver_mail(context);
        }
    }

    // Apart, so that a connection without mail pays for no call.
    #[inline(never)]
    fn deliver_mail(&mut self, context: &mut Context<'_, S>) {
        let room = OUTBOUND_HIGH_WATER_BYTES.saturating_sub(context.out.len());
        if let Stage::WebSocket(upgraded) = &mut self.stage
            && room > 0
            && let Err(reason) = upgraded.handler.deliver(room, context)
        {
            self.close(reason, context);
        }
    }

    /// Says what is to be said on closing, and begins to close.
    fn close(&mut self, reason: CloseReason, context: &mut Context<'_, S>) {
        let stage = mem::replace(&mut self.stage, Stage::Closing(Closing::after_output(reason)));
        // A client that went without a Close gets none.
        if let Stage::WebSocket(upgraded) = stage
            && reason != CloseReason::Reset
        {
            write_farewell(context.out, reason);
            let mut closing = Closing::after_close(reason, upgraded.socket.into_close_finder());
            // Its Close may have come already.
            closing.discard(&self.unread);
            self.stage = Stage::Closing(closing);
        }
        self.forget_input();
    }

    fn forget_input(&mut self) {
        (self.unread, self.runnable) = (Vec::new(), false);
    }

    fn close_after_end(&mut self, reason: CloseReason, context: &mut Context<'_, S>) {
        // The peer may have closed only its own side: what it is still owed goes out first.
        self.close(reason, context);
        if let Stage::Closing(closing) = &mut self.stage {
            closing.end_input();
        }
    }
}

fn advance_http<S: Service>(requests: &mut Requests<S>, rest: &mut &[u8], context: &mut Context<'_, S>) -> Advance<S> {
    match requests.advance(rest, context) {
        RequestProgress::NeedsInput | RequestProgress::Waits => Advance::NeedsInput,
        RequestProgress::BudgetSpent => Advance::BudgetSpent,
        RequestProgress::Close(reason) => Advance::Become(Stage::Closing(Closing::after_output(reason))),
        RequestProgress::Upgrade(handler) => Advance::Become(Stage::WebSocket(Upgraded::new(*handler, context))),
    }
}

fn advance_websocket<S: Service>(
    upgraded: &mut Upgraded<S::Handler>,
    rest: &mut &[u8],
    context: &mut Context<'_, S>,
) -> Advance<S> {
    match upgraded.advance(rest, context) {
        Ok(Hearing::NeedsInput) => Advance::NeedsInput,
        Ok(Hearing::Goes | Hearing::Pauses) => Advance::BudgetSpent,
        Ok(Hearing::Ends) => Advance::Become(Stage::Closing(Closing::after_last_word(CloseReason::Done))),
        Err(reason) => Advance::Close(reason),
    }
}
