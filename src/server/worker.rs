//! One event loop on one core: poll, accept, read, dispatch, timers, flush. The only caller of `poll`.
//!
//! What the bytes mean is the connection's business; here they are carried, in turns that have a budget.

mod clock;
mod entrance;
mod evictions;
mod expiry;
mod holders;
mod inbox;
mod rounds;
mod shared;
mod slot;
mod slots;
mod steps;
mod waiting;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use self::clock::Clock;
pub(crate) use self::entrance::Door;
use self::entrance::Entrance;
use self::expiry::Sweep;
use self::holders::Holders;
pub(crate) use self::shared::{Shared, reserved_files};
use self::slot::Slot;
use self::slots::Slots;
use self::steps::Steps;
use self::waiting::Rounds;
use crate::server::connection::visit::{Cause, IoContext};
use crate::server::context::Context;
use crate::server::limits::{
    DEADLINES_PER_TURN, EVENTS_PER_POLL, HANDSHAKES_WAITING_MAX, LOGIN_STEPS_PER_TURN, OVER_BUDGET_PAUSE_MILLIS,
    REQUESTS_PER_VISIT,
};
use crate::server::log::LineLimit;
use crate::server::mailboxes::Deliveries;
use crate::server::places::Place;
use crate::server::refusal::{CloseReason, Refusal};
use crate::server::service::Service;
use crate::server::signer::ChallengeSigner;
use crate::server::system;
use crate::server::timer_wheel::{Nodes, Step, Wheel};
use crate::server::token::{SessionAddress, Token};
use crate::server::transport::Transport;

/// Where the system watches no more sockets, each connection causes a line.
static UNWATCHED: LineLimit = LineLimit::new();

/// One worker, with everything that it alone owns.
pub(crate) struct Worker<S: Service> {
    index: u32,
    shared: Arc<Shared>,
    poll: Poll,
    entrance: Entrance,
    slots: Slots<Slot<S>>,
    rounds: Rounds,
    holders: Holders,
    logins: Steps,
    /// Those of TLS.
    handshakes: Steps,
    /// What each connection may have answered in a visit now.
    requests: usize,
    deadlines: Wheel,
    /// No deadline comes before this tick.
    next_deadline: u32,
    sweep: Sweep,
    signer: ChallengeSigner,
    scratch: Scratch,
    /// Sessions of other workers that have mail, by worker, until they are told of it.
    outboxes: Vec<Vec<Token>>,
    clock: Clock,
    drain_until: Option<Instant>,
}

/// What a connection had to wait for in a queue, and has the next step of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepOf {
    Login,
    Handshake,
}

/// Buffers that belong to the loop and are lent to each connection in its turn.
struct Scratch {
    io: IoContext,
    out: Vec<u8>,
    deliveries: Deliveries,
    wake: Vec<SessionAddress>,
    tokens: Vec<Token>,
}

impl<S: Service> Worker<S> {
    /// A worker on `poll`, which its inbox in `shared` already wakes.
    ///
    /// # Errors
    /// The listeners can't be registered, or no signing key can be made.
    pub(crate) fn new(
        index: u32,
        shared: Arc<Shared>,
        poll: Poll,
        doors: Vec<Door>,
        signer: ChallengeSigner,
    ) -> io::Result<Self> {
        let clock = Clock::start(shared.epoch);
        let workers = shared.inboxes.len();
        Ok(Self {
            index,
            entrance: Entrance::new(doors, poll.registry())?,
            poll,
            slots: Slots::new(),
            rounds: Rounds::default(),
            holders: Holders::default(),
            logins: Steps::default(),
            handshakes: Steps::default(),
            requests: REQUESTS_PER_VISIT,
            deadlines: Wheel::new(0),
            next_deadline: u32::MAX,
            sweep: Sweep::new(index as usize, workers, shared.clean_period, clock.mail_now),
            signer,
            scratch: Scratch::new(),
            outboxes: vec![Vec::new(); workers],
            clock,
            drain_until: None,
            shared,
        })
    }

