//! The HTTP stage: one request after the other, each answered before the next is read.
//!
//! Heads, bodies and answers as bytes are [`crate::server::http`]'s; what a message does is [`crate::server::relay`]'s.

use std::time::{Duration, Instant};

use super::answers::{Answer, Fault, ResponseOptions, is_probe};
use super::gathered::Gathered;
use super::purpose::{Finished, Purpose, finish, purpose_of, set_memory_aside, whole_blocks, write_result};
use super::waiting::Waiting;
use crate::server::answers::Detail;
use crate::server::config::Timeouts;
use crate::server::context::Context;
use crate::server::http::response::continue_100;
use crate::server::http::{BodyDecoder, HeadScanner, HttpError, RequestHead};
use crate::server::limits::{DISCARDED_BODY_MAX_BYTES, OUTBOUND_HIGH_WATER_BYTES};
use crate::server::mailboxes::Charge;
use crate::server::pace::Pace;
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::routes::{Request, Resource, ttl_seconds};
use crate::server::service::{Handler, Service};
use crate::server::token::Ticket;

/// The requests of a connection that hasn't been upgraded.
#[derive(Debug)]
pub(super) struct Requests<S: Service> {
    phase: RequestPhase<S>,
    /// When the phase is too late; a body's deadline follows from its pace instead.
    deadline: Instant,
    has_answered: bool,
    /// There is no room for it: one request is answered truthfully if it is a probe's, and refused otherwise.
    is_turned_away: bool,
}

/// How far the stage has come with its input.
#[derive(Debug)]
pub(super) enum RequestProgress<C> {
    /// All input is understood, or the rest is a part of a head.
    NeedsInput,
    /// This turn's budget is spent.
    BudgetSpent,
    /// The answer to a request is pending with the service.
    Waits,
    /// The last answer has been written.
    Close(CloseReason),
    /// The WebSocket handshake has been answered: what follows is frames. Boxed, for this goes along with every
    /// request.
    Upgrade(Box<C>),
}

#[derive(Debug)]
enum RequestPhase<S: Service> {
    /// Accepted, and nothing has come: the time for the first head runs already.
    Fresh,
    /// Between two requests.
    Idle,
    Head(HeadScanner),
    Body(Box<Receiving<S>>),
    /// Its answer is pending with the service: nothing is read before it is written.
    Waiting(Waiting),
}

/// A request whose body hasn't come whole.
#[derive(Debug)]
struct Receiving<S: Service> {
    decoder: BodyDecoder,
    /// Empty if the body is discarded.
    body: Gathered,
    /// No body is longer, or it would have been refused.
    max_bytes: u64,
    purpose: Purpose<S>,
    options: ResponseOptions,
    pace: Pace,
    /// The memory that the body may take, until it is a message with a charge of its own.
    charge: Option<Charge>,
}

impl<S: Service> Requests<S> {
    pub(super) fn new(now: Instant, timeouts: &Timeouts) -> Self {
        Self {
            phase: RequestPhase::Fresh,
            deadline: now + timeouts.head,
            has_answered: false,
            is_turned_away: false,
        }
    }

    /// There is no room for this connection, of which nothing has been read yet.
    pub(super) fn turn_away(&mut self) {
        self.is_turned_away = true;
    }

