//! Which connections a worker visits in one turn, in which order, and how many of them or for how long.
//!
//! It has no socket, no poller and no clock of its own: an [`Environment`] and a [`Clock`] are given to it, and the
//! simulator gives its own. What a visit is stands in [`crate::server::connection::visit`].

mod deadlines;
mod evictions;
mod order;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Clock, Time};
use super::expiry::Sweep;
use super::holders::Holders;
use super::inbox::{Notice, Wake};
use super::queues::{Class, Queues};
use super::shared::Shared;
use super::slot::Slot;
use super::slots::Slots;
use crate::server::connection::visit::{Cause, Edges, Io, IoContext};
use crate::server::context::Context;
use crate::server::limits::{LOGIN_STEPS_PER_TURN, OVER_BUDGET_PAUSE_MILLIS, REQUESTS_PER_VISIT};
use crate::server::mailboxes::Deliveries;
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::service::Service;
use crate::server::signer::ChallengeSigner;
use crate::server::timer_wheel::Wheel;
use crate::server::token::{SessionAddress, Tickets, Token};

/// What a scheduler needs from outside in the middle of a turn: where connections come in, and what the system says.
pub trait Environment {
    /// The end of a connection that comes in.
    type Io: Io;

    /// The next connection that waits, where TLS is spoken only if `takes_tls`, and the index of its listener.
    /// `None`: there is none now, or accepting pauses.
    fn accept(&mut self, takes_tls: bool, now: Instant) -> Option<(Self::Io, usize)>;

    /// Has the events of a connection reported by this token. Returns whether that succeeds.
    fn watch(&mut self, io: &mut Self::Io, token: Token, now: Instant) -> bool;

    /// Whether connections may be waiting that can be taken at once.
    fn is_pending(&self) -> bool;

    /// When accepting goes on, if it pauses.
    fn paused_until(&self) -> Option<Instant>;

    /// No connection comes in any more but those that wait already, up to so many as this returns.
    fn close_soon(&mut self) -> usize;

    /// No connection comes in any more.
    fn close(&mut self);

    /// Resident memory of the process, in bytes.
    fn resident_bytes() -> Option<u64>;
}

/// The connections of one worker and their turns.
///
/// Calling contract, in this order, while not [`Scheduler::is_over`]:
/// 1. [`Scheduler::sleep`] returns how long nothing is to be done, unless an event or the inbox's waker comes.
/// 2. After that [`Scheduler::begin_turn`].
/// 3. Then [`Scheduler::note_edges`] for each event, and [`Scheduler::take_turn`].
///
/// Then [`Scheduler::end`].
pub struct Scheduler<I, S: Service, C, W> {
    index: u32,
    shared: Arc<Shared<W>>,
    service: Arc<S>,
    slots: Slots<Slot<I, S>>,
    queues: Queues,
    holders: Holders,
    /// What each connection may have answered in a visit now.
    requests: usize,
    deadlines: Wheel,
    /// No deadline comes before this tick.
    next_deadline: u32,
    sweep: Sweep,
    signer: ChallengeSigner,
    scratch: TurnScratch,
    /// Notices for other workers, by worker, until they are notified.
    outboxes: Vec<Vec<Notice>>,
    tickets: Tickets,
    time: Time<C>,
    drain_until: Option<Instant>,
    is_halted: bool,
}

/// Buffers that belong to the worker and are lent to each connection in its turn.
struct TurnScratch {
    io: IoContext,
    out: Vec<u8>,
    deliveries: Deliveries,
    wake: Vec<SessionAddress>,
    notices: Vec<Notice>,
}

impl<I: Io, S: Service, C: Clock, W: Wake> Scheduler<I, S, C, W> {
    /// The scheduler of the worker with this index, without connections.
    pub fn new(
        index: u32,
        shared: Arc<Shared<W>>,
        service: Arc<S>,
        signer: ChallengeSigner,
        clock: C,
        io: IoContext,
    ) -> Self {
        let time = Time::start(clock, shared.epoch);
        let workers = shared.inboxes.len();
        Self {
            index,
            service,
            slots: Slots::new(),
            queues: Queues::default(),
            holders: Holders::default(),
            requests: REQUESTS_PER_VISIT,
            deadlines: Wheel::new(0),
            next_deadline: u32::MAX,
            sweep: Sweep::new(index as usize, workers, shared.clean_period, time.mail_now),
            signer,
            scratch: TurnScratch::new(io),
            outboxes: vec![Vec::new(); workers],
            tickets: Tickets::default(),
            time,
            drain_until: None,
            is_halted: false,
            shared,
        }
    }

    /// Whether the relay has drained, or must halt.
    pub fn is_over(&self) -> bool {
        let drained = self
            .drain_until
            .is_some_and(|until| self.slots.is_empty() || self.time.now >= until);
        drained || self.is_halted
    }