    /// Runs until the relay has drained, or must halt.
    ///
    /// Each turn serves first those who are in: who waits only for a turn, who has news, who has mail. Newcomers come after them,
    /// and for a limited time, so that however many storm in, those who are in hardly wait for them.
    ///
    /// # Errors
    /// Those of `poll`: the worker can't go on.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while !self.is_over() {
            let timeout = self.sleep_at_most();
            if !timeout.is_zero() {
                self.clock.sleep(timeout);
            }
            self.poll(&mut events, timeout)?;
            self.read_inbox();
            self.begin_turn();
            self.take_events(&mut events)?;
            self.serve_left_over();
            self.serve_news();
            self.serve_mailed();
            self.tell_others();
            self.evict_holders();
            self.serve_newcomers();
            self.tell_others();
            self.reach_deadlines();
            self.expire_messages();
            // Again, since newcomers hold something too, and no event need follow.
            self.evict_holders();
            self.tell_others();
        }
        // Others must not wait for what this one would do.
        self.shared.highest_classes.withdraw(self.index as usize);
        Ok(())
    }

    fn poll(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => events.clear(),
            Ok(()) => {}
        }
        Ok(())
    }

    fn begin_turn(&mut self) {
        self.clock.begin_turn();
        self.shared
            .store
            .renew_refusing_look(self.clock.now, system::resident_bytes);
        self.requests = REQUESTS_PER_VISIT;
        self.logins.allow(LOGIN_STEPS_PER_TURN);
        self.handshakes.allow(0);
        if self.drain_until.is_none() && self.shared.store.is_draining() {
            self.begin_drain();
        }
    }

    /// What other workers have told: which sessions have mail.
    fn read_inbox(&mut self) {
        let mut told = std::mem::take(&mut self.scratch.tokens);
        self.shared.inboxes[self.index as usize].take(&mut told);
        for token in told.drain(..) {
            self.note_mail(token);
        }
        self.scratch.tokens = told;
    }

    /// Returns whether somebody has come.
    fn accept(&mut self) -> bool {
        let takes_tls = self.handshakes.len() < HANDSHAKES_WAITING_MAX;
        let accepted = self.entrance.next(takes_tls, self.clock.now);
        accepted
            .map(|(transport, listener)| self.admit(transport, listener))
            .is_some()
    }

    fn admit(&mut self, transport: Transport, listener: usize) {
        let Some(place) = self.shared.enter(listener) else {
            self.shared.counters[self.index as usize].refused(Refusal::Unavailable);
            return;
        };
        match self.open(transport, place) {
            Some(token) => self.arm_deadline(token),
            None => self.shared.leave(place),
        }
    }

    fn open(&mut self, mut transport: Transport, place: Place) -> Option<Token> {
        let token = self.slots.next_token()?;
        if let Err(error) = transport.register(self.poll.registry(), mio::Token(token.to_word())) {
            if let Some(suppressed) = UNWATCHED.admit(self.clock.now) {
                tracing::warn!(%error, suppressed, "a connection is dropped that can't be watched");
            }
            return None;
        }
        self.shared.counters[self.index as usize].accepted.add(1);
        self.slots
            .insert(Slot::new(transport, place, self.clock.now, &self.shared.timeouts));
        Some(token)
    }

    fn serve(&mut self, token: Token, cause: Cause, step: Option<StepOf>) {
        let login_steps = self.logins.offer(step == Some(StepOf::Login));
        let handshake_steps = self.handshakes.offer(step == Some(StepOf::Handshake));
        let Some(slot) = self.slots.get_mut(token) else { return };
        let mut context = Context {
            now: self.clock.now,
            mail_now: self.clock.mail_now,
            date: &self.clock.date,
            address: SessionAddress {
                worker: self.index,
                token,
            },
            store: &self.shared.store,
            timeouts: &self.shared.timeouts,
            login_steps,
            signer: &mut self.signer,
            counters: &self.shared.counters[self.index as usize],
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
        self.logins.take(login_steps - context.login_steps);
        self.handshakes.take(handshake_steps - io.handshake_steps);
        if let Some(reason) = over {
            self.free(token, reason);
        } else {
            self.settle(token);
            self.queue(token);
            self.arm_deadline(token);
        }
        self.route_mail();
    }

    fn route_mail(&mut self) {
        while let Some(SessionAddress { worker, token }) = self.scratch.wake.pop() {
            if worker == self.index {
                self.note_mail(token);
            } else if let Some(outbox) = self.outboxes.get_mut(worker as usize) {
                outbox.push(token);
            }
        }
    }

    fn tell_others(&mut self) {
        for (outbox, inbox) in self.outboxes.iter_mut().zip(&self.shared.inboxes) {
            if !outbox.is_empty() {
                inbox.tell(outbox);
            }
        }
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

    /// Arms lazily: a deadline that moved away is looked at when the old one comes.
    fn arm_deadline(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Some(deadline) = slot.wired.deadline(&self.shared.timeouts) else {
            return;
        };
        // Never for the tick that is being served: whatever a connection does, it is visited once a tick at most.
        let tick = self.clock.tick_before(deadline).max(self.clock.tick).saturating_add(1);
        let node = self.slots.node(token.index);
        if node.is_linked() {
            if node.tick() <= tick {
                return;
            }
            self.deadlines.cancel(&mut self.slots, token.index);
        }
        self.deadlines.insert(&mut self.slots, token.index, tick);
        self.next_deadline = self.next_deadline.min(tick);
    }

    fn reach_deadlines(&mut self) {
        if self.clock.tick < self.next_deadline {
            return;
        }
        for _ in 0..DEADLINES_PER_TURN {
            match self.deadlines.pop_expired(&mut self.slots, self.clock.tick) {
                Step::Idle => break,
                Step::Cascaded => {}
                Step::Expired(index) => {
                    if let Some(token) = self.slots.token_at(index) {
                        self.serve(token, Cause::Deadline, None);
                    }
                }
            }
        }
        self.next_deadline = self.deadlines.next_tick().unwrap_or(u32::MAX);
    }

    fn expire_messages(&mut self) {
        if self.sweep.run(&self.shared.store, self.clock.mail_now) {
            self.shared
                .store
                .look_at_resident(self.clock.now, system::resident_bytes);
        }
    }

    /// No accept any more; every connection is told. Idle ones get a last look at what has come for them.
    fn begin_drain(&mut self) {
        self.drain_until = Some(self.clock.now + self.shared.drain);
        // Closing a listener resets who waits in it.
        self.entrance.look_again();
        for _ in 0..self.entrance.backlog() {
            if !self.accept() {
                break;
            }
        }
        self.entrance.close();
        let tokens: Vec<_> = self.slots.tokens().collect();
        for token in tokens {
            self.serve(token, Cause::Drain, None);
        }
    }

    fn is_over(&self) -> bool {
        let drained = self
            .drain_until
            .is_some_and(|until| self.slots.is_empty() || self.clock.now >= until);
        drained || self.shared.halt.load(Ordering::Acquire)
    }

    /// How long there is nothing to do unless somebody wakes this worker, which from now on they know how to do.
    fn sleep_at_most(&self) -> Duration {
        let timeout = self.poll_timeout();
        let can_sleep = !timeout.is_zero()
            && self.shared.inboxes[self.index as usize].fall_asleep()
            // After that, so that who sets them sees that this worker must be woken.
            && !self.is_told_to_end()
            && !self.must_evict();
        if can_sleep { timeout } else { Duration::ZERO }
    }

    /// Whether a drain is to begin, or all is to end at once.
    fn is_told_to_end(&self) -> bool {
        let must_drain = self.drain_until.is_none() && self.shared.store.is_draining();
        must_drain || self.shared.halt.load(Ordering::Acquire)
    }

    fn poll_timeout(&self) -> Duration {
        if self.rounds.is_somebody_in() || self.sweep.is_under_way() {
            return Duration::ZERO;
        }
        let mut paused_until = None;
        if !self.rounds.is_empty()
            || !self.logins.is_empty()
            || !self.handshakes.is_empty()
            || self.entrance.is_pending()
        {
            if !self.is_over_budget() {
                return Duration::ZERO;
            }
            // What makes room is seen here if this worker does it, and then if it is another one.
            paused_until = Some(self.clock.now + Duration::from_millis(OVER_BUDGET_PAUSE_MILLIS));
        }
        let deadline = (self.next_deadline != u32::MAX).then(|| self.clock.instant_of(self.next_deadline));
        let next = [deadline, self.entrance.paused_until(), self.drain_until, paused_until];
        let next = next.into_iter().flatten().min();
        let sweep = self.sweep.latest_start().saturating_duration_since(self.clock.mail_now);
        next.map_or(sweep, |at| at.saturating_duration_since(self.clock.now).min(sweep))
    }
}

impl Scratch {
    fn new() -> Self {
        Self {
            io: IoContext::default(),
            out: Vec::new(),
            deliveries: Deliveries::new(),
            wake: Vec::new(),
            tokens: Vec::new(),
        }
    }
}