    /// Whether a request has been answered.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, RequestPhase::Fresh | RequestPhase::Idle)
    }

    /// Bytes held of a body's request; its body is charged elsewhere.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.phase {
            RequestPhase::Body(_) => size_of::<Receiving<S>>(),
            // What it waits with lies in the connection itself.
            RequestPhase::Fresh | RequestPhase::Idle | RequestPhase::Head(_) | RequestPhase::Waiting(_) => 0,
        }
    }

    /// Whether the service hasn't reported yet what became of the request.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(&self.phase, RequestPhase::Waiting(waiting) if waiting.result.is_none())
    }

    /// The service has reported what became of the POST with this ticket. Returns whether that is what is waited for.
    pub(super) fn note_posted(&mut self, ticket: u64, result: Result<u32, Refusal>) -> bool {
        match &mut self.phase {
            RequestPhase::Waiting(waiting) => waiting.note_posted(ticket, result),
            _ => false,
        }
    }

    /// The service has taken too long.
    pub(super) fn give_up_waiting(&mut self) {
        if let RequestPhase::Waiting(waiting) = &mut self.phase {
            waiting.give_up();
        }
    }

    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Instant {
        match &self.phase {
            RequestPhase::Fresh | RequestPhase::Idle | RequestPhase::Head(_) | RequestPhase::Waiting(_) => {
                self.deadline
            }
            RequestPhase::Body(receiving) => receiving.pace.deadline(timeouts.body_grace),
        }
    }

    /// The client was not read for so long.
    pub(super) fn postpone(&mut self, pause: Duration) {
        match &mut self.phase {
            RequestPhase::Fresh | RequestPhase::Idle | RequestPhase::Head(_) => self.deadline += pause,
            RequestPhase::Body(receiving) => receiving.pace.postpone(pause),
            // That is the service's time, not the client's.
            RequestPhase::Waiting(_) => {}
        }
    }

    /// Takes requests off the front of `rest` and answers them, until input or budget ends.
    pub(super) fn advance(&mut self, rest: &mut &[u8], context: &mut Context<'_, S>) -> RequestProgress<S::Handler> {
        for _ in 0..context.requests {
            if context.out.len() >= OUTBOUND_HIGH_WATER_BYTES {
                return RequestProgress::BudgetSpent;
            }
            match self.next_request(rest, context) {
                Ok(None) => {}
                Ok(Some(progress)) => return progress,
                Err(fault) => {
                    fault.write(context);
                    return RequestProgress::Close(CloseReason::Answered);
                }
            }
        }
        if rest.is_empty() {
            RequestProgress::NeedsInput
        } else {
            RequestProgress::BudgetSpent
        }
    }

    /// The peer has ended its side: a request that it hasn't finished, with `unread` of its head, will never be whole.
    pub(super) fn end_input(&mut self, unread: &[u8], context: &mut Context<'_, S>) -> CloseReason {
        self.give_up(CloseReason::Done, unread, context)
    }

    /// Refuses a request that is too late, with `unread` of its head, unless it has never begun.
    pub(super) fn reach_deadline(&mut self, unread: &[u8], context: &mut Context<'_, S>) -> CloseReason {
        self.give_up(CloseReason::Idle, unread, context)
    }

    /// Answers a request that won't be whole. Where none has begun there is no answer, which before the end of a TLS
    /// handshake could never be sent, and the connection ends for the reason `idle`.
    fn give_up(&self, idle: CloseReason, unread: &[u8], context: &mut Context<'_, S>) -> CloseReason {
        // One that waits for its answer has come whole.
        if self.is_idle() || matches!(self.phase, RequestPhase::Waiting(_)) {
            return idle;
        }
        let head_only = match &self.phase {
            RequestPhase::Body(receiving) => receiving.options.head_only,
            RequestPhase::Head(scanner) => scanner.is_head(unread),
            RequestPhase::Fresh | RequestPhase::Idle | RequestPhase::Waiting(_) => false,
        };
        let refusal = if self.is_turned_away {
            Refusal::Unavailable
        } else {
            Refusal::RequestTimeout
        };
        Fault::new(refusal, head_only).write(context);
        CloseReason::Answered
    }

    /// One request, or as much of it as there is. `None`: it is answered, and the next may follow.
    fn next_request(
        &mut self,
        rest: &mut &[u8],
        context: &mut Context<'_, S>,
    ) -> Result<Option<RequestProgress<S::Handler>>, Fault> {
        match &self.phase {
            RequestPhase::Body(_) => self.read_body(rest, context),
            RequestPhase::Waiting(_) => Ok(self.answer_waiting(context)),
            RequestPhase::Fresh | RequestPhase::Idle | RequestPhase::Head(_) => self.read_head(rest, context),
        }
    }

    /// Goes on with a body.
    fn read_body(
        &mut self,
        rest: &mut &[u8],
        context: &mut Context<'_, S>,
    ) -> Result<Option<RequestProgress<S::Handler>>, Fault> {
        let RequestPhase::Body(receiving) = &mut self.phase else {
            return Ok(None);
        };
        receiving.make_room(rest.len());
        let (body, keeps) = (&mut receiving.body, matches!(receiving.purpose, Purpose::Post(_)));
        let keep = |piece: &[u8]| {
            if keeps {
                body.append(piece);
            }
        };
        let progress = receiving
            .decoder
            .read(rest, keep)
            .map_err(|error| Fault::of_body(error, receiving.max_bytes, receiving.options))?;
        receiving.pace.progress(progress.consumed, context.now);
        *rest = &rest[progress.consumed..];
        if !progress.is_done {
            return Ok(Some(RequestProgress::NeedsInput));
        }
        // The message is charged anew, so the two must not overlap.
        receiving.charge = None;
        let options = receiving.options.in_drain(context);
        let finished = finish(&receiving.purpose, options, &receiving.body.whole(), context);
        Ok(self.after_finish(finished, options, context))
    }

    /// Answers the POST whose answer was pending, if what became of it has been reported.
    fn answer_waiting(&mut self, context: &mut Context<'_, S>) -> Option<RequestProgress<S::Handler>> {
        let RequestPhase::Waiting(waiting) = &self.phase else {
            return None;
        };
        let Some(result) = waiting.result else {
            return Some(RequestProgress::Waits);
        };
        let options = waiting.options.in_drain(context);
        let is_kept = write_result(result, options, context);
        self.after_answer(is_kept, context)
    }

    /// The next head, and what it asks for if it has come whole.
    fn read_head(
        &mut self,
        rest: &mut &[u8],
        context: &mut Context<'_, S>,
    ) -> Result<Option<RequestProgress<S::Handler>>, Fault> {
        if self.is_idle() {
            // Some clients end a body with an empty line too many: that begins no request (RFC 9112 §2.2).
            while let Some(after) = rest.strip_prefix(b"\r\n") {
                *rest = after;
            }
        }
        let Some((length, is_head)) = self.scan_head(rest, context)? else {
            return Ok(Some(RequestProgress::NeedsInput));
        };
        let (bytes, after) = rest.split_at(length);
        *rest = after;
        // Borrowed, for a head is large to be moved.
        let parsed = RequestHead::parse(bytes);
        let head = match &parsed {
            Ok(head) => head,
            Err(error) => return Err(Fault::new(*error, is_head)),
        };
        let ttl_seconds = ttl_seconds(head.ttl).map_err(|refusal| Fault::new(refusal, is_head))?;
        let request = Request {
            head,
            resource: Resource::of(head.target),
            ttl_seconds,
        };
        let options = ResponseOptions {
            keep_alive: head.keep_alive && !self.is_turned_away,
            ..ResponseOptions::of(head)
        };
        let fault = |refusal: Refusal| Fault::new(refusal, options.head_only);
        if self.is_turned_away && !is_probe(&request) {
            return Err(fault(Refusal::Unavailable));
        }
        if let Some(upgrade) = &head.upgrade
            && let Some(handler) = context.service.open(&request, context.store)
        {
            let accept_key = upgrade.accept_key().map_err(|error| fault(error.into()))?;
            if context.store.is_draining() {
                return Err(fault(Refusal::Unavailable));
            }
            let subprotocol = handler.subprotocol();
            options.reply(context).switching(context.out, &accept_key, subprotocol);
            return Ok(Some(RequestProgress::Upgrade(Box::new(handler))));
        }
        let purpose = purpose_of(&request, context.service).map_err(fault)?;
        self.take_body(head, purpose, options, rest, context)
    }

    /// The length of the head that has come whole, and whether it is one of a HEAD.
    fn scan_head(&mut self, rest: &[u8], context: &Context<'_, S>) -> Result<Option<(usize, bool)>, Fault> {
        if rest.is_empty() {
            return Ok(None);
        }
        let mut scanner = match &self.phase {
            RequestPhase::Head(scanner) => scanner.clone(),
            RequestPhase::Fresh | RequestPhase::Idle | RequestPhase::Body(_) | RequestPhase::Waiting(_) => {
                HeadScanner::default()
            }
        };
        let end = scanner.scan(rest);
        let is_head = scanner.is_head(rest);
        let end = end.map_err(|error| Fault::new(error, is_head))?;
        if end.is_none() {
            if let RequestPhase::Idle = self.phase {
                // Absolute, from the head's first byte: a trickle doesn't move it, and it owes nothing to the idle
                // time.
                self.deadline = context.now + context.timeouts.head;
            }
            self.phase = RequestPhase::Head(scanner);
        }
        Ok(end.map(|length| (length, is_head)))
    }

    fn take_body(
        &mut self,
        head: &RequestHead<'_>,
        purpose: Purpose<S>,
        options: ResponseOptions,
        rest: &mut &[u8],
        context: &mut Context<'_, S>,
    ) -> Result<Option<RequestProgress<S::Handler>>, Fault> {
        let max_bytes = match purpose {
            Purpose::Post(_) => u64::from(context.store.max_message_bytes()),
            Purpose::Answer(_) => DISCARDED_BODY_MAX_BYTES,
        };
        let fault = |error: HttpError| Fault::of_body(error, max_bytes, options);
        let mut decoder = BodyDecoder::new(head.framing, max_bytes).map_err(fault)?;
        let piece = decoder.decode(rest).map_err(fault)?;
        if piece.is_done {
            *rest = &rest[piece.consumed..];
            let options = options.in_drain(context);
            let finished = finish(&purpose, options, piece.data, context);
            return Ok(self.after_finish(finished, options, context));
        }
        let max_bytes = head.framing.length().unwrap_or(max_bytes);
        let (purpose, charge) = set_memory_aside(purpose, piece.data.len(), max_bytes, context);
        if head.expects_continue && rest.is_empty() {
            // A client that waits for a 100 and isn't going to get one need not send its body at all.
            if let Purpose::Answer(answer) = purpose {
                answer.write(
                    ResponseOptions {
                        keep_alive: false,
                        ..options
                    },
                    context,
                );
                return Ok(Some(RequestProgress::Close(CloseReason::Answered)));
            }
            continue_100(context.out);
        }
        let mut body = Gathered::default();
        if charge.is_some() {
            body.append(piece.data);
        }
        let consumed = piece.consumed;
        let mut pace = Pace::starting(context.now);
        pace.progress(consumed, context.now);
        *rest = &rest[consumed..];
        self.phase = RequestPhase::Body(Box::new(Receiving {
            decoder,
            body,
            max_bytes,
            purpose,
            options,
            pace,
            charge,
        }));
        Ok(None)
    }

    /// Goes on after a request that is answered.
    fn after_answer(&mut self, keep_alive: bool, context: &Context<'_, S>) -> Option<RequestProgress<S::Handler>> {
        self.phase = RequestPhase::Idle;
        self.has_answered = true;
        self.deadline = context.now + context.timeouts.keep_alive;
        (!keep_alive).then_some(RequestProgress::Close(CloseReason::Answered))
    }

    /// Goes on after a request that has come whole.
    fn after_finish(
        &mut self,
        finished: Finished,
        options: ResponseOptions,
        context: &Context<'_, S>,
    ) -> Option<RequestProgress<S::Handler>> {
        match finished {
            Finished::Answered { is_kept } => self.after_answer(is_kept, context),
            Finished::Pending(ticket) => Some(self.wait_for(ticket, options, context)),
        }
    }

    /// Goes on after a POST whose answer is pending.
    fn wait_for(
        &mut self,
        ticket: Ticket,
        options: ResponseOptions,
        context: &Context<'_, S>,
    ) -> RequestProgress<S::Handler> {
        debug_assert_eq!(ticket.address, context.address, "a ticket of another connection");
        self.phase = RequestPhase::Waiting(Waiting::new(ticket, options));
        self.deadline = context.now + context.timeouts.post;
        RequestProgress::Waits
    }
}

impl<S: Service> Receiving<S> {
    /// Memory for so much more of the body. If there is none, the rest is read for nothing, and the request refused at
    /// its end.
    fn make_room(&mut self, piece_bytes: usize) {
        let Some(charge) = &mut self.charge else { return };
        let needed = (self.body.len() as u64 + piece_bytes as u64).min(self.max_bytes);
        if !charge.grow_to(whole_blocks(needed)) {
            self.purpose = Purpose::Answer(Answer::Refused(Refusal::RelayFull, Detail::None));
            self.charge = None;
            self.body = Gathered::default();
        }
    }
}