    /// To be called once [`Scheduler::is_over`]: other workers don't wait for what this one would close.
    pub fn end(&self) {
        self.shared.highest_classes.withdraw(self.index as usize);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// The moment of this turn, as connections see it.
    pub fn now(&self) -> Instant {
        self.time.now
    }

    /// How many established connections have had events in this turn and wait for it.
    pub fn ready(&self) -> usize {
        self.queues.len(Class::Ready)
    }

    /// How long there is nothing to do unless another thread wakes this worker, which it can from now on.
    pub fn sleep(&mut self, environment: &impl Environment<Io = I>) -> Duration {
        let timeout = self.timeout(environment);
        if timeout.is_zero() {
            return timeout;
        }
        self.time.sleep(timeout);
        // What calls for an eviction is looked at after that, so that others see that this worker must be woken.
        if self.shared.inboxes[self.index as usize].fall_asleep() && !self.must_evict() {
            timeout
        } else {
            Duration::ZERO
        }
    }

    /// Reads the clock and the inbox, and has the drain begin if it is time.
    pub fn begin_turn<H: Environment<Io = I>>(&mut self, environment: &mut H) {
        let mut notices = std::mem::take(&mut self.scratch.notices);
        self.shared.inboxes[self.index as usize].take(&mut notices);
        self.time.begin_turn();
        self.shared.store.renew_refusing_look(self.time.now, H::resident_bytes);
        self.requests = REQUESTS_PER_VISIT;
        self.queues.allow(Class::Login, LOGIN_STEPS_PER_TURN);
        self.queues.allow(Class::Handshake, 0);
        for notice in notices.drain(..) {
            match notice {
                Notice::Mail(token) => self.note_mail(token),
                Notice::Posted { token, ticket, result } => self.note_posted(token, ticket, result),
                Notice::Drain if self.drain_until.is_none() => self.begin_drain(environment),
                Notice::Drain => {}
                Notice::Halt => self.is_halted = true,
            }
        }
        self.scratch.notices = notices;
    }

    /// An event has reported this of a connection.
    pub fn note_edges(&mut self, token: Token, edges: Edges) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.wired.note_edges(edges);
        if slot.wired.is_new() || slot.wired.is_lingering() {
            self.queue(token);
        } else {
            self.queues.join(Class::Ready, token, &mut slot.queued);
        }
    }

    /// Serves established connections first: those that wait only for a turn, those that have had events, those that
    /// have mail or the answer to a POST. New ones come after them, and for a limited time, so that however many storm
    /// in, the established hardly wait.
    pub fn take_turn(&mut self, environment: &mut impl Environment<Io = I>) {
        if self.is_halted {
            return;
        }
        self.serve_resumed();
        self.serve_ready();
        self.serve_mailed();
        self.notify_others();
        self.evict_holders();
        self.serve_new(environment);
        self.notify_others();
        self.reach_deadlines();
        self.expire_messages(environment);
        // Again, since new connections hold something too, and no event need follow.
        self.evict_holders();
        self.notify_others();
    }

    /// Visits a connection, taken from the queue of this class if it is from one.
    fn serve(&mut self, token: Token, cause: Cause, from: Option<Class>) {
        let login_steps = self.queues.offer(Class::Login, from == Some(Class::Login));
        let handshake_steps = self.queues.offer(Class::Handshake, from == Some(Class::Handshake));
        let Some(slot) = self.slots.get_mut(token) else { return };
        if let Some(class) = from {
            slot.queued.leave(class);
        }
        let mut context = Context {
            service: &*self.service,
            now: self.time.now,
            mail_now: self.time.mail_now,
            date: &self.time.date,
            address: SessionAddress {
                worker: self.index,
                token,
            },
            store: &self.shared.store,
            timeouts: &self.shared.timeouts,
            login_steps,
            signer: &mut self.signer,
            counters: &self.shared.counters[self.index as usize],
            tickets: &mut self.tickets,
            out: &mut self.scratch.out,
            requests: self.requests,
            wake: &mut self.scratch.wake,
            deliveries: &mut self.scratch.deliveries,
        };
        let io = &mut self.scratch.io;
        io.handshake_steps = handshake_steps;
        // A bug that one connection sets off ends that connection, not the mail of all others.
        let visited = panic::catch_unwind(AssertUnwindSafe(|| slot.wired.visit(cause, &mut context, io)));
        let over = visited.unwrap_or_else(|_| {
            context.out.clear();
            Some(CloseReason::Internal)
        });
        self.queues.take(Class::Login, login_steps - context.login_steps);
        self.queues.take(Class::Handshake, handshake_steps - io.handshake_steps);
        if let Some(reason) = over {
            self.free(token, reason);
        } else {
            self.settle(token);
            self.queue(token);
            self.arm_deadline(token);
        }
        self.route_mail();
    }

    /// Puts a connection where it is served again without an event, if it wants that.
    fn queue(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let (wired, queued) = (&slot.wired, &mut slot.queued);
        if wired.wants_turn() {
            let class = if wired.is_lingering() {
                Class::Lingering
            } else if wired.is_new() {
                Class::New
            } else {
                Class::Resumed
            };
            self.queues.join(class, token, queued);
        }
        if wired.awaits_login_step() {
            self.queues.join(Class::Login, token, queued);
        }
        if wired.awaits_handshake_step() {
            if wired.has_begun_handshake() {
                self.queues.join_in_front(Class::Handshake, token, queued);
            } else {
                self.queues.join(Class::Handshake, token, queued);
            }
        }
    }

    fn note_mail(&mut self, token: Token) {
        // A session that is gone has left its mail in the mailbox.
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.wired.note_mail();
        self.queues.join(Class::Mailed, token, &mut slot.queued);
    }

    fn note_posted(&mut self, token: Token, ticket: u64, result: Result<u32, Refusal>) {
        // It finds nothing if the connection has gone, or the request has been answered without it.
        let Some(slot) = self.slots.get_mut(token) else { return };
        if slot.wired.note_posted(ticket, result) {
            self.queues.join(Class::Mailed, token, &mut slot.queued);
        }
    }

    fn route_mail(&mut self) {
        while let Some(SessionAddress { worker, token }) = self.scratch.wake.pop() {
            if worker == self.index {
                self.note_mail(token);
            } else if let Some(outbox) = self.outboxes.get_mut(worker as usize) {
                outbox.push(Notice::Mail(token));
            }
        }
    }

    fn notify_others(&mut self) {
        for (outbox, inbox) in self.outboxes.iter_mut().zip(&self.shared.inboxes) {
            if !outbox.is_empty() {
                inbox.notify(outbox);
            }
        }
    }

    fn admit(&mut self, environment: &mut impl Environment<Io = I>, mut io: I, listener: usize) {
        let Some(place) = self.shared.enter(listener) else {
            self.shared.counters[self.index as usize].refused(Refusal::Unavailable);
            return;
        };
        let token = self.slots.next_token();
        let Some(token) = token.filter(|token| environment.watch(&mut io, *token, self.time.now)) else {
            self.shared.leave(place);
            return;
        };
        self.shared.counters[self.index as usize].accepted.add(1);
        self.slots
            .insert(Slot::new(io, place, self.time.now, &self.shared.timeouts));
        self.arm_deadline(token);
    }

    fn free(&mut self, token: Token, reason: CloseReason) {
        self.deadlines.cancel(&mut self.slots, token.index);
        if let Some(slot) = self.slots.remove(token) {
            self.shared.leave(slot.place);
            self.shared.store.connection_budget().release(slot.charged_bytes as u64);
            self.shared.counters[self.index as usize].closed(reason);
            tracing::debug!(reason = reason.code(), "connection over");
        }
    }

    /// Nothing is accepted any more, and every connection drains. Idle ones get a last look at what has come for them.
    fn begin_drain(&mut self, environment: &mut impl Environment<Io = I>) {
        self.drain_until = Some(self.time.now + self.shared.drain);
        // Closing a listener resets what waits in it.
        for _ in 0..environment.close_soon() {
            if !self.accept(environment) {
                break;
            }
        }
        environment.close();
        let tokens: Vec<_> = self.slots.tokens().collect();
        for token in tokens {
            self.serve(token, Cause::Drain, None);
        }
    }

    fn expire_messages<H: Environment<Io = I>>(&mut self, _: &H) {
        if self.sweep.run(&self.shared.store, self.time.mail_now) {
            self.shared.store.look_at_resident(self.time.now, H::resident_bytes);
        }
    }

    fn timeout(&self, environment: &impl Environment<Io = I>) -> Duration {
        if self.queues.has_exempt() || self.sweep.is_under_way() {
            return Duration::ZERO;
        }
        // Nothing is accepted while there is no room, so a pause that is over must not end the sleep by itself.
        let (may_accept, accepts_again) = match environment.paused_until() {
            Some(until) if until <= self.time.now => (true, None),
            pause => (environment.is_pending(), pause),
        };
        let mut looks_again = None;
        if !self.queues.is_empty() || may_accept {
            if !self.is_over_budget() {
                return Duration::ZERO;
            }
            // What makes room is seen here if this worker does it, and then if it is another one.
            looks_again = Some(self.time.now + Duration::from_millis(OVER_BUDGET_PAUSE_MILLIS));
        }
        let deadline = (self.next_deadline != u32::MAX).then(|| self.time.instant_of(self.next_deadline));
        let next = [deadline, accepts_again, self.drain_until, looks_again];
        let next = next.into_iter().flatten().min();
        let sweep = self.sweep.latest_start().saturating_duration_since(self.time.mail_now);
        next.map_or(sweep, |at| at.saturating_duration_since(self.time.now).min(sweep))
    }
}

impl TurnScratch {
    fn new(io: IoContext) -> Self {
        Self {
            io,
            out: Vec::new(),
            deliveries: Deliveries::new(),
            wake: Vec::new(),
            notices: Vec::new(),
        }
    }
}
